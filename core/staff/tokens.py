"""Tokens of the JSON API: made, found, revoked and listed. Only a token's hash is kept.

What a token may do are its scopes, at its institution (none: everywhere). Whether someone may make such a token is
asked before, with `permissions.may` for each of its acts.
"""

import hashlib
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from core import audit
from core.audit import Actor
from core.problems import Message, Problem, Problems
from core.staff.permissions import Act, Scope
from core.staff.tables import ApiToken

PREFIX = "mbashara_"
TOKEN_PATTERN = re.compile(PREFIX + r"[A-Za-z0-9_-]{43}")
NAME_PATTERN = re.compile(r"[a-z0-9-]{1,40}")
MAX_DAYS = 365
TOUCH_EVERY = timedelta(minutes=1)
ADDED, REVOKED = "token.add", "token.revoke"


class Read(StrEnum):
    """What a token may read; what it may do are acts. Feeds and their health are `health.read`."""

    INSTITUTION = "institution.read"
    CHANNEL = "channel.read"
    BROADCAST = "broadcast.read"
    RECORDING = "recording.read"
    WEBHOOK = "webhook.read"


SCOPES = frozenset(map(str, (*Read, *Act)))


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token as someone asks for it. `institution_id` None: the whole platform."""

    name: str
    scopes: frozenset[str]
    days: int
    institution_id: int | None = None


@dataclass(frozen=True, slots=True)
class Made:
    """`plain` is shown this once."""

    token: ApiToken
    plain: str


@dataclass(frozen=True, slots=True)
class Bearer:
    """Who came with a token."""

    token_id: int
    name: str
    institution_id: int | None
    scopes: frozenset[str]
    expires_at: datetime

    @property
    def place(self) -> Scope:
        """The institutions whose rows it may see."""
        return Scope(self.institution_id is None, frozenset(filter(None, (self.institution_id,))))


def check(wanted: NewToken) -> Problems:
    rules = (
        ("name", NAME_PATTERN.fullmatch(wanted.name), Message.TOKEN_NAME),
        ("scopes", wanted.scopes and wanted.scopes <= SCOPES, Message.TOKEN_SCOPES),
        ("days", 1 <= wanted.days <= MAX_DAYS, Message.TOKEN_DAYS),
    )
    return tuple(Problem(field, message) for field, is_right, message in rules if not is_right)


def create(session: Session, wanted: NewToken, *, by: Actor, now: datetime) -> Made | Problems:
    """Names are never used twice: the audit log knows a token by its name."""
    problems = check(wanted)
    if problems:
        return problems
    if session.scalar(select(ApiToken.id).where(ApiToken.name == wanted.name)) is not None:
        return (Problem("name", Message.TOKEN_TAKEN),)
    plain = PREFIX + secrets.token_urlsafe(32)
    token = ApiToken(
        token_hash=hash_token(plain), name=wanted.name, institution_id=wanted.institution_id, created_by=by.user_id,
        scopes=sorted(wanted.scopes), created_at=now, expires_at=now + timedelta(days=wanted.days),
    )  # fmt: skip
    session.add(token)
    session.flush()
    _log(session, token, ADDED, by, now, {"scopes": token.scopes, "expires_at": token.expires_at})
    return Made(token, plain)


def find(session: Session, token_hash: str, now: datetime) -> Bearer | None:
    """Whose token this is, if it is neither expired nor revoked. Notes its use, at most once a minute."""
    valid = (ApiToken.token_hash == token_hash) & (ApiToken.expires_at > now) & ApiToken.revoked_at.is_(None)
    found = session.scalar(select(ApiToken).where(valid))
    if found is None:
        return None
    if found.last_used_at is None or found.last_used_at < now - TOUCH_EVERY:
        session.execute(update(ApiToken).where(ApiToken.id == found.id).values(last_used_at=now))
    return Bearer(found.id, found.name, found.institution_id, frozenset(found.scopes), found.expires_at)


def revoke(session: Session, name: str, visible: Scope, *, by: Actor, now: datetime) -> bool:
    """False if there is no such token there, or it was revoked before."""
    mine = visible.where(ApiToken.institution_id), ApiToken.name == name, ApiToken.revoked_at.is_(None)
    token = session.scalar(select(ApiToken).where(*mine).with_for_update())
    if token is None:
        return False
    token.revoked_at = now
    _log(session, token, REVOKED, by, now, {})
    return True


def list_tokens(session: Session, visible: Scope) -> Sequence[ApiToken]:
    """Also those that are over, by name."""
    return session.scalars(select(ApiToken).where(visible.where(ApiToken.institution_id)).order_by(ApiToken.name)).all()


def hash_token(token: str) -> str:
    """Unkeyed: 256 bits of chance can't be guessed from their hash."""
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()


def _log(session: Session, token: ApiToken, act: str, by: Actor, now: datetime, after: audit.Facts) -> None:
    subject = f"token:{token.name}"
    audit.append(session, by, act, subject, now=now, institution_id=token.institution_id, after=after)
