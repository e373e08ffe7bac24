"""The audit log on a real PostgreSQL: changes are refused, and those of who can switch the refusal off are found."""

import hashlib
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from core import audit
from core.audit import GENESIS, Actor, Broken, Filter, Head
from core.database import transaction
from core.staff.permissions import Scope
from core.staff.tables import AuditEntry
from tests.live.staff_kit import database
from tests.up import Up

NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)
ASHA = Actor(7, "Asha Juma", "197.250.1.7")
ALL = Scope(True, frozenset())
FOREIGN = (
    "insert into audit_entry (at, actor, act, subject, address, previous_hash, hash) "
    "values (now(), '', '', '', '', '', '')"
)


@pytest.fixture(scope="module")
def engine(mbashara_up: Up) -> Iterator[Engine]:
    with database(mbashara_up, "audit_test", pool_size=8) as engine:
        yield engine


def fill(session: Session, entries: int = 6) -> list[int]:
    return [
        audit.append(
            session,
            ASHA,
            "channel.edit",
            f"channel:{number % 2}",
            now=NOW + timedelta(seconds=number),
            institution_id=number % 3 or None,
            before={"name_sw": f"Chaneli {number}"},
            after={"name_sw": "Bunge Ünguja", "parts": [1, True, None], "more": {"at": NOW}},
        ).id
        for number in range(entries)
    ]


def test_a_whole_chain(session: Session) -> None:
    assert audit.verify(session) is None and audit.head(session) is None
    ids = fill(session)
    session.expire_all()
    assert audit.verify(session) is None
    newest = audit.head(session)
    assert newest is not None and newest.entry_id == ids[-1]
    assert audit.verify(session, kept=newest) is None


@pytest.mark.parametrize(
    "statement",
    [
        "update audit_entry set actor = 'x'", "update audit_entry set actor = 'x' where false",
        "delete from audit_entry", "truncate audit_entry",
        "set session_replication_role = replica; delete from audit_entry",
    ],
)  # fmt: skip
def test_the_database_refuses_changes(session: Session, statement: str) -> None:
    fill(session)
    with pytest.raises(DBAPIError, match="audit_entry is append-only"), session.begin_nested():
        for part in statement.split("; "):
            session.execute(text(part))
    assert audit.verify(session) is None


@pytest.mark.parametrize(
    ("tampering", "found_at"),
    [
        ("update audit_entry set actor = 'Juma' where id = :c", 2),
        ("update audit_entry set after = jsonb_set(after, '{name_sw}', '\"x\"') where id = :c", 2),
        ("update audit_entry set before = null where id = :c", 2),
        ("update audit_entry set at = at + interval '1 microsecond' where id = :c", 2),
        ("update audit_entry set institution_id = 9 where id = :c", 2),
        ("update audit_entry set hash = previous_hash where id = :c", 2),
        ("delete from audit_entry where id = :c", 3),
        ("delete from audit_entry where id = :a", 1),
        ("update audit_entry set id = case id when :c then :d else :c end where id in (:c, :d)", 2),
        ("update audit_entry set id = :last + 1 where id = :a", 1),
    ],
)
def test_tampering_is_found(session: Session, tampering: str, found_at: int) -> None:
    ids = fill(session)
    untriggered(session, "alter table audit_entry drop constraint audit_entry_pkey")
    untriggered(session, tampering, a=ids[0], c=ids[2], d=ids[3], last=ids[-1])
    broken = audit.verify(session)
    assert broken is not None and broken.entry_id == ids[found_at]


def untriggered(session: Session, statement: str, **values: int) -> None:
    """As a superuser who hides an act would."""
    session.execute(text("alter table audit_entry disable trigger append_only"))
    session.execute(text(statement), {name: value for name, value in values.items() if f":{name}" in statement})
    session.execute(text("alter table audit_entry enable always trigger append_only"))


def test_an_entry_put_in_by_hand_is_found(session: Session) -> None:
    ids = fill(session)
    session.execute(text(FOREIGN))
    broken = audit.verify(session)
    assert broken is not None and broken.entry_id > ids[-1]


