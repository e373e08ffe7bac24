"""What is judged of a feed, second by second: measures, limits, words, series. Real feeds are in tests/live."""

import json
from dataclasses import replace

import pytest

from core.media.packet import Kind, Packet, Track
from core.web.i18n import Language
from ingest.feed import Feed
from ingest.health.compare import compare
from ingest.health.drift import ClockDrift
from ingest.health.feed_health import Held
from ingest.health.foreign import Foreign, read_foreign
from ingest.health.issues import Issue, IssueType, Level, State, issue, state
from ingest.health.judge import Seen, judge
from ingest.health.limits import Limits
from ingest.health.measure import WINDOW_SAMPLES, Measurer, Measures
from ingest.health.meter import read_key
from ingest.health.series import COLUMNS, MAX_ANSWER_ROWS, MAX_BYTES, ROW_BYTES, Series, Tier
from ingest.health.texts import TEXTS, explain
from tests.unit.media_kit import aac_44k, aac_48k, video_track

LIMITS = Limits()
FINE = Measures(
    window_s=10, video_bps=800_000, audio_bps=128_000, frame_rate=25, gop_s=2, gop_min_s=2, gop_max_s=2, gop_mean_s=2,
    pace=1, av_offset_s=0,
)  # fmt: skip
TRACKS: dict[Kind, Track] = {Kind.VIDEO: video_track(), Kind.AUDIO: aac_48k()}


# Judging.


def found(measures: Measures) -> set[IssueType]:
    return {one.type for one in judge(Seen(measures, TRACKS), LIMITS)}


def test_nothing_is_wrong_with_a_good_feed() -> None:
    assert found(FINE) == set()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"video_bps": 249_999}, {IssueType.BITRATE_LOW}),
        ({"video_bps": 250_000}, set()),
        ({"video_bps": 2_000_001}, {IssueType.BITRATE_HIGH}),
        ({"video_bps": 2_900_000, "frame_rate": 50}, set()),
        ({"frame_rate": 23.7}, {IssueType.FRAMES_MISSING}),
        ({"frame_rate": 23.8}, set()),
        ({"gop_max_s": 3.1}, {IssueType.GOP_SIZE_LONG}),
        ({"gop_max_s": 4.0}, {IssueType.GOP_SIZE_LONG}),
        ({"gop_max_s": 4.04}, {IssueType.GOP_SIZE_OVER}),
        ({"gop_min_s": 0.2}, set()),  # a scene change
        ({"pace": 0.94}, {IssueType.VIDEO_INGESTION_STARVED}),
        ({"pace": 0.96}, set()),
        ({"pace": 1.2, "lead_s": 0.9}, set()),  # a burst at the beginning, or a backlog
        ({"pace": 1.2, "lead_s": 1.1}, {IssueType.VIDEO_INGESTION_FASTER_THAN_REALTIME}),
        ({"pace": 0.5, "window_s": 3}, set()),  # too short to say
        ({"av_offset_s": -0.6}, {IssueType.AV_OFFSET}),
        ({"audio_silent_s": 3}, {IssueType.NO_AUDIO_STREAM}),
        ({"video_silent_s": 5, "audio_silent_s": 4, "pace": 0.4, "jumps": 9}, {IssueType.VIDEO_INGESTION_STARVED}),
        ({"frame_rate": None, "video_bps": None, "audio_bps": None, "pace": None, "gop_max_s": None}, set()),
    ],
)
def test_limits(change: dict[str, float], expected: set[IssueType]) -> None:
    assert found(replace(FINE, **change)) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize(("width", "height"), [(1920, 1080), (1280, 720), (854, 480), (640, 360), (1080, 1920)])
def test_usual_sizes_are_fine(width: int, height: int) -> None:
    track = replace(video_track(), width=width, height=height)
    low_bps, high_bps = LIMITS.video_bps(min(width, height), 25)
    measures = replace(FINE, video_bps=(low_bps + high_bps) / 2)
    assert judge(Seen(measures, {Kind.VIDEO: track, Kind.AUDIO: aac_48k()}), LIMITS) == ()


def test_a_kind_that_was_never_announced_may_be_meant_so() -> None:
    silent = replace(FINE, video_silent_s=60)
    assert judge(Seen(silent, TRACKS), LIMITS)[0].level is Level.ERROR
    assert judge(Seen(silent, {Kind.AUDIO: aac_48k()}), LIMITS)[0].level is Level.WARNING


def test_what_differs_is_told_with_the_others_value() -> None:
    other = Seen(replace(FINE, gop_mean_s=4), {**TRACKS, Kind.AUDIO: aac_44k()})
    assert compare(Seen(FINE, TRACKS), other, LIMITS) == (
        issue(IssueType.AUDIO_SAMPLE_RATE_MISMATCH, 48000, 44100),
        issue(IssueType.GOP_MISMATCH, 2, 4),
    )
    gone = replace(FINE, video_silent_s=9, audio_silent_s=9)
    assert compare(Seen(FINE, TRACKS), replace(other, measures=gone), LIMITS) == ()


