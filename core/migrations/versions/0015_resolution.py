"""What people order of copies that are held, files known to be lost, and institutions' new names in custody logs."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    op.create_table(
        "resolution",
        sa.Column("id", sa.BigInteger, primary_key=True),
        sa.Column("recording_id", sa.String, nullable=False),
        sa.Column("institution_id", sa.Integer, nullable=False),
        sa.Column("location", sa.String, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("asked_by", sa.Integer, sa.ForeignKey("user_account.id")),
        sa.Column("asked_name", sa.String, nullable=False),
        sa.Column("asked_at", _time(), nullable=False),
        sa.Column("plan", JSONB),
        sa.Column("reason", sa.String),
        sa.Column("ordered_by", sa.Integer, sa.ForeignKey("user_account.id")),
        sa.Column("ordered_name", sa.String),
        sa.Column("ordered_at", _time()),
        sa.Column("outcome", JSONB),
        sa.Column("turns", sa.Integer, nullable=False, server_default="0"),
        sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
        sa.Column("next_try_at", _time(), nullable=False),
        sa.Column("trouble", sa.String),
        _of_recording(),
        sa.CheckConstraint("state in ('asked', 'planned', 'ordered', 'done', 'withdrawn')", name="resolution_state"),
    )
    op.create_index(
        "resolution_open", "resolution", ["recording_id", "location"], unique=True,
        postgresql_where=sa.text("state in ('asked', 'planned', 'ordered')"),
    )  # fmt: skip
    op.create_index(
        "resolution_due", "resolution", ["next_try_at"], postgresql_where=sa.text("state in ('asked', 'ordered')")
    )
    op.create_table(
        "lost_file",
        sa.Column("recording_id", sa.String, primary_key=True),
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("institution_id", sa.Integer, nullable=False),
        sa.Column("accepted_name", sa.String, nullable=False),
        sa.Column("accepted_at", _time(), nullable=False),
        _of_recording(),
    )
    op.add_column("institution", sa.Column("renamed", sa.Integer, nullable=False, server_default="0"))
    op.add_column("recording", sa.Column("described_renamed", sa.Integer, nullable=False, server_default="0"))
    op.create_index("recording_of_institution", "recording", ["institution_id", "described_renamed"])


def _time() -> sa.DateTime:
    return sa.DateTime(timezone=True)


def _of_recording() -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(["recording_id", "institution_id"], ["recording.id", "recording.institution_id"])
