"""Broadcasts in a real PostgreSQL: tenants, the log and its export, what of channels and keys is in the book."""

import csv
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, insert, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import Session

from core.broadcasts import acts, events, queries
from core.broadcasts.errors import NoSuchBroadcast
from core.broadcasts.lifecycle import Act, State
from core.broadcasts.plan import Plan
from core.channels import ChannelError, find_key, limit_key, revoke_key, rotate_key, set_life, set_names
from core.keys import MAX_FORMER, KeyBook, hash_key
from core.tables import Broadcast, StreamKey
from tests.live.broadcast_kit import BUDGET, NOW, PEPPER, SECOND, channel, do, kinds, planned, randomness, started
from tests.live.ledger_kit import tell
from tests.live.staff_kit import database
from tests.up import Up

CROSSING = """insert into broadcast_event (broadcast_id, institution_id, at, kind, detail)
    values (:one, :other, now(), 'x', '{}')"""


@pytest.fixture(scope="module")
def engine(mbashara_up: Up) -> Iterator[Engine]:
    with database(mbashara_up, "broadcasts_test") as engine:
        yield engine


# Tenants and the log.


def test_another_institution_finds_nothing(session: Session) -> None:
    broadcast = planned(session)
    stranger = channel(session, "ikulu").institution_id
    with pytest.raises(NoSuchBroadcast):
        queries.find(session, stranger, broadcast.id)
    with pytest.raises(NoSuchBroadcast):
        acts.act(
            session, stranger, broadcast.id, Act.GO_LIVE, NOW, State.SCHEDULED, actor="x", randomness=randomness()
        )  # fmt: skip
    with pytest.raises(NoSuchBroadcast):
        queries.clone(session, stranger, broadcast.id, NOW, actor="x", now=NOW, randomness=randomness())
    assert events.list_events(session, stranger, broadcast.id) == []
    with pytest.raises(IntegrityError):
        session.execute(text(CROSSING), {"one": broadcast.id, "other": stranger})


@pytest.mark.parametrize("change", ["update broadcast_event set kind = 'x'", "delete from broadcast_event"])
def test_the_log_is_appended_to_only(session: Session, change: str) -> None:
    planned(session)
    with pytest.raises(DBAPIError, match="append"):
        session.execute(text(change))


def test_the_log_is_exported_whole(session: Session) -> None:
    broadcast = planned(session, outline=replace(BUDGET, title_sw='=HYPERLINK("x")'))
    left_out = {"fact": "gap", "at": NOW.isoformat(), "cause": "no picture", "rendition": "source"}
    tell(session, broadcast.id,
        started(broadcast, broadcast.id, NOW),
        {"fact": "lost", "at": NOW.isoformat(), "at_ms": 4000, "cause": "stalled"},
        {"fact": "gap", "at": NOW.isoformat(), "from_ms": 4000, "to_ms": 9000, "cause": "feed lost", "is_back": True},
        {"fact": "gap", "at": NOW.isoformat(), "from_ms": 1, "to_ms": 2, "cause": "disk full", "rendition": "144p"},
        {**left_out, "from_ms": 10, "to_ms": 710},
        {**left_out, "from_ms": 800, "to_ms": 1900},
        {"fact": "refused", "at": NOW.isoformat(), "at_ms": 2000, "role": "backup", "cause": "key revoked"},
        {"fact": "spare_back", "at": NOW.isoformat(), "at_ms": 2100, "role": "backup"},
        {"fact": "spare_lost", "at": NOW.isoformat(), "at_ms": 9000, "role": "backup", "goodbye": True},
    )  # fmt: skip
    events.add_event(session, broadcast.institution_id, broadcast.id, NOW, "edit", "=cmd()")
    session.flush()
    key = broadcast.institution_id, broadcast.id
    told = list(events.all_events(session, *key))
    assert [one.kind for one in told] == [
        "schedule",
        "on_air",
        "feed_lost",
        "feed_back",
        "not_recorded",
        "gap",
        "refused",
        "spare_back",
        "spare_lost",
        "edit",
    ]
    assert told[6].detail == {"role": "backup", "cause": "key revoked"}
    assert told[8].detail == {"at_ms": 9000, "role": "backup", "goodbye": True}
    assert told[2].detail == {"at_ms": 4000, "cause": "stalled"}
    table = list(csv.DictReader(events.csv_lines(told)))
    assert [one["kind"] for one in table] == [one.kind for one in told]
    assert table[-1]["actor"] == "'=cmd()", "no spreadsheet takes it for a formula"
    assert json.loads(table[0]["detail"])["title_sw"] == '=HYPERLINK("x")'
    assert [one.kind for one in events.list_events(session, *key, limit=2)] == ["spare_lost", "edit"]


