"""Copies of recordings, made by the work process while the broadcast is still on the air: durable workflows (DBOS), a
turn each. Who is killed in a turn takes it up again, and finds at the store what is there already.
"""

import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta

import structlog
from dbos import DBOS, SetWorkflowID
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from archive.recordings import copies, describe
from archive.recordings.copies import Copied, Turn
from archive.recordings.locations.config import local, read_locations
from archive.recordings.locations.opening import open_store
from archive.recordings.locations.store import Store
from core.database import DatabaseAway, transaction
from mbashara.settings import Settings

ROUND_S = 0.5
FULL_ROUND = 20
"""One round in so many looks for recordings that have no row at a location, and forgets old workflows."""
MAX_TURNS = 4
"""Turns at once, each with a few files in flight."""
FORGET_AFTER = timedelta(hours=6)

log: structlog.stdlib.BoundLogger = structlog.get_logger("mbashara.copying")


@dataclass(slots=True)
class Copier:
    """Starts turns. One in a process; the workflows find it as `_copier` after a restart."""

    settings: Settings
    engine: Engine
    stores: Mapping[str, Store]
    running: set[str] = field(default_factory=set)
    woken: threading.Event = field(default_factory=threading.Event)
    described: int = 0
    """The newest event of any broadcast's log of which it is known that the custody logs tell."""

    def run(self, stopping: threading.Event) -> None:
        away, rounds = False, 0
        while not stopping.is_set():
            try:
                self.round(is_full=rounds % FULL_ROUND == 0)
                away, rounds = False, rounds + 1
            except DatabaseAway as error:
                if not away:
                    log.warning("database away", reason=str(error))
                away = True
            self.woken.wait(ROUND_S)
            self.woken.clear()

    def round(self, is_full: bool) -> None:
        now = datetime.now(UTC)
        with transaction(self.engine) as session:
            if is_full:
                copies.want(session, list(self.stores), now)
                self._describe(session, now)
            turns = copies.due(session, list(self.stores), now, 4 * MAX_TURNS)
        for turn in turns:
            name = _workflow_id(turn)
            if name not in self.running and len(self.running) < MAX_TURNS:
                self.running.add(name)
                with SetWorkflowID(name):
                    DBOS.start_workflow(copy_recording, asdict(turn))
        if is_full:
            forget("copy:", now - FORGET_AFTER)

    def _describe(self, session: Session, now: datetime) -> None:
        """What changed in the catalogue since: recordings that were closed meanwhile are told of once they are."""
        newest, ids = describe.newest_event(session), describe.due(session, self.described)
        for recording_id in ids:
            describe.describe(session, recording_id, now)
        self.described = min(newest, describe.open_since(session) or newest)

    def ended(self, name: str) -> None:
        self.running.discard(name)
        self.woken.set()


_copier: Copier | None = None


def _context() -> Copier:
    assert _copier is not None, "copying has not started"
    return _copier


@DBOS.step(retries_allowed=True, max_attempts=3)
def copy_turn(turn: dict[str, object]) -> dict[str, object]:
    copier, wanted = _context(), Turn(**turn)  # type: ignore[arg-type]
    store = copier.stores.get(wanted.location)
    if store is None:
        return asdict(Copied(wanted.begin, 0, 0, 0, 0, False, error=f"no location {wanted.location} any more"))
    return asdict(copies.copy_files(store, copier.settings.recordings, wanted))


@DBOS.step(retries_allowed=True, max_attempts=20)
def note_turn(turn: dict[str, object], copied: dict[str, object]) -> None:
    with transaction(_context().engine) as session:
        copies.note(session, Turn(**turn), Copied(**copied), datetime.now(UTC))  # type: ignore[arg-type]


@DBOS.workflow()
def copy_recording(turn: dict[str, object]) -> None:
    wanted = Turn(**turn)  # type: ignore[arg-type]
    try:
        copied = copy_turn(turn)
        note_turn(turn, copied)
    finally:
        _context().ended(_workflow_id(wanted))
    if copied["error"] is not None:
        log.warning("copy delayed", recording=wanted.recording_id, reason=copied["error"])


def _workflow_id(turn: Turn) -> str:
    """Of one turn there is one workflow, also after a restart."""
    return f"copy:{turn.location}:{turn.recording_id}:{turn.number}"


def forget(prefix: str, before: datetime) -> None:
    """Removes the records of workflows that ended well before then: the rows say what came of them."""
    ended = DBOS.list_workflows(
        workflow_id_prefix=prefix, status="SUCCESS", end_time=before.isoformat(), limit=1000, load_input=False,
        load_output=False,
    )  # fmt: skip
    if ended:
        DBOS.delete_workflows([one.workflow_id for one in ended])


def prepare(settings: Settings, engine: Engine) -> Copier:
    """Before DBOS is launched, which takes up what a killed process left. Raises LocationError."""
    global _copier
    locations = read_locations(settings.locations, settings.recordings)
    stores = {one.name: open_store(one) for one in (local(settings.recordings), *locations)}
    _copier = Copier(settings, engine, stores)
    return _copier


def start(copier: Copier, stopping: threading.Event) -> None:
    threading.Thread(target=copier.run, args=(stopping,), name="copier", daemon=True).start()
