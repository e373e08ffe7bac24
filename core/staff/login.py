"""Logging in: the password, then the second factor where there is one. Every answer is a value, so that the caller
commits: a refused try counts only once it is in the database."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from core import audit
from core.audit import Actor
from core.staff import accounts, lockout, passwords, second_factor, sessions
from core.staff.sessions import SignedIn, Visit
from core.staff.tables import UserAccount

MAX_CODE = 64


@dataclass(frozen=True, slots=True)
class Refused:
    """Something was wrong; the person is not told what."""


@dataclass(frozen=True, slots=True)
class LockedUntil:
    """The try was not looked at: it may have been right or wrong."""

    at: datetime


@dataclass(frozen=True, slots=True)
class NeedsSecondFactor:
    """The password (or the sign-on) was right. The token opens nothing but `second_step`, for ten minutes."""

    token: str


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """The browser keeps the token, and forgets any it had."""

    token: str
    user_id: int
    has_second_factor: bool


Entry = Refused | LockedUntil | NeedsSecondFactor | LoggedIn


def log_in(session: Session, email: str, password: str, visit: Visit, *, old_token: str | None = None) -> Entry:
    """The first step. `old_token` is the session that the browser had, which ends."""
    what = lockout.tried(accounts.clean_email(email) or email, visit.address)
    locked = lockout.locked_until(session, what, visit.now)
    if locked is not None:
        return LockedUntil(locked)
    account = accounts.find(session, email)
    usable = account if account is not None and account.disabled_at is None else None
    password_hash = None if usable is None else usable.password_hash
    if not passwords.verify(password_hash, password) or usable is None:
        return _refuse(session, what, account, visit)
    if old_token is not None:
        sessions.revoke_token(session, old_token)
    _rehash(usable, password)
    token = sessions.open_session(session, usable, visit)
    return NeedsSecondFactor(token) if usable.has_second_factor else let_in(session, what, usable, token, visit)


def second_step(session: Session, token: str, code: str, visit: Visit, *, pepper: bytes) -> Entry:
    """A code of the phone, or a recovery code, for the session that `log_in` half opened."""
    found = sessions.find_half_open(session, token, visit.now)
    if found is None:
        return Refused()
    session_id, account = found
    what = lockout.tried(account.email, visit.address)
    locked = lockout.locked_until(session, what, visit.now)
    if locked is not None:
        return LockedUntil(locked)
    if not _takes(session, account, code[:MAX_CODE], visit, pepper):
        return _refuse(session, what, account, visit)
    return let_in(session, what, account, sessions.step_up(session, session_id, visit.now), visit)


def log_out(session: Session, person: SignedIn, visit: Visit) -> None:
    sessions.revoke(session, person.user_id, person.session_id)
    by = Actor(person.user_id, person.name, visit.address)
    audit.append(session, by, "user.log_out", f"user:{person.user_id}", now=visit.now)


def _takes(session: Session, account: UserAccount, code: str, visit: Visit, pepper: bytes) -> bool:
    if second_factor.take_code(session, account, code, pepper=pepper, now=visit.now):
        return True
    return second_factor.take_recovery_code(session, account, code, pepper=pepper, now=visit.now)


def let_in(session: Session, what: lockout.Tried, account: UserAccount, token: str, visit: Visit) -> LoggedIn:
    """Every factor was right."""
    lockout.forgive(session, what)
    by = Actor(account.id, account.name, visit.address)
    audit.append(session, by, "user.log_in", accounts.subject(account), now=visit.now)
    return LoggedIn(token, account.id, account.has_second_factor)


def _refuse(session: Session, what: lockout.Tried, account: UserAccount | None, visit: Visit) -> Refused:
    """The log does not get the words that were typed: people type passwords where the e-mail belongs."""
    lockout.record(session, what, visit.now)
    who = "user:unknown" if account is None else accounts.subject(account)
    audit.append(session, Actor(None, audit.NOT_LOGGED_IN, visit.address), "user.log_in_refused", who, now=visit.now)
    return Refused()


def _rehash(account: UserAccount, password: str) -> None:
    assert account.password_hash is not None, "it was just verified"
    if passwords.needs_rehash(account.password_hash):
        account.password_hash = passwords.hash_password(password)
