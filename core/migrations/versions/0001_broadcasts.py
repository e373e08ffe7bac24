"""Institutions, channels, stream keys, broadcasts and their recordings."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

WHEN = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "institution",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("slug", sa.String, nullable=False, unique=True),
        sa.Column("name_sw", sa.String, nullable=False),
        sa.Column("name_en", sa.String, nullable=False),
    )
    op.create_table(
        "channel",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("institution_id", sa.Integer, sa.ForeignKey("institution.id"), nullable=False, index=True),
        sa.Column("slug", sa.String, nullable=False, unique=True),
        sa.Column("name_sw", sa.String, nullable=False),
        sa.Column("name_en", sa.String, nullable=False),
        sa.UniqueConstraint("id", "institution_id"),
    )
    op.create_table(
        "stream_key",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("institution_id", sa.Integer, nullable=False),
        sa.Column("channel_id", sa.Integer, nullable=False),
        sa.Column(
            "role",
            sa.String,
            sa.CheckConstraint("role in ('primary', 'backup')", name="role"),
            nullable=False,
        ),
        sa.Column("key_hash", sa.String, nullable=False, unique=True),
        sa.Column("created_at", WHEN, nullable=False),
        sa.Column("revoked_at", WHEN),
        sa.ForeignKeyConstraint(["channel_id", "institution_id"], ["channel.id", "channel.institution_id"]),
    )
    op.create_index(
        "stream_key_in_use",
        "stream_key",
        ["channel_id", "role"],
        unique=True,
        postgresql_where=sa.text("revoked_at is null"),
    )
    op.create_table(
        "broadcast",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("institution_id", sa.Integer, nullable=False),
        sa.Column("channel_id", sa.Integer, nullable=False),
        sa.Column("state", sa.String, sa.CheckConstraint("state in ('live', 'ended')", name="state"), nullable=False),
        sa.Column("title_sw", sa.String, nullable=False),
        sa.Column("title_en", sa.String, nullable=False),
        sa.Column("started_at", WHEN, nullable=False),
        sa.Column("ended_at", WHEN),
        sa.ForeignKeyConstraint(["channel_id", "institution_id"], ["channel.id", "channel.institution_id"]),
        sa.UniqueConstraint("id", "institution_id"),
    )
    op.create_index("broadcast_of_channel", "broadcast", ["channel_id", "started_at"])
    op.create_table(
        "recording",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("institution_id", sa.Integer, nullable=False),
        sa.Column(
            "state",
            sa.String,
            sa.CheckConstraint("state in ('recording', 'ended', 'complete')", name="state"),
            nullable=False,
        ),
        sa.Column("started_at", WHEN, nullable=False),
        sa.Column("ended_at", WHEN),
        sa.Column("duration_ms", sa.BigInteger),
        sa.Column("size_bytes", sa.BigInteger),
        sa.Column("journal_bytes", sa.BigInteger, nullable=False),
        sa.ForeignKeyConstraint(["id", "institution_id"], ["broadcast.id", "broadcast.institution_id"]),
        sa.UniqueConstraint("id", "institution_id"),
    )
    op.create_table(
        "rendition",
        sa.Column("recording_id", sa.String, primary_key=True),
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("institution_id", sa.Integer, nullable=False),
        sa.Column("kind", sa.String, sa.CheckConstraint("kind in ('video', 'audio')", name="kind"), nullable=False),
        sa.Column("codecs", sa.String, nullable=False),
        sa.Column("width", sa.Integer),
        sa.Column("height", sa.Integer),
        sa.Column("bitrate_bps", sa.Integer),
        sa.ForeignKeyConstraint(["recording_id", "institution_id"], ["recording.id", "recording.institution_id"]),
    )
    op.create_table(
        "gap",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("recording_id", sa.String, nullable=False),
        sa.Column("institution_id", sa.Integer, nullable=False),
        sa.Column("started_ms", sa.BigInteger, nullable=False),
        sa.Column("ended_ms", sa.BigInteger, nullable=False),
        sa.Column("cause", sa.String, nullable=False),
        sa.ForeignKeyConstraint(["recording_id", "institution_id"], ["recording.id", "recording.institution_id"]),
    )
    op.create_index("gap_of_recording", "gap", ["recording_id", "started_ms"])
