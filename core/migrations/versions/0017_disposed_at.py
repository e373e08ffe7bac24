"""A recording that was destroyed by order was so when its files were gone, not when that began."""

from alembic import op

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    op.execute(
        "update recording set disposed_at = request.carried_out_at from disposal_request request"
        " where request.recording_id = recording.id and request.state = 'done' and recording.disposed_at is not null"
    )
