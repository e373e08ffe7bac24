"""Feeds against plans: held, put on the air, taken off; no network, no database, and a clock that the test turns."""

import asyncio
import json
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from archive.recordings.account import SOUND_ONLY, account
from archive.recordings.recorder import Recorder
from archive.recordings.verify import PICTURE_MS, gaps_of
from core.broadcasts.plan import Message, Plan
from core.keys import ChannelEntry, KeyBook, KeyOwner, Role, hash_key
from core.media import flv
from core.media.hub import Hub
from core.media.packet import Kind
from core.web.http import Request
from core.workers import channel_worker
from ingest.feed import Feed
from ingest.rtmp.door import FeedEnd, HandOff, PublishRequest, Refusal
from ingest.rtmp.errors import FeedError
from mbashara import feeds
from mbashara.broadcast import Broadcast, Parameters
from mbashara.channels import Channel, Channels
from tests.unit.media_kit import aac_48k, picture, sound, video_track

START_MS = 1_700_000_000_000.0
PEPPER = b"p" * 32
FIRST, SECOND = "01jdx00000000000000000000a", "01jdx00000000000000000000b"
LIVE, REHEARSAL = Plan(FIRST, FIRST, "live"), Plan(FIRST, FIRST, "rehearsal")
LISTINGS = {"rendition", "file", "absent"}
KEYS: dict[Role, str] = {"primary": "ufunguo-mkuu", "backup": "ufunguo-akiba"}


class House:
    """One channel, `ikulu`, and its encoders."""

    def __init__(self, folder: Path, recorder: Recorder, auto_live: bool) -> None:
        self.now_ms, self.folder = 0.0, folder
        owners = {hash_key(KEYS[role], PEPPER): KeyOwner("ikulu", 1, 7, role) for role in KEYS}
        self.book = KeyBook(PEPPER, folder / "keys.json", (ChannelEntry("ikulu", 1, 7, auto_live),), owners)
        (folder / "live/ikulu").mkdir(parents=True, exist_ok=True)
        parameters = Parameters(folder / "live", recorder, lambda: START_MS + self.now_ms)

        async def refresh() -> None: ...

        self.channels = Channels(
            parameters, Hub(), self.book, refresh, reconnect_window_s=30, planned_wait_s=3600,
            clock_s=lambda: self.now_ms / 1000,
        )  # fmt: skip
        self.channels.know()

    @property
    def channel(self) -> Channel:
        return self.channels.channels["ikulu"]

    @property
    def broadcast(self) -> Broadcast:
        assert self.channel.broadcast is not None
        return self.channel.broadcast

    @property
    def state(self) -> dict[str, Any]:
        return dict(json.loads((self.folder / "live/ikulu/state.json").read_text()))

    def plan(self, plan: Plan | None, **settings: Any) -> None:
        """The book is new, and is obeyed."""
        self.book.channels = (replace(self.book.channels[0], plan=plan, **settings),)
        self.channels.know()

    async def come(self, role: Role = "primary", peer: str = "10.0.0.1:5000") -> Feed:
        feed = await self.channels.admit(PublishRequest(KEYS[role], "live", "", peer, "test"))
        assert isinstance(feed, Feed)
        feed.tracks = {Kind.VIDEO: video_track(), Kind.AUDIO: aac_48k()}
        return feed

    def play(self, feed: Feed, seconds: float, first_ms: int = 0) -> int:
        """In real time from the timestamp `first_ms` on, a keyframe every two seconds."""
        packets = [picture(first_ms + 40 * n, n % 50 == 0) for n in range(round(seconds * 25))]
        packets += [sound(first_ms + n * 1024 // 48) for n in range(round(seconds * 1000 * 48 / 1024))]
        for packet in sorted(packets, key=lambda one: one.dts_ms):
            self.now_ms += max(0, packet.dts_ms - first_ms - self.played_ms)
            self.played_ms = packet.dts_ms - first_ms
            if feed.on_item is not None:
                feed.on_item(feed, packet)
        self.played_ms = 0
        self.tick()
        return first_ms + round(seconds * 1000)

    played_ms = 0

    def tick(self) -> None:
        self.channels._tick(self.channel)

    def pass_s(self, seconds: float) -> None:
        self.now_ms += seconds * 1000
        self.tick()

    async def ended(self) -> None:
        assert self.channel.ending is not None
        await self.channel.ending

    def ledger(self, identity: str) -> list[dict[str, Any]]:
        return ledger_of(self.folder, identity)


def ledger_of(folder: Path, identity: str = FIRST) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "recordings" / identity / "ledger.jsonl").open()]


