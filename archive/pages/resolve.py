"""The archivist's page of one copy that is held, or holds what no ledger names: what can be done, and the order.

Without scripts: who waits for the plan, or for what comes of an order, loads the page again.
"""

from collections.abc import Mapping
from datetime import datetime
from functools import partial
from http import HTTPStatus
from typing import Any

from sqlalchemy.orm import Session
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import BaseRoute

from archive.pages import Archive, noted
from archive.pages.genuine import find
from archive.recordings import resolve
from archive.recordings.policy_errors import BadReason, PolicyError
from archive.recordings.resolve_plan import read_plan
from archive.recordings.tables import RecordingCopy
from core.database import transaction
from core.staff.permissions import Act
from core.tables import Recording
from core.web.forms import Form
from core.web.site import Page, Site, View

PATH = "/staff/recordings/{id}/copies/{location}"


def routes(site: Site, archive: Archive) -> list[BaseRoute]:
    return [
        *site.staff_pages(PATH, partial(_copy, archive)),
        *site.staff_pages(f"{PATH}/{{act}}", partial(_act, archive), ("POST",)),
    ]


def _copy(archive: Archive, view: View) -> Page:
    return _page(archive, view, Form())


def _page(archive: Archive, view: View, form: Form) -> Page:
    location = view.request.path_params["location"]
    with transaction(archive.engine) as session:
        recording, broadcast, *_ = find(session, view.request.path_params["id"])
        view.require(Act.RECORDING_READ, recording.institution_id)
        copy = session.get(RecordingCopy, (recording.id, location))
        if copy is None:
            raise HTTPException(HTTPStatus.NOT_FOUND)
        resolution = resolve.newest(session, recording.id, location)
    titles = archive.titles(view.pick)
    plan = None if resolution is None or resolution.plan is None else read_plan(resolution.plan)
    facts = {
        "recording": recording,
        "broadcast": broadcast,
        "copy": copy,
        "place": titles.get(location) or location,
        "places": titles,
        "ledgers": [] if plan is None else [_signed(one) for one in plan.ledgers],
        "resolution": resolution,
        "plan": plan,
        "said": lambda one: noted.say(one.finding, view.language, titles),
        "tell": noted.teller(view.language, titles),
        "may_order": view.may(Act.RECORDING_EDIT, recording.institution_id),
        "form": form,
    }
    return Page(
        "archive/pages/resolve.html", facts, HTTPStatus.UNPROCESSABLE_ENTITY if form.problems else HTTPStatus.OK
    )


def _signed(ledger: Mapping[str, Any]) -> dict[str, Any]:
    return {**ledger, "signed_at": datetime.fromisoformat(ledger["signed_at"]) if ledger["signed_at"] else None}


def _act(archive: Archive, view: View) -> Page | Response:
    act, location = view.request.path_params["act"], view.request.path_params["location"]
    if act not in ("plan", "order", "withdraw"):
        raise HTTPException(HTTPStatus.NOT_FOUND)
    try:
        with transaction(archive.engine) as session:
            recording, *_ = find(session, view.request.path_params["id"])
            view.require(Act.RECORDING_EDIT, recording.institution_id)
            _done(session, view, act, recording, location)
    except PolicyError as error:
        field = "reason" if isinstance(error, BadReason) else "act"
        return _page(archive, view, Form({"reason": view.field("reason")}, {field: error.said(view.language)}))
    return view.to(f"/staff/recordings/{recording.id}/copies/{location}")


def _done(session: Session, view: View, act: str, recording: Recording, location: str) -> None:
    """Raises PolicyError."""
    whose, by = (session, recording.institution_id, recording.id), view.actor
    now = view.visit.now
    if act == "plan":
        resolve.ask(*whose, location, by=by, now=now)
        return
    text = view.field("request")
    if not (text.isascii() and text.isdigit() and len(text) < 18):
        raise HTTPException(HTTPStatus.BAD_REQUEST)
    if act == "order":
        resolve.order(*whose, int(text), view.field("reason"), by=by, now=now)
    else:
        resolve.withdraw(*whose, int(text), by=by, now=now)
