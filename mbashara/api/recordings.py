"""Recordings: what each broadcast left."""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel
from sqlalchemy.orm import Session
from starlette.responses import Response

from archive.recordings import closures, rows, signing_keys
from archive.recordings.missing import Missing, missing, waited
from archive.recordings.rows import MissingSpan
from core.database import transaction
from core.staff.tokens import Read
from core.tables import Broadcast, Channel, Recording, Rendition
from core.web.i18n import Language
from mbashara.api.answers import AfterTime, IfNoneMatch, Limit, PageOf, page, read, read_time_cursor, time_cursor
from mbashara.api.caller import Caller, holding
from mbashara.api.fields import SLUG, UlidPath
from mbashara.api.problems import Kind, Refused, documented

router = APIRouter(tags=["recordings"])
Reader = Annotated[Caller, Depends(holding(Read.RECORDING))]


class RecordingShown(BaseModel):
    """`path` is its playlist; `state` is `complete` once every file was found."""

    id: str
    broadcast: str
    channel: str
    institution_id: int
    title_sw: str
    title_en: str
    state: str
    started_at: datetime
    ended_at: datetime | None
    duration_ms: int | None
    size_bytes: int | None
    path: str


class GapShown(BaseModel):
    """What is missing, in milliseconds from the beginning, and why. `rendition`: that one alone lacks it."""

    from_ms: int
    to_ms: int
    cause: str
    rendition: str | None


class WaitShown(BaseModel):
    """For an encoder that was lost and never came back: nothing was on the air then, so that nothing is missing."""

    from_ms: int
    to_ms: int


class RenditionShown(BaseModel):
    name: str
    kind: str
    codecs: str
    width: int | None
    height: int | None
    bitrate_bps: int | None


class WholeRecording(RecordingShown):
    """`gaps` and `waited` as the completeness statement has them, once the recording's papers are signed."""

    gaps: list[GapShown]
    waited: WaitShown | None
    renditions: list[RenditionShown]


@router.get("/recordings", response_model=PageOf[RecordingShown], responses=documented())
def list_recordings(
    caller: Reader,
    channel: Annotated[str | None, Query(pattern=SLUG)] = None,
    limit: Limit = 50,
    after: AfterTime = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Newest first; none that is under embargo or was destroyed."""
    with transaction(caller.api.engine) as session:
        found = rows.page_of_recordings(
            session,
            caller.bearer.place,
            channel=channel,
            after=read_time_cursor(after),
            limit=limit + 1,
            only_open=True,
        )
    return read(
        caller,
        page(caller.request, found, limit, lambda row: RecordingShown(**_facts(*row)), lambda row: _cursor(row[0])),
    )


@router.get("/recordings/{id}", response_model=WholeRecording, responses=documented(404, 410))
def get_recording(caller: Reader, id: UlidPath, if_none_match: IfNoneMatch = None) -> Response:
    """With its gaps, how long an encoder was waited for in vain, and its renditions. Under embargo it is 403, and says
    until when; destroyed by order it is 410."""
    with transaction(caller.api.engine) as session:
        return read(caller, _whole(session, caller, id))


def _whole(session: Session, caller: Caller, recording_id: str) -> WholeRecording:
    found = rows.find_recording(session, recording_id)
    if found is None:
        raise Refused(Kind.NOT_FOUND)
    caller.see(found[0].institution_id)
    closed = closures.closure_of(session, recording_id)
    if closed is not None:
        kind = Kind.DESTROYED if closed.status is HTTPStatus.GONE else Kind.CLOSED
        raise Refused(kind, f"{closed.said(Language.EN)} / {closed.said(Language.SW)}")
    keys = signing_keys.public_keys(session, found[0].institution_id)
    folder, is_on_air = caller.api.desk.recordings / recording_id, found[0].state == "recording"
    report = caller.api.papers.report(folder, keys, is_on_air)
    gaps = [_gap(one) for one in missing(rows.gaps(session, recording_id), report)]
    renditions = [_rendition(one) for one in rows.renditions(session, recording_id)]
    return WholeRecording(**_facts(*found), gaps=gaps, waited=_wait(waited(report)), renditions=renditions)


def _facts(recording: Recording, broadcast: Broadcast, channel: Channel) -> dict[str, Any]:
    own = ("id", "institution_id", "state", "started_at", "ended_at", "duration_ms", "size_bytes")
    return {
        **{name: getattr(recording, name) for name in own},
        "broadcast": broadcast.id,
        "channel": channel.slug,
        "title_sw": broadcast.title_sw,
        "title_en": broadcast.title_en,
        "path": f"/recordings/{recording.id}/index.m3u8",
    }


def _cursor(recording: Recording) -> str:
    return time_cursor(recording.started_at, recording.id)


def _gap(one: Missing) -> GapShown:
    return GapShown(from_ms=one.span.started_ms, to_ms=one.span.ended_ms, cause=one.cause, rendition=one.rendition)


def _wait(span: MissingSpan | None) -> WaitShown | None:
    return None if span is None else WaitShown(from_ms=span.started_ms, to_ms=span.ended_ms)


def _rendition(rendition: Rendition) -> RenditionShown:
    return RenditionShown.model_validate(rendition, from_attributes=True)
