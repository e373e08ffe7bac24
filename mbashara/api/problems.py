"""What is said of an error: application/problem+json (RFC 9457) in the reader's language."""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from http import HTTPStatus
from pathlib import Path
from typing import Any

import structlog
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from sqlalchemy.exc import IntegrityError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from core.broadcasts.errors import BadBroadcast, ChannelBusy, NoSuchBroadcast, NotPossible, Overtaken, TooLate
from core.channels import ChannelError
from core.database import DatabaseAway
from core.problems import LOCALE as CORE_LOCALE
from core.problems import Problems
from core.web.i18n import Language, catalogue

LOCALES = (Path(__file__).parent / "locale", CORE_LOCALE)
MEDIA_TYPE = "application/problem+json"
MAX_ERRORS = 50
NO_FIELD = "There is no such field."
Handler = Callable[[Request, Any], Coroutine[Any, Any, Response]]

log: structlog.stdlib.BoundLogger = structlog.get_logger("mbashara.api")


class Kind(Enum):
    """Every kind of problem: the end of its `type`, its status, its title."""

    MALFORMED = ("malformed", 400, "The request cannot be read.")
    TOKEN = ("token", 401, "The token is missing, wrong, expired or revoked.")
    SCOPE = ("scope", 403, "This token may not do that.")
    NOT_FOUND = ("not-found", 404, "There is no such thing here.")
    METHOD = ("method", 405, "This address does not take that method.")
    CLOSED = ("closed", 403, "This is not open yet.")
    CONFLICT = ("conflict", 409, "That does not fit the present state.")
    BUSY = ("in-progress", 409, "The same request is being answered.")
    DONE = ("already-done", 409, "This was done already.")
    CHANGED = ("changed", 412, "It was changed since you read it.")
    INVALID = ("invalid", 422, "Something in the request is not right.")
    KEY_REUSED = ("key-reused", 422, "This Idempotency-Key was used for another request.")
    LOGIN = ("login", 401, "Log in first.")
    OFFSET = ("offset", 409, "The upload is at another place.")
    GONE = ("gone", 410, "This upload was cancelled or has expired.")
    DESTROYED = ("destroyed", 410, "This is no more.")
    TUS_VERSION = ("tus-version", 412, "Say Tus-Resumable: 1.0.0.")
    LARGE = ("too-large", 413, "That is more than is taken.")
    BODY_TYPE = ("body-type", 415, "Send it as application/offset+octet-stream.")
    LOCKED = ("locked", 423, "Another request sends to this upload just now.")
    CHECKSUM = ("checksum", 460, "What arrived is not what was sent. Send it again.")
    UPLOADS_MANY = ("uploads-many", 429, "This institution has as many unfinished uploads as it may have.")
    NO_SPACE = ("no-space", 507, "There is no room for this file.")
    NO_CONDITION = ("condition-required", 428, "Say in If-Match which version you change.")
    TOO_MANY = ("too-many", 429, "Too many requests.")
    BROKEN = ("broken", 500, "Something went wrong here.")
    AWAY = ("away", 503, "The database does not answer. Try again later.")

    def __init__(self, slug: str, status: int, title: str) -> None:
        self.slug, self.status, self.title = slug, status, title


@dataclass(frozen=True, slots=True)
class Said:
    """A message by its English words; `values` fill its braces."""

    text: str
    values: Mapping[str, object] = field(default_factory=dict)

    def read_in(self, language: Language) -> str:
        return catalogue(language, *LOCALES).gettext(self.text).format(**self.values)


