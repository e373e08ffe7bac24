"""Dry runs: the server itself sends bars and tone the whole way of a channel's feed, where nobody outside sees it.

A dry run is a broadcast of its own (`is_test`), which media knows by a path of 160 bits of chance in the place of the
channel's slug. So the channel stays free: its encoder is taken as ever, and that ends the dry run.

    wanted --work has a key for it--> running --its time, a feed, an engineer, a restart--> ended

Each function takes the session first; the caller owns the transaction, and has asked whether this person may.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import Exists, Select, exists, func, select, text
from sqlalchemy.orm import Session

from core.broadcasts.errors import BroadcastError
from core.broadcasts.events import add_event
from core.broadcasts.lifecycle import AT_THE_CHANNEL, SETTLE, State
from core.broadcasts.plan import Plan
from core.ids import new_id
from core.tables import Broadcast, Channel, DryRun, Recording
from core.workers import channel_worker

PREFIX = "jaribio-"
PATH_BYTES = 20
LOCK = 0x647279  # any constant of our own: beginners take turns, so that the limit holds
DUE_WITHIN = timedelta(minutes=5)
LATE = timedelta(hours=1)
"""How long a plan whose time has passed may still be about to begin."""
JUDGED_AFTER = timedelta(minutes=1)
"""What was not seen good by then is told as not good."""
MAX_SHOWN = 10
READ = (
    DryRun.broadcast_id, DryRun.channel_id, DryRun.institution_id, DryRun.path, DryRun.key_hash, DryRun.state,
    DryRun.ends_at,
)  # fmt: skip
"""What of one media may read (mbashara/media_role.py)."""


class Step(StrEnum):
    """The way of a feed, in its order."""

    FEED = "feed"
    LADDER = "ladder"
    PLAYLISTS = "playlists"
    EDGE = "edge"
    RECORDING = "recording"


class Reason(StrEnum):
    """Why a dry run ended."""

    TIME = "time"
    FEED = "feed"
    TAKEN = "taken"
    STOPPED = "stopped"
    ENCODER = "encoder"
    RESTART = "restart"
    FAULT = "fault"


class DryRunRefused(BroadcastError):
    """It can't begin now; nothing was done."""


@dataclass(frozen=True, slots=True)
class Limits:
    at_once: int
    lasts: timedelta


@dataclass(frozen=True, slots=True)
class Running:
    """What media has to know of one."""

    path: str
    channel_id: int
    institution_id: int
    key_hash: str
    plan: Plan


def is_test_path(slug: str) -> bool:
    """Whether it stands for a dry run, not for a channel: it is as long as a slug may be."""
    return slug.startswith(PREFIX) and len(slug) == len(PREFIX) + PATH_BYTES * 8 // 5


def new_path(slug: str, workers: int, chance: Sequence[bytes]) -> str:
    """One in the channel's own media worker, from the first of the chances that leads there (PATH_BYTES each)."""
    paths = [PREFIX + base64.b32encode(one).decode().lower() for one in chance]
    return next((path for path in paths if channel_worker(path, workers) == channel_worker(slug, workers)), paths[0])


