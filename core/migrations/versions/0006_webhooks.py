"""Webhooks: endpoints of institutions, and the outbox of what they are told."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision = "0006"
down_revision = "0005"

WHEN = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "webhook_endpoint",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("institution_id", sa.Integer, sa.ForeignKey("institution.id"), nullable=False, index=True),
        sa.Column("url", sa.String, nullable=False),
        sa.Column("events", ARRAY(sa.String), nullable=False),
        sa.Column("secret", sa.String, nullable=False),
        sa.Column("old_secret", sa.String),
        sa.Column("old_secret_until", WHEN),
        sa.Column("created_at", WHEN, nullable=False),
        sa.Column("off", sa.String),
        sa.Column("off_at", WHEN),
        sa.UniqueConstraint("id", "institution_id"),
        sa.CheckConstraint("off in ('person', 'gone', 'failing')", name="webhook_endpoint_off"),
    )
    op.create_table(
        "webhook_delivery",
        sa.Column("id", sa.BigInteger, primary_key=True),
        sa.Column("endpoint_id", sa.Integer, nullable=False),
        sa.Column("institution_id", sa.Integer, nullable=False),
        sa.Column("message_id", sa.String, nullable=False),
        sa.Column("event", sa.String, nullable=False),
        sa.Column("body", sa.String, nullable=False),
        sa.Column("created_at", WHEN, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
        sa.Column("next_at", WHEN, nullable=False),
        sa.Column("tried_at", WHEN),
        sa.Column("status", sa.Integer),
        sa.Column("failure", sa.String),
        sa.Column("answer", sa.String, nullable=False, server_default=""),
        sa.Column("took_ms", sa.Integer),
        sa.ForeignKeyConstraint(
            ["endpoint_id", "institution_id"],
            ["webhook_endpoint.id", "webhook_endpoint.institution_id"],
            ondelete="cascade",
        ),
        sa.CheckConstraint("state in ('waiting', 'delivered', 'given_up')", name="webhook_delivery_state"),
    )
    of_endpoint = ("webhook_delivery", ["endpoint_id", "id"])
    op.create_index("webhook_delivery_of_endpoint", *of_endpoint)
    op.create_index("webhook_delivery_waiting", *of_endpoint, postgresql_where=sa.text("state = 'waiting'"))
    op.create_index(
        "webhook_delivery_over", "webhook_delivery", ["created_at"], postgresql_where=sa.text("state <> 'waiting'")
    )
