"""Tokens of the JSON API, and the answers it gave to requests with an Idempotency-Key."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision = "0004"
down_revision = "0003"

WHEN = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "api_token",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("token_hash", sa.String, nullable=False, unique=True),
        sa.Column("name", sa.String, nullable=False, unique=True),
        sa.Column("institution_id", sa.Integer, sa.ForeignKey("institution.id"), index=True),
        sa.Column("created_by", sa.Integer, sa.ForeignKey("user_account.id")),
        sa.Column("scopes", ARRAY(sa.String), nullable=False),
        sa.Column("created_at", WHEN, nullable=False),
        sa.Column("expires_at", WHEN, nullable=False),
        sa.Column("revoked_at", WHEN),
        sa.Column("last_used_at", WHEN),
    )
    op.create_table(
        "api_answer",
        sa.Column("token_id", sa.Integer, sa.ForeignKey("api_token.id"), primary_key=True),
        sa.Column("key", sa.String, primary_key=True),
        sa.Column("request_hash", sa.String, nullable=False),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("body", sa.String),
        sa.Column("location", sa.String),
        sa.Column("created_at", WHEN, nullable=False, index=True),
    )
