"""What a recording's files hold, as samples on the broadcast's timeline: for exports of them and checks against them.

Only the heads of fragments are read, never the media itself, and one segment at a time.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from archive.recordings.ledger import LEDGER_NAME, Fact, read_facts
from archive.recordings.verify import NO_MEDIA
from core.media import fmp4, hls
from core.media.fmp4 import Samples
from core.media.packet import Kind, MediaError, Track
from core.media.window import Segment

HOLE_MS = 200
"""More than this between two samples is a hole; less is an encoder's jitter."""
MAX_MOOF_BYTES = 16 << 20


class UnknownRecording(Exception):
    """The folder holds no recording, or not the rendition that was asked for."""


class Stopped(Exception):
    """Whoever asked for it wants it no more."""


class Chunk(NamedTuple):
    """The samples of one fragment, side by side in segment `msn` from the byte `place` on."""

    msn: int
    place: int
    samples: Samples


@dataclass(frozen=True, slots=True)
class Absence:
    """A stretch of the timeline that the recording lacks, as its ledger says why."""

    from_ms: int
    to_ms: int
    cause: str
    rendition: str | None = None


@dataclass(frozen=True)
class Rendition:
    """One rendition's folder. `segments` are those that its index names, gaps too."""

    folder: Path
    kind: Kind
    bitrate_bps: int
    origin_ms: int

    @property
    def name(self) -> str:
        return self.folder.name

    @cached_property
    def segments(self) -> list[Segment]:
        try:
            return hls.read_index((self.folder / hls.PLAYLIST_NAME).read_text(), self.origin_ms).segments
        except FileNotFoundError:
            return []

    @property
    def end_ms(self) -> float:
        last = self.segments[-1:]
        return max((one.start_ms + one.duration_s * 1000 for one in last), default=0.0)

    def track(self, init: int) -> Track:
        return fmp4.read_track((self.folder / hls.init_name(init)).read_bytes())

    def chunks(self, segments: Sequence[Segment]) -> Iterator[Chunk]:
        """Of those segments whose file is there. Raises MediaError for one that is no segment."""
        for segment in segments:
            if not segment.gap:
                yield from _read_chunks(self.folder / hls.segment_name(segment.msn), segment.msn)


@dataclass(frozen=True, slots=True)
class Recorded:
    """A recording as its folder tells of it, without a database."""

    folder: Path
    started: Fact
    renditions: Mapping[str, Rendition]
    absences: tuple[Absence, ...]
    hashes: Mapping[str, str]
    """The ledger's SHA-256 of each file, by its path in the folder."""

    @property
    def origin_ms(self) -> int:
        return int(self.started["origin_ms"])

    def of_kind(self, kind: Kind) -> list[Rendition]:
        """The source first, then by what they take."""
        found = [one for one in self.renditions.values() if one.kind is kind]
        return sorted(found, key=lambda one: (not one.name.startswith("source"), -one.bitrate_bps, one.name))

    def find(self, kind: Kind, name: str | None = None) -> Rendition | None:
        """The best, or the one of that name."""
        return next((one for one in self.of_kind(kind) if name in (None, one.name)), None)


def read_recorded(folder: Path) -> Recorded:
    """Raises UnknownRecording where there is none."""
    started: Fact | None = None
    told: dict[str, Fact] = {}
    absences, silent = list[Absence](), list[Absence]()
    hashes: dict[str, str] = {}
    for fact in read_facts(folder):
        match fact["fact"]:
            case "started":
                started = fact
            case "rendition":
                told[fact["name"]] = fact
            case "gap" | "absent":
                absences.append(Absence(fact["from_ms"], fact["to_ms"], fact["cause"], fact.get("rendition")))
            case "file":
                hashes[fact["name"]] = fact["sha256"]
                of = fact.get("rendition")
                silent += [Absence(since, until, NO_MEDIA, of) for since, until in fact.get("gaps") or ()]
    if started is None:
        raise UnknownRecording(folder.name)
    origin_ms = int(started["origin_ms"])
    renditions = {
        name: Rendition(folder / name, Kind[fact["kind"].upper()], fact.get("bitrate_bps") or 0, origin_ms)
        for name, fact in told.items()
    }
    absences = sorted(absences, key=lambda one: one.rendition is not None)
    return Recorded(folder, started, renditions, (*absences, *silent), hashes)


def _read_chunks(path: Path, msn: int) -> Iterator[Chunk]:
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return
    try:
        at = 0
        while len(head := os.pread(descriptor, 8, at)) == 8:
            size, kind = int.from_bytes(head[:4], "big"), head[4:]
            if size < 8 or (kind == b"moof" and size > MAX_MOOF_BYTES):
                raise MediaError(f"{path.name} is no segment")
            if kind == b"moof":
                yield Chunk(msn, at + size + 8, fmp4.read_samples(os.pread(descriptor, size, at)))
            at += size
    finally:
        os.close(descriptor)


def ledger_head(folder: Path) -> str:
    """SHA-256 of the ledger's last whole line, without its newline; of none, 64 zeros."""
    with suppress(FileNotFoundError), (folder / LEDGER_NAME).open("rb") as file:
        last = b""
        for line in file:
            last = line if line.endswith(b"\n") else last
        if last:
            return hashlib.sha256(last.rstrip(b"\n")).hexdigest()
    return "0" * 64
