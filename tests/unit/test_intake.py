"""When what came first was, where its first keyframe is long in coming."""

from collections.abc import Callable, Iterator

import pytest

from core.media.packet import Packet
from ingest.feed import Feed
from mbashara.intake import Intake
from tests.unit.media_kit import aac_48k, picture, sound, video_track

BEGAN_MS = 1_700_000_000_000.0
SPAN_MS = 1_200_000


def slow_clock() -> Iterator[tuple[float, Packet]]:
    """A clock that is slower than ours by a thousandth."""
    for at_ms in range(0, SPAN_MS, 400):
        yield at_ms * 1.001, sound(at_ms)


def begun_again() -> Iterator[tuple[float, Packet]]:
    """Timestamps begin anew, as they would in an hour's time and more."""
    for at_ms in range(0, SPAN_MS, 400):
        yield at_ms, sound(at_ms if at_ms >= SPAN_MS - 2000 else at_ms + 4_000_000)


def stood_still() -> Iterator[tuple[float, Packet]]:
    """The line was away for ten seconds, and what was sent meanwhile never came."""
    for at_ms in range(0, SPAN_MS, 400):
        yield at_ms + (10_000 if at_ms >= SPAN_MS - 2000 else 0), sound(at_ms)


@pytest.mark.parametrize("came", [slow_clock, begun_again, stood_still])
def test_a_keyframe_that_is_long_in_coming_is_now(came: Callable[[], Iterator[tuple[float, Packet]]]) -> None:
    feed = Feed("f", "primary", lambda *_: None)
    feed.tracks = {one.kind: one for one in (video_track(), aac_48k())}
    intake = Intake(feed)
    for now_ms, packet in came():
        if intake.keep(packet, BEGAN_MS + now_ms):
            assert intake.begin(BEGAN_MS + now_ms) == []
    key = picture(packet.dts_ms, True)
    assert intake.keep(key, BEGAN_MS + now_ms)
    assert intake.begin(BEGAN_MS + now_ms)[0] is key
    assert intake.lead_ms < 1000
