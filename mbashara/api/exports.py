"""Exports of recordings: asked for, how far they are, fetched, cancelled."""

import secrets
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query
from pydantic import BaseModel, Field
from sqlalchemy.orm import Session
from starlette.responses import Response

from archive.exports import jobs
from archive.exports.jobs import Asked, Format, State, Wrong
from archive.exports.pages import handed_out
from archive.exports.tables import ExportJob
from archive.recordings import rows
from core.database import transaction
from core.ids import RANDOM_BYTES, new_id
from core.staff.permissions import Act
from core.staff.tokens import Read
from core.tables import Recording
from mbashara.api.answers import Done, IdempotencyKey, IfNoneMatch, Limit, PageOf, page, read, write
from mbashara.api.caller import Caller, holding
from mbashara.api.fields import Sent, UlidPath, When
from mbashara.api.problems import Kind, Refused, Said, documented, invalid

router = APIRouter(tags=["exports"])
Reader = Annotated[Caller, Depends(holding(Read.RECORDING))]
Exporter = Annotated[Caller, Depends(holding(Act.RECORDING_EXPORT))]
ULID = r"^[0-7][0-9a-hjkmnp-tv-z]{25}$"
MAX_MS = 1 << 40
After = Annotated[str | None, Query(pattern=ULID, description="From `next` of the page before.")]
ExportPath = Annotated[str, Path(pattern=ULID, description="The export's id.")]
NumberPath = Annotated[int, Path(ge=1, le=1000, description="Which of its files, from 1.")]
Moment = Annotated[int, Field(strict=True, ge=0, le=MAX_MS)]
BASE = "/recordings/{id}/exports"
WRONGS = {
    Wrong.RANGE: ("to_ms", "The end must be after the beginning, and both within the recording."),
    Wrong.RENDITION: ("rendition", "The recording has no such quality."),
}
CONFLICTS = {
    Wrong.MANY: Said("This institution has as many unfinished exports as it may have. Wait for one, or cancel one."),
    Wrong.ON_AIR: Said("It is still on the air: a package is made when it has ended."),
}
DESTROYED = Said("This recording was destroyed by order.")
OVER = Said("It is over already.")


class NewExport(Sent):
    """Of the whole recording, or from and to a moment: milliseconds of the broadcast, or a time. `mp4` is picture and
    sound, `m4a` sound alone, `bag` a BagIt package of everything as tar, always whole."""

    format: Format = Format.MP4
    from_ms: Moment | None = None
    to_ms: Moment | None = None
    from_at: When | None = None
    to_at: When | None = None
    rendition: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,32}$")] | None = None


class ExportedFile(BaseModel):
    """`sha256` proves it later; `from_ms` and `to_ms` are of the broadcast. `path` is where it can be fetched."""

    name: str
    size: int
    sha256: str
    from_ms: int | None
    to_ms: int | None
    path: str


class ExportShown(BaseModel):
    """`trouble` says why it failed; files can be fetched until `expires_at`."""

    id: str
    recording: str
    institution_id: int
    state: State
    format: Format
    from_ms: int | None
    to_ms: int | None
    rendition: str | None
    percent: int
    trouble: str | None
    detail: str
    files: list[ExportedFile]
    created_at: datetime
    ended_at: datetime | None
    expires_at: datetime | None


@router.get(BASE, response_model=PageOf[ExportShown], responses=documented(404))
def list_exports(
    caller: Reader, id: UlidPath, limit: Limit = 50, after: After = None, if_none_match: IfNoneMatch = None
) -> Response:
    """Newest first."""
    with transaction(caller.api.engine) as session:
        recording = _recording(session, caller, id)
        found = jobs.page(
            session, caller.bearer.place, recording_id=recording.id, before=after or "", limit=limit + 1
        )  # fmt: skip
    return read(caller, page(caller.request, found, limit, lambda row: _shown(row[0]), lambda row: str(row[0].id)))