def test_the_log_tells_things_in_the_order_in_which_they_happened(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever presses is in the log at once; what media tells comes a second later."""
    monkeypatch.setattr(events, "PAGE", 2)
    broadcast = planned(session)
    do(session, broadcast, Act.GO_LIVE, NOW + SECOND)
    do(session, broadcast, Act.END, NOW + 9 * SECOND)
    tell(session, broadcast.id, started(broadcast, broadcast.id, NOW + 2 * SECOND))
    told = ["schedule", "go_live", "on_air", "end"]
    assert kinds(session, broadcast) == told
    assert [one.kind for one in events.all_events(session, broadcast.institution_id, broadcast.id)] == told


# Channels and keys.


def test_keys_are_rotated_limited_and_revoked_one_by_one(session: Session, tmp_path: Path) -> None:
    at = channel(session)
    limit_key(session, "bunge", "primary", ["10.1.2.3", "41.59.0.0/16"])
    key = rotate_key(session, "bunge", "primary", pepper=PEPPER, now=NOW)
    book = KeyBook(PEPPER, tmp_path / "keys.json")
    book.refresh(session)
    owner = book.lookup(key)
    assert owner is not None and owner.addresses == ("10.1.2.3/32", "41.59.0.0/16"), "a new key keeps its limits"
    found = find_key(session, at.id, "primary")
    assert found is not None and found.key_hint == key[-4:]
    revoke_key(session, "bunge", "backup", now=NOW)
    book.refresh(session)
    assert [one.role for one in book.owners.values() if one.channel == "bunge"] == ["primary"]
    with pytest.raises(ChannelError, match=" / "):
        limit_key(session, "bunge", "backup", [])
    assert book.lookup_former(key) is None
    rotate_key(session, "bunge", "primary", pepper=PEPPER, now=NOW)
    book.refresh(session)
    former = book.lookup_former(key)
    assert book.lookup(key) is None and former is not None and (former.channel, former.role) == ("bunge", "primary")
    busy = channel(session, "ikulu")
    hashes = (hash_key(f"ufunguo-{number}", PEPPER) for number in range(MAX_FORMER))
    told = {"channel_id": busy.id, "institution_id": busy.institution_id, "role": "primary", "key_hint": "0000"}
    later = {"created_at": NOW, "revoked_at": NOW + timedelta(days=1)}
    session.execute(insert(StreamKey), [{"key_hash": one, **told, **later} for one in hashes])
    book.refresh(session)
    assert book.lookup_former(key) == former and len(book.former) == MAX_FORMER, "whoever changes keys often"


def test_a_channels_life_is_in_the_book(session: Session, tmp_path: Path) -> None:
    broadcast = planned(session)
    book = KeyBook(PEPPER, tmp_path / "keys.json")
    book.refresh(session)
    entry = book.entry("bunge")
    assert entry is not None and (entry.auto_live, entry.reconnect_window_s, entry.plan) == (True, None, None)
    set_life(session, "bunge", auto_live=False, reconnect_window_s=12.5)
    do(session, broadcast, Act.REHEARSE)
    assert book.refresh(session)
    other = KeyBook(PEPPER, tmp_path / "keys.json")
    other.load()
    entry = other.entry("bunge")
    assert entry is not None and (entry.auto_live, entry.reconnect_window_s) == (False, 12.5)
    assert entry.plan == Plan(broadcast.id, broadcast.id, "rehearsal")


def test_a_new_name_is_in_the_book_and_is_that_of_a_feeds_own_broadcast(session: Session, tmp_path: Path) -> None:
    broadcast = planned(session)
    own = "01jdx00000000000000000000f"
    tell(session, own, {**started(broadcast, own, NOW), "plan": own})
    set_names(session, "bunge", name_sw="Bunge la Tanzania", name_en="Parliament of Tanzania")
    book = KeyBook(PEPPER, tmp_path / "keys.json")
    book.refresh(session)
    entry = book.entry("bunge")
    assert entry is not None and (entry.name_sw, entry.name_en) == ("Bunge la Tanzania", "Parliament of Tanzania")
    titles = select(Broadcast.title_en).where(Broadcast.id.in_((own, broadcast.id))).order_by(Broadcast.title_en)
    assert session.scalars(titles).all() == ["Budget Speech", "Parliament of Tanzania"]


def test_the_public_expects_what_is_planned_for_everyone(session: Session) -> None:
    at = channel(session)
    planned(session, at, replace(BUDGET, visibility="unlisted", planned_start_at=NOW))
    public, _ = planned(session, at), planned(session, at, replace(BUDGET, planned_start_at=NOW + timedelta(hours=2)))
    assert queries.next_public(session, "bunge", NOW) == public
    assert queries.next_public(session, "bunge", NOW + timedelta(hours=3)) is None
