"""What was sent against what is kept: frames of an FLV file that ffmpeg published, frames of a recording's files."""

import hashlib
import subprocess
from pathlib import Path

import imageio_ffmpeg

from core.media import flv, fmp4, hls
from core.media.packet import Kind, Packet
from core.media.window import Segment

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()


def make_flv(path: Path, seconds: int, b_frames: int = 0) -> Path:
    """A pre-encoded feed whose every picture differs, so that frames are known by their hash."""
    subprocess.run(
        [
            FFMPEG,
            "-v",
            "error",
            "-y",
            "-f",
            "lavfi",
            "-i",
            f"testsrc2=size=320x180:rate=25:duration={seconds}",
            "-f",
            "lavfi",
            "-i",
            f"anoisesrc=sample_rate=48000:duration={seconds}:amplitude=0.2",
            "-c:v",
            "libx264",
            "-preset",
            "ultrafast",
            "-bf",
            str(b_frames),
            "-g",
            "50",
            "-sc_threshold",
            "0",
            "-pix_fmt",
            "yuv420p",
            "-c:a",
            "aac",
            "-b:a",
            "96k",
            "-f",
            "flv",
            str(path),
        ],
        check=True,
        timeout=60,
    )
    return path


def publish(path: Path, url: str, is_endless: bool = False) -> subprocess.Popen[bytes]:
    """Sends the file in real time, frame by frame as it is; an endless one again and again, without a break."""
    again = ["-stream_loop", "-1"] if is_endless else []
    return subprocess.Popen(
        [FFMPEG, "-v", "error", "-re", *again, "-i", str(path), "-c", "copy", "-f", "flv", url],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def sent_frames(path: Path, kind: Kind) -> list[str]:
    items = flv.TagReader().feed(path.read_bytes())
    return [_digest(item.payload) for item in items if isinstance(item, Packet) and item.kind is kind]


def kept_frames(folder: Path) -> list[str]:
    """The frames of a rendition's segments in the order of its index."""
    return [frame for segment in kept_segments(folder) if not segment.gap for frame in segment_frames(folder, segment)]


def kept_segments(folder: Path) -> list[Segment]:
    return hls.read_index((folder / hls.PLAYLIST_NAME).read_text(), 0).segments


def segment_frames(folder: Path, segment: Segment) -> list[str]:
    data = (folder / hls.segment_name(segment.msn)).read_bytes()
    found: list[str] = []
    for fragment in fmp4.fragments(data):
        sizes = fmp4.sample_sizes(data, fragment)
        at = fragment.offset + fragment.size - sum(sizes)
        for size in sizes:
            found.append(_digest(data[at : at + size]))
            at += size
    return found


def _digest(payload: bytes | bytearray | memoryview) -> str:
    return hashlib.blake2b(payload, digest_size=12).hexdigest()
