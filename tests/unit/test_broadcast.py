"""A broadcast and its feeds, without ffmpeg and network: what is on the air when a feed stumbles."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from archive.recordings.account import account
from archive.recordings.ledger import read_facts
from archive.recordings.recorder import Recorder
from archive.recordings.recover import RestoredRecording
from archive.recordings.verify import NO_MEDIA, NO_PICTURE, NO_SOUND, waited_for
from core.media.packet import AudioTrack, Kind, Packet, Track
from core.media.window import Segment
from ingest.feed import Feed
from mbashara.broadcast import Broadcast, Parameters
from tests.unit.media_kit import aac_44k, aac_48k, picture, sound, video_track

START_MS = 1_700_000_000_000.0


class Studio:
    """A broadcast whose clock the test turns. `set_ms`: by how much the wall clock was set meanwhile."""

    def __init__(
        self, folder: Path, recorder: Recorder, restored: RestoredRecording | None = None, now_ms: float = 0.0,
        set_ms: float = 0.0,
    ) -> None:  # fmt: skip
        self.now_ms, self.set_ms = now_ms, set_ms
        self.recorder = recorder
        (folder / "live/ikulu").mkdir(parents=True, exist_ok=True)
        parameters = Parameters(
            folder / "live", recorder, lambda: START_MS + self.now_ms + self.set_ms, lambda: self.now_ms
        )
        started = restored.started if restored is not None else {"broadcast": "0" * 26, "channel": "ikulu"}
        self.broadcast = Broadcast(parameters, "ikulu", "0" * 26, started, restored)

    def attach(self, kinds: str = "av") -> Feed:
        feed = Feed("f", "primary", lambda *_: None)
        tracks: dict[str, Track] = {"v": video_track(), "a": aac_48k()}
        feed.tracks = {tracks[kind].kind: tracks[kind] for kind in kinds}
        self.broadcast.attach(feed)
        return feed

    def change(self, feed: Feed, track: Track) -> None:
        """Its encoder sends another configuration."""
        feed.tracks[track.kind] = track
        self.broadcast.take(feed, track)

    def play(
        self,
        feed: Feed | None,
        seconds: float,
        first_ms: int,
        kinds: str = "av",
        ahead_ms: int = 0,
        rate_hz: int = 48000,
    ) -> int:
        """A feed's next seconds in real time, from the timestamp `first_ms` on; sound is `ahead_ms` early."""
        count = round(seconds * 1000 / 40)
        packets: list[Packet] = []
        if "v" in kinds:
            packets += [picture(first_ms + 40 * n, n % 50 == 0) for n in range(count)]
        if "a" in kinds:
            frames = range(round(seconds * rate_hz / 1024))
            packets += [sound(first_ms + ahead_ms + n * 1024_000 // rate_hz) for n in frames]
        waiting = sorted(packets, key=lambda one: one.dts_ms - (ahead_ms if one.kind is Kind.AUDIO else 0))
        for passed_ms in range(0, round(seconds * 1000), 20):
            self.now_ms += 20
            while waiting and waiting[0].dts_ms - first_ms <= passed_ms + ahead_ms * (waiting[0].kind is Kind.AUDIO):
                assert feed is not None
                self.broadcast.take(feed, waiting.pop(0))
            if passed_ms % 200 == 0:
                self.broadcast.tick()
        return first_ms + round(seconds * 1000)

    def segments(self, name: str) -> list[Segment]:
        return list(self.broadcast.renditions[name].window.segments)


@contextmanager
def studio(
    folder: Path, restored: RestoredRecording | None = None, now_ms: float = 0.0, set_ms: float = 0.0
) -> Iterator[Studio]:
    recorder = Recorder(folder / "recordings", batch_s=0.001)
    recorder.start()
    try:
        yield Studio(folder, recorder, restored, now_ms, set_ms)
    finally:
        recorder.stop()


def run(scenario: Coroutine[None, None, None]) -> None:
    asyncio.run(scenario)


def is_mixed(segment: Segment) -> bool:
    return len({part.gap for part in segment.parts}) > 1


def test_no_segment_is_part_media_part_gap_when_an_encoder_comes_back(tmp_path: Path) -> None:
    """hls.js 1.7 stops for good at a segment whose first part is sound and whose second is a gap."""

    async def scenario() -> None:
        with studio(tmp_path) as live:
            first = live.attach()
            live.play(first, 9.3, 0, ahead_ms=120)
            live.broadcast.detach()
            live.play(None, 3, 0, kinds="")
            live.play(live.attach(), 8, 777, ahead_ms=50)
            await live.broadcast.end("test")
            for name in ("source", "source-audio"):
                found = live.segments(name)
                assert [one.msn for one in found if is_mixed(one)] == []
                assert any(one.gap for one in found) and sum(one.discontinuity for one in found) == 1
            sounds = sum(part.duration_s for one in live.segments("source-audio") for part in one.parts if not part.gap)
            assert 9.3 + 8 - 0.2 < sounds < 9.3 + 8 + 0.05

    run(scenario())


def test_sound_goes_on_while_the_picture_stands_still(tmp_path: Path) -> None:
    async def scenario() -> None:
        with studio(tmp_path) as live:
            feed = live.attach()
            at = live.play(feed, 6, 0)
            at = live.play(feed, 14, at, kinds="a")
            live.play(feed, 8, at)
            await live.broadcast.end("test")
            picture_gap_s = sum(one.duration_s for one in live.segments("source") if one.gap)
            assert 12 < picture_gap_s < 14.5
            found = live.segments("source-audio")
            assert not any(part.gap for one in found for part in one.parts)
            assert 27.9 < sum(one.duration_s for one in found) < 28.1
            assert sum(one.discontinuity for one in found) == 0
            numbers = [[one.msn for one in live.segments(name)] for name in ("source", "source-audio")]
            assert numbers[0] == numbers[1]

    run(scenario())
    told = list(read_facts(tmp_path / "recordings" / ("0" * 26)))
    assert {one["cause"] for one in told if one["fact"] in ("lost", "gap")} == {NO_PICTURE}, "the sound was there"


def test_what_a_stalled_network_delivers_late_is_kept(tmp_path: Path) -> None:
    """Ten seconds of nothing, then all of it at once: it stands behind the gap, picture and sound."""

    async def scenario() -> None:
        with studio(tmp_path) as live:
            feed = live.attach()
            at = live.play(feed, 6, 0)
            live.play(None, 10, 0, kinds="")
            late = [picture(at + 40 * n, n % 50 == 0) for n in range(250)]
            late += [sound(at + n * 1024 // 48) for n in range(468)]
            for packet in sorted(late, key=lambda one: one.dts_ms):
                live.broadcast.take(feed, packet)
            live.play(feed, 4, at + 10_000)
            await live.broadcast.end("test")
            for name in ("source", "source-audio"):
                found = live.segments(name)
                media_s = sum(part.duration_s for one in found for part in one.parts if not part.gap)
                assert 19.7 < media_s < 20.1, name

    run(scenario())


def test_the_burst_that_an_encoder_begins_with_does_not_put_the_date_ahead(tmp_path: Path) -> None:
    """ffmpeg -re sends its first half second at once, and stays so much ahead of its first packet."""

    async def scenario() -> None:
        with studio(tmp_path) as live:
            feed = live.attach()
            for packet in [picture(40 * n, n % 50 == 0) for n in range(13)] + [sound(21 * n) for n in range(25)]:
                live.broadcast.take(feed, packet)
            live.play(feed, 6, 520)
            end_ms = live.broadcast.origin_ms + live.broadcast.renditions["source"].packager.end_ms
            assert abs(START_MS + live.now_ms - end_ms) < 100

    run(scenario())


SLOW_BURSTS = {
    "evenly": [30 * n for n in range(20)],
    "after a pause": [0, *[300] * 19],
    "by halves": [0, *[200] * 9, *[480] * 10],
    "held up": [*range(0, 240, 40), *[460] * 6, *range(480, 800, 40)],
}
"""When each of its pictures, 40 ms apart, comes."""


@pytest.mark.parametrize("arrivals_ms", SLOW_BURSTS.values(), ids=SLOW_BURSTS)
def test_nor_does_one_that_a_busy_machine_or_a_thin_line_lets_through_slowly(
    tmp_path: Path, arrivals_ms: list[int]
) -> None:
    """The whole of it is waited for: what is on the air by then is where the clock is."""

    async def scenario() -> None:
        with studio(tmp_path) as live:
            feed = live.attach()
            for n, at_ms in enumerate(arrivals_ms):
                live.now_ms = float(at_ms)
                live.broadcast.take(feed, picture(40 * n, n % 50 == 0))
                live.broadcast.take(feed, sound(40 * n))
                live.broadcast.take(feed, sound(40 * n + 21))
            live.play(feed, 6, 40 * len(arrivals_ms))
            end_ms = live.broadcast.origin_ms + live.broadcast.renditions["source"].packager.end_ms
            assert abs(START_MS + live.now_ms - end_ms) < 100
            await live.broadcast.end("test")

    run(scenario())


def test_an_encoder_that_sends_a_few_pictures_at_a_time_is_not_waited_for_longer(tmp_path: Path) -> None:
    async def scenario() -> None:
        with studio(tmp_path) as live:
            feed = live.attach()
            for n in range(15):  # five at a time, the last of them just made
                live.now_ms = float(200 * (n // 5 + 1))
                live.broadcast.take(feed, picture(40 * n, n == 0))
                live.broadcast.take(feed, sound(40 * n))
            assert live.broadcast.has_begun
            await live.broadcast.end("test")

    run(scenario())


def test_a_feed_shorter_than_the_wait_for_it_is_recorded(tmp_path: Path) -> None:
    async def scenario() -> None:
        with studio(tmp_path) as live:
            live.play(live.attach(), 0.2, 0)
            live.broadcast.detach()
            await live.broadcast.end("test")
            assert sum(one.duration_s for one in live.segments("source")) == 0.2

    run(scenario())


def test_an_encoder_that_comes_back_without_its_picture_is_heard(tmp_path: Path) -> None:
    async def scenario() -> None:
        with studio(tmp_path) as live:
            live.play(live.attach(), 5, 0)
            live.broadcast.detach()
            live.play(None, 1, 0, kinds="")
            live.play(live.attach("a"), 9, 333, kinds="a")
            live.broadcast.detach()
            live.play(live.attach(), 5, 0)
            await live.broadcast.end("test")
            for name in ("source", "source-audio"):
                found = live.segments(name)
                assert [one.msn for one in found] == list(range(len(found)))
            picture_s, sound_s = (
                sum(part.duration_s for one in live.segments(name) for part in one.parts if not part.gap)
                for name in ("source", "source-audio")
            )
            assert 9.9 < picture_s < 10.1 and 17.5 < sound_s < 19.1

    run(scenario())


def test_a_picture_that_comes_to_a_broadcast_of_sound_follows_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        with studio(tmp_path) as live:
            feed = live.attach("a")
            at = live.play(feed, 5, 0, kinds="a")
            feed.tracks[Kind.VIDEO] = video_track()
            live.broadcast.take(feed, feed.tracks[Kind.VIDEO])
            live.play(feed, 9, at)
            await live.broadcast.end("test")
            sound_msns = [one.msn for one in live.segments("source-audio")]
            picture_msns = [one.msn for one in live.segments("source")]
            assert sound_msns == list(range(len(sound_msns)))
            assert picture_msns == sound_msns[-len(picture_msns) :]
            assert sum(one.duration_s for one in live.segments("source") if not one.gap) > 6

    run(scenario())


@pytest.mark.parametrize(("first", "then"), [(aac_48k, aac_44k), (aac_44k, aac_48k)])
@pytest.mark.parametrize("kinds", ["av", "a"])
def test_sound_at_another_sample_rate_stays_where_it_is(
    tmp_path: Path, first: Callable[[], AudioTrack], then: Callable[[], AudioTrack], kinds: str
) -> None:
    """Counted in samples of before, a minute is 5 s longer or shorter."""

    async def scenario() -> None:
        with studio(tmp_path) as live:
            feed = live.attach(kinds)
            feed.tracks[Kind.AUDIO] = first()
            at = live.play(feed, 61, 0, kinds, rate_hz=first().timescale)
            live.change(feed, then())
            at = live.play(feed, 10, at, kinds, rate_hz=then().timescale)
            segments = live.segments("source-audio")
            assert segments[-1].init == 1 and segments[-1].discontinuities == 1
            end_ms = segments[-1].start_ms + segments[-1].duration_s * 1000
            assert 66_000 < end_ms <= 71_100
            lacking_s = sum(part.duration_s for one in segments for part in one.parts if part.gap)
            assert lacking_s < 0.1

    run(scenario())


def test_a_configuration_that_is_taken_back_before_it_is_in_force_never_is(tmp_path: Path) -> None:
    async def scenario() -> None:
        with studio(tmp_path) as live:
            feed = live.attach()
            at = live.play(feed, 5, 0)
            for track in (aac_44k(), aac_48k()):
                live.change(feed, track)
                live.broadcast.take(feed, picture(at, True))
                at += 40
            live.play(feed, 5, at)
            assert live.broadcast.renditions["source-audio"].window.track == aac_48k()

    run(scenario())


def test_feeds_that_come_and_go_without_end_leave_a_gap_and_nothing_broken(tmp_path: Path) -> None:
    async def scenario() -> None:
        with studio(tmp_path) as live:
            live.play(live.attach(), 3, 0)
            for _ in range(30):
                live.broadcast.detach()
                live.play(live.attach(), 0.12, 0)
            live.broadcast.detach()
            assert live.broadcast.is_lost
            live.now_ms += 61_000
            live.broadcast.tick()
            live.play(live.attach(), 5, 0)
            assert not live.broadcast.is_lost
            await live.broadcast.end("test")
            found = live.segments("source")
            assert [one.msn for one in found] == list(range(len(found)))

    run(scenario())


ONE_SOUND_MS = 22
"""Longer than 1024 samples at 48 kHz last."""


def left_out(live: Studio, feed: Feed, at_ms: int, seconds: float, kinds: str) -> int:
    """The feed goes on, and leaves out what is not among `kinds`."""
    live.play(feed if kinds else None, seconds, at_ms, kinds)
    return at_ms + round(seconds * 1000)


@pytest.mark.parametrize(
    ("tracks", "kinds", "seconds", "left_out_s", "cause"),
    [("av", "v", 7, {"source": 0, "source-audio": 7}, None),
     ("av", "a", 3, {"source": 3, "source-audio": 0}, NO_PICTURE),
     ("av", "", 2, {"source": 2, "source-audio": 2}, NO_PICTURE),
     ("a", "", 2, {"source-audio": 2}, NO_SOUND)],
    ids=["no sound", "no picture", "neither", "nothing of a broadcast of sound"],
)  # fmt: skip
def test_what_a_feed_leaves_out_is_not_held_to_a_frame(
    tracks: str, kinds: str, seconds: float, left_out_s: dict[str, float], cause: str | None, tmp_path: Path
) -> None:
    async def scenario() -> None:
        with studio(tmp_path) as live:
            feed = live.attach(tracks)
            at_ms = live.play(feed, 5.32, 0, tracks)
            live.play(feed, 5, left_out(live, feed, at_ms, seconds, kinds), tracks)
            await live.broadcast.end("test")

    run(scenario())
    facts = list(read_facts(tmp_path / "recordings" / ("0" * 26)))
    assert [fact["cause"] for fact in facts if fact["fact"] == "gap"] == ([] if cause is None else [cause])
    told, whole_ms = account(facts), (5.32 + 5 + seconds) * 1000
    for one in told.renditions:
        assert abs(whole_ms - left_out_s[one.name] * 1000 - one.held_ms) <= 2 * ONE_SOUND_MS, one
    assert told.best.gaps == () if cause is None else [one.cause for one in told.best.gaps] == [cause]


def test_sound_that_ends_within_a_segment_is_where_the_wait_begins(tmp_path: Path) -> None:
    async def scenario() -> None:
        with studio(tmp_path) as live:
            feed = live.attach()
            live.play(feed, 9.3, live.play(feed, 5.3, 0), kinds="a")
            live.broadcast.detach()
            live.play(None, 9, 0, kinds="")
            await live.broadcast.end("test")

    run(scenario())
    wait = waited_for(list(read_facts(tmp_path / "recordings" / ("0" * 26))))
    assert wait is not None and abs(wait.from_ms - 14_600) <= ONE_SOUND_MS and wait.lost_ms == wait.picture_ms
    assert abs(wait.to_ms - 23_600) <= 30, "not by whole parts"


@pytest.mark.parametrize("is_feed_over", [False, True])
def test_a_picture_that_was_away_at_the_end_is_missing_up_to_where_the_sound_ends(
    tmp_path: Path, is_feed_over: bool
) -> None:
    """Ended before anybody could say that it stands still."""

    async def scenario() -> None:
        with studio(tmp_path) as live:
            feed = live.attach()
            live.play(feed, 4.5, live.play(feed, 5.3, 0), kinds="a")
            if is_feed_over:
                live.broadcast.detach()
            await live.broadcast.end("test")
            assert max(one.duration_s for one in live.segments("source-audio")) < 4.5

    run(scenario())
    facts = list(read_facts(tmp_path / "recordings" / ("0" * 26)))
    (gap,) = (fact for fact in facts if fact["fact"] == "gap")
    assert (gap["from_ms"], gap["cause"]) == (5280, "feed lost" if is_feed_over else NO_PICTURE)
    assert abs(gap["to_ms"] - 9800) <= 2 * ONE_SOUND_MS and facts[-1]["duration_ms"] == gap["to_ms"]
    assert waited_for(facts) is None


@pytest.mark.parametrize("silent_s", [0.01, 2.2, 5])
def test_sound_that_was_away_too_at_the_end_has_a_cause(tmp_path: Path, silent_s: float) -> None:
    async def scenario() -> None:
        with studio(tmp_path) as live:
            feed = live.attach()
            live.play(feed, 9.3, live.play(feed, 5.3, 0), kinds="a")
            live.play(None, silent_s, 0, kinds="")
            await live.broadcast.end("test")

    run(scenario())
    told = account(read_facts(tmp_path / "recordings" / ("0" * 26)))
    assert {gap.cause for one in told.renditions for gap in one.gaps} == {NO_PICTURE, NO_MEDIA}


def test_a_feeds_ordinary_end_is_no_gap(tmp_path: Path) -> None:
    async def scenario() -> None:
        with studio(tmp_path) as live:
            live.play(live.attach(), 5.3, 0)
            live.broadcast.detach()
            await live.broadcast.end("test")

    run(scenario())
    assert not [fact for fact in read_facts(tmp_path / "recordings" / ("0" * 26)) if fact["fact"] == "gap"]


@pytest.mark.parametrize("away_s", [5, 600, 3600])
@pytest.mark.parametrize("is_in_gap", [False, True])
def test_a_process_that_stood_still_or_whose_clock_was_set_took_no_feed_for_silent(
    tmp_path: Path, away_s: int, is_in_gap: bool
) -> None:
    """What a feed sent meanwhile is read a moment after the look at it."""

    async def scenario() -> None:
        with studio(tmp_path) as live:
            feed = live.attach()
            at_ms = live.play(feed, 7.3, 0)
            if is_in_gap:
                live.broadcast.detach()
                live.play(None, 2, 0, kinds="")
            live.now_ms += away_s * 1000
            live.broadcast.tick()
            live.play(live.attach() if is_in_gap else feed, 5, at_ms)
            await live.broadcast.end("test")
            for name in ("source", "source-audio"):
                assert max(one.duration_s for one in live.segments(name)) <= 4.5

    run(scenario())
    facts = list(read_facts(tmp_path / "recordings" / ("0" * 26)))
    gaps = [fact["to_ms"] - fact["from_ms"] for fact in facts if fact["fact"] == "gap"]
    assert len(gaps) == is_in_gap and all(abs(gap - 2000 - away_s * 1000) < 100 for gap in gaps)
    assert [one.held_ms for one in account(facts).renditions] == pytest.approx([12_300, 12_300], abs=2 * ONE_SOUND_MS)
