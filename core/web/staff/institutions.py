"""Screens of institutions: the list, adding one, editing one."""

from dataclasses import replace
from functools import partial
from http import HTTPStatus

from sqlalchemy.orm import Session
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import BaseRoute

from core import institutions
from core.brand import brand_of, darkened
from core.database import transaction
from core.institutions import REGIONS, InstitutionFacts, Kind
from core.problems import Message, Problem, Problems
from core.staff.permissions import Act
from core.tables import Institution
from core.web.forms import Form, sent
from core.web.site import Page, Site, View
from core.web.staff import Office

FIELDS = ("slug", "name_sw", "name_en", "acronym", "kind", "parent_id", "region", "site_origins", "brand_colour")


def routes(site: Site, office: Office) -> list[BaseRoute]:
    both = ("GET", "POST")
    return [
        *site.staff_pages("/staff/institutions", partial(_list, office)),
        *site.staff_pages("/staff/institutions/new", partial(_new, office), both),
        *site.staff_pages("/staff/institutions/{id:int}", partial(_edit, office), both),
    ]


def _list(office: Office, view: View) -> Page:
    visible = institutions.visible_institutions(view.staff.memberships)
    with transaction(office.engine) as session:
        found = institutions.list_institutions(session, visible)
    return Page("core/staff/institutions.html", {"institutions": found, "told": view.request.query_params.get("told")})


def _new(office: Office, view: View) -> Page | Response:
    view.require(Act.INSTITUTION_ADD, None)
    with transaction(office.engine) as session:
        if view.form is None:
            return page(session, view, Form({"kind": Kind.OTHER}), None)
        facts = _facts(view)
        made = _check_parent(view, facts, None) or institutions.add(session, facts, by=view.actor, now=view.visit.now)
        if isinstance(made, Institution):
            return view.to("/staff/institutions?told=added")
        return page(session, view, _refused(view, made), None)


def _edit(office: Office, view: View) -> Page | Response:
    with transaction(office.engine) as session:
        institution = session.get(Institution, view.request.path_params["id"])
        if institution is None:
            raise HTTPException(HTTPStatus.NOT_FOUND)
        view.require(Act.INSTITUTION_EDIT, institution.id)
        if view.form is None:
            return page(session, view, Form(values_of(institution)), institution)
        facts = _facts(view)
        edited = _check_parent(view, facts, institution) or institutions.edit(
            session, institution, facts, by=view.actor, now=view.visit.now
        )
        if isinstance(edited, Institution):
            return view.to("/staff/institutions?told=saved")
        return page(session, view, _refused(view, edited), institution)


def page(session: Session, view: View, form: Form, institution: Institution | None) -> Page:
    """Parents to choose from are those that the person can see, and the present one."""
    visible = institutions.visible_institutions(view.staff.memberships)
    others = [one for one in institutions.list_institutions(session, visible) if one is not institution]
    present = None if institution is None else session.get(Institution, institution.parent_id or 0)
    others += [] if present is None or present in others else [present]
    parents = [(one.id, view.pick(one.name_sw, one.name_en)) for one in others]
    facts = {
        "form": form, "institution": institution, "parents": parents, "regions": REGIONS, "kinds": list(Kind),
        "brand": None if institution is None else brand_of(institution),
    }  # fmt: skip
    status = HTTPStatus.UNPROCESSABLE_ENTITY if form.problems else HTTPStatus.OK
    return Page("core/staff/institution.html", facts, status)


def _refused(view: View, problems: Problems) -> Form:
    """Of a colour that is too pale the nearest that is not is told."""
    form = sent(view, FIELDS, problems)
    dark = darkened(view.field("brand_colour").lower())
    if Problem("brand_colour", Message.COLOUR_PALE) not in problems or dark is None:
        return form
    words = view.words.gettext("White text can't be read on %(colour)s. It can on %(dark)s, the nearest such colour.")
    return replace(
        form, problems={**form.problems, "brand_colour": words % {"colour": view.field("brand_colour"), "dark": dark}}
    )


def _check_parent(view: View, facts: InstitutionFacts, institution: Institution | None) -> Problems:
    """An institution may only be put under one that the person can see, or stay where it is."""
    present = None if institution is None else institution.parent_id
    visible = institutions.visible_institutions(view.staff.memberships)
    is_free = facts.parent_id in (None, present) or visible.covers(facts.parent_id)
    return () if is_free else (Problem("parent_id", Message.PARENT),)


def _facts(view: View) -> InstitutionFacts:
    parent = view.field("parent_id")
    return InstitutionFacts(
        slug=view.field("slug"),
        name_sw=view.field("name_sw"),
        name_en=view.field("name_en"),
        acronym=view.field("acronym"),
        kind=view.field("kind"),
        parent_id=int(parent) if parent.isascii() and parent.isdigit() and len(parent) < 10 else None,
        region=view.field("region") or None,
        site_origins=tuple(view.field("site_origins").split()),
        brand_colour=view.field("brand_colour") or None,
    )


def values_of(institution: Institution) -> dict[str, str]:
    values = {name: str(getattr(institution, name) or "") for name in FIELDS}
    return {**values, "site_origins": "\n".join(institution.site_origins)}
