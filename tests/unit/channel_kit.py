"""A channel and its encoders, for tests: no network, no database, and a clock that the test turns."""

import asyncio
import json
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from archive.recordings.recorder import Recorder
from core.broadcasts.plan import Plan
from core.keys import ChannelEntry, KeyBook, KeyOwner, Role, hash_key
from core.media.hub import Hub
from core.media.packet import Kind
from ingest.feed import Feed
from ingest.rtmp.door import FeedEnd, FeedSink, HandOff, PublishRequest, Refusal
from mbashara.broadcast import Broadcast, Parameters
from mbashara.channel import Channel
from mbashara.channels import Channels
from tests.unit.media_kit import aac_48k, picture, sound, video_track

START_MS = 1_700_000_000_000.0
PEPPER = b"p" * 32
FIRST, SECOND = "01jdx00000000000000000000a", "01jdx00000000000000000000b"
LIVE, REHEARSAL = Plan(FIRST, FIRST, "live"), Plan(FIRST, FIRST, "rehearsal")
LISTINGS = {"rendition", "file", "absent"}
KEYS: dict[Role, str] = {"primary": "ufunguo-mkuu", "backup": "ufunguo-akiba"}
FORMER, ANYBODYS = "ufunguo-wa-zamani", "si-ufunguo-wa-mtu"


class House:
    """One channel, `ikulu`, and its encoders."""

    def __init__(self, folder: Path, recorder: Recorder, auto_live: bool) -> None:
        self.now_ms, self.folder = 0.0, folder
        self._sent_ms: dict[str, int] = {}
        owners = {hash_key(KEYS[role], PEPPER): KeyOwner("ikulu", 1, 7, role) for role in KEYS}
        self.book = KeyBook(PEPPER, folder / "keys.json", (ChannelEntry("ikulu", 1, 7, auto_live),), owners)
        (folder / "live/ikulu").mkdir(parents=True, exist_ok=True)
        self.parameters = Parameters(folder / "live", recorder, lambda: START_MS + self.now_ms, lambda: self.now_ms)
        self.serve()
        self.channels.know()

    def serve(self, worker: int = 0, workers: int = 1) -> None:
        async def refresh() -> None: ...

        self.channels = Channels(
            self.parameters, Hub(), self.book, refresh, worker, workers, reconnect_window_s=30, planned_wait_s=3600,
            clock_s=lambda: self.now_ms / 1000,
        )  # fmt: skip

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
        feed = await self.knock(KEYS[role], peer)
        assert isinstance(feed, Feed)
        feed.tracks = {Kind.VIDEO: video_track(), Kind.AUDIO: aac_48k()}
        return feed

    async def on_air(self, seconds: float) -> Feed:
        """Planned, and what its encoder has sent for so long is seen."""
        self.plan(LIVE)
        feed = await self.come()
        self.play(feed, seconds)
        return feed

    def play(self, feed: Feed, seconds: float) -> None:
        """What the feed sends next, in real time, with a keyframe every two seconds."""
        first_ms, played_ms = self._sent_ms.get(feed.identity, 0), 0
        packets = [picture(first_ms + 40 * n, n % 50 == 0) for n in range(round(seconds * 25))]
        packets += [sound(first_ms + n * 1024 // 48) for n in range(round(seconds * 1000 * 48 / 1024))]
        for packet in sorted(packets, key=lambda one: one.dts_ms):
            self.now_ms += max(0, packet.dts_ms - first_ms - played_ms)
            played_ms = packet.dts_ms - first_ms
            if feed.on_item is not None:
                feed.on_item(feed, packet)
        self._sent_ms[feed.identity] = first_ms + round(seconds * 1000)
        self.tick()

    def resume_at(self, feed: Feed, timestamp_ms: int) -> None:
        """From where its next `play` goes on."""
        self._sent_ms[feed.identity] = timestamp_ms

    def lose(self, feed: Feed, is_clean: bool = False) -> None:
        feed.on_end(FeedEnd(is_clean, "test"))

    async def knock(self, key: str, peer: str = "10.0.0.1:5001") -> FeedSink | Refusal | HandOff:
        """An encoder comes with that key from there."""
        return await self.channels.admit(PublishRequest(key, "live", "", peer, "test"))

    def limit_key(self) -> None:
        """The primary key is good from 10.0.0.0/8 alone; before it there was FORMER."""
        owner = replace(self.book.owners[hash_key(KEYS["primary"], PEPPER)], addresses=("10.0.0.0/8",))
        self.book.owners[hash_key(KEYS["primary"], PEPPER)] = owner
        self.book.former[hash_key(FORMER, PEPPER)] = owner

    def tick(self) -> None:
        self.channels._tick(self.channel)

    def pass_s(self, seconds: float) -> None:
        self.now_ms += seconds * 1000
        self.tick()

    def wait(self, seconds: int, step_s: int = 1) -> None:
        for _ in range(0, seconds, step_s):
            self.pass_s(step_s)

    async def end(self) -> None:
        """People end what is planned, now."""
        self.plan(replace(LIVE, ends_at_unix_ms=round(START_MS + self.now_ms)))
        self.pass_s(3)
        await self.ended()

    def take_up(self, at_ms: float) -> None:
        """What a killed process left, so late."""
        self.now_ms = at_ms
        self.channels.restore(self.folder / "recordings")
        self.channels.know()

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
