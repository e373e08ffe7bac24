"""Reading and writing: ETags and conditions (RFC 9110, 13.1), pages, and a transaction that keeps its own answer."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Generic, TypeVar

from fastapi import Header, Query
from pydantic import BaseModel
from sqlalchemy.orm import Session
from starlette.datastructures import URL
from starlette.requests import Request
from starlette.responses import Response

from core.database import transaction
from mbashara.api import idempotency
from mbashara.api.caller import Caller
from mbashara.api.idempotency import MAX_KEY, Answer
from mbashara.api.problems import IN_FORCE, Kind, Refused

MAX_PAGE = 200
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
T = TypeVar("T")

Limit = Annotated[int, Query(ge=1, le=MAX_PAGE, description="How many at most.")]
AfterSlug = Annotated[str | None, Query(pattern=r"^[a-z0-9-]{1,40}$", description="From `next` of the page before.")]
AfterTime = Annotated[
    str | None, Query(pattern=r"^[0-9]{1,16}-[0-7][0-9a-z]{25}$", description="From `next` of the page before.")
]
IfNoneMatch = Annotated[str | None, Header(max_length=1000, description="The ETag that you have: 304 if it still is.")]
IfMatch = Annotated[str | None, Header(max_length=1000, description="The ETag that you read, or *. 412 if it changed.")]
IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1, max_length=MAX_KEY, pattern=r"^[\x21-\x7e]+$",
        description="The same key with the same request within 24 hours: done once, answered the same.",
    ),
]  # fmt: skip


class PageOf(BaseModel, Generic[T]):
    """`next` is the address of the next page; null on the last."""

    items: list[T]
    next: str | None


@dataclass(frozen=True, slots=True)
class Done:
    """What a write answers. `slug` is the channel whose media must know. `is_secret`: the answer holds a stream key or
    another secret."""

    body: BaseModel | None = None
    status: int = 200
    location: str | None = None
    slug: str | None = None
    is_secret: bool = False


def read(caller: Caller, body: BaseModel) -> Response:
    data = body.model_dump_json()
    headers = {"etag": etag(data)}
    if _matches(caller.request.headers.get("if-none-match"), headers["etag"], weakly=True):
        return Response(status_code=304, headers=headers)
    return Response(data, headers=headers, media_type="application/json")


def write(caller: Caller, work: Callable[[Session], Done]) -> Response:
    """One transaction: the work, its audit entries, its kept answer. Media is told after the commit; whether it obeys
    already stands in a header."""
    slug = None
    with transaction(caller.api.engine) as session:
        answer = idempotency.find(session, caller)
        if answer is None:
            done = work(session)
            answer, slug = _answer(done), done.slug
            idempotency.keep(session, caller, answer, is_secret=done.is_secret)
    response = _response(answer)
    if slug is not None:
        response.headers[IN_FORCE] = "now" if caller.api.media.refresh(slug) else "later"
    return response


def check_unchanged(caller: Caller, present: BaseModel) -> None:
    """For a PATCH, with the row locked: 428 where the request names no version, 412 where it names another."""
    condition = caller.request.headers.get("if-match")
    if condition is None:
        raise Refused(Kind.NO_CONDITION)
    if not _matches(condition, etag(present.model_dump_json()), weakly=False):
        raise Refused(Kind.CHANGED)


def page(
    request: Request, found: Sequence[Any], limit: int, show: Callable[[Any], T], after: Callable[[Any], str]
) -> PageOf[T]:
    """Of `limit` + 1 rows found: the last only says that there is a next page."""
    shown = found[:limit]
    following = after(shown[-1]) if len(found) > limit else None
    return PageOf(items=[show(one) for one in shown], next=next_address(request, following))


def next_address(request: Request, after: str | None) -> str | None:
    if after is None:
        return None
    address: URL = request.url.include_query_params(after=after)
    return f"{address.path}?{address.query}"


def time_cursor(at: datetime, identity: str) -> str:
    return f"{(at - EPOCH) // timedelta(microseconds=1)}-{identity}"


def read_time_cursor(cursor: str | None) -> tuple[datetime, str] | None:
    if cursor is None:
        return None
    microseconds, _, identity = cursor.partition("-")
    return EPOCH + timedelta(microseconds=int(microseconds)), identity


def etag(data: str) -> str:
    return f'"{hashlib.sha256(data.encode()).hexdigest()[:32]}"'


def _matches(condition: str | None, tag: str, *, weakly: bool) -> bool:
    if condition is None:
        return False
    tags = [one.strip() for one in condition.split(",")]
    return "*" in tags or tag in tags or (weakly and f"W/{tag}" in tags)


def _answer(done: Done) -> Answer:
    return Answer(done.status, "" if done.body is None else done.body.model_dump_json(), done.location)


def _response(answer: Answer) -> Response:
    headers = {} if answer.location is None else {"location": answer.location}
    if answer.status == 204:
        return Response(status_code=204)
    if answer.status == 200:
        headers["etag"] = etag(answer.body)
    return Response(answer.body, answer.status, headers, "application/json")
