"""A broadcast whose feed changes its configuration, and changes it back: each segment names what it needs."""

import asyncio
from pathlib import Path

import pytest

from archive.recordings import verify
from archive.recordings.recover import unfinished
from core.media import fmp4, hls
from core.media.packet import Kind, Packet, Track
from ingest.feed import Feed
from tests.unit.media_kit import AVCC, aac_44k, aac_48k, picture, sound, video_track
from tests.unit.test_broadcast import START_MS, Studio, studio

RECORDING = "0" * 26
OTHER_AVCC = AVCC[:1] + b"\x64" + AVCC[2:]
A, B = (video_track(), aac_48k()), (video_track(config=OTHER_AVCC), aac_44k())


def mark(track: Track) -> bytes:
    return f"of {track.config[:2].hex()} ".encode()


def change(live: Studio, feed: Feed, *tracks: Track) -> None:
    for track in tracks:
        feed.tracks[track.kind] = track
        live.broadcast.take(feed, track)


def play(live: Studio, feed: Feed, from_ms: int, until_ms: int) -> None:
    """In real time; each packet says of which configuration it is. A keyframe every two seconds of its own time."""
    packets = [picture(at_ms, at_ms % 2000 == 0) for at_ms in range(from_ms, until_ms, 40)]
    packets += [sound(at_ms) for at_ms in range(from_ms, until_ms, 21)]
    for packet in sorted(packets, key=lambda one: one.dts_ms):
        live.now_ms = max(live.now_ms, packet.dts_ms)
        live.broadcast.take(feed, marked(packet, feed.tracks[packet.kind]))
    live.broadcast.tick()


def marked(packet: Packet, track: Track) -> Packet:
    return packet._replace(
        payload=bytes(packet.payload)[:5] + mark(track) + b"!" if packet.kind is Kind.VIDEO else mark(track)
    )


def assert_named(folder: Path) -> None:
    """Each segment that an index names is of the initialization segment that it names for it."""
    for name, marks in (("source", (A[0], B[0])), ("source-audio", (A[1], B[1]))):
        segments = hls.read_index((folder / name / "index.m3u8").read_text(), round(START_MS)).segments
        assert segments
        for segment in segments:
            if segment.gap:
                continue
            track = fmp4.read_track((folder / name / hls.init_name(segment.init)).read_bytes())
            data = (folder / name / hls.segment_name(segment.msn)).read_bytes()
            assert [one.config for one in marks if mark(one) in data] == [track.config], (name, segment.msn)


@pytest.mark.parametrize("kinds", [(0,), (1,), (0, 1)], ids=["picture", "sound", "both"])
@pytest.mark.parametrize("kept_ms", [0, 40, 400, 1400, 5000])
def test_each_segment_names_what_it_needs(tmp_path: Path, kinds: tuple[int, ...], kept_ms: int) -> None:
    async def scenario() -> None:
        with studio(tmp_path) as live:
            feed = live.attach()
            play(live, feed, 0, 5000)
            change(live, feed, *(B[kind] for kind in kinds))
            play(live, feed, 5000, 5000 + kept_ms)
            change(live, feed, *(A[kind] for kind in kinds))
            play(live, feed, 5000 + kept_ms, 14_000)
            await live.broadcast.end("test")

    asyncio.run(scenario())
    assert_named(tmp_path / "recordings" / RECORDING)
    assert [one.kind for one in verify.verify(tmp_path / "recordings" / RECORDING).findings] == ["unsigned"]


@pytest.mark.parametrize("kinds", [(0,), (1,), (0, 1)], ids=["picture", "sound", "both"])
def test_a_configuration_that_a_kill_left_without_a_segment_is_not_that_of_the_next(
    tmp_path: Path, kinds: tuple[int, ...]
) -> None:
    async def before() -> None:
        with studio(tmp_path) as live:
            feed = live.attach()
            play(live, feed, 0, 5000)
            change(live, feed, *(B[kind] for kind in kinds))
            live.broadcast.take(feed, marked(picture(6000, True), feed.tracks[Kind.VIDEO]))
            live.broadcast.take(feed, marked(sound(6001), feed.tracks[Kind.AUDIO]))
            live.broadcast.take(feed, marked(picture(6040), feed.tracks[Kind.VIDEO]))

    async def after() -> None:
        (restored,) = unfinished(tmp_path / "recordings", tmp_path / "live", START_MS + 9000)
        with studio(tmp_path, restored) as live:
            live.now_ms = 9000
            feed = live.attach()
            play(live, feed, 0, 5000)
            await live.broadcast.end("test")

    asyncio.run(before())
    asyncio.run(after())
    assert_named(tmp_path / "recordings" / RECORDING)
