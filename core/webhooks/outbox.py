"""The outbox: what endpoints are to be told. A row is written in the transaction of the event itself, so a killed
process or a lost database loses none; it may be sent twice, with the same message id.

An endpoint's deliveries go out one by one in the order of their ids. Of one broadcast that is the order of its events,
as each locks the broadcast's row. Each function takes the session first; the caller owns the transaction.
"""

import json
import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Exists, Row, Select, delete, func, select, update
from sqlalchemy.orm import Session

from core.database import NOW, Moment, is_any
from core.ids import RANDOM_BYTES, new_id
from core.webhooks.tables import TEST, Failure, State, WebhookDelivery, WebhookEndpoint

PRUNED_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Due:
    """A delivery whose time has come, and its endpoint's secrets as they are stored."""

    id: int
    endpoint_id: int
    url: str
    message_id: str
    body: str
    secret: str
    old_secret: str | None
    old_secret_until: datetime | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one attempt: a status and the beginning of the answer, or the failure that there was instead."""

    took_ms: int
    status: int | None = None
    answer: str = ""
    failure: Failure | None = None

    @property
    def is_accepted(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


def write(session: Session, institution_id: int, event: str, at: datetime, data: Mapping[str, Any]) -> None:
    """For every endpoint of the institution that wants such events."""
    listening = (WebhookEndpoint.institution_id == institution_id) & WebhookEndpoint.off.is_(None)
    wanted = listening & WebhookEndpoint.events.contains([str(event)])
    # Shared with other events, but not with who switches it off or deletes it: an event waits for that, and skips it.
    query = select(WebhookEndpoint).where(wanted).order_by(WebhookEndpoint.id).with_for_update(read=True)
    found = session.scalars(query).all()
    if found:
        _queue(session, found, str(event), at, data)


def write_test(session: Session, endpoint: WebhookEndpoint, now: datetime) -> WebhookDelivery:
    """Whatever the endpoint wants to be told."""
    return _queue(session, [endpoint], TEST, now, {"institution_id": endpoint.institution_id})[0]


def write_again(session: Session, old: WebhookDelivery, now: datetime) -> WebhookDelivery:
    """The same message once more, behind those that wait; the old row stays as it is."""
    return _add(session, old.endpoint_id, old.institution_id, old.message_id, old.event, old.body, now)


def _queue(
    session: Session, endpoints: Sequence[WebhookEndpoint], event: str, at: datetime, data: Mapping[str, Any]
) -> list[WebhookDelivery]:
    message_id = f"msg_{new_id(at, secrets.token_bytes(RANDOM_BYTES))}"
    body = json.dumps({"type": event, "timestamp": at.isoformat(), "data": data}, ensure_ascii=False)
    return [_add(session, one.id, one.institution_id, message_id, event, body, at) for one in endpoints]


def _add(
    session: Session, endpoint_id: int, institution_id: int, message_id: str, event: str, body: str, at: datetime
) -> WebhookDelivery:
    made = WebhookDelivery(
        endpoint_id=endpoint_id, institution_id=institution_id, message_id=message_id, event=event, body=body,
        created_at=at, state=State.WAITING, attempts=0, next_at=at,
    )  # fmt: skip
    session.add(made)
    session.flush()
    return made


def due(session: Session, now: datetime, *, but: Collection[int] = (), endpoint_id: int | None = None) -> Sequence[Due]:
    """The first of each endpoint's that wait, if its time has come: those behind it wait for it. `but`: endpoints that
    are being told something now."""
    query = _due(now, but, endpoint_id).order_by(WebhookDelivery.next_at)
    return [Due(*row) for row in session.execute(query)]


def is_due() -> Exists:
    """A question for the bell of the work process."""
    return is_any(_due(NOW, (), None))


def _due(now: Moment, but: Collection[int], endpoint_id: int | None) -> Select[*tuple[Any, ...]]:
    first = (
        select(func.min(WebhookDelivery.id).label("id"))
        .where(WebhookDelivery.state == State.WAITING)
        .group_by(WebhookDelivery.endpoint_id)
    )
    if endpoint_id is not None:
        first = first.where(WebhookDelivery.endpoint_id == endpoint_id)
    heads = first.subquery()
    delivery, endpoint = WebhookDelivery, WebhookEndpoint
    return (
        select(
            delivery.id, delivery.endpoint_id, endpoint.url, delivery.message_id, delivery.body, endpoint.secret,
            endpoint.old_secret, endpoint.old_secret_until,
        )
        .join(heads, heads.c.id == delivery.id)
        .join(endpoint, endpoint.id == delivery.endpoint_id)
        .where(endpoint.off.is_(None), delivery.next_at <= now, delivery.endpoint_id.not_in(but))
    )  # fmt: skip


def find(session: Session, endpoint: WebhookEndpoint, delivery_id: int) -> WebhookDelivery | None:
    mine = (WebhookDelivery.id == delivery_id) & (WebhookDelivery.endpoint_id == endpoint.id)
    return session.scalar(select(WebhookDelivery).where(mine))


def recent(
    session: Session, endpoint: WebhookEndpoint, *, before_id: int | None = None, limit: int
) -> Sequence[WebhookDelivery]:
    """Newest first, those before `before_id`."""
    query = select(WebhookDelivery).where(WebhookDelivery.endpoint_id == endpoint.id)
    if before_id is not None:
        query = query.where(WebhookDelivery.id < before_id)
    return session.scalars(query.order_by(WebhookDelivery.id.desc()).limit(limit)).all()


def waiting(session: Session, endpoint_ids: Collection[int]) -> dict[int, Row[int, int, int]]:
    """By endpoint: how many wait (`many`), and how often the first was tried in vain (`attempts`)."""
    query = (
        select(
            WebhookDelivery.endpoint_id,
            func.count().label("many"),
            func.max(WebhookDelivery.attempts).label("attempts"),
        )
        .where(WebhookDelivery.endpoint_id.in_(endpoint_ids), WebhookDelivery.state == State.WAITING)
        .group_by(WebhookDelivery.endpoint_id)
    )
    return {row.endpoint_id: row for row in session.execute(query)}


def give_up(session: Session, endpoint_id: int) -> None:
    """All that waits there."""
    mine = (WebhookDelivery.endpoint_id == endpoint_id) & (WebhookDelivery.state == State.WAITING)
    session.execute(update(WebhookDelivery).where(mine).values(state=State.GIVEN_UP))


def prune(session: Session, older_than: datetime) -> int:
    """Forgets what is over, a bounded number at a time; returns how many."""
    over = (WebhookDelivery.state != State.WAITING) & (WebhookDelivery.created_at < older_than)
    some = select(WebhookDelivery.id).where(over).limit(PRUNED_AT_ONCE).scalar_subquery()
    gone = session.execute(delete(WebhookDelivery).where(WebhookDelivery.id.in_(some)).returning(WebhookDelivery.id))
    return len(gone.all())


def record(session: Session, tried: WebhookDelivery, outcome: Outcome, now: datetime, wait_s: float | None) -> None:
    """Writes an attempt down. `wait_s`: after a failed one, until the next; None: there is none."""
    tried.attempts += 1
    tried.tried_at, tried.took_ms = now, outcome.took_ms
    tried.status, tried.answer, tried.failure = outcome.status, outcome.answer, outcome.failure
    if outcome.is_accepted:
        tried.state = State.DELIVERED
    elif wait_s is not None:
        tried.next_at = now + timedelta(seconds=wait_s)
    session.flush()
