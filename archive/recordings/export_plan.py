"""What an export will hold: which samples of a recording, in which order, at which times; and the head of such a file.

Reads the heads of fragments alone. Times are milliseconds of the broadcast's timeline, which all renditions share.
"""

import bisect
import heapq
import itertools
import math
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from archive.recordings.samples import HOLE_MS, Absence, Chunk, Recorded, Rendition, Stopped, UnknownRecording
from archive.recordings.verify import NO_MEDIA
from core.media import mp4
from core.media.mp4 import SampleTable
from core.media.packet import Kind, Track
from core.media.window import Segment

FILE_MISSING = "file missing"
Stop = Callable[[], bool]


class ExportError(Exception):
    """Root of what keeps an export from being made. Nothing of it is left on the disk then."""


class NothingThere(ExportError):
    """The recording holds no media in the range."""


class Destroyed(NothingThere):
    """Nor will it again: its media were destroyed by order."""


@dataclass(frozen=True, slots=True)
class Range:
    """Milliseconds of the broadcast's timeline; None: to that end."""

    from_ms: int | None = None
    to_ms: int | None = None


WHOLE = Range()


@dataclass(frozen=True, slots=True)
class Piece:
    """What lies in a file from `file_ms` on without a gap: `from_ms` to `to_ms` of the timeline."""

    file_ms: int
    from_ms: int
    to_ms: int


@dataclass(frozen=True, slots=True)
class Planned:
    """A file that can be written. `size` is exact."""

    tracks: tuple["PlannedTrack", ...]
    pieces: tuple[Piece, ...]
    gaps: tuple[Absence, ...]
    size: int

    @property
    def duration_ms(self) -> int:
        return max(track.table.delay_ms + track.table.duration_ms for track in self.tracks)


def choose(
    recorded: Recorded, rendition: str | None = None, only_sound: bool = False
) -> tuple[Rendition | None, Rendition | None]:
    """Picture and sound. Without a name: the best of each; a rendition of sound alone is sound alone."""
    named = None if rendition is None else recorded.renditions.get(rendition)
    if rendition is not None and named is None:
        raise UnknownRecording(f"{recorded.folder.name} has no rendition {rendition}")
    is_sound = only_sound or (named is not None and named.kind is Kind.AUDIO)
    wanted = named.name if named is not None and named.kind is Kind.AUDIO else None
    video = None if is_sound else recorded.find(Kind.VIDEO, named.name if named is not None else None)
    return video, recorded.find(Kind.AUDIO, wanted)


def plan(
    recorded: Recorded, video: Rendition | None, sound: Rendition | None, asked: Range = WHOLE,
    stop: Stop = lambda: False,
) -> list[Planned]:  # fmt: skip
    """Reads the heads of the range's fragments. Raises NothingThere."""
    renditions = [one for one in (video, sound) if one is not None and one.segments]
    if not renditions:
        raise NothingThere(recorded.folder.name)
    start = _start(renditions[0], asked.from_ms)
    turns = _turns(renditions)
    made: list[Planned] = []
    for first, after in zip(turns, [*turns[1:], None], strict=True):
        tracks = [
            PlannedTrack(one, start.decoded_ms if one is video else start.shown_ms, asked.to_ms) for one in renditions
        ]
        for track in tracks:
            for chunk in track.rendition.chunks(track.segments(first, after)):
                if stop():
                    raise Stopped
                track.take(chunk)
        if any(track.has_samples for track in tracks):
            made.append(_lay_out(recorded, [track for track in tracks if track.has_samples]))
    if not made:
        raise NothingThere(recorded.folder.name)
    return made


def why(recorded: Recorded, from_ms: int, to_ms: int) -> str:
    """The cause of a gap that the ledger tells; else that nothing came, or that a file is gone."""
    for absence in recorded.absences:
        if absence.from_ms < to_ms and from_ms < absence.to_ms:
            return absence.cause
    for rendition in recorded.renditions.values():
        for segment in rendition.segments:
            begins, ends = segment.start_ms, segment.start_ms + segment.duration_s * 1000
            if begins < to_ms - 1 and from_ms < ends - 1 and not segment.gap:
                return FILE_MISSING
    return NO_MEDIA


class _Start(NamedTuple):
    """A keyframe's times on the timeline."""

    shown_ms: float
    decoded_ms: float


