"""Fixity in the work process: copies that are due are read again, and mended from each other, by durable workflows."""

import threading
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog
from dbos import DBOS
from dbos import error as dbos_error
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from archive.recordings import checks, copies, custody, resolve, signatures, signing_keys
from archive.recordings.checks import Checked, CheckedAll, Due
from archive.recordings.custody import CustodyError
from archive.recordings.fixity import Examination
from archive.recordings.judge import Judgement, judge
from archive.recordings.locations.config import LOCAL
from archive.recordings.locations.store import Store
from archive.recordings.repair import SCRATCH, Cycle, examine_all, repair
from core.database import open_engine, transaction
from core.tables import Recording
from mbashara.bell import Bell, serve
from mbashara.settings import Settings
from mbashara.workflows import FORGET_PACE_S, OneAtATime

PACE_S = 2.0
"""From one check's beginning to the next one's, at least."""

log: structlog.stdlib.BoundLogger = structlog.get_logger("mbashara.fixity")


@dataclass(frozen=True, slots=True)
class Known:
    """What the database says of a recording, the stores that have copies of it, and files known to be lost."""

    recording_id: str
    keys: dict[bytes, str | None]
    ledger_bytes: int
    ledger_head: str
    copied: dict[str, int]
    stores: dict[str, Store]
    lost: set[str]


@dataclass(slots=True)
class Fixity:
    """Starts checks, one at a time: whoever watches or records must not feel it."""

    settings: Settings
    engine: Engine
    stores: dict[str, Store]
    pace_days: dict[str, float]
    turns: OneAtATime = field(default_factory=lambda: OneAtATime("fixity:", PACE_S))
    _read: tuple[Due | None, dict[str, Examination]] = (None, {})
    """What was read last, for which check."""

    def round(self, is_full: bool) -> None:
        self.turns.round(self.begin_due, is_full)

    def begin_due(self) -> None:
        with transaction(self.engine) as session:
            due = checks.due(session, list(self.stores), datetime.now(UTC))
        if due is not None:
            self.turns.begin(f"{due.recording_id}:{due.since_ms}", check_copies, asdict(due))

    def examine(self, due: Due) -> tuple[CheckedAll, bool]:
        """Reads what is due; whether all of it is well. If it is not, all other copies too: what is mended next is on
        record then. A location that does not answer is no reason to read others."""
        known = self.known(due.recording_id)
        judgement = self.judge(known)
        found = examine_all({name: known.stores[name] for name in due.locations if name in known.stores}, judgement)
        is_well = not any(one.faulty.keys() - known.lost for one in found.values() if one.away is None)
        is_well &= not any(
            known.lost & judgement.files_of(name).keys() - one.faulty.keys()
            for name, one in found.items()
            if one.away is None
        )
        is_well &= judgement.hold is None and judgement.database is None and not any(judgement.faults.values())
        if not is_well:
            found |= examine_all({name: store for name, store in known.stores.items() if name not in found}, judgement)
        self._read = due, found
        return checks.told(Cycle(judgement, found, ()), known.ledger_bytes), is_well

    def mend(self, due: Due, first: CheckedAll) -> CheckedAll:
        """Mends all copies from each other, and reads them before if that was another process, or their place has come
        meanwhile. `first` is what was found when they were read the first time."""
        known = self.known(due.recording_id)
        judgement = self.judge(known)
        read = self._read[1] if self._read[0] == due else {}
        found = {name: one for name, one in read.items() if name in known.stores}
        found |= examine_all({name: store for name, store in known.stores.items() if name not in found}, judgement)
        seen = checks.told(Cycle(judgement, found, ()), known.ledger_bytes)
        if checks.is_short(judgement, known.ledger_bytes):
            return seen
        engine = self.patient()
        try:
            with transaction(engine) as session:  # nobody else writes to the papers meanwhile
                recording = signatures.lock(session, due.recording_id)
                if recording.disposed_at is not None:
                    return checks.told(Cycle(judgement, {}, ()), known.ledger_bytes)
                judgement = self.judge(known)
                outcomes = tuple(repair(known.stores, judgement, found, self.scratch(), lost=known.lost))
                self.adopt(session, recording, known)
        finally:
            engine.dispose()
        return checks.merged(first, seen, checks.told(Cycle(judgement, found, outcomes), known.ledger_bytes))

    def adopt(self, session: Session, recording: Recording, known: "Known") -> None:
        """Where papers from elsewhere tell of more than the rows, these follow before anything new is told."""
        folder = self.settings.recordings / recording.id
        try:
            custody.write_file(session, folder, recording, set(known.keys))
        except (OSError, CustodyError) as error:  # the notary is stopped by the same, and an alarm tells
            log.error("custody log not taken over", recording=recording.id, reason=str(error))

    def known(self, recording_id: str) -> "Known":
        with transaction(self.engine) as session:
            recording = session.get_one(Recording, recording_id)
            keys = signing_keys.public_keys(session, recording.institution_id)
            copied = {one.location: one.ledger_bytes for one in copies.of_recording(session, recording_id)}
            size, head = recording.ledger_bytes, recording.ledger_head
            lost = resolve.lost_files(session, recording_id)
        copied[LOCAL] = size
        stores = {name: store for name, store in dict(self.stores).items() if name in copied}
        return Known(recording_id, keys, size, head, copied, stores, lost)

    def judge(self, known: "Known") -> Judgement:
        return judge(
            known.stores, known.recording_id, known.keys, ledger_bytes=known.ledger_bytes,
            ledger_head=known.ledger_head, copied=known.copied,
        )  # fmt: skip

    def patient(self) -> Engine:
        return open_engine(self.settings.sqlalchemy_url, pool_size=1, statement_timeout_s=120)

    def scratch(self) -> Path:
        folder = self.settings.data / "scratch"
        folder.mkdir(exist_ok=True)
        return folder


