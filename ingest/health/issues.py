"""The types of issues, named as in the YouTube Live Streaming API, and the levels they are told at."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

Told = float | str | None
"""A measured value or its limit: a number in the unit of the text (seconds, bit/s, Hz), a name such as a codec's."""


class Level(StrEnum):
    """How grave an issue is: viewers lose something (error), may lose something (warning), or could have it better."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class State(StrEnum):
    """A feed as a whole."""

    GOOD = "good"
    OK = "ok"
    BAD = "bad"
    NO_DATA = "noData"


class IssueType(StrEnum):
    """YouTube's 34, then ours."""

    AUDIO_BITRATE_HIGH = "audioBitrateHigh"
    AUDIO_BITRATE_LOW = "audioBitrateLow"
    AUDIO_BITRATE_MISMATCH = "audioBitrateMismatch"
    AUDIO_CODEC = "audioCodec"
    AUDIO_CODEC_MISMATCH = "audioCodecMismatch"
    AUDIO_SAMPLE_RATE = "audioSampleRate"
    AUDIO_SAMPLE_RATE_MISMATCH = "audioSampleRateMismatch"
    AUDIO_STEREO_MISMATCH = "audioStereoMismatch"
    AUDIO_TOO_MANY_CHANNELS = "audioTooManyChannels"
    BAD_CONTAINER = "badContainer"
    BITRATE_HIGH = "bitrateHigh"
    BITRATE_LOW = "bitrateLow"
    FRAME_RATE_HIGH = "frameRateHigh"
    FRAME_RATE_MISMATCH = "framerateMismatch"
    GOP_MISMATCH = "gopMismatch"
    GOP_SIZE_LONG = "gopSizeLong"
    GOP_SIZE_OVER = "gopSizeOver"
    GOP_SIZE_SHORT = "gopSizeShort"
    INTERLACED_VIDEO = "interlacedVideo"
    MULTIPLE_AUDIO_STREAMS = "multipleAudioStreams"
    MULTIPLE_VIDEO_STREAMS = "multipleVideoStreams"
    NO_AUDIO_STREAM = "noAudioStream"
    NO_VIDEO_STREAM = "noVideoStream"
    OPEN_GOP = "openGop"
    RESOLUTION_MISMATCH = "resolutionMismatch"
    VIDEO_BITRATE_MISMATCH = "videoBitrateMismatch"
    VIDEO_CODEC = "videoCodec"
    VIDEO_CODEC_MISMATCH = "videoCodecMismatch"
    VIDEO_INGESTION_FASTER_THAN_REALTIME = "videoIngestionFasterThanRealtime"
    VIDEO_INGESTION_STARVED = "videoIngestionStarved"
    VIDEO_INTERLACE_MISMATCH = "videoInterlaceMismatch"
    VIDEO_PROFILE_MISMATCH = "videoProfileMismatch"
    VIDEO_RESOLUTION_SUBOPTIMAL = "videoResolutionSuboptimal"
    VIDEO_RESOLUTION_UNSUPPORTED = "videoResolutionUnsupported"

    AUDIO_PROFILE = "audioProfile"
    AV_OFFSET = "avOffset"
    B_FRAMES = "bFrames"
    CLOCK_DRIFT = "clockDrift"
    FRAME_RATE_LOW = "frameRateLow"
    FRAMES_MISSING = "framesMissing"
    TIMESTAMP_JUMP = "timestampJump"
    VIDEO_LEVEL = "videoLevel"
    VIDEO_PROFILE = "videoProfile"


_ERRORS = frozenset(
    {
        IssueType.AUDIO_CODEC, IssueType.AUDIO_CODEC_MISMATCH, IssueType.BAD_CONTAINER, IssueType.GOP_SIZE_OVER,
        IssueType.NO_AUDIO_STREAM, IssueType.NO_VIDEO_STREAM, IssueType.VIDEO_CODEC, IssueType.VIDEO_CODEC_MISMATCH,
        IssueType.VIDEO_INGESTION_STARVED, IssueType.VIDEO_PROFILE, IssueType.VIDEO_RESOLUTION_UNSUPPORTED,
    }
)  # fmt: skip
_INFOS = frozenset(
    {
        IssueType.AUDIO_BITRATE_HIGH, IssueType.AUDIO_BITRATE_MISMATCH, IssueType.B_FRAMES, IssueType.GOP_SIZE_SHORT,
        IssueType.VIDEO_BITRATE_MISMATCH, IssueType.VIDEO_RESOLUTION_SUBOPTIMAL,
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Issue:
    """`limit` is what the value should keep to; in a mismatch it is the other feed's value."""

    type: IssueType
    level: Level
    value: Told = None
    limit: Told = None


def issue(kind: IssueType, value: Told = None, limit: Told = None) -> Issue:
    """An issue at the level of its type."""
    level = Level.ERROR if kind in _ERRORS else Level.INFO if kind in _INFOS else Level.WARNING
    return Issue(kind, level, value, limit)


def state(issues: Iterable[Issue], has_data: bool) -> State:
    levels = {one.level for one in issues}
    if not has_data:
        return State.NO_DATA
    return State.BAD if Level.ERROR in levels else State.OK if Level.WARNING in levels else State.GOOD
