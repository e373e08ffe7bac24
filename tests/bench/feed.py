"""Owns the benches' feed: a 16 s loop of 720p H.264 + AAC made once by ffmpeg, kept as ready RTMP wire bytes.

A load generator must cost little beside the servers it loads, so each message is cut into chunks once;
sending it again only overwrites its timestamp (RTMP 1.0, 5.3.1.2.1) and the wall clock in its SEI (H.264 D.2.7).
"""

import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import imageio_ffmpeg

LOOP_MS = 16_000  # 8 GOPs of 2 s, 480 pictures at 30 fps and exactly 750 AAC frames of 1024 samples at 48 kHz
GOP_MS = 2_000
AUDIO, VIDEO, DATA = 8, 9, 18
CLOCK_UUID = b"mbashara-bench-1"
_CLOCK_DIGITS = 16  # wall clock in microseconds; decimal digits can't make a start code
_MESSAGE_HEADER_BYTES = 12  # fmt 0: basic header 1, timestamp 3, length 3, type 1, message stream id 4
_AVC_TAG_BYTES = 5  # frame type and codec, AVC packet type, composition time


@dataclass(slots=True)
class Message:
    """One RTMP message as wire bytes; `timestamp_ms` counts from the loop's start."""

    kind: int
    timestamp_ms: int
    wire: bytearray
    clock_at: int  # offset of the wall clock's digits in `wire`, 0 when there is none

    def stamp(self, timestamp_ms: int, wall_us: int) -> bytearray:
        """Overwrite timestamp and clock in place: all streams share the bytes, so send or copy at once."""
        self.wire[1:4] = timestamp_ms.to_bytes(3, "big")
        if self.clock_at:
            self.wire[self.clock_at : self.clock_at + _CLOCK_DIGITS] = b"%016d" % wall_us
        return self.wire


@dataclass(slots=True, frozen=True)
class Feed:
    head: tuple[Message, ...]  # metadata and sequence headers, sent once
    loop: tuple[Message, ...]  # in the order of their timestamps
    bitrate_bps: int


def chunked(csid: int, type_id: int, stream_id: int, body: bytes, chunk_bytes: int) -> bytearray:
    """A message with timestamp 0 as one fmt 0 chunk and the fmt 3 chunks that it needs."""
    wire = bytearray((csid, 0, 0, 0))
    wire += len(body).to_bytes(3, "big") + bytes((type_id,)) + stream_id.to_bytes(4, "little")
    for start in range(0, len(body), chunk_bytes):
        wire += (bytes((0xC0 | csid,)) if start else b"") + body[start : start + chunk_bytes]
    return wire


def load(chunk_bytes: int = 4096, bitrate_bps: int = 4_000_000) -> Feed:
    """The feed for message stream 1. Its file is made at the first call and kept in the temporary folder."""
    path = Path(tempfile.gettempdir()) / f"mbashara-bench-{bitrate_bps}.flv"
    if not path.exists():
        _encode(path, bitrate_bps)
    tags = _read_tags(path.read_bytes())
    head = tuple(_message(kind, 0, body, chunk_bytes) for kind, _, body in tags if _is_head(kind, body))
    loop = _loop(tags, VIDEO, 480, chunk_bytes) + _loop(tags, AUDIO, 750, chunk_bytes)
    size_bits = 8 * sum(len(message.wire) for message in loop)
    return Feed(head, tuple(sorted(loop, key=lambda m: m.timestamp_ms)), size_bits * 1000 // LOOP_MS)


def _encode(path: Path, bitrate_bps: int) -> None:
    rate = str(bitrate_bps)
    part = path.with_suffix(".part.flv")
    # Noise, because a plain test card would not fill 4 Mbit/s.
    picture = "testsrc2=size=1280x720:rate=30,noise=alls=24:allf=t"
    subprocess.run(
        [
            imageio_ffmpeg.get_ffmpeg_exe(),
            "-y",
            "-v",
            "error",
            "-f",
            "lavfi",
            "-i",
            picture,
            "-f",
            "lavfi",
            "-i",
            "sine=frequency=440:sample_rate=48000",
            "-t",
            "16.2",
            "-c:v",
            "libx264",
            "-preset",
            "ultrafast",
            "-tune",
            "zerolatency",
            "-pix_fmt",
            "yuv420p",
            "-b:v",
            rate,
            "-maxrate",
            rate,
            "-bufsize",
            rate,
            "-g",
            "60",
            "-keyint_min",
            "60",
            "-sc_threshold",
            "0",
            "-c:a",
            "aac",
            "-b:a",
            "128k",
            "-ac",
            "2",
            "-f",
            "flv",
            str(part),
        ],
        check=True,
    )
    part.replace(path)


def _read_tags(flv: bytes) -> list[tuple[int, int, bytes]]:
    tags, at = [], 9 + 4  # FLV header, then PreviousTagSize0 (Adobe FLV 10.1 annex E)
    while at + 11 <= len(flv):
        size = int.from_bytes(flv[at + 1 : at + 4], "big")
        timestamp_ms = int.from_bytes(flv[at + 4 : at + 7], "big") | flv[at + 7] << 24
        tags.append((flv[at], timestamp_ms, flv[at + 11 : at + 11 + size]))
        at += 11 + size + 4
    return tags


def _is_head(kind: int, body: bytes) -> bool:
    return kind == DATA or body[1] == 0  # packet type 0: AVCDecoderConfigurationRecord or AudioSpecificConfig


def _loop(tags: list[tuple[int, int, bytes]], kind: int, count: int, chunk_bytes: int) -> list[Message]:
    wanted = [tag for tag in tags if tag[0] == kind and not _is_head(kind, tag[2])][:count]
    assert len(wanted) == count, "the encoder made too few frames for a whole loop"
    return [_message(kind, ts - wanted[0][1], body, chunk_bytes) for _, ts, body in wanted]


def _message(kind: int, timestamp_ms: int, body: bytes, chunk_bytes: int) -> Message:
    if kind == DATA:
        return Message(kind, timestamp_ms, chunked(4, kind, 1, body, chunk_bytes), 0)
    if kind == AUDIO or _is_head(kind, body):
        return Message(kind, timestamp_ms, chunked(4 if kind == AUDIO else 6, kind, 1, body, chunk_bytes), 0)
    sei = b"\x06\x05" + bytes((16 + _CLOCK_DIGITS,)) + CLOCK_UUID + b"0" * _CLOCK_DIGITS + b"\x80"
    body = body[:_AVC_TAG_BYTES] + len(sei).to_bytes(4, "big") + sei + body[_AVC_TAG_BYTES:]
    clock_at = _MESSAGE_HEADER_BYTES + _AVC_TAG_BYTES + 4 + 3 + len(CLOCK_UUID)
    return Message(kind, timestamp_ms, chunked(6, kind, 1, body, chunk_bytes), clock_at)