def begin(
    session: Session, channel: Channel, planned_id: str | None, limits: Limits, *, has_feed: bool, actor: str,
    now: datetime, randomness: bytes,
) -> DryRun:  # fmt: skip
    """Wanted from now on. Raises DryRunRefused where the channel or the machine has better to do."""
    session.execute(text("select pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
    _check(session, channel, limits, has_feed, now)
    identity = new_id(now, randomness)
    session.add(
        Broadcast(
            id=identity, air_id=identity, institution_id=channel.institution_id, channel_id=channel.id,
            state=State.LIVE, visibility="unlisted", is_test=True, created_by=actor, planned_start_at=now,
            ends_at=now + limits.lasts, title_sw=f"Jaribio: {channel.name_sw}", title_en=f"Dry run: {channel.name_en}",
        )
    )  # fmt: skip
    session.flush()
    made = DryRun(
        broadcast_id=identity, institution_id=channel.institution_id, channel_id=channel.id, planned_id=planned_id,
        state="wanted", began_at=now, ends_at=now + limits.lasts, findings={},
    )  # fmt: skip
    session.add(made)
    add_event(session, channel.institution_id, identity, now, "dry_run", actor)
    session.flush()
    return made


def _check(session: Session, channel: Channel, limits: Limits, has_feed: bool, now: datetime) -> None:
    under_way = [run.channel_id for run in all_under_way(session)]
    if channel.id in under_way:
        raise DryRunRefused("a dry run of this channel is under way / jaribio la chaneli hii linaendelea")
    if has_feed:
        raise DryRunRefused("an encoder sends on this channel / kisimbaji kinatuma kwenye chaneli hii")
    if is_taken(session, channel.id):
        raise DryRunRefused("the channel is on air or in rehearsal / chaneli iko hewani au katika mazoezi")
    if _is_due(session, channel.id, now):
        raise DryRunRefused(
            "a broadcast of this channel begins within five minutes"
            " / tangazo la chaneli hii linaanza ndani ya dakika tano"
        )
    if len(under_way) >= limits.at_once:
        raise DryRunRefused(
            "as many dry runs as there may be are under way; try again in some minutes"
            " / majaribio yamefikia idadi inayoruhusiwa; jaribu tena baada ya dakika chache"
        )


def is_taken(session: Session, channel_id: int) -> bool:
    """Whether a broadcast has the channel, of people or of a feed."""
    real = (Broadcast.channel_id == channel_id) & Broadcast.state.in_(AT_THE_CHANNEL) & ~Broadcast.is_test
    return session.scalar(select(Broadcast.id).where(real).limit(1)) is not None


def _is_due(session: Session, channel_id: int, now: datetime) -> bool:
    soon = Broadcast.planned_start_at.between(now - LATE, now + DUE_WITHIN)
    due = (Broadcast.channel_id == channel_id) & (Broadcast.state == State.SCHEDULED) & soon
    return session.scalar(select(Broadcast.id).where(due).limit(1)) is not None


def is_under_way() -> Exists:
    """A question for the bell of the work process: whether there is one."""
    return exists().where(DryRun.state != "ended")


def all_under_way(session: Session) -> Sequence[DryRun]:
    return session.scalars(select(DryRun).where(DryRun.state != "ended").order_by(DryRun.began_at)).all()


def start(session: Session, broadcast_id: str, path: str, key_hash: str, now: datetime) -> timedelta | None:
    """The key lets in from now on; how long. None: it was stopped, or another has started it."""
    run = _lock(session, broadcast_id)
    if run.state != "wanted":
        return None
    lasts = run.ends_at - run.began_at
    run.state, run.path, run.key_hash, run.ends_at = "running", path, key_hash, now + lasts
    session.get_one(Broadcast, broadcast_id).ends_at = run.ends_at
    return lasts


def keep_found(session: Session, broadcast_id: str, found: Mapping[Step, Mapping[str, Any]], now: datetime) -> None:
    """Keeps what was found of steps: `is_good`, and figures of the step's own. What is good is worth an event, for
    those who watch; what is not, when it was not known before."""
    run = _lock(session, broadcast_id)
    news = [step for step, one in found.items() if one["is_good"] or step not in run.findings]
    run.findings = {**run.findings, **{step: dict(one) for step, one in found.items()}}
    if news:
        add_event(session, run.institution_id, broadcast_id, now, "dry_run_found", steps=news)


def judge(session: Session, broadcast_id: str, now: datetime) -> None:
    """JUDGED_AFTER has passed: for those who watch."""
    run = _lock(session, broadcast_id)
    add_event(session, run.institution_id, broadcast_id, now, "dry_run_judged")


def has_ended(session: Session, broadcast_id: str) -> bool:
    return session.scalar(select(DryRun.state).where(DryRun.broadcast_id == broadcast_id)) == "ended"


def end(session: Session, broadcast_id: str, reason: Reason, now: datetime, actor: str | None = None) -> bool:
    """The key lets nobody in any more, and media ends what is on the air there. False: it has ended already."""
    run = _lock(session, broadcast_id)
    if run.state == "ended":
        return False
    run.state, run.reason, run.ended_at, run.key_hash = "ended", reason, now, None
    session.get_one(Broadcast, broadcast_id, with_for_update=True).ends_at = now - SETTLE
    add_event(session, run.institution_id, broadcast_id, now, "dry_run_ended", actor, reason=reason)
    return True


def _lock(session: Session, broadcast_id: str) -> DryRun:
    return session.get_one(DryRun, broadcast_id, with_for_update=True, populate_existing=True)


def under_way(session: Session, channel_id: int) -> DryRun | None:
    return session.scalar(select(DryRun).where(DryRun.channel_id == channel_id, DryRun.state != "ended"))


def latest(session: Session, channel_id: int) -> Sequence[DryRun]:
    """Newest first."""
    mine = select(DryRun).where(DryRun.channel_id == channel_id)
    return session.scalars(mine.order_by(DryRun.began_at.desc()).limit(MAX_SHOWN)).all()


def is_recorded(session: Session, broadcast_id: str) -> bool:
    return session.scalar(select(func.count()).where(Recording.broadcast_id == broadcast_id)) == 1


def running() -> Select[*tuple[Any, ...]]:
    """READ of those that run, and what they have on the air."""
    query = select(*READ, Broadcast.air_id).join(Broadcast, Broadcast.id == DryRun.broadcast_id)
    return query.where(DryRun.state == "running").order_by(DryRun.path)


def read_running(session: Session) -> list[Running]:
    return [
        Running(
            run.path, run.channel_id, run.institution_id, run.key_hash,
            Plan(run.broadcast_id, run.air_id, "live", round(run.ends_at.timestamp() * 1000)),
        )
        for run in session.execute(running())
        if run.path is not None and run.key_hash is not None
    ]  # fmt: skip
