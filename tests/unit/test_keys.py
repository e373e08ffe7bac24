"""Stream keys: hashed with the pepper, and a book that outlives the database and torn files."""

import json
import os
from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from core import keys
from core.broadcasts.plan import Message, Plan
from core.channels import ChannelError, check_addresses, check_slug
from core.keys import KEY_PATTERN, ChannelEntry, KeyBook, KeyOwner, hash_key, new_key

PEPPER = b"p" * 32
OWNER = KeyOwner("ikulu", 1, 7, "primary")


@pytest.fixture
def book(tmp_path: Path) -> KeyBook:
    channels = (ChannelEntry("ikulu", 1, 7),)
    return KeyBook(PEPPER, tmp_path / "keys.json", channels, {hash_key("ufunguo-mkuu", PEPPER): OWNER})


def test_new_keys_are_long_and_different() -> None:
    keys = {new_key() for _ in range(100)}
    assert len(keys) == 100
    assert all(len(key) == 32 and KEY_PATTERN.fullmatch(key) for key in keys)


def test_a_hash_needs_the_pepper() -> None:
    assert hash_key("ufunguo", PEPPER) == hash_key("ufunguo", PEPPER)
    assert hash_key("ufunguo", PEPPER) != hash_key("ufunguo", b"q" * 32)
    assert "ufunguo" not in hash_key("ufunguo", PEPPER)


@pytest.mark.parametrize(
    ("key", "is_taken"),
    [
        ("ufunguo-", True), ("A" * 128, True), ("a_b-C0123", True),
        ("short", False), ("A" * 129, False), ("with space", False), ("slash/slash", False), ("query?x=1", False),
        ("percent%20", False), ("newline-\n", False), ("ufunguo-é", False), ("", False),
    ],
)  # fmt: skip
def test_which_keys_may_be_taken_over(key: str, is_taken: bool) -> None:
    assert bool(KEY_PATTERN.fullmatch(key)) is is_taken


@pytest.mark.parametrize("slug", ["", "Ikulu", "a b", "../x", "a/b", "x" * 41, "ikulu\n", "bungé"])
def test_what_is_no_slug(slug: str) -> None:
    with pytest.raises(ChannelError, match=r"is no slug.* / "):
        check_slug(slug)


def test_lookup(book: KeyBook) -> None:
    assert book.lookup("ufunguo-mkuu") == OWNER
    assert book.lookup("ufunguo-mkuu2") is None
    assert book.lookup(hash_key("ufunguo-mkuu", PEPPER)) is None, "a stolen hash is no key"


def test_a_saved_book_is_read_by_the_next_process(book: KeyBook) -> None:
    book.save()
    other = KeyBook(PEPPER, book.saved_at)
    other.load()
    assert (other.channels, other.owners) == (book.channels, book.owners)
    assert "ufunguo-mkuu" not in book.saved_at.read_text()
    assert [path.name for path in book.saved_at.parent.iterdir()] == ["keys.json"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b'{"channels": [], "keys": {"h": {"channel": "x"}}}',
        b"\xff\xfe",
        b'{"channels": ["x"], "keys": {}}',
    ],
)
def test_a_torn_file_leaves_the_book_as_it_is(book: KeyBook, content: bytes) -> None:
    book.saved_at.write_bytes(content)
    book.load()
    assert book.lookup("ufunguo-mkuu") == OWNER


def test_no_file_yet(book: KeyBook) -> None:
    book.load()
    assert book.lookup("ufunguo-mkuu") == OWNER


def test_saved_facts_are_hashes_and_owners_alone(book: KeyBook) -> None:
    book.save()
    saved = json.loads(book.saved_at.read_text())
    assert set(saved) == {"channels", "keys", "former"}
    assert saved["keys"][hash_key("ufunguo-mkuu", PEPPER)] == {
        "channel": "ikulu", "channel_id": 1, "institution_id": 7, "role": "primary", "addresses": [],
    }  # fmt: skip


