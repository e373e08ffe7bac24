"""Files that are sent to become recordings."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"

WHEN = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "import_job",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("institution_id", sa.Integer, nullable=False),
        sa.Column("channel_id", sa.Integer, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("received_bytes", sa.BigInteger, nullable=False),
        sa.Column("sha256", sa.String),
        sa.Column("title_sw", sa.String, nullable=False),
        sa.Column("title_en", sa.String, nullable=False),
        sa.Column("origin_at", WHEN),
        sa.Column("takes_short", sa.Boolean, nullable=False),
        sa.Column("percent", sa.Integer, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("trouble", sa.String),
        sa.Column("read_ms", sa.BigInteger),
        sa.Column("told_ms", sa.BigInteger),
        sa.Column("created_by", sa.String, nullable=False),
        sa.Column("created_at", WHEN, nullable=False),
        sa.Column("ended_at", WHEN),
        sa.Column("expires_at", WHEN),
        sa.ForeignKeyConstraint(["channel_id", "institution_id"], ["channel.id", "channel.institution_id"]),
        sa.CheckConstraint(
            "state in ('uploading', 'waiting', 'running', 'done', 'failed', 'cancelled')", name="import_job_state"
        ),
        sa.CheckConstraint("received_bytes between 0 and size_bytes", name="import_job_received"),
    )
    op.create_index("import_job_of_institution", "import_job", ["institution_id", "id"])
    op.create_index("import_job_state", "import_job", ["state"])
