"""What of a time without a feed is a wait, and what is missing."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path

import pytest

from archive.recordings.account import SOUND_ONLY, account
from archive.recordings.verify import PICTURE_MS, gaps_of
from core.media.packet import Kind
from ingest.feed import Feed
from ingest.rtmp.door import FeedEnd, Refusal
from tests.unit.channel_kit import KEYS, LIVE, START_MS, House, ledger_of, run
from tests.unit.media_kit import aac_48k, picture, sound


def test_what_is_only_waited_for_is_not_missing_and_what_came_between_is(tmp_path: Path) -> None:
    async def scenario(one: House) -> None:
        for away_s in (20, 31):
            feed = await one.come()
            one.play(feed, 4)
            one.lose(feed)
            for _ in range(away_s):
                one.pass_s(1)
                await asyncio.sleep(0)
        await one.ended()

    run(tmp_path, scenario, auto_live=True)
    (ledger,) = (tmp_path / "recordings").glob("*/ledger.jsonl")
    facts = [json.loads(line) for line in ledger.open()]
    found = account(facts)
    away, *rest = found.best.gaps
    assert (away.cause, round(away.length_ms / 1000), round(found.waited_ms / 1000)) == ("feed lost", 20, 31)
    assert [gap.cause for gap in rest] == [SOUND_ONLY] and rest[0].length_ms <= PICTURE_MS
    assert [gap["to_ms"] for gap in gaps_of(facts)] == [away.to_ms]


async def _no_keyframe(one: House, feed: Feed) -> None:
    one.lose(feed)
    again = await one.come()
    _show_nothing(one, again)
    one.lose(again)


async def _no_keyframe_yet(one: House, feed: Feed) -> None:
    one.lose(feed)
    _show_nothing(one, await one.come())


def _show_nothing(one: House, feed: Feed) -> None:
    for number in range(1, 100):
        assert feed.on_item is not None
        feed.on_item(feed, picture(40 * number, False))
        one.now_ms += 40
    one.tick()


async def _refused(one: House, feed: Feed) -> None:
    feed.on_end(FeedEnd(False, "This stream key was revoked.", is_refused=True))


async def _turned_away(one: House, feed: Feed) -> None:
    """The network went, and the encoder is back before that is known here."""
    one.wait(10)
    again = await one.knock(KEYS["primary"], "10.0.0.1:5001")
    assert isinstance(again, Refusal)
    one.lose(feed)


async def _frozen(one: House, feed: Feed) -> None:
    one.lose(feed)
    one.pass_s(100)


async def _frozen_before(one: House, feed: Feed) -> None:
    one.now_ms += 100_000
    one.lose(feed)


async def _frozen_and_told_late(one: House, feed: Feed) -> None:
    one.pass_s(100)
    one.lose(feed)


@pytest.mark.parametrize(
    "what",
    [_no_keyframe, _no_keyframe_yet, _refused, _turned_away, _frozen, _frozen_before, _frozen_and_told_late],
)
def test_what_an_encoder_may_have_sent_meanwhile_is_missing(
    tmp_path: Path, what: Callable[[House, Feed], Coroutine[None, None, None]]
) -> None:
    async def scenario(one: House) -> None:
        feed = await one.on_air(4)
        await what(one, feed)
        one.wait(10)
        await one.end()

    run(tmp_path, scenario)
    facts = ledger_of(tmp_path)
    (gap,) = gaps_of(facts)
    assert (gap["cause"], gap["to_ms"], account(facts).waited_ms) == ("feed lost", facts[-1]["duration_ms"], 0)
    assert gap["to_ms"] - gap["from_ms"] > 9000


def test_the_wait_begins_behind_sound_that_came_without_a_picture(tmp_path: Path) -> None:
    async def scenario(one: House) -> None:
        feed = await one.on_air(4)
        one.lose(feed)
        one.wait(10)
        sound_alone = await one.come()
        sound_alone.tracks = {Kind.AUDIO: aac_48k()}
        for number in range(6 * 48000 // 1024):
            assert sound_alone.on_item is not None
            sound_alone.on_item(sound_alone, sound(number * 1024 // 48))
            one.now_ms += 1024 / 48
            if number % 40 == 0:
                one.tick()
        one.lose(sound_alone)
        one.wait(10)
        await one.end()

    run(tmp_path, scenario)
    facts = ledger_of(tmp_path)
    found, heard_ms = account(facts), max(one.get("to_ms", 0) for one in facts if one["fact"] == "file")
    assert 19_000 < heard_ms == found.to_ms and found.waited_ms == facts[-1]["duration_ms"] - heard_ms > 9000
    (gap,) = gaps_of(facts)
    assert (gap["cause"], gap["to_ms"]) == ("feed lost", heard_ms)


def test_what_has_just_come_back_at_the_end_is_kept(tmp_path: Path) -> None:
    async def scenario(one: House) -> None:
        feed = await one.on_air(4)
        one.lose(feed)
        one.wait(10)
        one.play(await one.come(), 0.2)
        assert one.broadcast.is_lost
        one.plan(replace(LIVE, ends_at_unix_ms=round(START_MS + one.now_ms) - 3000))
        await one.ended()

    run(tmp_path, scenario)
    facts = ledger_of(tmp_path)
    assert [fact["is_back"] for fact in facts if fact["fact"] == "gap"] == [True]
    assert max(fact.get("to_ms", 0) for fact in facts if fact["fact"] == "file") == facts[-1]["duration_ms"]


def test_a_feed_that_is_back_before_what_it_sent_ahead_is_over_is_back_all_the_same(tmp_path: Path) -> None:
    """A late encoder that catches up is ahead of the clock: of such a loss nothing is missing."""

    async def before(one: House) -> None:
        feed = await one.on_air(2)
        since_ms = one.now_ms
        one.play(feed, 6)
        one.now_ms = since_ms + 1000
        one.lose(feed)
        one.pass_s(2)
        one.play(await one.come(), 8)

    async def after(one: House) -> None:
        one.plan(LIVE)
        one.take_up(30_000)
        await one.end()

    run(tmp_path, before)
    run(tmp_path, after)
    facts = ledger_of(tmp_path)
    lost, back, *_ = (one for one in facts if one["fact"] in ("lost", "back", "gap"))
    assert (lost["fact"], lost["at_ms"], back["fact"], back["at_ms"]) == ("lost", 8000, "back", 8000)
    assert {one["cause"] for one in gaps_of(facts)} == {"process ended"}, "of the kill alone"
