"""Whether what someone has is of a recording, asked of the database: exports by their hash, and what a page says of how
well a recording is kept. Each function takes the session first."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, func, select, text
from sqlalchemy.orm import Session

from archive.recordings.tables import PreservationEvent, RecordingCopy
from core.tables import Broadcast, Recording

EXPORT = "export"
"""The kind of event that names a file that was made of a recording, with its SHA-256."""
MAX_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Kept:
    """How a recording is kept, for everyone: how many copies, not where. `checked_at` is the newest reading of any of
    them; `is_good` what it said."""

    copies: int
    checked_at: datetime | None
    is_good: bool


def find_exports(session: Session, sha256: str) -> list[tuple[PreservationEvent, dict[str, Any]]]:
    """Exports with this hash, newest first, with what their lines say. By the index `export_by_hash`."""
    hashed = text("(line::jsonb ->> 'sha256') = :sha256").bindparams(sha256=sha256)
    query = (
        select(PreservationEvent)
        .join(Recording, Recording.id == PreservationEvent.recording_id)
        .join(Broadcast, Broadcast.id == Recording.broadcast_id)
        .where(PreservationEvent.kind == EXPORT, hashed, ~Broadcast.is_test)
        .order_by(PreservationEvent.id.desc())
        .limit(MAX_SHOWN)
    )
    return [(event, json.loads(event.line)) for event in session.scalars(query)]


def kept(session: Session, recording_id: str, places: Collection[str] | None) -> Kept:
    """The recording's own folder counts as one, once it was looked at; a copy where none are kept any more counts for
    nothing. `places`: those that are named now, None where nobody can say."""
    found = session.scalars(select(RecordingCopy).where(RecordingCopy.recording_id == recording_id))
    copies = [one for one in found if places is None or one.location in places]
    whole = sum(one.state == "whole" for one in copies)
    checked = [one for one in copies if one.checked_at is not None]
    newest = max((one.checked_at for one in checked if one.checked_at is not None), default=None)
    return Kept(whole, newest, all(one.state in ("whole", "copying") for one in copies))


PUBLIC = ("ingestion", "replication", "fixity check", "recovery", "export", "deletion", "information package creation")
"""Kinds of events that everyone may know of: not holds, embargoes and who wishes what destroyed."""


def done(session: Session, recording_id: str) -> Sequence[Row[str, str, int, datetime]]:
    """What was done with the recording: kind, outcome, how often, when last. No persons."""
    return session.execute(
        select(PreservationEvent.kind, PreservationEvent.outcome, func.count(), func.max(PreservationEvent.at))
        .where(PreservationEvent.recording_id == recording_id, PreservationEvent.kind.in_(PUBLIC))
        .group_by(PreservationEvent.kind, PreservationEvent.outcome)
        .order_by(func.max(PreservationEvent.at).desc())
    ).all()
