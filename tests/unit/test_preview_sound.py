"""The preview's sound: made of real AAC in a process of its own that sits in the cage, and what becomes of that."""

import asyncio
import math
import os
import signal
import struct
from collections.abc import Callable, Coroutine, Iterable
from itertools import pairwise
from pathlib import Path

import pytest

from core.media import flv
from core.media.packet import AudioTrack, Packet
from ingest.preview import bridge as bridges
from ingest.preview.bridge import SoundBridge, SoundItem
from ingest.preview.sound import FLOOR_DB, Levels, OpusPacket, Sound, SoundError, SoundReader, write_sound
from tests.unit.encoded_kit import ffmpeg

SOUND = Sound(
    [OpusPacket(960, b"opus"), OpusPacket(1920, b"x" * 1275)], Levels((-21.0, FLOOR_DB), -23.4, FLOOR_DB)
)  # fmt: skip


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory) -> list[SoundItem]:
    """A tone of a second and a half, as an encoder sends it."""
    path = tmp_path_factory.mktemp("sound") / "tone.flv"
    ffmpeg("-f", "lavfi", "-i", "sine=frequency=1000:sample_rate=48000:duration=1.5", "-c:a", "aac", path)
    items = list(flv.TagReader().feed(path.read_bytes()))
    return [item for item in items if isinstance(item, AudioTrack | Packet)]


def later(items: list[SoundItem], by_ms: int) -> list[Packet]:
    return [item._replace(dts_ms=item.dts_ms + by_ms) for item in items if isinstance(item, Packet)]


def packets(told: Iterable[Sound]) -> list[OpusPacket]:
    return [packet for one in told for packet in one.packets]


def is_caged(process_id: int) -> bool:
    status = Path(f"/proc/{process_id}/status").read_text()
    return "Seccomp:\t2" in status and "NoNewPrivs:\t1" in status


def is_gone(process_id: int | None) -> bool:
    return not Path(f"/proc/{process_id}").exists()


def run(scenario: Coroutine[None, None, None]) -> None:
    asyncio.run(asyncio.wait_for(scenario, 120))


async def until(holds: Callable[[], bool]) -> None:
    """Another process works; the scenario's time limit bounds this."""
    while not holds():  # noqa: ASYNC110
        await asyncio.sleep(0.01)


def test_it_is_made_in_the_cage_and_goes_on_when_that_process_dies(sent: list[SoundItem]) -> None:
    async def scenario() -> None:
        told: list[Sound] = []
        bridge = SoundBridge(told.append, pause_s=0.01)
        for item in sent:
            bridge.take(item)
        await until(lambda: len(packets(told)) > 60)
        first = bridge.process_id
        assert first is not None and first != os.getpid()
        assert is_caged(first)
        assert told[-1].levels is not None and told[-1].levels.peak_dbfs == pytest.approx((-18.1,), abs=0.5)
        os.kill(first, signal.SIGKILL)
        await until(lambda: bridge.process_id not in (None, first))
        for item in later(sent, 5000):
            bridge.take(item)
        await until(lambda: len(packets(told)) > 120)
        steps = [after.pts - before.pts for before, after in pairwise(packets(told))]
        assert min(steps) == 960 and sorted(steps)[-2] == 960
        assert max(steps) == pytest.approx((5000 - 1500) * 48, abs=9600), "no longer than the feed's own gap"
        second = bridge.process_id
        await bridge.close()
        assert is_gone(second)

    run(scenario())


def test_one_that_stands_still_is_followed_by_another(sent: list[SoundItem]) -> None:
    """The decoder hangs: as much waits as the pipe holds, and no more."""

    async def scenario() -> None:
        told: list[Sound] = []
        bridge = SoundBridge(told.append, stuck_s=0.2, pause_s=0.01)
        for item in sent:
            bridge.take(item)
        await until(lambda: len(packets(told)) > 60)
        first = bridge.process_id
        assert first is not None
        os.kill(first, signal.SIGSTOP)
        rounds = 0
        while bridge.process_id in (None, first):
            rounds += 1
            for item in later(sent, rounds * 1500):
                bridge.take(item)
            await asyncio.sleep(0.01)
        assert is_gone(first)
        count = len(packets(told))
        for item in later(sent, (rounds + 1) * 1500):
            bridge.take(item)
        await until(lambda: len(packets(told)) > count + 50)
        await bridge.close()

    run(scenario())


