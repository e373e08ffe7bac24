"""The queue of files that become recordings, in the work process: durable workflows (DBOS), some at once.

A file is made by a child of its own (import_file.py). A child that dies begins again, some times; a work process that
dies has its workflows taken up by the next. Either way the file is read from its beginning, and the recording, which
has the job's id, is there whole or not at all.
"""

import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypedDict

import structlog
from dbos import DBOS, Queue, SetWorkflowID
from sqlalchemy import Engine

from archive.imports import jobs
from archive.imports.kept import STAGING
from core import cage
from core.database import DatabaseAway, transaction
from core.ids import is_id
from mbashara.children import die_with_parent
from mbashara.import_file import Order
from mbashara.settings import Settings
from transcode.files.facts import Trouble

QUEUE = "imports"
CHILD_TRIES = 3
LOOK_S = 0.5
TIDY_S = 60.0
ORPHAN_S = 86_400.0
"""A file that no row knows is of a command that was killed: it goes when it is a day old."""

log: structlog.stdlib.BoundLogger = structlog.get_logger("mbashara.imports")


class Outcome(TypedDict):
    """What became of a file, as JSON that the workflow's log can keep. `end`: "made", "failed", "stopped" (with the
    process), or "unwanted"."""

    end: str
    sha256: str
    trouble: str
    read_ms: int
    told_ms: int


def outcome(end: str, sha256: str = "", trouble: str = "", read_ms: int = 0, told_ms: int = 0) -> Outcome:
    return Outcome(end=end, sha256=sha256, trouble=trouble, read_ms=read_ms, told_ms=told_ms)


@dataclass(slots=True)
class Imports:
    """Follows the table: what waits goes into the queue."""

    settings: Settings
    engine: Engine
    stopping: threading.Event
    _queue: Queue | None = None
    _enqueued: set[tuple[str, int]] = field(default_factory=set)
    _tidied_s: float = 0.0

    def follow_once(self) -> None:
        """One round. Raises DatabaseAway."""
        with transaction(self.engine) as session:
            found = {(row.id, row.attempt) for row in jobs.waiting(session)}
        for job_id, attempt in sorted(found - self._enqueued):
            self._enqueue(job_id, attempt)
        self._enqueued = found
        if time.monotonic() - self._tidied_s > TIDY_S:
            self._tidied_s = time.monotonic()
            self._tidy()

    def _enqueue(self, job_id: str, attempt: int) -> None:
        """The workflow's id is the attempt's: enqueued again after a restart it is the same one, not a second."""
        if self._queue is None:
            at_once = self.settings.imports_at_once
            self._queue = DBOS.register_queue(
                QUEUE, worker_concurrency=at_once, polling_interval_sec=0.5, on_conflict="always_update"
            )
        with SetWorkflowID(f"import-{job_id}-{attempt}"):
            self._queue.enqueue(import_file, job_id)

    def _tidy(self) -> None:
        """Files that nothing waits for go: of what is done, cancelled or expired."""
        folder = self.settings.imports_folder
        with transaction(self.engine) as session:
            jobs.expire(session, datetime.now(UTC), Trouble.EXPIRED)
            names = os.listdir(folder)
            wanted = jobs.with_file(session, [name for name in names if is_id(name)])
            known = set(jobs.states(session, names))
        for name in names:
            path = folder / name
            with suppress(OSError):
                is_old = time.time() - path.stat().st_mtime > ORPHAN_S
                if name not in wanted and (name in known or is_old):
                    path.unlink()


_imports: Imports | None = None


def start(settings: Settings, engine: Engine, stopping: threading.Event) -> Imports:
    """Before DBOS takes up its workflows."""
    global _imports
    _imports = Imports(settings, engine, stopping)
    return _imports


def _context() -> Imports:
    """What the steps work on: DBOS finds steps by name after a restart, so they are functions of the module."""
    assert _imports is not None, "work has not started"
    return _imports


@DBOS.step(retries_allowed=True, max_attempts=20)
def make_import(job_id: str) -> Outcome:
    """Maybe hours. Killed, it begins anew."""
    imports = _context()
    order = _order(imports, job_id)
    if order is None:
        return outcome("unwanted")
    log.info("import begins", recording=job_id, name=order.name, size=order.size)
    for _ in range(CHILD_TRIES):
        found = _Child(imports, order).run()
        if found is not None:
            break
        log.error("the maker of a recording died; it begins again", recording=job_id)
    else:
        found = outcome("failed", trouble=Trouble.FAULT)
    if found["end"] != "made":
        shutil.rmtree(imports.settings.recordings / STAGING / job_id, ignore_errors=True)
    return found


