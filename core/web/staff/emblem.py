"""An institution's emblem: sent, drawn anew, kept; or taken away."""

from functools import partial
from http import HTTPStatus

from sqlalchemy.orm import Session
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import BaseRoute

from core import audit, emblems
from core.database import transaction
from core.problems import Message, Problem
from core.staff.permissions import Act
from core.tables import Institution
from core.web.forms import Form, worded
from core.web.site import LargeForm, Page, Site, View
from core.web.staff import Office
from core.web.staff.institutions import page, values_of

FORM = LargeForm(Act.INSTITUTION_EDIT, 8 << 20)
"""As the edge takes it: what is larger than an emblem may be is told in words."""


def routes(site: Site, office: Office) -> list[BaseRoute]:
    return site.staff_pages("/staff/institutions/{id:int}/emblem", partial(_set, office), ("POST",), FORM)


def _set(office: Office, view: View) -> Page | Response:
    """The picture is drawn outside of a transaction: it may take seconds."""
    with transaction(office.engine) as session:
        institution = _find(session, view)
    drawn = None if view.field("remove") else emblems.draw(_sent(view))
    if isinstance(drawn, Message):
        form = Form(values_of(institution), worded(view, [Problem("emblem", drawn)]))
        with transaction(office.engine) as session:
            return page(session, view, form, _find(session, view))
    with transaction(office.engine) as session:
        institution = _find(session, view)
        session.refresh(institution, with_for_update=True)  # of two at once one waits: neither clears what is shown
        name = None if drawn is None else emblems.keep(office.emblems, institution.id, drawn)
        before, institution.emblem = institution.emblem, name
        if before != name:
            audit.append(
                session, view.actor, "institution.emblem", f"institution:{institution.id}", now=view.visit.now,
                institution_id=institution.id, before={"emblem": before}, after={"emblem": name},
            )  # fmt: skip
        emblems.clear(office.emblems, institution.id, before, name)
    return view.to("/staff/institutions?told=saved")


def _find(session: Session, view: View) -> Institution:
    found = session.get(Institution, view.request.path_params["id"])
    if found is None:
        raise HTTPException(HTTPStatus.NOT_FOUND)
    view.require(Act.INSTITUTION_EDIT, found.id)
    return found


def _sent(view: View) -> bytes:
    """One byte more than is taken shows that it is too large."""
    sent = None if view.form is None else view.form.get("emblem")
    return sent.file.read(emblems.MAX_BYTES + 1) if isinstance(sent, UploadFile) else b""
