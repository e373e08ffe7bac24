"""When copies are read again, and what is noted of it: rows, and events of the custody log."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Exists, Select, select, update
from sqlalchemy.orm import Session

from archive.recordings import custody, gaps
from archive.recordings.judge import Judgement
from archive.recordings.locations.config import LOCAL
from archive.recordings.repair import Cycle, Result
from archive.recordings.tables import RecordingCopy
from archive.recordings.verify import LEDGER_NAME
from archive.words import N_
from core.database import NOW, Moment, is_any
from core.tables import Recording

AGAIN = timedelta(hours=6)
"""When a copy that could not be mended is looked at again: another location may be back."""
NOT_LOOKED_AT = N_("it could not be looked at")
HEAD_WRONG = N_("the hash of the ledger was wrong there")
MOST_WRONG = 1000
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
    """What came of one location's copy: `repaired` and `held` are texts in English, `count` all that was wrong; `wrong`
    the files that still are; None where not all of them are known, or too many are for it to be a matter of files."""

    location: str
    files: int
    size_bytes: int
    count: int
    faults: list[str]
    repaired: list[str]
    held: list[str]
    away: str | None
    wrong: list[str] | None = None


@dataclass(frozen=True, slots=True)
class CheckedAll:
    """Of a recording. `hold`: why nothing at all may be touched. `ledger_head`: what the database must say, where it
    said something else."""

    copies: list[Checked]
    hold: str | None
    ledger_head: str | None


def due(session: Session, locations: Sequence[str], now: datetime) -> Due | None:
    """The recording that has waited longest, of those not on the air."""
    waiting = _due(locations, now)
    first = session.scalars(waiting.order_by(RecordingCopy.next_check_at).limit(1)).first()
    if first is None or first.next_check_at is None:
        return None
    found = session.scalars(waiting.where(RecordingCopy.recording_id == first.recording_id)).all()
    return Due(first.recording_id, sorted(one.location for one in found), round(first.next_check_at.timestamp() * 1000))


def is_due(locations: Sequence[str]) -> Exists:
    """A question for the bell."""
    return is_any(_due(locations, NOW))


def _due(locations: Sequence[str], now: Moment) -> Select[RecordingCopy]:
    return select(RecordingCopy).where(
        RecordingCopy.next_check_at <= now, RecordingCopy.location.in_(locations),
        RecordingCopy.state.not_in(("copying", "disposed")),
    )  # fmt: skip


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
        fault=None, attempts=0, next_try_at=now, next_check_at=None, damaged=0, is_anew=True,
        turns=RecordingCopy.turns + 1,
    )  # fmt: skip
    if recording_id is not None:
        change = change.where(RecordingCopy.recording_id == recording_id)
    return len(session.execute(change.returning(RecordingCopy.recording_id)).all())


def is_short(judgement: Judgement, ledger_bytes: int) -> bool:
    """Whether the database has read more of the ledger than anyone holds: someone went back to an older day."""
    authority = judgement.authority
    return judgement.database is not None and (
        authority is None or authority.chains[LEDGER_NAME].head_at(ledger_bytes) is None
    )


def told(cycle: Cycle, ledger_bytes: int) -> CheckedAll:
    """What is worth noting of a cycle, small enough for a workflow's log. `ledger_bytes`: as the database has them."""
    judgement = cycle.judgement
    hold = judgement.hold.text() if judgement.hold is not None else None
    head = None
    if judgement.database is not None and judgement.authority is not None:
        head = judgement.authority.chains[LEDGER_NAME].head_at(ledger_bytes)
        hold = hold or (judgement.database.text() if head is None else None)
    return CheckedAll([_checked(cycle, location) for location in cycle.examinations], hold, head)


def _checked(cycle: Cycle, location: str) -> Checked:
    """Papers that were only not copied yet are no fault."""
    examined, known = cycle.examinations[location], cycle.judgement.faults.get(location, ())
    mine = [
        one
        for one in cycle.outcomes
        if one.location == location and (one.fault.kind != "behind" or one.fault in known or one.result is Result.HELD)
    ]
    faults = [one.fault.text() for one in mine]
    if not mine:
        found = [*examined.faults, *known]
        faults = [one.text() for one in found]
    held = [one.text() for one in mine if one.result is Result.HELD]
    return Checked(
        location=location, files=examined.files_read, size_bytes=examined.bytes_read, count=len(faults),
        faults=faults[:MOST_TOLD], held=held[:MOST_TOLD],
        away=examined.away or cycle.judgement.papers[location].away,
        repaired=[one.fault.text() for one in mine if one.result is Result.REPAIRED][:MOST_TOLD],
        wrong=_wrong(cycle, location),
    )  # fmt: skip


