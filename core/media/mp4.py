"""Progressive MP4 (ISO 14496-12): the header of a movie whose samples lie elsewhere already. No IO.

The header goes before the media ("fast start"), so a player begins with the first bytes and the file is written once.
"""

import struct
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise

from core.media.fmp4 import MATRIX, box, full_box, sample_entry
from core.media.packet import AudioTrack, Track, VideoTrack

MOVIE_TIMESCALE = 1000
LARGE_BYTES = 0xF0000000
"""From here on offsets take 64 bits: some way below 2^32, as credentials that are put in later move the media."""
_EPOCH_1904_S = 2_082_844_800
_NO_MEDIA = 0xFFFFFFFF


@dataclass(slots=True)
class Runs:
    """Numbers that mostly repeat, as how often and which: what `stts` and `ctts` hold."""

    counts: "array[int]" = field(default_factory=lambda: array("I"))
    values: "array[int]" = field(default_factory=lambda: array("q"))

    def add(self, value: int, count: int = 1) -> None:
        if self.values and self.values[-1] == value:
            self.counts[-1] += count
        else:
            self.counts.append(count)
            self.values.append(value)

    def pairs(self) -> Iterator[int]:
        for count, value in zip(self.counts, self.values, strict=True):
            yield count
            yield value & 0xFFFFFFFF


