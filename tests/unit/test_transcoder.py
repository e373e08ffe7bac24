"""The ladder's real ffmpeg falls behind: a burst, or a moment of standing still, costs no rung; a slow machine does,
until it isn't slow any more."""

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable
from itertools import pairwise
from pathlib import Path

import pytest

from core.media import flv
from core.media.packet import Packet
from core.media.stream import Item, LiveStream
from tests.unit.encoded_kit import FFMPEG, ffmpeg
from transcode import process
from transcode.headroom import FIRST_WAIT_S, SETTLE_S, Headroom
from transcode.process import LIMITS, MOST_LOOKS, PROBED, SOUND_LIMITS, Transcoder, Waits


@pytest.fixture(autouse=True)
def at_our_own_priority(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is tried here is patience, and the machine may be full of other tests."""
    monkeypatch.setattr(process, "LIMITS", LIMITS._replace(niceness=0))
    monkeypatch.setattr(process, "SOUND_LIMITS", SOUND_LIMITS._replace(niceness=0))


class Clock:
    """Of a headroom."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class Desk:
    """A feed, and what its rungs give back."""

    def __init__(self, path: Path, headroom: Headroom | None = None) -> None:
        items = list(flv.TagReader().feed(path.read_bytes()))
        self.stream, self.out_ms, self._sent_ms = LiveStream(), 0, 0
        self.made_ms: dict[str, list[int]] = {}
        tracks = {item.kind: item for item in items if not isinstance(item, Packet) and item is not None}
        self._packets = iter([item for item in items if isinstance(item, Packet)])
        for track in tracks.values():
            self.stream.write(track)
        self.transcoder = Transcoder(FFMPEG, self.stream, tracks, self._take, headroom or Headroom())

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
            self.made_ms.setdefault(name, []).append(item.dts_ms)

    async def runs_on(self) -> None:
        await until(lambda: self.transcoder.process_id is not None)
        await self.reaches(self.send(2))

    async def fall_behind(self) -> None:
        """It stands still until it is started anew."""
        await self.runs_on()
        await self.stand_still()

    async def lose_a_rung(self, clock: Clock) -> None:
        """It falls behind twice, and has no dearest rung then."""
        await self.fall_behind()
        clock.now_s += SETTLE_S
        await self.fall_behind()

    async def stand_still(self) -> None:
        """No bound is so short but here: a machine that is busy with other things must not upset what runs on."""
        child, restarts = self.transcoder.process_id, self.transcoder.restarts
        assert child is not None
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(process, "MAX_LAG_MS", 500)
            patch.setattr(process, "MAX_START_MS", 500)
            os.kill(child, signal.SIGSTOP)
            self.send(6)
            await until(lambda: self.transcoder.restarts > restarts)

    async def stop_for(self, seconds: float) -> None:
        """As on a machine that has much else to do."""
        child = self.transcoder.process_id
        assert child is not None
        os.kill(child, signal.SIGSTOP)
        await asyncio.sleep(seconds)
        os.kill(child, signal.SIGCONT)


async def until(holds: Callable[[], bool]) -> None:
    for _ in range(30_000):
        if holds():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("never, in five minutes")


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sound") / "sound.flv"
    ffmpeg("-f", "lavfi", "-i", "sine=frequency=440:duration=90", "-c:a", "aac", "-b:a", "128k", path)
    return path


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A keyframe each second, at a bitrate of which a pipe holds half a second."""
    path = tmp_path_factory.mktemp("picture") / "picture.flv"
    ffmpeg(
        "-f", "lavfi", "-i", "testsrc2=size=640x362:rate=10:duration=90", "-f", "lavfi", "-i", "sine=duration=90",
        "-c:v", "libx264", "-preset", "ultrafast", "-b:v", "2500k", "-minrate", "2500k", "-maxrate", "2500k",
        "-bufsize", "2500k", "-x264-params", "nal-hrd=cbr", "-g", "10", "-bf", "0", "-pix_fmt", "yuv420p",
        "-c:a", "aac", path,
    )  # fmt: skip
    return path


def run(desk: Desk, scenario: Callable[[], Awaitable[None]]) -> None:
    async def whole() -> None:
        task = asyncio.create_task(desk.transcoder.run())
        await scenario()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(whole())


@pytest.mark.parametrize(("made_of", "behind"), [("picture", 15), ("sound", 10)])
def test_the_source_goes_before_its_ladder(
    made_of: str, behind: int, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ffmpeg asks for as much of the processors as there is; what puts the source on record must not wait."""
    monkeypatch.setattr(process, "LIMITS", LIMITS)
    monkeypatch.setattr(process, "SOUND_LIMITS", SOUND_LIMITS)
    desk, own = Desk(request.getfixturevalue(made_of)), os.nice(0)

    async def scenario() -> None:
        await desk.reaches(desk.send(2))
        process_id = desk.transcoder.process_id
        assert process_id is not None
        assert os.getpriority(os.PRIO_PROCESS, process_id) == min(own + behind, 19)

    run(desk, scenario)


def test_a_burst_costs_no_rung(sound: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the process stood still for a while."""
    monkeypatch.setattr(process, "LAG_CHECK_S", 0.05)
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

    async def scenario() -> None:
        await desk.fall_behind()
        assert desk.transcoder.left_out == set(), "once is forgiven"
        await desk.fall_behind()
        assert desk.transcoder.left_out == {"low-audio"}

    run(desk, scenario)


def test_one_that_has_fallen_far_behind_is_seen_at_any_bitrate(picture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits for it lies in our own queue: only little of it fits into a pipe."""
    monkeypatch.setattr(process, "LAG_CHECK_S", 0.05)
    desk = Desk(picture)

    async def scenario() -> None:
        await desk.fall_behind()

    run(desk, scenario)


def test_a_rung_comes_back_and_the_others_lack_nothing(picture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "LAG_CHECK_S", 0.05)
    clock = Clock()
    desk = Desk(picture, Headroom(clock))

    async def scenario() -> None:
        await desk.lose_a_rung(clock)
        assert desk.transcoder.left_out == {"360p"}
        await desk.runs_on()
        assert desk.transcoder.left_out == {"360p"}
        restarts, before = desk.transcoder.restarts, {name: len(times) for name, times in desk.made_ms.items()}
        clock.now_s += FIRST_WAIT_S
        while desk.transcoder.left_out:
            await asyncio.sleep(0.1)
            await desk.reaches(desk.send(0.5))
        await desk.reaches(desk.send(3))
        assert desk.transcoder.restarts == restarts, "it was meant to be"
        since = {name: times[before[name] :] for name, times in desk.made_ms.items()}
        for name, most_ms in (("360p", 101), ("144p", 101), ("low-audio", 44)):
            steps = {after - one for one, after in pairwise(since[name])}
            assert min(steps) > 0 and max(steps) <= most_ms, f"{name} goes on, frame by frame"

    run(desk, scenario)


def test_a_ladder_without_any_rung_tries_again(sound: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "LAG_CHECK_S", 0.05)
    clock = Clock()
    desk = Desk(sound, Headroom(clock))

    async def scenario() -> None:
        await desk.lose_a_rung(clock)
        assert desk.transcoder.left_out == {"low-audio"}
        desk.send(2)
        await asyncio.sleep(0.3)
        assert desk.transcoder.process_id is None
        clock.now_s += FIRST_WAIT_S
        await until(lambda: desk.transcoder.process_id is not None)
        await desk.reaches(desk.send(4))
        assert desk.transcoder.left_out == set()

    run(desk, scenario)


def test_one_that_rests_ends_with_its_feed(sound: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its ffmpeg has just died: none is started that nobody would ever feed or end."""
    monkeypatch.setattr(process, "FIRST_BACKOFF_S", 0.5)
    desk = Desk(sound)

    async def scenario() -> None:
        task = asyncio.create_task(desk.transcoder.run())
        await desk.reaches(desk.send(2))
        child = desk.transcoder.process_id
        assert child is not None
        os.kill(child, signal.SIGKILL)
        await until(lambda: desk.transcoder.process_id is None)
        desk.transcoder.finish()
        await asyncio.wait_for(task, 60)
        assert desk.transcoder.process_id is None

    asyncio.run(scenario())


def test_a_feed_that_ends_just_as_a_rest_is_over_leaves_nothing_behind(
    sound: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "FIRST_BACKOFF_S", 0.5)
    desk = Desk(sound)

    async def scenario() -> None:
        task = asyncio.create_task(desk.transcoder.run())
        await desk.reaches(desk.send(2))
        child = desk.transcoder.process_id
        assert child is not None
        os.kill(child, signal.SIGKILL)
        await until(lambda: desk.transcoder.process_id is None)
        await asyncio.sleep(0.2)
        asyncio.get_running_loop().call_later(0.4, desk.transcoder.finish)
        asyncio.get_running_loop().call_soon(time.sleep, 0.6)  # the loop sees both at once
        done, _ = await asyncio.wait({task}, timeout=60)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert done and desk.transcoder.process_id is None

    asyncio.run(scenario())


def test_one_that_falls_behind_before_a_rung_is_tried_again_does_not_try_it(
    picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next keyframe, from which on it was to be made, is a while off."""
    monkeypatch.setattr(process, "LAG_CHECK_S", 0.05)
    clock = Clock()
    desk = Desk(picture, Headroom(clock))

    async def scenario() -> None:
        await desk.lose_a_rung(clock)
        assert desk.transcoder.left_out == {"360p"}
        await desk.runs_on()
        clock.now_s += FIRST_WAIT_S
        await asyncio.sleep(0.3)  # it is to be tried
        await desk.stand_still()
        assert desk.transcoder.left_out == {"360p", "144p"}
        await until(lambda: desk.transcoder.process_id is not None)
        before = len(desk.made_ms["144p"])
        await desk.reaches(desk.send(3))
        assert desk.transcoder.left_out == {"360p", "144p"} and len(desk.made_ms["144p"]) == before

    run(desk, scenario)


def test_pictures_that_come_seldom_are_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slides without sound: ffmpeg begins once it has seen a few of them, and the next is not late as it comes."""
    monkeypatch.setattr(process, "LAG_CHECK_S", 0.25)
    monkeypatch.setattr(process, "MAX_LAG_MS", 60_000)
    monkeypatch.setattr(process, "MAX_START_MS", 60_000)
    path = tmp_path / "slides.flv"
    ffmpeg(
        "-f", "lavfi", "-i", "testsrc2=size=640x362:rate=1/90:duration=1800", "-c:v", "libx264", "-preset", "ultrafast",
        "-g", "2", "-bf", "0", "-pix_fmt", "yuv420p", path,
    )  # fmt: skip
    desk = Desk(path)

    async def scenario() -> None:
        desk.send(1)
        await until(lambda: desk.transcoder.process_id is not None)
        for _ in range(PROBED + 1):
            await asyncio.sleep(0.6)  # it is looked at
            sent_ms = desk.send(90)
        await desk.stop_for(1)
        await desk.reaches(sent_ms)
        for _ in range(3):
            sent_ms = desk.send(90)
            await desk.stop_for(1)
            await desk.reaches(sent_ms)
        assert desk.transcoder.restarts == 0 and desk.transcoder.left_out == set() and desk.made_ms["144p"]

    run(desk, scenario)


def test_waits_are_counted_from_when_what_is_not_made_was_first_seen() -> None:
    clock = Clock()
    waits = Waits(clock)
    assert waits.look(1000, 1000) == 0
    waited_ms = []
    for newest_ms, made_ms in ((2000, 1000), (3000, 1000), (4000, 2000), (4000, 3000), (4000, 4000), (90_000, 4000)):
        waited_ms.append(waits.look(newest_ms, made_ms))
        clock.now_s += 1
    assert waited_ms == [0, 1000, 1000, 1000, 0, 0]
    for _ in range(3 * MOST_LOOKS):
        clock.now_s += 1
        longest_ms = waits.look(90_000, 4000)
    assert longest_ms == 3 * MOST_LOOKS * 1000 + 1000, "however long it lasts"


def test_one_that_does_not_end_is_ended(sound: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It lags by less than what is too much, and would keep all other ladders from their rungs."""
    monkeypatch.setattr(process, "LAG_CHECK_S", 0.05)
    desk = Desk(sound)

    async def scenario() -> None:
        task = asyncio.create_task(desk.transcoder.run())
        await desk.reaches(desk.send(2))
        child = desk.transcoder.process_id
        assert child is not None
        os.kill(child, signal.SIGSTOP)
        desk.send(2)
        desk.transcoder.finish()
        done, _ = await asyncio.wait({task}, timeout=60)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert done and desk.transcoder.left_out == set()

    asyncio.run(scenario())
