"""The rules on a recording, for archivists: legal holds, an embargo, and its disposal, which takes two people."""

from collections.abc import Callable
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
from archive.recordings import closures, disposal, forgotten, policy
from archive.recordings.policy_errors import BadUntil, PolicyError
from core.database import transaction
from core.staff.permissions import Act, scope
from core.tables import Recording
from core.web.dates import EAST_AFRICA_TIME
from core.web.forms import Form
from core.web.site import Page, Site, View

PATH = "/staff/recordings/{id}/rules"
RIGHTS = {
    "hold": Act.RECORDING_HOLD, "release": Act.RECORDING_HOLD, "embargo": Act.RECORDING_EMBARGO,
    "publish": Act.RECORDING_EMBARGO, "ask": Act.DISPOSAL_ASK, "withdraw": Act.DISPOSAL_ASK,
    "approve": Act.DISPOSAL_APPROVE, "refuse": Act.DISPOSAL_APPROVE,
}  # fmt: skip
REASONED = ("hold", "release", "embargo", "publish", "ask", "refuse")
"""Acts that take words."""


def routes(site: Site, archive: Archive) -> list[BaseRoute]:
    return [
        *site.staff_pages("/staff/disposals", partial(_disposals, archive)),
        *site.staff_pages(PATH, partial(_rules, archive)),
        *site.staff_pages(f"{PATH}/{{act}}", partial(_act, archive), ("POST",)),
    ]


def _rules(archive: Archive, view: View) -> Page:
    return _page(archive, view, Form())


def _page(archive: Archive, view: View, form: Form) -> Page:
    with transaction(archive.engine) as session:
        recording, broadcast, *_ = find(session, view.request.path_params["id"])
        view.require(Act.RECORDING_READ, recording.institution_id)
        blocked = disposal.blocked(session, recording.institution_id, recording.id, view.visit.now)
        facts = {
            "recording": recording,
            "broadcast": broadcast,
            "standing": policy.standing(session, recording.institution_id, recording.id),
            "holds": policy.holds(session, recording.id),
            "left": forgotten.of_recording(session, recording.id),
            "is_left": policy.is_left(session, recording.id),
            "blocked": blocked and blocked.said(view.language),
            "may": {act for act, right in RIGHTS.items() if view.may(right, recording.institution_id)},
            "is_asker": partial(_is_asker, view),
            "form": form,
            "told": view.request.query_params.get("told", ""),
            "tell": noted.teller(view.language, archive.titles(view.pick)),
        }
    status = HTTPStatus.UNPROCESSABLE_ENTITY if form.problems else HTTPStatus.OK
    return Page("archive/pages/rules.html", facts, status)


def _is_asker(view: View, request: Any) -> bool:
    return bool(request.asked_by == view.staff.user_id)


def _act(archive: Archive, view: View) -> Page | Response:
    act = view.request.path_params["act"]
    right = RIGHTS.get(act)
    if right is None:
        raise HTTPException(HTTPStatus.NOT_FOUND)
    try:
        with transaction(archive.engine) as session:
            recording, *_ = find(session, view.request.path_params["id"])
            view.require(right, recording.institution_id)
            _done(session, view, act, recording)
    except PolicyError as error:
        name = "until" if isinstance(error, BadUntil) else "reason"
        field = f"{act}_{name}" if act in REASONED else "act"
        values = {f"{act}_{one}": view.field(one) for one in ("reason", "until")}
        return _page(archive, view, Form(values, {field: error.said(view.language)}))
    if act in ("embargo", "publish"):
        with transaction(archive.engine) as session:
            closures.show(session, archive.public, recording.id)
    return view.to(f"/staff/recordings/{recording.id}/rules?told={act}")


def _done(session: Session, view: View, act: str, recording: Recording) -> None:
    """Raises PolicyError."""
    whose, reason = (session, recording.institution_id, recording.id), view.field("reason")
    by: dict[str, Any] = {"by": view.actor, "now": view.visit.now}
    acts: dict[str, Callable[[], object]] = {
        "hold": lambda: policy.place_hold(*whose, reason, **by),
        "release": lambda: policy.lift_hold(*whose, _number(view, "hold"), reason, **by),
        "embargo": lambda: policy.place_embargo(*whose, reason, _until(view.field("until")), **by),
        "publish": lambda: policy.lift_embargo(*whose, reason, **by),
        "ask": lambda: disposal.ask(*whose, reason, **by),
        "withdraw": lambda: disposal.withdraw(*whose, _number(view, "request"), **by),
        "approve": lambda: disposal.approve(
            *whose, _number(view, "request"), **by, knowing=view.field("knowing").split(",")
        ),
        "refuse": lambda: disposal.refuse(*whose, _number(view, "request"), reason, **by),
    }
    acts[act]()


def _number(view: View, name: str) -> int:
    text = view.field(name)
    if not (text.isascii() and text.isdigit() and len(text) < 18):
        raise HTTPException(HTTPStatus.BAD_REQUEST)
    return int(text)


def _until(text: str) -> datetime | None:
    """As a form sends it, in Tanzania's time; empty: until it is lifted."""
    if not text:
        return None
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M").replace(tzinfo=EAST_AFRICA_TIME)
    except ValueError as error:
        raise BadUntil from error


def _disposals(archive: Archive, view: View) -> Page:
    """What waits for a second person, everywhere where this one may see recordings."""
    if not view.may_anywhere(Act.RECORDING_READ):
        raise HTTPException(HTTPStatus.FORBIDDEN)
    with transaction(archive.engine) as session:
        found = disposal.requests(session, scope(view.staff.memberships, Act.RECORDING_READ), only_open=False)
        left = forgotten.everywhere(session, Recording.id.in_([recording.id for _, recording, _ in found]))
    return Page("archive/pages/disposals.html", {"requests": found, "left": left})
