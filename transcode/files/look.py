"""Looks into a file: `python -m transcode.files.look`, in a cage, with the file as its standard input.

Every packet is read once and none kept, so lengths are what is there and not what a header says; some pictures are
decoded. One JSON object on standard output: the facts, or {"trouble": ...}. Runs in a process of its own alone.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

from core import cage
from core.cage import Limits
from transcode.files.facts import (
    CONTAINERS,
    TELL_LENGTH,
    FileFacts,
    Picture,
    Refused,
    Sound,
    Trouble,
    longest_segment_ms,
)

LIMITS = Limits(memory_bytes=2 << 30, cpu_s=1800)
TIMEOUT_S = 7200.0
JUMP_MS = 10_000
PICTURES_DECODED = 8
MAX_DECODED_PACKETS = 300
EARLIEST = datetime(1920, 1, 1, tzinfo=UTC)
"""A file that says it is older says nothing: QuickTime's zero is in 1904."""
ASF_HEAD_BYTES = 1 << 16
ASF_ENCRYPTION = (
    bytes.fromhex("fbb3112223bdd211b4b700a0c955fc6e"),  # Content Encryption Object
    bytes.fromhex("14e68a292226174cb935dae07ee9289c"),  # Extended Content Encryption Object
)
MAX_MOVIE_BYTES = 256 << 20
OPTIONS = {"format_whitelist": CONTAINERS, "protocol_whitelist": "none"}


def look(file: Path, *, while_waiting: Callable[[], None] = lambda: None) -> FileFacts | Refused:
    """Blocks, maybe for minutes; `while_waiting` is called some times a second and may raise. Raises OSError where the
    file can't be opened."""
    with file.open("rb") as source:
        child = subprocess.Popen(
            [sys.executable, "-m", "transcode.files.look"], stdin=source, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, env=cage.environment(), preexec_fn=cage.enter(LIMITS, sys.executable),
        )  # fmt: skip
    with child:
        try:
            told = _wait(child, while_waiting)
        finally:
            child.kill()
    if told is None:
        return Refused(Trouble.BROKEN)
    found = json.loads(told)
    return Refused(Trouble(found["trouble"])) if "trouble" in found else FileFacts.from_json(found)


def _wait(child: "subprocess.Popen[bytes]", while_waiting: Callable[[], None]) -> bytes | None:
    waited_s = 0.0
    while True:
        try:
            told, _ = child.communicate(timeout=0.25)
        except subprocess.TimeoutExpired:
            waited_s += 0.25
            if waited_s > TIMEOUT_S:
                return None
            while_waiting()
            continue
        return told if child.returncode == 0 and told else None


# In the cage.


@dataclass(slots=True)
class Walk:
    """One track's times as its packets pass, in milliseconds."""

    time_base: Fraction
    first_ms: float | None = None
    last_ms: float = 0.0
    end_ms: float = 0.0
    longest_ms: float = 0.0
    length_ms: float = 0.0
    size: int = 0
    is_steady: bool = True
    keys_ms: list[float] = field(default_factory=list)

    def take(self, packet: Any) -> None:
        self.size += packet.size
        stamp = packet.dts if packet.dts is not None else packet.pts
        if stamp is None:
            self.is_steady = False
            return
        at_ms = float(stamp * self.time_base * 1000)
        if self.first_ms is None:
            self.first_ms = at_ms
        else:
            step_ms = at_ms - self.last_ms
            if 0 <= step_ms <= JUMP_MS:
                self.length_ms += step_ms
                self.longest_ms = max(self.longest_ms, step_ms)
            else:
                self.is_steady = False
        self.last_ms = at_ms
        duration_ms = float((packet.duration or 0) * self.time_base * 1000)
        self.end_ms = self.length_ms + min(duration_ms, JUMP_MS)
        if packet.is_keyframe:
            self.keys_ms.append(at_ms)


def examine(file: Any) -> FileFacts | Refused:
    import av  # only the caged process loads it
    from av.error import FFmpegError

    try:
        container = av.open(file, "r", options=OPTIONS)
    except (FFmpegError, ValueError, OSError):
        return Refused(_unreadable(file))
    names = set(container.format.name.split(","))
    video = next((one for one in container.streams.video if not _is_cover(one)), None)
    audio = _chosen_sound(container.streams.audio)
    tracks = [one for one in (video, audio) if one is not None]
    walks = {one.index: Walk(one.time_base) for one in tracks if one.time_base is not None}
    shots = _Shots()
    try:
        for packet in container.demux(*tracks) if tracks else ():
            if packet.size:
                walks[packet.stream.index].take(packet)
                if packet.stream is video:
                    shots.take(packet)
    except FFmpegError:
        pass  # what follows can't be read: the length says so
    read_ms = max((walk.end_ms for walk in walks.values()), default=0.0)
    told_ms = round(container.duration / 1000) if container.duration and names & TELL_LENGTH else None
    shots.finish(video)
    return FileFacts(
        container=container.format.name, told_ms=told_ms, read_ms=round(read_ms), created=_created(container),
        encrypted=is_encrypted(file),
        picture=_picture(video, walks, shots), sound=_sound(audio, walks),
    )  # fmt: skip