@router.post(BASE, status_code=202, response_model=ExportShown, responses=documented(404, 409, 410))
def ask_export(caller: Exporter, id: UlidPath, sent: NewExport, key: IdempotencyKey = None) -> Response:
    """It is made as soon as it is its turn. Of a recording that was destroyed by order there is none: 410."""

    def work(session: Session) -> Done:
        recording = _recording(session, caller, id)
        job_id = new_id(caller.now, secrets.token_bytes(RANDOM_BYTES))
        asked = _asked(caller, recording, sent)
        made = jobs.add(session, job_id, recording, asked, by=caller.actor, agent=jobs.PROGRAM, now=caller.now)
        if made in WRONGS:
            raise invalid(WRONGS[made])
        if made is Wrong.DESTROYED:
            raise Refused(Kind.DESTROYED, DESTROYED)
        if isinstance(made, Wrong):
            raise Refused(Kind.CONFLICT, CONFLICTS[made])
        return Done(_shown(made), 202, _address(made))

    return write(caller, work)


@router.get(f"{BASE}/{{export}}", response_model=ExportShown, responses=documented(404))
def get_export(caller: Reader, id: UlidPath, export: ExportPath, if_none_match: IfNoneMatch = None) -> Response:
    with transaction(caller.api.engine) as session:
        return read(caller, _shown(_find(session, caller, id, export)))


@router.post(f"{BASE}/{{export}}/cancel", response_model=ExportShown, responses=documented(404, 409))
def cancel_export(caller: Exporter, id: UlidPath, export: ExportPath, key: IdempotencyKey = None) -> Response:
    """One that waits or is being made."""

    def work(session: Session) -> Done:
        job = _find(session, caller, id, export, lock=True)
        if not jobs.cancel(session, job, by=caller.actor, now=caller.now):
            raise Refused(Kind.CONFLICT, OVER)
        return Done(_shown(job))

    return write(caller, work)


@router.get(
    f"{BASE}/{{export}}/files/{{number}}", responses={**documented(404), 206: {"description": "A range of it."}}
)
def fetch_export(caller: Exporter, id: UlidPath, export: ExportPath, number: NumberPath) -> Response:
    """The file itself, with ranges. Who fetches it is noted in the audit log."""
    with transaction(caller.api.engine) as session:
        job = _find(session, caller, id, export)
        answer = handed_out(session, caller.api.desk, job, caller.request, by=caller.actor, now=caller.now)
    if answer is None:
        raise Refused(Kind.NOT_FOUND)
    return answer


def _recording(session: Session, caller: Caller, recording_id: str) -> Recording:
    found = rows.find_recording(session, recording_id)
    if found is None:
        raise Refused(Kind.NOT_FOUND)
    caller.see(found[0].institution_id)
    return found[0]


def _find(session: Session, caller: Caller, recording_id: str, job_id: str, *, lock: bool = False) -> ExportJob:
    job = jobs.find(session, job_id, lock=lock)
    if job is None or job.recording_id != recording_id:
        raise Refused(Kind.NOT_FOUND)
    caller.see(job.institution_id)
    return job


def _asked(caller: Caller, recording: Recording, sent: NewExport) -> Asked:
    if sent.format is Format.BAG:
        return Asked(Format.BAG)
    origin_ms = jobs.origin_ms(caller.api.desk.recordings / recording.id, recording)
    begins = sent.from_ms if sent.from_at is None else round(sent.from_at.timestamp() * 1000) - origin_ms
    ends = sent.to_ms if sent.to_at is None else round(sent.to_at.timestamp() * 1000) - origin_ms
    return Asked(sent.format, begins, ends, sent.rendition)


def _address(job: ExportJob) -> str:
    return f"/api/v1/recordings/{job.recording_id}/exports/{job.id}"


def _shown(job: ExportJob) -> ExportShown:
    own = (
        "id", "institution_id", "state", "format", "from_ms", "to_ms", "rendition", "percent", "trouble", "detail",
        "created_at", "ended_at", "expires_at",
    )  # fmt: skip
    facts: dict[str, Any] = {name: getattr(job, name) for name in own}
    files = [
        ExportedFile(
            name=one["name"], size=one["size"], sha256=one["sha256"], from_ms=one.get("from_ms"),
            to_ms=one.get("to_ms"), path=f"{_address(job)}/files/{number}",
        )
        for number, one in enumerate(job.files, 1)
    ]  # fmt: skip
    return ExportShown(**facts, recording=job.recording_id, files=files)
