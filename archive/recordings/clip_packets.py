"""The packets of a file that someone brings, whatever its container: each by the hash of what it encodes.

An ffmpeg of its own, which is given little, takes the container apart; nothing is decoded. H.264 counts as its slices
alone: parameter sets, SEI, delimiters and filler come and go with containers (ISO 14496-15, ITU-T H.264 7.4.1).
"""

import hashlib
import os
import re
import signal
import subprocess
import threading
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from subprocess import DEVNULL, PIPE
from typing import BinaryIO

from archive.recordings.samples import Stopped
from core import cage
from core.cage import Limits
from core.media import flv
from core.media.packet import Buffer, Kind, MediaError, Packet, Track

DIGEST_BYTES = 16
TIMEOUT_S = 1800.0
PROBE_TIMEOUT_S = 60.0
LIMITS = Limits(memory_bytes=2 << 30, cpu_s=1800)
MAX_TOLD_BYTES = 1 << 20
MAX_PACKETS = 4_000_000
MAX_TRACKS = 8
CONTAINERS = "mov,mp4,m4a,mpegts,matroska,webm,flv,avi,aac"
"""Those that name no other file or address."""
READ_BYTES = 1 << 18
_TAKEN = {"video": "h264", "audio": "aac"}
_STREAM = re.compile(r"^\s*Stream #0:(\d+)[^:]*: (Video|Audio): (\w+)(.*)$", re.M)
_NOT_CODED = frozenset({6, 7, 8, 9, 12})


class ClipError(Exception):
    """The file can't be read as media, or takes too much."""


@dataclass(slots=True)
class ClipTrack:
    """A track of the clip. `ids` numbers its packets by their hash, equal where those are; `times_ms` are decoding
    times. `codec` other than H.264 and AAC: nothing was read. `configs` are its decoder configurations, `last` is what
    its last packet encodes (`units`)."""

    kind: Kind
    codec: str
    ids: "array[int]" = field(default_factory=lambda: array("i"))
    times_ms: "array[int]" = field(default_factory=lambda: array("q"))
    configs: list[bytes] = field(default_factory=list)
    known: dict[bytes, int] = field(default_factory=dict)
    last: list[bytes] = field(default_factory=list)

    @property
    def is_readable(self) -> bool:
        return self.codec in _TAKEN.values()


def units(kind: Kind, payload: Buffer) -> list[bytes]:
    """What an MP4 sample encodes: a picture's slices, none where it holds nothing of the picture; sound as it is."""
    data = bytes(payload)
    if kind is Kind.AUDIO:
        return [data]
    found, at = list[bytes](), 0
    while at + 4 < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        if data[at + 4] & 31 not in _NOT_CODED:
            found.append(data[at + 4 : at + 4 + size].rstrip(b"\0"))  # zeros after a unit: of the byte stream (B.1)
        at += 4 + size
    return found


def packet_hash(kind: Kind, coded: Sequence[bytes]) -> bytes | None:
    """Of what a packet encodes; None where that is nothing."""
    if not coded:
        return None
    if kind is Kind.AUDIO:
        return hashlib.sha256(coded[0]).digest()[:DIGEST_BYTES]
    digest = hashlib.sha256()
    for unit in coded:
        digest.update(len(unit).to_bytes(4, "big"))
        digest.update(unit)
    return digest.digest()[:DIGEST_BYTES]


def is_beginning(torn: Sequence[bytes], whole: Sequence[bytes]) -> bool:
    """Whether a packet that was cut off in its middle is, as far as it goes, the other one, and is not all of it."""
    *before, last = torn or [b""]
    return (
        bool(last) and list(torn) != list(whole)
        and before == list(whole[: len(before)]) and len(before) < len(whole) and whole[len(before)].startswith(last)
    )  # fmt: skip


