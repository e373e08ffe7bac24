"""Legal holds as the stores themselves know them: where a location has object lock, it refuses to remove a file of a
held recording, whoever asks. Set as files arrive there, cleared when the last hold is lifted.

A row follows the copy's ledger, as the copy does; setting a hold again does no harm. It outlives a place that was
forgotten: what its store knows then is in doubt, so that it is told anew once it is back, the newest word last.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import Exists, Select, and_, exists, func, literal, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from archive.recordings.locations.config import LOCAL
from archive.recordings.locations.errors import Missing, StoreError, Unsupported
from archive.recordings.locations.many import each
from archive.recordings.locations.store import Store
from archive.recordings.policy_tables import Hold, StoreHold
from archive.recordings.tables import RecordingCopy
from archive.recordings.verify import LEDGER_NAME
from core.database import NOW, Moment, is_any
from core.staff.permissions import Scope
from core.tables import Recording

WORKERS = 4
FIRST_RETRY, LAST_RETRY = timedelta(seconds=5), timedelta(hours=1)
LATE = timedelta(minutes=5)
"""After a hold was placed the stores should know of it."""
OF_BEFORE = 2
"""Turns that are skipped when a place is forgotten: none of before is then taken for one that is noted again."""


@dataclass(frozen=True, slots=True)
class Turn:
    """Files that `[begin, end)` of the ledger name; `on`: set the hold, else clear it."""

    recording_id: str
    location: str
    on: bool
    begin: int
    end: int
    number: int


@dataclass(frozen=True, slots=True)
class Applied:
    files: int
    is_supported: bool = True
    error: str | None = None


def due(session: Session, locations: Sequence[str], now: datetime, limit: int = 20) -> list[Turn]:
    return [_turn(*row) for row in session.execute(_due(locations, now).limit(limit))]


def is_due(locations: Sequence[str]) -> Exists:
    """A question for the bell."""
    return is_any(_due(locations, NOW))


def _due(locations: Sequence[str], now: Moment) -> Select[RecordingCopy, StoreHold, bool]:
    is_held = exists().where(Hold.recording_id == RecordingCopy.recording_id, Hold.lifted_at.is_(None))
    is_behind = or_(
        StoreHold.recording_id.is_(None),
        StoreHold.ledger_bytes.is_(None),
        and_(StoreHold.is_supported, StoreHold.ledger_bytes != RecordingCopy.ledger_bytes),
    )
    has_media = or_(RecordingCopy.state != "disposed", RecordingCopy.next_check_at.is_not(None))
    of_copy = and_(StoreHold.recording_id == RecordingCopy.recording_id, StoreHold.location == RecordingCopy.location)
    return (
        select(RecordingCopy, StoreHold, is_held.label("is_held"))
        .outerjoin(StoreHold, of_copy)
        .where(
            RecordingCopy.location.in_(locations),
            RecordingCopy.location != LOCAL,
            or_(
                and_(is_held, is_behind, has_media, RecordingCopy.ledger_bytes > 0),
                and_(~is_held, StoreHold.ledger_bytes.is_not(None)),
            ),
            or_(StoreHold.next_try_at.is_(None), StoreHold.next_try_at <= now),
        )
    )


def _turn(copy: RecordingCopy, told: StoreHold | None, is_held: bool) -> Turn:
    known = 0 if told is None or told.ledger_bytes is None else told.ledger_bytes
    number = 0 if told is None else told.turns
    if not is_held:
        return Turn(copy.recording_id, copy.location, False, 0, max(known, copy.ledger_bytes), number)
    begin = known if known <= copy.ledger_bytes else 0  # a copy that is made anew has new files
    return Turn(copy.recording_id, copy.location, True, begin, copy.ledger_bytes, number)


def apply(store: Store, recordings: Path, turn: Turn) -> Applied:
    """Blocks. Files that are not there are left: there is nothing to hold. Raises OSError."""
    with (recordings / turn.recording_id / LEDGER_NAME).open("rb") as ledger:
        ledger.seek(turn.begin)
        data = ledger.read(turn.end - turn.begin)
    facts = [json.loads(line) for line in data[: data.rfind(b"\n") + 1].splitlines()]
    keys = sorted({f"{turn.recording_id}/{fact['name']}" for fact in facts if fact["fact"] == "file"})
    try:
        for key in keys[:1]:
            store.set_hold(key, turn.on)
    except Unsupported:
        return Applied(0, is_supported=False)
    except Missing:
        pass  # the others may be there
    except StoreError as error:
        return Applied(0, error=str(error))

    def tell(key: str) -> str | None:
        try:
            store.set_hold(key, turn.on)
        except Missing:
            return None
        except StoreError as error:
            return str(error)
        return None

    for _, error_text in each(f"hold {store.name}", WORKERS, keys[1:], tell):
        if error_text is not None:
            return Applied(0, error=error_text)
    return Applied(len(keys))


def note(session: Session, turn: Turn, applied: Applied, now: datetime) -> None:
    """Noted again, it changes nothing. One of a time before the place was forgotten may have come behind a newer one:
    then nobody knows what the store was told last."""
    recording = session.get(Recording, turn.recording_id, with_for_update=True)
    if recording is None:
        return
    told = session.get(StoreHold, (turn.recording_id, turn.location), with_for_update=True, populate_existing=True)
    if told is None:
        told = StoreHold(
            recording_id=turn.recording_id, location=turn.location, institution_id=recording.institution_id,
            is_supported=True, turns=0, attempts=0, next_try_at=now,
        )  # fmt: skip
        session.add(told)
    if turn.number < told.turns - 1 and applied.is_supported:
        told.ledger_bytes, told.next_try_at = recording.ledger_bytes + 1, now
    if told.turns != turn.number:
        return
    told.turns += 1
    told.fault, told.next_try_at = applied.error, now
    if applied.error is not None:
        told.next_try_at = now + min(LAST_RETRY, FIRST_RETRY * 2 ** min(told.attempts, 12))
        told.attempts += 1
        if turn.on and told.ledger_bytes is None:
            told.ledger_bytes = 0  # some may be set: they are to be cleared when the hold is lifted
        return
    told.attempts, told.is_supported = 0, applied.is_supported
    told.ledger_bytes = turn.end if turn.on else None


def doubt(session: Session, location: str, now: datetime) -> None:
    """Before the copies there are forgotten: a turn that is under way is one of a time before from now on. More bytes
    than any ledger has: whatever is wanted there, all files are told of it anew."""
    was_held = exists().where(Hold.recording_id == Recording.id)
    at_it = (
        select(
            Recording.id, literal(location), Recording.institution_id, Recording.ledger_bytes + 1, literal(True),
            literal(OF_BEFORE), literal(0), literal(now),
        )
        .join(RecordingCopy, RecordingCopy.recording_id == Recording.id)
        .where(RecordingCopy.location == location, was_held)
    )  # fmt: skip
    names = [
        "recording_id", "location", "institution_id", "ledger_bytes",
        "is_supported", "turns", "attempts", "next_try_at",
    ]  # fmt: skip
    made = insert(StoreHold).from_select(names, at_it)
    again = {"turns": StoreHold.turns + OF_BEFORE, "ledger_bytes": made.excluded.ledger_bytes, "fault": None}
    session.execute(
        made.on_conflict_do_update(
            index_elements=["recording_id", "location"],
            set_={**again, "is_supported": True, "attempts": 0, "next_try_at": now},
        )
    )


def untold(session: Session, visible: Scope, now: datetime) -> dict[str, int]:
    """By locations: of how many copies under legal hold the store was not told of it, or not of all files."""
    is_held = exists().where(
        Hold.recording_id == RecordingCopy.recording_id, Hold.lifted_at.is_(None), Hold.placed_at < now - LATE
    )
    of_copy = and_(StoreHold.recording_id == RecordingCopy.recording_id, StoreHold.location == RecordingCopy.location)
    lacks = and_(
        StoreHold.is_supported,
        or_(StoreHold.ledger_bytes.is_(None), StoreHold.ledger_bytes > RecordingCopy.ledger_bytes),
    )
    query = (
        select(RecordingCopy.location, func.count())
        .outerjoin(StoreHold, of_copy)
        .where(
            visible.where(RecordingCopy.institution_id), RecordingCopy.location != LOCAL, is_held,
            RecordingCopy.ledger_bytes > 0, or_(StoreHold.recording_id.is_(None), StoreHold.fault.is_not(None), lacks),
            or_(RecordingCopy.state != "disposed", RecordingCopy.next_check_at.is_not(None)),
        )
        .group_by(RecordingCopy.location)
        .order_by(RecordingCopy.location)
    )  # fmt: skip
    return {row[0]: row[1] for row in session.execute(query)}


def told(session: Session, recording_id: str) -> Sequence[StoreHold]:
    """Of each location, for a page."""
    query = select(StoreHold).where(StoreHold.recording_id == recording_id)
    return session.scalars(query.order_by(StoreHold.location)).all()