_fixity: Fixity | None = None


def _context() -> Fixity:
    assert _fixity is not None, "fixity has not started"
    return _fixity


@DBOS.step(retries_allowed=True, max_attempts=3)
def examine_copies(due: dict[str, Any]) -> dict[str, Any]:
    """Its result is kept before anything is mended: who is killed then still knows what was wrong."""
    asked = datetime.now(UTC)
    found, is_well = _context().examine(Due(**due))
    return {"asked": asked.isoformat(), "found": asdict(found), "is_well": is_well}


@DBOS.step(retries_allowed=True, max_attempts=3)
def mend_copies(due: dict[str, Any], first: dict[str, Any]) -> dict[str, Any]:
    return asdict(_context().mend(Due(**due), _all(first["found"])))


@DBOS.step(retries_allowed=True, max_attempts=20)
def note_checked(due: dict[str, Any], first: dict[str, Any], then: dict[str, Any] | None) -> dict[str, Any]:
    fixity = _context()
    found = _all(first["found"] if then is None else then)
    asked, now = datetime.fromisoformat(first["asked"]), datetime.now(UTC)
    with transaction(fixity.engine) as session:
        checks.note(session, Due(**due), found, asked, fixity.pace_days, now, fixity.settings.recordings)
    return asdict(found)


def _all(found: dict[str, Any]) -> CheckedAll:
    return CheckedAll([Checked(**one) for one in found["copies"]], found["hold"], found["ledger_head"])


@DBOS.step(retries_allowed=True, max_attempts=20)
def put_off(due: dict[str, Any]) -> None:
    """One recording that can't be checked must not keep the others waiting."""
    with transaction(_context().engine) as session:
        checks.ask(session, datetime.now(UTC) + checks.AGAIN, due["recording_id"])


@DBOS.workflow()
def check_copies(due: dict[str, Any]) -> None:
    try:
        try:
            first = examine_copies(due)
            found = note_checked(due, first, None if first["is_well"] else mend_copies(due, first))
        except dbos_error.DBOSMaxStepRetriesExceeded as error:
            log.error("copies can't be checked", recording=due["recording_id"], reason=str(error.errors[-1]))
            put_off(due)
            return
    finally:
        _context().turns.running.clear()
    for one in found["copies"]:
        if one["count"]:
            log.error(
                "copy was not as it must be", recording=due["recording_id"], location=one["location"],
                faults=one["count"], repaired=len(one["repaired"]), first=one["faults"][0],
            )  # fmt: skip
    if found["hold"]:
        log.error("copies are held", recording=due["recording_id"], reason=found["hold"])


def prepare(settings: Settings, engine: Engine, stores: dict[str, Store], pace_days: dict[str, float]) -> Fixity:
    """Before DBOS is launched, which takes up what a killed process left; but for files that it was at."""
    global _fixity
    _fixity = Fixity(settings, engine, stores, pace_days)
    for left in _fixity.scratch().glob(f"{SCRATCH}*"):
        left.unlink()
    return _fixity


def start(fixity: Fixity, bell: Bell, stopping: threading.Event) -> None:
    serve("fixity", bell.on(lambda: checks.is_due(list(fixity.stores))), fixity.round, FORGET_PACE_S, stopping)
