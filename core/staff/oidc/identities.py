"""Whose account an identity is, and the way in with it. Every answer is a value, so that the caller commits.

An identity is known by issuer and subject. The first time it is linked to the account of its verified e-mail address,
if there is one: nobody gets an account from the provider, and no account two identities of one issuer, so an address
that passes to another person does not open the first one's account.
"""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from core import audit
from core.audit import Actor
from core.database import insert
from core.staff import accounts, lockout, login, sessions
from core.staff.lockout import Tried
from core.staff.login import LoggedIn, NeedsSecondFactor
from core.staff.oidc.errors import Refusal
from core.staff.oidc.provider import Identity
from core.staff.sessions import SignedIn, Visit
from core.staff.tables import LinkedIdentity, UserAccount

NOBODY = audit.NOT_LOGGED_IN


def answer_came(address: str) -> Tried:
    """Answers of the provider that don't hold count against the address, as failed log-ins do."""
    return lockout.tried(f"sign-on from {lockout.address_key(address)}", address)


def locked_until(session: Session, visit: Visit) -> datetime | None:
    return lockout.locked_until(session, answer_came(visit.address), visit.now)


def refuse_answer(session: Session, why: str, visit: Visit) -> None:
    """For an answer that tells nobody's name."""
    lockout.record(session, answer_came(visit.address), visit.now)
    by = Actor(None, NOBODY, visit.address)
    audit.append(session, by, "user.sign_on_refused", "user:unknown", now=visit.now, after={"reason": why})


def enter(
    session: Session, identity: Identity, visit: Visit, *, old_token: str | None = None
) -> LoggedIn | NeedsSecondFactor | Refusal:
    """The first step, in a password's stead. `old_token` is the session that the browser had, which ends."""
    if lockout.locked_until(session, _came(identity), visit.now) is not None:
        return Refusal.LOCKED
    account = _linked(session, identity, visit.now) or _link(session, identity, visit)
    if isinstance(account, Refusal):
        return _refuse(session, identity, account, None, visit)
    if account.disabled_at is not None:
        return _refuse(session, identity, Refusal.UNKNOWN, account, visit)
    if old_token is not None:
        sessions.revoke_token(session, old_token)
    token = sessions.open_session(session, account, visit)
    after = {"issuer": identity.issuer, "multi_factor": identity.is_multi_factor}
    audit.append(session, _actor(account, visit), "user.sign_on", accounts.subject(account), now=visit.now, after=after)
    return _second_step(session, account, identity, token, visit)


def list_of(session: Session, user_id: int) -> Sequence[LinkedIdentity]:
    mine = select(LinkedIdentity).where(LinkedIdentity.user_id == user_id)
    return session.scalars(mine.order_by(LinkedIdentity.id)).all()


def unlink(session: Session, person: SignedIn, identity_id: int, visit: Visit) -> bool:
    """By the person. False if it is not (or no longer) theirs."""
    mine = (LinkedIdentity.user_id == person.user_id) & (LinkedIdentity.id == identity_id)
    was = session.execute(
        delete(LinkedIdentity).where(mine).returning(LinkedIdentity.issuer, LinkedIdentity.subject)
    ).one_or_none()
    if was is None:
        return False
    by, before = Actor(person.user_id, person.name, visit.address), {"issuer": was.issuer, "subject": was.subject}
    audit.append(session, by, "user.sign_on_unlink", f"user:{person.user_id}", now=visit.now, before=before)
    return True


def _second_step(
    session: Session, account: UserAccount, identity: Identity, token: str, visit: Visit
) -> LoggedIn | NeedsSecondFactor:
    """Ours is asked unless the provider says that it asked for one of its own."""
    if account.has_second_factor:
        if not identity.is_multi_factor:
            return NeedsSecondFactor(token)
        half_open = sessions.find_half_open(session, token, visit.now)
        assert half_open is not None, "it was opened just now"
        token = sessions.step_up(session, half_open[0], visit.now)
    return login.let_in(session, lockout.tried(account.email, visit.address), account, token, visit)


def _linked(session: Session, identity: Identity, now: datetime) -> UserAccount | None:
    same = (LinkedIdentity.issuer == identity.issuer) & (LinkedIdentity.subject == identity.subject)
    link = session.scalar(select(LinkedIdentity).where(same))
    if link is None:
        return None
    account = session.get_one(UserAccount, link.user_id)
    if account.disabled_at is None:
        link.last_used_at = now
    return account


def _link(session: Session, identity: Identity, visit: Visit) -> UserAccount | Refusal:
    if not identity.is_email_verified:
        return Refusal.UNVERIFIED
    # ASCII alone: other alphabets have letters whose small form is one of ours, so another's address could become this
    account = accounts.find(session, identity.email) if identity.email.isascii() else None
    if account is None or account.disabled_at is not None:
        return Refusal.UNKNOWN
    times = {"created_at": visit.now, "last_used_at": visit.now}
    link = LinkedIdentity(user_id=account.id, issuer=identity.issuer, subject=identity.subject, **times)
    if not insert(session, link):
        return Refusal.UNKNOWN
    after = {"issuer": identity.issuer, "subject": identity.subject}
    by = _actor(account, visit)
    audit.append(session, by, "user.sign_on_link", accounts.subject(account), now=visit.now, after=after)
    return account


def _refuse(session: Session, identity: Identity, why: Refusal, account: UserAccount | None, visit: Visit) -> Refusal:
    lockout.record(session, _came(identity), visit.now)
    who = "user:unknown" if account is None else accounts.subject(account)
    after = {"reason": str(why), "issuer": identity.issuer, "subject": identity.subject}
    by = Actor(None, NOBODY, visit.address)
    audit.append(session, by, "user.sign_on_refused", who, now=visit.now, after=after)
    return why


def _came(identity: Identity) -> Tried:
    """Someone proven who has no business here counts against that one alone: colleagues behind the address are free."""
    key = lockout.tried(f"sign-on {identity.issuer} {identity.subject}", "").account_key
    return Tried(key, key)


def _actor(account: UserAccount, visit: Visit) -> Actor:
    return Actor(account.id, account.name, visit.address)
