"""The tables of the archive's rules: legal holds, embargoes, how long recordings are kept, and orders to destroy one.

Names stand beside the numbers of accounts: they are what the custody log says, and outlast the accounts.
"""

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, ForeignKeyConstraint, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from core.tables import Base


def _of_recording() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(["recording_id", "institution_id"], ["recording.id", "recording.institution_id"])


class Hold(Base):
    """A legal hold. While one stands (several may), nothing of the recording is removed anywhere."""

    __tablename__ = "hold"
    __table_args__ = (
        _of_recording(),
        Index("hold_standing", "recording_id", postgresql_where=text("lifted_at is null")),
    )
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    recording_id: Mapped[str]
    institution_id: Mapped[int]
    reason: Mapped[str]
    placed_by: Mapped[int | None] = mapped_column(ForeignKey("user_account.id"))
    placed_name: Mapped[str]
    placed_at: Mapped[datetime]
    lifted_by: Mapped[int | None] = mapped_column(ForeignKey("user_account.id"))
    lifted_name: Mapped[str | None]
    lifted_at: Mapped[datetime | None]


class StoreHold(Base):
    """What a location's own legal hold was told of a recording: set on the files that the first `ledger_bytes` of the
    ledger name; null: none is set. `is_supported`: whether the location has such a thing at all."""

    __tablename__ = "store_hold"
    __table_args__ = (_of_recording(),)
    recording_id: Mapped[str] = mapped_column(primary_key=True)
    location: Mapped[str] = mapped_column(primary_key=True)
    institution_id: Mapped[int]
    ledger_bytes: Mapped[int | None] = mapped_column(BigInteger)
    is_supported: Mapped[bool] = mapped_column(server_default=text("true"), default=True)
    turns: Mapped[int] = mapped_column(server_default="0", default=0)
    attempts: Mapped[int] = mapped_column(server_default="0", default=0)
    next_try_at: Mapped[datetime]
    fault: Mapped[str | None]


class Embargo(Base):
    """Keeps a recording from the public, from its end on, until a time or until it is lifted. One stands at most."""

    __tablename__ = "embargo"
    __table_args__ = (
        _of_recording(),
        Index("embargo_standing", "recording_id", unique=True, postgresql_where=text("lifted_at is null")),
    )
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    recording_id: Mapped[str]
    institution_id: Mapped[int]
    reason: Mapped[str]
    until: Mapped[datetime | None]
    placed_by: Mapped[int | None] = mapped_column(ForeignKey("user_account.id"))
    placed_name: Mapped[str]
    placed_at: Mapped[datetime]
    lifted_by: Mapped[int | None] = mapped_column(ForeignKey("user_account.id"))
    lifted_name: Mapped[str | None]
    lifted_at: Mapped[datetime | None]


class RetentionRule(Base):
    """How many years recordings of an institution, or of one of its channels, are kept from their end on; null: for
    ever, as without any rule."""

    __tablename__ = "retention_rule"
    __table_args__ = (
        ForeignKeyConstraint(["channel_id", "institution_id"], ["channel.id", "channel.institution_id"]),
        UniqueConstraint("institution_id", "channel_id", postgresql_nulls_not_distinct=True),
        CheckConstraint("years between 1 and 1000", name="retention_years"),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    institution_id: Mapped[int] = mapped_column(ForeignKey("institution.id"))
    channel_id: Mapped[int | None]
    years: Mapped[int | None]
    set_by: Mapped[int | None] = mapped_column(ForeignKey("user_account.id"))
    set_name: Mapped[str]
    set_at: Mapped[datetime]


class RetentionPromise(Base):
    """How long a recording is kept at least, as the rule was when it was closed. Null: for ever, as without a row."""

    __tablename__ = "retention_promise"
    __table_args__ = (_of_recording(),)
    recording_id: Mapped[str] = mapped_column(primary_key=True)
    institution_id: Mapped[int]
    until: Mapped[datetime | None]
    promised_at: Mapped[datetime]


class DisposalRequest(Base):
    """Someone's wish that a recording be destroyed, and what became of it: `asked`, `approved` (by another person),
    `carrying` (its media are being removed), `done`; or `refused` (by a person, or because a rule stood against it when
    it was to be carried out), `withdrawn`. `trouble`: what it waits for, and until when, if that is known."""

    __tablename__ = "disposal_request"
    __table_args__ = (
        _of_recording(),
        CheckConstraint(
            "state in ('asked', 'approved', 'carrying', 'done', 'refused', 'withdrawn')", name="disposal_state"
        ),
        CheckConstraint("decided_by <> asked_by or state = 'refused'", name="disposal_two_people"),
        CheckConstraint(
            "state not in ('approved', 'carrying', 'done') or (asked_by is not null and decided_by is not null)",
            name="disposal_approved_by_an_account",
        ),
        Index(
            "disposal_open", "recording_id", unique=True,
            postgresql_where=text("state in ('asked', 'approved', 'carrying')"),
        ),
    )  # fmt: skip
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    recording_id: Mapped[str]
    institution_id: Mapped[int]
    reason: Mapped[str]
    asked_by: Mapped[int | None] = mapped_column(ForeignKey("user_account.id"))
    asked_name: Mapped[str]
    asked_at: Mapped[datetime]
    state: Mapped[str] = mapped_column(server_default="asked", default="asked")
    decided_by: Mapped[int | None] = mapped_column(ForeignKey("user_account.id"))
    decided_name: Mapped[str | None]
    decided_at: Mapped[datetime | None]
    decision: Mapped[str | None]
    carried_out_at: Mapped[datetime | None]
    turns: Mapped[int] = mapped_column(server_default="0", default=0)
    attempts: Mapped[int] = mapped_column(server_default="0", default=0)
    next_try_at: Mapped[datetime | None]
    waits_until: Mapped[datetime | None]
    trouble: Mapped[str | None]