def _wrong(cycle: Cycle, location: str) -> list[str] | None:
    examined = cycle.examinations[location]
    mended = {
        one.fault.values.get("file")
        for one in cycle.outcomes
        if one.location == location and one.result is Result.REPAIRED
    }
    wrong = [name for name in examined.faulty if name not in mended]
    return wrong if examined.is_complete and examined.away is None and len(wrong) <= MOST_WRONG else None


def merged(first: CheckedAll, seen: CheckedAll, then: CheckedAll) -> CheckedAll:
    """What was found at first, with what came of it. `seen`: what whoever mended last found, and `then` what came of
    that: of what was found at first it lacks what a killed process had mended before."""
    before, again = ({one.location: one for one in found.copies} for found in (first, seen))
    copies = []
    for one in then.copies:
        found, left = before.get(one.location), again[one.location]
        if found is not None and one.away is None and left.away is None:
            done = [fault for fault in found.faults if fault not in left.faults]
            one = replace(
                one, files=found.files, size_bytes=found.size_bytes,
                count=one.count + max(len(done), found.count - left.count),
                faults=[*done, *one.faults][:MOST_TOLD], repaired=[*done, *one.repaired][:MOST_TOLD],
            )  # fmt: skip
        copies.append(one)
    return CheckedAll(copies, then.hold, then.ledger_head)


def note(
    session: Session, due: Due, found: CheckedAll, asked: datetime, pace_days: Mapping[str, float], now: datetime,
    recordings: Path,
) -> None:  # fmt: skip
    """`asked`: when the check began. Noted again, it changes nothing. Copies that were not due are noted where
    something was wrong with them. Gaps of files that are back are closed. Raises OSError."""
    now = custody.to_ms(now)
    recording = session.get_one(Recording, due.recording_id, with_for_update=True)
    if recording.disposed_at is not None:
        return
    if found.ledger_head is not None and recording.ledger_head != found.ledger_head:
        told: dict[str, Any] = {"location": "database", "detail": HEAD_WRONG}
        custody.append(session, recording.id, "recovery", now, outcome="success", **told)
        recording.ledger_head = found.ledger_head
    by_location = {one.location: one for one in found.copies}
    others = [one.location for one in found.copies if one.count and one.location not in due.locations]
    for location in [*due.locations, *others]:
        copy = session.get(RecordingCopy, (due.recording_id, location), with_for_update=True)
        if copy is None or (copy.checked_at is not None and copy.checked_at >= asked):
            continue
        pace = timedelta(days=pace_days.get(location, 30))
        _note_copy(session, copy, by_location.get(location), found.hold, pace, now)
    here = by_location.get(LOCAL)
    if here is not None and here.wrong is not None and found.hold is None:
        gaps.settle(session, recordings, recording, here.wrong, now)


def _note_copy(
    session: Session, copy: RecordingCopy, checked: Checked | None, hold: str | None, pace: timedelta, now: datetime
) -> None:
    """A location that did not answer is asked again; what its copy is then known to be, it stays."""
    away = None if checked is None else checked.away
    if hold is None and (checked is None or away is not None):
        copy.next_check_at, copy.fault = now + min(pace, AGAIN), away or NOT_LOOKED_AT
        return
    held = [] if checked is None else checked.held
    reasons = [hold] if hold else held
    unmended = [] if checked is None else [one for one in checked.faults if one not in checked.repaired]
    copy.next_check_at = now + (min(pace, AGAIN) if reasons else pace)
    copy.fault = next(iter([*reasons, *unmended]), None)
    copy.checked_at = now
    if copy.state != "copying":
        copy.state = "held" if hold else "faulty" if reasons else "whole"
        copy.damaged = copy.damaged if reasons else 0
    told: dict[str, Any] = {"location": copy.location, "files": checked.files if checked else 0}
    if checked is not None:
        told |= {"size_bytes": checked.size_bytes, "faults": checked.count, "detail": checked.faults}
    if hold:
        told["hold"] = hold
    elif held:
        told["left"] = held
    is_good = not reasons and not (checked and checked.count)
    custody.append(session, copy.recording_id, "fixity check", now, outcome="success" if is_good else "fail", **told)
    if checked is not None and checked.repaired:
        repaired: dict[str, Any] = {"location": copy.location, "detail": checked.repaired}
        custody.append(session, copy.recording_id, "recovery", now, outcome="success", **repaired)
