"""Broadcasts: listed, planned, changed, cloned, and their log. What leads one through its life is in acts.py."""

import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.responses import Response

from core import audit
from core.broadcasts import acts, events, lifecycle, queries
from core.broadcasts.lifecycle import State
from core.broadcasts.plan import Level
from core.broadcasts.queries import Outline
from core.database import transaction
from core.ids import RANDOM_BYTES
from core.staff.permissions import Act
from core.staff.tokens import Read
from core.tables import Broadcast, BroadcastEvent, Channel
from mbashara.api import channels
from mbashara.api.answers import (
    AfterTime,
    Done,
    IdempotencyKey,
    IfMatch,
    IfNoneMatch,
    Limit,
    PageOf,
    check_unchanged,
    next_address,
    page,
    read,
    read_time_cursor,
    time_cursor,
    write,
)
from mbashara.api.caller import Caller, holding
from mbashara.api.fields import MAX_INTEGER, SLUG, Changes, Description, Sent, Slug, Title, UlidPath, When
from mbashara.api.problems import Kind, Refused, documented

router = APIRouter(tags=["broadcasts"])
Reader = Annotated[Caller, Depends(holding(Read.BROADCAST))]
Creator = Annotated[Caller, Depends(holding(Act.BROADCAST_CREATE))]
Editor = Annotated[Caller, Depends(holding(Act.BROADCAST_EDIT))]
Visibility = Literal["public", "unlisted"]


class MessageShown(BaseModel):
    sw: str
    en: str
    level: Level


class BroadcastShown(BaseModel):
    """`created_by` is null where a feed began it by itself. `acts` are those that its state allows."""

    id: str
    institution_id: int
    channel: str
    state: State
    title_sw: str
    title_en: str
    description_sw: str
    description_en: str
    visibility: Visibility
    planned_start_at: datetime | None
    planned_end_at: datetime | None
    went_live_at: datetime | None
    started_at: datetime | None
    ends_at: datetime | None
    ended_at: datetime | None
    undo_until: datetime | None
    message: MessageShown | None
    cloned_from: str | None
    created_by: str | None
    acts: list[lifecycle.Act]
    version: int


class NewBroadcast(Sent):
    channel: Slug
    title_sw: Title
    title_en: Title
    planned_start_at: When
    planned_end_at: When | None = None
    visibility: Visibility = "public"
    description_sw: Description = ""
    description_en: Description = ""


class BroadcastChanges(Changes):
    title_sw: Title = ""
    title_en: Title = ""
    planned_start_at: When = datetime.min
    planned_end_at: When | None = None
    visibility: Visibility = "public"
    description_sw: Description = ""
    description_en: Description = ""


class Clone(Sent):
    planned_start_at: When


class EventShown(BaseModel):
    id: int
    at: datetime
    kind: str
    actor: str | None
    detail: dict[str, Any]


