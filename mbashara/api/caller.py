"""Who asks: the token of a request, what it may do and see, and how often."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Protocol

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy import Engine

from archive.exports.pages import Desk
from archive.pages.papers import Papers
from core.audit import PROGRAM, Actor
from core.broadcasts.viewers import Viewers
from core.database import transaction
from core.staff import tokens
from core.staff.lockout import address_key
from core.staff.permissions import Act
from core.staff.tokens import TOKEN_PATTERN, Bearer, Read, hash_token
from core.web.i18n import Language
from core.web.limits import Buckets
from mbashara.api.problems import MAX_ERRORS, NO_FIELD, Kind, Refused, Said, invalid, language_of

CHALLENGE = {"www-authenticate": 'Bearer realm="mbashara"'}
MAX_NAME = 100
Json = dict[str, Any]


class Media(Protocol):
    """What is asked of the media processes, in threads."""

    def feeds_told(self) -> tuple[Sequence[Json], bool]: ...
    def series(self, slug: str, role: str, step_s: int, from_s: float) -> Json | None: ...
    def refresh(self, slug: str) -> bool: ...
    def viewers(self) -> Mapping[str, Viewers] | None: ...


@dataclass(frozen=True, slots=True)
class Api:
    """What every endpoint stands on. `by_token` counts requests, `by_address` wrong tokens. `insecure_webhooks`: they
    may lead anywhere."""

    engine: Engine
    pepper: bytes
    media: Media
    now: Callable[[], datetime]
    by_token: Buckets
    by_address: Buckets
    desk: Desk
    papers: Papers
    insecure_webhooks: bool = False


@dataclass(frozen=True, slots=True)
class Caller:
    """`body` is the request's, as it came."""

    api: Api
    bearer: Bearer
    request: Request
    body: bytes
    now: datetime

    @property
    def actor(self) -> Actor:
        return Actor(None, f"{PROGRAM}{self.bearer.name}", _address(self.request))

    @property
    def language(self) -> Language:
        return language_of(self.request.headers.get("accept-language", ""))

    def need(self, scope: Act | Read) -> None:
        if scope not in self.bearer.scopes:
            raise Refused(Kind.SCOPE, Said("The token lacks the scope {scope}.", {"scope": str(scope)}))

    def see(self, institution_id: int | None) -> None:
        """404 for what belongs to another institution: its very existence is not ours to tell."""
        if not self.bearer.place.covers(institution_id):
            raise Refused(Kind.NOT_FOUND)


async def _body(request: Request) -> bytes:
    """FastAPI has read it already; the edge lets no more than a megabyte through."""
    return await request.body()


_scheme = HTTPBearer(auto_error=False, description="Made with `mbashara token add`.")


def _enter(
    request: Request,
    body: Annotated[bytes, Depends(_body)],
    shown: Annotated[HTTPAuthorizationCredentials | None, Security(_scheme)],
) -> Caller:
    caller = enter(request.app.state.api, request, shown.credentials if shown else "", body)
    _check_parameters(request)
    return caller


def enter(api: Api, request: Request, token: str | None = None, body: bytes = b"", counts: bool = True) -> Caller:
    """Who asks, by the token that was shown; without one given, the header's. Nothing of a body is read. Blocks.
    `counts`: the request is one of those that the token may make so many of."""
    if token is None:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        token = token.strip() if scheme.lower() == "bearer" else ""
    now = api.now()
    bearer = _find(api, token, address_key(_address(request)), now)
    if counts:
        allowance = api.by_token.take(hash_token(token))
        request.state.allowance = allowance
        if allowance.retry_after_s is not None:
            raise Refused(Kind.TOO_MANY, headers={"retry-after": str(allowance.retry_after_s)})
    return Caller(api, bearer, request, body, now)


def _check_parameters(request: Request) -> None:
    """A misspelt one would be a filter that filters nothing."""
    known = {field.alias for field in request.scope["route"].dependant.query_params}
    unknown = [name for name in request.query_params if name not in known]
    if unknown:
        raise invalid(*((name[:MAX_NAME], NO_FIELD) for name in unknown[:MAX_ERRORS]))


def _find(api: Api, token: str, address: str, now: datetime) -> Bearer:
    """An address that has shown too many wrong tokens waits; tokens that were right lately still are, since many
    programs may share it."""
    if api.by_address.is_empty(address) and not api.by_token.knows(hash_token(token)):
        wait_s = api.by_address.take(address).retry_after_s
        raise Refused(Kind.TOO_MANY, headers={"retry-after": str(wait_s)})
    bearer = None
    if TOKEN_PATTERN.fullmatch(token):
        with transaction(api.engine) as session:
            bearer = tokens.find(session, hash_token(token), now)
    if bearer is None:
        api.by_address.take(address)
        raise Refused(Kind.TOKEN, headers=CHALLENGE)
    return bearer


def _address(request: Request) -> str:
    return request.client.host if request.client else ""


Anyone = Annotated[Caller, Depends(_enter)]


def holding(scope: Act | Read) -> Callable[[Caller], Caller]:
    """The dependency of an endpoint that wants a scope."""

    def check(caller: Anyone) -> Caller:
        caller.need(scope)
        return caller

    return check
