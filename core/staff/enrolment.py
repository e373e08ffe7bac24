"""A person's own second factor: set up in two steps, new recovery codes, taken away again. All in the audit log."""

from dataclasses import dataclass

from sqlalchemy.orm import Session

from core import audit
from core.audit import Actor
from core.staff import accounts, lockout, second_factor, sessions
from core.staff.sessions import SignedIn, Visit
from core.staff.tables import UserAccount


@dataclass(frozen=True, slots=True)
class Enrolled:
    """To be shown once; and the browser's new token, as every other session of the person has ended."""

    token: str
    recovery_codes: tuple[str, ...]


def start(session: Session, person: SignedIn, *, pepper: bytes) -> str | None:
    """The otpauth: address for the person's phone (a QR code). None where a second factor is in force already."""
    account = session.get_one(UserAccount, person.user_id)
    return None if account.has_second_factor else second_factor.begin(session, account, pepper=pepper)


def again(session: Session, person: SignedIn, *, pepper: bytes) -> str | None:
    """The address that `start` gave last, for a wrong code: the phone may have it already."""
    account = session.get_one(UserAccount, person.user_id)
    if account.has_second_factor or account.totp_secret is None:
        return start(session, person, pepper=pepper)
    return second_factor.address(account, pepper=pepper)


def confirm(session: Session, person: SignedIn, code: str, visit: Visit, *, pepper: bytes) -> Enrolled | None:
    """Puts the factor in force if the code shows that the phone has the secret; None if it does not."""
    account = session.get_one(UserAccount, person.user_id)
    if account.has_second_factor or not second_factor.take_code(session, account, code, pepper=pepper, now=visit.now):
        return None
    account.totp_confirmed_at = visit.now
    codes = second_factor.renew_recovery_codes(session, account, pepper=pepper)
    sessions.revoke_others(session, account.id, person.session_id)
    token = sessions.step_up(session, person.session_id, visit.now)
    _log(session, account, "second_factor.set", visit)
    return Enrolled(token, codes)


def renew_codes(session: Session, person: SignedIn, code: str, visit: Visit, *, pepper: bytes) -> tuple[str, ...]:
    """Ten new recovery codes for a code of the phone; none if that is wrong, or tries are locked out."""
    account = _shown(session, person, code, visit, pepper)
    if account is None:
        return ()
    _log(session, account, "second_factor.new_codes", visit)
    return second_factor.renew_recovery_codes(session, account, pepper=pepper)


def remove(session: Session, person: SignedIn, code: str, visit: Visit, *, pepper: bytes) -> bool:
    """By the person, who shows a code of the phone once more."""
    account = _shown(session, person, code, visit, pepper)
    if account is None:
        return False
    second_factor.remove(session, account)
    _log(session, account, "second_factor.remove", visit)
    return True


def remove_for(session: Session, account: UserAccount, by: Actor, visit: Visit) -> None:
    """By an admin (who `may_manage` the account), for someone who lost phone and codes."""
    second_factor.remove(session, account)
    sessions.revoke_others(session, account.id)
    audit.append(session, by, "second_factor.remove", accounts.subject(account), now=visit.now)


def _shown(session: Session, person: SignedIn, code: str, visit: Visit, pepper: bytes) -> UserAccount | None:
    what = lockout.tried(person.email, visit.address)
    if lockout.locked_until(session, what, visit.now) is not None:
        return None
    account = session.get_one(UserAccount, person.user_id)
    if second_factor.take_code(session, account, code, pepper=pepper, now=visit.now):
        return account
    lockout.record(session, what, visit.now)
    return None


def _log(session: Session, account: UserAccount, act: str, visit: Visit) -> None:
    by = Actor(account.id, account.name, visit.address)
    audit.append(session, by, act, accounts.subject(account), now=visit.now)