@contextmanager
def house(folder: Path, auto_live: bool = False) -> Iterator[House]:
    recorder = Recorder(folder / "recordings", batch_s=0.001)
    recorder.start()
    try:
        yield House(folder, recorder, auto_live)
    finally:
        recorder.stop()


Scenario = Callable[[House], Coroutine[None, None, None]]


def run(folder: Path, scenario: Scenario, auto_live: bool = False) -> None:
    async def inside() -> None:
        with house(folder, auto_live) as one:
            await scenario(one)

    asyncio.run(inside())


@pytest.mark.parametrize(("auto_live", "plan"), [(False, None), (False, REHEARSAL), (True, REHEARSAL)])
def test_a_feed_is_held(tmp_path: Path, auto_live: bool, plan: Plan | None) -> None:
    async def scenario(one: House) -> None:
        one.plan(plan)
        feed = await one.come()
        one.play(feed, 3)
        assert one.channel.broadcast is None and one.channel.feeds == {"primary": feed}
        assert one.state["state"] == "offline"
        assert [path.name for path in (tmp_path / "live/ikulu").iterdir()] == ["state.json"]
        assert list((tmp_path / "recordings").iterdir()) == []

    run(tmp_path, scenario, auto_live)


def test_a_held_feed_goes_on_the_air_with_the_plans_identity(tmp_path: Path) -> None:
    async def scenario(one: House) -> None:
        one.plan(REHEARSAL)
        feed = await one.come()
        at = one.play(feed, 3.4)
        one.plan(LIVE)
        one.play(feed, 4, at)
        assert (one.state["state"], one.state["broadcast"]) == ("live", FIRST)
        first = one.broadcast.renditions["source"].window
        assert (first.segments or [first.open])[0].start_ms == 0  # type: ignore[union-attr]

    run(tmp_path, scenario)
    assert ledger_of(tmp_path)[0]["plan"] == FIRST


def test_the_primary_feed_goes_before_the_backup_that_came_first(tmp_path: Path) -> None:
    async def scenario(one: House) -> None:
        await one.come("backup")
        primary = await one.come("primary")
        one.plan(LIVE)
        assert one.channel.on_air is primary

    run(tmp_path, scenario)


@pytest.mark.parametrize("is_clean", [True, False])
def test_a_planned_broadcast_is_not_over_because_its_encoder_is(tmp_path: Path, is_clean: bool) -> None:
    async def scenario(one: House) -> None:
        one.plan(LIVE)
        feed = await one.come()
        one.play(feed, 4)
        feed.on_end(FeedEnd(is_clean, "test"))
        one.pass_s(600)
        assert (one.state["state"], one.state["broadcast"]) == ("lost", FIRST)
        again = await one.come()
        one.play(again, 4)
        assert (one.state["state"], one.state["broadcast"]) == ("live", FIRST)
        again.on_end(FeedEnd(is_clean, "test"))
        one.pass_s(3601)
        await one.ended()
        assert one.state["state"] == "ended"
        await one.come()
        one.pass_s(1)
        assert one.channel.broadcast is None, "what has ended is not begun again while the plan still says live"

    run(tmp_path, scenario)
    facts = ledger_of(tmp_path)
    told = [(fact["fact"], fact.get("is_back")) for fact in facts if fact["fact"] not in LISTINGS]
    assert told == [("started", None), ("lost", None), ("gap", True), ("lost", None), ("gap", False), ("ended", None)]


