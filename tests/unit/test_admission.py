"""Encoders that are turned away, and what of it is on record; keys that are revoked."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from archive.recordings.account import account
from archive.recordings.verify import gaps_of
from core.keys import hash_key
from core.web.http import Request
from core.workers import channel_worker
from ingest.rtmp.door import HandOff, Refusal
from ingest.rtmp.errors import FeedError
from mbashara import feeds
from tests.unit.channel_kit import ANYBODYS, FORMER, KEYS, PEPPER, House, ledger_of, run
from tests.unit.media_kit import picture


@pytest.mark.parametrize(
    ("key", "peer", "cause", "refused"),
    [
        (FORMER, "10.0.0.1:5001", "refused", ["key revoked"]),
        (KEYS["primary"], "192.0.2.1:5001", "refused", ["address not allowed"]),
        (ANYBODYS, "10.0.0.1:5001", None, []),
    ],
    ids=["revoked", "other address", "a stranger"],
)
def test_an_encoder_that_was_turned_away_was_not_waited_for_and_a_strangers_changes_nothing(
    tmp_path: Path, key: str, peer: str, cause: str | None, refused: list[str]
) -> None:
    async def scenario(one: House) -> None:
        one.limit_key()
        feed = await one.on_air(4)
        await one.knock(key, peer)
        one.play(feed, 2)
        one.lose(feed)
        for _ in range(12):
            one.pass_s(5)
            answer = await one.knock(key, peer)
            assert isinstance(answer, Refusal) and answer.code == "NetStream.Publish.Denied"
        told = json.loads(feeds.answer(one.channels, Request("/feeds/refused")).partition(b"\r\n\r\n")[2])
        expected: list[tuple[str | None, ...]] = [("ikulu", "primary", why, peer) for why in refused]
        shown = [(found["channel"], found["role"], found["why"], found.get("address")) for found in told]
        assert shown == (expected or [("", "", "unknown key", None)])
        assert expected or [set(found) for found in told] == [{"channel", "role", "why", "at"}], (
            "nothing of whose it is"
        )
        for _ in range(8):
            one.pass_s(9.5)  # OBS at its sixth try
        assert len(one.channels.refused()) == len(refused) and (one.channels.stranger_ms is None) is bool(refused)
        await one.end()

    run(tmp_path, scenario)
    facts = ledger_of(tmp_path)
    assert [fact["cause"] for fact in facts if fact["fact"] == "refused"] == refused, "once a gap"
    assert [gap["cause"] for gap in gaps_of(facts)] == ([] if cause is None else [cause])
    assert bool(account(facts).waited_ms) is (cause is None)


@pytest.mark.parametrize(
    ("key", "peer", "cause"),
    [(FORMER, "10.0.0.1:5001", "refused"), (KEYS["primary"], "192.0.2.1:5001", "refused"),
     (KEYS["primary"], "10.0.0.1:5001", "feed lost")],
    ids=["revoked", "other address", "in use by the feed that is lost"],
)  # fmt: skip
def test_an_encoder_that_was_turned_away_before_its_feed_was_known_to_be_lost_was_not_waited_for(
    tmp_path: Path, key: str, peer: str, cause: str
) -> None:
    async def scenario(one: House) -> None:
        one.limit_key()
        feed = await one.on_air(4)
        one.pass_s(3)
        await one.knock(key, peer)
        one.pass_s(1)
        one.lose(feed)
        one.wait(30, step_s=5)
        await one.end()

    run(tmp_path, scenario)
    facts = ledger_of(tmp_path)
    assert [fact["at_ms"] for fact in facts if fact["fact"] == "refused"] == [6989]
    assert ([gap["cause"] for gap in gaps_of(facts)], account(facts).waited_ms) == ([cause], 0)


@pytest.mark.parametrize("key", [FORMER, KEYS["primary"]])
def test_who_is_turned_away_is_so_where_the_broadcast_is(tmp_path: Path, key: str) -> None:
    """Another media process could not tell the channel's record of it."""

    async def scenario(one: House) -> None:
        one.limit_key()
        lives_in = channel_worker("ikulu", 2)
        one.serve(worker=1 - lives_in, workers=2)
        answer = await one.knock(key, "192.0.2.1:5001")
        assert answer == HandOff(lives_in)

    run(tmp_path, scenario)


def test_a_key_is_refused_from_other_addresses(tmp_path: Path) -> None:
    async def scenario(one: House) -> None:
        hashed = hash_key(KEYS["primary"], PEPPER)
        one.book.owners[hashed] = replace(one.book.owners[hashed], addresses=("10.0.0.0/24",))
        found = await one.knock(KEYS["primary"], "10.0.1.1:5000")
        assert isinstance(found, Refusal) and found.code == "NetStream.Publish.Denied"
        assert "address" in found.description
        assert one.channel.feeds == {}
        await one.come(peer="10.0.0.9:5000")

    run(tmp_path, scenario)


def test_a_feed_whose_key_is_revoked_is_ended_and_one_whose_key_is_rotated_goes_on(tmp_path: Path) -> None:
    async def scenario(one: House) -> None:
        feed = await one.come()
        assert feed.on_item is None, "held"
        owner = one.book.owners.pop(hash_key(KEYS["primary"], PEPPER))
        one.book.owners["another key's hash"] = owner
        one.channels.know()
        assert feed.on_item is None
        del one.book.owners["another key's hash"]
        one.channels.know()
        assert feed.on_item is not None
        with pytest.raises(FeedError, match="revoked"):
            feed.on_item(feed, picture(0, True))

    run(tmp_path, scenario)
