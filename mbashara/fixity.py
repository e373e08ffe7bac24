"""Fixity in the work process: copies that are due are read again, and mended from each other, by durable workflows."""

import threading
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import structlog
from dbos import DBOS, SetWorkflowID
from sqlalchemy import Engine

from archive.recordings import checks, copies, signatures, signing_keys
from archive.recordings.checks import Checked, CheckedAll, Due
from archive.recordings.judge import judge
from archive.recordings.locations.config import LOCAL
from archive.recordings.locations.store import Store
from archive.recordings.repair import Cycle, examine_all, repair
from core.database import DatabaseAway, open_engine, transaction
from core.tables import Recording
from mbashara import copying
from mbashara.settings import Settings

ROUND_S = 2.0
FORGET_AFTER = timedelta(days=2)
FORGET_ROUND = 300

log: structlog.stdlib.BoundLogger = structlog.get_logger("mbashara.fixity")


@dataclass(slots=True)
class Fixity:
    """Starts checks, one at a time: whoever watches or records must not feel it."""

    settings: Settings
    engine: Engine
    stores: dict[str, Store]
    pace_days: dict[str, float]
    running: threading.Event = field(default_factory=threading.Event)

    def run(self, stopping: threading.Event) -> None:
        rounds = 0
        while not stopping.wait(ROUND_S):
            try:
                if not self.running.is_set():
                    self.start_due()
                if rounds % FORGET_ROUND == 0:
                    copying.forget("fixity:", datetime.now(UTC) - FORGET_AFTER)
                rounds += 1
            except DatabaseAway:
                continue  # the follower has said so
            except Exception:
                log.exception("a round of fixity failed")

    def start_due(self) -> None:
        with transaction(self.engine) as session:
            due = checks.due(session, list(self.stores), datetime.now(UTC))
        if due is not None:
            self._start(due)

    def _start(self, due: Due) -> None:
        """A workflow that failed is not begun by its id again: its record goes first."""
        name = f"fixity:{due.recording_id}:{due.since_ms}"
        found = DBOS.get_workflow_status(name)
        if found is not None and found.status not in ("PENDING", "ENQUEUED"):
            DBOS.delete_workflow(name)
        self.running.set()
        try:
            with SetWorkflowID(name):
                DBOS.start_workflow(check_copies, asdict(due))
        except BaseException:
            self.running.clear()
            raise

    def check(self, due: Due) -> CheckedAll:
        """Reads what is due; where anything is wrong, reads all copies and mends."""
        with transaction(self.engine) as session:
            recording = session.get_one(Recording, due.recording_id)
            keys = signing_keys.public_keys(session, recording.institution_id)
            size, head = recording.ledger_bytes, recording.ledger_head
            copied = {one.location: one.ledger_bytes for one in copies.of_recording(session, due.recording_id)}
        copied[LOCAL] = size
        stores = {name: store for name, store in self.stores.items() if name in copied}
        judgement = judge(stores, due.recording_id, keys, ledger_bytes=size, ledger_head=head, copied=copied)
        found = examine_all({name: stores[name] for name in due.locations if name in stores}, judgement)
        is_well = all(one.is_whole for one in found.values()) and not any(judgement.faults.values())
        if is_well and judgement.hold is None and judgement.database is None:
            return checks.told(Cycle(judgement, found, ()), due.locations)
        found |= examine_all({name: store for name, store in stores.items() if name not in found}, judgement)
        with transaction(self._patient()) as session:  # nobody else writes to the papers meanwhile
            if signatures.lock(session, due.recording_id).disposed_at is not None:
                return checks.told(Cycle(judgement, {}, ()), [])
            judgement = judge(stores, due.recording_id, keys, ledger_bytes=size, ledger_head=head, copied=copied)
            outcomes = tuple(repair(stores, judgement, found, self._scratch()))
        return checks.told(Cycle(judgement, found, outcomes), due.locations)

    def _patient(self) -> Engine:
        return open_engine(self.settings.sqlalchemy_url, pool_size=1, statement_timeout_s=120)

    def _scratch(self) -> Path:
        folder = self.settings.data / "scratch"
        folder.mkdir(exist_ok=True)
        return folder


_fixity: Fixity | None = None


def _context() -> Fixity:
    assert _fixity is not None, "fixity has not started"
    return _fixity


@DBOS.step(retries_allowed=True, max_attempts=3)
def examine_copies(due: dict[str, Any]) -> dict[str, Any]:
    return asdict(_context().check(Due(**due)))


@DBOS.step(retries_allowed=True, max_attempts=20)
def note_checked(due: dict[str, Any], found: dict[str, Any]) -> None:
    fixity = _context()
    told = CheckedAll([Checked(**one) for one in found["copies"]], found["hold"], found["ledger_head"])
    with transaction(fixity.engine) as session:
        checks.note(session, Due(**due), told, fixity.pace_days, datetime.now(UTC))


@DBOS.workflow()
def check_copies(due: dict[str, Any]) -> None:
    try:
        found = examine_copies(due)
        note_checked(due, found)
    finally:
        _context().running.clear()
    for one in found["copies"]:
        if one["count"]:
            log.error(
                "copy was not as it must be", recording=due["recording_id"], location=one["location"],
                faults=one["count"], repaired=len(one["repaired"]), first=one["faults"][0],
            )  # fmt: skip
    if found["hold"]:
        log.error("copies are held", recording=due["recording_id"], reason=found["hold"])


def prepare(settings: Settings, engine: Engine, stores: dict[str, Store], pace_days: dict[str, float]) -> Fixity:
    """Before DBOS is launched, which takes up what a killed process left."""
    global _fixity
    _fixity = Fixity(settings, engine, stores, pace_days)
    return _fixity


def start(fixity: Fixity, stopping: threading.Event) -> None:
    threading.Thread(target=fixity.run, args=(stopping,), name="fixity", daemon=True).start()
