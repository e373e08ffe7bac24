"""The custody log of a recording: what was done to it after it was on the air, in PREMIS' words, chained by hash.

An event is a row first, in the transaction of what it tells of; the notary writes its line into the recording's own
custody.jsonl and signs that. So rows and files say the same, and either can be made again from the other.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from archive.recordings.ledger import hash_of, line_of
from archive.recordings.tables import PreservationEvent, RecordingCopy
from archive.recordings.verify import CUSTODY_NAME
from core.tables import Recording

STRANGE = ".strange"
"""The folder, among the recordings, of files that were found in a recording and are not of it."""
PROGRAM = "mbashara"
"""The agent of what nobody asked for."""

log: structlog.stdlib.BoundLogger = structlog.get_logger("archive.custody")


def append(
    session: Session, recording_id: str, kind: str, now: datetime, *, outcome: str = "success", agent: str = PROGRAM,
    **detail: Any,
) -> PreservationEvent:  # fmt: skip
    """Adds an event in the caller's transaction. `kind` is a word of PREMIS' event types where it has one; `detail` is
    JSON. Others who append to the same recording wait."""
    recording = session.get_one(Recording, recording_id, with_for_update=True)
    now = to_ms(now)
    fact = {"fact": kind, "at": now.isoformat(timespec="milliseconds"), "outcome": outcome, "agent": agent, **detail}
    line = line_of(fact, recording.custody_head)
    event = PreservationEvent(
        recording_id=recording_id, institution_id=recording.institution_id, at=now, kind=kind, outcome=outcome,
        agent=agent, line=line.decode().rstrip("\n"),
    )  # fmt: skip
    session.add(event)
    recording.custody_head = hash_of(line)
    recording.custody_bytes += len(line)
    session.execute(update(RecordingCopy).where(RecordingCopy.recording_id == recording_id).values(papers_due=True))
    session.flush()
    return event


def to_ms(now: datetime) -> datetime:
    """As exact as a file tells it, so that rows made again from files are the same."""
    return now.astimezone(UTC).replace(microsecond=now.microsecond // 1000 * 1000)


def write_file(session: Session, folder: Path, recording: Recording) -> None:
    """Brings custody.jsonl up to the rows. Raises OSError."""
    put_file(folder, b"".join(line.encode() + b"\n" for line in lines(session, recording.id)))


def put_file(folder: Path, whole: bytes) -> None:
    """A file that is not the beginning of `whole`, what the rows say, is kept out of the recording's folder, under a
    name that tells when, and written anew: the rows are chained too. Raises OSError."""
    path = folder / CUSTODY_NAME
    is_link = path.is_symlink()
    found = path.read_bytes() if path.exists() and not is_link else b""
    if found == whole and not is_link:
        return
    if whole.startswith(found) and not is_link:
        with path.open("ab") as file:
            file.write(whole[len(found) :])
        return
    aside = folder.parent / STRANGE
    aside.mkdir(exist_ok=True)
    kept = aside / f"{folder.name}-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}-{CUSTODY_NAME}"
    log.error("a custody log is not what the database says; it is kept aside", file=str(kept))
    fresh = aside / f"{folder.name}-{CUSTODY_NAME}.new"  # what a kill leaves of it is no file of the recording
    fresh.unlink(missing_ok=True)
    fresh.write_bytes(whole)
    path.rename(kept)
    fresh.rename(path)


def lines(session: Session, recording_id: str) -> Sequence[str]:
    query = select(PreservationEvent.line).where(PreservationEvent.recording_id == recording_id)
    return session.scalars(query.order_by(PreservationEvent.id)).all()


def events(session: Session, recording_id: str, limit: int = 200) -> Sequence[PreservationEvent]:
    """Newest first."""
    query = select(PreservationEvent).where(PreservationEvent.recording_id == recording_id)
    return session.scalars(query.order_by(PreservationEvent.id.desc()).limit(limit)).all()
