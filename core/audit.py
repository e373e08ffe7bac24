"""The audit log: every act of staff, append-only, each entry chained to the one before by SHA-256.

A database trigger refuses changes; the chain shows those of someone who can switch the trigger off. Cutting off the
newest entries, or making the whole chain anew, shows against a `Head` that was kept elsewhere: each line of an export
is one.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, select, text
from sqlalchemy.orm import Session

from core.staff.permissions import Scope
from core.staff.tables import AuditEntry

LOCK = 0x6175646974  # any constant of our own: appends take turns, so the chain has one order
GENESIS = "0" * 64
MAX_PAGE = 200
MAX_TEXT = 4000
ROWS_AT_ONCE = 1000
SECRET_PARTS = frozenset({"password", "token", "secret", "key", "keys", "pepper", "hash", "code", "codes"})
SIGNED = ("user_id", "actor", "institution_id", "act", "subject", "before", "after", "address")

COMMAND_LINE = "command line"
"""How the logs call an act by command, of whoever; where the system's name of the person is known it stands behind it
in brackets."""
PROGRAM = "token:"
"""How they call another program: this, and the name of its token."""
WEBHOOKS = "webhooks"
"""How they call what sends messages to other programs, where it acts by itself."""
NOT_LOGGED_IN = "not logged in"
"""How they call whoever tried to come in."""
Facts = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts, and from where. Without an account: the command line, or someone who is not logged in."""

    user_id: int | None
    name: str
    address: str = ""


@dataclass(frozen=True, slots=True)
class Head:
    """An entry that was in the chain when someone looked."""

    entry_id: int
    hash: str


@dataclass(frozen=True, slots=True)
class Broken:
    """The first entry that does not fit the chain, and why."""

    entry_id: int
    why: str


@dataclass(frozen=True, slots=True)
class Filter:
    """What to show; None shows all. `since` is inclusive, `until` is not."""

    user_id: int | None = None
    institution_id: int | None = None
    act: str | None = None
    subject: str | None = None
    since: datetime | None = None
    until: datetime | None = None


def append(
    session: Session,
    by: Actor,
    act: str,
    subject: str,
    *,
    now: datetime,
    institution_id: int | None = None,
    before: Facts | None = None,
    after: Facts | None = None,
) -> AuditEntry:
    """Adds an entry in the caller's transaction. Others wait to append until that ends: append last, commit soon.

    What has a secret's name in `before` and `after` is masked.
    """
    session.flush()  # rows are locked before the chain, in every transaction: none waits for one that waits for it
    session.execute(text("select pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
    entry = AuditEntry(
        at=now.astimezone(UTC),
        user_id=by.user_id,
        actor=_text(by.name),
        institution_id=institution_id,
        act=_text(act),
        subject=_text(subject),
        before=None if before is None else _masked(before),
        after=None if after is None else _masked(after),
        address=_text(by.address),
    )
    newest = head(session)
    entry.previous_hash = GENESIS if newest is None else newest.hash
    entry.hash = _digest(entry)
    session.add(entry)
    session.flush()
    return entry


def head(session: Session) -> Head | None:
    row = session.execute(select(AuditEntry.id, AuditEntry.hash).order_by(AuditEntry.id.desc()).limit(1)).one_or_none()
    return None if row is None else Head(row.id, row.hash)


def verify(session: Session, *, kept: Head | None = None) -> Broken | None:
    """Reads the whole chain; the first entry that does not fit it, or None. `kept` must still be part of it."""
    expected = GENESIS
    for row in _rows(session, AuditEntry.id > 0):
        if row.previous_hash != expected:
            return Broken(row.id, "it does not follow the entry before it")
        if row.hash != _digest(row):
            return Broken(row.id, "it was changed")
        if kept is not None and row.id == kept.entry_id and row.hash == kept.hash:
            kept = None
        expected = row.hash
    return None if kept is None else Broken(kept.entry_id, "it is no longer part of the chain")


def list_entries(
    session: Session, scope: Scope, wanted: Filter | None = None, *, before_id: int | None = None, limit: int = 50
) -> Sequence[AuditEntry]:
    """A page, newest first; the next one begins before the last one's id."""
    conditions = _condition(scope, wanted or Filter())
    if before_id is not None:
        conditions &= AuditEntry.id < before_id
    query = select(AuditEntry).where(conditions).order_by(AuditEntry.id.desc())
    return session.scalars(query.limit(min(limit, MAX_PAGE))).all()


def export(session: Session, scope: Scope, wanted: Filter | None = None) -> Iterator[str]:
    """JSON Lines, oldest first, with what each hash was made of, so that anyone can check them."""
    for row in _rows(session, _condition(scope, wanted or Filter())):
        line = {"id": row.id, **_signed(row), "previous_hash": row.previous_hash, "hash": row.hash}
        yield json.dumps(line, ensure_ascii=False) + "\n"


def difference(old: Facts, new: Facts) -> tuple[dict[str, object], dict[str, object]]:
    """What of two states differs, as before and after."""
    changed = [name for name in new if old.get(name) != new[name]]
    return {name: old.get(name) for name in changed}, {name: new[name] for name in changed}


def _rows(session: Session, condition: ColumnElement[bool]) -> Iterator[Row[Any]]:
    """Columns, not objects: a session would answer with what it remembers of an object instead of what is stored."""
    query = select(*AuditEntry.__table__.columns).where(condition).order_by(AuditEntry.id)
    yield from session.execute(query.execution_options(yield_per=ROWS_AT_ONCE))


def _condition(scope: Scope, wanted: Filter) -> ColumnElement[bool]:
    asked = {
        AuditEntry.user_id: wanted.user_id,
        AuditEntry.institution_id: wanted.institution_id,
        AuditEntry.act: wanted.act,
        AuditEntry.subject: wanted.subject,
    }
    conditions = [scope.where(AuditEntry.institution_id)]
    conditions += [column == value for column, value in asked.items() if value is not None]
    if wanted.since is not None:
        conditions.append(AuditEntry.at >= wanted.since)
    if wanted.until is not None:
        conditions.append(AuditEntry.at < wanted.until)
    return and_(*conditions)


def _digest(entry: AuditEntry | Row[Any]) -> str:
    canonical = json.dumps(_signed(entry), ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(f"{entry.previous_hash}{canonical}".encode()).hexdigest()


def _signed(entry: AuditEntry | Row[Any]) -> dict[str, object]:
    at = entry.at.astimezone(UTC).isoformat(timespec="microseconds")
    return {"at": at, **{name: getattr(entry, name) for name in SIGNED}}


def _masked(facts: Facts) -> dict[str, object]:
    return {_text(name): "***" if _is_secret(name) and value else _plain(value) for name, value in facts.items()}


def _is_secret(name: str) -> bool:
    return not SECRET_PARTS.isdisjoint(name.lower().split("_"))


def _plain(value: object) -> object:
    """What comes back from jsonb exactly as it went in: no floats, no NUL."""
    match value:
        case None | bool() | int():
            return value
        case str():
            return _text(value)
        case datetime():
            return value.isoformat()
        case Mapping():
            return _masked(value)
        case list() | tuple():
            return [_plain(item) for item in value]
    raise TypeError(f"an audit entry cannot hold {type(value).__name__}")


def _text(value: str) -> str:
    """What PostgreSQL can store, of bounded length. Plain `str` also where it was an enum."""
    return value.encode(errors="replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")[:MAX_TEXT]
