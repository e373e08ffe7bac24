"""Whether a file that someone brings is a stretch of a recording: byte for byte, packet by packet.

The answer is data, not words: which stretch it is, or what is lacking, foreign, moved or played at another speed. What
was encoded anew has other bytes, and of it nothing can be said; it looks as what is of another recording does.
"""

import itertools
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import BinaryIO

from archive.recordings import clip_match, clip_packets
from archive.recordings.clip_match import Run
from archive.recordings.clip_packets import ClipError, ClipTrack, packet_hash, read_clip
from archive.recordings.samples import HOLE_MS, Recorded, Rendition, Stopped, read_recorded
from core.media import hls
from core.media.packet import Kind, MediaError
from core.media.window import Segment

NEAR_MS = 15_000
PACE_TOLERANCE = 0.02
PACE_MIN_MS = 2000
SYNC_TOLERANCE_MS = 400
FEWEST_FOUND = 0.05
"""Where less of a track than this is found, that is chance."""

Progress = Callable[[float], None]
Stop = Callable[[], bool]


class Verdict(Enum):
    """Of a track, and of the clip as a whole. The order is that of gravity."""

    WHOLE = "whole"
    """Every packet is in the recording, in order, with nothing left out between them."""
    TORN = "torn"
    """So it is, but its last packet is cut off in the middle, as a download that broke off leaves it."""
    CUT = "cut"
    """So it is, but something between them is left out."""
    REORDERED = "reordered"
    """Every packet is in the recording, but not in this order, or more often than once."""
    RETIMED = "retimed"
    """Every packet is there, but is played faster or slower than it was."""
    SOUND_ELSEWHERE = "sound_elsewhere"
    """Picture and sound are both of the recording, but of different moments. Of a clip only."""
    PARTLY = "partly"
    """Of picture and sound one is of the recording, of the other nothing can be proven. Of a clip only."""
    RE_ENCODED = "re_encoded"
    """None of it is there, and it is encoded otherwise: it was encoded anew, or is of another recording."""
    NOT_FOUND = "not_found"
    """None of it is there, though it is encoded as the recording is: it is of another one, or encoded anew with the
    same settings."""
    CHANGED = "changed"
    """Packets that are not in the recording stand among those that are; or the sound, or the picture, is another."""
    UNREADABLE = "unreadable"
    """The file is no media that we can take apart."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """`clip_from_ms` to `clip_to_ms` of the clip are `from_ms` to `to_ms` of the broadcast's timeline."""

    clip_from_ms: int
    clip_to_ms: int
    from_ms: int
    to_ms: int


@dataclass(frozen=True, slots=True)
class Span:
    """Milliseconds, of the clip or of the broadcast's timeline; and how many packets."""

    from_ms: int
    to_ms: int
    packets: int


@dataclass(frozen=True, slots=True)
class TrackFinding:
    """`lacking` is on the broadcast's timeline, `foreign` on the clip's own. `pace` is how many times as fast as
    recorded it is played. `torn_ms` is when in the clip a last packet begins of which only the beginning is there:
    it is among `packets`, and neither found nor foreign."""

    kind: Kind
    verdict: Verdict
    packets: int = 0
    found: int = 0
    rendition: str | None = None
    stretches: tuple[Stretch, ...] = ()
    lacking: tuple[Span, ...] = ()
    foreign: tuple[Span, ...] = ()
    pace: float = 1.0
    torn_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """Wall clock (Unix, ms) is `origin_ms` plus `from_ms`, None where nothing was found. `sound_ms` is how much later
    than its picture the sound was recorded."""

    verdict: Verdict
    origin_ms: int
    from_ms: int | None
    to_ms: int | None
    tracks: tuple[TrackFinding, ...]
    sound_ms: int = 0
    why: str = ""


