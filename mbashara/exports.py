"""The queue of exports, in the work process: durable workflows (DBOS), few at once.

An export is made by a child of its own (export_file.py) in DATA/exports/ID.making, which gets its name when all of it
is there. A child that dies begins again, some times; a work process that dies has its workflows taken up by the next.
Only the transaction that finds its row running makes it done, so of one export there is one result.
"""

import json
import os
import shutil
import threading
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypedDict

import structlog
from dbos import DBOS
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from archive.exports import jobs
from archive.exports.tables import ExportJob
from archive.recordings import about, signing_keys
from archive.recordings.ledger import origin_ms_of
from core.database import transaction
from core.web.dates import EAST_AFRICA_TIME
from mbashara.export_file import Order
from mbashara.job_child import JobChild
from mbashara.job_queue import JobQueue
from mbashara.settings import Settings

MAKING = ".making"
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


_settings: Settings | None = None
_engine: Engine | None = None
_stopping = threading.Event()


def start(settings: Settings, engine: Engine, stopping: threading.Event) -> JobQueue:
    """Before DBOS takes up its workflows."""
    global _settings, _engine, _stopping
    _settings, _engine, _stopping = settings, engine, stopping
    return JobQueue(
        "export", engine, settings.exports, jobs.waiting, jobs.is_waiting, export_recording,
        lambda: tidy(settings, engine), TIDY_S,
    )  # fmt: skip


def _context() -> tuple[Settings, Engine]:
    """What the steps work on: DBOS finds steps by name after a restart, so they are functions of the module."""
    assert _settings is not None and _engine is not None, "work has not started"
    return _settings, _engine


def tidy(settings: Settings, engine: Engine) -> None:
    """The folders of what is cancelled, failed or expired. Listed before it is asked, so that none is too new."""
    names = os.listdir(settings.exports_folder)
    with transaction(engine) as session:
        jobs.expire(session, datetime.now(UTC))
        wanted = jobs.with_files(session, [name.removesuffix(MAKING) for name in names])
    for name in names:
        if name.removesuffix(MAKING) not in wanted:
            shutil.rmtree(settings.exports_folder / name, ignore_errors=True)


@DBOS.step(retries_allowed=True, max_attempts=20)
def make_export(job_id: str) -> Outcome:
    """Killed, it begins anew."""
    settings, engine = _context()
    folder = settings.exports_folder / job_id
    making = folder.with_name(job_id + MAKING)
    order = _order(settings, engine, job_id, making)
    if order is None:
        return outcome("unwanted")
    log.info("export begins", export=job_id, recording=Path(order.recording).name)

    def clear() -> None:
        for left in (folder, making):
            shutil.rmtree(left, ignore_errors=True)
        making.mkdir()

    ended = JobChild(
        "mbashara.export_file", job_id, order.as_json(), jobs.note, engine, _stopping,
        environment={"TMPDIR": order.target}, limit_s=order.limit_s + GRACE_S,
    ).run(clear)  # fmt: skip
    if ended.end == "made":
        making.rename(folder)
    else:
        shutil.rmtree(making, ignore_errors=True)
    return outcome(ended.end, **ended.told)


@DBOS.step(retries_allowed=True, max_attempts=20)
def write_export(job_id: str, found: Outcome) -> None:
    settings, engine = _context()
    now, kept = datetime.now(UTC), timedelta(days=settings.export_kept_days)
    with transaction(engine) as session:
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


def _order(settings: Settings, engine: Engine, job_id: str, target: Path) -> Order | None:
    with transaction(engine) as session:
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
    begins_ms = (origin_ms_of(folder) or 0) + (job.from_ms or 0)
    begins = datetime.fromtimestamp(begins_ms / 1000, EAST_AFRICA_TIME)
    return f"{channel}-{begins:%Y%m%d-%H%M%S}.{job.format}"


def _keys(session: Session, institution_id: int) -> str:
    """keys.json: who may have signed it."""
    return json.dumps({"keys": signing_keys.told(session, institution_id)}, indent=1) + "\n"
