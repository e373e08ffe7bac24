"""Accounts of staff: invited, given passwords and roles, disabled. Each act is in the audit log.

Whether someone may do it is asked before, with `permissions.may` and `may_manage`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from core import audit
from core.audit import Actor
from core.problems import Message, Problem, Problems
from core.staff import links, lockout, passwords, sessions
from core.staff.links import Purpose
from core.staff.permissions import Grant, Scope
from core.staff.sessions import SignedIn, Visit
from core.staff.tables import Membership, UserAccount

EMAIL_PATTERN = re.compile(r"[a-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[a-z0-9-]+(\.[a-z0-9-]+)+")
MAX_EMAIL = 254
MAX_NAME = 200


@dataclass(frozen=True, slots=True)
class Invitation:
    """An account with its new role. `token` makes the link; None if the person has a password already.

    Send the link to the account's address and show it to nobody else: who has it becomes that person, with all roles.
    """

    account: UserAccount
    token: str | None


def clean_email(text: str) -> str | None:
    """The address as it is stored, or None if it is none."""
    email = text.strip().lower()
    return email if len(email) <= MAX_EMAIL and EMAIL_PATTERN.fullmatch(email) else None


def find(session: Session, email: str) -> UserAccount | None:
    cleaned = clean_email(email)
    return None if cleaned is None else session.scalar(select(UserAccount).where(UserAccount.email == cleaned))


def list_staff(session: Session, scope: Scope) -> Sequence[UserAccount]:
    """Who has a role in the scope, by name."""
    members = select(Membership.user_id).where(scope.where(Membership.institution_id))
    return session.scalars(select(UserAccount).where(UserAccount.id.in_(members)).order_by(UserAccount.name)).all()


def invite(
    session: Session, email: str, name: str, role: Grant, *, by: Actor, pepper: bytes, now: datetime
) -> Invitation | Problems:
    """Makes an account (or takes the one of that address) and gives it a role."""
    cleaned, name = clean_email(email), name.strip()
    wrong_name = not 0 < len(name) <= MAX_NAME or not name.isprintable()
    if cleaned is None or wrong_name:
        problems = (cleaned is None, Problem("email", Message.EMAIL)), (wrong_name, Problem("name", Message.NAME))
        return tuple(problem for is_wrong, problem in problems if is_wrong)
    account = _ensure_account(session, cleaned, name, now)
    grant(session, account, role, by=by, now=now)
    if account.password_hash is not None:
        return Invitation(account, None)
    return Invitation(account, links.sign(Purpose.INVITATION, account, pepper=pepper, now=now))


def letter_locked_until(session: Session, email: str, visit: Visit) -> datetime | None:
    """Counts the wish for a letter, whether or not there is such an account; until when no more are taken, if so."""
    what = lockout.letter_asked(clean_email(email) or email, visit.address)
    locked = lockout.locked_until(session, what, visit.now)
    if locked is None:
        lockout.record(session, what, visit.now)
    return locked


def reset_token(session: Session, email: str, *, pepper: bytes, now: datetime) -> Invitation | None:
    """For someone who forgot the password. Tell the asker the same whether or not there is such an account."""
    account = find(session, email)
    if account is None or account.disabled_at is not None or account.password_hash is None:
        return None
    return Invitation(account, links.sign(Purpose.RESET, account, pepper=pepper, now=now))


def account_of_link(
    session: Session, purpose: Purpose, token: str, *, pepper: bytes, now: datetime
) -> UserAccount | None:
    """Whose link this is, if it is still good. Locked until the transaction's end: of two uses at once one wins."""
    claim = links.read(purpose, token, pepper=pepper, now=now)
    if claim is None:
        return None
    account = session.get(UserAccount, claim.user_id, with_for_update=True, populate_existing=True)
    if account is None or account.disabled_at is not None or not links.fits(claim, account, pepper=pepper):
        return None
    return account