def read_clip(file: BinaryIO, ffmpeg: str, stop: Callable[[], bool] = lambda: False) -> list[ClipTrack]:
    """All its tracks, sound and picture. Blocks; several of a kind are read one after the other, as what ffmpeg hands
    over has room for one of each. Raises ClipError."""
    tracks: list[ClipTrack] = []
    passes: list[dict[Kind, tuple[int, ClipTrack]]] = []
    for index, kind, codec in _probe(file, ffmpeg)[: MAX_TRACKS + 1]:
        tracks.append(ClipTrack(kind, codec))
        if tracks[-1].is_readable:
            free = next((one for one in passes if kind not in one), None)
            if free is None:
                passes.append(free := {})
            free[kind] = index, tracks[-1]
    if not tracks:
        raise ClipError("no picture and no sound in it")
    if len(tracks) > MAX_TRACKS:
        raise ClipError("it has too many tracks")
    for one in passes:
        maps = [word for index, _ in one.values() for word in ("-map", f"0:{index}")]
        _fill({kind: track for kind, (_, track) in one.items()}, file, ffmpeg, maps, stop)
    return tracks


def _probe(file: BinaryIO, ffmpeg: str) -> list[tuple[int, Kind, str]]:
    with _started([*_input(ffmpeg, "info"), "-t", "0", "-f", "null", "-"], file, PROBE_TIMEOUT_S, stderr=PIPE) as child:
        assert child.stderr is not None
        told = child.stderr.read(MAX_TOLD_BYTES).decode(errors="replace")
        if len(told) < MAX_TOLD_BYTES and child.wait() == -signal.SIGKILL:
            raise ClipError("it takes too long to read")
    text = told.partition("Stream mapping:")[0].partition("\nOutput #0")[0]
    return [
        (int(index), Kind[kind.upper()], codec) for index, kind, codec, rest in _STREAM.findall(text)
        if "attached pic" not in rest
    ]  # fmt: skip


def _fill(
    tracks: dict[Kind, ClipTrack], file: BinaryIO, ffmpeg: str, maps: list[str], stop: Callable[[], bool]
) -> None:
    line = [
        *_input(ffmpeg, "error"), *maps, "-c", "copy", "-flvflags", "no_duration_filesize", "-f", "flv", "pipe:1",
    ]  # fmt: skip
    with _started(line, file, TIMEOUT_S, stdout=PIPE) as child:
        try:
            for item in _items(child, stop):
                _take(tracks[item.kind], item)
            if child.wait(10):
                raise ClipError("it is damaged, or not what it says it is")
        except (MediaError, subprocess.TimeoutExpired) as error:
            raise ClipError(str(error)) from error


def _items(child: "subprocess.Popen[bytes]", stop: Callable[[], bool]) -> Iterator[Packet | Track]:
    assert child.stdout is not None
    reader = flv.TagReader()
    while data := child.stdout.read(READ_BYTES):
        if stop():
            raise Stopped
        yield from reader.feed(data)


def _take(track: ClipTrack, item: Packet | Track) -> None:
    if not isinstance(item, Packet):
        if item.config not in track.configs:
            track.configs.append(item.config)
        return
    coded = units(item.kind, item.payload)
    digest = packet_hash(item.kind, coded)
    if digest is None:
        return
    track.last = coded
    if len(track.ids) >= MAX_PACKETS:
        raise ClipError("it is too long")
    track.ids.append(track.known.setdefault(digest, len(track.known)))
    track.times_ms.append(item.dts_ms)


def _input(ffmpeg: str, loglevel: str) -> list[str]:
    """It reads the file that its standard input is, where it may seek, and can open no other."""
    options = f"-hide_banner -nostats -nostdin -loglevel {loglevel} -protocol_whitelist fd,pipe"
    return [ffmpeg, *options.split(), "-format_whitelist", CONTAINERS, "-i", "fd:"]


@contextmanager
def _started(
    line: list[str], file: BinaryIO, timeout_s: float, stdout: int = DEVNULL, stderr: int = DEVNULL
) -> Iterator["subprocess.Popen[bytes]"]:
    """A caged child that does not outlive the block, nor its time."""
    os.lseek(file.fileno(), 0, os.SEEK_SET)
    child = subprocess.Popen(
        line, stdin=file, stdout=stdout, stderr=stderr, env=cage.environment(), preexec_fn=cage.enter(LIMITS, line[0])
    )
    timer = threading.Timer(timeout_s, child.kill)
    timer.start()
    with child:
        try:
            yield child
        finally:
            timer.cancel()
            child.kill()
