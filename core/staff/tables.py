"""The tables of staff accounts, of the API's tokens and of the audit log."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from core.tables import Base


class UserAccount(Base):
    """A person of the staff. Without a password the invitation has not been accepted."""

    __tablename__ = "user_account"
    __table_args__ = (CheckConstraint("email = lower(email)", name="email_lower_case"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    password_hash: Mapped[str | None]
    totp_secret: Mapped[str | None]  # encrypted; counts only once it is confirmed
    totp_confirmed_at: Mapped[datetime | None]
    totp_last_step: Mapped[int | None] = mapped_column(BigInteger)
    created_at: Mapped[datetime]
    disabled_at: Mapped[datetime | None]

    @property
    def has_second_factor(self) -> bool:
        return self.totp_confirmed_at is not None


class Membership(Base):
    """A role at an institution, or on the whole platform where there is none."""

    __tablename__ = "membership"
    __table_args__ = (
        UniqueConstraint("user_id", "institution_id", "role", postgresql_nulls_not_distinct=True),
        CheckConstraint("role in ('engineer', 'archivist', 'editor', 'recruiter', 'admin')", name="role"),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("user_account.id"))
    institution_id: Mapped[int | None] = mapped_column(ForeignKey("institution.id"), index=True)
    role: Mapped[str]
    created_at: Mapped[datetime]


class StaffSession(Base):
    """A browser that is logged in, known by the hash of its token."""

    __tablename__ = "staff_session"
    id: Mapped[int] = mapped_column(primary_key=True)
    token_hash: Mapped[str] = mapped_column(unique=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("user_account.id"), index=True)
    created_at: Mapped[datetime]
    last_seen_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    address: Mapped[str]
    user_agent: Mapped[str]
    second_factor_at: Mapped[datetime | None]


class RecoveryCode(Base):
    """Lets one person in once without the second factor."""

    __tablename__ = "recovery_code"
    __table_args__ = (UniqueConstraint("user_id", "code_hash"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("user_account.id"))
    code_hash: Mapped[str]
    used_at: Mapped[datetime | None]


class LoginFailure(Base):
    """A failed log-in that still counts. Emails are hashed: people type passwords into that field."""

    __tablename__ = "login_failure"
    __table_args__ = (
        Index("login_failure_of_account", "account_key", "at"),
        Index("login_failure_of_address", "address_key", "at"),
    )
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    account_key: Mapped[str]
    address_key: Mapped[str]
    at: Mapped[datetime] = mapped_column(index=True)


class LinkedIdentity(Base):
    """Someone at an OpenID Connect provider who may come in with this account. `subject` is the provider's own name."""

    __tablename__ = "linked_identity"
    __table_args__ = (UniqueConstraint("issuer", "subject"), UniqueConstraint("user_id", "issuer"))
    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("user_account.id"))
    issuer: Mapped[str]
    subject: Mapped[str]
    created_at: Mapped[datetime]
    last_used_at: Mapped[datetime]


class SpentTicket(Base):
    """A try to sign on whose answer came; kept until it is too old to be shown again (seconds since 1970)."""

    __tablename__ = "spent_ticket"
    name: Mapped[str] = mapped_column(primary_key=True)
    until: Mapped[int] = mapped_column(BigInteger, index=True)


class ApiToken(Base):
    """Lets another program in, at one institution or everywhere. Only the hash is kept; a revoked one keeps its row,
    since the audit log names it."""

    __tablename__ = "api_token"
    id: Mapped[int] = mapped_column(primary_key=True)
    token_hash: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str] = mapped_column(unique=True)
    institution_id: Mapped[int | None] = mapped_column(ForeignKey("institution.id"), index=True)
    created_by: Mapped[int | None] = mapped_column(ForeignKey("user_account.id"))
    scopes: Mapped[list[str]] = mapped_column(ARRAY(String))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]


class ApiAnswer(Base):
    """What a request with an Idempotency-Key was answered. `body` is null where that held a secret."""

    __tablename__ = "api_answer"
    token_id: Mapped[int] = mapped_column(ForeignKey("api_token.id"), primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    request_hash: Mapped[str]
    status: Mapped[int]
    body: Mapped[str | None]
    location: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(index=True)


class AuditEntry(Base):
    """An act of staff, chained to the one before. No foreign keys: it stays true whatever becomes of the rows."""

    __tablename__ = "audit_entry"
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    at: Mapped[datetime]
    user_id: Mapped[int | None] = mapped_column(index=True)
    actor: Mapped[str]
    institution_id: Mapped[int | None] = mapped_column(index=True)
    act: Mapped[str] = mapped_column(index=True)
    subject: Mapped[str] = mapped_column(index=True)
    before: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    after: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    address: Mapped[str]
    previous_hash: Mapped[str]
    hash: Mapped[str]
