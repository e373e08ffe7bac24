"""When copies are read again, and what is noted of it: rows, and events of the custody log."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from archive.recordings import custody
from archive.recordings.repair import Cycle, Result
from archive.recordings.tables import RecordingCopy
from archive.recordings.verify import LEDGER_NAME
from core.tables import Recording

AGAIN = timedelta(hours=6)
"""When a copy that could not be mended is looked at again: another location may be back."""
MOST_TOLD = 20
"""Faults of a copy that are named one by one in its event; the others are counted."""


@dataclass(frozen=True, slots=True)
class Due:
    """A recording with the locations whose copies are to be read, and since when they wait."""

    recording_id: str
    locations: list[str]
    since_ms: int


@dataclass(frozen=True, slots=True)
class Checked:
    """What came of one location's copy: `repaired` and `held` are texts in English, `count` all that was wrong."""

    location: str
    files: int
    size_bytes: int
    count: int
    faults: list[str]
    repaired: list[str]
    held: list[str]
    is_lost: bool


@dataclass(frozen=True, slots=True)
class CheckedAll:
    """Of a recording. `hold`: why nothing at all may be touched. `ledger_head`: what the database must say, where it
    said something else."""

    copies: list[Checked]
    hold: str | None
    ledger_head: str | None


def due(session: Session, locations: Sequence[str], now: datetime) -> Due | None:
    """The recording that has waited longest, of those not on the air."""
    waiting = select(RecordingCopy).where(
        RecordingCopy.next_check_at <= now, RecordingCopy.location.in_(locations),
        RecordingCopy.state.not_in(("copying", "disposed")),
    )  # fmt: skip
    first = session.scalars(waiting.order_by(RecordingCopy.next_check_at).limit(1)).first()
    if first is None or first.next_check_at is None:
        return None
    found = session.scalars(waiting.where(RecordingCopy.recording_id == first.recording_id)).all()
    return Due(first.recording_id, sorted(one.location for one in found), round(first.next_check_at.timestamp() * 1000))


def ask(session: Session, now: datetime, recording_id: str | None = None, location: str | None = None) -> int:
    """Has copies read as soon as may be; how many."""
    change = update(RecordingCopy).where(RecordingCopy.state.not_in(("copying", "disposed"))).values(next_check_at=now)
    if recording_id is not None:
        change = change.where(RecordingCopy.recording_id == recording_id)
    if location is not None:
        change = change.where(RecordingCopy.location == location)
    return len(session.execute(change.returning(RecordingCopy.recording_id)).all())


def copy_anew(session: Session, location: str, now: datetime, recording_id: str | None = None) -> int:
    """A person's order for a location that lost its copies: each is made again; how many."""
    kept = (RecordingCopy.location == location) & (RecordingCopy.state != "disposed")
    change = update(RecordingCopy).where(kept).values(
        state="copying", ledger_bytes=0, files=0, size_bytes=0, papers_due=True, papers_at=None, whole_at=None,
        fault=None, attempts=0, next_try_at=now, next_check_at=None, turns=RecordingCopy.turns + 1,
    )  # fmt: skip
    if recording_id is not None:
        change = change.where(RecordingCopy.recording_id == recording_id)
    return len(session.execute(change.returning(RecordingCopy.recording_id)).all())


def told(cycle: Cycle, locations: Sequence[str]) -> CheckedAll:
    """What is worth noting of a cycle, small enough for a workflow's log."""
    copies = [_checked(cycle, location) for location in locations if location in cycle.examinations]
    judgement = cycle.judgement
    head = None
    if judgement.database is not None and judgement.authority is not None:
        head = judgement.authority.authentic_head(LEDGER_NAME)
    return CheckedAll(copies, judgement.hold.text() if judgement.hold is not None else None, head)


def _checked(cycle: Cycle, location: str) -> Checked:
    examined = cycle.examinations[location]
    mine = [one for one in cycle.outcomes if one.location == location]
    repaired = [one.fault.text() for one in mine if one.result is Result.REPAIRED]
    held = [
        f"{one.fault.text()} {one.why.text() if one.why else ''}".strip() for one in mine if one.result is Result.HELD
    ]
    others = [one.fault.text() for one in mine if one.result is Result.TOLD]
    is_lost = examined.away is not None or any(one.fault.kind == "location_lost" for one in mine)
    return Checked(
        location, examined.files_read, examined.bytes_read, len(mine), [one.fault.text() for one in mine][:MOST_TOLD],
        repaired[:MOST_TOLD], (held + others)[:MOST_TOLD], is_lost,
    )  # fmt: skip


def note(session: Session, due: Due, found: CheckedAll, pace_days: Mapping[str, float], now: datetime) -> None:
    """Noted again, it changes nothing."""
    now = custody.to_ms(now)
    recording = session.get_one(Recording, due.recording_id, with_for_update=True)
    if recording.disposed_at is not None:
        return
    if found.ledger_head is not None and recording.ledger_head != found.ledger_head:
        told: dict[str, Any] = {"location": "database", "detail": "the hash of the ledger was wrong there"}
        custody.append(session, recording.id, "recovery", now, outcome="success", **told)
        recording.ledger_head = found.ledger_head
    for location in due.locations:
        copy = session.get_one(RecordingCopy, (due.recording_id, location), with_for_update=True)
        waited = copy.next_check_at is None or round(copy.next_check_at.timestamp() * 1000) <= due.since_ms
        checked = next((one for one in found.copies if one.location == location), None)
        if copy.checked_at is not None and not waited:
            continue
        _note_copy(session, copy, checked, found.hold, timedelta(days=pace_days.get(location, 30)), now)


def _note_copy(
    session: Session, copy: RecordingCopy, checked: Checked | None, hold: str | None, pace: timedelta, now: datetime
) -> None:
    """A copy that could not be looked at, as nothing could be proven or the location was away, keeps its state's word:
    held, with the reason."""
    reasons = [hold] if hold else list(checked.held if checked is not None else ["it could not be looked at"])
    is_good = checked is not None and not reasons
    copy.next_check_at = now + (pace if is_good else min(pace, AGAIN))
    copy.fault = None if is_good else reasons[0]
    if copy.state != "copying":
        copy.state = "whole" if is_good else ("held" if hold else "faulty")
    if checked is None and hold is None:
        return
    copy.checked_at = now
    told: dict[str, Any] = {"location": copy.location, "files": checked.files if checked else 0}
    if checked is not None:
        told |= {"size_bytes": checked.size_bytes, "faults": checked.count, "detail": checked.faults}
    if hold:
        told["hold"] = hold
    outcome = "success" if is_good and not (checked and checked.count) else "fail"
    custody.append(session, copy.recording_id, "fixity check", now, outcome=outcome, **told)
    if checked is not None and checked.repaired:
        repaired: dict[str, Any] = {"location": copy.location, "detail": checked.repaired}
        custody.append(session, copy.recording_id, "recovery", now, outcome="success", **repaired)
