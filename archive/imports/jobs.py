"""A file's life from its first byte to a recording. Each function takes the session first; the caller owns the
transaction.

    uploading ──> waiting ──> running ──> done
        │            │           ├──> failed ──> waiting (asked for again)
        └────────────┴───────────┴──> cancelled

Only what is failed or uploading waits for people: it goes when it expires. A running one at 100 % takes its place among
the recordings: it can't be cancelled any more.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import Row, func, select, update
from sqlalchemy.orm import Session

from archive.imports.tables import ImportJob
from archive.jobs import JobTable
from archive.recordings.policy import Wish
from core import audit
from core.audit import Actor
from core.channels import MAX_NAME
from core.staff.permissions import Act, Scope
from core.tables import Channel, Institution

FAILED_KEPT = timedelta(days=7)
MAX_FILE_NAME = 255
CANCELLED, AGAIN = "recording.import_cancel", "recording.import_again"
PLACED = 100
LEFT_WHOLE = frozenset({"done", "cancelled"})
"""States whose file has nothing more to wait for."""

_table = JobTable(ImportJob)
find, waiting, note, postpone = _table.find, _table.waiting, _table.note, _table.postpone
is_waiting = _table.is_waiting


class State(StrEnum):
    UPLOADING = "uploading"
    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


UNDER_WAY = (State.UPLOADING, State.WAITING, State.RUNNING)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file as someone announces it. Titles that are empty become the file's name. `embargo`: under which it becomes a
    recording."""

    name: str
    size_bytes: int
    title_sw: str = ""
    title_en: str = ""
    origin_at: datetime | None = None
    sha256: str | None = None
    embargo: Wish | None = None


def add(
    session: Session, job_id: str, channel: Channel, wanted: Wanted, *, by: Actor, now: datetime,
    expires_at: datetime | None = None,
) -> ImportJob:  # fmt: skip
    """Waiting, or uploading where it expires; with its audit entry."""
    name = clean_name(wanted.name)
    title = name.rpartition(".")[0] or name
    is_here = expires_at is None
    job = ImportJob(
        id=job_id, institution_id=channel.institution_id, channel_id=channel.id,
        state=State.WAITING if is_here else State.UPLOADING, name=name, size_bytes=wanted.size_bytes,
        received_bytes=wanted.size_bytes if is_here else 0, sha256=wanted.sha256,
        title_sw=(wanted.title_sw or wanted.title_en or title)[:MAX_NAME],
        title_en=(wanted.title_en or wanted.title_sw or title)[:MAX_NAME], origin_at=wanted.origin_at,
        takes_short=False, percent=0, attempt=1, created_by=by.name, created_at=now, expires_at=expires_at,
    )  # fmt: skip
    told: dict[str, object] = {"name": name, "size": wanted.size_bytes}
    if wanted.embargo is not None:
        job.embargo_reason, job.embargo_until = wanted.embargo.reason, wanted.embargo.until
        job.embargo_by = by.user_id
        told |= {"embargo": job.embargo_reason, "until": job.embargo_until and job.embargo_until.isoformat()}
    session.add(job)
    _log(session, job, Act.RECORDING_IMPORT, by, now, told)
    return job


def embargo(job: ImportJob) -> Wish | None:
    return None if job.embargo_reason is None else Wish(job.embargo_reason, job.embargo_until)


def clean_name(name: str) -> str:
    """The last part of a path of either kind, without what can't be shown or stored."""
    last = name.replace("\\", "/").rpartition("/")[2]
    return "".join(one for one in last if one.isprintable()).strip()[:MAX_FILE_NAME] or "file"


def receive(session: Session, job: ImportJob, received_bytes: int, expires_at: datetime) -> None:
    """So much of it is safe on the disk; all of it: it waits to be made."""
    job.received_bytes, job.expires_at = received_bytes, expires_at
    if received_bytes == job.size_bytes:
        job.state, job.expires_at = State.WAITING, None


def start(session: Session, job_id: str) -> tuple[ImportJob, Channel] | None:
    """It is being made from now on; None: it is not wanted any more, or is done."""
    job = find(session, job_id, lock=True)
    if job is None or job.state not in (State.WAITING, State.RUNNING):
        return None
    job.state, job.percent, job.trouble = State.RUNNING, 0, None
    return job, session.get_one(Channel, job.channel_id)


def place(session: Session, job_id: str) -> bool:
    """From now on it takes its place. False: it is not wanted any more."""
    return note(session, job_id, PLACED)


