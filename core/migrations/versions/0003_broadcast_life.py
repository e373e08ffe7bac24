"""Broadcasts are planned, rehearsed, ended by people; each has a log. Keys are limited to addresses."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

revision = "0003"
down_revision = "0002"

WHEN = sa.DateTime(timezone=True)


def upgrade() -> None:
    _settings_of_channels_and_keys()
    _life_of_broadcasts()
    _more_than_one_recording()
    _log()


def _settings_of_channels_and_keys() -> None:
    op.add_column("channel", sa.Column("auto_live", sa.Boolean, nullable=False, server_default=sa.text("true")))
    op.add_column("channel", sa.Column("reconnect_window_s", sa.Float))
    op.create_check_constraint("channel_reconnect_window", "channel", "reconnect_window_s >= 0")
    op.add_column("stream_key", sa.Column("key_hint", sa.String, nullable=False, server_default=""))
    op.add_column("stream_key", sa.Column("allowed_addresses", ARRAY(sa.String), nullable=False, server_default="{}"))


def _life_of_broadcasts() -> None:
    op.drop_constraint("state", "broadcast", type_="check")
    op.alter_column("broadcast", "started_at", nullable=True)
    for column in (
        sa.Column("description_sw", sa.String, nullable=False, server_default=""),
        sa.Column("description_en", sa.String, nullable=False, server_default=""),
        sa.Column("visibility", sa.String, nullable=False, server_default="public"),
        sa.Column("planned_start_at", WHEN),
        sa.Column("planned_end_at", WHEN),
        sa.Column("air_id", sa.String, unique=True),
        sa.Column("went_live_at", WHEN),
        sa.Column("ends_at", WHEN),
        sa.Column("message_sw", sa.String),
        sa.Column("message_en", sa.String),
        sa.Column("message_level", sa.String),
        sa.Column("message_at", WHEN),
        sa.Column("cloned_from", sa.String),
        sa.Column("created_by", sa.String),
        sa.Column("version", sa.Integer, nullable=False, server_default="1"),
    ):
        op.add_column("broadcast", column)
    op.execute("update broadcast set air_id = id")
    op.alter_column("broadcast", "air_id", nullable=False)
    for name, rule in (
        ("state", "state in ('scheduled', 'rehearsal', 'live', 'ended', 'archived', 'cancelled')"),
        ("visibility", "visibility in ('public', 'unlisted')"),
        ("message_level", "message_level in ('info', 'warning')"),
        ("begins", "coalesce(started_at, planned_start_at) is not null"),
    ):
        op.create_check_constraint(f"broadcast_{name}", "broadcast", rule)
    owned = ["id", "institution_id"]
    op.create_foreign_key(
        "broadcast_cloned_from_fkey", "broadcast", "broadcast", ["cloned_from", "institution_id"], owned
    )
    op.create_index(
        "broadcast_begins_at", "broadcast", [sa.text("coalesce(started_at, planned_start_at)"), sa.text("id")]
    )
    op.create_index(
        "broadcast_at_the_channel",
        "broadcast",
        ["channel_id"],
        unique=True,
        postgresql_where=sa.text("state in ('rehearsal', 'live') and created_by is not null"),
    )


def _more_than_one_recording() -> None:
    op.add_column("recording", sa.Column("broadcast_id", sa.String))
    op.execute("update recording set broadcast_id = id")
    op.alter_column("recording", "broadcast_id", nullable=False)
    op.drop_constraint("recording_id_institution_id_fkey", "recording", type_="foreignkey")
    op.create_foreign_key(
        "recording_broadcast_fkey",
        "recording",
        "broadcast",
        ["broadcast_id", "institution_id"],
        ["id", "institution_id"],
    )
    op.create_index("recording_of_broadcast", "recording", ["broadcast_id"])


def _log() -> None:
    op.create_table(
        "broadcast_event",
        sa.Column("id", sa.BigInteger, primary_key=True),
        sa.Column("broadcast_id", sa.String, nullable=False),
        sa.Column("institution_id", sa.Integer, nullable=False),
        sa.Column("at", WHEN, nullable=False),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("actor", sa.String),
        sa.Column("detail", JSONB, nullable=False),
        sa.ForeignKeyConstraint(["broadcast_id", "institution_id"], ["broadcast.id", "broadcast.institution_id"]),
    )
    op.create_index("event_of_broadcast", "broadcast_event", ["broadcast_id", "id"])
    op.execute(
        "create trigger append_only before update or delete or truncate on broadcast_event"
        " for each statement execute function refuse_change()"
    )
