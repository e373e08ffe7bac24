"""Institutions' fields, staff accounts and the audit log."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"

WHEN = sa.DateTime(timezone=True)
KINDS = "kind in ('ministry', 'department', 'agency', 'regional_secretariat', 'local_authority', 'other')"
ROLES = "role in ('engineer', 'archivist', 'editor', 'recruiter', 'admin')"


def upgrade() -> None:
    _extend_institution()
    _create_accounts()
    _create_sessions()
    _create_audit()


def _extend_institution() -> None:
    for column in (
        sa.Column("acronym", sa.String, nullable=False, server_default=""),
        sa.Column("kind", sa.String, nullable=False, server_default="other"),
        sa.Column("parent_id", sa.Integer, sa.ForeignKey("institution.id"), index=True),
        sa.Column("region", sa.String),
        sa.Column("site_origins", postgresql.ARRAY(sa.String), nullable=False, server_default="{}"),
        sa.Column("brand_colour", sa.String),
    ):
        op.add_column("institution", column)
    op.create_check_constraint("kind", "institution", KINDS)
    op.create_check_constraint("parent", "institution", "parent_id <> id")


def _create_accounts() -> None:
    op.create_table(
        "user_account",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("email", sa.String, nullable=False, unique=True),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("password_hash", sa.String),
        sa.Column("totp_secret", sa.String),
        sa.Column("totp_confirmed_at", WHEN),
        sa.Column("totp_last_step", sa.BigInteger),
        sa.Column("created_at", WHEN, nullable=False),
        sa.Column("disabled_at", WHEN),
        sa.CheckConstraint("email = lower(email)", name="email_lower_case"),
    )
    op.create_table(
        "membership",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("user_id", sa.Integer, sa.ForeignKey("user_account.id"), nullable=False),
        sa.Column("institution_id", sa.Integer, sa.ForeignKey("institution.id"), index=True),
        sa.Column("role", sa.String, sa.CheckConstraint(ROLES, name="role"), nullable=False),
        sa.Column("created_at", WHEN, nullable=False),
        sa.UniqueConstraint("user_id", "institution_id", "role", postgresql_nulls_not_distinct=True),
    )
    op.create_table(
        "recovery_code",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("user_id", sa.Integer, sa.ForeignKey("user_account.id"), nullable=False),
        sa.Column("code_hash", sa.String, nullable=False),
        sa.Column("used_at", WHEN),
        sa.UniqueConstraint("user_id", "code_hash"),
    )


def _create_sessions() -> None:
    op.create_table(
        "staff_session",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("token_hash", sa.String, nullable=False, unique=True),
        sa.Column("user_id", sa.Integer, sa.ForeignKey("user_account.id"), nullable=False, index=True),
        sa.Column("created_at", WHEN, nullable=False),
        sa.Column("last_seen_at", WHEN, nullable=False),
        sa.Column("expires_at", WHEN, nullable=False),
        sa.Column("address", sa.String, nullable=False),
        sa.Column("user_agent", sa.String, nullable=False),
        sa.Column("second_factor_at", WHEN),
    )
    op.create_table(
        "login_failure",
        sa.Column("id", sa.BigInteger, primary_key=True),
        sa.Column("account_key", sa.String, nullable=False),
        sa.Column("address_key", sa.String, nullable=False),
        sa.Column("at", WHEN, nullable=False, index=True),
    )
    op.create_index("login_failure_of_account", "login_failure", ["account_key", "at"])
    op.create_index("login_failure_of_address", "login_failure", ["address_key", "at"])


def _create_audit() -> None:
    op.create_table(
        "audit_entry",
        sa.Column("id", sa.BigInteger, primary_key=True),
        sa.Column("at", WHEN, nullable=False),
        sa.Column("user_id", sa.Integer, index=True),
        sa.Column("actor", sa.String, nullable=False),
        sa.Column("institution_id", sa.Integer, index=True),
        sa.Column("act", sa.String, nullable=False, index=True),
        sa.Column("subject", sa.String, nullable=False, index=True),
        sa.Column("before", postgresql.JSONB),
        sa.Column("after", postgresql.JSONB),
        sa.Column("address", sa.String, nullable=False),
        sa.Column("previous_hash", sa.String, nullable=False),
        sa.Column("hash", sa.String, nullable=False),
    )
    op.execute(
        "create function refuse_change() returns trigger language plpgsql as "
        "$$ begin raise exception '% is append-only', tg_table_name; end $$"
    )
    op.execute(
        "create trigger append_only before update or delete or truncate on audit_entry "
        "for each statement execute function refuse_change()"
    )
    # Always: also where a session calls itself a replica, which skips ordinary triggers.
    op.execute("alter table audit_entry enable always trigger append_only")