def check_clip(
    file: BinaryIO, folder: Path, ffmpeg: str, *, progress: Progress = lambda _: None, stop: Stop = lambda: False
) -> Finding:
    """Holds a file against a recording's folder. Blocks; reads no more of the recording than it must, one segment at a
    time; some 13 bytes of memory a packet. Raises UnknownRecording, Stopped, OSError."""
    recorded = read_recorded(folder)
    try:
        tracks = read_clip(file, ffmpeg, stop)
    except ClipError as error:
        return Finding(Verdict.UNREADABLE, recorded.origin_ms, None, None, (), why=str(error))
    order = sorted(tracks, key=lambda track: track.kind is Kind.VIDEO)  # sound is small, and says where to look
    matches: list[_Match] = []
    for number, track in enumerate(order):

        def tell(part: float, number: int = number) -> None:
            progress((number + part) / len(order))

        near = next((match.hull for match in matches if match.runs), None)
        matches.append(_find(recorded, track, near, tell, stop))
    progress(1.0)
    return _judge(recorded, matches)


@dataclass(slots=True)
class _Heard:
    """A rendition's packets, as far as they were read. `ids` are the clip's numbers, -1 for what is not in it."""

    rendition: Rendition
    ids: "array[int]" = field(default_factory=lambda: array("i"))
    times_ms: "array[float]" = field(default_factory=lambda: array("d"))
    optional: bytearray = field(default_factory=bytearray)
    """1 for pictures after a hole, before the next keyframe: no player shows them, so a clip may lack them."""
    places: dict[int, list[int]] = field(default_factory=dict)
    goes_on: set[int] = field(default_factory=set)
    """The places of packets that begin with all there is of the clip's last one."""


@dataclass(slots=True)
class _Match:
    track: ClipTrack
    heard: _Heard | None = None
    runs: list[Run] = field(default_factory=list)
    is_same_encoding: bool = False

    @property
    def found(self) -> int:
        return sum(run.packets for run in self.runs)

    @property
    def is_whole(self) -> bool:
        return self.found == len(self.track.ids) > 0

    @property
    def hull(self) -> tuple[float, float]:
        """From the first to the last moment of the recording that was found."""
        assert self.heard is not None
        times = self.heard.times_ms
        return min(times[run.recorded] for run in self.runs), max(times[run.recorded_end - 1] for run in self.runs)

    def offset_ms(self, run: Run) -> float:
        assert self.heard is not None
        return self.heard.times_ms[run.recorded] - self.track.times_ms[run.clip]


def _find(
    recorded: Recorded, track: ClipTrack, near: tuple[float, float] | None, progress: Progress, stop: Stop
) -> _Match:
    """In the rendition that has most of it; those that are encoded as the clip is are read first."""
    renditions = recorded.of_kind(track.kind)
    alike = [one for one in renditions if _configs(one) & set(track.configs)]
    best = _Match(track, is_same_encoding=bool(alike))
    if not track.ids:
        return best
    order = [*alike, *(one for one in renditions if one not in alike)]
    for number, rendition in enumerate(order):

        def tell(part: float, number: int = number) -> None:
            progress((number + part) / len(order))

        for limits in dict.fromkeys((near, None)):
            heard = _hear(rendition, track, limits, tell, stop)
            match = _Match(track, heard, clip_match.align(track.ids, heard.ids, heard.places), bool(alike))
            if match.found < FEWEST_FOUND * len(track.ids):
                match.runs.clear()
            best = max(best, match, key=lambda one: one.found)
            if best.is_whole:
                return best
        if best.found > len(track.ids) // 2:
            break
    return best


def _configs(rendition: Rendition) -> set[bytes]:
    found: set[bytes] = set()
    for init in {segment.init for segment in rendition.segments}:
        try:
            found.add(rendition.track(init).config)
        except (OSError, MediaError):
            continue
    return found


def _hear(
    rendition: Rendition, track: ClipTrack, near: tuple[float, float] | None, progress: Progress, stop: Stop
) -> _Heard:
    heard = _Heard(rendition)
    wanted = [one for one in rendition.segments if not one.gap and (near is None or _touches(one, near))]
    end_ms, needs_key = -1.0, True
    for number, segment in enumerate(wanted):
        if stop():
            raise Stopped
        for time_ms, duration_ms, is_key, coded in _packets(rendition, segment):
            needs_key = not is_key and (needs_key or (end_ms >= 0 and time_ms - end_ms > HOLE_MS))
            end_ms = time_ms + duration_ms
            digest = packet_hash(rendition.kind, coded)
            if digest is None:
                continue
            if clip_packets.is_beginning(track.last, coded):
                heard.goes_on.add(len(heard.ids))
            known = track.known.get(digest, -1)
            if known >= 0:
                heard.places.setdefault(known, []).append(len(heard.ids))
            heard.ids.append(known)
            heard.times_ms.append(time_ms)
            heard.optional.append(needs_key)
        progress((number + 1) / len(wanted))
    return heard