@DBOS.step(retries_allowed=True, max_attempts=20)
def write_import(job_id: str, found: Outcome) -> None:
    imports, now = _context(), datetime.now(UTC)
    with transaction(imports.engine) as session:
        match found["end"]:
            case "made":
                jobs.finish(session, job_id, found["sha256"] or None, now)
            case "failed":
                jobs.fail(session, job_id, found["trouble"], found["read_ms"], found["told_ms"], now)
            case "stopped":
                jobs.postpone(session, job_id)
    if found["end"] in ("made", "unwanted"):
        (imports.settings.imports_folder / job_id).unlink(missing_ok=True)


@DBOS.workflow()
def import_file(job_id: str) -> None:
    found = make_import(job_id)
    write_import(job_id, found)
    log.info("import ended", recording=job_id, **found)


def _order(imports: Imports, job_id: str) -> Order | None:
    settings, now = imports.settings, datetime.now(UTC)
    with transaction(imports.engine) as session:
        started = jobs.start(session, job_id)
    if started is None:
        return None
    job, channel = started
    return Order(
        id=job.id, file=str(settings.imports_folder / job.id), name=job.name, size=job.size_bytes, sha256=job.sha256,
        at_ms=None if job.origin_at is None else round(job.origin_at.timestamp() * 1000),
        now_ms=round(now.timestamp() * 1000), recordings=str(settings.recordings),
        channel={"channel": channel.slug, "channel_id": channel.id, "institution_id": channel.institution_id},
        title_sw=job.title_sw, title_en=job.title_en, by=job.created_by, takes_short=job.takes_short,
        has_ladder=settings.ladder, longest_ms=round(settings.import_max_hours * 3_600_000),
        target_duration_s=settings.target_duration_s, part_target_s=settings.part_target_s,
        min_free_bytes=settings.min_free_mb << 20,
    )  # fmt: skip


class _Child:
    """One run of the maker, attended from a workflow's thread, with which it would die."""

    def __init__(self, imports: Imports, order: Order) -> None:
        self._imports, self._order = imports, order
        self._percent = -1
        self._is_wanted = True
        self._pending = b""
        self._found: Outcome | None = None

    def run(self) -> Outcome | None:
        """None: it died without a word."""
        child = subprocess.Popen(
            [sys.executable, "-m", "mbashara.import_file"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env=cage.environment(), preexec_fn=partial(die_with_parent, signal.SIGKILL, os.getpid()),
        )  # fmt: skip
        with child:
            try:
                assert child.stdin is not None
                with suppress(BrokenPipeError):
                    child.stdin.write(self._order.as_json().encode())
                    child.stdin.close()
                return self._attend(child)
            finally:
                child.kill()

    def _attend(self, child: "subprocess.Popen[bytes]") -> Outcome | None:
        assert child.stdout is not None
        with selectors.DefaultSelector() as ready:
            ready.register(child.stdout, selectors.EVENT_READ)
            while True:
                if self._imports.stopping.is_set():
                    return outcome("stopped")
                if not self._is_wanted:
                    return outcome("unwanted")
                if not ready.select(LOOK_S):
                    continue
                data = os.read(child.stdout.fileno(), 1 << 16)
                if not data:
                    return self._found
                self._take(data)

    def _take(self, data: bytes) -> None:
        *lines, self._pending = (self._pending + data).split(b"\n")
        for line in lines:
            told: dict[str, Any] = json.loads(line)
            if "made" in told:
                self._found = outcome("made", sha256=told["made"].get("sha256", ""))
            elif "failed" in told:
                self._found = outcome("failed", **told["failed"])
            else:
                self._note(int(told["progress"] * 100))

    def _note(self, percent: int) -> None:
        """Told twice a second; it is also asked whether the file is still wanted."""
        with suppress(DatabaseAway), transaction(self._imports.engine) as session:
            self._is_wanted = jobs.note(session, self._order.id, min(99, percent))
