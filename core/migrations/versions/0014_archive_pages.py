"""Exports are found by their hash, recordings by their copies' states."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    op.execute("create index export_by_hash on preservation_event ((line::jsonb ->> 'sha256')) where kind = 'export'")
    op.create_index(
        "copy_troubled", "recording_copy", ["state"], postgresql_where=sa.text("state in ('faulty', 'held')")
    )