def _touches(segment: Segment, near: tuple[float, float]) -> bool:
    return segment.start_ms < near[1] + NEAR_MS and segment.start_ms + segment.duration_s * 1000 > near[0] - NEAR_MS


def _packets(rendition: Rendition, segment: Segment) -> Iterator[tuple[float, float, bool, list[bytes]]]:
    """Time and duration (ms), whether it is a keyframe, what it encodes. A file that is gone or torn has no packets."""
    try:
        data = (rendition.folder / hls.segment_name(segment.msn)).read_bytes()
        timescale = rendition.track(segment.init).timescale
        for chunk in rendition.chunks([segment]):
            at, time = chunk.place, chunk.samples.decode_time
            rows = zip(chunk.samples.sizes, chunk.samples.durations, chunk.samples.keys, strict=True)
            for size, duration, is_key in rows:
                coded = clip_packets.units(rendition.kind, memoryview(data)[at : at + size])
                yield time * 1000 / timescale, duration * 1000 / timescale, is_key, coded
                at += size
                time += duration
    except (FileNotFoundError, MediaError):
        return


def _judge(recorded: Recorded, matches: Sequence[_Match]) -> Finding:
    picture = next((one for one in matches if one.track.kind is Kind.VIDEO and one.runs), None)
    sound_ms = 0
    for sound in (one for one in matches if one.track.kind is Kind.AUDIO and one.runs):
        if picture is not None:
            sound_ms = max(sound_ms, _in_sync_ms(picture, sound), key=abs)
    tracks = tuple(_judge_track(match) for match in matches)
    hulls = [match.hull for match in matches if match.runs]
    from_ms = round(min(hull[0] for hull in hulls)) if hulls else None
    to_ms = round(max(one.to_ms for track in tracks for one in track.stretches)) if hulls else None
    verdict = _whole_verdict(tracks, sound_ms)
    return Finding(verdict, recorded.origin_ms, from_ms, to_ms, tracks, sound_ms)


def _in_sync_ms(picture: _Match, sound: _Match) -> int:
    """How much later than the picture the sound was recorded, placed as well as it can be."""
    late_ms = _sync_ms(picture, sound)
    if abs(late_ms) > SYNC_TOLERANCE_MS:
        _align_anew(sound, picture)
        late_ms = _sync_ms(picture, sound)
    return late_ms


def _whole_verdict(tracks: Sequence[TrackFinding], sound_ms: int) -> Verdict:
    gravity = list(Verdict)
    worst = max((track.verdict for track in tracks), key=gravity.index)
    is_found = any(track.found for track in tracks)
    if is_found and worst is Verdict.RE_ENCODED:
        return Verdict.PARTLY
    if is_found and worst is Verdict.NOT_FOUND:
        return Verdict.CHANGED
    if abs(sound_ms) > SYNC_TOLERANCE_MS and gravity.index(worst) < gravity.index(Verdict.SOUND_ELSEWHERE):
        return Verdict.SOUND_ELSEWHERE
    return worst


def _sync_ms(picture: _Match, sound: _Match) -> int:
    """The largest difference between where picture and sound of the same moment of the clip come from."""
    differences: list[float] = [
        sound.offset_ms(heard) - picture.offset_ms(seen)
        for seen in picture.runs for heard in sound.runs
        if _clip_times(picture, seen)[0] < _clip_times(sound, heard)[1]
        and _clip_times(sound, heard)[0] < _clip_times(picture, seen)[1]
    ]  # fmt: skip
    worst: float = max(differences, key=abs, default=0.0)
    return round(worst)


def _clip_times(match: _Match, run: Run) -> tuple[int, int]:
    return match.track.times_ms[run.clip], match.track.times_ms[run.clip_end - 1]


