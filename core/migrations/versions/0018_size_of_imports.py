"""The size of what was imported counts the file that it was made from."""

from alembic import op

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    op.execute(
        "update recording set size_bytes = recording.size_bytes + job.size_bytes from import_job job"
        " where job.id = recording.id and recording.described_event_id > 0 and recording.disposed_at is null"
    )
