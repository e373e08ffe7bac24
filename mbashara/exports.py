"""The queue of exports, in the work process: durable workflows (DBOS), few at once.

An export is made by a child of its own (export_file.py) in DATA/exports/ID.making, which gets its name when all of it
is there. A child that dies begins again, some times; a work process that dies has its workflows taken up by the next.
Only the transaction that finds its row running makes it done, so of one export there is one result.
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
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypedDict

import structlog
from dbos import DBOS, Queue, SetWorkflowID
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from archive.exports import jobs
from archive.exports.tables import ExportJob
from archive.recordings import about, signing_keys
from core import cage
from core.database import DatabaseAway, transaction
from core.web.dates import EAST_AFRICA_TIME
from mbashara.children import die_with_parent
from mbashara.export_file import Order
from mbashara.settings import Settings

QUEUE = "exports"
MAKING = ".making"
CHILD_TRIES = 3
LOOK_S = 0.5
STOP_S = 10.0
GRACE_S = 60.0
"""How long after its time a child that does not stop by itself is killed."""
TIDY_S = 30.0

log: structlog.stdlib.BoundLogger = structlog.get_logger("mbashara.exports")


class Outcome(TypedDict):
    """What became of an export, as JSON that the workflow's log can keep. `end`: "made", "failed", "stopped" (with the
    process), or "unwanted"."""

    end: str
    files: list[dict[str, Any]]
    rendition: str
    trouble: str
    detail: str


def outcome(
    end: str, files: list[dict[str, Any]] | None = None, rendition: str = "", trouble: str = "", detail: str = ""
) -> Outcome:
    return Outcome(end=end, files=files or [], rendition=rendition, trouble=trouble, detail=detail)


@dataclass(slots=True)
class Exports:
    """Follows the table: what waits goes into the queue, what nobody needs any more goes from the disk."""

    settings: Settings
    engine: Engine
    stopping: threading.Event
    _queue: Queue | None = None
    _enqueued: set[tuple[str, int]] = field(default_factory=set)
    _tidied_s: float = -TIDY_S

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
            self._queue = DBOS.register_queue(
                QUEUE, worker_concurrency=self.settings.exports, polling_interval_sec=0.5, on_conflict="always_update"
            )
        with SetWorkflowID(f"export-{job_id}-{attempt}"):
            self._queue.enqueue(export_recording, job_id)

    def _tidy(self) -> None:
        """The folders of what is cancelled, failed or expired. Listed before it is asked, so that none is too new."""
        names = os.listdir(self.settings.exports_folder)
        with transaction(self.engine) as session:
            jobs.expire(session, datetime.now(UTC))
            wanted = jobs.with_files(session, [name.removesuffix(MAKING) for name in names])
        for name in names:
            if name.removesuffix(MAKING) not in wanted:
                shutil.rmtree(self.settings.exports_folder / name, ignore_errors=True)


_exports: Exports | None = None


def start(settings: Settings, engine: Engine, stopping: threading.Event) -> Exports:
    """Before DBOS takes up its workflows."""
    global _exports
    _exports = Exports(settings, engine, stopping)
    return _exports


def _context() -> Exports:
    """What the steps work on: DBOS finds steps by name after a restart, so they are functions of the module."""
    assert _exports is not None, "work has not started"
    return _exports


@DBOS.step(retries_allowed=True, max_attempts=20)
def make_export(job_id: str) -> Outcome:
    """Killed, it begins anew."""
    exports = _context()
    folder = exports.settings.exports_folder / job_id
    making = folder.with_name(job_id + MAKING)
    order = _order(exports, job_id, making)
    if order is None:
        return outcome("unwanted")
    log.info("export begins", export=job_id, recording=Path(order.recording).name)
    found: Outcome | None = None
    for _ in range(CHILD_TRIES):
        for left in (folder, making):
            shutil.rmtree(left, ignore_errors=True)
        making.mkdir()
        found = _Child(exports, job_id, order).run()
        if found is not None:
            break
        log.error("the maker of an export died; it begins again", export=job_id)
    found = found or outcome("failed", trouble="fault")
    if found["end"] == "made":
        making.rename(folder)
    else:
        shutil.rmtree(making, ignore_errors=True)
    return found


@DBOS.step(retries_allowed=True, max_attempts=20)
def write_export(job_id: str, found: Outcome) -> None:
    exports, now = _context(), datetime.now(UTC)
    kept = timedelta(days=exports.settings.export_kept_days)
    with transaction(exports.engine) as session:
        match found["end"]:
            case "made":
                jobs.finish(session, job_id, found["files"], found["rendition"], now, kept)
            case "failed":
                jobs.fail(session, job_id, found["trouble"], found["detail"], now)
            case "stopped":
                jobs.postpone(session, job_id)


@DBOS.workflow()
def export_recording(job_id: str) -> None:
    found = make_export(job_id)
    write_export(job_id, found)
    log.info("export ended", export=job_id, end=found["end"], trouble=found["trouble"], files=len(found["files"]))


def _order(exports: Exports, job_id: str, target: Path) -> Order | None:
    settings = exports.settings
    with transaction(exports.engine) as session:
        job = jobs.start(session, job_id, datetime.now(UTC))
        if job is None:
            return None
        folder = settings.recordings / job.recording_id
        described, known = jobs.describe(session, folder), about.from_rows(session, job.recording_id)
        if described is None or known is None:
            return None
        keys = _keys(session, job.institution_id) if job.format == jobs.Format.BAG else ""
    return Order(
        recording=str(folder), target=str(target), name=_file_name(folder, job, described.channel), format=job.format,
        from_ms=job.from_ms, to_ms=job.to_ms, rendition=job.rendition, described=asdict(described),
        about=asdict(known), keys=keys, secrets=str(settings.c2pa_folder), limit_s=settings.export_max_hours * 3600,
        min_free_bytes=settings.min_free_mb << 20,
    )  # fmt: skip


def _file_name(folder: Path, job: ExportJob, channel: str) -> str:
    """The channel and when it begins, as people sort them."""
    if job.format == jobs.Format.BAG:
        return f"mbashara-{job.recording_id}.tar"
    begins_ms = jobs.origin_ms_of(folder) + (job.from_ms or 0)
    begins = datetime.fromtimestamp(begins_ms / 1000, EAST_AFRICA_TIME)
    return f"{channel}-{begins:%Y%m%d-%H%M%S}.{job.format}"


def _keys(session: Session, institution_id: int) -> str:
    """keys.json: who may have signed it."""
    mine = [one for one in signing_keys.published(session) if one[0].institution_id == institution_id]
    told = [
        {"id": key.id, "institution": owner.slug, "public_key": key.public_key,
         "created_at": key.created_at.isoformat(), "retired_at": key.retired_at and key.retired_at.isoformat()}
        for key, owner in mine
    ]  # fmt: skip
    return json.dumps({"keys": told}, indent=1) + "\n"


class _Child:
    """One run of the maker, attended from a workflow's thread, with which it would die."""

    def __init__(self, exports: Exports, job_id: str, order: Order) -> None:
        self._exports, self._job_id, self._order = exports, job_id, order
        self._is_wanted = True
        self._pending = b""
        self._percent = 0
        self._found: Outcome | None = None

    def run(self) -> Outcome | None:
        """None: it died without a word."""
        environment = {**cage.environment(), "TMPDIR": self._order.target}
        child = subprocess.Popen(
            [sys.executable, "-m", "mbashara.export_file"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env=environment, preexec_fn=partial(die_with_parent, signal.SIGKILL, os.getpid()),
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
        deadline_s = time.monotonic() + self._order.limit_s + GRACE_S
        with selectors.DefaultSelector() as ready:
            ready.register(child.stdout, selectors.EVENT_READ)
            while True:
                if self._exports.stopping.is_set():
                    return outcome("stopped")
                if not self._is_wanted:
                    return _ask_to_stop(child)
                if time.monotonic() > deadline_s:
                    return outcome("failed", trouble="too_long")
                if ready.select(LOOK_S):
                    data = os.read(child.stdout.fileno(), 1 << 16)
                    if not data:
                        return self._found
                    self._take(data)
                if self._found is None:
                    self._note()

    def _take(self, data: bytes) -> None:
        *lines, self._pending = (self._pending + data).split(b"\n")
        for line in lines:
            told: dict[str, Any] = json.loads(line)
            if "made" in told:
                self._found = outcome("made", **told["made"])
            elif "failed" in told:
                self._found = outcome("failed", **told["failed"])
            elif "progress" in told:
                self._percent = int(told["progress"] * 100)

    def _note(self) -> None:
        """Told twice a second; it is also asked whether the export is still wanted."""
        with suppress(DatabaseAway), transaction(self._exports.engine) as session:
            self._is_wanted = jobs.note(session, self._job_id, min(99, self._percent))


def _ask_to_stop(child: "subprocess.Popen[bytes]") -> Outcome:
    """Between two segments; what does not stop is killed by the caller."""
    child.terminate()
    with suppress(subprocess.TimeoutExpired):
        child.wait(STOP_S)
    return outcome("unwanted")
