"""Judges what was measured of a feed: pure functions from measures and tracks to issues."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from core.media.packet import AudioTrack, Kind, Track, VideoTrack
from ingest.health.issues import Issue, IssueType, Level, issue
from ingest.health.limits import Limits
from ingest.health.measure import Measures

PROFILES = frozenset({66, 77, 100})
AAC_LC = "mp4a.40.2"


@dataclass(frozen=True, slots=True)
class Seen:
    """All that is known of a feed at a moment."""

    measures: Measures
    tracks: Mapping[Kind, Track]

    @property
    def video(self) -> VideoTrack | None:
        track = self.tracks.get(Kind.VIDEO)
        return track if isinstance(track, VideoTrack) else None

    @property
    def audio(self) -> AudioTrack | None:
        track = self.tracks.get(Kind.AUDIO)
        return track if isinstance(track, AudioTrack) else None

    def has_data(self, limits: Limits) -> bool:
        """A feed that is silent for long has nothing to judge but its silence."""
        measures = self.measures
        return measures.window_s > 0 and (measures.silent_s < limits.silent_s or bool(measures.foreign))

    def foreign_codec(self, kind: Kind) -> str | None:
        return next((one.codec for one in sorted(self.measures.foreign) if one.kind is kind and not one.further), None)


def judge(seen: Seen, limits: Limits) -> tuple[Issue, ...]:
    """Of one feed by itself."""
    if not seen.has_data(limits):
        return tuple(_pace(seen.measures, limits))
    found = [*_kinds(seen, limits), *_foreign(seen), *_header(seen, limits), *_sound(seen, limits)]
    if seen.measures.window_s >= limits.min_window_s:
        found += [*_pace(seen.measures, limits), *_rates(seen, limits)]
    return (*found, *_keyframes(seen.measures, limits), *_times(seen, limits))


def _kinds(seen: Seen, limits: Limits) -> Iterator[Issue]:
    """A kind that was never announced may be meant so; one that stops is a fault."""
    silences = (
        (IssueType.NO_VIDEO_STREAM, Kind.VIDEO, seen.measures.video_silent_s),
        (IssueType.NO_AUDIO_STREAM, Kind.AUDIO, seen.measures.audio_silent_s),
    )
    for type_, kind, silent_s in silences:
        if silent_s >= limits.silent_s and seen.foreign_codec(kind) is None:
            level = Level.ERROR if kind in seen.tracks else Level.WARNING
            yield Issue(type_, level, round(silent_s, 1), limits.silent_s)


def _foreign(seen: Seen) -> Iterator[Issue]:
    video, audio = seen.foreign_codec(Kind.VIDEO), seen.foreign_codec(Kind.AUDIO)
    if video is not None:
        yield issue(IssueType.VIDEO_CODEC, video, "H.264")
    if audio is not None:
        yield issue(IssueType.AUDIO_CODEC, audio, "AAC")
    further = {one.kind for one in seen.measures.foreign if one.further}
    if Kind.VIDEO in further:
        yield issue(IssueType.MULTIPLE_VIDEO_STREAMS)
    if Kind.AUDIO in further:
        yield issue(IssueType.MULTIPLE_AUDIO_STREAMS)


def _header(seen: Seen, limits: Limits) -> Iterator[Issue]:
    track = seen.video
    if track is None:
        return
    if track.profile not in PROFILES or track.chroma_format != 1 or track.bit_depth != 8:
        yield issue(IssueType.VIDEO_PROFILE, track.codecs, "Baseline, Main, High 4:2:0 8 bit")
    if track.level > limits.video_level:
        yield issue(IssueType.VIDEO_LEVEL, track.level / 10, limits.video_level / 10)
    if track.interlaced:
        yield issue(IssueType.INTERLACED_VIDEO)
    yield from _resolution(track, limits)


def _resolution(track: VideoTrack, limits: Limits) -> Iterator[Issue]:
    size, (short, long) = size_of(track), sorted((track.width, track.height))
    if short > limits.max_short_side or long > limits.max_long_side or track.width % 2 or track.height % 2:
        yield issue(IssueType.VIDEO_RESOLUTION_UNSUPPORTED, size, f"{limits.max_long_side}x{limits.max_short_side}")
    elif short < limits.min_short_side or abs(long / short - 16 / 9) > limits.aspect_tolerance:
        yield issue(IssueType.VIDEO_RESOLUTION_SUBOPTIMAL, size, "1280x720")


def _sound(seen: Seen, limits: Limits) -> Iterator[Issue]:
    track = seen.audio
    if track is None:
        return
    if track.codecs != AAC_LC:
        yield issue(IssueType.AUDIO_PROFILE, track.codecs, AAC_LC)
    if track.timescale not in limits.audio_rates_hz:
        yield issue(IssueType.AUDIO_SAMPLE_RATE, track.timescale, max(limits.audio_rates_hz))
    if track.channels > limits.audio_channels:
        yield issue(IssueType.AUDIO_TOO_MANY_CHANNELS, track.channels, limits.audio_channels)


def _pace(measures: Measures, limits: Limits) -> Iterator[Issue]:
    """Too fast is only who also ran ahead: after a stall a backlog may come at any speed. Other codecs have no pace."""
    pace = measures.pace
    if pace is None or measures.window_s < limits.min_window_s or (not pace and measures.foreign):
        return
    if pace < limits.pace_low:
        yield issue(IssueType.VIDEO_INGESTION_STARVED, round(pace, 2), limits.pace_low)
    elif pace > limits.pace_high and measures.lead_s > limits.lead_s:
        yield issue(IssueType.VIDEO_INGESTION_FASTER_THAN_REALTIME, round(pace, 2), limits.pace_high)


def _rates(seen: Seen, limits: Limits) -> Iterator[Issue]:
    measures, track = seen.measures, seen.video
    if track is not None and measures.video_bps is not None:
        low_bps, high_bps = limits.video_bps(min(track.width, track.height), measures.frame_rate or 0)
        yield from _between(measures.video_bps, low_bps, high_bps, IssueType.BITRATE_LOW, IssueType.BITRATE_HIGH)
    if measures.audio_bps is not None:
        yield from _between(
            measures.audio_bps, limits.audio_low_bps, limits.audio_high_bps,
            IssueType.AUDIO_BITRATE_LOW, IssueType.AUDIO_BITRATE_HIGH,
        )  # fmt: skip
    if measures.frame_rate is not None:
        yield from _between(
            measures.frame_rate, limits.frame_rate_low, limits.frame_rate_high,
            IssueType.FRAME_RATE_LOW, IssueType.FRAME_RATE_HIGH,
        )  # fmt: skip
        yield from _missing(measures.frame_rate, track, limits)


def _between(value: float, low: float, high: float, below: IssueType, above: IssueType) -> Iterator[Issue]:
    if value < low:
        yield issue(below, round(value, 2), low)
    elif value > high:
        yield issue(above, round(value, 2), high)


def _missing(frame_rate: float, track: VideoTrack | None, limits: Limits) -> Iterator[Issue]:
    """A rate in the header that no encoder sends is the tick of a variable rate."""
    told = track.frame_rate if track is not None else None
    if told is not None and told <= limits.told_frame_rate_max and frame_rate < told * limits.frames_kept:
        yield issue(IssueType.FRAMES_MISSING, round(frame_rate, 2), told)


def _keyframes(measures: Measures, limits: Limits) -> Iterator[Issue]:
    longest_s, mean_s = measures.gop_max_s, measures.gop_mean_s
    if longest_s is not None and longest_s > limits.gop_over_s:
        yield issue(IssueType.GOP_SIZE_OVER, longest_s, limits.gop_over_s)
    elif longest_s is not None and longest_s > limits.gop_long_s:
        yield issue(IssueType.GOP_SIZE_LONG, longest_s, limits.gop_long_s)
    if mean_s is not None and mean_s < limits.gop_short_s:
        yield issue(IssueType.GOP_SIZE_SHORT, round(mean_s, 2), limits.gop_short_s)
    if measures.open_keys:
        yield issue(IssueType.OPEN_GOP, measures.open_keys)
    if measures.torn_keys:
        yield issue(IssueType.BAD_CONTAINER, measures.torn_keys)


def _times(seen: Seen, limits: Limits) -> Iterator[Issue]:
    measures, offset_s, drift = seen.measures, seen.measures.av_offset_s, seen.measures.drift
    if measures.jumps:
        yield issue(IssueType.TIMESTAMP_JUMP, measures.jumps)
    if offset_s is not None and abs(offset_s) > limits.av_offset_s:
        yield issue(IssueType.AV_OFFSET, round(offset_s, 2), limits.av_offset_s)
    if drift is not None and abs(drift.ppm) - drift.error_ppm > limits.drift_ppm:
        yield issue(IssueType.CLOCK_DRIFT, round(drift.ppm), limits.drift_ppm)
    if measures.reorder_s > limits.reorder_s:
        yield issue(IssueType.B_FRAMES, measures.reorder_s, limits.reorder_s)


def size_of(track: VideoTrack) -> str:
    return f"{track.width}x{track.height}"
