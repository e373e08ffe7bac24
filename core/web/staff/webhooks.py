"""Screens of an institution's webhooks: adding them, their secrets, switching, trying, and what was sent."""

import json
from functools import partial
from http import HTTPStatus

from sqlalchemy.orm import Session
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import BaseRoute

from core.database import transaction
from core.staff.permissions import Act, Scope
from core.tables import Institution
from core.web.forms import Form, worded
from core.web.site import Page, Site, View
from core.web.staff import Office
from core.webhooks import endpoints, outbox
from core.webhooks.endpoints import MAX_ENDPOINTS, Made
from core.webhooks.tables import Event, Off, WebhookDelivery, WebhookEndpoint

ROWS = 30


def routes(site: Site, office: Office) -> list[BaseRoute]:
    base, both = "/staff/institutions/{id:int}/webhooks", ("GET", "POST")
    return [
        *site.staff_pages(base, partial(_list, office)),
        *site.staff_pages(f"{base}/new", partial(_new, office), both),
        *site.staff_pages(f"{base}/{{webhook:int}}", partial(_one, office)),
        *site.staff_pages(f"{base}/{{webhook:int}}/{{change:str}}", partial(_change, office), ("POST",)),
    ]


def _list(office: Office, view: View) -> Page:
    with transaction(office.engine) as session:
        institution = _institution(session, view)
        found = endpoints.list_endpoints(session, _only(institution))
        waiting = outbox.waiting(session, [one.id for one in found])
    facts = {"institution": institution, "webhooks": found, "waiting": waiting, "may_add": len(found) < MAX_ENDPOINTS}
    return Page("core/staff/webhooks.html", {**facts, "told": view.request.query_params.get("told")})


def _new(office: Office, view: View) -> Page:
    """Shows the secret in its answer, once; nothing of it is in an address."""
    with transaction(office.engine) as session:
        institution = _institution(session, view)
        if view.form is None:
            return _form(institution, Form(), list(Event))
        events = [one for one in view.form.getlist("events") if isinstance(one, str)]
        made = endpoints.add(
            session, institution.id, view.field("url"), events, by=view.actor, now=view.visit.now,
            pepper=office.pepper, insecure=office.insecure_webhooks,
        )  # fmt: skip
    if isinstance(made, Made):
        return _secret(institution, made.endpoint, made.secret)
    return _form(institution, Form({"url": view.field("url")}, worded(view, made)), events)


def _form(institution: Institution, form: Form, events: list[str]) -> Page:
    status = HTTPStatus.UNPROCESSABLE_ENTITY if form.problems else HTTPStatus.OK
    facts = {"institution": institution, "form": form, "all_events": list(Event), "chosen": events}
    return Page("core/staff/webhook_new.html", facts, status)


def _secret(institution: Institution, endpoint: WebhookEndpoint, secret: str) -> Page:
    return Page("core/staff/webhook_secret.html", {"institution": institution, "webhook": endpoint, "secret": secret})


def _one(office: Office, view: View) -> Page:
    asked = view.request.query_params
    before = asked.get("before", "")
    with transaction(office.engine) as session:
        institution = _institution(session, view)
        endpoint = _endpoint(session, view, institution)
        found = outbox.recent(session, endpoint, before_id=_number(before), limit=ROWS + 1)
    facts = {
        "institution": institution,
        "webhook": endpoint,
        "deliveries": [(one, _pretty(one)) for one in found[:ROWS]],
        "older_than": found[ROWS - 1].id if len(found) > ROWS else None,
        "old_signs": endpoint.old_secret_until is not None and view.visit.now < endpoint.old_secret_until,
        "told": asked.get("told"),
    }
    return Page("core/staff/webhook.html", facts)


def _change(office: Office, view: View) -> Page | Response:
    """Each change is a form of one button on the webhook's page."""
    with transaction(office.engine) as session:
        institution = _institution(session, view)
        endpoint = _endpoint(session, view, institution)
        base, change = f"/staff/institutions/{institution.id}/webhooks", view.request.path_params["change"]
        by, now = view.actor, view.visit.now
        match change:
            case "rotate":
                secret = endpoints.rotate(session, endpoint, by=by, now=now, pepper=office.pepper)
                return _secret(institution, endpoint, secret)
            case "off":
                is_done = endpoints.switch_off(session, endpoint, Off.PERSON, by=by, now=now)
            case "on":
                is_done = endpoints.switch_on(session, endpoint, by=by, now=now)
            case "test":
                is_done = endpoints.send_test(session, endpoint, by=by, now=now) is not None
            case "again":
                old = _delivery(session, view, endpoint)
                is_done = endpoints.send_again(session, endpoint, old, by=by, now=now) is not None
            case "delete":
                endpoints.remove(session, endpoint, by=by, now=now)
                return view.to(f"{base}?told=delete")
            case _:
                raise HTTPException(HTTPStatus.NOT_FOUND)
    return view.to(f"{base}/{endpoint.id}?told={change if is_done else 'nothing'}")


def _institution(session: Session, view: View) -> Institution:
    institution = session.get(Institution, view.request.path_params["id"])
    if institution is None:
        raise HTTPException(HTTPStatus.NOT_FOUND)
    view.require(Act.WEBHOOK_EDIT, institution.id)
    return institution


def _endpoint(session: Session, view: View, institution: Institution) -> WebhookEndpoint:
    found = endpoints.find(session, view.request.path_params["webhook"], _only(institution))
    if found is None:
        raise HTTPException(HTTPStatus.NOT_FOUND)
    return found


def _delivery(session: Session, view: View, endpoint: WebhookEndpoint) -> WebhookDelivery:
    number = _number(view.field("delivery"))
    found = None if number is None else outbox.find(session, endpoint, number)
    if found is None:
        raise HTTPException(HTTPStatus.NOT_FOUND)
    return found


def _only(institution: Institution) -> Scope:
    return Scope(False, frozenset({institution.id}))


def _pretty(delivery: WebhookDelivery) -> str:
    return json.dumps(json.loads(delivery.body), ensure_ascii=False, indent=2)


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 18 else None
