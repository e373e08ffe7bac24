"""The ladder's real ffmpeg falls behind: a burst, or a moment of standing still, costs no rung; a slow machine does."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from core.media import flv
from core.media.packet import Packet
from core.media.stream import Item, LiveStream
from tests.unit.encoded_kit import FFMPEG, ffmpeg
from transcode import process
from transcode.process import Transcoder


class Desk:
    """A feed of sound, and what its one rung gives back."""

    def __init__(self, path: Path) -> None:
        items = list(flv.TagReader().feed(path.read_bytes()))
        self.stream, self.out_ms, self._sent_ms = LiveStream(), 0, 0
        tracks = {item.kind: item for item in items if not isinstance(item, Packet) and item is not None}
        self._packets = iter([item for item in items if isinstance(item, Packet)])
        for track in tracks.values():
            self.stream.write(track)
        self.transcoder = Transcoder(FFMPEG, self.stream, tracks, self._take)

    def send(self, seconds: float) -> int:
        """At once. Returns the time of the last, in ms."""
        until_ms = self._sent_ms + seconds * 1000
        for packet in self._packets:
            self.stream.write(packet)
            self._sent_ms = packet.dts_ms
            if self._sent_ms >= until_ms:
                break
        return self._sent_ms

    async def reaches(self, at_ms: int) -> None:
        await until(lambda: self.out_ms >= at_ms - 200)

    def _take(self, name: str, item: Item) -> None:
        if isinstance(item, Packet):
            self.out_ms = max(self.out_ms, item.dts_ms)


async def until(holds: Callable[[], bool]) -> None:
    for _ in range(6000):
        if holds():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("never, in a minute")


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sound") / "sound.flv"
    ffmpeg("-f", "lavfi", "-i", "sine=frequency=440:duration=90", "-c:a", "aac", "-b:a", "128k", path)
    return path


def run(desk: Desk, scenario: Callable[[], Awaitable[None]]) -> None:
    async def whole() -> None:
        task = asyncio.create_task(desk.transcoder.run())
        await scenario()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(whole())


def test_the_source_goes_before_its_ladder(sound: Path) -> None:
    """The ffmpeg asks for as much of the processors as there is; what puts the source on record must not wait."""
    desk, own = Desk(sound), os.nice(0)

    async def scenario() -> None:
        await desk.reaches(desk.send(2))
        process_id = desk.transcoder.process_id
        assert process_id is not None
        assert os.getpriority(os.PRIO_PROCESS, process_id) == min(own + 15, 19)

    run(desk, scenario)


def test_a_burst_costs_no_rung(sound: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the process stood still for a while."""
    monkeypatch.setattr(process, "LAG_CHECK_S", 0.005)
    desk = Desk(sound)

    async def scenario() -> None:
        await desk.reaches(desk.send(2))
        desk.send(20)
        for _ in range(600):
            desk.send(0.1)
            await asyncio.sleep(0.02)
            if desk.out_ms > 22_000:
                break
        assert desk.transcoder.left_out == set() and desk.out_ms > 22_000

    run(desk, scenario)


def test_one_that_falls_behind_again_and_again_does(sound: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "LAG_CHECK_S", 0.05)
    desk = Desk(sound)

    async def fall_behind() -> None:
        await desk.reaches(desk.send(2))
        child, restarts = desk.transcoder.process_id, desk.transcoder.restarts
        assert child is not None
        os.kill(child, signal.SIGSTOP)
        desk.send(6)
        await until(lambda: desk.transcoder.restarts > restarts)

    async def scenario() -> None:
        await fall_behind()
        assert desk.transcoder.left_out == set(), "once is forgiven"
        await asyncio.sleep(process.FIRST_BACKOFF_S)
        await until(lambda: desk.transcoder.process_id is not None)
        await fall_behind()
        assert desk.transcoder.left_out == {"low-audio"}

    run(desk, scenario)