def finish(session: Session, job_id: str, sha256: str | None, now: datetime) -> None:
    job = _table.running(session, job_id)
    if job is not None:
        job.state, job.percent, job.ended_at, job.expires_at = State.DONE, 100, now, None
        job.sha256 = sha256 or job.sha256


def fail(session: Session, job_id: str, trouble: str, read_ms: int, told_ms: int, now: datetime) -> None:
    """Its file is kept for a while, so that it can be asked for again."""
    job = _table.running(session, job_id)
    if job is not None:
        job.state, job.ended_at, job.expires_at = State.FAILED, now, now + FAILED_KEPT
        job.trouble, job.read_ms, job.told_ms = trouble, read_ms, told_ms


def cancel(session: Session, job: ImportJob, *, by: Actor, now: datetime) -> bool:
    """False: it is over already. The caller has locked it."""
    if job.state not in (*UNDER_WAY, State.FAILED) or (job.state == State.RUNNING and job.percent == PLACED):
        return False
    before, job.state, job.ended_at, job.expires_at = job.state, State.CANCELLED, now, None
    _log(session, job, CANCELLED, by, now, {"name": job.name, "state": before})
    return True


def again(session: Session, job: ImportJob, *, takes_short: bool, by: Actor, now: datetime) -> bool:
    """A failed one is made once more. False: it isn't failed, or its file is not there. The caller has locked it."""
    if job.state != State.FAILED or job.received_bytes < job.size_bytes:
        return False
    job.state, job.attempt, job.takes_short = State.WAITING, job.attempt + 1, takes_short
    job.trouble = job.ended_at = job.expires_at = None
    _log(session, job, AGAIN, by, now, {"name": job.name, "takes_short": takes_short})
    return True


def expire(session: Session, now: datetime, trouble: str) -> None:
    """What nobody went on with: an upload fails, and what failed loses its file."""
    late = update(ImportJob).where(ImportJob.expires_at < now)
    stopped = late.where(ImportJob.state == State.UPLOADING)
    session.execute(stopped.values(state=State.FAILED, trouble=trouble, ended_at=now))
    session.execute(late.values(expires_at=None, received_bytes=0))


def with_file(session: Session, ids: Sequence[str]) -> set[str]:
    """Those whose file something waits for."""
    kept = ImportJob.id.in_(ids) & ImportJob.state.not_in(LEFT_WHOLE)
    is_failed_for_good = (ImportJob.state == State.FAILED) & ImportJob.expires_at.is_(None)
    return set(session.scalars(select(ImportJob.id).where(kept, ~is_failed_for_good)))


def open_uploads(session: Session, institution_id: int) -> tuple[int, int]:
    """How many there are of an institution, and how many bytes all institutions' still want."""
    mine = (ImportJob.institution_id == institution_id) & (ImportJob.state == State.UPLOADING)
    count = session.scalar(select(func.count()).where(mine)) or 0
    left = func.coalesce(func.sum(ImportJob.size_bytes - ImportJob.received_bytes), 0)
    return count, int(session.scalar(select(left).where(ImportJob.state == State.UPLOADING)) or 0)


def kept_bytes(session: Session, institution_id: int) -> int:
    """What an institution's files take, or will when they are here: all that are kept and are no recordings."""
    is_gone = (ImportJob.state == State.FAILED) & ImportJob.expires_at.is_(None)
    kept = (ImportJob.institution_id == institution_id) & ImportJob.state.not_in(LEFT_WHOLE) & ~is_gone
    return int(session.scalar(select(func.coalesce(func.sum(ImportJob.size_bytes), 0)).where(kept)) or 0)


def page(
    session: Session, visible: Scope, *, before: str = "", limit: int
) -> Sequence[Row[ImportJob, Channel, Institution]]:
    """Newest first."""
    query = select(ImportJob, Channel, Institution).join(Channel, Channel.id == ImportJob.channel_id)
    query = query.join(Institution, Institution.id == ImportJob.institution_id)
    query = query.where(visible.where(ImportJob.institution_id))
    if before:
        query = query.where(ImportJob.id < before)
    return session.execute(query.order_by(ImportJob.id.desc()).limit(limit)).all()


def states(session: Session, ids: Sequence[str]) -> dict[str, ImportJob]:
    found = session.scalars(select(ImportJob).where(ImportJob.id.in_(ids)))
    return {job.id: job for job in found}


def _log(session: Session, job: ImportJob, act: str, by: Actor, now: datetime, after: audit.Facts) -> None:
    subject = f"import:{job.id}"
    audit.append(session, by, act, subject, now=now, institution_id=job.institution_id, after=after)