@dataclass(slots=True)
class SampleTable:
    """One track of the movie. Samples are added in decoding order, chunk by chunk; times are ticks of the track.

    `delay_ms` is how much later than the movie the track begins, `skip` how many ticks of presentation time lie before
    its first picture (which is decoded before it is shown). A sample takes 5 to 9 bytes of memory.
    """

    track: Track
    delay_ms: int = 0
    skip: int = 0
    sizes: "array[int]" = field(default_factory=lambda: array("I"))
    durations: Runs = field(default_factory=Runs)
    offsets: Runs = field(default_factory=Runs)
    keys: "array[int]" = field(default_factory=lambda: array("I"))
    chunk_samples: "array[int]" = field(default_factory=lambda: array("I"))
    ticks: int = 0

    def add_chunk(
        self, sizes: Sequence[int], durations: Sequence[int], offsets: Sequence[int], keys: Sequence[bool]
    ) -> None:
        """Samples that lie side by side. `offsets`: presentation minus decoding time; `keys` needs no other sample."""
        first = len(self.sizes) + 1
        if not all(keys):
            self.keys.extend(first + number for number, is_key in enumerate(keys) if is_key)
        elif isinstance(self.track, VideoTrack):
            self.keys.extend(range(first, first + len(keys)))
        self.sizes.extend(sizes)
        for value, group in groupby(durations):
            self.durations.add(value, sum(1 for _ in group))
        for value, group in groupby(offsets):
            self.offsets.add(value, sum(1 for _ in group))
        self.chunk_samples.append(len(sizes))
        self.ticks += sum(durations)

    def wait(self, ticks: int) -> int:
        """Makes the newest sample last so much longer (or shorter), because the next one comes then. Returns where in
        `durations` its own entry is."""
        durations = self.durations
        last = durations.values[-1]
        ticks = max(ticks, 1 - last)
        durations.counts[-1] -= 1
        if not durations.counts[-1]:
            durations.counts.pop()
            durations.values.pop()
        durations.counts.append(1)
        durations.values.append(last + ticks)
        self.ticks += ticks
        return len(durations.values) - 1

    def shorten(self, entry: int, ticks: int) -> None:
        """Takes time out of an entry that `wait` made."""
        self.durations.values[entry] -= ticks
        self.ticks -= ticks

    @property
    def duration_ms(self) -> int:
        """As it is played, without what comes before."""
        return max(0, (self.ticks - self.skip) * 1000 // self.track.timescale)


def file_type(tracks: Sequence[Track]) -> bytes:
    is_sound = all(isinstance(track, AudioTrack) for track in tracks)
    major = b"M4A " if is_sound else b"isom"
    return box(b"ftyp", major, struct.pack(">I", 0x200), b"isomiso2mp42" if is_sound else b"isomiso2avc1mp41")


def movie(
    tables: Sequence[SampleTable], chunks: Sequence[Sequence[int]], recorded_unix_s: int, is_large: bool = False
) -> bytes:
    """The `moov`. `chunks` are the places in the file of each track's chunks, in bytes; they change no size of it.
    `is_large`: the file reaches `LARGE_BYTES`."""
    duration_ms = max((table.delay_ms + table.duration_ms for table in tables), default=0)
    created = recorded_unix_s + _EPOCH_1904_S & 0xFFFFFFFF
    header = full_box(
        b"mvhd", 0, 0, struct.pack(">IIIIIH10x", created, created, MOVIE_TIMESCALE, duration_ms, 0x10000, 0x100),
        MATRIX, bytes(24), struct.pack(">I", len(tables) + 1),
    )  # fmt: skip
    both = zip(tables, chunks, strict=True)
    traks = [_trak(number, table, places, is_large, created) for number, (table, places) in enumerate(both, 1)]
    return box(b"moov", header, *traks)


def media_header(size: int) -> bytes:
    """The head of an `mdat` with `size` bytes of samples; always of 16 bytes, so that places are known before sizes."""
    return struct.pack(">I4sQ", 1, b"mdat", size + 16)


def _trak(number: int, table: SampleTable, places: Sequence[int], is_large: bool, created: int) -> bytes:
    track = table.track
    is_video = isinstance(track, VideoTrack)
    width, height = (track.width, track.height) if isinstance(track, VideoTrack) else (0, 0)
    shown_ms = table.delay_ms + table.duration_ms
    header = full_box(
        b"tkhd", 0, 7,
        struct.pack(">IIIII8xHHHH", created, created, number, 0, shown_ms, 0, 0 if is_video else 1,
                    0 if is_video else 0x100, 0),
        MATRIX, struct.pack(">II", width << 16, height << 16),
    )  # fmt: skip
    media = box(
        b"mdia",
        full_box(
            b"mdhd", 1, 0, struct.pack(">QQIQHH", created, created, track.timescale, table.ticks, 0x55C4, 0)
        ),
        full_box(b"hdlr", 0, 0, bytes(4), b"vide" if is_video else b"soun", bytes(12), b"Mbashara\0"),
        box(
            b"minf",
            full_box(b"vmhd", 0, 1, bytes(8)) if is_video else full_box(b"smhd", 0, 0, bytes(4)),
            box(b"dinf", full_box(b"dref", 0, 0, struct.pack(">I", 1), full_box(b"url ", 0, 1))),
            _sample_table(table, places, is_large),
        ),
    )  # fmt: skip
    return box(b"trak", header, _edits(table), media)


def _edits(table: SampleTable) -> bytes:
    """Nothing for `delay_ms`, then the track from its first picture on (8.6.6)."""
    edits = [struct.pack(">IIHH", table.delay_ms, _NO_MEDIA, 1, 0)] if table.delay_ms else []
    edits.append(struct.pack(">IIHH", table.duration_ms, table.skip, 1, 0))
    return box(b"edts", full_box(b"elst", 0, 0, struct.pack(">I", len(edits)), *edits))


def _sample_table(table: SampleTable, places: Sequence[int], is_large: bool) -> bytes:
    boxes = [
        full_box(b"stsd", 0, 0, struct.pack(">I", 1), sample_entry(table.track)),
        _runs(b"stts", 0, table.durations),
        _sample_to_chunk(table.chunk_samples),
        full_box(b"stsz", 0, 0, struct.pack(">II", 0, len(table.sizes)), _big_endian(table.sizes)),
        full_box(
            b"co64" if is_large else b"stco", 0, 0, struct.pack(">I", len(places)),
            _big_endian(array("Q" if is_large else "I", places)),
        ),
    ]  # fmt: skip
    if any(table.offsets.values):
        boxes.insert(2, _runs(b"ctts", 1, table.offsets))
    if isinstance(table.track, VideoTrack):
        boxes.append(full_box(b"stss", 0, 0, struct.pack(">I", len(table.keys)), _big_endian(table.keys)))
    return box(b"stbl", *boxes)


def _runs(kind: bytes, version: int, runs: Runs) -> bytes:
    return full_box(kind, version, 0, struct.pack(">I", len(runs.counts)), _big_endian(array("I", runs.pairs())))


def _sample_to_chunk(chunk_samples: Sequence[int]) -> bytes:
    """From which chunk on how many samples are in each (8.7.4)."""
    changes = [1] if chunk_samples else []
    changes += [number + 2 for number, (one, following) in enumerate(pairwise(chunk_samples)) if one != following]
    rows = array("I")
    for first in changes:
        rows.extend((first, chunk_samples[first - 1], 1))
    return full_box(b"stsc", 0, 0, struct.pack(">I", len(changes)), _big_endian(rows))


def _big_endian(numbers: "array[int]") -> bytes:
    if struct.pack("=H", 1) == struct.pack(">H", 1):
        return numbers.tobytes()
    swapped = array(numbers.typecode, numbers)
    swapped.byteswap()
    return swapped.tobytes()
