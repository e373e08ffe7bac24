"""The pages of exports: asking for one, how far each is, fetching its files, cancelling it.

The edge carries the files (X-Accel-Redirect), with ranges, but for packages (stream.py); here is asked who may have
them.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.orm import Session
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from archive.exports import jobs, stream
from archive.exports.jobs import UNDER_WAY, Asked, Format, State, Wrong
from archive.exports.moments import read_moment
from archive.exports.tables import ExportJob
from archive.exports.words import FORMATS, format_in, state_in, trouble_in, wrong_in
from archive.recordings import policy, rows
from archive.words import N_
from core.audit import Actor
from core.database import transaction
from core.ids import RANDOM_BYTES, is_id, new_id
from core.staff.permissions import Act, scope
from core.tables import Broadcast, Recording
from core.web.dates import EAST_AFRICA_TIME
from core.web.forms import Form
from core.web.site import Page, Site, View

PATH = "/staff/exports"
ROWS, LATEST = 50, 8
FIELDS = ("begins", "ends", "format")
NO_MOMENT = N_("Write HH:MM:SS from the beginning, or a day with its time such as 2026-11-28 10:15:00.")
FIELD_OF = {Wrong.RANGE: "ends", Wrong.ON_AIR: "format"}
TYPES = {Format.MP4: "video/mp4", Format.M4A: "audio/mp4", Format.BAG: "application/x-tar"}


@dataclass(frozen=True, slots=True)
class Desk:
    """Folders: of the recordings, and of what was made of them."""

    recordings: Path
    exports: Path


def routes(site: Site, engine: Engine, desk: Desk) -> list[BaseRoute]:
    one = f"{PATH}/{{id:str}}"
    return [
        *site.staff_pages(PATH, partial(_list, engine, desk)),
        *site.staff_pages(f"{PATH}/new", partial(_new, engine, desk), ("GET", "POST")),
        *site.staff_pages(f"{one}/files/{{number:int}}", partial(_fetch, engine, desk)),
        *site.staff_pages(f"{one}/cancel", partial(_cancel, engine), ("POST",)),
    ]


def _list(engine: Engine, desk: Desk, view: View) -> Page:
    if not view.may_anywhere(Act.RECORDING_EXPORT):
        raise HTTPException(HTTPStatus.FORBIDDEN)
    asked = view.request.query_params
    mine, before = scope(view.staff.memberships, Act.RECORDING_EXPORT), asked.get("before", "")
    with transaction(engine) as session:
        found = jobs.page(session, mine, before=before if is_id(before) else "", limit=ROWS + 1)
        latest = rows.page_of_recordings(session, mine, limit=LATEST, only_kept=True)
    shown = found[:ROWS]
    facts = {
        "jobs": [_shown(view, desk, *row) for row in shown],
        "latest": [(recording, broadcast) for recording, broadcast, _channel in latest],
        "is_under_way": any(job.state in UNDER_WAY for job, _, _ in shown),
        "older_than": shown[-1][0].id if len(found) > ROWS else None,
        "told": asked.get("told"),
    }
    return Page("archive/exports.html", facts)


def _shown(view: View, desk: Desk, job: ExportJob, recording: Recording, broadcast: Broadcast) -> Mapping[str, Any]:
    origin_ms = jobs.origin_ms(desk.recordings / recording.id, recording)
    return {
        "job": job, "title": view.pick(broadcast.title_sw, broadcast.title_en),
        "state": state_in(view.language, job), "format": format_in(view.language, job),
        "trouble": trouble_in(view.language, job), "begins": _clock(origin_ms, job.from_ms),
        "ends": _clock(origin_ms, job.to_ms), "can_cancel": job.state in UNDER_WAY,
        "files": job.files if job.state == State.DONE else [],
    }  # fmt: skip


def _clock(origin_ms: int, at_ms: int | None) -> str:
    """To the second, and as the form takes it."""
    if at_ms is None:
        return ""
    return f"{datetime.fromtimestamp((origin_ms + at_ms) / 1000, EAST_AFRICA_TIME):%Y-%m-%d %H:%M:%S}"


def _new(engine: Engine, desk: Desk, view: View) -> Page | Response:
    """Of the recording that the address or the form names; not where it was destroyed by order."""
    named = view.request.query_params.get("recording", "") if view.form is None else view.field("recording")
    with transaction(engine) as session:
        recording, broadcast = _recording(session, view, named)
        origin_ms = jobs.origin_ms(desk.recordings / recording.id, recording)
        if view.form is None or recording.disposed_at is not None:
            return _form(view, recording, broadcast, origin_ms, Form({"format": Format.MP4}))
        asked, problems = _asked(view, origin_ms)
        if asked is not None:
            job_id = new_id(view.visit.now, secrets.token_bytes(RANDOM_BYTES))
            made = jobs.add(session, job_id, recording, asked, by=view.actor, now=view.visit.now)
            if isinstance(made, ExportJob):
                return view.to(f"{PATH}?told=asked")
            problems = {FIELD_OF.get(made, "begins"): wrong_in(view.language, made)}
        form = Form({name: view.field(name) for name in FIELDS}, problems)
        return _form(view, recording, broadcast, origin_ms, form)


def _recording(session: Session, view: View, named: str) -> tuple[Recording, Broadcast]:
    found = rows.find_recording(session, named) if is_id(named) else None
    if found is None:
        raise HTTPException(HTTPStatus.NOT_FOUND)
    view.require(Act.RECORDING_EXPORT, found[0].institution_id)
    return found[0], found[1]


def _asked(view: View, origin_ms: int) -> tuple[Asked | None, Mapping[str, str]]:
    """What the form asks for, or what is wrong with its fields."""
    format_, problems = view.field("format"), dict[str, str]()
    moments: dict[str, int | None] = {"begins": None, "ends": None}
    for name in moments:
        try:
            moments[name] = read_moment(view.field(name), origin_ms) if view.field(name) else None
        except ValueError:
            problems[name] = view.words.gettext(NO_MOMENT)
    if format_ not in set(Format):
        problems["format"] = view.words.gettext(N_("Choose what to make."))
    if problems:
        return None, problems
    if format_ == Format.BAG:
        return Asked(Format.BAG), {}
    return Asked(Format(format_), moments["begins"], moments["ends"]), {}


def _form(view: View, recording: Recording, broadcast: Broadcast, origin_ms: int, form: Form) -> Page:
    is_destroyed = recording.disposed_at is not None
    facts = {
        "refused": wrong_in(view.language, Wrong.DESTROYED) if is_destroyed else "",
        "form": form, "recording": recording, "title": view.pick(broadcast.title_sw, broadcast.title_en),
        "began": _clock(origin_ms, 0), "formats": [(one, view.words.gettext(FORMATS[one])) for one in Format],
    }  # fmt: skip
    status = HTTPStatus.UNPROCESSABLE_ENTITY if form.problems else HTTPStatus.OK
    return Page("archive/export_new.html", facts, HTTPStatus.GONE if is_destroyed else status)


def _find(session: Session, view: View) -> ExportJob:
    job_id = view.request.path_params["id"]
    job = jobs.find(session, job_id, lock=view.form is not None) if is_id(job_id) else None
    if job is None:
        raise HTTPException(HTTPStatus.NOT_FOUND)
    view.require(Act.RECORDING_EXPORT, job.institution_id)
    return job


def _cancel(engine: Engine, view: View) -> Response:
    with transaction(engine) as session:
        is_done = jobs.cancel(session, _find(session, view), by=view.actor, now=view.visit.now)
    return view.to(f"{PATH}?told={'cancel' if is_done else 'nothing'}")


def _fetch(engine: Engine, desk: Desk, view: View) -> Response:
    with transaction(engine) as session:
        job = _find(session, view)
        answer = handed_out(session, desk, job, view.request, by=view.actor, now=view.visit.now)
    if answer is None:
        raise HTTPException(HTTPStatus.NOT_FOUND)
    return answer


def handed_out(
    session: Session, desk: Desk, job: ExportJob, request: Request, *, by: Actor, now: datetime
) -> Response | None:
    """The answer that has the edge send the file that `number` of the address counts, from 1; a package is sent by us,
    and not when its recording was destroyed. None: there is none (any more). Its beginning is noted; who goes on, or
    jumps about in it, is not noted again."""
    number = int(request.path_params["number"])
    if job.state != State.DONE or not 1 <= number <= len(job.files):
        return None
    file, made = job.files[number - 1], desk.exports / job.id
    is_stored = (made / file["name"]).is_file()
    if not is_stored and (policy.is_disposed(session, job.recording_id) or not stream.is_made(made, file["name"])):
        return None
    asked = request.headers.get("range", "")
    if request.method == "GET" and (not asked or asked.startswith("bytes=0-")):
        jobs.note_fetched(session, job, file, by=by, now=now)
    headers = {
        "content-type": TYPES[Format(job.format)],
        "content-disposition": f'attachment; filename="{file["name"]}"',
        "cache-control": "private, no-store",
    }
    if not is_stored:
        return stream.answer(request, made, file["name"], desk.recordings / job.recording_id, headers)
    return Response(headers={**headers, "x-accel-redirect": f"/_exports/{job.id}/{file['name']}"})
