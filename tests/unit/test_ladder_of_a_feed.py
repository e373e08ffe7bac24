"""A feed's ladder, with its real ffmpegs: what becomes of the pictures is nothing to the sound."""

import asyncio
from typing import Any

import psutil
import pytest

from core.media import flv
from core.media.packet import Packet, Track
from mbashara.ladder import Ladder
from tests.unit.encoded_kit import FFMPEG, ffmpeg
from transcode.headroom import Headroom


class Rungs:
    """In place of a broadcast's renditions: what of each rung came, to when, in ms."""

    def __init__(self) -> None:
        self.tracks: dict[str, Track] = {}
        self.until_ms: dict[str, int] = {}
        self.by_name: dict[str, Any] = {name: self._Rung(self, name) for name in ("360p", "144p", "low-audio")}

    def configure_rung(self, name: str, track: Track) -> None:
        self.tracks[name] = track

    class _Rung:
        def __init__(self, rungs: "Rungs", name: str) -> None:
            self._rungs, self._name, self.packager = rungs, name, self

        def write(self, packet: Packet) -> None:
            self._rungs.until_ms[self._name] = packet.dts_ms


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> list[Packet | Track]:
    """40 s of 144p and more, with sound."""
    path = tmp_path_factory.mktemp("feed") / "feed.flv"
    ffmpeg(
        "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=10:duration=40", "-f", "lavfi", "-i", "sine=duration=40",
        "-c:v", "libx264", "-preset", "ultrafast", "-g", "10", "-bf", "0", "-pix_fmt", "yuv420p", "-c:a", "aac", path,
    )  # fmt: skip
    return [item for item in flv.TagReader().feed(path.read_bytes()) if item is not None]


def test_sound_goes_on_while_pictures_stand_still(items: list[Packet | Track]) -> None:
    rungs = Rungs()
    ladder = Ladder(FFMPEG, rungs, Headroom())  # type: ignore[arg-type]
    tracks = {item.kind: item for item in items if not isinstance(item, Packet)}
    packets = iter([item for item in items if isinstance(item, Packet)])

    async def scenario() -> None:
        stream = ladder.start(tracks)
        assert stream is not None

        def send(until_ms: int) -> None:
            for packet in packets:
                stream.write(packet)
                if packet.dts_ms >= until_ms:
                    return

        send(5_000)
        await reaches(rungs, 4_500, "144p", "low-audio")
        assert set(rungs.tracks) == {"144p", "low-audio"}
        [pictures] = [one for one in psutil.Process().children() if "libx264" in one.cmdline()]
        pictures.suspend()
        send(20_000)
        await reaches(rungs, 19_500, "low-audio")
        assert rungs.until_ms["144p"] < 19_500
        pictures.kill()
        await ladder.end()

    asyncio.run(scenario())


async def reaches(rungs: Rungs, at_ms: int, *names: str) -> None:
    for _ in range(12_000):
        if all(rungs.until_ms.get(name, 0) >= at_ms for name in names):
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"{names} don't reach {at_ms}: {rungs.until_ms}")
