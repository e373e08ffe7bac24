"""An export's life from asking to its files' end. Each function takes the session first; the caller owns the
transaction.

    waiting ──> running ──> done ──> expired
       │           ├──> failed
       └───────────┴──> cancelled

Done, its events and its audit entry are one transaction: a file that can be fetched can be proven by its hash.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

from sqlalchemy import Row, func, select, update
from sqlalchemy.orm import Session

from archive.exports.tables import ExportJob
from archive.jobs import JobTable
from archive.recordings import custody, rows
from archive.recordings.export_credentials import Described
from archive.recordings.ledger import origin_ms_of
from archive.recordings.samples import ledger_head
from core import audit
from core.audit import Actor
from core.staff.permissions import Act, Scope
from core.tables import Broadcast, Institution, Recording

MAX_UNDER_WAY = 20
"""Of one institution: others want theirs too."""
STAFF, PROGRAM = "staff", "api"
"""Who asked, as the custody log says it: it is kept for good and handed out, so it names no person."""
ASKED, CANCELLED, FETCHED = "recording.export_ask", "recording.export_cancel", "recording.export_fetch"
BAG_FORMAT = "BagIt 1.0"
File = Mapping[str, Any]

_table = JobTable(ExportJob)
find, waiting, note, postpone = _table.find, _table.waiting, _table.note, _table.postpone
is_waiting = _table.is_waiting


class State(StrEnum):
    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


UNDER_WAY = (State.WAITING, State.RUNNING)


class Format(StrEnum):
    """Picture and sound; sound alone; everything, as a package for another archive."""

    MP4 = "mp4"
    M4A = "m4a"
    BAG = "bag"


class Wrong(StrEnum):
    """Why an export can't be asked for."""

    MANY = "many"
    RANGE = "range"
    RENDITION = "rendition"
    ON_AIR = "on_air"
    DESTROYED = "destroyed"


@dataclass(frozen=True, slots=True)
class Asked:
    """Milliseconds of the broadcast's timeline; None: to that end. A bag is always whole."""

    format: Format = Format.MP4
    from_ms: int | None = None
    to_ms: int | None = None
    rendition: str | None = None


def add(
    session: Session, job_id: str, recording: Recording, asked: Asked, *, by: Actor, agent: str = STAFF, now: datetime
) -> ExportJob | Wrong:
    """Waiting, with its audit entry; or what is wrong with it."""
    wrong = _check(session, recording, asked)
    if wrong is not None:
        return wrong
    job = ExportJob(
        id=job_id, institution_id=recording.institution_id, recording_id=recording.id, state=State.WAITING,
        format=asked.format, from_ms=asked.from_ms, to_ms=asked.to_ms, rendition=asked.rendition, percent=0, attempt=1,
        detail="", files=[], agent=agent, user_id=by.user_id, asked_by=by.name, created_at=now,
    )  # fmt: skip
    session.add(job)
    told = {"export": job.id, "format": job.format, "from_ms": job.from_ms, "to_ms": job.to_ms}
    _log(session, job, ASKED, by, now, {**told, "rendition": job.rendition})
    return job


def _check(session: Session, recording: Recording, asked: Asked) -> Wrong | None:
    if recording.disposed_at is not None:
        return Wrong.DESTROYED
    begins, ends = asked.from_ms or 0, asked.to_ms
    if begins < 0 or (ends is not None and ends <= begins):
        return Wrong.RANGE
    if recording.duration_ms is not None and begins >= recording.duration_ms > 0:
        return Wrong.RANGE
    names = {one.name for one in rows.renditions(session, recording.id)}
    if asked.rendition is not None and asked.rendition not in names:
        return Wrong.RENDITION
    if asked.format is Format.BAG and recording.state == "recording":
        return Wrong.ON_AIR
    # of two that are asked for at once the second waits, and counts the first
    owner = select(Institution.id).where(Institution.id == recording.institution_id)
    session.execute(owner.with_for_update(key_share=True))
    mine = (ExportJob.institution_id == recording.institution_id) & ExportJob.state.in_(UNDER_WAY)
    many = session.scalar(select(func.count()).where(mine)) or 0
    return Wrong.MANY if many >= MAX_UNDER_WAY else None


