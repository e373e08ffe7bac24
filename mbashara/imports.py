"""The queue of files that become recordings, in the work process: durable workflows (DBOS), some at once.

A file is made by a child of its own (import_file.py). A child that dies begins again, some times; a work process that
dies has its workflows taken up by the next. Either way the file is read from its beginning, and the recording, which
has the job's id, is there whole or not at all: it takes its place by one rename, once its job can't be cancelled.
"""

import os
import shutil
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import TypedDict

import structlog
from dbos import DBOS
from sqlalchemy import Engine

from archive.imports import jobs
from archive.imports.kept import STAGING
from archive.recordings import closures
from core.database import transaction
from core.ids import is_id
from core.media.files import sync_file_system
from mbashara.import_order import Order
from mbashara.job_child import JobChild
from mbashara.job_queue import JobQueue
from mbashara.settings import Settings
from transcode.files.facts import Trouble

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


_settings: Settings | None = None
_engine: Engine | None = None
_stopping = threading.Event()


def start(settings: Settings, engine: Engine, stopping: threading.Event) -> JobQueue:
    """Before DBOS takes up its workflows."""
    global _settings, _engine, _stopping
    _settings, _engine, _stopping = settings, engine, stopping
    return JobQueue(
        "import", engine, settings.imports_at_once, jobs.waiting, jobs.is_waiting, import_file,
        lambda: tidy(settings, engine), TIDY_S,
    )  # fmt: skip


def _context() -> tuple[Settings, Engine]:
    """What the steps work on: DBOS finds steps by name after a restart, so they are functions of the module."""
    assert _settings is not None and _engine is not None, "work has not started"
    return _settings, _engine


def tidy(settings: Settings, engine: Engine) -> None:
    """Files that nothing waits for go: of what is done, cancelled or expired."""
    folder = settings.imports_folder
    with transaction(engine) as session:
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


@DBOS.step(retries_allowed=True, max_attempts=20)
def make_import(job_id: str) -> Outcome:
    """Maybe hours. Killed, it begins anew."""
    settings, engine = _context()
    if (settings.recordings / job_id).exists():
        return outcome("made")  # it was killed behind its last act
    order = _order(settings, engine, job_id)
    if order is None:
        return outcome("unwanted")
    log.info("import begins", recording=job_id, name=order.name, size=order.size)
    ended = JobChild("mbashara.import_file", job_id, order.as_json(), jobs.note, engine, _stopping).run()
    if ended.end == "made":
        return outcome("made", sha256=ended.told.get("sha256", ""))
    shutil.rmtree(settings.recordings / STAGING / job_id, ignore_errors=True)
    return outcome(ended.end, **ended.told)


@DBOS.step(retries_allowed=True, max_attempts=20)
def place_import(job_id: str, found: Outcome) -> Outcome:
    settings, engine = _context()
    return found if take_place(settings, engine, job_id) else outcome("unwanted")


def take_place(settings: Settings, engine: Engine, job_id: str) -> bool:
    """What was made becomes a recording, if it is wanted still: whoever cancels it from now on is told that it is too
    late. One under embargo is closed to the public before its files are there."""
    made, whole = settings.recordings / STAGING / job_id, settings.recordings / job_id
    with transaction(engine) as session:
        is_wanted = jobs.place(session, job_id)
        job = jobs.find(session, job_id)
        wish = None if job is None else jobs.embargo(job)
    if whole.exists():
        return True
    if not is_wanted:
        shutil.rmtree(made, ignore_errors=True)
        return False
    if wish is not None:
        closures.shut(settings.public, job_id, wish.until)
    made.rename(whole)
    sync_file_system(whole.parent)
    return True


@DBOS.step(retries_allowed=True, max_attempts=20)
def write_import(job_id: str, found: Outcome) -> None:
    settings, engine = _context()
    now = datetime.now(UTC)
    with transaction(engine) as session:
        match found["end"]:
            case "made":
                jobs.finish(session, job_id, found["sha256"] or None, now)
            case "failed":
                jobs.fail(session, job_id, found["trouble"], found["read_ms"], found["told_ms"], now)
            case "stopped":
                jobs.postpone(session, job_id)
    if found["end"] in ("made", "unwanted"):
        (settings.imports_folder / job_id).unlink(missing_ok=True)


@DBOS.workflow()
def import_file(job_id: str) -> None:
    found = make_import(job_id)
    if found["end"] == "made":
        found = place_import(job_id, found)
    write_import(job_id, found)
    log.info("import ended", recording=job_id, **found)


def _order(settings: Settings, engine: Engine, job_id: str) -> Order | None:
    now = datetime.now(UTC)
    with transaction(engine) as session:
        started = jobs.start(session, job_id)
    if started is None:
        return None
    job, channel = started
    wish = jobs.embargo(job)
    embargo = None if wish is None else {"until": wish.until and wish.until.isoformat()}
    return Order(
        id=job.id, file=str(settings.imports_folder / job.id), name=job.name, size=job.size_bytes, sha256=job.sha256,
        at_ms=None if job.origin_at is None else round(job.origin_at.timestamp() * 1000),
        now_ms=round(now.timestamp() * 1000), recordings=str(settings.recordings),
        channel={"channel": channel.slug, "channel_id": channel.id, "institution_id": channel.institution_id},
        title_sw=job.title_sw, title_en=job.title_en, by=job.created_by, embargo=embargo, takes_short=job.takes_short,
        has_ladder=settings.ladder, longest_ms=round(settings.import_max_hours * 3_600_000),
        target_duration_s=settings.target_duration_s, part_target_s=settings.part_target_s,
        min_free_bytes=settings.min_free_mb << 20,
    )  # fmt: skip