class _Shots:
    """The first pictures, decoded for what no header says for certain."""

    def __init__(self) -> None:
        self.count = self.packets = self.rotation = 0
        self.interlaced = False

    def take(self, packet: Any) -> None:
        from av.error import FFmpegError

        if self.count >= PICTURES_DECODED or self.packets >= MAX_DECODED_PACKETS:
            return
        self.packets += 1
        try:
            for frame in packet.decode():
                self.count += 1
                self.interlaced |= bool(frame.interlaced_frame)
                self.rotation = int(frame.rotation)
        except FFmpegError:
            return

    def finish(self, stream: Any) -> None:
        """A short file's pictures are still in the decoder."""
        from av.error import FFmpegError

        if stream is not None and not self.count:
            with suppress(FFmpegError, EOFError):
                self.count += len(stream.codec_context.decode(None))


def _picture(stream: Any, walks: dict[int, Walk], shots: _Shots) -> Picture | None:
    walk = walks.get(stream.index) if stream is not None else None
    if stream is None or walk is None or walk.first_ms is None:
        return None
    context = stream.codec_context
    length_ms = walk.end_ms or 1.0
    return Picture(
        index=stream.index,
        codec=context.name,
        profile=str(stream.profile or ""),
        pixels=str(context.pix_fmt or ""),
        width=context.width,
        height=context.height,
        rate=str(stream.average_rate or stream.guessed_rate or 0),
        aspect=str(stream.sample_aspect_ratio or context.sample_aspect_ratio or 0),
        rotation=shots.rotation,
        interlaced=shots.interlaced,
        is_decoded=shots.count > 0,
        longest_frame_ms=walk.longest_ms,
        longest_segment_ms=longest_segment_ms(walk.keys_ms, walk.first_ms + walk.end_ms),
        bitrate_bps=round(walk.size * 8000 / length_ms),
        is_steady=walk.is_steady,
    )


def _sound(stream: Any, walks: dict[int, Walk]) -> Sound | None:
    walk = walks.get(stream.index) if stream is not None else None
    if stream is None or walk is None or walk.first_ms is None:
        return None
    context = stream.codec_context
    profile = str(stream.profile or "")
    return Sound(stream.index, context.name, profile, context.sample_rate, context.channels, walk.is_steady)


def _chosen_sound(streams: Any) -> Any:
    """The track that the file calls its own, else the first: what ffmpeg is told to take by its number."""
    from av.stream import Disposition

    found = [one for one in streams if one.codec_context is not None]
    return next((one for one in found if one.disposition & Disposition.default), found[0] if found else None)


def _is_cover(stream: Any) -> bool:
    """A picture of a song's album, not a moving one."""
    from av.stream import Disposition

    return bool(stream.disposition & Disposition.attached_pic) or stream.codec_context is None


def _created(container: Any) -> str | None:
    for text in (
        container.metadata.get("creation_time"),
        *(one.metadata.get("creation_time") for one in container.streams),
    ):
        try:
            at = datetime.fromisoformat(str(text).replace("Z", "+00:00")) if text else None
        except ValueError:
            continue
        if at is not None and EARLIEST < at.replace(tzinfo=at.tzinfo or UTC) < datetime.now(UTC):
            return at.replace(tzinfo=at.tzinfo or UTC).isoformat()
    return None


def is_encrypted(file: Any) -> bool:
    """Protected by a scheme of ISO 14496-12 (8.12: `sinf`, with `frma` and `schm` in it), or by one of ASF's."""
    file.seek(0)
    head = file.read(ASF_HEAD_BYTES)
    if head[4:8] != b"ftyp":
        return any(mark in head for mark in ASF_ENCRYPTION)
    movie = _movie(file)
    return all(mark in movie for mark in (b"sinf", b"frma", b"schm"))


def _movie(file: Any) -> bytes:
    """The `moov` of an MP4, as far as it is of a sane size."""
    at, size = 0, file.seek(0, os.SEEK_END)
    while at + 16 <= size:
        file.seek(at)
        head = file.read(16)
        length, start = int.from_bytes(head[:4]), 8
        if length == 1:
            length, start = int.from_bytes(head[8:16]), 16
        if head[4:8] == b"moov":
            file.seek(at + start)
            return bytes(file.read(min(max(length - start, 0), MAX_MOVIE_BYTES)))
        if length < 8:
            break
        at += length
    return b""


def _unreadable(file: Any) -> Trouble:
    """An MP4 that never got its index is not whole; anything else is no media."""
    file.seek(0)
    return Trouble.TRUNCATED if file.read(12)[4:8] == b"ftyp" else Trouble.NOT_MEDIA


def main() -> int:
    cage.shut()
    with os.fdopen(0, "rb", closefd=False) as file:
        found = examine(file)
    told = {"trouble": found.trouble} if isinstance(found, Refused) else found.as_json()
    sys.stdout.write(json.dumps(told))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