@router.get("/broadcasts", response_model=PageOf[BroadcastShown], responses=documented(404))
def list_broadcasts(
    caller: Reader,
    channel: Annotated[str | None, Query(pattern=SLUG)] = None,
    state: Annotated[list[State], Query(max_length=len(State))] = [],  # noqa: B006
    limit: Limit = 50,
    after: AfterTime = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Newest first by when it began, or is meant to."""
    with transaction(caller.api.engine) as session:
        of_channel = None if channel is None else channels.find(session, caller, channel).id
        found = queries.list_broadcasts(
            session, institution_id=caller.bearer.institution_id, channel_id=of_channel, states=state,
            after=read_time_cursor(after), limit=limit,
        )  # fmt: skip
        items = shown_all(session, found.broadcasts)
    following = None if found.after is None else time_cursor(*found.after)
    return read(caller, PageOf(items=items, next=next_address(caller.request, following)))


@router.post("/broadcasts", status_code=201, response_model=BroadcastShown, responses=documented(404, 409))
def plan_broadcast(caller: Creator, sent: NewBroadcast, key: IdempotencyKey = None) -> Response:
    def work(session: Session) -> Done:
        channel = channels.find(session, caller, sent.channel)
        outline = Outline(**sent.model_dump(exclude={"channel"}))
        made = queries.schedule(
            session, channel, outline, actor=caller.actor.name, now=caller.now,
            randomness=secrets.token_bytes(RANDOM_BYTES),
        )  # fmt: skip
        return _made(session, caller, made)

    return write(caller, work)


@router.get("/broadcasts/{id}", response_model=BroadcastShown, responses=documented(404))
def get_broadcast(caller: Reader, id: UlidPath, if_none_match: IfNoneMatch = None) -> Response:
    with transaction(caller.api.engine) as session:
        return read(caller, shown(session, find(session, caller, id)))


@router.patch("/broadcasts/{id}", response_model=BroadcastShown, responses=documented(404, 409, 412, 428))
def change_broadcast(caller: Editor, id: UlidPath, sent: BroadcastChanges, if_match: IfMatch = None) -> Response:
    def work(session: Session) -> Done:
        broadcast = queries.lock(session, find(session, caller, id).institution_id, id)
        check_unchanged(caller, shown(session, broadcast))
        before = {name: getattr(broadcast, name) for name in Outline.__slots__}
        outline = Outline(**{**before, **sent.sent()})
        edited = queries.edit(
            session, broadcast.institution_id, id, outline, broadcast.version, actor=caller.actor.name, now=caller.now
        )
        after = {name: getattr(edited, name) for name in Outline.__slots__}
        log(session, caller, edited, Act.BROADCAST_EDIT, *audit.difference(before, after))
        return Done(shown(session, edited))

    return write(caller, work)


@router.post("/broadcasts/{id}/clone", status_code=201, response_model=BroadcastShown, responses=documented(404, 409))
def clone_broadcast(caller: Creator, id: UlidPath, sent: Clone, key: IdempotencyKey = None) -> Response:
    """A new plan like an old broadcast."""

    def work(session: Session) -> Done:
        old = find(session, caller, id)
        made = queries.clone(
            session, old.institution_id, id, sent.planned_start_at, actor=caller.actor.name, now=caller.now,
            randomness=secrets.token_bytes(RANDOM_BYTES),
        )  # fmt: skip
        return _made(session, caller, made)

    return write(caller, work)


@router.get("/broadcasts/{id}/events", response_model=PageOf[EventShown], responses=documented(404))
def list_events(
    caller: Reader,
    id: UlidPath,
    limit: Limit = 50,
    after: Annotated[int, Query(ge=0, le=MAX_INTEGER)] = 0,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """What people did and what media told, in the order in which it was written down."""
    with transaction(caller.api.engine) as session:
        owner = find(session, caller, id).institution_id
        found = events.written_after(session, owner, id, after, limit + 1)
    return read(caller, page(caller.request, found, limit, _event, lambda one: str(one.id)))


def find(session: Session, caller: Caller, broadcast_id: str) -> Broadcast:
    """404 for those of other institutions, and for what was imported under embargo."""
    mine = caller.bearer.place.where(Broadcast.institution_id) & ~Broadcast.is_test & ~queries.is_secret()
    found = session.scalar(select(Broadcast).where(Broadcast.id == broadcast_id, mine))
    if found is None:
        raise Refused(Kind.NOT_FOUND)
    return found


def log(
    session: Session,
    caller: Caller,
    broadcast: Broadcast,
    act: str,
    before: audit.Facts | None,
    after: audit.Facts | None,
) -> None:
    audit.append(
        session, caller.actor, act, f"broadcast:{broadcast.id}", now=caller.now,
        institution_id=broadcast.institution_id, before=before, after=after,
    )  # fmt: skip


def shown(session: Session, broadcast: Broadcast) -> BroadcastShown:
    return shown_all(session, [broadcast])[0]


def shown_all(session: Session, broadcasts: Sequence[Broadcast]) -> list[BroadcastShown]:
    ids = {one.channel_id for one in broadcasts}
    found = session.execute(select(Channel.id, Channel.slug).where(Channel.id.in_(ids)))
    slugs = {row.id: row.slug for row in found}
    return [_shown(one, slugs[one.channel_id]) for one in broadcasts]


def _shown(broadcast: Broadcast, channel: str) -> BroadcastShown:
    undo = acts.undo_until(broadcast)
    possible = [act for act in lifecycle.possible_acts(State(broadcast.state)) if act is not lifecycle.Act.CLOSE]
    own = {name: getattr(broadcast, name) for name in BroadcastShown.model_fields if hasattr(broadcast, name)}
    derived = {"channel": channel, "undo_until": undo and undo[1], "message": _message(broadcast), "acts": possible}
    return BroadcastShown(**{**own, **derived})


def _message(broadcast: Broadcast) -> MessageShown | None:
    if broadcast.message_sw is None or broadcast.message_en is None:
        return None
    level: Level = "warning" if broadcast.message_level == "warning" else "info"
    return MessageShown(sw=broadcast.message_sw, en=broadcast.message_en, level=level)


def _made(session: Session, caller: Caller, made: Broadcast) -> Done:
    log(session, caller, made, Act.BROADCAST_CREATE, None, {"title_sw": made.title_sw, "title_en": made.title_en})
    return Done(shown(session, made), 201, f"/api/v1/broadcasts/{made.id}")


def _event(event: BroadcastEvent) -> EventShown:
    return EventShown.model_validate(event, from_attributes=True)
