"""Dry runs: broadcasts that nobody outside sees, with what was found. How many watched each broadcast."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0007"
down_revision = "0006"

WHEN = sa.DateTime(timezone=True)
OWNED = ["id", "institution_id"]


def upgrade() -> None:
    op.add_column("broadcast", sa.Column("is_test", sa.Boolean, nullable=False, server_default=sa.text("false")))
    op.create_check_constraint("broadcast_test", "broadcast", "not is_test or visibility = 'unlisted'")
    op.drop_index("broadcast_at_the_channel", "broadcast")
    op.create_index(
        "broadcast_at_the_channel",
        "broadcast",
        ["channel_id"],
        unique=True,
        postgresql_where=sa.text("state in ('rehearsal', 'live') and created_by is not null and not is_test"),
    )
    op.create_table(
        "dry_run",
        sa.Column("broadcast_id", sa.String, primary_key=True),
        sa.Column("institution_id", sa.Integer, nullable=False),
        sa.Column("channel_id", sa.Integer, nullable=False),
        sa.Column("planned_id", sa.String),
        sa.Column("path", sa.String, unique=True),
        sa.Column("key_hash", sa.String, unique=True),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("began_at", WHEN, nullable=False),
        sa.Column("ends_at", WHEN, nullable=False),
        sa.Column("ended_at", WHEN),
        sa.Column("reason", sa.String),
        sa.Column("findings", JSONB, nullable=False, server_default="{}"),
        sa.ForeignKeyConstraint(["broadcast_id", "institution_id"], ["broadcast.id", "broadcast.institution_id"]),
        sa.ForeignKeyConstraint(["planned_id", "institution_id"], ["broadcast.id", "broadcast.institution_id"]),
        sa.ForeignKeyConstraint(["channel_id", "institution_id"], ["channel.id", "channel.institution_id"]),
        sa.CheckConstraint("state in ('wanted', 'running', 'ended')", name="dry_run_state"),
    )
    op.create_index(
        "dry_run_under_way", "dry_run", ["channel_id"], unique=True, postgresql_where=sa.text("state <> 'ended'")
    )
    op.create_index("dry_run_of_channel", "dry_run", ["channel_id", "began_at"])
    op.create_table(
        "viewers_sample",
        sa.Column("broadcast_id", sa.String, primary_key=True),
        sa.Column("at", WHEN, primary_key=True),
        sa.Column("institution_id", sa.Integer, nullable=False),
        sa.Column("viewers", sa.Integer, nullable=False),
        sa.Column("sound_only", sa.Integer, nullable=False),
        sa.Column("is_least", sa.Boolean, nullable=False),
        sa.ForeignKeyConstraint(["broadcast_id", "institution_id"], ["broadcast.id", "broadcast.institution_id"]),
    )
    op.create_index("viewers_peak", "viewers_sample", ["broadcast_id", sa.text("viewers desc"), "at"])
