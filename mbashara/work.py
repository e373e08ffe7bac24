"""The work process: ledgers become rows, and ended recordings are closed
by a durable workflow (DBOS) that survives kill -9."""

import gc
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TypedDict

import structlog
from dbos import DBOS, DBOSConfig
from sqlalchemy import Engine
from sqlalchemy.exc import DataError, IntegrityError
from sqlalchemy.orm import Session

from archive.recordings import rows, signatures
from archive.recordings.describe import describe_closed
from archive.recordings.inventory import check_files
from archive.recordings.verify import CUSTODY_NAME, LEDGER_NAME
from core.broadcasts import acts
from core.database import DatabaseAway, open_engine, transaction
from core.ids import is_id
from core.tables import Recording
from mbashara import (
    copying,
    exports,
    fixity,
    imports,
    inside_dbos,
    logs,
    postgres,
    resolving,
    rules,
    stamper,
    viewers,
    webhooks,
    workflows,
)
from mbashara.bell import Bell, when
from mbashara.data import keep_lock
from mbashara.dry_run import DryRuns
from mbashara.notary import PACE, Notary
from mbashara.plain import DataError as FolderError
from mbashara.settings import Settings

ROUND_S = 1.0
FULL_ROUND = 30
"""One round in so many looks at every ledger and asks for every ended recording."""
QUIET_S = 86_400.0
"""A ledger that was not written for so long is looked at in full rounds only:
a round costs as much as there is on the air, not as much as was ever recorded."""
READ_BYTES = 1 << 20
"""Of a ledger in one transaction: a long one is applied in several,
so a start after a long outage stays small."""

log: structlog.stdlib.BoundLogger = structlog.get_logger("mbashara.work")


class Found(TypedDict):
    """What the check step hands to the write step, as JSON that the workflow's log can keep."""

    duration_ms: int
    size_bytes: int
    missing: list[tuple[int, int]]


