"""The archive's rules in the work process: embargoes end on the clock, the edge is told what it may not hand out,
stores are told of legal holds, and recordings are destroyed that two people ordered to be, at places that come back
later too. Durable workflows (DBOS), a turn each: who is killed in a turn takes it up again.
"""

import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from dbos import DBOS
from sqlalchemy import Engine

from archive.recordings import closures, disposal, policy, remains, store_holds
from archive.recordings.closures import Closures
from archive.recordings.disposal import Cleared
from archive.recordings.locations.store import Store
from archive.recordings.store_holds import Applied
from archive.recordings.tables import RecordingCopy
from archive.recordings.verify import LEDGER_NAME, read_chain
from core.database import transaction
from mbashara import workflows
from mbashara.bell import Bell, serve
from mbashara.settings import Settings

FULL_S = 300.0
"""A round in so many seconds looks at every file of what is closed, and forgets old workflows."""
FORGET_AFTER = timedelta(hours=6)

log: structlog.stdlib.BoundLogger = structlog.get_logger("mbashara.rules")


@dataclass(slots=True)
class Keeper:
    """One in a process; the workflows find it as `_keeper` after a restart."""

    settings: Settings
    engine: Engine
    stores: Mapping[str, Store]
    running: set[str] = field(default_factory=set)
    closed: Closures | None = None

    def round(self, is_full: bool) -> None:
        now = datetime.now(UTC)
        known, self.closed = None if is_full else self.closed, None  # after a round that failed every file is looked at
        with transaction(self.engine) as session:
            for recording_id in policy.lift_due(session, now):
                log.info("embargo is over", recording=recording_id)
        with transaction(self.engine) as session:
            closed = closures.show_all(session, self.settings.public, known)
            disposals = disposal.due(session, now)
            told = store_holds.due(session, list(self.stores), now)
            left = remains.due(session, list(self.stores), now)
        self.closed = closed
        for turn in disposals:
            self._start(f"dispose:{turn.request_id}:{turn.number}", dispose, asdict(turn))
        for one in told:
            self._start(f"hold:{one.location}:{one.recording_id}:{one.number}", hold_at_store, asdict(one))
        for last in left:
            self._start(_remains_id(asdict(last)), remove_remains, asdict(last))
        if is_full:
            for prefix in ("dispose:", "hold:", "remains:"):
                workflows.forget(prefix, now - FORGET_AFTER)

    def _start(self, name: str, workflow: Any, turn: dict[str, Any]) -> None:
        if name in self.running:
            return
        self.running.add(name)
        try:
            workflows.begin(name, workflow, turn)
        except BaseException:
            self.running.discard(name)
            raise


_keeper: Keeper | None = None


def _context() -> Keeper:
    assert _keeper is not None, "the rules have not started"
    return _keeper


@DBOS.step(retries_allowed=True, max_attempts=20)
def begin_disposal(turn: dict[str, Any]) -> list[str]:
    """The locations to clear: those that are named now, and those that have or had a copy."""
    keeper, wanted = _context(), disposal.Turn(**turn)
    with transaction(keeper.engine) as session:
        if not disposal.begin(session, wanted, datetime.now(UTC)):
            return []
        copies = session.query(RecordingCopy.location).filter_by(recording_id=wanted.recording_id)
        places = {location for (location,) in copies} | set(keeper.stores)
    with transaction(keeper.engine) as session:
        closures.show(session, keeper.settings.public, wanted.recording_id)
    return sorted(places)


def _named_no_more(location: str) -> str:
    return f"location {location} is not among the locations now / mahali {location} hapamo katika orodha sasa"


@DBOS.step(retries_allowed=True, max_attempts=5)
def clear_location(turn: dict[str, Any], location: str) -> dict[str, Any]:
    keeper = _context()
    store = keeper.stores.get(location)
    if store is None:
        return asdict(Cleared(location, error=_named_no_more(location)))
    wanted = disposal.Turn(**turn)
    return asdict(disposal.clear(keeper.engine, wanted, store, keeper.settings.recordings, datetime.now(UTC)))


@DBOS.step(retries_allowed=True, max_attempts=20)
def note_disposal(turn: dict[str, Any], cleared: list[dict[str, Any]]) -> bool:
    keeper, wanted = _context(), disposal.Turn(**turn)
    ledger = read_chain(keeper.settings.recordings / wanted.recording_id / LEDGER_NAME)
    with transaction(keeper.engine) as session:
        return disposal.note(session, wanted, [Cleared(**one) for one in cleared], ledger, datetime.now(UTC))


