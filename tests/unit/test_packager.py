"""The packager's rules (8216bis 4.4.4.9, 6.2), on packets that break in the ways feeds break."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.media import fmp4
from core.media.packet import Packet
from core.media.window import Cadence
from tests.unit.media_kit import AVCC, Sink, aac_44k, aac_48k, picture, sound, video_track
from transcode.audio_packager import AudioPackager
from transcode.timeline import FeedClock, Timeline, choose_part_target
from transcode.video_packager import VideoPackager

CADENCE = Cadence()


def lead(fps: float = 25, part_target_s: float = 0.5) -> tuple[VideoPackager, Sink, Timeline]:
    timeline, sink = Timeline(), Sink()
    packager = VideoPackager(timeline, Cadence(part_target_s=part_target_s), sink, leads=True)
    packager.configure(video_track(fps))
    return packager, sink, timeline


def pictures(seconds: float, fps: float = 25, gop_s: float = 2, start_ms: int = 0) -> list[Packet]:
    gop = round(gop_s * fps)
    return [picture(start_ms + round(n * 1000 / fps), n % gop == 0) for n in range(round(seconds * fps))]


@pytest.mark.parametrize("fps", [10, 12.5, 15, 24, 25, 29.97, 30, 50, 59.94, 60])
@pytest.mark.parametrize("part_target_s", [0.2, 0.334, 0.5, 1.0])
def test_no_part_is_above_the_target_and_all_are_full(fps: float, part_target_s: float) -> None:
    target_s = choose_part_target(part_target_s, [1 / fps])
    packager, sink, _ = lead(fps, target_s)
    for packet in pictures(20, fps):
        packager.write(packet)
    assert len(sink.segments) >= 9
    for segment in sink.segments:
        for part in segment.parts:
            assert part.duration_s <= target_s + 1e-9
        for part in segment.parts[:-1]:
            assert part.independent or part.duration_s >= 0.85 * target_s - 1e-9


def test_segments_begin_at_keyframes_and_only_first_parts_are_independent() -> None:
    packager, sink, _ = lead()
    for packet in pictures(10):
        packager.write(packet)
    assert [segment.start_ms for segment in sink.segments] == [0, 2000, 4000, 6000]
    assert all(
        [part.independent for part in segment.parts] == [True, False, False, False, False] for segment in sink.segments
    )
    assert all(segment.duration_s == 2.0 for segment in sink.segments)


def test_a_long_gop_is_cut_before_extinf_would_round_above_the_target_duration() -> None:
    packager, sink, _ = lead()
    for packet in pictures(30, gop_s=20):
        packager.write(packet)
    assert all(round(segment.duration_s) <= CADENCE.target_duration_s for segment in sink.segments)
    assert [segment.parts[0].independent for segment in sink.segments][:3] == [True, False, False]


def test_keyframes_closer_than_a_segment_do_not_make_one_each() -> None:
    packager, sink, _ = lead()
    for packet in pictures(10, gop_s=0.2):
        packager.write(packet)
    assert all(segment.duration_s >= 1.5 for segment in sink.segments)


def test_a_part_holds_the_samples_it_says() -> None:
    packager, sink, _ = lead()
    for packet in pictures(4):
        packager.write(packet)
    packager.end()
    fragments = list(fmp4.fragments(sink.data))
    assert [one.samples for one in fragments] == [12, 12, 12, 12, 2] * 2
    assert [one.decode_time for one in fragments][:3] == [0, 480, 960]
    assert [one.starts_with_key for one in fragments][:6] == [True, False, False, False, False, True]
    assert sink.ended


@pytest.mark.parametrize("track", [aac_48k(), aac_44k()])
def test_aac_does_not_drift_in_twelve_hours(track: object) -> None:
    """RTMP's millisecond timestamps are rounded; durations are not."""
    timeline, sink = Timeline(), Sink()
    packager = AudioPackager(timeline, CADENCE, sink, leads=True)
    packager.configure(track)  # type: ignore[arg-type]
    rate = packager._timescale
    frames = 12 * 3600 * rate // 1024
    for number in range(frames):
        packager.write(sound(number * 1024 * 1000 // rate))
    packager.end()
    assert packager.dropped == 0
    assert sum(segment.duration_s for segment in sink.segments) == pytest.approx(frames * 1024 / rate, abs=1e-4)
    assert not any(part.gap for _, part in sink.parts)
    assert all(round(segment.duration_s) <= 4 for segment in sink.segments)


def test_audio_follows_the_leaders_cuts_within_a_frame() -> None:
    packager, _, timeline = lead()
    follower_sink = Sink()
    follower = AudioPackager(timeline, CADENCE, follower_sink, leads=False)
    follower.configure(aac_48k())
    packets = sorted([*pictures(20), *(sound(n * 1024 // 48) for n in range(930))], key=lambda one: one.dts_ms)
    for packet in packets:
        (follower if packet.payload == b"aac" else packager).write(packet)
        follower.drain()
    assert len(follower_sink.segments) >= 8
    for segment in follower_sink.segments:
        assert 0 <= segment.start_ms - segment.msn * 2000 < 21.4
    assert sum(one.duration_s for one in follower_sink.segments) == pytest.approx(
        2 * len(follower_sink.segments), abs=0.022
    )


def test_audio_ahead_of_video_waits_for_the_cut() -> None:
    """An encoder that sends audio 300 ms before its video must not put it into the segment before."""
    packager, _, timeline = lead()
    sink = Sink()
    follower = AudioPackager(timeline, CADENCE, sink, leads=False)
    follower.configure(aac_48k())
    for packet in sorted(
        [*pictures(8), *(sound(n * 1024 // 48) for n in range(370))],
        key=lambda one: one.dts_ms - (300 if one.payload == b"aac" else 0),
    ):
        (follower if packet.payload == b"aac" else packager).write(packet)
        follower.drain()
    assert all(0 <= segment.start_ms - segment.msn * 2000 < 21.4 for segment in sink.segments)


def test_a_stall_becomes_gap_segments_of_the_target_duration_and_ends_exactly() -> None:
    packager, sink, timeline = lead()
    for packet in pictures(4):
        packager.write(packet)
    for now_ms in range(4500, 13001, 500):
        packager.fill_gap(now_ms)
    packager.resume(13200)
    for packet in pictures(4, start_ms=13200):
        packager.write(packet)
    gaps = [segment for segment in sink.segments if segment.gap]
    assert [segment.duration_s for segment in gaps] == pytest.approx([4.0, 4.0, 1.2])
    assert all(part.gap for segment in gaps for part in segment.parts)
    assert not any(segment.discontinuity for segment in sink.segments), "the same feed went on: no discontinuity"
    starts = [segment.start_ms for segment in sink.segments]
    assert starts == [0, 2000, 4000, 8000, 12000, 13200]
    assert timeline.newest is not None and timeline.newest.start_ms == 15200


def test_every_rendition_breaks_at_the_same_number() -> None:
    packager, sink, timeline = lead()
    follower_sink = Sink()
    follower = VideoPackager(timeline, CADENCE, follower_sink, leads=False)
    follower.configure(video_track())
    for packet in pictures(5):
        packager.write(packet)
        follower.write(packet)
    timeline.break_wanted = True
    packager.resume(9000)
    for packet in pictures(5, start_ms=9000):
        packager.write(packet)
        follower.write(packet)
    broken = [segment.msn for segment in sink.segments if segment.discontinuity]
    assert broken == [segment.msn for segment in follower_sink.segments if segment.discontinuity]
    assert len(broken) == 1
    assert [one.start_ms for one in sink.segments] == [one.start_ms for one in follower_sink.segments]


def test_a_new_configuration_waits_for_the_next_segment() -> None:
    packager, _, timeline = lead()
    sink = Sink()
    follower = VideoPackager(timeline, CADENCE, sink, leads=False)
    follower.configure(video_track())
    for number, packet in enumerate(pictures(8)):
        packager.write(packet)
        follower.write(packet)
        if number == 80:
            follower.configure(video_track(config=AVCC + b"x"))
            timeline.break_wanted = True
    assert [segment.init for segment in sink.segments] == [0, 0, 1]
    assert len(sink.inits) == 2
    assert follower.dropped > 0, "pictures of the new configuration before the cut belong to no segment"
    assert sink.segments[2].discontinuity


def test_a_rendition_that_was_away_says_so_and_keeps_its_numbers() -> None:
    packager, sink, timeline = lead()
    rung_sink = Sink()
    rung = VideoPackager(timeline, CADENCE, rung_sink, leads=False)
    rung.configure(video_track())
    for packet in pictures(20):
        packager.write(packet)
        if not 5000 < packet.dts_ms < 12000:
            rung.write(packet)
    packager.end()
    rung.end()
    assert [one.msn for one in rung_sink.segments] == [one.msn for one in sink.segments]
    assert [one.gap for one in rung_sink.segments] == [n in (3, 4, 5) for n in range(10)]
    assert [one.duration_s for one in rung_sink.segments] == pytest.approx([one.duration_s for one in sink.segments])
    assert not any(one.discontinuity for one in rung_sink.segments)


@pytest.mark.parametrize("away_ms", [17_000, 18_000, 19_000])
def test_a_rendition_that_lacks_the_end_is_as_long_as_the_others(away_ms: int) -> None:
    """A player that has come to the end of a list waits there for good for a segment of a millisecond."""
    packager, sink, timeline = lead()
    rung_sink = Sink()
    rung = VideoPackager(timeline, CADENCE, rung_sink, leads=False)
    rung.configure(video_track())
    for packet in pictures(20):
        packager.write(packet)
        if packet.dts_ms < away_ms:
            rung.write(packet)
    packager.end()
    rung.fill_behind(packager.end_ms)
    rung.end()
    assert [one.msn for one in rung_sink.segments] == [one.msn for one in sink.segments]
    longest = [one.duration_s for one in sink.segments]
    assert [one.duration_s for one in rung_sink.segments][:9] == pytest.approx(longest[:9])
    assert rung_sink.segments[9].duration_s == pytest.approx(longest[9] if away_ms < 19_000 else 1.0)
    assert rung_sink.segments[9].gap is (away_ms < 19_000)


@pytest.mark.parametrize("jump_ms", [86_400_000, -86_400_000, 5_000, -2_000])
def test_a_jump_is_anchored_anew(jump_ms: int) -> None:
    clock = FeedClock()
    assert clock.place(1000, 0, 0, False).broke
    assert clock.place(1040, 40, 40, False) == (40, False)
    placed = clock.place(1080 + jump_ms, 80, 80, False)
    assert placed == (80, True)
    assert clock.place(1120 + jump_ms, 120, 120, False) == (120, False)


@pytest.mark.parametrize(("step_ms", "passed_ms"), [(40, 40), (-1400, 0), (3900, 0), (30_000, 30_000)])
def test_what_is_no_jump(step_ms: int, passed_ms: int) -> None:
    clock = FeedClock()
    clock.place(10_000, 0, 0, False)
    assert not clock.place(10_000 + step_ms, passed_ms, 0, False).broke


def test_late_media_after_a_gap_is_kept_behind_it() -> None:
    clock = FeedClock()
    clock.place(0, 0, 0, False)
    assert clock.place(40, 10_000, 9_900, True) == (10_000, True)


@given(st.lists(st.tuples(st.integers(-(2**33), 2**33), st.booleans(), st.integers(-500, 500)), max_size=60))
@settings(max_examples=200, deadline=None)
def test_no_order_of_timestamps_breaks_the_packager(items: list[tuple[int, bool, int]]) -> None:
    """Whatever the clock lets through: durations stay positive, parts within the target, media times never go back."""
    packager, sink, timeline = lead()
    clock = FeedClock()
    now_ms = 0.0
    for dts_ms, key, cts_ms in items:
        now_ms += 40
        placed = clock.place(dts_ms, now_ms, packager.end_ms, False)
        if placed.broke and packager.end_ms:
            timeline.break_wanted = True
            packager.resume(placed.time_ms)
        packager.write(picture(placed.time_ms, key, cts_ms))
    packager.end()
    fragments = list(fmp4.fragments(sink.data))
    for one, following in itertools.pairwise(fragments):
        assert one.decode_time + one.duration <= following.decode_time
    assert all(0 < part.duration_s <= 0.5 for _, part in sink.parts)
    assert [segment.msn for segment in sink.segments] == list(range(len(sink.segments)))


def test_sound_that_an_encoder_primes_before_the_picture_is_not_the_end_of_a_gap() -> None:
    """A new transcoder's first frames lie before its first picture, while the follower is still at what was before."""
    packager, _, timeline = lead()
    sink = Sink()
    follower = AudioPackager(timeline, CADENCE, sink, leads=False)
    follower.configure(aac_48k())
    for packet in pictures(3):
        packager.write(packet)
    for number in range(140):
        follower.write(sound(number * 1024 // 48))
    packager.fill_gap(8000)
    packager.resume(8100)
    for packet in pictures(3, start_ms=8100):
        packager.write(packet)
    for number in range(140):
        follower.write(sound(8055 + number * 1024 // 48))
    follower.end()
    assert [{part.gap for part in one.parts} for one in sink.segments] == [
        {False},
        {False},
        {True},
        {True},
        {False},
        {False},
    ]
    assert sink.segments[4].start_ms == pytest.approx(8100, abs=25)
    assert follower.dropped == 3


@pytest.mark.parametrize("frames", [137, 140, 143])
def test_a_rungs_sound_ends_at_a_gap_where_the_sources_does(frames: int) -> None:
    """An encoder that is drained gives a frame or two of silence more than it got."""
    packager, _, timeline = lead()
    sinks = Sink(), Sink()
    source = AudioPackager(timeline, CADENCE, sinks[0], leads=False)
    rung = AudioPackager(timeline, CADENCE, sinks[1], leads=False, made_of=source)
    for packet in pictures(3):
        packager.write(packet)
    for follower, count in ((source, frames), (rung, frames + 4)):
        follower.configure(aac_48k())
        for number in range(count):
            follower.write(sound(number * 1024 // 48))
    packager.fill_gap(6000)
    for follower in (source, rung):
        follower.fill_gap(6000)
        follower.end()
    ends = [sum(one.duration_s for one in sink.segments if not one.gap) for sink in sinks]
    assert ends[0] == ends[1] == pytest.approx(frames * 1024 / 48000)
    assert rung.dropped == 4