@pytest.mark.parametrize("steps", range(5))
def test_it_ends_at_whatever_moment(steps: int, sent: list[SoundItem]) -> None:
    """Between any two steps of what is sent, the last sound just having come."""

    async def scenario() -> None:
        told: list[Sound] = []
        bridge = SoundBridge(told.append)
        for item in sent[:20]:
            bridge.take(item)
        await until(lambda: len(told) > 0)
        for item in sent[20:23]:
            bridge.take(item)
        for _ in range(steps):
            await asyncio.sleep(0)
        await bridge.close()

    asyncio.run(asyncio.wait_for(scenario(), 120))


def test_it_ends_in_the_very_moment_in_which_its_process_does(sent: list[SoundItem]) -> None:
    """Which asyncio's groups of Python 3.11 take for one and the same end."""

    async def scenario() -> None:
        async def close() -> None:
            await bridge.close()
            ended.set()

        def on_sound(_: Sound) -> None:
            tasks.append(asyncio.create_task(close()))
            raise SoundError("bytes that are none of ours")

        ended = asyncio.Event()
        tasks: list[asyncio.Task[None]] = []
        bridge = SoundBridge(on_sound, pause_s=0.01)
        for item in sent:
            bridge.take(item)
        await ended.wait()
        assert bridge.process_id is None

    asyncio.run(asyncio.wait_for(scenario(), 120))


def test_a_flood_ends_it(tmp_path: Path, sent: list[SoundItem], monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that was taken over says more than sound would: the air is not to wait for what it says."""
    flood = write_sound(Sound([OpusPacket(960, b"x")] * 5000, None))
    (tmp_path / "flood").write_bytes(flood * 40)
    monkeypatch.setattr(bridges, "COMMAND", ("/bin/cat", str(tmp_path / "flood")))

    async def scenario() -> None:
        told: list[Sound] = []
        bridge = SoundBridge(told.append, pause_s=600)
        bridge.take(sent[0])
        await until(lambda: bridge.process_id is not None)
        await until(lambda: bridge.process_id is None)
        assert 0 < len(packets(told)) < 50_000
        await bridge.close()

    asyncio.run(asyncio.wait_for(scenario(), 120))


def test_messages_are_read_however_they_are_cut() -> None:
    written, reader = write_sound(SOUND), SoundReader()
    told = [reader.feed(written[at : at + 1]) for at in range(len(written))]
    assert [packet for one in told for packet in one.packets] == SOUND.packets
    levels = [one.levels for one in told if one.levels is not None]
    assert levels == [SOUND.levels] and SoundReader().feed(written) == SOUND


@pytest.mark.parametrize(
    "body",
    [
        struct.pack(">BH", 3, 0),
        struct.pack(">BH", 1, 8) + bytes(8),
        struct.pack(">BH", 1, 0xFFFF),
        struct.pack(">BHQ", 1, 9, 1 << 60) + b"x",
        struct.pack(">BHff", 2, 8, 0, 0),
        struct.pack(">BH", 2, 7) + bytes(7),
        struct.pack(">BH", 2, 4 * 100) + bytes(400),
    ],
)
def test_what_is_none_of_ours_is_no_sound(body: bytes) -> None:
    with pytest.raises(SoundError):
        SoundReader().feed(write_sound(SOUND) + body)


def test_a_level_is_always_a_number() -> None:
    told = SoundReader().feed(struct.pack(">BHfff", 2, 12, math.nan, -math.inf, math.inf)).levels
    assert told == Levels((FLOOR_DB,), FLOOR_DB, FLOOR_DB)
