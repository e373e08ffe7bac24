"""A feed that is ahead of the clock: whatever comes next is on the air from its first keyframe on."""

from pathlib import Path

import pytest

from core.media.packet import Packet
from ingest.feed import Feed
from tests.unit.channel_kit import FIRST, House, run
from tests.unit.media_kit import picture, sound


def burst(feed: Feed, from_ms: int, seconds: float) -> list[Packet]:
    """What an encoder sends at once; its pictures say whose they are."""
    frames = range(round(seconds * 25))
    pictures = [picture(from_ms + 40 * n, n == 0)._replace(payload=marked(feed, n)) for n in frames]
    sounds = [sound(from_ms + n * 1024 // 48) for n in range(round(seconds * 1000 * 48 / 1024))]
    return sorted([*pictures, *sounds], key=lambda one: one.dts_ms)


def marked(feed: Feed, number: int) -> bytes:
    return b"\0\0\0\x0a" + (b"\x41" if number else b"\x65") + feed.identity[:8].encode() + bytes([number])


def shown(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in (folder / "recordings" / FIRST / "source").glob("*.m4s"))


@pytest.mark.parametrize("after_ms", [-300, 20, 200])
def test_a_backup_is_on_the_air_from_its_first_keyframe_where_its_primary_was_ahead(
    tmp_path: Path, after_ms: int
) -> None:
    """It begins with a burst, a moment before or after what the primary sent ahead is over."""

    async def scenario(one: House) -> None:
        primary = await one.on_air(4)
        backup = await one.come("backup")
        one.play(primary, 4)
        one.now_ms = 7000
        one.lose(primary)
        one.now_ms = 8000 + after_ms
        one.tick()
        for packet in burst(backup, 0, 0.6):
            one.broadcast.take(backup, packet)
        one.now_ms += 260
        one.broadcast.take(backup, picture(600))
        one.resume_at(backup, 640)
        one.play(backup, 2)
        dropped = one.broadcast.renditions["source"].packager.dropped
        await one.end()
        assert dropped == 0 and marked(backup, 0) in shown(tmp_path)

    run(tmp_path, scenario)


def test_a_feed_whose_clock_is_set_back_while_it_is_ahead_loses_no_keyframe(tmp_path: Path) -> None:
    async def scenario(one: House) -> None:
        feed = await one.on_air(4)
        one.play(feed, 4)
        one.now_ms = 7000
        for packet in burst(feed, 0, 0.6):
            one.broadcast.take(feed, packet)
        one.resume_at(feed, 600)
        one.play(feed, 2)
        dropped = one.broadcast.renditions["source"].packager.dropped
        await one.end()
        assert dropped == 0 and marked(feed, 0) in shown(tmp_path)

    run(tmp_path, scenario)