def test_an_end_cut_off_shows_against_a_head_that_was_kept(session: Session) -> None:
    ids = fill(session)
    kept = audit.head(session)
    untriggered(session, "delete from audit_entry where id = :last", last=ids[-1])
    assert audit.verify(session) is None, "the chain alone cannot tell"
    assert kept is not None
    assert audit.verify(session, kept=kept) == Broken(ids[-1], "it is no longer part of the chain")
    fill(session, 1)
    assert audit.verify(session, kept=kept) is not None
    assert audit.verify(session, kept=Head(ids[0], GENESIS)) is not None


def test_threads_that_append_at_once_make_one_chain(engine: Engine) -> None:
    started = threading.Barrier(6)

    def work() -> None:
        started.wait()
        for _ in range(5):
            with transaction(engine) as session:
                fill(session, 2)

    try:
        threads = [threading.Thread(target=work) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        with transaction(engine) as session:
            assert len(session.scalars(select(AuditEntry.id)).all()) == 60
            assert audit.verify(session) is None
    finally:
        with transaction(engine) as session:
            untriggered(session, "truncate audit_entry")


def test_what_is_secret_is_masked_at_any_depth(session: Session) -> None:
    after = {"stream_key": "siri", "role": "editor", "old": {"password_hash": "siri", "tokens_left": 3, "code": None}}
    entry = audit.append(session, ASHA, "x", "y", now=NOW, after=after)
    assert entry.after == {
        "stream_key": "***",
        "role": "editor",
        "old": {"password_hash": "***", "tokens_left": 3, "code": None},
    }


def test_hostile_text_does_not_break_the_chain(session: Session) -> None:
    after = {"title": "a\0b \ud800 \u2028 '; drop table audit_entry", "long": "x" * 10_000, "number": 10**30}
    entry = audit.append(session, Actor(None, "x\0"), "x", "y", now=NOW, after=after)
    session.expire_all()
    assert audit.verify(session) is None
    assert entry.after is not None and len(entry.after["long"]) == audit.MAX_TEXT
    with pytest.raises(TypeError, match="float"):
        audit.append(session, ASHA, "x", "y", now=NOW, after={"share": 0.1})


def test_pages_and_filters(session: Session) -> None:
    ids = fill(session, 7)
    first = audit.list_entries(session, ALL, limit=3)
    second = audit.list_entries(session, ALL, before_id=first[-1].id, limit=3)
    assert [entry.id for entry in (*first, *second)] == ids[:0:-1]

    def found(scope: Scope = ALL, **wanted: object) -> list[int]:
        return [ids.index(entry.id) for entry in audit.list_entries(session, scope, Filter(**wanted))]  # type: ignore[arg-type]

    assert found(subject="channel:1") == [5, 3, 1]
    assert found(act="user.log_in") == found(user_id=8) == []
    assert found(since=NOW + timedelta(seconds=2), until=NOW + timedelta(seconds=4)) == [3, 2]
    assert found(Scope(False, frozenset({1}))) == [4, 1]
    assert found(Scope(False, frozenset({1})), institution_id=2) == []
    assert found(Scope(False, frozenset())) == []


def test_an_export_can_be_checked_by_anyone(session: Session) -> None:
    ids = fill(session)
    lines = [json.loads(line) for line in audit.export(session, ALL)]
    assert [line["id"] for line in lines] == ids
    previous = GENESIS
    for line in lines:
        assert line["previous_hash"] == previous
        signed = {name: value for name, value in line.items() if name not in ("id", "previous_hash", "hash")}
        canonical = json.dumps(signed, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        previous = hashlib.sha256((line["previous_hash"] + canonical).encode()).hexdigest()
        assert previous == line["hash"]


def test_what_differs() -> None:
    old, new = {"a": 1, "b": [1], "c": None}, {"a": 1, "b": [2], "c": "x"}
    assert audit.difference(old, new) == ({"b": [1], "c": None}, {"b": [2], "c": "x"})
