"""What lies at a place, new or back, of a recording that was destroyed by order: it is looked for once the place is
named, and removed there too (mbashara/rules.py). A legal hold that was placed meanwhile keeps it, and an alarm tells.

The row of such a copy is `disposed`; while it waits to be looked at, `next_check_at` says from when on. Each turn can
be done again; the caller owns the transactions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, Exists, Select, exists, select
from sqlalchemy.orm import Session

from archive.recordings import custody, disposal, forgotten, policy
from archive.recordings.custody import to_ms
from archive.recordings.disposal import Cleared
from archive.recordings.locations.errors import StoreError
from archive.recordings.locations.store import Store
from archive.recordings.policy_errors import HoldStands
from archive.recordings.policy_tables import DisposalRequest
from archive.recordings.tables import RecordingCopy
from core import audit
from core.database import NOW, Moment, is_any, transaction
from core.tables import Recording

AGAIN = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Turn:
    recording_id: str
    location: str
    since_ms: int
    """When it was to be looked at: another turn has another."""


@dataclass(frozen=True, slots=True)
class Found:
    files: int
    size_bytes: int
    error: str | None = None


def due(session: Session, locations: Sequence[str], now: datetime, limit: int = 20) -> list[Turn]:
    query = _due(locations, now).order_by(RecordingCopy.next_check_at).limit(limit)
    return [Turn(one.recording_id, one.location, _since_ms(one)) for one in session.scalars(query)]


def is_due(locations: Sequence[str]) -> Exists:
    """A question for the bell."""
    return is_any(_due(locations, NOW))


def _due(locations: Sequence[str], now: Moment) -> Select[RecordingCopy]:
    """Of orders that are being carried out, `disposal` clears all places."""
    of_it = DisposalRequest.recording_id == RecordingCopy.recording_id
    return select(RecordingCopy).where(
        RecordingCopy.state == "disposed", RecordingCopy.location.in_(locations), RecordingCopy.next_check_at <= now,
        ~exists().where(of_it, DisposalRequest.state == "carrying"),
    )  # fmt: skip


def look(store: Store, recording_id: str) -> Found:
    """Before anything is removed, so that whoever is killed meanwhile still knows what there was. Blocks."""
    try:
        keys, listed = store.keys(f"{recording_id}/"), list(store.list(f"{recording_id}/"))
    except StoreError as error:
        return Found(0, 0, str(error))
    media = {key for key in keys if disposal.is_media(recording_id, key)}
    return Found(len(media), sum(one.size_bytes for one in listed if one.key in media))


def remove(engine: Engine, turn: Turn, store: Store, recordings: Path, found: Found) -> Cleared:
    """Some at a time; the recording is locked for each, so whoever places a hold waits a moment, and what is left then
    is kept. Where nothing was found and nothing is known, nothing is asked for. Blocks. Raises OSError where the ledger
    here can't be read."""
    with transaction(engine) as session:
        if not found.files and turn.location not in forgotten.left_there(session, turn.recording_id):
            return Cleared(store.name, is_clear=True)

    def stopped(session: Session) -> Cleared | None:
        if _of_turn(session, turn) is None:
            return Cleared(store.name, is_stopped=True)
        for hold in policy.standing_holds(session, turn.recording_id):
            return Cleared(store.name, error=str(HoldStands(reason=hold.reason)))
        return None

    return disposal.clear_unless(engine, store, recordings, turn.recording_id, stopped)


def note(session: Session, turn: Turn, found: Found, removed: Cleared, now: datetime) -> None:
    """Noted again, it changes nothing. The custody log tells of it where something was there, or was known to be."""
    now, stands = to_ms(now), _of_turn(session, turn)
    if stands is None or removed.is_stopped:
        return
    recording, copy = stands
    told: dict[str, Any] = {"location": turn.location, "files": found.files, "size_bytes": found.size_bytes}
    if removed.error is not None:
        until = now if removed.until is None else datetime.fromisoformat(removed.until)
        is_told, copy.fault = copy.fault == removed.error, removed.error
        copy.next_check_at = max(now + AGAIN, until)
        if found.files and not is_told:
            custody.append(session, recording.id, forgotten.DELETION, now, outcome="fail", **told, detail=removed.error)
        return
    copy.fault, copy.next_check_at, copy.checked_at = None, None, now
    was_left = turn.location in forgotten.left_there(session, recording.id)
    if found.files or was_left:
        custody.append(session, recording.id, forgotten.DELETION, now, **told)
        audit.append(
            session, disposal.PROGRAM, "recording.dispose_remains", f"recording:{recording.id}", now=now,
            institution_id=recording.institution_id, after=told,
        )  # fmt: skip


def _of_turn(session: Session, turn: Turn) -> tuple[Recording, RecordingCopy] | None:
    """Locked; None where the turn is over."""
    recording = session.get(Recording, turn.recording_id, with_for_update=True, populate_existing=True)
    key = (turn.recording_id, turn.location)
    copy = session.get(RecordingCopy, key, with_for_update=True, populate_existing=True)
    if recording is None or recording.disposed_at is None or copy is None or copy.state != "disposed":
        return None
    return (recording, copy) if copy.next_check_at is not None and _since_ms(copy) == turn.since_ms else None


def _since_ms(copy: RecordingCopy) -> int:
    assert copy.next_check_at is not None, "what is due has a time"
    return round(copy.next_check_at.timestamp() * 1000)