def test_a_feed_is_as_bad_as_its_worst_issue() -> None:
    info, warning, error = (Issue(IssueType.OPEN_GOP, level) for level in Level)
    assert state([], True) is state([info], True) is State.GOOD
    assert state([info, warning], True) is State.OK
    assert state([error, warning], True) is State.BAD
    assert state([error], False) is State.NO_DATA


OPEN = issue(IssueType.OPEN_GOP)


@pytest.mark.parametrize(
    ("seen", "told"),
    [
        ("xx", ".."),
        ("xxxx", "...x"),
        ("xx.xxxx", "......x"),  # a break begins anew
        ("xxxx....xx.....", "...xxxxxxxxxxx."),  # found again before it was cleared
        ("xxxx.....xxxx", "...xxxxx....x"),
    ],
)
def test_an_issue_does_not_flicker(seen: str, told: str) -> None:
    held = Held(appear_s=3, clear_s=5)
    answers = [held.update(now_s, [OPEN] if one == "x" else []) for now_s, one in enumerate(seen)]
    assert "".join("x" if OPEN in answer else "." for answer in answers) == told


# Measuring.


def frame(dts_ms: int, key: bool = False, cts_ms: int = 0) -> Packet:
    return Packet(Kind.VIDEO, dts_ms, cts_ms, key, b"\0\0\0\1\x65" if key else b"\0\0\0\1\x41")


def measured(seconds: int, first_ms: int = 0) -> Measurer:
    """25 pictures and 50 sounds a second, a keyframe every two."""
    measurer = Measurer()
    for second in range(seconds):
        for n in range(25):
            at_ms = first_ms + second * 1000 + n * 40
            measurer.video.take_picture(frame(at_ms, key=(second * 25 + n) % 50 == 0, cts_ms=80 * (n % 2)))
            measurer.audio.take(at_ms, 100)
            measurer.audio.take(at_ms + 20, 100)
        measurer.sample(second + 1)
    return measurer


@pytest.mark.parametrize("first_ms", [0, 50, 3_600_000])
def test_what_a_window_tells(first_ms: int) -> None:
    measures = measured(20, first_ms).sample(21)
    assert measures.window_s == WINDOW_SAMPLES
    assert (measures.frame_rate, measures.video_bps, measures.audio_bps) == (25, 1000, 40_000)
    assert (measures.gop_s, measures.gop_min_s, measures.gop_max_s) == (2, 2, 2)
    assert (measures.reorder_s, measures.jumps, measures.av_offset_s) == (0.08, 0, 0.02)
    assert (measures.pace, measures.video_silent_s) == (0.9, 1)


def test_a_gop_without_an_end_is_already_long() -> None:
    measurer = measured(4)
    for n in range(250):
        measurer.video.take_picture(frame(4000 + n * 40))
    assert measurer.sample(5).gop_max_s == pytest.approx(11.96)


@pytest.mark.parametrize("to_ms", [0, 3000, 1 << 31])
def test_a_jump_is_counted_and_is_no_media(to_ms: int) -> None:
    measurer = measured(12)
    measurer.video.take_picture(frame(to_ms, key=True))
    measures = measurer.sample(13)
    assert measures.jumps == (1 if abs(to_ms - 11960) > 2000 or to_ms < 11960 else 0)
    assert measures.gop_max_s == 2 and measures.video_bps is not None and measures.video_bps < 1100


def test_a_clock_that_stands_still_or_goes_back_breaks_nothing() -> None:
    measurer = measured(5)
    for now_s in (5, 4, 4):
        assert measurer.sample(now_s).received_bps >= 0


def test_before_the_first_packet_there_is_nothing() -> None:
    measurer = Measurer()
    for now_s in range(30):
        assert measurer.sample(now_s) == Measures()
    measurer.video.take_picture(frame(0, key=True))
    assert measurer.sample(30).pace is None


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b"\0\0\0\2\x09\xf0\0\0\0\3\x65ab", (True, True)),
        (b"\0\0\0\3\x06\1\2\0\0\0\1\x41", (True, False)),
        (b"\0\0\0\1\x65ab\0\0\0\1\x41", (False, True)),  # start codes
        (b"\0\0\0\x09\x65ab", (False, True)),
        (b"", (False, False)),
        (b"\0\0\0\0" * 500, (True, False)),
    ],
)
def test_what_a_keyframe_is_made_of(payload: bytes, expected: tuple[bool, bool]) -> None:
    assert read_key(payload) == expected