class Refused(Exception):
    """A request that ends as a problem. `detail` may be text in both languages, as core's errors are."""

    def __init__(
        self, kind: Kind, detail: Said | str = "", *, errors: Sequence[tuple[str, Said]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(kind.slug)
        self.kind, self.detail, self.errors, self.headers = kind, detail, tuple(errors), dict(headers or {})


class FieldError(BaseModel):
    field: str
    message: str


class ProblemDocument(BaseModel):
    """RFC 9457. `errors` names the fields that are not right."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[FieldError]


def invalid(*errors: tuple[str, str]) -> Refused:
    return Refused(Kind.INVALID, errors=[(name, Said(message)) for name, message in errors])


def not_right(problems: Problems) -> Refused:
    return invalid(*((problem.field, problem.message) for problem in problems))


def language_of(accepted: str) -> Language:
    """Of an Accept-Language: the best that we have, else the default."""
    found: list[tuple[float, Language]] = []
    for part in accepted.split(",")[:20]:
        name, _, quality = part.strip().partition(";")
        short = name.strip().lower().partition("-")[0]
        if short in set(Language):
            found.append((_quality(quality), Language(short)))
    wanted = [one for one in found if one[0] > 0]
    return max(wanted, key=lambda one: one[0])[1] if wanted else Language.SW


def _quality(text: str) -> float:
    try:
        return float(text.strip().removeprefix("q=")) if text.strip() else 1.0
    except ValueError:
        return 0.0


def answer(request: Request, refused: Refused) -> Response:
    language, kind = language_of(request.headers.get("accept-language", "")), refused.kind
    title = Said(kind.title).read_in(language)
    detail = _detail(refused.detail, language) or title
    errors = [FieldError(field=name, message=said.read_in(language)) for name, said in refused.errors]
    document = ProblemDocument(
        type=f"urn:mbashara:problem:{kind.slug}", title=title, status=kind.status, detail=detail, errors=errors
    )
    headers = {**refused.headers, "content-language": language.value}
    return JSONResponse(document.model_dump(), kind.status, headers, MEDIA_TYPE)


def _detail(detail: Said | str, language: Language) -> str:
    """Core's errors say it as "English / Swahili"."""
    if isinstance(detail, Said):
        return detail.read_in(language)
    english, _, swahili = detail.partition(" / ")
    return swahili if language is Language.SW and swahili else english


def handlers() -> dict[int | type[Exception], Handler]:
    """Every error of ours and of those below, in one place."""
    translate: dict[type[Exception], Callable[[Any], Refused]] = {
        Refused: lambda error: error,
        RequestValidationError: _of_validation,
        HTTPException: _of_http,
        NoSuchBroadcast: lambda _: Refused(Kind.NOT_FOUND),
        BadBroadcast: lambda error: Refused(Kind.INVALID, str(error)),
        ChannelError: lambda error: Refused(Kind.INVALID, str(error)),
        IntegrityError: lambda _: Refused(Kind.CONFLICT),
        DatabaseAway: lambda _: Refused(Kind.AWAY, headers={"retry-after": "5"}),
        **dict.fromkeys(
            (NotPossible, Overtaken, TooLate, ChannelBusy), lambda error: Refused(Kind.CONFLICT, str(error))
        ),
    }

    async def on_error(request: Request, error: Exception) -> Response:
        log.error("request failed", path=request.url.path, exc_info=error)
        return answer(request, Refused(Kind.BROKEN))

    def handler(make: Callable[[Any], Refused]) -> Handler:
        async def handle(request: Request, error: Any) -> Response:
            return answer(request, make(error))

        return handle

    return {**{kind: handler(make) for kind, make in translate.items()}, 500: on_error}


def _of_http(error: HTTPException) -> Refused:
    by_status = {kind.status: kind for kind in reversed(Kind)}
    kind = by_status.get(error.status_code, Kind.MALFORMED)
    return Refused(kind, headers=error.headers)


def _of_validation(error: RequestValidationError) -> Refused:
    found = error.errors()[:MAX_ERRORS]
    if any(one["type"] == "json_invalid" for one in found):
        return Refused(Kind.MALFORMED, errors=[("body", Said("This is not JSON."))])
    return Refused(Kind.INVALID, errors=[(_field(one["loc"]), _said(one)) for one in found])


def _field(where: Sequence[object]) -> str:
    """`body.title_sw` is `title_sw`: parameters and fields are named alike."""
    return ".".join(map(str, where[1:])) or str(where[0])


_MESSAGES = {
    "missing": "Give this field.",
    "extra_forbidden": NO_FIELD,
    "string_too_long": "Use at most {max_length} characters.",
    "string_too_short": "Use at least {min_length} characters.",
    "string_type": "This is text.",
    "int_type": "This is a whole number.",
    "bool_type": "This is true or false.",
    "float_type": "This is a number.",
    "too_long": "Give at most {max_length} of these.",
    "too_short": "Give at least {min_length} of these.",
    "enum": "Choose one of {expected}.",
    "literal_error": "Choose one of {expected}.",
    "greater_than_equal": "The least is {ge}.",
    "less_than_equal": "The most is {le}.",
    "timezone_aware": "Write the time with its zone, such as 2026-11-24T12:00:00+03:00.",
    "when": "Write the time with its zone, such as 2026-11-24T12:00:00+03:00.",
}


def _said(error: Mapping[str, Any]) -> Said:
    values = {name: str(value) for name, value in error.get("ctx", {}).items()}
    return Said(_MESSAGES.get(error["type"], "This value is not right."), values)


IN_FORCE = "Mbashara-In-Force"
_IN_FORCE = {
    "description": "`now`: media obeys already. `later`: it is stored, but media could not be told; until it has read"
    " the database again it goes by what it knew (a revoked key lets in, a broadcast is not on the air yet). An answer"
    " that was kept for its Idempotency-Key has none.",
    "schema": {"type": "string", "enum": ["now", "later"]},
}


def documented(*statuses: int, obeyed: int | None = None) -> dict[int | str, dict[str, Any]]:
    """For OpenAPI: the problems that an operation can end in, besides those that every one can. `obeyed`: the status of
    its answer, where it orders what media has to obey."""
    every = (400, 401, 403, 422, 429, 500, 503)
    problems: dict[int | str, dict[str, Any]] = {
        status: {"model": ProblemDocument, "description": HTTPStatus(status).phrase}
        for status in sorted({*every, *statuses})
    }
    return problems | ({} if obeyed is None else {obeyed: {"headers": {IN_FORCE: _IN_FORCE}}})
