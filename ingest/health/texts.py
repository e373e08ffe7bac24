"""What an issue says to the person at the encoder: its cause and its remedy, in English here, in Swahili in locale/."""

from dataclasses import dataclass
from pathlib import Path

from core.web.i18n import Language, catalogue
from ingest.health.issues import Issue, IssueType, Told

LOCALE = Path(__file__).parent.parent / "locale"


def N_(message: str) -> str:
    """Marks what is translated when it is told."""
    return message


@dataclass(frozen=True, slots=True)
class Text:
    """`{value}` and `{limit}` stand for what was measured, times `scale`."""

    cause: str
    remedy: str
    scale: float = 1


@dataclass(frozen=True, slots=True)
class Explanation:
    """An issue in one language."""

    cause: str
    remedy: str


def explain(issue: Issue, language: Language) -> Explanation:
    text, gettext = TEXTS[issue.type], catalogue(language, LOCALE).gettext
    numbers = {"value": _number(issue.value, text.scale), "limit": _number(issue.limit, text.scale)}
    return Explanation(gettext(text.cause).format(**numbers), gettext(text.remedy).format(**numbers))


def _number(value: Told, scale: float) -> str:
    if value is None or isinstance(value, str):
        return value or "?"
    return f"{round(value * scale, 2):.10g}"


