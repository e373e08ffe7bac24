"""Coming in: password and second factor, a forgotten password, the link of an invitation; and going out."""

import re
from datetime import datetime
from functools import partial
from math import ceil

import structlog
from starlette.responses import Response
from starlette.routing import BaseRoute

from core.database import transaction
from core.problems import Message
from core.staff import accounts, links, login, passwords
from core.staff.accounts import Invitation
from core.staff.letters import letter
from core.staff.links import Purpose
from core.staff.login import Entry, LockedUntil, LoggedIn, NeedsSecondFactor
from core.staff.mail import MailError
from core.staff.tables import UserAccount
from core.web import visitors
from core.web.forms import Form, sent
from core.web.site import Page, Site, View
from core.web.staff import Office

INSIDE = re.compile(r"/[a-z0-9/._-]{0,200}")
HOME = "/console"

log: structlog.stdlib.BoundLogger = structlog.get_logger("mbashara.staff")


def routes(site: Site, office: Office) -> list[BaseRoute]:
    both = ("GET", "POST")
    return [
        *site.pages("/staff/login", partial(_log_in, site, office), both),
        *site.pages("/staff/second-factor", partial(_second_factor, site, office), both),
        *site.staff_pages("/staff/logout", partial(_log_out, site, office), ("POST",)),
        *site.pages("/staff/forgotten", partial(_forgotten, office), both),
        *site.pages("/staff/invitation/{token}", partial(_link, office, Purpose.INVITATION), both),
        *site.pages("/staff/reset/{token}", partial(_link, office, Purpose.RESET), both),
    ]


def _log_in(site: Site, office: Office, view: View) -> Page | Response:
    going_to = inside(view.field("next") or view.request.query_params.get("next", ""))
    facts = {"going_to": going_to, "told": "", "button": _button(office, view)}
    if view.form is None:
        told = view.words.gettext("Your password is set. Log in with it.") if "set" in view.request.query_params else ""
        return Page("core/staff/login.html", {**facts, "form": Form(), "told": told})
    password = str(view.form.get("password", ""))
    with transaction(office.engine) as session:
        entry = login.log_in(
            session, view.field("email"), password, view.visit, old_token=view.visitor.session_token or None
        )
    wrong = view.words.gettext("The e-mail address or the password is not right.")
    form = Form({"email": view.field("email")}, {"email": _refusal(view, entry, wrong)})
    if isinstance(entry, LoggedIn | NeedsSecondFactor):
        return enter(site, view, entry, going_to)
    return Page("core/staff/login.html", {**facts, "form": form})


def _button(office: Office, view: View) -> str:
    """What leads to the provider; empty where there is none."""
    if office.provider is None:
        return ""
    return view.pick(office.provider.registration.name_sw, office.provider.registration.name_en)


def _second_factor(site: Site, office: Office, view: View) -> Page | Response:
    going_to = inside(view.field("next") or view.request.query_params.get("next", ""))
    if view.form is None:
        return Page("core/staff/second_factor.html", {"form": Form(), "going_to": going_to})
    with transaction(office.engine) as session:
        entry = login.second_step(
            session, view.visitor.session_token, view.field("code"), view.visit, pepper=office.pepper
        )
    wrong = view.words.gettext("The code is not right, or was used already. Wait for the next one.")
    form = Form(problems={"code": _refusal(view, entry, wrong)})
    if isinstance(entry, LoggedIn | NeedsSecondFactor):
        return enter(site, view, entry, going_to)
    return Page("core/staff/second_factor.html", {"form": form, "going_to": going_to})


def enter(site: Site, view: View, entry: LoggedIn | NeedsSecondFactor, going_to: str) -> Response:
    """On to where the person wanted, or to the second factor first, with the new session's cookie."""
    is_in = isinstance(entry, LoggedIn)
    response = view.to((going_to or HOME) if is_in else f"/staff/second-factor?next={going_to}")
    visitors.log_in(response, entry.token, secure=site.secure)
    return response


def _refusal(view: View, entry: Entry, wrong: str) -> str:
    return _locked(view, entry.at) if isinstance(entry, LockedUntil) else wrong


def _locked(view: View, until: datetime) -> str:
    minutes = ceil((until - view.visit.now).total_seconds() / 60)
    many = view.words.ngettext(
        "Too many tries. Try again in {minutes} minute.", "Too many tries. Try again in {minutes} minutes.", minutes
    )
    return many.format(minutes=minutes)


def _log_out(site: Site, office: Office, view: View) -> Response:
    with transaction(office.engine) as session:
        login.log_out(session, view.staff, view.visit)
    response = view.to("/staff/login")
    visitors.log_out(response, secure=site.secure)
    return response


def _forgotten(office: Office, view: View) -> Page:
    """Says the same, in the same time, whether or not there is such an account."""
    shown = "core/staff/forgotten.html"
    if view.form is None:
        return Page(shown, {"form": Form(), "is_sent": False})
    email = view.field("email")
    with transaction(office.engine) as session:
        locked = accounts.letter_locked_until(session, email, view.visit)
        found = None
        if locked is None:
            found = accounts.reset_token(session, email, pepper=office.pepper, now=view.visit.now)
    if locked is not None:
        return Page(shown, {"form": Form({"email": email}, {"email": _locked(view, locked)}), "is_sent": False})
    letter_goes = None if found is None else partial(send_link, office, view, Purpose.RESET, found)
    return Page(shown, {"form": Form(), "is_sent": True}, afterwards=letter_goes)


def send_link(office: Office, view: View, purpose: Purpose, invited: Invitation) -> bool:
    """By e-mail; false where the mail server did not take it."""
    assert invited.token is not None
    url = links.url(office.base_url, purpose, invited.token, view.language)
    account = invited.account
    try:
        office.mailer.send(letter(purpose, to=account.email, name=account.name, url=url), view.visit.now)
    except MailError as error:
        log.error("a letter was not sent", purpose=str(purpose), user_id=account.id, reason=str(error))
        return False
    return True


def _link(office: Office, purpose: Purpose, view: View) -> Page | Response:
    token = view.request.path_params["token"]
    shown = "core/staff/link.html"
    if view.form is None:
        is_good = _is_good(office, purpose, token, view.visit.now)
        return Page(shown, {"is_good": is_good, "form": Form(), "least": passwords.MIN_CHARACTERS})
    password = str(view.form.get("password", ""))
    with transaction(office.engine) as session:
        used = accounts.use_link(session, purpose, token, password, visit=view.visit, pepper=office.pepper)
    if isinstance(used, UserAccount):
        return view.to("/staff/login?set")
    is_good = not any(problem.message is Message.LINK for problem in used)
    return Page(shown, {"is_good": is_good, "form": sent(view, (), used), "least": passwords.MIN_CHARACTERS})


def _is_good(office: Office, purpose: Purpose, token: str, now: datetime) -> bool:
    with transaction(office.engine) as session:
        return accounts.account_of_link(session, purpose, token, pepper=office.pepper, now=now) is not None


def inside(path: str) -> str:
    """Only ever to a page of ours: no host, no `//`."""
    return path if INSIDE.fullmatch(path) and not path.startswith("//") else ""
