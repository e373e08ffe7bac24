"""Broadcasts as queries: planned, changed, found and listed. Each function takes the session first; the caller owns
the transaction, and has asked whether this person may."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Literal

from sqlalchemy import ColumnElement, Select, exists, func, select, tuple_
from sqlalchemy.orm import Session

from core.broadcasts.errors import BadBroadcast, NoSuchBroadcast, NotPossible, Overtaken
from core.broadcasts.events import add_event
from core.broadcasts.lifecycle import Act, State, next_state
from core.ids import new_id
from core.tables import Broadcast, BroadcastEvent, Channel, Recording

MAX_TITLE = 200
MAX_DESCRIPTION = 5000
MAX_PAGE = 200
IMPORTED = "imported"
"""The event of a broadcast that a file was made from, not one that was on the air."""


@dataclass(frozen=True, slots=True)
class Outline:
    """What a person writes of a broadcast. Times are aware."""

    title_sw: str
    title_en: str
    planned_start_at: datetime
    planned_end_at: datetime | None = None
    visibility: Literal["public", "unlisted"] = "public"
    description_sw: str = ""
    description_en: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """`after` leads to the next page; None: this is the last."""

    broadcasts: Sequence[Broadcast]
    after: tuple[datetime, str] | None


def check_outline(outline: Outline) -> Outline:
    if not (outline.title_sw.strip() and outline.title_en.strip()):
        raise BadBroadcast("a broadcast has a title in both languages / tangazo lina kichwa katika lugha zote mbili")
    if max(len(outline.title_sw), len(outline.title_en)) > MAX_TITLE:
        raise BadBroadcast(f"a title has at most {MAX_TITLE} characters / kichwa kina herufi {MAX_TITLE} tu au pungufu")
    if max(len(outline.description_sw), len(outline.description_en)) > MAX_DESCRIPTION:
        raise BadBroadcast(
            f"a description has at most {MAX_DESCRIPTION} characters"
            f" / maelezo yana herufi {MAX_DESCRIPTION} tu au pungufu"
        )
    if outline.planned_end_at is not None and outline.planned_end_at <= outline.planned_start_at:
        raise BadBroadcast("it would end before it begins / lingekwisha kabla ya kuanza")
    return outline


def schedule(
    session: Session, channel: Channel, outline: Outline, *, actor: str, now: datetime, randomness: bytes,
    cloned_from: str | None = None,
) -> Broadcast:  # fmt: skip
    """`actor` is who does it, as the log names people; `randomness` makes the id (`core.ids.RANDOM_BYTES`)."""
    identity = new_id(now, randomness)
    made = Broadcast(
        id=identity, air_id=identity, institution_id=channel.institution_id, channel_id=channel.id,
        state=State.SCHEDULED, created_by=actor, cloned_from=cloned_from, version=1, **asdict(check_outline(outline)),
    )  # fmt: skip
    session.add(made)
    session.flush()
    add_event(
        session, made.institution_id, made.id, now, "schedule", actor, **_told(outline), cloned_from=cloned_from,
        after=State.SCHEDULED,
    )  # fmt: skip
    return made


def clone(
    session: Session, institution_id: int, broadcast_id: str, planned_start_at: datetime, *, actor: str,
    now: datetime, randomness: bytes,
) -> Broadcast:  # fmt: skip
    """A new plan like an old broadcast, as long as that was meant to be."""
    old = find(session, institution_id, broadcast_id)
    lasts = old.planned_end_at - old.planned_start_at if old.planned_end_at and old.planned_start_at else None
    outline = Outline(
        old.title_sw, old.title_en, planned_start_at, planned_start_at + lasts if lasts else None,
        "unlisted" if old.visibility == "unlisted" else "public", old.description_sw, old.description_en,
    )  # fmt: skip
    channel = session.get_one(Channel, old.channel_id)
    return schedule(session, channel, outline, actor=actor, now=now, randomness=randomness, cloned_from=old.id)


def edit(
    session: Session, institution_id: int, broadcast_id: str, outline: Outline, expected_version: int, *,
    actor: str, now: datetime,
) -> Broadcast:  # fmt: skip
    """Raises Overtaken if another has changed it since this person read `expected_version` of it."""
    broadcast = lock(session, institution_id, broadcast_id)
    following(broadcast, Act.EDIT)
    if broadcast.version != expected_version:
        raise Overtaken(State(broadcast.state))
    before = {field.name: getattr(broadcast, field.name) for field in fields(Outline)}
    changed = {name: value for name, value in asdict(check_outline(outline)).items() if before[name] != value}
    for name, value in changed.items():
        setattr(broadcast, name, value)
    note(session, broadcast, Act.EDIT, actor, now, changed=_jsonable(changed))
    return broadcast


def find(session: Session, institution_id: int, broadcast_id: str) -> Broadcast:
    """Raises NoSuchBroadcast, of another institution's too."""
    found = session.scalar(_one(institution_id, broadcast_id))
    if found is None:
        raise NoSuchBroadcast(broadcast_id)
    return found


