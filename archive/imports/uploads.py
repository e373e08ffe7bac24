"""Uploads as they come in: what may begin, and the file that grows. Who speaks tus is mbashara/api/uploads.py.

A row says how much of the file is safe on the disk; what lies behind that in the file is of a request that was cut off,
and is written over by the next.
"""

import errno
import fcntl
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from types import TracebackType

from sqlalchemy import text
from sqlalchemy.orm import Session

from archive.imports import jobs
from archive.imports.jobs import State, Wanted
from archive.imports.tables import ImportJob
from archive.recordings.policy import Wish, wish_for
from archive.recordings.policy_errors import BadReason, BadUntil
from core.audit import Actor
from core.channels import find_channel
from core.staff.permissions import Scope
from core.tables import Channel
from core.web.dates import EAST_AFRICA_TIME

LOCK = 0x75706C6F6164  # of PostgreSQL, any constant of our own
EMBARGO, YES = ("embargo", "embargo_reason", "embargo_until"), "yes"


class Cause(StrEnum):
    """Why an upload can't begin or go on."""

    CHANNEL = "channel"
    TIME = "time"
    FUTURE = "future"
    SHA256 = "sha256"
    EMBARGO = "embargo"
    EMBARGO_REASON = "embargo_reason"
    EMBARGO_UNTIL = "embargo_until"
    EMBARGO_RIGHT = "embargo_right"
    MANY = "many"
    QUOTA = "quota"
    FULL = "full"
    LOCKED = "locked"
    GONE = "gone"
    UNKNOWN = "unknown"


class UploadRefused(Exception):
    """Nothing was changed."""

    def __init__(self, cause: Cause) -> None:
        super().__init__(cause)
        self.cause = cause


@dataclass(frozen=True, slots=True)
class Depot:
    """Where files come in, and how much. `per_institution`: uploads that are not finished; `institution_bytes`: of
    all that is kept and is no recording. Less than `min_free_bytes` of the disk is never left."""

    folder: Path
    max_bytes: int
    per_institution: int
    expires: timedelta
    min_free_bytes: int
    institution_bytes: int

    def path(self, job_id: str) -> Path:
        return self.folder / job_id

    def has_room(self, size_bytes: int) -> bool:
        """For the file and the recording that is made of it."""
        return shutil.disk_usage(self.folder).free - 2 * size_bytes > self.min_free_bytes

    def discard(self, job_id: str) -> None:
        self.path(job_id).unlink(missing_ok=True)


