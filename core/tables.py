"""The tables (design section 3). Every row that an institution owns
carries its id, and the composite foreign keys make it
impossible to hang one institution's row under another's."""

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    String,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    type_annotation_map: ClassVar = {datetime: DateTime(timezone=True)}


class Institution(Base):
    """A public body (taasisi): the tenant."""

    __tablename__ = "institution"
    __table_args__ = (
        CheckConstraint(
            "kind in ('ministry', 'department', 'agency', 'regional_secretariat', 'local_authority', 'other')",
            name="kind",
        ),
        CheckConstraint("parent_id <> id", name="parent"),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    slug: Mapped[str] = mapped_column(unique=True)
    name_sw: Mapped[str]
    name_en: Mapped[str]
    acronym: Mapped[str] = mapped_column(server_default="")
    kind: Mapped[str] = mapped_column(server_default="other")
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("institution.id"), index=True)
    region: Mapped[str | None]
    site_origins: Mapped[list[str]] = mapped_column(ARRAY(String), server_default="{}")
    brand_colour: Mapped[str | None]
    emblem: Mapped[str | None]
    """The name of its file (core/emblems.py)."""
    renamed: Mapped[int] = mapped_column(server_default="0", default=0)
    """How often its names changed: its recordings' custody logs are told each time."""


