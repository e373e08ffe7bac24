"""Lock-out with back-off: failed log-ins count against the account and against the address that they came from.

A full log-in takes back its account's failures, and only those: someone who guesses at many accounts can't clear the
address with one account of his own, while an office behind one address stays free of its people's typing errors.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import IPv6Address, ip_address, ip_network

from sqlalchemy import delete, func, select, text
from sqlalchemy.orm import InstrumentedAttribute, Session

from core.staff.tables import LoginFailure

PRUNED_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class Policy:
    free_tries: int = 5
    first_wait: timedelta = timedelta(seconds=30)
    longest_wait: timedelta = timedelta(hours=1)
    forgotten_after: timedelta = timedelta(days=1)


POLICY = Policy()


@dataclass(frozen=True, slots=True)
class Failures:
    count: int
    last_at: datetime | None


@dataclass(frozen=True, slots=True)
class Tried:
    """Whom a try is counted against."""

    account_key: str
    address_key: str


def tried(email: str, address: str) -> Tried:
    return Tried(hashlib.sha256(email.encode(errors="replace")).hexdigest(), address_key(address))


def letter_asked(email: str, address: str) -> Tried:
    """Letters for a forgotten password, counted apart from log-ins: who asks for many locks nobody out."""
    asked = tried(f"letter {email}", address)
    return Tried(asked.account_key, f"letter {asked.address_key}")


def address_key(address: str) -> str:
    """The address, or its /64 network in IPv6: whoever has one address there has all of them."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address[:64]
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is None:
        return str(ip_network((int(parsed), 64), strict=False))
    return str(getattr(parsed, "ipv4_mapped", None) or parsed)


def decide(failures: Failures, now: datetime, policy: Policy = POLICY) -> datetime | None:
    """Until when no try is looked at; None if one is welcome."""
    over = failures.count - policy.free_tries
    if failures.last_at is None or over < 0:
        return None
    doublings = min(over, 32)  # beyond that only a number too large for a timedelta would come
    until = failures.last_at + min(policy.first_wait * 2**doublings, policy.longest_wait)
    return until if now < until else None


def locked_until(session: Session, what: Tried, now: datetime, policy: Policy = POLICY) -> datetime | None:
    """Also makes tries on the same account or from the same address wait for each other until the transaction's end:
    a hundred at once are not a hundred free ones."""
    for key in sorted((f"account {what.account_key}", f"address {what.address_key}")):
        session.execute(text("select pg_advisory_xact_lock(hashtextextended(:key, 0))"), {"key": key})
    since = now - policy.forgotten_after
    counted = (
        _failures(session, LoginFailure.account_key, what.account_key, since),
        _failures(session, LoginFailure.address_key, what.address_key, since),
    )
    return max(filter(None, (decide(failures, now, policy) for failures in counted)), default=None)


def record(session: Session, what: Tried, now: datetime, policy: Policy = POLICY) -> None:
    session.add(LoginFailure(account_key=what.account_key, address_key=what.address_key, at=now))
    session.flush()
    old = select(LoginFailure.id).where(LoginFailure.at < now - policy.forgotten_after).limit(PRUNED_AT_ONCE)
    session.execute(delete(LoginFailure).where(LoginFailure.id.in_(old.with_for_update(skip_locked=True))))


def forgive(session: Session, what: Tried) -> None:
    session.execute(delete(LoginFailure).where(LoginFailure.account_key == what.account_key))


def _failures(session: Session, column: InstrumentedAttribute[str], key: str, since: datetime) -> Failures:
    query = select(func.count(), func.max(LoginFailure.at)).where(column == key, LoginFailure.at >= since)
    count, last_at = session.execute(query).one()
    return Failures(count, last_at)
