"""The archive's rules: legal holds, embargoes, retention, and orders to destroy a recording."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"


def upgrade() -> None:
    op.add_column("recording", sa.Column("is_embargoed", sa.Boolean, nullable=False, server_default=sa.text("false")))
    op.add_column("recording", sa.Column("disposed_at", _time()))
    op.create_index(
        "recording_closed", "recording", ["id"], postgresql_where=sa.text("is_embargoed or disposed_at is not null")
    )
    op.drop_constraint("copy_state", "recording_copy")
    op.create_check_constraint(
        "copy_state", "recording_copy", "state in ('copying', 'whole', 'faulty', 'held', 'disposed')"
    )
    op.create_table("hold", *_act("placed"), *_acted("lifted"), *_of_recording())
    op.create_index("hold_standing", "hold", ["recording_id"], postgresql_where=sa.text("lifted_at is null"))
    op.create_table(
        "store_hold",
        sa.Column("recording_id", sa.String, primary_key=True),
        sa.Column("location", sa.String, primary_key=True),
        sa.Column("institution_id", sa.Integer, nullable=False),
        sa.Column("ledger_bytes", sa.BigInteger),
        sa.Column("is_supported", sa.Boolean, nullable=False, server_default=sa.text("true")),
        sa.Column("turns", sa.Integer, nullable=False, server_default="0"),
        sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
        sa.Column("next_try_at", _time(), nullable=False),
        sa.Column("fault", sa.String),
        *_of_recording(),
    )
    op.create_table("embargo", *_act("placed"), *_acted("lifted"), sa.Column("until", _time()), *_of_recording())
    op.create_index(
        "embargo_standing", "embargo", ["recording_id"], unique=True, postgresql_where=sa.text("lifted_at is null")
    )
    op.create_table(
        "retention_rule",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("institution_id", sa.Integer, sa.ForeignKey("institution.id"), nullable=False),
        sa.Column("channel_id", sa.Integer),
        sa.Column("years", sa.Integer),
        sa.Column("set_by", sa.Integer, sa.ForeignKey("user_account.id")),
        sa.Column("set_name", sa.String, nullable=False),
        sa.Column("set_at", _time(), nullable=False),
        sa.ForeignKeyConstraint(["channel_id", "institution_id"], ["channel.id", "channel.institution_id"]),
        sa.UniqueConstraint("institution_id", "channel_id", postgresql_nulls_not_distinct=True),
        sa.CheckConstraint("years between 1 and 1000", name="retention_years"),
    )
    op.create_table(
        "retention_promise",
        sa.Column("recording_id", sa.String, primary_key=True),
        sa.Column("institution_id", sa.Integer, nullable=False),
        sa.Column("until", _time()),
        sa.Column("promised_at", _time(), nullable=False),
        *_of_recording(),
    )
    op.create_table(
        "disposal_request",
        *_act("asked"),
        *_acted("decided"),
        sa.Column("state", sa.String, nullable=False, server_default="asked"),
        sa.Column("decision", sa.String),
        sa.Column("carried_out_at", _time()),
        sa.Column("turns", sa.Integer, nullable=False, server_default="0"),
        sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
        sa.Column("next_try_at", _time()),
        sa.Column("waits_until", _time()),
        sa.Column("trouble", sa.String),
        *_of_recording(),
        sa.CheckConstraint(
            "state in ('asked', 'approved', 'carrying', 'done', 'refused', 'withdrawn')", name="disposal_state"
        ),
        sa.CheckConstraint("decided_by <> asked_by or state = 'refused'", name="disposal_two_people"),
        sa.CheckConstraint(
            "state not in ('approved', 'carrying', 'done') or (asked_by is not null and decided_by is not null)",
            name="disposal_approved_by_an_account",
        ),
    )
    op.create_index(
        "disposal_open", "disposal_request", ["recording_id"], unique=True,
        postgresql_where=sa.text("state in ('asked', 'approved', 'carrying')"),
    )  # fmt: skip


def _time() -> sa.DateTime:
    return sa.DateTime(timezone=True)


def _of_recording() -> list[sa.ForeignKeyConstraint]:
    return [sa.ForeignKeyConstraint(["recording_id", "institution_id"], ["recording.id", "recording.institution_id"])]


def _act(what: str) -> list[sa.Column[object]]:
    return [
        sa.Column("id", sa.BigInteger, primary_key=True),
        sa.Column("recording_id", sa.String, nullable=False),
        sa.Column("institution_id", sa.Integer, nullable=False),
        sa.Column("reason", sa.String, nullable=False),
        sa.Column(f"{what}_by", sa.Integer, sa.ForeignKey("user_account.id")),
        sa.Column(f"{what}_name", sa.String, nullable=False),
        sa.Column(f"{what}_at", _time(), nullable=False),
    ]


def _acted(what: str) -> list[sa.Column[object]]:
    return [
        sa.Column(f"{what}_by", sa.Integer, sa.ForeignKey("user_account.id")),
        sa.Column(f"{what}_name", sa.String),
        sa.Column(f"{what}_at", _time()),
    ]
