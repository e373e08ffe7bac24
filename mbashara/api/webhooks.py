"""Webhooks: listed, added, rotated, switched off and on, tried, deleted; and what was sent there."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query
from pydantic import BaseModel, Field
from sqlalchemy.orm import Session
from starlette.responses import Response

from core.database import transaction
from core.staff.permissions import Act
from core.staff.tokens import Read
from core.webhooks import endpoints, outbox
from core.webhooks.address import MAX_URL
from core.webhooks.endpoints import Made
from core.webhooks.tables import Event, Failure, Off, State, WebhookDelivery, WebhookEndpoint
from mbashara.api.answers import (
    Done,
    IdempotencyKey,
    IfMatch,
    IfNoneMatch,
    Limit,
    PageOf,
    check_unchanged,
    page,
    read,
    write,
)
from mbashara.api.caller import Caller, holding
from mbashara.api.channels import owner
from mbashara.api.fields import Changes, Flag, RowId, RowPath, Sent
from mbashara.api.problems import Kind, Refused, Said, documented, not_right

router = APIRouter(tags=["webhooks"])
Reader = Annotated[Caller, Depends(holding(Read.WEBHOOK))]
Editor = Annotated[Caller, Depends(holding(Act.WEBHOOK_EDIT))]
MAX_BIG = (1 << 63) - 1
After = Annotated[int | None, Query(ge=1, le=MAX_BIG, description="From `next` of the page before.")]
DeliveryPath = Annotated[int, Path(ge=1, le=MAX_BIG, description="Its id.")]
OFF = Said("The webhook is switched off, or this delivery still waits.")


class WebhookShown(BaseModel):
    """`off` says why nothing is sent, and is null while it is on. Until `old_secret_until` the secret before the last
    rotation signs too."""

    id: int
    institution_id: int
    url: str
    events: list[Event]
    off: Off | None
    off_at: datetime | None
    old_secret_until: datetime | None
    created_at: datetime


class WebhookMade(WebhookShown):
    """The secret is shown this once."""

    secret: str


class NewSecret(BaseModel):
    """Shown this once."""

    id: int
    secret: str
    old_secret_until: datetime


class NewWebhook(Sent):
    """`institution_id` is the token's own where it is not said."""

    url: Annotated[str, Field(max_length=MAX_URL)]
    events: Annotated[list[Event], Field(min_length=1, max_length=len(Event))]
    institution_id: RowId | None = None


class WebhookChanges(Changes):
    """Switched off, what waits is given up; on again, it is told what happens from then on."""

    on: Flag = True


class DeliveryShown(BaseModel):
    """`message_id` is the `webhook-id` that the receiver got. Of the last attempt: `status` and the beginning of the
    `answer`, or `failure` where there was none."""

    id: int
    message_id: str
    event: str
    body: str
    created_at: datetime
    state: State
    attempts: int
    next_at: datetime | None
    tried_at: datetime | None
    status: int | None
    failure: Failure | None
    answer: str
    took_ms: int | None


@router.get("/webhooks", response_model=PageOf[WebhookShown], responses=documented())
def list_webhooks(
    caller: Reader, limit: Limit = 50, after: After = None, if_none_match: IfNoneMatch = None
) -> Response:
    with transaction(caller.api.engine) as session:
        found = endpoints.list_endpoints(session, caller.bearer.place, after_id=after or 0, limit=limit + 1)
    return read(caller, page(caller.request, found, limit, _shown, lambda one: str(one.id)))


@router.post("/webhooks", status_code=201, response_model=WebhookMade, responses=documented(409))
def add_webhook(caller: Editor, sent: NewWebhook, key: IdempotencyKey = None) -> Response:
    """At most ten at an institution."""

    def work(session: Session) -> Done:
        made = endpoints.add(
            session, owner(session, caller, sent.institution_id).id, sent.url, sent.events, by=caller.actor,
            now=caller.now, pepper=caller.api.pepper, insecure=caller.api.insecure_webhooks,
        )  # fmt: skip
        if not isinstance(made, Made):
            raise not_right(made)
        body = WebhookMade(**_shown(made.endpoint).model_dump(), secret=made.secret)
        return Done(body, 201, f"/api/v1/webhooks/{made.endpoint.id}", is_secret=True)

    return write(caller, work)


@router.get("/webhooks/{id}", response_model=WebhookShown, responses=documented(404))
def get_webhook(caller: Reader, id: RowPath, if_none_match: IfNoneMatch = None) -> Response:
    with transaction(caller.api.engine) as session:
        return read(caller, _shown(_find(session, caller, id)))


