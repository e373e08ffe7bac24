"""The ladder: which rungs a feed gets below its source, and the ffmpeg command that makes them all from one decode.

FLV goes in on stdin and comes out on one pipe a rung. With these options every rung keeps the source's timestamps
to the millisecond and has its keyframes where the source has them, so all renditions are cut at the same places.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import ffmpeg

from core.media.packet import Kind, Track, VideoTrack


@dataclass(frozen=True, slots=True)
class Rung:
    """One step. `height` in pixels (0: audio); bitrates in bit/s; `codec_options` as ffmpeg names them."""

    name: str
    kind: Kind
    bitrate_bps: int
    peak_bps: int
    height: int = 0
    codec_options: tuple[tuple[str, str | int], ...] = ()


RUNGS = (
    Rung("360p", Kind.VIDEO, 365_000, 420_000, 360, (("profile:v", "main"), ("threads", 2))),
    Rung("144p", Kind.VIDEO, 80_000, 100_000, 144, (("profile:v", "baseline"), ("threads", 1))),
    Rung("low-audio", Kind.AUDIO, 32_000, 36_000, 0, (("ac", 1), ("ar", 24_000))),
)
"""Best first. 144p with its audio stays below the 192 kbit/s that Apple's 9.21 asks of one variant on cellular."""

_INPUT = {"format": "flv", "flags": "low_delay", "threads": 1, "analyzeduration": 300_000, "copyts": None}
_OUTPUT = {"format": "flv", "flvflags": "no_duration_filesize", "flush_packets": 1}
_TIMES = {"fps_mode": "passthrough", "enc_time_base": "1:1000"}
_X264 = {
    "c:v": "libx264", "preset": "veryfast", "tune": "zerolatency", "pix_fmt": "yuv420p", "bf": 0,
    "force_key_frames": "source", "sc_threshold": 0, "g": 100_000,
}  # fmt: skip


def choose_rungs(tracks: Mapping[Kind, Track], left_out: Collection[str] = ()) -> list[Rung]:
    """The rungs below what the source is. `left_out` are those that this machine was too slow for."""
    video = tracks.get(Kind.VIDEO)
    height = video.height if isinstance(video, VideoTrack) else 0
    return [
        rung
        for rung in RUNGS
        if rung.name not in left_out and (rung.height < height if rung.kind is Kind.VIDEO else Kind.AUDIO in tracks)
    ]


def ffmpeg_command(
    executable: str, rungs: Sequence[Rung], descriptors: Sequence[int], *, low_delay: bool = True
) -> list[str]:
    """The command line; rung n is written to file descriptor n of `descriptors`. Without `low_delay` the decoder keeps
    its pictures until they are in order."""
    options = _INPUT if low_delay else {name: value for name, value in _INPUT.items() if name != "flags"}
    source = ffmpeg.input("pipe:0", **options)
    videos = [rung for rung in rungs if rung.kind is Kind.VIDEO]
    pictures = source.video.filter_multi_output("split", len(videos)) if videos else None
    outputs = []
    for rung, descriptor in zip(rungs, descriptors, strict=True):
        options = {**_OUTPUT, **dict(rung.codec_options)}
        if rung.kind is Kind.VIDEO:
            assert pictures is not None
            stream = pictures[videos.index(rung)].filter("scale", -2, rung.height)
            rates = {"b:v": rung.bitrate_bps, "maxrate": rung.peak_bps, "bufsize": rung.bitrate_bps}
            options |= _TIMES | _X264 | rates
        else:
            stream = source.audio
            options |= {"c:a": "aac", "b:a": rung.bitrate_bps}
        outputs.append(ffmpeg.output(stream, f"pipe:{descriptor}", **options))
    command: list[str] = ffmpeg.merge_outputs(*outputs).compile(cmd=executable)
    return [command[0], "-hide_banner", "-nostats", "-loglevel", "warning", *command[1:]]
