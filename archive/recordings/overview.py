"""What the archive's own pages ask of the database: lists of recordings with their copies, and what is not well.

Each function takes the session first; rights are the caller's to ask.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, case, exists, func, or_, select, tuple_
from sqlalchemy.orm import Session

from archive.recordings.alarms import (
    OVERDUE_BY,
    SAFE_COPIES,
    SOON,
    UNSIGNED_FOR,
    UNSTAMPED_FOR,
    CopyFacts,
    Facts,
)
from archive.recordings.tables import PreservationEvent, RecordingCopy
from core.staff.permissions import Scope
from core.tables import Broadcast, Channel, Recording

MAX_TROUBLED = 200
"""Recordings of an institution that are looked at for alarms."""
MAX_CHANNELS = 1000

Listed = Row[Recording, Broadcast, Channel]


class Shown(StrEnum):
    """Which recordings a list has."""

    ALL = "all"
    SAFE = "safe"
    COPYING = "copying"
    FAULTY = "faulty"
    HELD = "held"
    FEW = "few"
    """Ended, with fewer whole copies than a recording must have."""


@dataclass(frozen=True, slots=True)
class Filter:
    """None and "" ask for all. `since` is inclusive, `until` is not. `places`: where a whole copy counts."""

    channel: str = ""
    words: str = ""
    since: datetime | None = None
    until: datetime | None = None
    shown: Shown = Shown.ALL
    places: Collection[str] | None = None


def page(
    session: Session, visible: Scope, wanted: Filter, *, after: tuple[datetime, str] | None, limit: int
) -> Sequence[Listed]:
    """Newest first, those behind `after`: the beginning and the id of the last one seen."""
    conditions = [visible.where(Recording.institution_id), ~Broadcast.is_test, *_wanted(wanted)]
    if after is not None:
        conditions.append(tuple_(Recording.started_at, Recording.id) < tuple_(*after))
    return session.execute(
        select(Recording, Broadcast, Channel)
        .join(Broadcast, Broadcast.id == Recording.broadcast_id)
        .join(Channel, Channel.id == Broadcast.channel_id)
        .where(*conditions)
        .order_by(Recording.started_at.desc(), Recording.id.desc())
        .limit(limit)
    ).all()


def _wanted(wanted: Filter) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if wanted.channel:
        found.append(Channel.slug == wanted.channel)
    if wanted.words:
        alike = f"%{_plain(wanted.words)}%"
        found.append(
            or_(Broadcast.title_sw.ilike(alike), Broadcast.title_en.ilike(alike), Recording.id == wanted.words)
        )
    if wanted.since is not None:
        found.append(Recording.started_at >= wanted.since)
    if wanted.until is not None:
        found.append(Recording.started_at < wanted.until)
    match wanted.shown:
        case Shown.SAFE:
            found += [~_has(RecordingCopy.state != "whole"), whole_copies(wanted.places) >= SAFE_COPIES]
        case Shown.COPYING | Shown.FAULTY | Shown.HELD:
            found.append(_has(RecordingCopy.state == str(wanted.shown)))
        case Shown.FEW:
            found += [Recording.state != "recording", whole_copies(wanted.places) < SAFE_COPIES]
    return found


def _plain(words: str) -> str:
    """Without what `like` takes for more than it is."""
    return words.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _has(condition: ColumnElement[bool]) -> ColumnElement[bool]:
    return exists().where(RecordingCopy.recording_id == Recording.id, condition)


def whole_copies(places: Collection[str] | None) -> ColumnElement[int]:
    mine = and_(RecordingCopy.recording_id == Recording.id, RecordingCopy.state == "whole")
    if places is not None:
        mine = and_(mine, RecordingCopy.location.in_(places))
    return select(func.count()).select_from(RecordingCopy).where(mine).correlate(Recording).scalar_subquery()


def copies_of(session: Session, recording_ids: Sequence[str]) -> Mapping[str, Sequence[RecordingCopy]]:
    query = select(RecordingCopy).where(RecordingCopy.recording_id.in_(recording_ids)).order_by(RecordingCopy.location)
    found: dict[str, list[RecordingCopy]] = {one: [] for one in recording_ids}
    for copy in session.scalars(query):
        found[copy.recording_id].append(copy)
    return found


def channels(session: Session, visible: Scope) -> Sequence[Channel]:
    query = select(Channel).where(visible.where(Channel.institution_id)).order_by(Channel.slug)
    return session.scalars(query.limit(MAX_CHANNELS)).all()


@dataclass(frozen=True, slots=True)
class Counted:
    """Copies at a location, by state; `oldest_check_at` is the reading that is due longest."""

    states: Mapping[str, int]
    files: int
    size_bytes: int
    oldest_check_at: datetime | None

    @property
    def at_risk(self) -> int:
        """Copies that somebody would have to read again."""
        return sum(count for state, count in self.states.items() if state != "disposed")


def by_location(session: Session, visible: Scope) -> dict[str, Counted]:
    found: dict[str, Counted] = {}
    query = (
        select(
            RecordingCopy.location, RecordingCopy.state, func.count(), func.sum(RecordingCopy.files),
            func.sum(RecordingCopy.size_bytes), func.min(RecordingCopy.next_check_at),
        )
        .where(visible.where(RecordingCopy.institution_id))
        .group_by(RecordingCopy.location, RecordingCopy.state)
        .order_by(RecordingCopy.location)
    )  # fmt: skip
    for location, state, count, files, size_bytes, due_at in session.execute(query):
        before = found.get(location, Counted({}, 0, 0, None))
        dues = [at for at in (before.oldest_check_at, due_at if state != "copying" else None) if at is not None]
        found[location] = Counted(
            {**before.states, state: count}, before.files + files, before.size_bytes + int(size_bytes),
            min(dues, default=None),
        )  # fmt: skip
    return found


def troubled(
    session: Session, visible: Scope, now: datetime, of_each: int = MAX_TROUBLED, places: Collection[str] | None = None
) -> list[Facts]:
    """Recordings of which something may be an alarm: the newest, at most `of_each` of one institution. `places` as
    alarms.decide has them."""
    rank = func.row_number().over(partition_by=Recording.institution_id, order_by=Recording.started_at.desc())
    ranked = (
        select(Recording.id, rank.label("rank"))
        .join(Broadcast, Broadcast.id == Recording.broadcast_id)
        .where(visible.where(Recording.institution_id), ~Broadcast.is_test)
        .where(
            or_(
                _has(RecordingCopy.state.in_(("faulty", "held"))),
                _has(and_(RecordingCopy.attempts > 0, RecordingCopy.fault.is_not(None))),
                _has(RecordingCopy.next_check_at < now - OVERDUE_BY),
                _has(and_(RecordingCopy.state == "disposed", RecordingCopy.next_check_at.is_not(None))),
                and_(
                    Recording.ended_at < now - SOON, Recording.disposed_at.is_(None), whole_copies(places) < SAFE_COPIES
                ),
                and_(
                    or_(
                        Recording.signed_bytes < Recording.ledger_bytes,
                        Recording.signed_custody_bytes < Recording.custody_bytes,
                    ),
                    _unsigned_since() < now - UNSIGNED_FOR,
                ),
            )
        )
    ).subquery()
    query = (
        select(Recording, Broadcast.title_sw, Broadcast.title_en, _unsigned_since())
        .join(Broadcast, Broadcast.id == Recording.broadcast_id)
        .join(ranked, ranked.c.id == Recording.id)
        .where(ranked.c.rank <= of_each)
        .order_by(Recording.started_at.desc())
    )
    rows = session.execute(query).all()
    copies = copies_of(session, [recording.id for recording, _, _, _ in rows])
    return [
        Facts(
            recording.id, title_sw, title_en, recording.ended_at,
            is_signed(recording),
            since or recording.started_at, tuple(_facts(copy) for copy in copies[recording.id]),
        )
        for recording, title_sw, title_en, since in rows
    ]  # fmt: skip


def _unsigned_since() -> ColumnElement[datetime]:
    """Of a recording that is not signed to its end. Where its ledger is, the oldest note since the last signature
    counts: what is noted of a recording that lay untouched for a year would be late at once."""
    noted_at = (
        select(func.min(PreservationEvent.at))
        .where(PreservationEvent.recording_id == Recording.id, PreservationEvent.at > Recording.signed_at)
        .correlate(Recording)
        .scalar_subquery()
    )
    is_ledger_signed = Recording.signed_bytes >= Recording.ledger_bytes
    return func.coalesce(case((is_ledger_signed, noted_at)), Recording.signed_at, Recording.started_at)


def unstamped(session: Session, visible: Scope, now: datetime) -> int:
    """Recordings that have ended and whose last signature of the ledger no time-stamp authority has seen yet."""
    waits = (
        Recording.state == "complete",
        Recording.stamped_bytes < Recording.signed_bytes,
        Recording.signed_at < now - UNSTAMPED_FOR,
    )
    query = select(func.count()).select_from(Recording).join(Broadcast, Broadcast.id == Recording.broadcast_id)
    return session.scalars(query.where(visible.where(Recording.institution_id), ~Broadcast.is_test, *waits)).one()


def is_signed(recording: Recording) -> bool:
    """To the end of its ledger and of its custody log."""
    signed = recording.signed_bytes, recording.signed_custody_bytes
    return signed == (recording.ledger_bytes, recording.custody_bytes)


def _facts(copy: RecordingCopy) -> CopyFacts:
    return CopyFacts(copy.location, copy.state, copy.fault, copy.attempts, copy.next_check_at)


def events(
    session: Session, recording_id: str, *, kind: str = "", before_id: int | None = None, limit: int
) -> list[tuple[PreservationEvent, dict[str, Any]]]:
    """Of the custody log, newest first, with what their lines say."""
    query = select(PreservationEvent).where(PreservationEvent.recording_id == recording_id)
    if kind:
        query = query.where(PreservationEvent.kind == kind)
    if before_id is not None:
        query = query.where(PreservationEvent.id < before_id)
    found = session.scalars(query.order_by(PreservationEvent.id.desc()).limit(limit))
    return [(event, json.loads(event.line)) for event in found]
