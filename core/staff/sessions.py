"""Sessions of staff: opened at log-in, found by their token, listed and revoked. Only a token's hash is kept.

Each step up (the password, then the second factor) gives a new token, so one that someone planted in a browser before
never becomes worth anything.
"""

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, delete, select, update
from sqlalchemy.orm import Session

from core.staff.permissions import Grant, Role
from core.staff.tables import Membership, StaffSession, UserAccount

IDLE = timedelta(hours=2)
ABSOLUTE = timedelta(hours=12)
HALF_OPEN = timedelta(minutes=10)
"""How long a session waits for the second factor."""
TOUCH_EVERY = timedelta(minutes=1)
MAX_ADDRESS = 64
MAX_USER_AGENT = 300


@dataclass(frozen=True, slots=True)
class Visit:
    """When and from where a request comes."""

    now: datetime
    address: str
    user_agent: str = ""


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A person whose every factor was right."""

    session_id: int
    user_id: int
    email: str
    name: str
    has_second_factor: bool
    memberships: tuple[Grant, ...]


def open_session(session: Session, account: UserAccount, visit: Visit, *, lasts: timedelta = ABSOLUTE) -> str:
    """Returns the token, which only the browser keeps."""
    _forget_expired(session, account.id, visit.now)
    token = new_token()
    half_open = account.has_second_factor
    opened = StaffSession(
        token_hash=_hash_token(token),
        user_id=account.id,
        created_at=visit.now,
        last_seen_at=visit.now,
        expires_at=visit.now + (HALF_OPEN if half_open else lasts),
        address=visit.address[:MAX_ADDRESS],
        user_agent=visit.user_agent[:MAX_USER_AGENT],
    )
    session.add(opened)
    session.flush()
    return token


def step_up(session: Session, session_id: int, now: datetime, *, lasts: timedelta = ABSOLUTE) -> str:
    """The second factor was shown: a full session under a new token."""
    token = new_token()
    values = {"second_factor_at": now, "last_seen_at": now, "expires_at": now + lasts}
    session.execute(
        update(StaffSession).where(StaffSession.id == session_id).values(token_hash=_hash_token(token), **values)
    )
    return token


def find(session: Session, token: str, now: datetime, *, idle: timedelta = IDLE) -> SignedIn | None:
    """Whose session this is, if it is open, not idle for too long, and complete."""
    found = _open(session, token, now, idle)
    if found is None:
        return None
    opened, account = found
    if account.has_second_factor and opened.second_factor_at is None:
        return None
    has = account.has_second_factor
    return SignedIn(opened.id, account.id, account.email, account.name, has, memberships_of(session, account.id))


def find_half_open(session: Session, token: str, now: datetime) -> tuple[int, UserAccount] | None:
    """A session whose password (or sign-on) was right and whose second factor is awaited."""
    found = _open(session, token, now, HALF_OPEN)
    if found is None or not found[1].has_second_factor or found[0].second_factor_at is not None:
        return None
    return found[0].id, found[1]


def touch(session: Session, session_id: int, now: datetime) -> None:
    """Puts off the idle end. Writes at most once a minute."""
    stale = (StaffSession.id == session_id) & (StaffSession.last_seen_at < now - TOUCH_EVERY)
    session.execute(update(StaffSession).where(stale).values(last_seen_at=now))


def list_open(session: Session, user_id: int, now: datetime, *, idle: timedelta = IDLE) -> Sequence[StaffSession]:
    mine = select(StaffSession).where(StaffSession.user_id == user_id, _is_open(now, idle))
    return session.scalars(mine.order_by(StaffSession.last_seen_at.desc())).all()


def revoke(session: Session, user_id: int, session_id: int) -> bool:
    """Ends one session of this person; false if it is not (or no longer) theirs."""
    return _end(session, (StaffSession.user_id == user_id) & (StaffSession.id == session_id)) == 1


def revoke_others(session: Session, user_id: int, kept_session_id: int | None = None) -> int:
    """Ends all sessions of a person but one; returns how many."""
    theirs = StaffSession.user_id == user_id
    return _end(session, theirs if kept_session_id is None else theirs & (StaffSession.id != kept_session_id))


def revoke_token(session: Session, token: str) -> None:
    """Ends the session of a token, whoever's it is: at log-out, and of a browser that logs in anew."""
    _end(session, StaffSession.token_hash == _hash_token(token))


def memberships_of(session: Session, user_id: int) -> tuple[Grant, ...]:
    query = select(Membership.role, Membership.institution_id).where(Membership.user_id == user_id)
    return tuple(Grant(Role(role), institution_id) for role, institution_id in session.execute(query))


def new_token() -> str:
    return secrets.token_urlsafe(32)


def _open(session: Session, token: str, now: datetime, idle: timedelta) -> tuple[StaffSession, UserAccount] | None:
    query = (
        select(StaffSession, UserAccount)
        .join(UserAccount, UserAccount.id == StaffSession.user_id)
        .where(StaffSession.token_hash == _hash_token(token), _is_open(now, idle), UserAccount.disabled_at.is_(None))
    )
    row = session.execute(query).one_or_none()
    return None if row is None else (row[0], row[1])


def _is_open(now: datetime, idle: timedelta) -> ColumnElement[bool]:
    return (StaffSession.expires_at > now) & (StaffSession.last_seen_at > now - idle)


def _forget_expired(session: Session, user_id: int, now: datetime) -> None:
    _end(session, (StaffSession.user_id == user_id) & (StaffSession.expires_at <= now))


def _end(session: Session, which: ColumnElement[bool]) -> int:
    return len(session.scalars(delete(StaffSession).where(which).returning(StaffSession.id)).all())


def _hash_token(token: str) -> str:
    """Unkeyed: 256 bits of chance can't be guessed from their hash."""
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()