def test_a_saved_book_keeps_plans_and_addresses(tmp_path: Path) -> None:
    plan = Plan("p", "a", "live", 1_700_000_000_000, Message("Subiri", "Wait", "warning"))
    channels = (ChannelEntry("ikulu", 1, 7, False, 12.5, plan, "Ikulu", "State House"), ChannelEntry("bunge", 2, 8))
    owner = KeyOwner("ikulu", 1, 7, "primary", ("10.0.0.0/8",))
    KeyBook(PEPPER, tmp_path / "keys.json", channels, {"h": owner}, {"f": OWNER}).save()
    other = KeyBook(PEPPER, tmp_path / "keys.json")
    other.load()
    assert (other.channels, other.owners, other.former) == (channels, {"h": owner}, {"f": OWNER})


def test_a_book_saved_by_an_earlier_version_is_read(tmp_path: Path) -> None:
    saved = {
        "channels": [{"slug": "ikulu", "id": 1, "institution_id": 7}],
        "keys": {"h": {"channel": "ikulu", "channel_id": 1, "institution_id": 7, "role": "primary"}},
    }
    (tmp_path / "keys.json").write_text(json.dumps(saved))
    book = KeyBook(PEPPER, tmp_path / "keys.json")
    book.load()
    assert (book.channels, book.owners) == ((ChannelEntry("ikulu", 1, 7),), {"h": OWNER})


@pytest.mark.parametrize(
    ("networks", "address", "is_allowed"),
    [
        ((), "41.59.0.1", True), ((), "not an address", True),
        (("41.59.0.0/16",), "41.59.255.1", True), (("41.59.0.0/16",), "41.60.0.1", False),
        (("10.0.0.1/32", "41.59.1.2/32"), "41.59.1.2", True), (("10.0.0.1/32",), "not an address", False),
        (("41.59.0.0/16",), "::ffff:41.59.0.1", True), (("2c0f:fe38::/32",), "2c0f:fe38::1", True),
        (("2c0f:fe38::/32",), "[2c0f:fe38::1]", True), (("0.0.0.0/0",), "2c0f:fe38::1", False),
    ],
)  # fmt: skip
def test_a_key_lets_in_from_its_addresses(networks: tuple[str, ...], address: str, is_allowed: bool) -> None:
    assert KeyOwner("ikulu", 1, 7, "primary", networks).allows(address) is is_allowed


@pytest.mark.parametrize(
    ("given", "kept"),
    [(["10.1.2.3"], ["10.1.2.3/32"]), ([" 41.59.3.4/16 "], ["41.59.0.0/16"]), (["::1"], ["::1/128"]), ([], [])],
)
def test_addresses_are_kept_as_networks(given: list[str], kept: list[str]) -> None:
    assert check_addresses(given) == kept


@pytest.mark.parametrize("given", [["10.1.2"], ["10.0.0.0/33"], [""], ["ikulu.go.tz"], ["10.0.0.1"] * 33])
def test_what_is_no_address(given: list[str]) -> None:
    with pytest.raises(ChannelError, match=" / "):
        check_addresses(given)


def test_a_key_that_was_revoked_while_the_disk_was_full_is_saved_as_revoked_once_it_is_not(
    book: KeyBook, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, rows in (("read_running", []), ("_read_channels", ()), ("_read_owners", {})):
        monkeypatch.setattr(keys, name, lambda *_, rows=rows: rows)
    monkeypatch.setattr(KeyBook, "_former", lambda *_: {})
    book.save()
    in_the_way = book.saved_at.with_name(f"{book.saved_at.name}.{os.getpid()}")
    in_the_way.mkdir()
    with pytest.raises(OSError, match="directory"):
        book.refresh(Session())
    in_the_way.rmdir()
    assert book.refresh(Session()) is False
    assert json.loads(book.saved_at.read_text())["keys"] == {}