def page(
    session: Session, visible: Scope, *, recording_id: str | None = None, before: str = "", limit: int
) -> Sequence[Row[ExportJob, Recording, Broadcast]]:
    """Newest first."""
    query = select(ExportJob, Recording, Broadcast).join(Recording, Recording.id == ExportJob.recording_id)
    query = query.join(Broadcast, Broadcast.id == Recording.broadcast_id)
    query = query.where(visible.where(ExportJob.institution_id))
    if recording_id is not None:
        query = query.where(ExportJob.recording_id == recording_id)
    if before:
        query = query.where(ExportJob.id < before)
    return session.execute(query.order_by(ExportJob.id.desc()).limit(limit)).all()


def cancel(session: Session, job: ExportJob, *, by: Actor, now: datetime) -> bool:
    """False: it is over already. The caller has locked it. Whoever makes it sees this within a second."""
    if job.state not in UNDER_WAY:
        return False
    before, job.state, job.ended_at = job.state, State.CANCELLED, now
    _log(session, job, CANCELLED, by, now, {"export": job.id, "state": before})
    return True


def note_fetched(session: Session, job: ExportJob, file: File, *, by: Actor, now: datetime) -> None:
    _log(session, job, FETCHED, by, now, {"export": job.id, "name": file["name"], "sha256": file["sha256"]})


# What the work process does.


def start(session: Session, job_id: str, now: datetime) -> ExportJob | None:
    """It is being made from now on; None: it is not wanted any more, or is done."""
    job = find(session, job_id, lock=True)
    if job is None or job.state not in UNDER_WAY:
        return None
    job.state, job.percent, job.began_at = State.RUNNING, 0, now
    return job


def finish(
    session: Session, job_id: str, files: Sequence[File], rendition: str, now: datetime, kept: timedelta
) -> bool:
    """Done, and told in the custody log. False, and nothing done: it was cancelled meanwhile, or told before."""
    job = _table.running(session, job_id)
    if job is None:
        return False
    job.state, job.percent, job.ended_at, job.expires_at = State.DONE, 100, now, now + kept
    job.files, job.rendition = [dict(file) for file in files], job.rendition or rendition or None
    note_exported(session, job.recording_id, files, rendition, now, agent=job.agent, is_bag=job.format == Format.BAG)
    told = {"export": job.id, "rendition": rendition, "files": [{**_of(file)} for file in files]}
    _log(session, job, Act.RECORDING_EXPORT, Actor(job.user_id, job.asked_by), now, told)
    return True


def note_exported(
    session: Session, recording_id: str, files: Sequence[File], rendition: str, now: datetime, *, agent: str,
    is_bag: bool = False,
) -> None:  # fmt: skip
    """An event for each file, by whose hash anyone can prove it later (verify.find_hash)."""
    how: dict[str, Any] = {"format": BAG_FORMAT, "c2pa": False} if is_bag else {"rendition": rendition, "c2pa": True}
    for file in files:
        custody.append(session, recording_id, "export", now, agent=agent, **_of(file), **how)


def _of(file: File) -> dict[str, Any]:
    return {name: file[name] for name in ("name", "sha256", "size", "from_ms", "to_ms") if file.get(name) is not None}


def fail(session: Session, job_id: str, trouble: str, detail: str, now: datetime) -> None:
    job = _table.running(session, job_id)
    if job is not None:
        job.state, job.trouble, job.detail, job.ended_at = State.FAILED, trouble, detail, now


def expire(session: Session, now: datetime) -> None:
    late = update(ExportJob).where(ExportJob.state == State.DONE, ExportJob.expires_at < now)
    session.execute(late.values(state=State.EXPIRED))


def with_files(session: Session, ids: Sequence[str]) -> set[str]:
    """Those whose folder something needs."""
    kept = ExportJob.state.in_((*UNDER_WAY, State.DONE))
    return set(session.scalars(select(ExportJob.id).where(ExportJob.id.in_(ids), kept)))


def describe(session: Session, folder: Path) -> Described | None:
    """What credentials say of a recording."""
    found = rows.find_recording(session, folder.name)
    if found is None:
        return None
    _recording, broadcast, channel = found
    owner = session.get_one(Institution, broadcast.institution_id)
    titles = (broadcast.title_sw, broadcast.title_en)
    return Described(owner.slug, owner.name_sw, channel.slug, *titles, ledger_head(folder))


def origin_ms(folder: Path, recording: Recording) -> int:
    """Where the wall clock of its timeline begins (Unix, ms): as the ledger says, else as the row does."""
    return origin_ms_of(folder) or round(recording.started_at.timestamp() * 1000)


def _log(session: Session, job: ExportJob, act: str, by: Actor, now: datetime, after: audit.Facts) -> None:
    subject = f"recording:{job.recording_id}"
    audit.append(session, by, act, subject, now=now, institution_id=job.institution_id, after=after)
