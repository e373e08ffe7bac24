"""Identities of an OpenID Connect provider that are linked to accounts, and the tries to sign on that were used up."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

WHEN = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "linked_identity",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("user_id", sa.Integer, sa.ForeignKey("user_account.id"), nullable=False),
        sa.Column("issuer", sa.String, nullable=False),
        sa.Column("subject", sa.String, nullable=False),
        sa.Column("created_at", WHEN, nullable=False),
        sa.Column("last_used_at", WHEN, nullable=False),
        sa.UniqueConstraint("issuer", "subject"),
        sa.UniqueConstraint("user_id", "issuer"),
    )
    op.create_table(
        "spent_ticket",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("until", sa.BigInteger, nullable=False, index=True),
    )
