"""The page of files that become recordings: sending one, how far each is, sitting one out, asking for it again.

Without JavaScript a file of some size is sent as a form; with it, a file of any size by tus, resumed after a break.
"""

import os
import secrets
import shutil
from functools import partial
from http import HTTPStatus

from sqlalchemy import Engine
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import BaseRoute

from archive.imports import jobs, uploads
from archive.imports.jobs import UNDER_WAY
from archive.imports.uploads import EMBARGO, Cause, Depot, UploadRefused
from archive.imports.words import can_take_short, state_in, trouble_in
from archive.words import N_
from core import channels
from core.database import transaction
from core.ids import RANDOM_BYTES, is_id, new_id
from core.staff.permissions import Act, scope
from core.tables import Channel
from core.web.forms import Form
from core.web.site import MAX_FORM_BYTES, LargeForm, Page, Site, View

PATH = "/staff/imports"
PLAIN_BYTES = 256 << 20
"""Of a file that is sent as a form: what breaks off begins anew, so it had better be small."""
FORM = LargeForm(Act.RECORDING_IMPORT, PLAIN_BYTES + MAX_FORM_BYTES)
ROWS = 50
MAX_CHANNELS = 1000
FIELDS = ("channel", "title_sw", "title_en", "at", *EMBARGO)
PROBLEMS = {
    Cause.CHANNEL: ("channel", N_("Choose a channel.")),
    Cause.TIME: ("at", N_("Write the time as 2019-05-01T08:00.")),
    Cause.FUTURE: ("at", N_("This time is still to come.")),
    Cause.EMBARGO: ("embargo", N_("Tick the embargo too, or leave its reason and its end empty.")),
    Cause.EMBARGO_REASON: ("embargo_reason", N_("Give a reason of 1 to 1000 characters.")),
    Cause.EMBARGO_UNTIL: ("embargo_until", N_("The end of an embargo must lie in the future.")),
    Cause.EMBARGO_RIGHT: ("embargo", N_("Your role does not allow embargoes of this channel's recordings.")),
    Cause.MANY: ("file", N_("This institution has as many unfinished uploads as it may have.")),
    Cause.QUOTA: ("file", N_("This institution's files take as much room as they may.")),
    Cause.FULL: ("file", N_("There is no room for this file.")),
}
NO_FILE, TOO_LARGE = N_("Choose a file."), N_("Without JavaScript a file may have 256 MB.")


def routes(site: Site, engine: Engine, depot: Depot) -> list[BaseRoute]:
    return [
        *site.staff_pages(PATH, partial(_imports, engine, depot), ("GET", "POST"), FORM),
        *site.staff_pages(f"{PATH}/{{id:str}}/{{change:str}}", partial(_change, engine, depot), ("POST",)),
    ]


def _imports(engine: Engine, depot: Depot, view: View) -> Page | Response:
    if not view.may_anywhere(Act.RECORDING_IMPORT):
        raise HTTPException(HTTPStatus.FORBIDDEN)
    if view.form is None:
        return _page(engine, depot, view, Form())
    taken = _take(engine, depot, view)
    if isinstance(taken, str):
        return view.to(f"{PATH}?file={taken}&told=taken")
    field, words = taken
    values = {name: view.field(name) for name in FIELDS}
    return _page(engine, depot, view, Form(values, {field: view.words.gettext(words)}))


def _take(engine: Engine, depot: Depot, view: View) -> tuple[str, str] | str:
    """A whole file at once: it is copied to its place, then it waits. Its id; or what is wrong with it, by field."""
    sent = None if view.form is None else view.form.get("file")
    if not isinstance(sent, UploadFile) or not sent.size:
        return "file", NO_FILE
    if sent.size > PLAIN_BYTES:
        return "file", TOO_LARGE
    told = {**{name: view.field(name) for name in FIELDS}, "filename": sent.filename or ""}
    job_id = new_id(view.visit.now, secrets.token_bytes(RANDOM_BYTES))
    place, embargoes = (scope(view.staff.memberships, act) for act in (Act.RECORDING_IMPORT, Act.RECORDING_EMBARGO))
    try:
        with transaction(engine) as session:
            job = uploads.begin(
                session, depot, job_id, told, sent.size, place, embargoes=embargoes, by=view.actor, now=view.visit.now
            )
            _copy(sent, depot, job_id)
            jobs.receive(session, job, sent.size, view.visit.now)
    except UploadRefused as refused:
        depot.discard(job_id)
        return PROBLEMS[refused.cause]
    except BaseException:
        depot.discard(job_id)
        raise
    return job_id


def _copy(sent: UploadFile, depot: Depot, job_id: str) -> None:
    try:
        with open(depot.path(job_id), "xb", opener=partial(os.open, mode=0o600)) as target:
            shutil.copyfileobj(sent.file, target, 1 << 20)
            target.flush()
            os.fdatasync(target.fileno())
    except OSError as error:
        raise UploadRefused(Cause.FULL) from error


def _page(engine: Engine, depot: Depot, view: View, form: Form) -> Page:
    asked = view.request.query_params
    mine, before = scope(view.staff.memberships, Act.RECORDING_IMPORT), asked.get("before", "")
    with transaction(engine) as session:
        found = jobs.page(session, mine, before=before if is_id(before) else "", limit=ROWS + 1)
        mine_channels = [row[0] for row in channels.page_of_channels(session, mine, limit=MAX_CHANNELS)]
    shown = found[:ROWS]
    under_way = [job.id for job, _, _ in shown if job.state in UNDER_WAY]
    is_past = "file" in asked and asked["file"] not in under_way
    facts = {
        "form": form,
        "may_close": view.may_anywhere(Act.RECORDING_EMBARGO),
        "channels": [(one.slug, _name(view, one)) for one in mine_channels],
        "jobs": [
            (job, channel, state_in(view.language, job), trouble_in(view.language, job), can_take_short(job))
            for job, channel, _institution in shown
        ],
        "under_way": under_way,
        "older_than": shown[-1][0].id if len(found) > ROWS else None,
        "told": None if is_past else asked.get("told"),
        "most_gb": f"{depot.max_bytes / 1e9:g}",
        "hours": f"{depot.expires.total_seconds() / 3600:g}",
    }
    status = HTTPStatus.UNPROCESSABLE_ENTITY if form.problems else HTTPStatus.OK
    return Page("archive/imports.html", facts, status)


def _name(view: View, channel: Channel) -> str:
    return view.pick(channel.name_sw, channel.name_en)


def _change(engine: Engine, depot: Depot, view: View) -> Response:
    """Each is a form of one button in the list."""
    job_id, change, by, now = (
        view.request.path_params["id"],
        view.request.path_params["change"],
        view.actor,
        view.visit.now,
    )
    with transaction(engine) as session:
        job = jobs.find(session, job_id, lock=True) if is_id(job_id) else None
        if job is None:
            raise HTTPException(HTTPStatus.NOT_FOUND)
        view.require(Act.RECORDING_IMPORT, job.institution_id)
        match change:
            case "cancel":
                is_done = jobs.cancel(session, job, by=by, now=now)
            case "again" | "short":
                is_done = jobs.again(session, job, takes_short=change == "short", by=by, now=now)
            case _:
                raise HTTPException(HTTPStatus.NOT_FOUND)
    if is_done and change == "cancel":
        depot.discard(job_id)
    going_on = f"file={job_id}&" if is_done and change != "cancel" else ""
    return view.to(f"{PATH}?{going_on}told={change if is_done else 'nothing'}")
