"""Compares primary with backup: where they differ, a switch from one to the other is seen or heard."""

from collections.abc import Iterator
from typing import Any

from core.media.packet import AudioTrack, Kind, VideoTrack
from ingest.health.issues import Issue, IssueType, issue
from ingest.health.judge import Seen, size_of
from ingest.health.limits import Limits


def compare(mine: Seen, other: Seen, limits: Limits) -> tuple[Issue, ...]:
    """Told to both feeds, each with the other's value as the limit. A feed without data differs in nothing."""
    if not (mine.has_data(limits) and other.has_data(limits)):
        return ()
    found = [*_codecs(mine, other)]
    if mine.video is not None and other.video is not None:
        found += _pictures(mine.video, other.video)
    if mine.audio is not None and other.audio is not None:
        found += _sounds(mine.audio, other.audio)
    if min(mine.measures.window_s, other.measures.window_s) >= limits.min_window_s:
        found += _rates(mine, other, limits)
    return tuple(found)


def _codecs(mine: Seen, other: Seen) -> Iterator[Issue]:
    """Of sound its profile too: HE-AAC and AAC-LC need another decoder."""
    videos = [seen.foreign_codec(Kind.VIDEO) or (seen.video and "H.264") for seen in (mine, other)]
    audios = [seen.foreign_codec(Kind.AUDIO) or (seen.audio and seen.audio.codecs) for seen in (mine, other)]
    if all(videos):
        yield from _differs(IssueType.VIDEO_CODEC_MISMATCH, *videos)
    if all(audios):
        yield from _differs(IssueType.AUDIO_CODEC_MISMATCH, *audios)


def _pictures(mine: VideoTrack, other: VideoTrack) -> Iterator[Issue]:
    yield from _differs(IssueType.RESOLUTION_MISMATCH, size_of(mine), size_of(other))
    yield from _differs(IssueType.VIDEO_PROFILE_MISMATCH, mine.codecs[:9], other.codecs[:9])
    if mine.interlaced != other.interlaced:
        yield issue(IssueType.VIDEO_INTERLACE_MISMATCH)


def _sounds(mine: AudioTrack, other: AudioTrack) -> Iterator[Issue]:
    yield from _differs(IssueType.AUDIO_SAMPLE_RATE_MISMATCH, mine.timescale, other.timescale)
    yield from _differs(IssueType.AUDIO_STEREO_MISMATCH, mine.channels, other.channels)


def _rates(mine: Seen, other: Seen, limits: Limits) -> Iterator[Issue]:
    ours, theirs, ratio = mine.measures, other.measures, limits.mismatch_bitrate_ratio
    yield from _by_ratio(IssueType.VIDEO_BITRATE_MISMATCH, ours.video_bps, theirs.video_bps, ratio)
    yield from _by_ratio(IssueType.AUDIO_BITRATE_MISMATCH, ours.audio_bps, theirs.audio_bps, ratio)
    yield from _by_distance(
        IssueType.FRAME_RATE_MISMATCH, ours.frame_rate, theirs.frame_rate, limits.mismatch_frame_rate
    )
    yield from _by_distance(IssueType.GOP_MISMATCH, ours.gop_mean_s, theirs.gop_mean_s, limits.mismatch_gop_s)


def _differs(kind: IssueType, mine: Any, other: Any) -> Iterator[Issue]:
    if mine != other:
        yield issue(kind, mine, other)


def _by_ratio(kind: IssueType, mine: float | None, other: float | None, ratio: float) -> Iterator[Issue]:
    if mine and other and max(mine, other) > ratio * min(mine, other):
        yield issue(kind, round(mine), round(other))


def _by_distance(kind: IssueType, mine: float | None, other: float | None, distance: float) -> Iterator[Issue]:
    if mine is not None and other is not None and abs(mine - other) > distance:
        yield issue(kind, round(mine, 2), round(other, 2))