@dataclass(slots=True)
class Follower:
    """Reads every recording's ledger from where the rows left off."""

    recordings: Path
    engine: Engine
    close: Callable[[str], None]
    _applied: dict[str, rows.Place] = field(default_factory=dict)
    _broken: dict[str, int] = field(default_factory=dict)
    _unread: set[str] = field(default_factory=set)
    _closing: set[str] = field(default_factory=set)
    _rounds: int = 0
    _must_ask: bool = False
    _listed_ns: int = 0
    _lively: list[str] = field(default_factory=list)

    def load(self) -> None:
        with transaction(self.engine) as session:
            self._applied = rows.ledger_places(session)

    def follow_once(self) -> None:
        """One round. Raises DatabaseAway, having lost nothing."""
        is_full = self._rounds % FULL_ROUND == 0
        self._must_ask |= is_full
        grown = {name: size_bytes for name, size_bytes in self._ledgers(is_full) if self._is_news(name, size_bytes)}
        advanced = self._advance(grown)
        for recording_id in [name for name in grown if name not in advanced]:
            self._apply(recording_id, grown[recording_id])
            self._must_ask = True
        if self._must_ask:
            self._close_ended()
            self._must_ask = False
        self._rounds += 1

    def _close_ended(self) -> None:
        with transaction(self.engine) as session:
            ended = set(rows.ended_recordings(session))
        if self._rounds % FULL_ROUND == 0:
            self._closing = set()  # whose workflow failed
        for recording_id in sorted(ended - self._closing):
            self.close(recording_id)
        self._closing = ended

    def _ledgers(self, all_of_them: bool) -> list[tuple[str, int]]:
        """Recordings and the sizes of their ledgers, in bytes."""
        listed_ns = self.recordings.stat().st_mtime_ns
        if all_of_them or listed_ns != self._listed_ns:  # a recording began
            self._lively = sorted(name for name in os.listdir(self.recordings) if is_id(name))
            self._listed_ns = listed_ns
        found, lively, quiet_before_s = [], [], time.time() - QUIET_S
        for name in self._lively:
            try:
                status = os.stat(f"{self.recordings}/{name}/{LEDGER_NAME}")
            except OSError:  # not there yet
                lively.append(name)
                continue
            found.append((name, status.st_size))
            if status.st_mtime > quiet_before_s:
                lively.append(name)
        self._lively = lively
        return found

    def _is_news(self, recording_id: str, size_bytes: int) -> bool:
        applied = self._applied.get(recording_id)
        return size_bytes not in (applied.size_bytes if applied else 0, self._broken.get(recording_id))

    def _advance(self, grown: Iterable[str]) -> set[str]:
        """Those whose ledgers list new files, and say nothing else, all at once: most of what there is on the air."""
        places = {name: self._applied[name] for name in grown if name in self._applied}
        steps = {name: (place, to) for name, place in places.items() if (to := self._follow(name, place)) is not None}
        if not steps:
            return set()
        with transaction(self.engine) as session:
            done = rows.advance(session, steps)
        self._applied |= {name: steps[name][1] for name in done}
        return done

    def _follow(self, recording_id: str, place: rows.Place) -> rows.Place | None:
        try:
            data = self._read(recording_id, place.size_bytes)
        except OSError:  # `_apply` says so
            return None
        return rows.follow(place, data) if 0 < len(data) < READ_BYTES else None

    def _read(self, recording_id: str, begin: int, is_whole: bool = False) -> bytes:
        with open(f"{self.recordings}/{recording_id}/{LEDGER_NAME}", "rb", buffering=0) as ledger:
            most = os.fstat(ledger.fileno()).st_size if is_whole else READ_BYTES
            data = os.pread(ledger.fileno(), most, begin)
            os.fdatasync(ledger.fileno())  # of what was read: else a signature could know more than a power cut leaves
            return data

    def _apply(self, recording_id: str, size_bytes: int) -> None:
        try:
            while self._apply_some(recording_id) == READ_BYTES:
                pass
            self._unread.discard(recording_id)
        except FileNotFoundError:
            return  # a dry run's: gone meanwhile
        except OSError as error:  # of the disk: one that can't be read is tried again, and holds up no other
            if recording_id not in self._unread:
                log.error("ledger not read", recording=recording_id, reason=str(error))
            self._unread.add(recording_id)
        except (rows.LedgerError, IntegrityError, DataError, OverflowError, AttributeError) as error:
            log.error("ledger not applied", recording=recording_id, reason=str(error))
            self._broken[recording_id] = size_bytes

    def _check_origin(self, session: Session, recording_id: str, begin: int) -> None:
        """What was brought here with its custody log comes into the catalogue by `rebuild`, which reads that too."""
        folder = self.recordings / recording_id
        if begin == 0 and (folder / CUSTODY_NAME).exists():
            raise rows.LedgerError("it was brought here from elsewhere: mbashara rebuild puts it into the catalogue")
        if (folder / LEDGER_NAME).stat().st_size < begin:
            raise rows.LedgerError(f"the ledger is shorter than the {begin} bytes that were read of it before")

    def _apply_some(self, recording_id: str) -> int:
        """An import's is whole from the beginning and comes in one transaction: half a one would look as if it were on
        the air, where no embargo closes it."""
        with transaction(self.engine) as session:
            place = rows.applied(session, recording_id)
            self._check_origin(session, recording_id, place.size_bytes)
            data = self._read(recording_id, place.size_bytes)
            if place.size_bytes == 0 and rows.is_import(data):
                data = self._read(recording_id, 0, is_whole=True)
            taken = rows.apply(session, recording_id, data)
        self._applied[recording_id] = place.behind(data[:taken])
        return len(data) if taken else 0


_settings: Settings | None = None
_engine: Engine | None = None


def _context() -> tuple[Settings, Engine]:
    """What the steps work on. DBOS finds steps by name after a restart, so
    they are functions of the module, not of an object."""
    assert _settings is not None and _engine is not None, "work has not started"
    return _settings, _engine


@DBOS.step(retries_allowed=True, max_attempts=5)
def check_recording(recording_id: str) -> Found:
    settings, _ = _context()
    checked = check_files(settings.recordings / recording_id)
    missing = [(span.started_ms, span.ended_ms) for span in checked.missing]
    return Found(duration_ms=checked.duration_ms, size_bytes=checked.size_bytes, missing=missing)


@DBOS.step(retries_allowed=True, max_attempts=20)
def write_recording(recording_id: str, found: Found) -> None:
    """Done again it changes nothing: gaps may have been closed since."""
    _, engine = _context()
    missing = [rows.MissingSpan(started_ms, ended_ms) for started_ms, ended_ms in found["missing"]]
    with transaction(engine) as session:
        if not session.get_one(Recording, recording_id, with_for_update=True).described_event_id:
            rows.close(session, recording_id, found["duration_ms"], found["size_bytes"], missing)
            describe_closed(session, recording_id, datetime.now(UTC))
    copying.tell_closed()


@DBOS.step(retries_allowed=True, max_attempts=20)
def remove_test(recording_id: str) -> None:
    """Nothing of a dry run is kept but what was found. The files go first: a row tells that there are some."""
    settings, engine = _context()
    with transaction(engine) as session:
        is_test = rows.is_of_test(session, recording_id)
    if is_test:
        folder = settings.recordings / recording_id
        if folder.exists():
            shutil.rmtree(folder)
        with transaction(engine) as session:
            rows.remove(session, recording_id)