def test_what_is_only_waited_for_is_not_missing_and_what_came_between_is(tmp_path: Path) -> None:
    async def scenario(one: House) -> None:
        for away_s in (20, 31):
            feed = await one.come()
            one.play(feed, 4)
            feed.on_end(FeedEnd(False, "test"))
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
    feed.on_end(FeedEnd(False, "test"))
    again = await one.come()
    _show_nothing(one, again)
    again.on_end(FeedEnd(False, "test"))


async def _no_keyframe_yet(one: House, feed: Feed) -> None:
    feed.on_end(FeedEnd(False, "test"))
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
    for _ in range(10):
        one.pass_s(1)
    again = await one.channels.admit(PublishRequest(KEYS["primary"], "live", "", "10.0.0.1:5001", "test"))
    assert isinstance(again, Refusal)
    feed.on_end(FeedEnd(False, "nothing arrived for too long"))


async def _frozen(one: House, feed: Feed) -> None:
    feed.on_end(FeedEnd(False, "the peer closed the connection"))
    one.pass_s(100)


async def _frozen_before(one: House, feed: Feed) -> None:
    one.now_ms += 100_000
    feed.on_end(FeedEnd(False, "the peer closed the connection"))


async def _frozen_and_told_late(one: House, feed: Feed) -> None:
    one.pass_s(100)
    feed.on_end(FeedEnd(False, "the peer closed the connection"))


@pytest.mark.parametrize(
    "what",
    [_no_keyframe, _no_keyframe_yet, _refused, _turned_away, _frozen, _frozen_before, _frozen_and_told_late],
)
def test_what_an_encoder_may_have_sent_meanwhile_is_missing(
    tmp_path: Path, what: Callable[[House, Feed], Coroutine[None, None, None]]
) -> None:
    async def scenario(one: House) -> None:
        one.plan(LIVE)
        feed = await one.come()
        one.play(feed, 4)
        await what(one, feed)
        for _ in range(10):
            one.pass_s(1)
        one.plan(replace(LIVE, ends_at_unix_ms=round(START_MS + one.now_ms)))
        one.pass_s(3)
        await one.ended()

    run(tmp_path, scenario)
    facts = ledger_of(tmp_path)
    (gap,) = gaps_of(facts)
    assert (gap["cause"], gap["to_ms"], account(facts).waited_ms) == ("feed lost", facts[-1]["duration_ms"], 0)
    assert gap["to_ms"] - gap["from_ms"] > 9000


FORMER, ANYBODYS = "ufunguo-wa-zamani", "si-ufunguo-wa-mtu"


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
        owner = replace(one.book.owners[hash_key(KEYS["primary"], PEPPER)], addresses=("10.0.0.0/8",))
        one.book.owners[hash_key(KEYS["primary"], PEPPER)] = owner
        one.book.former[hash_key(FORMER, PEPPER)] = owner
        one.plan(LIVE)
        feed = await one.come()
        at_ms = one.play(feed, 4)
        await one.channels.admit(PublishRequest(key, "live", "", peer, "test"))
        one.play(feed, 2, at_ms)
        feed.on_end(FeedEnd(False, "test"))
        for _ in range(12):
            one.pass_s(5)
            answer = await one.channels.admit(PublishRequest(key, "live", "", peer, "test"))
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
        one.plan(replace(LIVE, ends_at_unix_ms=round(START_MS + one.now_ms)))
        one.pass_s(3)
        await one.ended()

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
        owner = replace(one.book.owners[hash_key(KEYS["primary"], PEPPER)], addresses=("10.0.0.0/8",))
        one.book.owners[hash_key(KEYS["primary"], PEPPER)] = owner
        one.book.former[hash_key(FORMER, PEPPER)] = owner
        one.plan(LIVE)
        feed = await one.come()
        one.play(feed, 4)
        one.pass_s(3)
        await one.channels.admit(PublishRequest(key, "live", "", peer, "test"))
        one.pass_s(1)
        feed.on_end(FeedEnd(False, "the network is gone"))
        for _ in range(6):
            one.pass_s(5)
        one.plan(replace(LIVE, ends_at_unix_ms=round(START_MS + one.now_ms)))
        one.pass_s(3)
        await one.ended()

    run(tmp_path, scenario)
    facts = ledger_of(tmp_path)
    assert [fact["at_ms"] for fact in facts if fact["fact"] == "refused"] == [6989]
    assert ([gap["cause"] for gap in gaps_of(facts)], account(facts).waited_ms) == ([cause], 0)