@router.patch("/webhooks/{id}", response_model=WebhookShown, responses=documented(404, 412, 428))
def switch_webhook(caller: Editor, id: RowPath, sent: WebhookChanges, if_match: IfMatch = None) -> Response:
    """Off or on."""

    def work(session: Session) -> Done:
        endpoint = _find(session, caller, id)
        session.refresh(endpoint, with_for_update={"key_share": True})
        check_unchanged(caller, _shown(endpoint))
        wanted = sent.sent().get("on")
        if wanted is True:
            endpoints.switch_on(session, endpoint, by=caller.actor, now=caller.now)
        if wanted is False:
            endpoints.switch_off(session, endpoint, Off.PERSON, by=caller.actor, now=caller.now)
        return Done(_shown(endpoint))

    return write(caller, work)


@router.delete("/webhooks/{id}", status_code=204, responses=documented(404))
def remove_webhook(caller: Editor, id: RowPath) -> Response:
    """With its deliveries."""

    def work(session: Session) -> Done:
        endpoints.remove(session, _find(session, caller, id), by=caller.actor, now=caller.now)
        return Done(status=204)

    return write(caller, work)


@router.post("/webhooks/{id}/rotate", response_model=NewSecret, responses=documented(404, 409))
def rotate_secret(caller: Editor, id: RowPath, key: IdempotencyKey = None) -> Response:
    """For a day the old secret signs beside the new one."""

    def work(session: Session) -> Done:
        endpoint = _find(session, caller, id)
        secret = endpoints.rotate(session, endpoint, by=caller.actor, now=caller.now, pepper=caller.api.pepper)
        assert endpoint.old_secret_until is not None, "just rotated"
        body = NewSecret(id=endpoint.id, secret=secret, old_secret_until=endpoint.old_secret_until)
        return Done(body, is_secret=True)

    return write(caller, work)


@router.post("/webhooks/{id}/test", status_code=202, response_model=DeliveryShown, responses=documented(404, 409))
def send_test(caller: Editor, id: RowPath, key: IdempotencyKey = None) -> Response:
    """Sends a `webhook.test`, to see whether it arrives."""

    def work(session: Session) -> Done:
        return _sent(endpoints.send_test(session, _find(session, caller, id), by=caller.actor, now=caller.now))

    return write(caller, work)


@router.get("/webhooks/{id}/deliveries", response_model=PageOf[DeliveryShown], responses=documented(404))
def list_deliveries(
    caller: Reader, id: RowPath, limit: Limit = 50, after: After = None, if_none_match: IfNoneMatch = None
) -> Response:
    """Newest first, those of the last 30 days."""
    with transaction(caller.api.engine) as session:
        found = outbox.recent(session, _find(session, caller, id), before_id=after, limit=limit + 1)
    return read(caller, page(caller.request, found, limit, _delivery, lambda one: str(one.id)))


@router.post(
    "/webhooks/{id}/deliveries/{delivery}/again", status_code=202, response_model=DeliveryShown,
    responses=documented(404, 409),
)  # fmt: skip
def send_again(caller: Editor, id: RowPath, delivery: DeliveryPath, key: IdempotencyKey = None) -> Response:
    """The same message, with the same `webhook-id`, behind those that wait."""

    def work(session: Session) -> Done:
        endpoint = _find(session, caller, id)
        old = outbox.find(session, endpoint, delivery)
        if old is None:
            raise Refused(Kind.NOT_FOUND)
        return _sent(endpoints.send_again(session, endpoint, old, by=caller.actor, now=caller.now))

    return write(caller, work)


def _find(session: Session, caller: Caller, endpoint_id: int) -> WebhookEndpoint:
    found = endpoints.find(session, endpoint_id, caller.bearer.place)
    if found is None:
        raise Refused(Kind.NOT_FOUND)
    return found


def _sent(delivery: WebhookDelivery | None) -> Done:
    if delivery is None:
        raise Refused(Kind.CONFLICT, OFF)
    return Done(_delivery(delivery), 202)


def _shown(endpoint: WebhookEndpoint) -> WebhookShown:
    return WebhookShown.model_validate(endpoint, from_attributes=True)


def _delivery(delivery: WebhookDelivery) -> DeliveryShown:
    facts: dict[str, Any] = {name: getattr(delivery, name) for name in DeliveryShown.model_fields}
    return DeliveryShown(**{**facts, "next_at": delivery.next_at if delivery.state == State.WAITING else None})