@pytest.mark.parametrize(
    ("type_id", "body", "expected"),
    [
        (9, b"\x22\0\0\0\0\0", Foreign(Kind.VIDEO, "Sorenson H.263")),
        (9, b"\x91hvc1\0", Foreign(Kind.VIDEO, "hvc1")),
        (9, b"\x96\0avc1\1", Foreign(Kind.VIDEO, "avc1", True)),
        (8, b"\x2f\0\0\0\0\0", Foreign(Kind.AUDIO, "MP3")),
        (8, b"\x90Opus\0", Foreign(Kind.AUDIO, "Opus")),
        (8, b"\x95\1mp4a\1", Foreign(Kind.AUDIO, "mp4a", True)),
        (8, b"\x90\xff\n<>\0", Foreign(Kind.AUDIO, "ff0a3c3e")),
        (9, b"\x57\1\0\0\0\0", None),
        (9, b"", None),
        (18, b"\x02\0\x0aonMetaData", None),
    ],
)
def test_what_we_do_not_take_has_a_name(type_id: int, body: bytes, expected: Foreign | None) -> None:
    assert read_foreign(type_id, body) == expected


def test_a_feed_without_our_codecs_says_which_it_has() -> None:
    feed = Feed("f", "primary", lambda *_: None)
    for second in range(9):
        feed.on_message(9, second * 1000, bytearray(b"\x91hvc1\0"))
        feed.sample(second)
    assert [(one.type.value, one.value) for one in feed.health.issues] == [("videoCodec", "hvc1"), ("noAudioStream", 8)]
    assert feed.health.state is State.BAD


def test_drift_is_not_told_before_two_minutes_nor_of_a_feed_that_stalls() -> None:
    clock, stalling = ClockDrift(), ClockDrift()
    for second in range(240):
        clock.note(second, second * 500e-6 - 0.3 * (second % 3))  # the network delays by up to 0.6 s
        stalling.note(second, second * -0.1)
        assert second >= 115 or clock.drift is None
    assert clock.drift is not None and clock.drift.ppm == pytest.approx(500, abs=20)
    assert clock.drift.error_ppm < 50
    assert stalling.drift is None


# Words.


def test_every_type_has_words() -> None:
    assert set(TEXTS) == set(IssueType)


@pytest.mark.parametrize("kind", IssueType)
@pytest.mark.parametrize("language", Language)
def test_every_issue_can_be_explained(kind: IssueType, language: Language) -> None:
    for value in (1234.5, "avc1.42C01E", None):
        told = explain(issue(kind, value, value), language)
        assert told.cause and told.remedy and "{" not in told.cause + told.remedy


def test_numbers_are_told_in_the_units_of_the_words() -> None:
    told = explain(issue(IssueType.BITRATE_HIGH, 5_123_456.0, 2_000_000), Language.EN)
    assert told.cause == "The picture takes 5123.46 kbit/s, more than the 2000 that its size needs."
    told = explain(issue(IssueType.GOP_SIZE_LONG, 3.6, 3.0), Language.SW)
    assert told.remedy == "Weka muda kati ya picha kuu (keyframe interval) uwe sekunde 2."


# Series.


def row(value: float | None) -> list[float | None]:
    return [value, *[None] * (len(COLUMNS) - 1)]


def test_a_series_keeps_the_least_the_mean_and_the_most() -> None:
    series = Series((Tier(1, 5), Tier(10, 3)))
    for second in range(100, 161):
        series.add(second, row(second))
    assert (fine := series.as_json(1)) and fine["at_s"] == [155, 156, 157, 158, 159]
    coarse = series.as_json(10)
    assert coarse and coarse["at_s"] == [130, 140, 150]
    assert coarse["columns"][COLUMNS[0]][-1] == [150, 154.5, 159]
    assert coarse["columns"][COLUMNS[1]][-1] == [None, None, None]
    assert (later := series.as_json(10, from_s=145)) and later["at_s"] == [150]
    assert series.as_json(7) is None
    json.dumps(coarse, allow_nan=False)


def test_where_nothing_came_there_is_a_hole_and_the_past_is_not_written_again() -> None:
    series = Series((Tier(1, 9),))
    for second in (100, 101, 105, 102, 106):
        series.add(second, row(1))
    assert (told := series.as_json(1)) and told["at_s"] == [100, 101, 105]


def test_a_series_never_grows_beyond_what_it_says() -> None:
    series = Series()
    for second in range(0, 10 * 86400, 7):
        series.add(second, [1.0] * len(COLUMNS))
    assert series.size_bytes == MAX_BYTES == (300 + 4320 + 2016) * ROW_BYTES < 640_000
    assert (told := series.as_json(10)) and len(told["at_s"]) == MAX_ANSWER_ROWS
