"""The ffmpeg that reads a file, given as standard input, and writes our kind of media as FLV to standard output.

It opens nothing else: `fd` is the only protocol that it may read by, and only containers that hold media are tried.
"""

from typing import Any

import ffmpeg

from core.cage import Limits
from transcode.files.facts import CONTAINERS, Making

MEMORY_BYTES = 4 << 30
THREADS = 4
MAX_HEIGHT = 1080
PEAK_BPS = 6_000_000
KEYFRAMES_S = 2
SOUND_BPS = 128_000
SOUND_RATE_HZ = 48_000
INTERLEAVED_US = 60_000_000
"""One track waits for the other so long: pictures that stand for seconds come late out of their encoder."""
_OUTPUT = {
    "format": "flv", "flvflags": "no_duration_filesize", "map_metadata": -1, "dn": None, "sn": None,
    "max_interleave_delta": INTERLEAVED_US,
}  # fmt: skip
_X264 = {
    "c:v": "libx264", "preset": "veryfast", "profile:v": "high", "pix_fmt": "yuv420p", "crf": 22, "maxrate": PEAK_BPS,
    "bufsize": 2 * PEAK_BPS, "sc_threshold": 0, "g": 1000, "fps_mode": "cfr",
    "force_key_frames": f"expr:gte(t,n_forced*{KEYFRAMES_S})",
}  # fmt: skip


def limits(making: Making) -> Limits:
    """A slow machine takes some minutes of processor for a minute of 4K."""
    return Limits(MEMORY_BYTES, 300 + 40 * making.length_ms // 1000)


def source_command(executable: str, making: Making) -> list[str]:
    source = ffmpeg.input(
        "fd:", fd=0, protocol_whitelist="fd", format_whitelist=CONTAINERS, fflags="+genpts", threads=THREADS
    )
    options: dict[str, Any] = dict(_OUTPUT)
    streams = []
    if making.picture is not None:
        picture = source[str(making.picture)]
        if making.copies_picture:
            options["c:v"] = "copy"
        else:
            picture = _shaped(picture, making)
            options |= {**_X264, "r": f"{making.fps.numerator}/{making.fps.denominator}"}
        streams.append(picture)
    if making.sound is not None:
        sound = source[str(making.sound)]
        if making.copies_sound:
            options["c:a"] = "copy"
        else:
            sound = sound.filter("aresample", SOUND_RATE_HZ, **{"async": 1})
            options |= {"c:a": "aac", "b:a": SOUND_BPS, "ac": making.channels}
        streams.append(sound)
    command: list[str] = ffmpeg.output(*streams, "pipe:1", **options).compile(cmd=executable)
    return [command[0], "-hide_banner", "-nostats", "-loglevel", "error", "-filter_threads", "2", *command[1:]]


def _shaped(picture: Any, making: Making) -> Any:
    """Progressive, with square pixels, of even sides."""
    if making.interlaced:
        picture = picture.filter("yadif", deint="interlaced")
    picture = picture.filter("scale", "trunc(iw*sar/2)*2", "trunc(ih/2)*2").filter("setsar", 1)
    return picture.filter("scale", -2, f"min({MAX_HEIGHT},ih)")
