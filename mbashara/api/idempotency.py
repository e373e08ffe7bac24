"""Idempotency-Key: the same request sent twice is done once, and answered the same.

The answer is kept in the very transaction that did the work, so there is never the one without the other. What held a
stream key or another secret is kept without its body.
"""

import hashlib
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import delete, select, text
from sqlalchemy.orm import Session

from core.staff.tables import ApiAnswer
from mbashara.api.caller import Caller
from mbashara.api.problems import Kind, Refused, Said

HEADER = "idempotency-key"
MAX_KEY = 100
KEPT = timedelta(hours=24)
PRUNED_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent. `body` is JSON; empty with 204."""

    status: int
    body: str
    location: str | None = None


def find(session: Session, caller: Caller) -> Answer | None:
    """The kept answer; None: do the work, then `keep`. A twin of a request that is being done is told to come back."""
    key = _key(caller)
    if key is None:
        return None
    _lock(session, caller.bearer.token_id, key)
    kept = session.get(ApiAnswer, (caller.bearer.token_id, key))
    if kept is None or kept.created_at <= caller.now - KEPT:
        return None
    if kept.request_hash != _request_hash(caller):
        raise Refused(Kind.KEY_REUSED)
    if kept.body is None:
        raise Refused(Kind.DONE, Said("Keys and secrets are shown once. Rotate them to get new ones."))
    return Answer(kept.status, kept.body, kept.location)


def keep(session: Session, caller: Caller, answer: Answer, *, is_secret: bool) -> None:
    key = _key(caller)
    if key is None:
        return
    session.merge(
        ApiAnswer(
            token_id=caller.bearer.token_id, key=key, request_hash=_request_hash(caller), status=answer.status,
            body=None if is_secret else answer.body, location=answer.location, created_at=caller.now,
        )
    )  # fmt: skip
    session.flush()
    _prune(session, caller)


def _key(caller: Caller) -> str | None:
    return caller.request.headers.get(HEADER) if caller.request.method == "POST" else None


def _lock(session: Session, token_id: int, key: str) -> None:
    """Until the transaction ends. Nobody waits for it: waiting twins would hold the pool's connections."""
    locked = text("select pg_try_advisory_xact_lock(hashtextextended(:name, 0))")
    if not session.scalar(locked, {"name": f"idempotency {token_id} {key}"}):
        raise Refused(Kind.BUSY, headers={"retry-after": "1"})


def _request_hash(caller: Caller) -> str:
    target = f"{caller.request.method} {caller.request.url.path}\n".encode()
    return hashlib.sha256(target + caller.body).hexdigest()


def _prune(session: Session, caller: Caller) -> None:
    old = select(ApiAnswer.token_id, ApiAnswer.key).where(ApiAnswer.created_at <= caller.now - KEPT)
    for token_id, key in session.execute(old.limit(PRUNED_AT_ONCE).with_for_update(skip_locked=True)).all():
        session.execute(delete(ApiAnswer).where(ApiAnswer.token_id == token_id, ApiAnswer.key == key))
