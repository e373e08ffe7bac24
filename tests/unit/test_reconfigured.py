"""A feed whose configuration changes on the air: its sound is where it was, and each segment names what it needs."""

import itertools

import pytest

from core.media import fmp4
from core.media.packet import AudioTrack, Kind, Packet
from core.media.window import Cadence, Part, Segment
from tests.unit.media_kit import Sink, aac_44k, aac_48k, picture, sound, video_track
from transcode.audio_packager import AudioPackager
from transcode.timeline import Timeline
from transcode.video_packager import VideoPackager

HOUR_MS = 3_600_000
RATES = [(aac_48k(), aac_44k()), (aac_44k(), aac_48k())]


class Timed(Sink):
    """Knows where each fragment says that it is, in milliseconds, by the configuration in force."""

    def __init__(self) -> None:
        super().__init__()
        self.told_ms: list[float] = []

    def on_part(self, segment: Segment, part: Part, data: bytes) -> None:
        super().on_part(segment, part, data)
        if data:
            assert str(self.inits[segment.init].timescale).encode() in data
            self.told_ms.append(next(fmp4.fragments(data)).decode_time * 1000 / self.inits[-1].timescale)


def sounds(track: AudioTrack, from_ms: int, until_ms: int) -> list[Packet]:
    """Each says at which rate it is."""
    step_ms, payload = 1024 * 1000 / track.timescale, str(track.timescale).encode()
    frames = range(int((until_ms - from_ms) / step_ms))
    return [sound(round(from_ms + n * step_ms))._replace(payload=payload) for n in frames]


def pictures(from_ms: int, until_ms: int) -> list[Packet]:
    return [picture(from_ms + 40 * n, n % 50 == 0) for n in range((until_ms - from_ms) // 40)]


class Stage:
    """A picture that leads from an hour on, and the sound that follows it."""

    def __init__(self, track: AudioTrack) -> None:
        self.timeline, self.sink = Timeline(), Timed()
        self.video = VideoPackager(self.timeline, Cadence(), Sink(), leads=True)
        self.audio = AudioPackager(self.timeline, Cadence(), self.sink, leads=False)
        self.video.configure(video_track())
        self.audio.configure(track)

    def play(self, packets: list[Packet]) -> None:
        for packet in sorted(packets, key=lambda one: one.dts_ms):
            (self.audio if packet.kind is Kind.AUDIO else self.video).write(packet)
            self.audio.drain()

    def change(self, track: AudioTrack, at_ms: int) -> None:
        """As the broadcast does."""
        self.timeline.break_wanted = True
        self.video.resume(at_ms)
        self.audio.configure(track)


@pytest.mark.parametrize(("before", "after"), RATES, ids=["48 to 44.1 kHz", "44.1 to 48 kHz"])
def test_sound_whose_sample_rate_changes_after_an_hour_is_where_it_was(before: AudioTrack, after: AudioTrack) -> None:
    stage, turn_ms, end_ms = Stage(before), HOUR_MS + 6000, HOUR_MS + 16_000
    stage.play(pictures(HOUR_MS, turn_ms) + sounds(before, HOUR_MS, turn_ms))
    stage.change(after, turn_ms)
    stage.play(pictures(turn_ms, end_ms) + sounds(after, turn_ms, end_ms))
    stage.video.end()
    stage.audio.end()
    assert stage.audio.dropped <= 1 and stage.audio.end_ms == pytest.approx(end_ms, abs=60)
    assert sum(part.duration_s for _, part in stage.sink.parts if part.gap) < 0.06
    assert stage.sink.told_ms == sorted(stage.sink.told_ms) and stage.sink.told_ms[-1] < end_ms
    assert max(one.duration_s for one in stage.sink.segments) < 4.5
    for one, following in itertools.pairwise(stage.sink.segments):
        assert following.start_ms == pytest.approx(one.start_ms + one.duration_s * 1000, abs=60)


@pytest.mark.parametrize(("before", "after"), RATES, ids=["48 to 44.1 kHz", "44.1 to 48 kHz"])
def test_sound_that_stays_away_after_a_new_sample_rate_is_a_gap_as_long_as_that(
    before: AudioTrack, after: AudioTrack
) -> None:
    stage, turn_ms, end_ms = Stage(before), HOUR_MS + 6000, HOUR_MS + 16_000
    stage.play(pictures(HOUR_MS, turn_ms) + sounds(before, HOUR_MS, turn_ms))
    stage.change(after, turn_ms)
    stage.play(pictures(turn_ms, end_ms))
    stage.audio.fill_gap(end_ms)
    assert stage.audio.end_ms == pytest.approx(end_ms, abs=600)


@pytest.mark.parametrize(("before", "after"), RATES, ids=["48 to 44.1 kHz", "44.1 to 48 kHz"])
@pytest.mark.parametrize("missing_ms", [0, 3000])
def test_leading_sound_whose_sample_rate_changes_is_where_it_was(
    before: AudioTrack, after: AudioTrack, missing_ms: int
) -> None:
    timeline, sink = Timeline(), Timed()
    packager = AudioPackager(timeline, Cadence(), sink, leads=True)
    packager.configure(before)
    turn_ms, end_ms = HOUR_MS + 5000, HOUR_MS + 12_000
    for packet in sounds(before, HOUR_MS, turn_ms):
        packager.write(packet)
    timeline.break_wanted = True
    packager.configure(after)
    for packet in sounds(after, turn_ms + missing_ms, end_ms):
        packager.write(packet)
    packager.end()
    assert packager.end_ms == pytest.approx(end_ms, abs=60) and packager.dropped <= 1
    told_s = sum(part.duration_s for _, part in sink.parts if part.gap)
    assert told_s == pytest.approx(missing_ms / 1000, abs=0.06)


@pytest.mark.parametrize("turn_ms", [5000, 5900, 5960])
@pytest.mark.parametrize("kept_ms", [20, 60, 700])
def test_what_is_changed_and_changed_back_names_what_it_needs(turn_ms: int, kept_ms: int) -> None:
    """Before the next keyframe, around it and behind it: no sound is decoded by another configuration than its own."""
    first, second = aac_48k(), aac_44k()
    stage, turn_ms, end_ms = Stage(first), HOUR_MS + turn_ms, HOUR_MS + 12_000
    back_ms = turn_ms + kept_ms
    stage.play(pictures(HOUR_MS, turn_ms) + sounds(first, HOUR_MS, turn_ms + 100))
    stage.change(second, turn_ms)
    stage.play(sounds(second, turn_ms + 100, back_ms + 100))
    stage.play([picture(at_ms, at_ms % 2000 == 0) for at_ms in range(turn_ms, back_ms, 20)])
    stage.change(first, back_ms)
    pictured = [picture(at_ms, at_ms % 2000 == 0) for at_ms in range(back_ms, end_ms, 20)]
    stage.play(pictured + sounds(first, back_ms + 100, end_ms))
    stage.video.end()
    stage.audio.end()
    held_s = sum(part.duration_s for _, part in stage.sink.parts if not part.gap)
    assert held_s > 12 - 2 * 2.1 and stage.audio.end_ms == pytest.approx(end_ms, abs=60)
    assert stage.sink.inits[stage.sink.segments[-1].init] == first