@DBOS.workflow()
def close_recording(recording_id: str) -> None:
    """Looks whether every file of an ended recording is there, and says so in its row."""
    found = check_recording(recording_id)
    write_recording(recording_id, found)
    log.info(
        "recording closed",
        recording=recording_id,
        duration_ms=found["duration_ms"],
        missing=len(found["missing"]),
    )
    remove_test(recording_id)


def start_closing(recording_id: str) -> None:
    """The workflow's id is the recording's. One that is over failed, or is of a time before this one was closed."""
    workflows.begin(recording_id, close_recording, recording_id)


def run(settings: Settings, stopping: threading.Event) -> None:
    global _settings, _engine
    _settings, _engine = settings, open_engine(settings.sqlalchemy_url)
    follower = Follower(settings.recordings, _engine, start_closing)
    _wait_for_tables(settings, _engine, stopping)
    if stopping.is_set():
        return
    copier = copying.prepare(settings, _engine)
    places = copier.places
    checker = fixity.prepare(settings, _engine, places.stores, places.pace_days)
    keeper = rules.prepare(settings, _engine, places.stores)
    resolver = resolving.prepare(checker)
    queue = imports.start(settings, _engine, stopping)
    orders = exports.start(settings, _engine, stopping)
    inside_dbos.distrust()
    inside_dbos.calm(DBOS(config=_dbos_config(settings)))
    logs.adopt("dbos")
    DBOS.launch()
    follower.load()
    bell = Bell(open_engine(settings.sqlalchemy_url, pool_size=1))
    copying.start(copier, bell, stopping)
    fixity.start(checker, bell, stopping)
    rules.start(keeper, bell, stopping)
    resolving.start(resolver, bell, stopping)
    stamper.start(settings, _engine, stopping)
    counter = _count_viewers(settings, _engine, stopping)
    notary = Notary(settings, _engine)
    threading.Thread(target=DryRuns(settings, _engine, bell).run, args=(stopping,), name="dry-runs").start()
    sender = webhooks.start(settings, bell, stopping)
    rounds = (
        counter.tell,
        when(bell.on(acts.is_close_due), _close_due),
        follower.follow_once,
        when(bell.on(lambda: signatures.is_due(PACE)), notary.sign_due),
        when(bell.on(queue.is_waiting), queue.follow_once),
        when(bell.on(orders.is_waiting), orders.follow_once),
    )
    try:
        bell.start(stopping)
        _go_round(settings, rounds, stopping)
    finally:
        stopping.set()  # or its threads would keep a process that has failed
    sender.join(webhooks.STOP_S)
    DBOS.destroy(workflow_completion_timeout_sec=1)


def _close_due() -> None:
    _, engine = _context()
    with transaction(engine) as session:
        acts.close_due(session, datetime.now(UTC))


def _go_round(settings: Settings, rounds: Sequence[Callable[[], None]], stopping: threading.Event) -> None:
    away = False
    while not stopping.wait(ROUND_S):
        try:
            for one in rounds:
                one()
            away = False
        except DatabaseAway as error:
            if not away:
                log.warning("database away", reason=str(error))
            away = True
        _beat(settings.heartbeat_file)


def _count_viewers(settings: Settings, engine: Engine, stopping: threading.Event) -> viewers.Counter:
    counter, door = viewers.Counter(settings, engine), viewers.inherited()
    if door is not None:
        threading.Thread(target=counter.read, args=(door, stopping), name="viewers", daemon=True).start()
    return counter


def _wait_for_tables(settings: Settings, engine: Engine, stopping: threading.Event) -> None:
    while not stopping.is_set():
        try:
            postgres.ensure_tables(settings, engine, timeout_s=0.5)
            return
        except (DatabaseAway, FolderError):
            stopping.wait(0.2)
        _beat(settings.heartbeat_file)


def _dbos_config(settings: Settings) -> DBOSConfig:
    return {
        "name": "mbashara",
        "system_database_url": settings.sqlalchemy_url,
        # a half-done workflow goes on after an upgrade; a step that changes its meaning gets a new name
        "application_version": "1",
        "log_level": "WARNING",
        # its notifier wakes this often even where nothing happens; nobody here waits for its events
        "notification_coalesce_sec": 1.0,
        "scheduler_polling_interval_sec": 3600.0,  # nothing here is scheduled
    }


def _beat(path: Path) -> None:
    path.touch()
    os.utime(path, (time.time(), time.time()))


def main() -> int:
    settings = Settings()
    logs.configure("work", settings.log_level)
    keep_lock()
    gc.freeze()  # what was imported is never garbage
    gc.set_threshold(50_000, 20, 50)
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    run(settings, stopping)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