_KBIT = 1 / 1000
TEXTS = {
    IssueType.AUDIO_BITRATE_HIGH: Text(
        N_("The sound takes {value} kbit/s; more than {limit} is not heard."),
        N_("Set the audio bitrate to 128 kbit/s."),
        _KBIT,
    ),
    IssueType.AUDIO_BITRATE_LOW: Text(
        N_("The sound takes only {value} kbit/s, less than {limit}."),
        N_("Set the audio bitrate to 128 kbit/s. If it is, the sound is silent: check the microphone and mixer."),
        _KBIT,
    ),
    IssueType.AUDIO_BITRATE_MISMATCH: Text(
        N_("Sound takes {value} kbit/s here and {limit} on the other feed."),
        N_("Set the same audio bitrate on primary and backup."),
        _KBIT,
    ),
    IssueType.AUDIO_CODEC: Text(
        N_("The sound is {value}; only AAC is taken."),
        N_("Set the audio encoder to AAC."),
    ),
    IssueType.AUDIO_CODEC_MISMATCH: Text(
        N_("The sound is {value} here and {limit} on the other feed."),
        N_("Set the same audio encoder on primary and backup: AAC-LC."),
    ),
    IssueType.AUDIO_SAMPLE_RATE: Text(
        N_("The sample rate of the sound is {value} Hz, which some players can't play."),
        N_("Set the sample rate to 48 kHz (or 44.1 kHz) in the audio settings."),
    ),
    IssueType.AUDIO_SAMPLE_RATE_MISMATCH: Text(
        N_("The sample rate is {value} Hz here and {limit} Hz on the other feed."),
        N_("Set the same sample rate on primary and backup: 48 kHz."),
    ),
    IssueType.AUDIO_STEREO_MISMATCH: Text(
        N_("The sound has {value} channels here and {limit} on the other feed."),
        N_("Set the same number of channels on primary and backup: stereo."),
    ),
    IssueType.AUDIO_TOO_MANY_CHANNELS: Text(
        N_("The sound has {value} channels; many phones play no more than {limit}."),
        N_("Set the channels to stereo in the audio settings."),
    ),
    IssueType.BAD_CONTAINER: Text(
        N_("Pictures are not packed as FLV asks: {value} keyframes can't be read."),
        N_("Send with OBS or ffmpeg in FLV format, or update the encoder's software."),
    ),
    IssueType.BITRATE_HIGH: Text(
        N_("The picture takes {value} kbit/s, more than the {limit} that its size needs."),
        N_("Lower the video bitrate below {limit} kbit/s: viewers on mobile networks can't follow."),
        _KBIT,
    ),
    IssueType.BITRATE_LOW: Text(
        N_("The picture takes only {value} kbit/s, less than the {limit} that its size needs."),
        N_("Raise the video bitrate to more than {limit} kbit/s, or choose a smaller picture."),
        _KBIT,
    ),
    IssueType.FRAME_RATE_HIGH: Text(
        N_("{value} frames come each second, more than {limit}."),
        N_("Set the frame rate to 25 or 30, at most 60."),
    ),
    IssueType.FRAME_RATE_MISMATCH: Text(
        N_("{value} frames come each second here and {limit} on the other feed."),
        N_("Set the same frame rate on primary and backup."),
    ),
    IssueType.GOP_MISMATCH: Text(
        N_("Keyframes come every {value} s here and every {limit} s on the other feed."),
        N_("Set the same keyframe interval on primary and backup: 2 s."),
    ),
    IssueType.GOP_SIZE_LONG: Text(
        N_("Keyframes come only every {value} s: viewers wait longer for the picture."),
        N_("Set the keyframe interval to 2 s."),
    ),
    IssueType.GOP_SIZE_OVER: Text(
        N_("Keyframes come only every {value} s, which is longer than a segment of {limit} s."),
        N_("Set the keyframe interval to 2 s, not 0 or automatic. Restart the encoder."),
    ),
    IssueType.GOP_SIZE_SHORT: Text(
        N_("Keyframes come every {value} s, more often than needed: the picture loses quality."),
        N_("Set the keyframe interval to 2 s and switch off scene change detection."),
    ),
    IssueType.INTERLACED_VIDEO: Text(
        N_("The picture is interlaced: movement shows combs on screens."),
        N_("Send progressive video: choose a progressive camera mode, or add a deinterlacing filter."),
    ),
    IssueType.MULTIPLE_AUDIO_STREAMS: Text(
        N_("The feed has several sound tracks; only the first is taken."),
        N_("Send one audio track: switch off multitrack audio."),
    ),
    IssueType.MULTIPLE_VIDEO_STREAMS: Text(
        N_("The feed has several pictures; only the first is taken."),
        N_("Send one video track: switch off multitrack video."),
    ),
    IssueType.NO_AUDIO_STREAM: Text(
        N_("No sound has come for {value} s."),
        N_("Check that an audio source and an audio track are chosen for the stream; restart the encoder."),
    ),
    IssueType.NO_VIDEO_STREAM: Text(
        N_("No picture has come for {value} s."),
        N_("Check the camera and the video encoder; restart the encoder."),
    ),
    IssueType.OPEN_GOP: Text(
        N_("Keyframes need pictures from before them (open GOP): {value} lately."),
        N_("Switch off open GOP: for x264 add open-gop=0 to the encoder's options."),
    ),
    IssueType.RESOLUTION_MISMATCH: Text(
        N_("The picture is {value} here and {limit} on the other feed."),
        N_("Set the same output size on primary and backup."),
    ),
    IssueType.VIDEO_BITRATE_MISMATCH: Text(
        N_("The picture takes {value} kbit/s here and {limit} on the other feed."),
        N_("Set the same video bitrate on primary and backup."),
        _KBIT,
    ),
    IssueType.VIDEO_CODEC: Text(
        N_("The picture is {value}; only H.264 is taken."),
        N_("Set the video encoder to H.264 (x264 or a hardware H.264 encoder)."),
    ),
    IssueType.VIDEO_CODEC_MISMATCH: Text(
        N_("The picture is {value} here and {limit} on the other feed."),
        N_("Set the same video encoder on primary and backup: H.264."),
    ),
    IssueType.VIDEO_INGESTION_FASTER_THAN_REALTIME: Text(
        N_("The feed comes at {value} times real time."),
        N_("Send at the speed of life: with ffmpeg put -re before a file."),
    ),
    IssueType.VIDEO_INGESTION_STARVED: Text(
        N_("The feed comes at only {value} times real time: viewers' players stop and wait."),
        N_("Check the connection to the internet, lower the video bitrate, or send over another network."),
    ),
    IssueType.VIDEO_INTERLACE_MISMATCH: Text(
        N_("One feed is interlaced and the other is not."),
        N_("Send progressive video on primary and backup."),
    ),
    IssueType.VIDEO_PROFILE_MISMATCH: Text(
        N_("The H.264 profile is {value} here and {limit} on the other feed."),
        N_("Set the same H.264 profile on primary and backup: High."),
    ),
    IssueType.VIDEO_RESOLUTION_SUBOPTIMAL: Text(
        N_("The picture is {value}, which is small or not 16:9."),
        N_("Set the output size to {limit} or 1920x1080."),
    ),
    IssueType.VIDEO_RESOLUTION_UNSUPPORTED: Text(
        N_("The picture is {value}, which many phones can't play."),
        N_("Set the output size to 1920x1080 or 1280x720."),
    ),
    IssueType.AUDIO_PROFILE: Text(
        N_("The sound is AAC of another profile ({value}), which some players can't play."),
        N_("Set the audio profile to AAC-LC."),
    ),
    IssueType.AV_OFFSET: Text(
        N_("Sound and picture that arrive together are {value} s apart in their timestamps."),
        N_("Set the sync offset of the audio source to 0 and restart the encoder; check the capture card."),
    ),
    IssueType.B_FRAMES: Text(
        N_("Pictures wait up to {value} s for others (B-frames), which adds to the delay."),
        N_("Set B-frames to 2 or 0, or use the tune zerolatency."),
    ),
    IssueType.CLOCK_DRIFT: Text(
        N_("The encoder's clock runs off by {value} millionths: the delay grows or shrinks by the hour."),
        N_("Check the encoder's clock and its capture card; restart the encoder in a pause."),
    ),
    IssueType.FRAME_RATE_LOW: Text(
        N_("Only {value} frames come each second: movement jerks."),
        N_("Set the frame rate to 25 or 30."),
    ),
    IssueType.FRAMES_MISSING: Text(
        N_("{value} frames come each second where the encoder promises {limit}: it drops frames."),
        N_("Choose a faster encoder preset, close other programs, or lower the video bitrate if the network is weak."),
    ),
    IssueType.TIMESTAMP_JUMP: Text(
        N_("Timestamps jumped, or media was left out: {value} times lately."),
        N_("Restart the encoder; if it comes again, check the connection and the capture device."),
    ),
    IssueType.VIDEO_LEVEL: Text(
        N_("The H.264 level is {value}; many phones play no more than {limit}."),
        N_("Set the H.264 level to 4.1 or automatic, and the picture to 1080p60 at most."),
    ),
    IssueType.VIDEO_PROFILE: Text(
        N_("The picture is H.264 that browsers can't play ({value})."),
        N_("Set the H.264 profile to High and the colour format to NV12 or I420 (4:2:0, 8 bit)."),
    ),
}  # fmt: skip
