"""What the console asks of the database. Each function takes the session first; rights are the caller's to ask."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Row, select
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
class OnWall:
    """A channel on the wall: `broadcast` is what it has now, or what comes next."""

    channel: Channel
    institution: Institution
    broadcast: Broadcast | None


def wall(session: Session, visible: Scope, now: datetime) -> list[OnWall]:
    """Three queries, however many channels there are. What is on comes first."""
    pairs = session.execute(
        select(Channel, Institution)
        .join(Institution, Institution.id == Channel.institution_id)
        .where(visible.where(Channel.institution_id))
        .order_by(Channel.slug)
    ).all()
    shown = {**_next(session, visible, now), **_now(session, visible)}
    found = [OnWall(channel, institution, shown.get(channel.id)) for channel, institution in pairs]
    return sorted(found, key=lambda one: one.broadcast is None or one.broadcast.state not in AT_THE_CHANNEL)


def _now(session: Session, visible: Scope) -> dict[int, Broadcast]:
    """A planned broadcast goes before one that a feed began by itself."""
    mine = visible.where(Broadcast.institution_id)
    found = session.scalars(
        select(Broadcast)
        .where(mine, Broadcast.state.in_(AT_THE_CHANNEL), ~Broadcast.is_test)
        .order_by(Broadcast.created_by.is_not(None), Broadcast.id)
    )
    return {one.channel_id: one for one in found}


def _next(session: Session, visible: Scope, now: datetime) -> dict[int, Broadcast]:
    mine = visible.where(Broadcast.institution_id)
    coming = (Broadcast.state == "scheduled") & (Broadcast.planned_start_at > now - LATE)
    found = session.scalars(
        select(Broadcast)
        .where(mine, coming)
        .ext(distinct_on(Broadcast.channel_id))
        .order_by(Broadcast.channel_id, Broadcast.planned_start_at)
    )
    return {one.channel_id: one for one in found}


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
    coming = (Broadcast.state == "scheduled") & (Broadcast.planned_start_at > now - LATE)
    query = select(Broadcast).where(Broadcast.channel_id == channel_id, coming)
    return session.scalars(query.order_by(Broadcast.planned_start_at).limit(MAX_PLANNED)).all()


def past(session: Session, channel_id: int) -> Sequence[Broadcast]:
    mine = (Broadcast.channel_id == channel_id) & ~Broadcast.is_test
    query = select(Broadcast).where(mine, Broadcast.state.in_(("ended", "archived")))
    return session.scalars(query.order_by(Broadcast.started_at.desc().nulls_last()).limit(MAX_PAST)).all()
