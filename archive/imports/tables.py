"""The table of files that are sent to become recordings."""

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, ForeignKeyConstraint, Index
from sqlalchemy.orm import Mapped, mapped_column

from archive.jobs import Job
from core.tables import Base


class ImportJob(Job, Base):
    """A file on its way; its life is jobs.py. Its id becomes the recording's, so it is never made twice.

    `received_bytes` of its file in DATA/imports/ID are safe on the disk; `sha256` is what was sent, null where nobody
    said and the file was not read yet; `origin_at`: when its first picture was made, null: as the file says.
    `takes_short`: what is there of a file that is not whole is wanted. `trouble` (transcode.files.facts.Trouble):
    `read_ms` of `told_ms` could be read. `expires_at`: when its file goes, where nothing more happens.
    `embargo_reason`: it becomes a recording under embargo, which `embargo_by` may place."""

    __tablename__ = "import_job"
    __table_args__ = (
        ForeignKeyConstraint(["channel_id", "institution_id"], ["channel.id", "channel.institution_id"]),
        CheckConstraint(
            "state in ('uploading', 'waiting', 'running', 'done', 'failed', 'cancelled')", name="import_job_state"
        ),
        CheckConstraint("received_bytes between 0 and size_bytes", name="import_job_received"),
        Index("import_job_of_institution", "institution_id", "id"),
        Index("import_job_state", "state"),
    )
    institution_id: Mapped[int]
    channel_id: Mapped[int]
    name: Mapped[str]
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    received_bytes: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str | None]
    title_sw: Mapped[str]
    title_en: Mapped[str]
    origin_at: Mapped[datetime | None]
    takes_short: Mapped[bool]
    trouble: Mapped[str | None]
    read_ms: Mapped[int | None] = mapped_column(BigInteger)
    told_ms: Mapped[int | None] = mapped_column(BigInteger)
    embargo_reason: Mapped[str | None]
    embargo_until: Mapped[datetime | None]
    embargo_by: Mapped[int | None] = mapped_column(ForeignKey("user_account.id"))
    created_by: Mapped[str]
    created_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    expires_at: Mapped[datetime | None]