def _start(lead: Rendition, from_ms: int | None) -> _Start:
    """The last keyframe shown at or before `from_ms`. Across a gap there is no going back: sound begins right there
    then, and the picture with its next keyframe."""
    if from_ms is None:
        return _Start(-math.inf, -math.inf)
    if from_ms >= lead.end_ms:
        return _Start(from_ms, from_ms)
    at = bisect.bisect_right([one.start_ms for one in lead.segments], from_ms)
    for segment in reversed(lead.segments[:at]):
        keys = [key for key in _keys(lead, segment) if key.shown_ms <= from_ms]
        if keys:
            return keys[-1]
        if segment.gap or segment.discontinuity:
            break
    return _Start(from_ms, from_ms)


def _keys(rendition: Rendition, segment: Segment) -> Iterator[_Start]:
    """Its keyframes; of sound, each frame is one."""
    for chunk in rendition.chunks([segment]):
        timescale = rendition.track(segment.init).timescale
        time = chunk.samples.decode_time
        rows = zip(chunk.samples.keys, chunk.samples.offsets, chunk.samples.durations, strict=True)
        for is_key, offset, duration in rows:
            if is_key:
                yield _Start((time + offset) * 1000 / timescale, time * 1000 / timescale)
            time += duration


def _turns(renditions: Sequence[Rendition]) -> list[int]:
    """The media sequence numbers at which a new file begins: the first, and where a configuration is another one."""
    turns = {min(one.segments[0].msn for one in renditions)}
    for rendition in renditions:
        known: dict[int, Track] = {}
        before: Track | None = None
        for segment in rendition.segments:
            if segment.gap:
                continue
            if segment.init not in known:
                known[segment.init] = rendition.track(segment.init)
            track = known[segment.init]
            if before is not None and track.config != before.config:
                turns.add(segment.msn)
            before = track
    return sorted(turns)


class PlannedTrack:
    """A track of a planned file: what of a rendition can be decoded and lies in the range, and in which bytes of which
    segments it is. Chunks are taken in order; of each only numbers stay."""

    def __init__(self, rendition: Rendition, start_ms: float, to_ms: int | None) -> None:
        self.rendition = rendition
        self.msns, self.places, self.sizes = array("I"), array("Q"), array("Q")
        self.times_ms = array("d")
        self.spans: list[tuple[float, float]] = []  # shown, in milliseconds of the timeline
        self._waits: list[int] = []  # the entries of `table.durations` between the spans
        self._inits = {one.msn: one.init for one in rendition.segments}
        self._start_ms, self._to_ms = start_ms, to_ms
        self._needs_key = True
        self._read_end: int | None = None
        self._end = 0
        self._shown_end = 0

    @property
    def has_samples(self) -> bool:
        return bool(self.msns)

    @property
    def init(self) -> int:
        return self._inits[self.msns[0]]

    def segments(self, first: int, after: int | None) -> list[Segment]:
        """Those from one media sequence number to before another that may lie in the range."""
        to_ms = math.inf if self._to_ms is None else self._to_ms
        return [
            one for one in self.rendition.segments
            if first <= one.msn and (after is None or one.msn < after) and one.start_ms < to_ms
            and one.start_ms + one.duration_s * 1000 + HOLE_MS >= self._start_ms
        ]  # fmt: skip

    def take(self, chunk: Chunk) -> None:
        if not self.has_samples and self._read_end is None:
            self.table = SampleTable(self.rendition.track(self._inits[chunk.msn]))
        hole = HOLE_MS * self.table.track.timescale // 1000
        if self._read_end is not None and chunk.samples.decode_time - self._read_end > hole:
            self._needs_key = True
        self._read_end = chunk.samples.decode_time + sum(chunk.samples.durations)
        part = self._wanted(chunk)
        if part is not None:
            self._add(part, hole)

    def _wanted(self, chunk: Chunk) -> Chunk | None:
        samples, timescale = chunk.samples, self.table.track.timescale
        from_tick = self._start_ms * timescale / 1000
        to_tick = math.inf if self._to_ms is None else self._to_ms * timescale / 1000
        first, last, time = None, 0, samples.decode_time
        rows = zip(samples.keys, samples.durations, samples.offsets, strict=True)
        for number, (is_key, duration, offset) in enumerate(rows):
            is_wanted = from_tick <= time and (time < to_tick or self._is_torn(time))
            if is_wanted and (is_key or not self._needs_key):
                self._needs_key = False
                first = number if first is None else first
                last = number + 1
                self._shown_end = max(self._shown_end, time + offset + duration)
            time += duration
        return None if first is None else _part_of(chunk, first, last)

    def _is_torn(self, time: int) -> bool:
        """Whether a picture was taken that is shown after ones that are decoded later: those belong to it."""
        return time + self.table.skip < self._shown_end <= time + self.table.track.timescale

    def _add(self, chunk: Chunk, hole: int) -> None:
        samples, table = chunk.samples, self.table
        time, lasts = samples.decode_time, sum(samples.durations)
        if not self.has_samples:
            shown = itertools.accumulate(samples.durations[:-1], initial=0)
            table.skip = max(0, min(at + offset for at, offset in zip(shown, samples.offsets, strict=True)))
            self._begin(time)
        elif time != self._end:
            entry = table.wait(time - self._end)
            if time - self._end > hole:
                self._waits.append(entry)
                self._begin(time)
        table.add_chunk(samples.sizes, samples.durations, samples.offsets, samples.keys)
        self._end = max(time, self._end) + lasts
        self.spans[-1] = (self.spans[-1][0], (self._end + table.skip) * 1000 / table.track.timescale)
        self.msns.append(chunk.msn)
        self.places.append(chunk.place)
        self.sizes.append(sum(samples.sizes))
        self.times_ms.append(time * 1000 / table.track.timescale)

    def _begin(self, time: int) -> None:
        begins = (time + self.table.skip) * 1000 / self.table.track.timescale
        self.spans.append((begins, begins))

    def settle(self, origin_ms: float, gaps: Sequence[tuple[float, float]]) -> None:
        """Leaves the gaps out, which are holes of this track too or lie in one."""
        self.table.delay_ms = round(self.spans[0][0] - origin_ms)
        for begins, ends in gaps:
            if ends <= self.spans[0][0] + 1:
                self.table.delay_ms -= round(ends - begins)
            for entry, before, after in zip(self._waits, self.spans, self.spans[1:], strict=False):
                if before[1] <= begins + 1 and ends <= after[0] + 1:
                    self.table.shorten(entry, round((ends - begins) * self.table.track.timescale / 1000))


