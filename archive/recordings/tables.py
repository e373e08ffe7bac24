"""The tables of keeping: copies of recordings, and what was done to recordings."""

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, ForeignKeyConstraint, Index, text
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
    how long after a file was written it was there too, the last time; `papers`: the ledger and its signatures.
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