@DBOS.workflow()
def dispose(turn: dict[str, Any]) -> None:
    try:
        cleared = [clear_location(turn, location) for location in begin_disposal(turn)]
        if cleared and note_disposal(turn, cleared):
            log.info("recording destroyed by order", recording=turn["recording_id"], request=turn["request_id"])
    finally:
        _context().running.discard(f"dispose:{turn['request_id']}:{turn['number']}")
    for one in cleared:
        if one["error"] is not None:
            log.warning("disposal waits", recording=turn["recording_id"], reason=one["error"], until=one["until"])


@DBOS.step(retries_allowed=True, max_attempts=5)
def tell_store(turn: dict[str, Any]) -> dict[str, Any]:
    keeper, wanted = _context(), store_holds.Turn(**turn)
    store = keeper.stores.get(wanted.location)
    if store is None:
        return asdict(Applied(0, error=f"no location {wanted.location} any more"))
    return asdict(store_holds.apply(store, keeper.settings.recordings, wanted))


@DBOS.step(retries_allowed=True, max_attempts=20)
def note_told(turn: dict[str, Any], applied: dict[str, Any]) -> None:
    with transaction(_context().engine) as session:
        store_holds.note(session, store_holds.Turn(**turn), Applied(**applied), datetime.now(UTC))


@DBOS.workflow()
def hold_at_store(turn: dict[str, Any]) -> None:
    try:
        applied = tell_store(turn)
        note_told(turn, applied)
    finally:
        _context().running.discard(f"hold:{turn['location']}:{turn['recording_id']}:{turn['number']}")
    if applied["error"] is not None:
        log.warning("legal hold not told", recording=turn["recording_id"], reason=applied["error"])


def _remains_id(turn: dict[str, Any]) -> str:
    return f"remains:{turn['location']}:{turn['recording_id']}:{turn['since_ms']}"


@DBOS.step(retries_allowed=True, max_attempts=5)
def look_for_remains(turn: dict[str, Any]) -> dict[str, Any]:
    store = _context().stores.get(turn["location"])
    if store is None:
        return asdict(remains.Found(0, 0, _named_no_more(turn["location"])))
    return asdict(remains.look(store, turn["recording_id"]))


@DBOS.step(retries_allowed=True, max_attempts=5)
def clear_remains(turn: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    keeper = _context()
    store = keeper.stores.get(turn["location"])
    if store is None:
        return asdict(Cleared(turn["location"], error=_named_no_more(turn["location"])))
    wanted, known = remains.Turn(**turn), remains.Found(**found)
    return asdict(remains.remove(keeper.engine, wanted, store, keeper.settings.recordings, known))


@DBOS.step(retries_allowed=True, max_attempts=20)
def note_remains(turn: dict[str, Any], found: dict[str, Any], removed: dict[str, Any]) -> None:
    with transaction(_context().engine) as session:
        what = remains.Found(**found), Cleared(**removed)
        remains.note(session, remains.Turn(**turn), *what, datetime.now(UTC))


@DBOS.workflow()
def remove_remains(turn: dict[str, Any]) -> None:
    try:
        found = look_for_remains(turn)
        away = found["error"]
        removed = clear_remains(turn, found) if away is None else asdict(Cleared(turn["location"], error=away))
        note_remains(turn, found, removed)
    finally:
        _context().running.discard(_remains_id(turn))
    about = {"recording": turn["recording_id"], "location": turn["location"]}
    if removed["error"] is not None:
        log.warning("a destroyed recording is still there", **about, reason=removed["error"])
    elif found["files"]:
        log.info("what was left of a destroyed recording is removed", **about, files=found["files"])


def prepare(settings: Settings, engine: Engine, stores: Mapping[str, Store]) -> Keeper:
    """Before DBOS is launched, which takes up what a killed process left."""
    global _keeper
    _keeper = Keeper(settings, engine, stores)
    return _keeper


def start(keeper: Keeper, bell: Bell, stopping: threading.Event) -> None:
    rung = bell.on(
        policy.is_lift_due, closures.mark, disposal.is_due, lambda: store_holds.is_due(list(keeper.stores)),
        lambda: remains.is_due(list(keeper.stores)),
    )  # fmt: skip
    serve("rules", rung, keeper.round, FULL_S, stopping)