def use_link(
    session: Session, purpose: Purpose, token: str, password: str, *, visit: Visit, pepper: bytes
) -> UserAccount | Problems:
    """Sets the password of a link's account and ends its sessions. The person then logs in, second factor and all."""
    account = account_of_link(session, purpose, token, pepper=pepper, now=visit.now)
    if account is None:
        return (Problem("link", Message.LINK),)
    by = Actor(account.id, account.name, visit.address)
    return _set_password(session, account, password, f"{purpose}.use", by, visit.now) or account


def set_first_password(session: Session, account: UserAccount, password: str, *, by: Actor, now: datetime) -> Problems:
    """For the command line, instead of a link."""
    if account.password_hash is not None:
        return (Problem("password", Message.PASSWORD_SET),)
    return _set_password(session, account, password, "password.set", by, now)


def change_password(session: Session, person: SignedIn, old: str, new: str, *, visit: Visit) -> Problems:
    """By the person, who shows the old one; wrong ones count as failed log-ins. Ends the person's other sessions."""
    what = lockout.tried(person.email, visit.address)
    if lockout.locked_until(session, what, visit.now) is not None:
        return (Problem("old_password", Message.LOCKED),)
    account = session.get_one(UserAccount, person.user_id)
    if not passwords.verify(account.password_hash, old):
        lockout.record(session, what, visit.now)
        return (Problem("old_password", Message.PASSWORD_WRONG),)
    by = Actor(account.id, account.name, visit.address)
    return _set_password(session, account, new, "password.change", by, visit.now, kept_session_id=person.session_id)


def grant(session: Session, account: UserAccount, role: Grant, *, by: Actor, now: datetime) -> bool:
    """False if the account has that role already."""
    values = {"user_id": account.id, "institution_id": role.institution_id, "role": role.role.value, "created_at": now}
    added = insert(Membership).values(values).on_conflict_do_nothing().returning(Membership.id)
    if session.scalar(added) is None:
        return False
    after = {"role": role.role.value}
    audit.append(session, by, "user.grant", subject(account), now=now, institution_id=role.institution_id, after=after)
    return True


def withdraw(session: Session, account: UserAccount, role: Grant, *, by: Actor, now: datetime) -> bool:
    """Takes a role away; false if the account did not have it."""
    mine = (Membership.user_id == account.id) & (Membership.role == role.role.value)
    there = Membership.institution_id.is_not_distinct_from(role.institution_id)
    if not session.scalars(delete(Membership).where(mine, there).returning(Membership.id)).all():
        return False
    before = {"role": role.role.value}
    audit.append(
        session, by, "user.withdraw", subject(account), now=now, institution_id=role.institution_id, before=before
    )
    return True


def disable(session: Session, account: UserAccount, *, by: Actor, now: datetime) -> None:
    """Nobody gets in with this account any more, at once."""
    if account.disabled_at is None:
        account.disabled_at = now
        sessions.revoke_others(session, account.id)
        audit.append(session, by, "user.disable", subject(account), now=now)


def enable(session: Session, account: UserAccount, *, by: Actor, now: datetime) -> None:
    if account.disabled_at is not None:
        account.disabled_at = None
        audit.append(session, by, "user.enable", subject(account), now=now)


def subject(account: UserAccount) -> str:
    """How the audit log names an account."""
    return f"user:{account.id}"


def _ensure_account(session: Session, email: str, name: str, now: datetime) -> UserAccount:
    values = {"email": email, "name": name, "created_at": now}
    session.execute(insert(UserAccount).values(values).on_conflict_do_nothing())
    return session.scalars(select(UserAccount).where(UserAccount.email == email)).one()


def _set_password(
    session: Session,
    account: UserAccount,
    password: str,
    act: str,
    by: Actor,
    now: datetime,
    kept_session_id: int | None = None,
) -> Problems:
    message = passwords.problem(password, account.email, account.name)
    if message is not None:
        return (Problem("password", message),)
    account.password_hash = passwords.hash_password(password)
    sessions.revoke_others(session, account.id, kept_session_id)
    audit.append(session, by, act, subject(account), now=now)
    return ()
