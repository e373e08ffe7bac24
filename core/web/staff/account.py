"""A person's own account: password, second factor and its recovery codes, sessions."""

from functools import partial

import segno
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import BaseRoute

from core.database import transaction
from core.staff import accounts, enrolment, passwords, sessions
from core.staff.oidc import identities
from core.staff.tables import StaffSession
from core.web import visitors
from core.web.forms import Form, sent
from core.web.site import Page, Site, View
from core.web.staff import Office


def routes(site: Site, office: Office) -> list[BaseRoute]:
    both = ("GET", "POST")
    return [
        *site.staff_pages("/staff/account", partial(_account, office)),
        *site.staff_pages("/staff/account/password", partial(_password, office), both),
        *site.staff_pages("/staff/account/second-factor", partial(_second_factor, site, office), both),
        *site.staff_pages("/staff/account/second-factor/remove", partial(_remove, office), both),
        *site.staff_pages("/staff/account/second-factor/codes", partial(_codes, office), both),
        *site.staff_pages("/staff/account/sessions/{id:int}/end", partial(_end, office), ("POST",)),
        *site.staff_pages("/staff/account/sessions/end-others", partial(_end_others, office), ("POST",)),
    ]


def _account(office: Office, view: View) -> Page:
    with transaction(office.engine) as session:
        opened = sessions.list_open(session, view.staff.user_id, view.visit.now)
        linked = identities.list_of(session, view.staff.user_id)
    facts = {"sessions": [(one, _browser(one)) for one in opened], "identities": linked}
    return Page("core/staff/account.html", facts)


def _browser(opened: StaffSession) -> str:
    """The browser's name as people know it; the order matters, as most claim to be each other."""
    for mark, name in (("Edg/", "Edge"), ("OPR/", "Opera"), ("Firefox/", "Firefox"), ("Chrome/", "Chrome")):
        if mark in opened.user_agent:
            return name
    return "Safari" if "Safari/" in opened.user_agent else "?"


def _password(office: Office, view: View) -> Page | Response:
    facts = {"form": Form(), "least": passwords.MIN_CHARACTERS}
    if view.form is None:
        return Page("core/staff/password.html", facts)
    old, new = str(view.form.get("old_password", "")), str(view.form.get("password", ""))
    with transaction(office.engine) as session:
        problems = accounts.change_password(session, view.staff, old, new, visit=view.visit)
    if problems:
        return Page("core/staff/password.html", {**facts, "form": sent(view, (), problems)})
    return view.to("/staff/account?told=password")


def _second_factor(site: Site, office: Office, view: View) -> Page | Response:
    if view.form is None or "code" not in view.form:
        with transaction(office.engine) as session:
            return _enrol(view, enrolment.start(session, view.staff, pepper=office.pepper), Form())
    with transaction(office.engine) as session:
        enrolled = enrolment.confirm(session, view.staff, view.field("code"), view.visit, pepper=office.pepper)
        if enrolled is None:
            wrong = view.words.gettext("The code is not right. Enter the one that the phone shows now.")
            address = enrolment.again(session, view.staff, pepper=office.pepper)
            return _enrol(view, address, Form(problems={"code": wrong}))
    response = site.render(view, Page("core/staff/codes.html", {"codes": enrolled.recovery_codes}))
    visitors.log_in(response, enrolled.token, secure=site.secure)
    return response


def _enrol(view: View, address: str | None, form: Form) -> Page | Response:
    if address is None:
        return view.to("/staff/account")
    picture = segno.make(address).svg_data_uri(scale=5, border=2, light="#fff")
    secret = address.partition("secret=")[2].partition("&")[0]
    return Page("core/staff/enrol.html", {"form": form, "picture": picture, "secret": secret})


def _remove(office: Office, view: View) -> Page | Response:
    form = Form()
    if view.form is not None:
        with transaction(office.engine) as session:
            done = enrolment.remove(session, view.staff, view.field("code"), view.visit, pepper=office.pepper)
        if done:
            return view.to("/staff/account?told=removed")
        form = Form(
            problems={"code": view.words.gettext("The code is not right, or was used already. Wait for the next one.")}
        )
    return Page("core/staff/show_code.html", {"form": form, "purpose": "remove"})


def _codes(office: Office, view: View) -> Page | Response:
    form = Form()
    if view.form is not None:
        with transaction(office.engine) as session:
            codes = enrolment.renew_codes(session, view.staff, view.field("code"), view.visit, pepper=office.pepper)
        if codes:
            return Page("core/staff/codes.html", {"codes": codes})
        form = Form(
            problems={"code": view.words.gettext("The code is not right, or was used already. Wait for the next one.")}
        )
    return Page("core/staff/show_code.html", {"form": form, "purpose": "codes"})


def _end(office: Office, view: View) -> Response:
    with transaction(office.engine) as session:
        found = sessions.revoke(session, view.staff.user_id, view.request.path_params["id"])
    if not found:
        raise HTTPException(404)
    return view.to("/staff/account?told=ended")


def _end_others(office: Office, view: View) -> Response:
    with transaction(office.engine) as session:
        sessions.revoke_others(session, view.staff.user_id, view.staff.session_id)
    return view.to("/staff/account?told=ended")
