"""Recordings know their ledger's head and how much of it is signed; institutions have keys to sign with."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.alter_column("recording", "journal_bytes", new_column_name="ledger_bytes")
    op.add_column("recording", sa.Column("ledger_head", sa.String, nullable=False, server_default="0" * 64))
    op.add_column("recording", sa.Column("signed_bytes", sa.BigInteger, nullable=False, server_default="0"))
    op.add_column("recording", sa.Column("signed_at", sa.DateTime(timezone=True)))
    op.create_index("recording_unsigned", "recording", ["id"], postgresql_where=sa.text("signed_bytes < ledger_bytes"))
    op.create_table(
        "signing_key",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("institution_id", sa.Integer, sa.ForeignKey("institution.id"), nullable=False),
        sa.Column("public_key", sa.String, nullable=False, unique=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("retired_at", sa.DateTime(timezone=True)),
    )
    op.create_index(
        "signing_key_in_use", "signing_key", ["institution_id"], unique=True,
        postgresql_where=sa.text("retired_at is null"),
    )  # fmt: skip
