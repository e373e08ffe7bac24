"""Copies of recordings, and what was done to recordings: an append-only, hash-chained log for each."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.add_column("recording", sa.Column("custody_bytes", sa.BigInteger, nullable=False, server_default="0"))
    op.add_column("recording", sa.Column("custody_head", sa.String, nullable=False, server_default="0" * 64))
    op.add_column("recording", sa.Column("signed_custody_bytes", sa.BigInteger, nullable=False, server_default="0"))
    op.add_column("recording", sa.Column("stamped_bytes", sa.BigInteger, nullable=False, server_default="0"))
    op.add_column("recording", sa.Column("stamped_at", sa.DateTime(timezone=True)))
    op.add_column("recording", sa.Column("described_event_id", sa.BigInteger, nullable=False, server_default="0"))
    op.drop_index("recording_unsigned", "recording")
    op.create_index(
        "recording_unsigned", "recording", ["id"],
        postgresql_where=sa.text("signed_bytes < ledger_bytes or signed_custody_bytes < custody_bytes"),
    )  # fmt: skip
    op.create_table(
        "preservation_event",
        sa.Column("id", sa.BigInteger, primary_key=True),
        sa.Column("recording_id", sa.String, nullable=False),
        sa.Column("institution_id", sa.Integer, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("outcome", sa.String, nullable=False),
        sa.Column("agent", sa.String, nullable=False),
        sa.Column("line", sa.String, nullable=False),
        sa.ForeignKeyConstraint(["recording_id", "institution_id"], ["recording.id", "recording.institution_id"]),
        sa.CheckConstraint("outcome in ('success', 'fail')", name="preservation_outcome"),
    )
    op.create_index("event_of_recording", "preservation_event", ["recording_id", "id"])
    op.execute(
        "create trigger append_only before update or delete or truncate on preservation_event"
        " for each statement execute function refuse_change()"
    )
    op.create_table(
        "recording_copy",
        sa.Column("recording_id", sa.String, primary_key=True),
        sa.Column("location", sa.String, primary_key=True),
        sa.Column("institution_id", sa.Integer, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("ledger_bytes", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("files", sa.Integer, nullable=False, server_default="0"),
        sa.Column("size_bytes", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("lag_ms", sa.Integer),
        sa.Column("papers_due", sa.Boolean, nullable=False, server_default=sa.text("true")),
        sa.Column("papers_at", sa.DateTime(timezone=True)),
        sa.Column("whole_at", sa.DateTime(timezone=True)),
        sa.Column("fault", sa.String),
        sa.Column("turns", sa.Integer, nullable=False, server_default="0"),
        sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
        sa.Column("next_try_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("checked_at", sa.DateTime(timezone=True)),
        sa.Column("next_check_at", sa.DateTime(timezone=True)),
        sa.ForeignKeyConstraint(["recording_id", "institution_id"], ["recording.id", "recording.institution_id"]),
        sa.CheckConstraint("state in ('copying', 'whole', 'faulty', 'held')", name="copy_state"),
    )
    op.create_index(
        "copy_to_make", "recording_copy", ["next_try_at"],
        postgresql_where=sa.text("state = 'copying' or papers_due"),
    )  # fmt: skip
    op.create_index(
        "copy_to_check", "recording_copy", ["next_check_at"], postgresql_where=sa.text("next_check_at is not null")
    )