def _part_of(chunk: Chunk, first: int, last: int) -> Chunk:
    samples = chunk.samples
    if first == 0 and last == len(samples.sizes):
        return chunk
    part = samples._replace(
        decode_time=samples.decode_time + sum(samples.durations[:first]), sizes=samples.sizes[first:last],
        durations=samples.durations[first:last], offsets=samples.offsets[first:last], keys=samples.keys[first:last],
    )  # fmt: skip
    return Chunk(chunk.msn, chunk.place + sum(samples.sizes[:first]), part)


def _lay_out(recorded: Recorded, tracks: Sequence[PlannedTrack]) -> Planned:
    """Where neither picture nor sound is, is a gap; the rest becomes pieces, one after the other."""
    together: list[tuple[float, float]] = []
    for begins, ends in sorted(span for track in tracks for span in track.spans):
        if together and begins - together[-1][1] <= HOLE_MS:
            together[-1] = (together[-1][0], max(together[-1][1], ends))
        else:
            together.append((begins, ends))
    holes = [(one[1], after[0]) for one, after in itertools.pairwise(together)]
    for track in tracks:
        track.settle(together[0][0], holes)
    pieces, file_ms = [], 0.0
    for begins, ends in together:
        pieces.append(Piece(round(file_ms), round(begins), round(ends)))
        file_ms += ends - begins
    gaps = [Absence(round(one), round(after), why(recorded, round(one), round(after))) for one, after in holes]
    media = sum(sum(track.sizes) for track in tracks)
    return Planned(tuple(tracks), tuple(pieces), tuple(gaps), len(head(recorded, tracks, pieces, media)) + media)


def head(recorded: Recorded, tracks: Sequence[PlannedTrack], pieces: Sequence[Piece], media: int) -> bytes:
    """Everything before the first sample."""
    tables = [track.table for track in tracks]
    at = [array("Q", bytes(8 * len(track.sizes))) for track in tracks]
    place = 0
    for number, chunk in order(tracks):
        at[number][chunk] = place
        place += tracks[number].sizes[chunk]
    recorded_s = (recorded.origin_ms + pieces[0].from_ms) // 1000
    is_large = media > mp4.LARGE_BYTES
    first = mp4.file_type([table.track for table in tables])
    last = mp4.media_header(media)
    base = len(first) + len(mp4.movie(tables, at, recorded_s, is_large)) + len(last)
    for places in at:
        for chunk in range(len(places)):
            places[chunk] += base
    return first + mp4.movie(tables, at, recorded_s, is_large) + last


def order(tracks: Sequence[PlannedTrack]) -> Iterator[tuple[int, int]]:
    """The chunks of all tracks by time: number of the track, number of the chunk."""
    for _, number, chunk in heapq.merge(*(_rows(number, track) for number, track in enumerate(tracks))):
        yield number, chunk


def _rows(number: int, track: PlannedTrack) -> Iterator[tuple[float, int, int]]:
    for chunk, time_ms in enumerate(track.times_ms):
        yield time_ms, number, chunk
