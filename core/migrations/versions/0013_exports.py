"""Exports of recordings that people and programs asked for."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0013"
down_revision = "0012"

WHEN = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "export_job",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("institution_id", sa.Integer, nullable=False),
        sa.Column("recording_id", sa.String, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("format", sa.String, nullable=False),
        sa.Column("from_ms", sa.BigInteger),
        sa.Column("to_ms", sa.BigInteger),
        sa.Column("rendition", sa.String),
        sa.Column("percent", sa.Integer, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("trouble", sa.String),
        sa.Column("detail", sa.String, nullable=False),
        sa.Column("files", JSONB, nullable=False),
        sa.Column("agent", sa.String, nullable=False),
        sa.Column("user_id", sa.Integer),
        sa.Column("asked_by", sa.String, nullable=False),
        sa.Column("created_at", WHEN, nullable=False),
        sa.Column("began_at", WHEN),
        sa.Column("ended_at", WHEN),
        sa.Column("expires_at", WHEN),
        sa.ForeignKeyConstraint(["recording_id", "institution_id"], ["recording.id", "recording.institution_id"]),
        sa.CheckConstraint(
            "state in ('waiting', 'running', 'done', 'failed', 'cancelled', 'expired')", name="export_job_state"
        ),
        sa.CheckConstraint("format in ('mp4', 'm4a', 'bag')", name="export_job_format"),
    )
    op.create_index("export_job_of_institution", "export_job", ["institution_id", "id"])
    op.create_index("export_job_of_recording", "export_job", ["recording_id", "id"])
    op.create_index("export_job_state", "export_job", ["state"])
