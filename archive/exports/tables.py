"""The table of exports that people and programs asked for."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKeyConstraint, Index
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from archive.jobs import Job
from core.tables import Base


class ExportJob(Job, Base):
    """A recording, or a stretch of it, on its way to files in DATA/exports/ID; its life is jobs.py.

    `from_ms` and `to_ms` are of the broadcast's timeline, null: to that end. `files` has name, size, sha256 and, of
    media, from_ms and to_ms of each. `trouble` is a key of words.TROUBLES, `detail` what it is about. `expires_at`:
    when its files go."""

    __tablename__ = "export_job"
    __table_args__ = (
        ForeignKeyConstraint(["recording_id", "institution_id"], ["recording.id", "recording.institution_id"]),
        CheckConstraint(
            "state in ('waiting', 'running', 'done', 'failed', 'cancelled', 'expired')", name="export_job_state"
        ),
        CheckConstraint("format in ('mp4', 'm4a', 'bag')", name="export_job_format"),
        Index("export_job_of_institution", "institution_id", "id"),
        Index("export_job_of_recording", "recording_id", "id"),
        Index("export_job_state", "state"),
    )
    institution_id: Mapped[int]
    recording_id: Mapped[str]
    format: Mapped[str]
    from_ms: Mapped[int | None] = mapped_column(BigInteger)
    to_ms: Mapped[int | None] = mapped_column(BigInteger)
    rendition: Mapped[str | None]
    trouble: Mapped[str | None]
    detail: Mapped[str]
    files: Mapped[list[dict[str, Any]]] = mapped_column(JSONB)
    agent: Mapped[str]
    user_id: Mapped[int | None]
    asked_by: Mapped[str]
    created_at: Mapped[datetime]
    began_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    expires_at: Mapped[datetime | None]
