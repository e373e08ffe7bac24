"""Endpoints: added, rotated, switched off and on, deleted. Each act is in the audit log; who may is asked before."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from core import audit
from core.audit import Actor
from core.keys import seal, unseal
from core.problems import Message, Problem, Problems
from core.staff.permissions import Scope
from core.tables import Institution
from core.webhooks import address, outbox, signing
from core.webhooks.tables import Event, Off, WebhookDelivery, WebhookEndpoint

MAX_ENDPOINTS = 10
"""At an institution."""
OVERLAP = timedelta(hours=24)
"""How long the old secret signs beside the new one."""
PURPOSE = b"webhook secrets"


@dataclass(frozen=True, slots=True)
class Made:
    """`secret` is shown this once."""

    endpoint: WebhookEndpoint
    secret: str


def check(url: str, events: Sequence[str], *, insecure: bool) -> Problems:
    wrong_url = address.problem(url, insecure=insecure)
    problems: Problems = () if wrong_url is None else (Problem("url", wrong_url),)
    if not events or not set(events) <= set(Event):
        problems += (Problem("events", Message.WEBHOOK_EVENTS),)
    return problems


def add(
    session: Session, institution_id: int, url: str, events: Sequence[str], *, by: Actor, now: datetime, pepper: bytes,
    insecure: bool,
) -> Made | Problems:  # fmt: skip
    url = url.strip()
    problems = check(url, events, insecure=insecure)
    if problems:
        return problems
    session.get(Institution, institution_id, with_for_update={"key_share": True})  # of two at once one is the last
    there = select(func.count()).where(WebhookEndpoint.institution_id == institution_id)
    if (session.scalar(there) or 0) >= MAX_ENDPOINTS:
        return (Problem("url", Message.WEBHOOK_MANY),)
    secret = signing.new_secret()
    endpoint = WebhookEndpoint(
        institution_id=institution_id, url=url, events=[one for one in Event if one in events],
        secret=seal(secret, pepper, PURPOSE), created_at=now,
    )  # fmt: skip
    session.add(endpoint)
    session.flush()
    _log(session, endpoint, "webhook.add", by, now, after={"host": _host(endpoint), "events": list(endpoint.events)})
    return Made(endpoint, secret)


def find(session: Session, endpoint_id: int, visible: Scope) -> WebhookEndpoint | None:
    mine = visible.where(WebhookEndpoint.institution_id)
    return session.scalar(select(WebhookEndpoint).where(WebhookEndpoint.id == endpoint_id, mine))


def list_endpoints(
    session: Session, visible: Scope, *, after_id: int = 0, limit: int = MAX_ENDPOINTS
) -> Sequence[WebhookEndpoint]:
    query = select(WebhookEndpoint).where(visible.where(WebhookEndpoint.institution_id), WebhookEndpoint.id > after_id)
    return session.scalars(query.order_by(WebhookEndpoint.id).limit(limit)).all()


def rotate(session: Session, endpoint: WebhookEndpoint, *, by: Actor, now: datetime, pepper: bytes) -> str:
    """A new secret, to be shown once. One that was old already signs no more."""
    _lock(session, endpoint)
    secret = signing.new_secret()
    endpoint.old_secret, endpoint.old_secret_until = endpoint.secret, now + OVERLAP
    endpoint.secret = seal(secret, pepper, PURPOSE)
    _log(session, endpoint, "webhook.rotate", by, now, after={"old_until": endpoint.old_secret_until})
    return secret


def switch_off(session: Session, endpoint: WebhookEndpoint, why: Off, *, by: Actor, now: datetime) -> bool:
    """What waits there is given up. False if it was off."""
    _lock(session, endpoint)
    if endpoint.off is not None:
        return False
    endpoint.off, endpoint.off_at = why, now
    outbox.give_up(session, endpoint.id)
    _log(session, endpoint, "webhook.disable", by, now, after={"host": _host(endpoint), "why": why})
    return True


def switch_on(session: Session, endpoint: WebhookEndpoint, *, by: Actor, now: datetime) -> bool:
    """Events from now on are told. False if it was on."""
    _lock(session, endpoint)
    if endpoint.off is None:
        return False
    outbox.give_up(session, endpoint.id)  # of a transaction that had found it on
    endpoint.off = endpoint.off_at = None
    _log(session, endpoint, "webhook.enable", by, now, after={"host": _host(endpoint)})
    return True


def remove(session: Session, endpoint: WebhookEndpoint, *, by: Actor, now: datetime) -> None:
    """With its deliveries."""
    before = {"host": _host(endpoint), "events": list(endpoint.events)}
    session.delete(endpoint)
    session.flush()
    _log(session, endpoint, "webhook.delete", by, now, before=before)


def send_test(session: Session, endpoint: WebhookEndpoint, *, by: Actor, now: datetime) -> WebhookDelivery | None:
    """None where it is off."""
    if endpoint.off is not None:
        return None
    made = outbox.write_test(session, endpoint, now)
    _log(session, endpoint, "webhook.test", by, now, after={"message": made.message_id})
    return made


def send_again(
    session: Session, endpoint: WebhookEndpoint, old: WebhookDelivery, *, by: Actor, now: datetime
) -> WebhookDelivery | None:
    """None where it is off, or that delivery still waits."""
    if endpoint.off is not None or old.state == "waiting":
        return None
    made = outbox.write_again(session, old, now)
    _log(session, endpoint, "webhook.again", by, now, after={"message": made.message_id})
    return made


def signing_secrets(due: outbox.Due, *, pepper: bytes, now: datetime) -> list[str]:
    """Those that sign at this moment, the new one first."""
    sealed = [due.secret]
    if due.old_secret is not None and due.old_secret_until is not None and now < due.old_secret_until:
        sealed.append(due.old_secret)
    return [unseal(one, pepper, PURPOSE) for one in sealed]


def _lock(session: Session, endpoint: WebhookEndpoint) -> None:
    """Against others who change it; events may be written to it meanwhile."""
    session.refresh(endpoint, with_for_update={"key_share": True})


def _host(endpoint: WebhookEndpoint) -> str:
    """All that the audit log is told of the address: the rest may be a secret of the receiver's."""
    return urlsplit(endpoint.url).netloc


def _log(
    session: Session, endpoint: WebhookEndpoint, act: str, by: Actor, now: datetime,
    before: audit.Facts | None = None, after: audit.Facts | None = None,
) -> None:  # fmt: skip
    subject = f"webhook:{endpoint.id}"
    audit.append(session, by, act, subject, now=now, institution_id=endpoint.institution_id, before=before, after=after)
