"""What the console asks of the database. Each function takes the session first; rights are the caller's to ask."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Row, select, true
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import Session

from core.broadcasts.lifecycle import AT_THE_CHANNEL
from core.staff.permissions import Scope
from core.tables import Broadcast, Channel, Institution, StreamKey

MAX_PLANNED = 50
MAX_PAST = 20
LATE = timedelta(hours=12)
"""How long a plan whose time has passed stays among those to come."""


@dataclass(frozen=True, slots=True)
class Planned:
    """What the wall says of a broadcast."""

    id: str
    state: str
    title_sw: str
    title_en: str
    planned_start_at: datetime | None


@dataclass(frozen=True, slots=True)
class OnWall:
    """A channel on the wall: `broadcast` is what it has now, or what comes next."""

    slug: str
    name_sw: str
    name_en: str
    broadcast: Planned | None


ON_WALL = (
    Broadcast.channel_id, Broadcast.id, Broadcast.state, Broadcast.title_sw, Broadcast.title_en,
    Broadcast.planned_start_at,
)  # fmt: skip


def wall(session: Session, visible: Scope, now: datetime, slugs: Collection[str] | None = None) -> list[OnWall]:
    """Three queries, however many channels there are; `slugs` None: of all that are visible."""
    mine = visible.where(Channel.institution_id)
    query = select(Channel.id, Channel.slug, Channel.name_sw, Channel.name_en).order_by(Channel.slug)
    named = true() if slugs is None else Channel.slug.in_(slugs)
    channels = session.execute(query.where(mine, named)).all()
    of_these = visible.where(Broadcast.institution_id)
    if slugs is not None:
        of_these = Broadcast.channel_id.in_([one.id for one in channels])
    shown = {**_next(session, of_these, now), **_now(session, of_these)}
    return [OnWall(slug, name_sw, name_en, shown.get(identity)) for identity, slug, name_sw, name_en in channels]


def coming(now: datetime) -> ColumnElement[bool]:
    return (Broadcast.state == "scheduled") & (Broadcast.planned_start_at > now - LATE)


def _now(session: Session, of_these: ColumnElement[bool]) -> dict[int, Planned]:
    """A planned broadcast goes before one that a feed began by itself."""
    query = select(*ON_WALL).where(of_these, Broadcast.state.in_(AT_THE_CHANNEL), ~Broadcast.is_test)
    found = session.execute(query.order_by(Broadcast.created_by.is_not(None), Broadcast.id))
    return {row.channel_id: Planned(*row[1:]) for row in found}


def _next(session: Session, of_these: ColumnElement[bool], now: datetime) -> dict[int, Planned]:
    query = select(*ON_WALL).where(of_these, coming(now)).ext(distinct_on(Broadcast.channel_id))
    found = session.execute(query.order_by(Broadcast.channel_id, Broadcast.planned_start_at))
    return {row.channel_id: Planned(*row[1:]) for row in found}


def find_channel(session: Session, slug: str) -> Row[Channel, Institution] | None:
    query = select(Channel, Institution).join(Institution, Institution.id == Channel.institution_id)
    return session.execute(query.where(Channel.slug == slug)).one_or_none()


def keys_in_use(session: Session, channel_id: int) -> dict[str, StreamKey]:
    in_use = (StreamKey.channel_id == channel_id) & StreamKey.revoked_at.is_(None)
    return {key.role: key for key in session.scalars(select(StreamKey).where(in_use))}


def now_on(session: Session, channel_id: int) -> Broadcast | None:
    """What has the channel."""
    mine = (Broadcast.channel_id == channel_id) & ~Broadcast.is_test
    query = select(Broadcast).where(mine, Broadcast.state.in_(AT_THE_CHANNEL))
    return session.scalar(query.order_by(Broadcast.created_by.is_(None), Broadcast.id.desc()).limit(1))


def planned(session: Session, channel_id: int, now: datetime) -> Sequence[Broadcast]:
    query = select(Broadcast).where(Broadcast.channel_id == channel_id, coming(now))
    return session.scalars(query.order_by(Broadcast.planned_start_at).limit(MAX_PLANNED)).all()


def past(session: Session, channel_id: int) -> Sequence[Broadcast]:
    mine = (Broadcast.channel_id == channel_id) & ~Broadcast.is_test
    query = select(Broadcast).where(mine, Broadcast.state.in_(("ended", "archived")))
    return session.scalars(query.order_by(Broadcast.started_at.desc().nulls_last()).limit(MAX_PAST)).all()
