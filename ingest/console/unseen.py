"""Losses that nobody has seen: a feed that was away when its broadcast was ended, or ended by itself; a spare that was.

While a broadcast is on the air its lost feed is an alarm by what media tells (alarms.py). With the end that is over,
and whoever was away would never learn of it. So from then on the alarm is made from the broadcast's log, which outlives
every process: it stays until a person has seen it (seen before the end counts too), and `KEPT` after the end at most:
then it is in the log alone. It is mild: nothing can be done any more.

A feed that ends its own broadcast by saying goodbye, or that goes within `RAISE_AFTER` of the end that was asked for,
is not lost. Nor is one whose encoder was stopped (it says goodbye) before people ended the broadcast: that is
an orderly end. Takes the session first.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, and_, select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import Session

from core.broadcasts.lifecycle import UNDO
from core.tables import AlarmAcknowledgement, Broadcast, BroadcastEvent, Channel
from ingest.console.alarms import FORGET_AFTER, RAISE_AFTER, Alarm, Ended, Held, Kind, Level, Plan

KEPT = timedelta(days=1)
LOST, BACK = frozenset({"feed_lost", "resumed"}), frozenset({"feed_back", "on_air"})
"""A recording that is taken up after a restart has no feed yet."""
KINDS = (*LOST, *BACK, "spare_lost", "spare_back", "end", "undo_end", "close")
SOUND_WENT_ON, SAID_GOODBYE = "no picture", "feed ended"
"""A cause of a loss, and a reason of an end, that are none of this."""


@dataclass(frozen=True, slots=True)
class Told:
    """The newest line of its kind in a broadcast's log."""

    at: datetime
    actor: str | None = None
    detail: Mapping[str, Any] | None = None


def unseen(session: Session, seen: Sequence[AlarmAcknowledgement], now: datetime) -> list[Held]:
    """`seen`: what was acknowledged lately, of KEPT and more."""
    rows = _over(session, now)
    told = _newest(session, [row.Broadcast.id for row in rows]) if rows else {}
    found = [held for broadcast, channel in rows for held in lost(broadcast, channel, told.get(broadcast.id, {}), now)]
    return [one for one in found if not _is_seen(one, seen)]


def _over(session: Session, now: datetime) -> Sequence[Row[Broadcast, Channel]]:
    """Those whose end has come lately, or is asked for."""
    is_ending = and_(Broadcast.state == "live", Broadcast.ends_at.is_not(None))
    is_over = and_(Broadcast.state.in_(("ended", "archived")), Broadcast.ended_at > now - KEPT)
    query = select(Broadcast, Channel).join(Channel, Channel.id == Broadcast.channel_id)
    return session.execute(query.where(is_ending | is_over, ~Broadcast.is_test).order_by(Broadcast.id)).all()


def _newest(session: Session, broadcasts: Collection[str]) -> dict[str, dict[str, Told]]:
    columns = (BroadcastEvent.broadcast_id, BroadcastEvent.kind)
    each = select(*columns, BroadcastEvent.at, BroadcastEvent.actor, BroadcastEvent.detail).ext(distinct_on(*columns))
    mine = BroadcastEvent.broadcast_id.in_(broadcasts) & BroadcastEvent.kind.in_(KINDS)
    found: dict[str, dict[str, Told]] = {}
    for broadcast, kind, *rest in session.execute(
        each.where(mine).order_by(*columns, BroadcastEvent.at.desc(), BroadcastEvent.id.desc())
    ):
        found.setdefault(broadcast, {})[kind] = Told(*rest)
    return found


def lost(broadcast: Broadcast, channel: Channel, told: Mapping[str, Told], now: datetime) -> Iterator[Held]:
    """`told`: the newest line of each of KINDS."""
    end = told.get("end")
    if end is not None and "undo_end" in told and told["undo_end"].at > end.at:
        end = None
    asked_at = end.at if end is not None else broadcast.ended_at or (broadcast.ends_at and broadcast.ends_at - UNDO)
    ended_itself = "close" in told and _detail(told["close"], "reason") == SAID_GOODBYE
    found = [] if ended_itself else [("", one) for one in _feed_lost(told)]
    found += [(_detail(one, "role"), one) for one in _spare_lost(told)]
    if end is not None or ended_itself:
        found = [(role, one) for role, one in found if not _detail(one, "goodbye")]
    plan = Plan(
        channel.slug, channel.institution_id, channel.name_sw, channel.name_en, broadcast.id, is_live=False,
        has_begun=True, is_ending=True,
    )  # fmt: skip
    ended = Ended(broadcast.title_sw, broadcast.title_en, broadcast.ended_at, end.actor if end is not None else None)
    for role, one in found[:1]:
        if asked_at is not None and asked_at - one.at >= RAISE_AFTER:
            yield Held(Alarm(Kind.LOST_TO_THE_END, Level.MILD, plan, role, ended=ended), one.at, now)


def _feed_lost(told: Mapping[str, Told]) -> Iterator[Told]:
    loss, back = _last(told, LOST), _last(told, BACK)
    if loss is not None and (back is None or back.at < loss.at) and _detail(loss, "cause") != SOUND_WENT_ON:
        yield loss


def _spare_lost(told: Mapping[str, Told]) -> Iterator[Told]:
    """The second feed is away: the same one has not come back since."""
    loss, back = told.get("spare_lost"), told.get("spare_back")
    if loss is not None and (back is None or back.at < loss.at or _detail(back, "role") != _detail(loss, "role")):
        yield loss


def _detail(told: Told, name: str) -> Any:
    return (told.detail or {}).get(name)


def _last(told: Mapping[str, Told], kinds: Collection[str]) -> Told | None:
    return max((told[kind] for kind in kinds if kind in told), key=lambda one: one.at, default=None)


def _is_seen(one: Held, seen: Sequence[AlarmAcknowledgement]) -> bool:
    """This alarm, or the one that stood for the same loss before the end."""
    assert one.alarm.plan is not None
    place = f"{one.alarm.plan.channel}.{one.alarm.plan.broadcast_id}"
    if role := one.alarm.role:
        keys = {one.alarm.key, f"{place}.{Kind.FEED_LOST}.{role}.{Level.MILD}"}
        return any(it.alarm in keys and it.at >= one.since - FORGET_AFTER for it in seen)
    stalled = [f"{Kind.FEED_STALLED}.{role}" for role in ("primary", "backup")]
    keys = {one.alarm.key, *(f"{place}.{kind}.{Level.SEVERE}" for kind in (Kind.FEED_LOST, *stalled))}
    return any(it.alarm in keys and it.at >= one.since - FORGET_AFTER for it in seen)