@pytest.mark.parametrize("key", [FORMER, KEYS["primary"]])
def test_who_is_turned_away_is_so_where_the_broadcast_is(tmp_path: Path, key: str) -> None:
    """Another media process could not tell the channel's record of it."""

    async def scenario(one: House) -> None:
        owner = replace(one.book.owners[hash_key(KEYS["primary"], PEPPER)], addresses=("10.0.0.0/8",))
        one.book.owners[hash_key(KEYS["primary"], PEPPER)] = owner
        one.book.former[hash_key(FORMER, PEPPER)] = owner
        lives_in = channel_worker("ikulu", 2)
        one.channels._worker, one.channels._workers = 1 - lives_in, 2
        answer = await one.channels.admit(PublishRequest(key, "live", "", "192.0.2.1:5001", "test"))
        assert answer == HandOff(lives_in)

    run(tmp_path, scenario)


def test_the_wait_begins_behind_sound_that_came_without_a_picture(tmp_path: Path) -> None:
    async def scenario(one: House) -> None:
        one.plan(LIVE)
        feed = await one.come()
        one.play(feed, 4)
        feed.on_end(FeedEnd(False, "test"))
        for _ in range(10):
            one.pass_s(1)
        sound_alone = await one.come()
        sound_alone.tracks = {Kind.AUDIO: aac_48k()}
        for number in range(6 * 48000 // 1024):
            assert sound_alone.on_item is not None
            sound_alone.on_item(sound_alone, sound(number * 1024 // 48))
            one.now_ms += 1024 / 48
            if number % 40 == 0:
                one.tick()
        sound_alone.on_end(FeedEnd(False, "test"))
        for _ in range(10):
            one.pass_s(1)
        one.plan(replace(LIVE, ends_at_unix_ms=round(START_MS + one.now_ms)))
        one.pass_s(3)
        await one.ended()

    run(tmp_path, scenario)
    facts = ledger_of(tmp_path)
    found, heard_ms = account(facts), max(one.get("to_ms", 0) for one in facts if one["fact"] == "file")
    assert 19_000 < heard_ms == found.to_ms and found.waited_ms == facts[-1]["duration_ms"] - heard_ms > 9000
    (gap,) = gaps_of(facts)
    assert (gap["cause"], gap["to_ms"]) == ("feed lost", heard_ms)


def test_what_has_just_come_back_at_the_end_is_kept(tmp_path: Path) -> None:
    async def scenario(one: House) -> None:
        one.plan(LIVE)
        feed = await one.come()
        one.play(feed, 4)
        feed.on_end(FeedEnd(False, "test"))
        for _ in range(10):
            one.pass_s(1)
        one.play(await one.come(), 0.2)
        assert one.broadcast.is_lost
        one.plan(replace(LIVE, ends_at_unix_ms=round(START_MS + one.now_ms) - 3000))
        await one.ended()

    run(tmp_path, scenario)
    facts = ledger_of(tmp_path)
    assert [fact["is_back"] for fact in facts if fact["fact"] == "gap"] == [True]
    assert max(fact.get("to_ms", 0) for fact in facts if fact["fact"] == "file") == facts[-1]["duration_ms"]


def test_a_planned_broadcast_whose_feed_never_showed_a_picture_waits(tmp_path: Path) -> None:
    async def scenario(one: House) -> None:
        one.plan(LIVE)
        (await one.come()).on_end(FeedEnd(True, "test"))
        one.pass_s(4000)
        one.play(await one.come(), 3)
        assert one.state["broadcast"] == FIRST

    run(tmp_path, scenario)


@pytest.mark.parametrize("auto_live", [True, False])
def test_the_end_is_carried_out_though_the_encoder_goes_on(tmp_path: Path, auto_live: bool) -> None:
    async def scenario(one: House) -> None:
        one.plan(LIVE)
        feed = await one.come()
        at = one.play(feed, 4)
        one.plan(replace(LIVE, ends_at_unix_ms=round(START_MS + one.now_ms + 10_000)))
        at = one.play(feed, 12, at)
        assert one.state["state"] == "live" and one.channel.ending is None
        one.plan(LIVE)  # undone
        at = one.play(feed, 4, at)
        assert one.state["state"] == "live" and one.channel.ending is None
        one.plan(replace(LIVE, ends_at_unix_ms=round(START_MS + one.now_ms + 10_000)))
        at = one.play(feed, 12.6, at)
        await one.ended()
        assert (one.state["state"], one.state["broadcast"]) == ("ended", FIRST)
        one.plan(None)
        one.play(feed, 4, at)
        assert one.channel.broadcast is None and one.channel.feeds == {"primary": feed}, "held"
        feed.on_end(FeedEnd(False, "test"))
        one.pass_s(20)
        feed = await one.come()
        one.play(feed, 3)
        assert one.channel.broadcast is None, "an encoder that comes back by itself is held as well"
        feed.on_end(FeedEnd(True, "test"))
        one.pass_s(31)
        one.play(await one.come(), 3)
        assert (one.channel.broadcast is not None) is auto_live

    run(tmp_path, scenario, auto_live)


def test_an_undone_go_live_leaves_a_recording_and_nothing_to_watch(tmp_path: Path) -> None:
    async def scenario(one: House) -> None:
        one.plan(LIVE)
        feed = await one.come()
        at = one.play(feed, 5)
        assert (tmp_path / "live/ikulu/index.m3u8").exists()
        one.plan(Plan(FIRST, SECOND, "rehearsal"))
        await one.ended()
        at = one.play(feed, 3, at)
        assert one.state["state"] == "offline" and not (tmp_path / "live/ikulu/index.m3u8").exists()
        one.plan(Plan(FIRST, SECOND, "live"))
        one.play(feed, 5, at)
        assert (one.state["state"], one.state["broadcast"]) == ("live", SECOND)

    run(tmp_path, scenario)
    for identity in (FIRST, SECOND):
        facts = ledger_of(tmp_path, identity)
        assert (facts[0]["broadcast"], facts[0]["plan"]) == (identity, FIRST)
    assert "#EXT-X-ENDLIST" in (tmp_path / f"recordings/{FIRST}/source/index.m3u8").read_text()


def test_a_broadcast_that_a_feed_began_is_as_before(tmp_path: Path) -> None:
    async def scenario(one: House) -> None:
        feed = await one.come()
        one.play(feed, 4)
        identity = one.state["broadcast"]
        one.plan(Plan(identity, identity, "live", message=Message("Karibu", "Welcome", "info"), is_automatic=True))
        assert one.state["message"] == {"sw": "Karibu", "en": "Welcome", "level": "info"}
        feed.on_end(FeedEnd(True, "test"))
        await one.ended()
        assert one.state["state"] == "ended" and one.state["message"] is None
        one.play(await one.come(), 4)
        assert one.state["broadcast"] != identity

    run(tmp_path, scenario, auto_live=True)


def test_a_channels_own_reconnect_window(tmp_path: Path) -> None:
    async def scenario(one: House) -> None:
        one.plan(None, reconnect_window_s=5.0)
        feed = await one.come()
        one.play(feed, 4)
        feed.on_end(FeedEnd(False, "test"))
        one.pass_s(4.9)
        assert one.channel.ending is None
        one.pass_s(0.2)
        await one.ended()
        assert one.state["state"] == "ended"

    run(tmp_path, scenario, auto_live=True)


def test_a_rehearsal_takes_the_channel(tmp_path: Path) -> None:
    async def scenario(one: House) -> None:
        feed = await one.come()
        at = one.play(feed, 4)
        one.plan(REHEARSAL)
        await one.ended()
        one.play(feed, 3, at)
        assert one.channel.broadcast is None and one.state["state"] == "ended"
        one.plan(None)
        one.tick()
        assert one.channel.broadcast is None, "a rehearsal that is cancelled does not put its feed on the air"

    run(tmp_path, scenario, auto_live=True)


def test_a_new_name_is_told_on_the_air(tmp_path: Path) -> None:
    async def scenario(one: House) -> None:
        assert not one.state["name"]
        one.play(await one.come(), 3)
        one.plan(None, name_sw="Ikulu", name_en="State House")
        assert (one.state["state"], one.state["name"]) == ("live", {"sw": "Ikulu", "en": "State House"})

    run(tmp_path, scenario, auto_live=True)


def test_a_message_is_told_before_there_is_a_picture(tmp_path: Path) -> None:
    async def scenario(one: House) -> None:
        one.plan(replace(REHEARSAL, message=Message("Tunaanza saa 4", "We begin at 10", "info")))
        assert (one.state["state"], one.state["message"]["en"]) == ("offline", "We begin at 10")
        one.plan(REHEARSAL)
        assert one.state["message"] is None

    run(tmp_path, scenario)


def test_a_key_is_refused_from_other_addresses(tmp_path: Path) -> None:
    async def scenario(one: House) -> None:
        hashed = hash_key(KEYS["primary"], PEPPER)
        one.book.owners[hashed] = replace(one.book.owners[hashed], addresses=("10.0.0.0/24",))
        found = await one.channels.admit(PublishRequest(KEYS["primary"], "live", "", "10.0.1.1:5000", "test"))
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


@pytest.mark.parametrize(
    ("plan", "is_known", "goes_on"),
    [
        (LIVE, True, True), (None, False, True), (None, True, False), (Plan(FIRST, SECOND, "rehearsal"), True, False),
        (replace(LIVE, ends_at_unix_ms=round(START_MS + 1000)), True, False),
    ],
)  # fmt: skip
def test_after_a_kill_the_plan_is_honoured(tmp_path: Path, plan: Plan | None, is_known: bool, goes_on: bool) -> None:
    async def before(one: House) -> None:
        one.plan(LIVE)
        one.play(await one.come(), 7)

    async def after(one: House) -> None:
        one.now_ms = 600_000
        if not is_known:
            one.book.channels = ()
        else:
            one.book.channels = (replace(one.book.channels[0], plan=plan),)
        one.channels.restore(tmp_path / "recordings")
        one.channels.know()
        assert (one.channel.broadcast is not None) is goes_on
        if goes_on:
            one.play(await one.come(), 3)
            assert (one.state["state"], one.state["broadcast"]) == ("live", FIRST)

    run(tmp_path, before)
    run(tmp_path, after)
    facts = [fact["fact"] for fact in ledger_of(tmp_path)]
    assert ("ended" in facts) is not goes_on


def test_no_time_is_without_a_gap_because_the_process_was_killed_while_there_was_no_feed(tmp_path: Path) -> None:
    """The rows, and with them the API, know of gaps alone."""

    async def before(one: House) -> None:
        one.plan(LIVE)
        feed = await one.come()
        one.play(feed, 7)
        feed.on_end(FeedEnd(False, "test"))
        for _ in range(10):
            one.pass_s(2)

    async def again(one: House) -> None:
        one.plan(LIVE)
        one.now_ms = 40_000
        one.channels.restore(tmp_path / "recordings")
        one.channels.know()
        for _ in range(10):
            one.pass_s(2)

    async def after(one: House) -> None:
        one.plan(LIVE)
        one.now_ms = 80_000
        one.channels.restore(tmp_path / "recordings")
        one.channels.know()
        one.play(await one.come(), 5)

    for scenario in (before, again, after):
        run(tmp_path, scenario)
    gaps = [fact for fact in ledger_of(tmp_path) if fact["fact"] == "gap"]
    assert [(gap["cause"], gap["is_back"]) for gap in gaps] == [
        ("feed lost", False), ("process ended", False), ("process ended", True),
    ]  # fmt: skip
    assert [gap["from_ms"] for gap in gaps] == [7000, *(gap["to_ms"] for gap in gaps[:-1])] and gaps[-1][
        "to_ms"
    ] == 80_000


@pytest.mark.parametrize("is_looked_at", [True, False], ids=["a tick first", "the feed first"])
def test_sound_goes_on_behind_an_outage_of_any_length(tmp_path: Path, is_looked_at: bool) -> None:
    """Of longer than the timeline keeps cuts: who follows must not lose its place."""

    async def before(one: House) -> None:
        one.plan(LIVE)
        one.play(await one.come(), 7)

    async def after(one: House) -> None:
        one.plan(LIVE)
        one.now_ms = 900_000
        one.channels.restore(tmp_path / "recordings")
        one.channels.know()
        if is_looked_at:
            one.tick()
        one.play(await one.come(), 6)
        one.plan(None)
        await one.ended()

    run(tmp_path, before)
    run(tmp_path, after)
    of_picture, of_sound = account(ledger_of(tmp_path)).renditions
    assert abs(of_picture.held_ms - of_sound.held_ms) < 50 and of_sound.held_ms > 12_000
    for name in ("source", "source-audio"):
        index = (tmp_path / f"recordings/{FIRST}/{name}/index.m3u8").read_text()
        assert max(float(line[8:].rstrip(",")) for line in index.splitlines() if line.startswith("#EXTINF:")) <= 4.5


def test_a_recording_that_ended_is_never_written_to_again(tmp_path: Path) -> None:
    """The plan is of an hour ago: the database was away when people ended it."""

    async def before(one: House) -> None:
        one.plan(LIVE)
        one.play(await one.come(), 4)
        one.plan(None)
        await one.ended()

    async def after(one: House) -> None:
        one.channels.restore(tmp_path / "recordings")
        one.plan(LIVE)
        one.play(await one.come(), 3)
        assert one.channel.broadcast is None

    run(tmp_path, before)
    run(tmp_path, after)


def test_the_last_keyframe_of_a_rehearsal_is_not_shown_to_everyone(tmp_path: Path) -> None:
    def shown(one: House) -> bool:
        answer = feeds.answer(one.channels, Request(feeds.KEYFRAME_PATH, "channel=ikulu&role=primary"))
        assert answer.startswith(b"HTTP/1.1 200")
        return b"x-on-air: 1" in answer

    async def scenario(one: House) -> None:
        one.plan(REHEARSAL)
        feed = await one.come()
        keyframe = bytearray(b"\x17\x01\0\0\0" + bytes(picture(0, True).payload))
        feed.on_message(flv.VIDEO, 0, keyframe)
        assert not shown(one)
        one.plan(LIVE)
        assert one.channel.on_air is feed and not shown(one)
        feed.on_message(flv.VIDEO, 2000, keyframe)
        assert shown(one)
        one.plan(REHEARSAL)
        assert not shown(one)

    run(tmp_path, scenario)


def test_a_feeds_last_sound_is_handed_out_once(tmp_path: Path) -> None:
    def asked(one: House, known: str = "") -> bytes:
        query = f"channel=ikulu&role=primary&known={known}"
        return feeds.answer(one.channels, Request(feeds.SOUND_PATH, query))

    async def scenario(one: House) -> None:
        feed = await one.come()
        assert asked(one).startswith(b"HTTP/1.1 404")
        feed.on_message(flv.AUDIO, 0, bytearray(b"\xaf\x00\x11\x90"))
        feed.on_message(flv.AUDIO, 0, bytearray(b"\xaf\x01first"))
        feed.on_message(flv.AUDIO, 0, bytearray(b"\xaf\x01second"))  # an encoder's clock may stand still
        answer = asked(one)
        assert answer.startswith(b"HTTP/1.1 200") and b"first" in answer and b"second" in answer
        known = answer.split(b"etag: ")[1].split(b"\r\n")[0].decode()
        assert asked(one, known).startswith(b"HTTP/1.1 304")
        feed.on_message(flv.AUDIO, 0, bytearray(b"\xaf\x01third"))
        assert b"third" in asked(one, known)

    run(tmp_path, scenario)