def list_broadcasts(
    session: Session, *, institution_id: int | None = None, channel_id: int | None = None,
    states: Sequence[State] = (), since: datetime | None = None, until: datetime | None = None,
    after: tuple[datetime, str] | None = None, limit: int = 50,
) -> Page:  # fmt: skip
    """Newest first by when it began, or is meant to; no dry runs, nothing secret. `since` is within, `until` without;
    `after` is a Page's."""
    begins = func.coalesce(Broadcast.started_at, Broadcast.planned_start_at)
    wanted: list[ColumnElement[bool]] = [~Broadcast.is_test, ~is_secret()]
    if institution_id is not None:
        wanted.append(Broadcast.institution_id == institution_id)
    if channel_id is not None:
        wanted.append(Broadcast.channel_id == channel_id)
    if states:
        wanted.append(Broadcast.state.in_(states))
    if since is not None:
        wanted.append(begins >= since)
    if until is not None:
        wanted.append(begins < until)
    if after is not None:
        wanted.append(tuple_(begins, Broadcast.id) < tuple_(*after))
    size = max(1, min(limit, MAX_PAGE))
    query = select(Broadcast).where(*wanted).order_by(begins.desc(), Broadcast.id.desc()).limit(size + 1)
    found = session.scalars(query).all()
    last = found[size - 1] if len(found) > size else None
    return Page(found[:size], None if last is None else (begins_at(last), last.id))


def is_secret() -> ColumnElement[bool]:
    """What was imported and is under embargo: unlike what was on the air, nobody outside has ever seen it."""
    closed = exists().where(Recording.broadcast_id == Broadcast.id, Recording.is_embargoed)
    return closed & exists().where(BroadcastEvent.broadcast_id == Broadcast.id, BroadcastEvent.kind == IMPORTED)


def next_public(session: Session, channel: str, since: datetime) -> Broadcast | None:
    """What the public may expect next on a channel, if it is planned for `since` or later."""
    planned = Broadcast.state.in_((State.SCHEDULED, State.REHEARSAL)) & (Broadcast.planned_start_at >= since)
    public = (Broadcast.visibility == "public") & ~Broadcast.is_test
    query = select(Broadcast).join(Channel, Channel.id == Broadcast.channel_id)
    return session.scalar(
        query.where(Channel.slug == channel, planned, public).order_by(Broadcast.planned_start_at).limit(1)
    )


def begins_at(broadcast: Broadcast) -> datetime:
    found = broadcast.started_at or broadcast.planned_start_at
    assert found is not None, "the table's check: one of them is there"
    return found


def _one(institution_id: int, broadcast_id: str) -> Select[Broadcast]:
    return select(Broadcast).where(Broadcast.id == broadcast_id, Broadcast.institution_id == institution_id)


def lock(session: Session, institution_id: int, broadcast_id: str) -> Broadcast:
    """The row, fresh, and ours until the transaction ends: two engineers take turns."""
    query = _one(institution_id, broadcast_id).with_for_update().execution_options(populate_existing=True)
    found = session.scalar(query)
    if found is None:
        raise NoSuchBroadcast(broadcast_id)
    return found


def following(broadcast: Broadcast, wanted: Act) -> State:
    state = State(broadcast.state)
    found = next_state(state, wanted)
    if found is None:
        raise NotPossible(state, wanted)
    return found


def note(
    session: Session, broadcast: Broadcast, wanted: Act, actor: str | None, now: datetime, **detail: object
) -> None:
    broadcast.version += 1
    session.flush()
    add_event(session, broadcast.institution_id, broadcast.id, now, wanted, actor, **detail)


def _told(outline: Outline) -> dict[str, object]:
    return _jsonable(asdict(outline))


def _jsonable(values: dict[str, object]) -> dict[str, object]:
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in values.items()}
