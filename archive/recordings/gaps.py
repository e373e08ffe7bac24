"""Gaps of files that were not there when a recording was closed, or that a person knows to be lost: brought up to what
fixity found, so that a file that is back closes its gap. What was told before stays in the custody log.
"""

from collections.abc import Collection, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from archive.recordings import custody, describe, rows
from archive.recordings.inventory import check_files, has_bytes, segments
from archive.recordings.rows import MISSING, MissingSpan
from archive.recordings.tables import LostFile
from core.tables import Gap, Recording

CORRECTED = "gaps corrected"


def settle(
    session: Session, recordings: Path, recording: Recording, wrong: Collection[str] | None, now: datetime
) -> bool:
    """`wrong`: all files of the recording's own folder that are not as the ledger says, as they were read just now;
    None where nobody read them: then no gap closes. Whether anything changed: gap rows, the recording's state, what is
    known to be lost. A file that is wrong and was neither told of when the recording was closed nor given up by a
    person makes no gap: it may be mended yet. Blocks while it looks at the files. Raises OSError. The recording's row
    is locked by the caller."""
    if recording.state == "recording" or recording.described_event_id == 0 or recording.disposed_at is not None:
        return False
    lost = set(session.scalars(select(LostFile.name).where(LostFile.recording_id == recording.id)))
    told = {MissingSpan(one.started_ms, one.ended_ms) for one in _told(session, recording.id)}
    back = set() if wrong is None else {name for name in lost if name not in wrong}
    if not (told or lost) or any(name.endswith("/index.m3u8") for name in (*(lost - back), *(wrong or ()))):
        return False  # without its index, nobody can say where a rendition's segments lie
    if wrong is None:
        stands = told | lost_spans(recordings / recording.id, lost)
    else:
        stands = set(_standing(recordings / recording.id, told, lost, wrong))
    if stands == told and not back:
        return False
    if back:
        session.execute(delete(LostFile).where(LostFile.recording_id == recording.id, LostFile.name.in_(back)))
    checked = check_files(recordings / recording.id)
    missing = sorted(stands, key=lambda span: (span.started_ms, span.ended_ms))
    rows.close(session, recording.id, checked.duration_ms, checked.size_bytes, missing)
    session.refresh(recording)
    _tell(session, recording, told, stands, back, now)
    return True


def lost_spans(folder: Path, lost: Collection[str]) -> set[MissingSpan]:
    """The stretches that need a lost file."""
    return set(_standing(folder, (), lost, lost))


def _told(session: Session, recording_id: str) -> Collection[Gap]:
    return session.scalars(select(Gap).where(Gap.recording_id == recording_id, Gap.cause == MISSING)).all()


def _standing(
    folder: Path, told: Collection[MissingSpan], lost: Collection[str], wrong: Collection[str]
) -> Iterator[MissingSpan]:
    for one in segments(folder):
        names = {path: f"{one.rendition}/{path.name}" for path in one.files}
        bad = {name for path, name in names.items() if name in wrong or not has_bytes(path)}
        if bad and (bad & set(lost) or any(_overlap(one.span, other) for other in told)):
            yield one.span


def _overlap(one: MissingSpan, other: MissingSpan) -> bool:
    return one.started_ms < other.ended_ms and other.started_ms < one.ended_ms


def _tell(
    session: Session, recording: Recording, before: set[MissingSpan], after: set[MissingSpan], back: set[str],
    now: datetime,
) -> None:  # fmt: skip
    told: dict[str, Any] = {
        "closed": _spans(before - after), "opened": _spans(after - before), "back": sorted(back),
        "state": recording.state,
    }  # fmt: skip
    custody.append(session, recording.id, CORRECTED, now, **told)
    describe.describe(session, recording.id, now)


def _spans(spans: set[MissingSpan]) -> list[list[int]]:
    return sorted([one.started_ms, one.ended_ms] for one in spans)
