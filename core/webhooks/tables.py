"""The tables of webhooks: where an institution wants to be told, and what is or was to be told there."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    String,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from core.tables import Base


class Event(StrEnum):
    """What may be asked for. A broadcast's events are named by the state that it came to."""

    SCHEDULED = "broadcast.scheduled"
    REHEARSAL = "broadcast.rehearsal"
    LIVE = "broadcast.live"
    ENDED = "broadcast.ended"
    ARCHIVED = "broadcast.archived"
    CANCELLED = "broadcast.cancelled"
    FEED_LOST = "feed.lost"
    FEED_BACK = "feed.back"


TEST = "webhook.test"
"""The event that a person sends to see whether it arrives; nobody asks for it."""


class Off(StrEnum):
    """Why nothing is sent to an endpoint."""

    PERSON = "person"
    GONE = "gone"
    FAILING = "failing"


class State(StrEnum):
    """Of a delivery. `given_up`: the endpoint was switched off before it arrived."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    GIVEN_UP = "given_up"


class Failure(StrEnum):
    """Why an attempt got no answer."""

    TIMEOUT = "timeout"
    NAME = "name"
    PRIVATE = "private"
    TLS = "tls"
    CONNECTION = "connection"
    SECRET = "secret"  # noqa: S105 it can't be read: the pepper is another one


class WebhookEndpoint(Base):
    """An address of an institution's, and what it is told. Both secrets are encrypted; the old one signs beside the new
    one until `old_secret_until`."""

    __tablename__ = "webhook_endpoint"
    __table_args__ = (
        UniqueConstraint("id", "institution_id"),
        CheckConstraint("off in ('person', 'gone', 'failing')", name="webhook_endpoint_off"),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    institution_id: Mapped[int] = mapped_column(ForeignKey("institution.id"), index=True)
    url: Mapped[str]
    events: Mapped[list[str]] = mapped_column(ARRAY(String))
    secret: Mapped[str]
    old_secret: Mapped[str | None]
    old_secret_until: Mapped[datetime | None]
    created_at: Mapped[datetime]
    off: Mapped[str | None]
    off_at: Mapped[datetime | None]


class WebhookDelivery(Base):
    """One event for one endpoint (the outbox). `message_id` is the event's: the same in every attempt, at every
    endpoint and when it is sent again. Of the last attempt: `status` and the beginning of the `answer`, or `failure`
    where there was none."""

    __tablename__ = "webhook_delivery"
    __table_args__ = (
        ForeignKeyConstraint(
            ["endpoint_id", "institution_id"], ["webhook_endpoint.id", "webhook_endpoint.institution_id"],
            ondelete="cascade",
        ),
        CheckConstraint("state in ('waiting', 'delivered', 'given_up')", name="webhook_delivery_state"),
        Index("webhook_delivery_of_endpoint", "endpoint_id", "id"),
        Index("webhook_delivery_waiting", "endpoint_id", "id", postgresql_where=text("state = 'waiting'")),
        Index("webhook_delivery_over", "created_at", postgresql_where=text("state <> 'waiting'")),
    )  # fmt: skip
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    endpoint_id: Mapped[int]
    institution_id: Mapped[int]
    message_id: Mapped[str]
    event: Mapped[str]
    body: Mapped[str]
    created_at: Mapped[datetime]
    state: Mapped[str]
    attempts: Mapped[int] = mapped_column(server_default="0", default=0)
    next_at: Mapped[datetime]
    tried_at: Mapped[datetime | None]
    status: Mapped[int | None]
    failure: Mapped[str | None]
    answer: Mapped[str] = mapped_column(server_default="", default="")
    took_ms: Mapped[int | None]