def begin(
    session: Session, depot: Depot, job_id: str, told: Mapping[str, str], size_bytes: int, place: Scope, *,
    embargoes: Scope, by: Actor, now: datetime,
) -> ImportJob:  # fmt: skip
    """`told` says `channel`, and may say `filename`, `title_sw`, `title_en`, `at`, `sha256`, and `embargo` ("yes") with
    `embargo_reason` and `embargo_until`; `embargoes`: where this person may place them. Uploads begin one after the
    other: of the last place or the last bytes one gets them. Raises UploadRefused."""
    channel = channel_at(session, told.get("channel", ""), place)
    wanted = read_wanted(told, size_bytes, now)
    if wanted.embargo is not None and not embargoes.covers(channel.institution_id):
        raise UploadRefused(Cause.EMBARGO_RIGHT)
    session.execute(text("select pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
    count, wanted_bytes = jobs.open_uploads(session, channel.institution_id)
    if count >= depot.per_institution:
        raise UploadRefused(Cause.MANY)
    if jobs.kept_bytes(session, channel.institution_id) + size_bytes > depot.institution_bytes:
        raise UploadRefused(Cause.QUOTA)
    if not depot.has_room(size_bytes + wanted_bytes):
        raise UploadRefused(Cause.FULL)
    return jobs.add(session, job_id, channel, wanted, by=by, now=now, expires_at=now + depot.expires)


def channel_at(session: Session, slug: str, place: Scope) -> Channel:
    """One of another institution's is as unknown as one that is not there."""
    channel = find_channel(session, slug) if slug.isascii() and slug.isprintable() else None
    if channel is None or not place.covers(channel.institution_id):
        raise UploadRefused(Cause.CHANNEL)
    return channel


def read_wanted(told: Mapping[str, str], size_bytes: int, now: datetime) -> Wanted:
    sha256 = told.get("sha256", "").lower() or None
    if sha256 is not None and (len(sha256) != 64 or not set(sha256) <= set("0123456789abcdef")):
        raise UploadRefused(Cause.SHA256)
    name = told.get("filename", "") or told.get("name", "")
    title_sw, title_en = _line(told.get("title_sw", "")), _line(told.get("title_en", ""))
    origin_at = read_moment(told.get("at", ""), now)
    return Wanted(name, size_bytes, title_sw, title_en, origin_at, sha256, read_embargo(told, now))


def read_moment(told: str, now: datetime) -> datetime | None:
    """ISO 8601; without a zone it is East Africa's. None where nothing is said. What is still to come was not recorded:
    it would stand before all that is new, and be kept from a day on that is a slip of the pen."""
    at = _time(told, Cause.TIME)
    if at is not None and at > now:
        raise UploadRefused(Cause.FUTURE)
    return at


def read_embargo(told: Mapping[str, str], now: datetime) -> Wish | None:
    """None where none is wanted. A reason or an end alone may be meant as one or not: that is asked back."""
    wanted, reason, until = (told.get(name, "") for name in EMBARGO)
    if not wanted and not reason.strip() and not until:
        return None
    if wanted != YES:
        raise UploadRefused(Cause.EMBARGO)
    try:
        return wish_for(_line(" ".join(reason.split())), _time(until, Cause.EMBARGO_UNTIL), now)
    except BadReason as error:
        raise UploadRefused(Cause.EMBARGO_REASON) from error
    except BadUntil as error:
        raise UploadRefused(Cause.EMBARGO_UNTIL) from error


def _time(told: str, wrong: Cause) -> datetime | None:
    if not told:
        return None
    try:
        at = datetime.fromisoformat(told)
        at = at if at.tzinfo is not None else at.replace(tzinfo=EAST_AFRICA_TIME)
        at.timestamp()
    except (ValueError, OverflowError) as error:
        raise UploadRefused(wrong) from error
    if not 1880 < at.year < 2200:
        raise UploadRefused(wrong)
    return at


def _line(told: str) -> str:
    return "".join(one for one in told if one.isprintable()).strip()


def find(session: Session, job_id: str, place: Scope, *, lock: bool = False) -> ImportJob:
    """One of another institution's is as unknown as one that is not there."""
    job = jobs.find(session, job_id, lock=lock)
    if job is None or not place.covers(job.institution_id):
        raise UploadRefused(Cause.UNKNOWN)
    return job


def check_open(job: ImportJob) -> None:
    if job.state in (State.CANCELLED, State.FAILED):
        raise UploadRefused(Cause.GONE)


class Growing:
    """An upload's file, held by one request at a time. All of it blocks: for threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = -1
        self.at = 0

    def open(self) -> None:
        """Raises UploadRefused while another request holds it."""
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self.close()
            raise UploadRefused(Cause.LOCKED) from error

    def go_to(self, offset: int) -> None:
        """Cuts off what is behind. A file that is shorter than its row says was harmed: that is told by its hash."""
        os.ftruncate(self._file, offset)
        self.at = os.lseek(self._file, offset, os.SEEK_SET)

    def write(self, data: bytes) -> None:
        """Raises UploadRefused where the disk takes no more."""
        try:
            if os.write(self._file, data) < len(data):
                raise OSError(errno.ENOSPC, "no space left")
        except OSError as error:
            raise UploadRefused(Cause.FULL) from error
        self.at += len(data)

    def sync(self) -> None:
        os.fdatasync(self._file)

    def close(self) -> None:
        if self._file >= 0:
            with suppress(OSError):
                os.close(self._file)
            self._file = -1

    def __enter__(self) -> "Growing":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