def _align_anew(sound: _Match, picture: _Match) -> None:
    """Silence is equal everywhere: it is looked for where the picture is before it is called out of place."""
    assert sound.heard is not None
    wanted_ms = sound.track.times_ms[0] + picture.offset_ms(picture.runs[0])
    times = sound.heard.times_ms
    expected = min(range(len(times)), key=lambda place: abs(times[place] - wanted_ms))
    runs = clip_match.align(sound.track.ids, sound.heard.ids, sound.heard.places, expected)
    if sum(run.packets for run in runs) >= sound.found:
        sound.runs = runs


def _judge_track(match: _Match) -> TrackFinding:
    track, heard = match.track, match.heard
    if heard is None or not match.runs:
        verdict = Verdict.NOT_FOUND if match.is_same_encoding else Verdict.RE_ENCODED
        return TrackFinding(track.kind, verdict, len(track.ids))
    last = match.runs[-1]
    is_torn = last.clip_end == len(track.ids) - 1 and last.recorded_end in heard.goes_on
    foreign = tuple(
        Span(track.times_ms[begins], track.times_ms[min(ends, len(track.ids) - 1)], ends - begins)
        for begins, ends in clip_match.foreign(len(track.ids) - is_torn, match.runs)
    )
    pairs = list(itertools.pairwise(match.runs))
    lacking = tuple(gap for one, after in pairs if (gap := _lacking(heard, one, after)) is not None)
    pace = _pace(match)
    if foreign:
        verdict = Verdict.CHANGED
    elif any(after.recorded < one.recorded_end for one, after in pairs):
        verdict = Verdict.REORDERED
    elif abs(pace - 1) > PACE_TOLERANCE:
        verdict = Verdict.RETIMED
    else:
        verdict = Verdict.CUT if lacking else Verdict.TORN if is_torn else Verdict.WHOLE
    stretches = tuple(_stretch(match, heard, run) for run in _joined(heard, match.runs))
    return TrackFinding(
        track.kind, verdict, len(track.ids), match.found, heard.rendition.name, stretches, lacking, foreign, pace,
        track.times_ms[-1] if is_torn else None,
    )  # fmt: skip


def _lacking(heard: _Heard, one: Run, after: Run) -> Span | None:
    """What a player would have shown between two runs."""
    between = range(one.recorded_end, after.recorded)
    count = sum(1 for place in between if not heard.optional[place])
    if not count:
        return None
    return Span(round(heard.times_ms[between[0]]), round(heard.times_ms[after.recorded]), count)


def _joined(heard: _Heard, runs: Sequence[Run]) -> list[Run]:
    """Runs between which nothing lacks are one."""
    joined: list[Run] = []
    for run in runs:
        last = joined[-1] if joined else None
        if last is not None and run.clip == last.clip_end and run.recorded == last.recorded_end:
            joined[-1] = Run(last.clip, last.recorded, last.packets + run.packets)
        else:
            joined.append(run)
    return joined


def _stretch(match: _Match, heard: _Heard, run: Run) -> Stretch:
    clip, times = match.track.times_ms, heard.times_ms
    return Stretch(
        clip[run.clip], _end(clip, run.clip, run.clip_end), round(times[run.recorded]),
        round(_end(times, run.recorded, run.recorded_end)),
    )  # fmt: skip


def _end(times: "array[int] | array[float]", begins: int, ends: int) -> int:
    """When the last packet is over: it lasts as long as the one before it."""
    last = times[ends - 1]
    return round(last + (last - times[ends - 2] if ends - begins > 1 else 0))


def _pace(match: _Match) -> float:
    """Recorded time over the clip's, where both go on without a hole."""
    assert match.heard is not None
    recorded_ms, clip_ms = 0.0, 0.0
    for run in match.runs:
        for number in range(1, run.packets):
            step_ms = match.heard.times_ms[run.recorded + number] - match.heard.times_ms[run.recorded + number - 1]
            if step_ms <= HOLE_MS:
                recorded_ms += step_ms
                clip_ms += match.track.times_ms[run.clip + number] - match.track.times_ms[run.clip + number - 1]
    if recorded_ms < PACE_MIN_MS or clip_ms <= 0:
        return 1.0
    return round(recorded_ms / clip_ms, 3)
