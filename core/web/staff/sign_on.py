"""Signing on through the provider: off to it, back from it, and the linked identity taken away again.

Off is a plain link, as `form-action` would stop a form's way to another host. The provider knows one address to send
browsers back to, the Swahili one; the ticket knows in which language the person came. Who is refused sees the log-in
page, with the reason above the password, and no code stays in the browser's address.
"""

from dataclasses import replace
from functools import partial

import structlog
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute

from core.database import transaction
from core.staff.oidc import identities, tickets
from core.staff.oidc.errors import Refusal, SignOnError
from core.staff.oidc.provider import Provider, plain
from core.staff.oidc.tickets import Ticket
from core.web import visitors
from core.web.i18n import Language
from core.web.site import Site, View
from core.web.staff import Office
from core.web.staff.entrance import enter, inside

CALLBACK = "/staff/sign-on/callback"
_AWAY = ("server_error", "temporarily_unavailable")
"""What a provider that can't just now says (RFC 6749, 4.1.2.1)."""

log: structlog.stdlib.BoundLogger = structlog.get_logger("mbashara.staff")


def routes(site: Site, office: Office) -> list[BaseRoute]:
    own = site.staff_pages("/staff/account/sign-on/{id:int}/unlink", partial(_unlink, office), ("POST",))
    if office.provider is None:
        return own
    return [
        *own,
        *site.pages("/staff/sign-on", partial(_go, site, office, office.provider)),
        *site.pages(CALLBACK, partial(_come_back, site, office, office.provider)),
    ]


def _go(site: Site, office: Office, provider: Provider, view: View) -> Response:
    ticket = tickets.issue(view.language, inside(view.request.query_params.get("next", "")), view.visit.now)
    try:
        url = provider.authorization_url(tickets.proofs(ticket, office.pepper), view.language)
    except SignOnError as error:
        log.warning("sign-on can't begin", reason=str(error))
        return _refused(site, view, error.refusal, ticket)
    response = _unkept(RedirectResponse(url, 303))
    lasts_s = int(tickets.LASTS.total_seconds())
    visitors.keep_ticket(response, tickets.write(ticket, office.pepper), lasts_s, secure=site.secure)
    return response


def _come_back(site: Site, office: Office, provider: Provider, view: View) -> Response:
    cookie, state = visitors.read_ticket(view.request, secure=site.secure), view.request.query_params.get("state", "")
    ticket = tickets.read(cookie, state, view.visit.now, pepper=office.pepper)
    if ticket is None:
        # Neither counted nor in the audit log: any page can send a browser here
        return _refused(site, view, Refusal.STALE, None)
    view = replace(view, language=Language(ticket.language))
    refusal = _may_be_shown(office, view, ticket)
    if refusal is not None:
        return _refused(site, view, refusal, ticket)
    try:
        identity = provider.identity(view.request.query_params, tickets.proofs(ticket, office.pepper), view.visit.now)
    except SignOnError as error:
        return _answer_refused(site, office, view, ticket, error)
    with transaction(office.engine) as session:
        entry = identities.enter(session, identity, view.visit, old_token=view.visitor.session_token or None)
    if isinstance(entry, Refusal):
        log.info("sign-on refused", reason=str(entry), subject=identity.subject)
        return _refused(site, view, entry, ticket)
    response = _unkept(enter(site, view, entry, inside(ticket.going_to)))
    visitors.drop_ticket(response, secure=site.secure)
    return response


def _may_be_shown(office: Office, view: View, ticket: Ticket) -> Refusal | None:
    """Whether the provider is to be asked about this answer at all. The ticket is spent either way."""
    told = view.request.query_params.get("error")
    with transaction(office.engine) as session:
        if not tickets.spend(session, ticket, view.visit.now):
            return Refusal.STALE
        if identities.locked_until(session, view.visit) is not None:
            return Refusal.LOCKED
    if told is None:
        return None
    log.info("the provider let nobody sign on", error=plain(told))
    if told == "access_denied":
        return Refusal.CANCELLED
    return Refusal.AWAY if told in _AWAY else Refusal.UNTRUSTED


def _answer_refused(site: Site, office: Office, view: View, ticket: Ticket, error: SignOnError) -> Response:
    log.warning("sign-on failed", reason=str(error))
    if error.refusal is not Refusal.AWAY:
        with transaction(office.engine) as session:
            identities.refuse_answer(session, str(error), view.visit)
    return _refused(site, view, error.refusal, ticket)


def _refused(site: Site, view: View, why: Refusal, ticket: Ticket | None) -> Response:
    back = "" if ticket is None else inside(ticket.going_to)
    response = _unkept(view.to(f"/staff/login?sign-on={why}&next={back}"))
    visitors.drop_ticket(response, secure=site.secure)
    return response


def _unlink(office: Office, view: View) -> Response:
    with transaction(office.engine) as session:
        found = identities.unlink(session, view.staff, view.request.path_params["id"], view.visit)
    if not found:
        raise HTTPException(404)
    return view.to("/staff/account?told=unlinked")


def _unkept(response: Response) -> Response:
    response.headers["cache-control"] = "no-store"
    return response
