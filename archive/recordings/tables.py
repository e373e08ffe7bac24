"""The tables of keeping: copies of recordings, what was done to recordings, and what people ordered of copies."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, ForeignKeyConstraint, Index, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from core.tables import Base


class PreservationEvent(Base):
    """What was done to a recording, in PREMIS' words. `line` is its line of the recording's custody.jsonl. A trigger
    refuses to change or delete one."""

    __tablename__ = "preservation_event"
    __table_args__ = (
        ForeignKeyConstraint(["recording_id", "institution_id"], ["recording.id", "recording.institution_id"]),
        CheckConstraint("outcome in ('success', 'fail')", name="preservation_outcome"),
        Index("event_of_recording", "recording_id", "id"),
        Index("export_by_hash", text("((line::jsonb ->> 'sha256'))"), postgresql_where=text("kind = 'export'")),
    )
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    recording_id: Mapped[str]
    institution_id: Mapped[int]
    at: Mapped[datetime]
    kind: Mapped[str]
    outcome: Mapped[str]
    agent: Mapped[str]
    line: Mapped[str]


class RecordingCopy(Base):
    """A recording at a location. `ledger_bytes`: how far its ledger is copied with every file named there; `lag_ms`:
    how long after a file was written it was there too, the last time; `papers`: the ledger and its signatures. Of the
    copy here, which nobody makes, `ledger_bytes` is how far `files` and `size_bytes` were counted.
    `damaged` files could not be copied as the ledger says; `is_anew`: what lies there may be written over. `fault` is
    what a person has to know; a copy that is `held` is not touched until a person says so. Of a recording that was
    destroyed by order only papers are kept: `disposed`."""

    __tablename__ = "recording_copy"
    __table_args__ = (
        ForeignKeyConstraint(["recording_id", "institution_id"], ["recording.id", "recording.institution_id"]),
        CheckConstraint("state in ('copying', 'whole', 'faulty', 'held', 'disposed')", name="copy_state"),
        Index("copy_to_make", "next_try_at", postgresql_where=text("state = 'copying' or papers_due")),
        Index("copy_troubled", "state", postgresql_where=text("state in ('faulty', 'held')")),
        Index("copy_to_check", "next_check_at", postgresql_where=text("next_check_at is not null")),
    )
    recording_id: Mapped[str] = mapped_column(primary_key=True)
    location: Mapped[str] = mapped_column(primary_key=True)
    institution_id: Mapped[int]
    state: Mapped[str]
    ledger_bytes: Mapped[int] = mapped_column(BigInteger, server_default="0", default=0)
    files: Mapped[int] = mapped_column(server_default="0", default=0)
    size_bytes: Mapped[int] = mapped_column(BigInteger, server_default="0", default=0)
    lag_ms: Mapped[int | None]
    papers_due: Mapped[bool] = mapped_column(server_default=text("true"), default=True)
    papers_at: Mapped[datetime | None]
    whole_at: Mapped[datetime | None]
    fault: Mapped[str | None]
    damaged: Mapped[int] = mapped_column(server_default="0", default=0)
    is_anew: Mapped[bool] = mapped_column(server_default=text("false"), default=False)
    turns: Mapped[int] = mapped_column(server_default="0", default=0)
    attempts: Mapped[int] = mapped_column(server_default="0", default=0)
    next_try_at: Mapped[datetime]
    checked_at: Mapped[datetime | None]
    next_check_at: Mapped[datetime | None]


class Resolution(Base):
    """What a person asked of one copy that is held or holds what no ledger names: `asked` (it is looked at), `planned`
    (`plan` says what can be done, archive/recordings/resolve_plan.py), `ordered` (a person ordered that very plan),
    `done` (`outcome` says what came of it), `withdrawn`. `trouble`: what it waits for."""

    __tablename__ = "resolution"
    __table_args__ = (
        ForeignKeyConstraint(["recording_id", "institution_id"], ["recording.id", "recording.institution_id"]),
        CheckConstraint("state in ('asked', 'planned', 'ordered', 'done', 'withdrawn')", name="resolution_state"),
        Index(
            "resolution_open", "recording_id", "location", unique=True,
            postgresql_where=text("state in ('asked', 'planned', 'ordered')"),
        ),
        Index("resolution_due", "next_try_at", postgresql_where=text("state in ('asked', 'ordered')")),
    )  # fmt: skip
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    recording_id: Mapped[str]
    institution_id: Mapped[int]
    location: Mapped[str]
    state: Mapped[str]
    asked_by: Mapped[int | None] = mapped_column(ForeignKey("user_account.id"))
    asked_name: Mapped[str]
    asked_at: Mapped[datetime]
    plan: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    reason: Mapped[str | None]
    ordered_by: Mapped[int | None] = mapped_column(ForeignKey("user_account.id"))
    ordered_name: Mapped[str | None]
    ordered_at: Mapped[datetime | None]
    outcome: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    turns: Mapped[int] = mapped_column(server_default="0", default=0)
    attempts: Mapped[int] = mapped_column(server_default="0", default=0)
    next_try_at: Mapped[datetime]
    trouble: Mapped[str | None]


class LostFile(Base):
    """A file that a person knows to be lost everywhere: a gap, and no reason to hold other files. Gone when it is back;
    the custody log tells of both."""

    __tablename__ = "lost_file"
    __table_args__ = (
        ForeignKeyConstraint(["recording_id", "institution_id"], ["recording.id", "recording.institution_id"]),
    )
    recording_id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    institution_id: Mapped[int]
    accepted_name: Mapped[str]
    accepted_at: Mapped[datetime]
