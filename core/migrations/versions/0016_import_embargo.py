"""Files that become recordings under embargo."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    op.add_column("import_job", sa.Column("embargo_reason", sa.String))
    op.add_column("import_job", sa.Column("embargo_until", sa.DateTime(timezone=True)))
    op.add_column("import_job", sa.Column("embargo_by", sa.Integer, sa.ForeignKey("user_account.id")))