class Channel(Base):
    """A lasting input of an institution (chaneli)."""

    __tablename__ = "channel"
    __table_args__ = (UniqueConstraint("id", "institution_id"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    institution_id: Mapped[int] = mapped_column(ForeignKey("institution.id"), index=True)
    slug: Mapped[str] = mapped_column(unique=True)
    name_sw: Mapped[str]
    name_en: Mapped[str]
    auto_live: Mapped[bool] = mapped_column(server_default=text("true"), default=True)
    reconnect_window_s: Mapped[float | None]


class StreamKey(Base):
    """A key that lets one feed in, from `allowed_addresses` (networks; none: from anywhere). Only its keyed hash is
    kept, and its last characters for people; a revoked key keeps its row."""

    __tablename__ = "stream_key"
    __table_args__ = (
        ForeignKeyConstraint(["channel_id", "institution_id"], ["channel.id", "channel.institution_id"]),
        CheckConstraint("role in ('primary', 'backup')", name="role"),
        Index(
            "stream_key_in_use",
            "channel_id",
            "role",
            unique=True,
            postgresql_where=text("revoked_at is null"),
        ),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    institution_id: Mapped[int]
    channel_id: Mapped[int]
    role: Mapped[str]
    key_hash: Mapped[str] = mapped_column(unique=True)
    key_hint: Mapped[str] = mapped_column(server_default="", default="")
    allowed_addresses: Mapped[list[str]] = mapped_column(ARRAY(String), server_default="{}", default=list)
    created_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]


class Broadcast(Base):
    """One event on a channel (tangazo mubashara); its life is core/broadcasts/lifecycle.py. `air_id` names the
    recording of its present time on the air; `created_by` is null where a feed began it by itself. `is_test`: of a
    DryRun, in no list and nobody's to see."""

    __tablename__ = "broadcast"
    __table_args__ = (
        ForeignKeyConstraint(["channel_id", "institution_id"], ["channel.id", "channel.institution_id"]),
        ForeignKeyConstraint(["cloned_from", "institution_id"], ["broadcast.id", "broadcast.institution_id"]),
        UniqueConstraint("id", "institution_id"),
        CheckConstraint(
            "state in ('scheduled', 'rehearsal', 'live', 'ended', 'archived', 'cancelled')", name="broadcast_state"
        ),
        CheckConstraint("visibility in ('public', 'unlisted')", name="broadcast_visibility"),
        CheckConstraint("message_level in ('info', 'warning')", name="broadcast_message_level"),
        CheckConstraint("coalesce(started_at, planned_start_at) is not null", name="broadcast_begins"),
        CheckConstraint("not is_test or visibility = 'unlisted'", name="broadcast_test"),
        Index("broadcast_of_channel", "channel_id", "started_at"),
        Index("broadcast_begins_at", text("coalesce(started_at, planned_start_at)"), "id"),
        Index(
            "broadcast_at_the_channel",
            "channel_id",
            unique=True,
            postgresql_where=text("state in ('rehearsal', 'live') and created_by is not null and not is_test"),
        ),
    )
    id: Mapped[str] = mapped_column(primary_key=True)
    institution_id: Mapped[int]
    channel_id: Mapped[int]
    state: Mapped[str]
    title_sw: Mapped[str]
    title_en: Mapped[str]
    description_sw: Mapped[str] = mapped_column(server_default="", default="")
    description_en: Mapped[str] = mapped_column(server_default="", default="")
    visibility: Mapped[str] = mapped_column(server_default="public", default="public")
    planned_start_at: Mapped[datetime | None]
    planned_end_at: Mapped[datetime | None]
    air_id: Mapped[str] = mapped_column(unique=True)
    went_live_at: Mapped[datetime | None]
    started_at: Mapped[datetime | None]
    ends_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    message_sw: Mapped[str | None]
    message_en: Mapped[str | None]
    message_level: Mapped[str | None]
    message_at: Mapped[datetime | None]
    cloned_from: Mapped[str | None]
    created_by: Mapped[str | None]
    version: Mapped[int] = mapped_column(server_default="1", default=1)
    is_test: Mapped[bool] = mapped_column(server_default=text("false"), default=False)


class DryRun(Base):
    """A dry run of a channel, for a plan (`planned_id`) or for none; its life is core/broadcasts/dry_runs.py. `path`
    stands in the place of the channel's slug in addresses once it runs. `findings`: by step, what was found."""

    __tablename__ = "dry_run"
    __table_args__ = (
        ForeignKeyConstraint(["broadcast_id", "institution_id"], ["broadcast.id", "broadcast.institution_id"]),
        ForeignKeyConstraint(["planned_id", "institution_id"], ["broadcast.id", "broadcast.institution_id"]),
        ForeignKeyConstraint(["channel_id", "institution_id"], ["channel.id", "channel.institution_id"]),
        CheckConstraint("state in ('wanted', 'running', 'ended')", name="dry_run_state"),
        Index("dry_run_under_way", "channel_id", unique=True, postgresql_where=text("state <> 'ended'")),
        Index("dry_run_of_channel", "channel_id", "began_at"),
    )
    broadcast_id: Mapped[str] = mapped_column(primary_key=True)
    institution_id: Mapped[int]
    channel_id: Mapped[int]
    planned_id: Mapped[str | None]
    path: Mapped[str | None] = mapped_column(unique=True)
    key_hash: Mapped[str | None] = mapped_column(unique=True)
    state: Mapped[str]
    began_at: Mapped[datetime]
    ends_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    reason: Mapped[str | None]
    findings: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default="{}", default=dict)


class ViewersSample(Base):
    """The most who watched a broadcast at once in ten seconds; no row where nobody did. `is_least`: there were more
    than are counted."""

    __tablename__ = "viewers_sample"
    __table_args__ = (
        ForeignKeyConstraint(["broadcast_id", "institution_id"], ["broadcast.id", "broadcast.institution_id"]),
        Index("viewers_peak", "broadcast_id", text("viewers desc"), "at"),
    )
    broadcast_id: Mapped[str] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(primary_key=True)
    institution_id: Mapped[int]
    viewers: Mapped[int]
    sound_only: Mapped[int]
    is_least: Mapped[bool]


class BroadcastEvent(Base):
    """A line of a broadcast's log. A trigger refuses to change or delete one."""

    __tablename__ = "broadcast_event"
    __table_args__ = (
        ForeignKeyConstraint(["broadcast_id", "institution_id"], ["broadcast.id", "broadcast.institution_id"]),
        Index("event_of_broadcast", "broadcast_id", "id"),
    )
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    broadcast_id: Mapped[str]
    institution_id: Mapped[int]
    at: Mapped[datetime]
    kind: Mapped[str]
    actor: Mapped[str | None]
    detail: Mapped[dict[str, Any]] = mapped_column(JSONB)


class Recording(Base):
    """What a broadcast left of one time on the air (it has another where a `go live` was undone). `ledger_bytes` is
    how far its ledger has been turned into rows, `ledger_head` the hash of its last line there, `signed_bytes` how far
    it is signed, `stamped_bytes` how far a time-stamp authority has seen it; so for its custody log.
    `described_event_id`: the broadcast's last event that the custody log tells of, `described_renamed` which of its
    institution's names. `is_embargoed`: an embargo stands,
    which counts from the recording's end on; `disposed_at`: when its media were destroyed by order; while they
    are being so, when that began."""

    __tablename__ = "recording"
    __table_args__ = (
        ForeignKeyConstraint(["broadcast_id", "institution_id"], ["broadcast.id", "broadcast.institution_id"]),
        UniqueConstraint("id", "institution_id"),
        Index("recording_of_broadcast", "broadcast_id"),
        Index(
            "recording_unsigned",
            "id",
            postgresql_where=text("signed_bytes < ledger_bytes or signed_custody_bytes < custody_bytes"),
        ),
        Index("recording_of_institution", "institution_id", "described_renamed"),
        Index("recording_closed", "id", postgresql_where=text("is_embargoed or disposed_at is not null")),
        CheckConstraint("state in ('recording', 'ended', 'complete')", name="state"),
    )
    id: Mapped[str] = mapped_column(primary_key=True)
    broadcast_id: Mapped[str]
    institution_id: Mapped[int]
    state: Mapped[str]
    started_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    duration_ms: Mapped[int | None] = mapped_column(BigInteger)
    size_bytes: Mapped[int | None] = mapped_column(BigInteger)
    ledger_bytes: Mapped[int] = mapped_column(BigInteger)
    ledger_head: Mapped[str] = mapped_column(server_default="0" * 64, default="0" * 64)
    signed_bytes: Mapped[int] = mapped_column(BigInteger, server_default="0", default=0)
    signed_at: Mapped[datetime | None]
    stamped_bytes: Mapped[int] = mapped_column(BigInteger, server_default="0", default=0)
    stamped_at: Mapped[datetime | None]
    custody_bytes: Mapped[int] = mapped_column(BigInteger, server_default="0", default=0)
    custody_head: Mapped[str] = mapped_column(server_default="0" * 64, default="0" * 64)
    signed_custody_bytes: Mapped[int] = mapped_column(BigInteger, server_default="0", default=0)
    described_event_id: Mapped[int] = mapped_column(BigInteger, server_default="0", default=0)
    described_renamed: Mapped[int] = mapped_column(server_default="0", default=0)
    is_embargoed: Mapped[bool] = mapped_column(server_default=text("false"), default=False)
    disposed_at: Mapped[datetime | None]


class SigningKey(Base):
    """A key that an institution signs its recordings with (Ed25519). The private half is a file in DATA/secrets; a
    retired key keeps its row, as its signatures last."""

    __tablename__ = "signing_key"
    __table_args__ = (
        Index("signing_key_in_use", "institution_id", unique=True, postgresql_where=text("retired_at is null")),
    )
    id: Mapped[str] = mapped_column(primary_key=True)
    institution_id: Mapped[int] = mapped_column(ForeignKey("institution.id"))
    public_key: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[datetime]
    retired_at: Mapped[datetime | None]


class Rendition(Base):
    """One encoded track of a recording, as it was last configured."""

    __tablename__ = "rendition"
    __table_args__ = (
        ForeignKeyConstraint(["recording_id", "institution_id"], ["recording.id", "recording.institution_id"]),
        CheckConstraint("kind in ('video', 'audio')", name="kind"),
    )
    recording_id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    institution_id: Mapped[int]
    kind: Mapped[str]
    codecs: Mapped[str]
    width: Mapped[int | None]
    height: Mapped[int | None]
    bitrate_bps: Mapped[int | None]


class Gap(Base):
    """A stretch of a recording's timeline that was not kept, and why."""

    __tablename__ = "gap"
    __table_args__ = (
        ForeignKeyConstraint(["recording_id", "institution_id"], ["recording.id", "recording.institution_id"]),
        Index("gap_of_recording", "recording_id", "started_ms"),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    recording_id: Mapped[str]
    institution_id: Mapped[int]
    started_ms: Mapped[int] = mapped_column(BigInteger)
    ended_ms: Mapped[int] = mapped_column(BigInteger)
    cause: Mapped[str]


class AlarmAcknowledgement(Base):
    """Someone has seen an alarm of the console (`alarm` is its key). No institution: the machine's."""

    __tablename__ = "alarm_acknowledgement"
    id: Mapped[int] = mapped_column(primary_key=True)
    institution_id: Mapped[int | None] = mapped_column(ForeignKey("institution.id"))
    alarm: Mapped[str]
    at: Mapped[datetime] = mapped_column(index=True)
    actor: Mapped[str]
