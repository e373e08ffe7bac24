"""After a restart: finds recordings that were not ended, makes their last segments whole, gives back their windows.

What a killed process leaves is a segment file that ends somewhere in a part, or some parts short of what viewers were
told: those are still files in the memory folder. Everything up to the last complete part becomes a segment like any
other.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from archive.recordings.ledger import (
    Fact,
    Ledger,
    LedgerDamaged,
    first_fact,
    has_begun,
    has_ended,
    make_fact,
    read_facts,
)
from archive.recordings.recorder import place_of
from archive.recordings.verify import (
    FEED_LOST,
    LEDGER_NAME,
    PICTURE_MS,
    REFUSED,
    SIGNATURES_NAME,
    hash_file,
    read_chain,
)
from core.keys import TurnedAway
from core.media import fmp4, hls
from core.media.files import replace_file
from core.media.packet import MediaError, Track
from core.media.window import Part, Segment, Storage

log = structlog.get_logger()

END = b"#EXT-X-ENDLIST\n"
SPARE = ("spare_lost", "spare_back")
STARTED_NAME = "started.json"
"""Beside the renditions' folders in memory: a recording's first fact."""
RECENT = 16
"""Segments of a rendition whose parts are listed: more than memory has any of."""


@dataclass(slots=True)
class RestoredRendition:
    """A rendition's last configuration and its segments, the last with their parts; `inits` counts init segments."""

    name: str
    track: Track
    segments: list[Segment]
    inits: int
    has_end: bool = False
    """Its index was ended, and whoever reads that stops there."""


@dataclass(slots=True)
class RestoredRecording:
    """An unfinished recording. `started` is its first fact; `silent_since_ms` the Unix time of its newest file."""

    broadcast: str
    started: Fact
    renditions: dict[str, RestoredRendition]
    silent_since_ms: float
    size: int
    spare: Fact | None = None
    """What was told last of a second feed."""

    @property
    def end_ms(self) -> float:
        """The end of the longest rendition, on the broadcast's timeline."""
        ends = [one.segments[-1].start_ms + one.segments[-1].duration_s * 1000 for one in self.renditions.values()]
        return max(ends, default=0.0)

    @property
    def can_go_on(self) -> bool:
        """False where nothing is there to go on from, or the process was killed as it ended it."""
        return bool(self.renditions) and not any(one.has_end for one in self.renditions.values())

    @property
    def next_msn(self) -> int:
        return max((one.segments[-1].msn + 1 for one in self.renditions.values()), default=0)


def unfinished(
    folder: Path, live: Path, unix_ms: float, is_ours: Callable[[str], bool] = lambda channel: True
) -> Iterator[RestoredRecording]:
    """Recordings that began and did not end, repaired, with what the memory folder `live` has of them. One that can't
    be read is left alone and said so; so is one of a channel that another media process may be writing just now."""
    begun = {path.parent.name: path for path in live.glob(f"*/*/{STARTED_NAME}") if is_ours(path.parts[-3])}
    for name in sorted({*(os.listdir(folder) if folder.exists() else ()), *begun}):
        place = folder / name
        try:
            if name in begun and first_fact(place) is None:
                _take_start(place, begun[name])
            started = first_fact(place)
            if started is None and has_begun(place / LEDGER_NAME):
                raise LedgerDamaged(place / LEDGER_NAME)
            if started is None or started["fact"] != "started" or has_ended(place):
                continue
            if is_ours(str(started["channel"])):
                yield _restore(place, started, live / str(started["channel"]) / place.name, unix_ms)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, MediaError) as error:
            log.error("a recording can't be restored", broadcast=place.name, error=str(error))


def forget_empty(place: Path) -> bool:
    """Whether there is nothing on record of a broadcast, whose process was killed as it began; what it left is removed,
    so that it begins anew."""
    try:
        if not has_begun(place / LEDGER_NAME) and not any(place.glob(f"*/{hls.PLAYLIST_NAME}")):
            shutil.rmtree(place, ignore_errors=True)
            return True
    except OSError as error:
        log.error("a recording can't be read", broadcast=place.name, error=str(error))
    return False


def _restore(place: Path, started: Fact, memory: Path, unix_ms: float) -> RestoredRecording:
    origin_ms = int(started["origin_ms"])
    renditions: dict[str, RestoredRendition] = {}
    newest_ms, size = 0.0, 0
    told_of = [fact for fact in read_facts(place) if fact["fact"] in ("absent", *SPARE)]
    absent = [fact for fact in told_of if fact["fact"] == "absent"]
    names = {path.name for path in (*place.iterdir(), *memory.glob("*")) if path.is_dir()}
    for folder in (place / name for name in sorted(names)):
        files = [path.stat() for path in folder.glob("*.m4s*")]
        _take_inits(folder, memory / folder.name)
        _take_from_memory(folder, memory / folder.name, origin_ms)
        newest_ms = max([newest_ms, *(stat.st_mtime * 1000 for stat in files)])
        told = [fact for fact in absent if fact["rendition"] == folder.name]
        restored = _restore_rendition(folder, memory / folder.name, origin_ms, told)
        size += sum(path.stat().st_size for path in folder.glob("*.m4s*"))
        if restored is not None:
            renditions[folder.name] = restored
    spare = next((fact for fact in reversed(told_of) if fact["fact"] in SPARE), None)
    recording = RestoredRecording(place.name, started, renditions, newest_ms, size, spare)
    for rendition in renditions.values():
        _pad(place / rendition.name, rendition, recording, origin_ms)
    _complete_ledger(place, recording, unix_ms)
    return recording


def _take_start(place: Path, started: Path) -> None:
    """Begins the ledger that was not on the disk yet, where there is anything to go on from."""
    if any(started.parent.glob("*/*.*.m4s")):
        place.mkdir(parents=True, exist_ok=True)
        Ledger(place).append(json.loads(started.read_text()))


def _take_inits(folder: Path, memory: Path) -> None:
    """Initialization segments that the recorder had not written yet."""
    for path in memory.glob("init-*.mp4"):
        if not (folder / path.name).exists():
            folder.mkdir(exist_ok=True)
            replace_file(folder / path.name, path.read_bytes())


def _take_from_memory(folder: Path, memory: Path, origin_ms: int) -> None:
    """Appends to the open segments' files the parts that the recorder had not written yet. What the index names is
    settled: a segment that the disk refused has no file."""
    if not any(folder.glob("init-*.mp4")):
        return
    index = folder / hls.PLAYLIST_NAME
    named = hls.read_index(index.read_text(), origin_ms).segments if index.exists() else []
    files = (int(path.stem) for path in folder.glob("*.m4s") if path.stem.isdigit())
    whole = max([*files, *(segment.msn for segment in named)], default=-1)
    parts: dict[int, dict[int, Path]] = {}
    for path in memory.glob("*.*.m4s"):
        msn, number = (int(word) for word in path.name.split(".")[:2])
        if msn > whole:
            parts.setdefault(msn, {})[number] = path
    try:
        for msn, paths in sorted(parts.items()):
            _append_parts(folder / f"{hls.segment_name(msn)}.partial", [path for _, path in sorted(paths.items())])
    except (OSError, MediaError) as error:
        log.error("parts in memory can't be kept", folder=str(folder), error=str(error))


def _append_parts(file: Path, parts: list[Path]) -> None:
    """Those that follow what the file has: memory may have refused one of these, and hold a number's part of before."""
    data = file.read_bytes() if file.exists() else b""
    whole = list(fmp4.fragments(data))
    told_until = whole[-1].decode_time if whole else -1
    with file.open("ab") as target:
        target.truncate(whole[-1].offset + whole[-1].size if whole else 0)
        for part in parts:
            data = part.read_bytes()
            found = next(fmp4.fragments(data), None)
            if found is not None and found.decode_time > told_until:
                target.write(data)
                told_until = found.decode_time


def _restore_rendition(folder: Path, memory: Path, origin_ms: int, absent: Iterable[Fact]) -> RestoredRendition | None:
    """`absent`: what the ledger tells of its segments that are not there."""
    inits = len(list(folder.glob("init-*.mp4")))
    marks = sorted(_marks(memory))
    path = folder / hls.PLAYLIST_NAME
    index = hls.read_index(path.read_text() if path.exists() else "", origin_ms)
    if index.torn_bytes:
        os.truncate(path, path.stat().st_size - index.torn_bytes)
    segments, known = index.segments, len(index.segments)
    for segment in segments:
        segment.storage = Storage.NOWHERE if segment.gap else Storage.RECORDED
    in_force = partial(_in_force, marks, segments, inits - 1)
    for file, msn in _unlisted(folder, segments[-1].msn if segments else -1):
        segment_found = _salvage(folder, file, msn, segments, *in_force(msn))
        if segment_found is not None:
            if known < len(segments) and msn == segments[-1].msn + 1:  # a hole between the two belongs to the first
                hole_s = (segment_found.start_ms - segments[-1].start_ms) / 1000 - segments[-1].duration_s
                segments[-1].duration_s += max(0.0, hole_s)
            for segment in (*_between(segments, segment_found, in_force), segment_found):
                segment.discontinuity = bool(segments) and segment.discontinuities > segments[-1].discontinuities
                segments.append(segment)
    for segment in _told_behind(segments, absent):
        segments.append(segment)
    if not segments:
        return None
    _append_to_index(path, segments, known, origin_ms)
    for before, segment in zip([None, *segments][-RECENT - 1 : -1], segments[-RECENT:], strict=True):
        _list_parts(folder, segment, before)
    track = fmp4.read_track((folder / hls.init_name(inits - 1)).read_bytes())  # of no segment yet, maybe
    return RestoredRendition(folder.name, track, segments, inits, index.ended)


def _unlisted(folder: Path, last_msn: int) -> list[tuple[Path, int]]:
    """Files of segments that the index does not name yet: renamed just before the end, or still partial."""
    found = [
        (path, int(path.name.split(".")[0])) for path in folder.glob("*.m4s*") if path.name.split(".")[0].isdigit()
    ]
    return sorted(((path, msn) for path, msn in found if msn > last_msn), key=lambda pair: pair[1])


def _marks(memory: Path) -> Iterator[tuple[int, int, int]]:
    """From which segment on which configuration is in force, behind how many discontinuities, as viewers were told."""
    for path in memory.glob("*.*.from"):
        msn, in_force, _ = path.name.split(".")
        init, discontinuities = in_force.split("-")
        yield int(msn), int(init), int(discontinuities)


def _in_force(marks: list[tuple[int, int, int]], before: list[Segment], newest_init: int, msn: int) -> tuple[int, int]:
    """A segment's configuration and discontinuities. Where memory does not say: the newest on the disk, which is
    written there when all segments before it are whole."""
    known = [(init, discontinuities) for since, init, discontinuities in marks if since <= msn]
    return known[-1] if known else (newest_init, before[-1].discontinuities if before else 0)


def _salvage(
    folder: Path, file: Path, msn: int, before: list[Segment], init: int, discontinuities: int
) -> Segment | None:
    data = file.read_bytes()
    whole = list(fmp4.fragments(data))
    if not whole:
        file.unlink()
        return None
    end = whole[-1].offset + whole[-1].size
    if end < len(data):
        os.truncate(file, end)
    file.rename(folder / hls.segment_name(msn))
    timescale = fmp4.read_timescale((folder / hls.init_name(init)).read_bytes())
    segment = Segment(msn, whole[0].decode_time * 1000 / timescale, False, discontinuities, init)
    # The next decode time, not the sum: a hole between parts belongs to the segment.
    segment.duration_s = (whole[-1].decode_time + whole[-1].duration - whole[0].decode_time) / timescale
    segment.size, segment.storage = end, Storage.RECORDED
    return segment


def _between(before: list[Segment], found: Segment, in_force: Callable[[int], tuple[int, int]]) -> Iterator[Segment]:
    """Of the numbers before it that no file and no index has there was no media: who reads the index counts them."""
    if not before:
        return
    begin_ms = before[-1].start_ms + before[-1].duration_s * 1000
    numbers = range(before[-1].msn + 1, found.msn)
    for place, msn in enumerate(numbers):
        each_ms = max(1.0, (found.start_ms - begin_ms) / len(numbers))
        init, discontinuities = in_force(msn)
        segment = Segment(msn, begin_ms + place * each_ms, False, discontinuities, init)
        segment.duration_s, segment.gap, segment.storage = each_ms / 1000, True, Storage.NOWHERE
        yield segment


def _told_behind(before: list[Segment], absent: Iterable[Fact]) -> Iterator[Segment]:
    """A segment without media is on record before the index names it; viewers may have been told its number."""
    for fact in absent:
        if before and fact["msn"] == before[-1].msn + 1:
            segment = Segment(fact["msn"], fact["from_ms"], False, before[-1].discontinuities, before[-1].init)
            segment.duration_s = (fact["to_ms"] - fact["from_ms"]) / 1000
            segment.gap, segment.storage = True, Storage.NOWHERE
            yield segment


def _append_to_index(path: Path, segments: list[Segment], known: int, origin_ms: int) -> None:
    """Those behind the `known` ones that it names, before an end that was written already: nothing goes on behind one.
    An index of which there is but (some of) its head begins anew."""
    if known == len(segments):
        return
    data, first = path.read_bytes() if known else b"", segments[0]
    if not known:
        data = hls.index_header(_target_duration_s(path), first.msn, first.discontinuities).encode()
    end = END if data.endswith(END) else b""
    lines = hls.entries(segments[known:], origin_ms, segments[known - 1].init if known else None)
    replace_file(path, data.removesuffix(END) + "".join(lines).encode() + end)


def _target_duration_s(path: Path) -> int:
    """Of a rendition that has no index yet: from a sibling's; the default of a broadcast otherwise."""
    siblings = sorted(path.parent.parent.glob(f"*/{hls.PLAYLIST_NAME}"))
    lines = [line for one in siblings if one != path for line in one.read_text().splitlines()[:6]]
    return next((int(line.split(":")[1]) for line in lines if line.startswith("#EXT-X-TARGETDURATION:")), 4)


def _list_parts(folder: Path, segment: Segment, before: Segment | None) -> None:
    """And its times, which an index rounds, as they are in the file, or as they follow on what is before: the same
    whether the index names it already or not."""
    path, whole, timescale = folder / hls.segment_name(segment.msn), list[fmp4.Fragment](), 1
    if not segment.gap and path.exists():
        timescale = fmp4.read_timescale((folder / hls.init_name(segment.init)).read_bytes())
        whole = list(fmp4.fragments(path.read_bytes()))
        parts = [(one.duration / timescale, one.starts_with_key, False, one.offset, one.size) for one in whole]
        segment.parts = [Part(number, *each) for number, each in enumerate(parts)]
        segment.size = sum(part.size for part in segment.parts)
    else:
        segment.storage = Storage.NOWHERE
    start_ms, duration_s = float(round(segment.start_ms)), round(segment.duration_s, 5)
    end_ms = before.start_ms + before.duration_s * 1000 if before is not None else -1.0
    found_ms, found_s = end_ms, duration_s
    if whole:
        found_ms = whole[0].decode_time * 1000 / timescale
        found_s = (whole[-1].decode_time + whole[-1].duration) / timescale - found_ms / 1000
    segment.start_ms = found_ms if abs(found_ms - start_ms) <= 1 else start_ms
    segment.duration_s = found_s if abs(found_s - duration_s) <= 0.001 else duration_s


def _pad(folder: Path, rendition: RestoredRendition, recording: RestoredRecording, origin_ms: int) -> None:
    """Every rendition ends at the same media sequence number: what one lacks is a gap as long as another's segment."""
    longest = max(recording.renditions.values(), key=lambda one: one.segments[-1].msn)
    segments, known = rendition.segments, len(rendition.segments)
    for like in [segment for segment in longest.segments if segment.msn > segments[-1].msn]:
        breaks = like.discontinuities > segments[-1].discontinuities
        gap = Segment(like.msn, like.start_ms, breaks, like.discontinuities, segments[-1].init)
        gap.duration_s, gap.gap, gap.storage = like.duration_s, True, Storage.NOWHERE
        _list_parts(folder, gap, segments[-1])
        segments.append(gap)
    _append_to_index(folder / hls.PLAYLIST_NAME, segments, known, origin_ms)


def _complete_ledger(place: Path, recording: RestoredRecording, unix_ms: float) -> None:
    """Puts on record what is on disk and not in the ledger, or no longer as it says: after a kill the last segment,
    after a power cut some more. `recovered` tells that such a file was hashed now, not as it was written. What is
    signed stays as it is on record: whoever verifies it is told that the file is another."""
    ledger, told, absent = Ledger(place), dict[str, Fact](), dict[tuple[str, int], str]()
    told_gaps, end_ms = set[tuple[str | None, int, int]](), round(recording.end_ms)
    signed = _signed_names(place)
    for fact in read_facts(place):
        if fact["fact"] == "file":
            told[fact["name"]] = fact
        elif fact["fact"] == "absent":
            absent[fact["rendition"], fact["msn"]] = fact["cause"]
        elif fact["fact"] == "gap":
            told_gaps.add((fact.get("rendition"), fact["from_ms"], fact["to_ms"]))

    def tell(name: str, segment: Segment | None = None, **values: object) -> None:
        path = place / name
        if name not in signed and path.exists() and told.get(name, {}).get("size") != path.stat().st_size:
            if segment is not None and (gaps := _gaps_in(path, segment)):
                values["gaps"] = gaps
                for since, until in gaps if name in told else ():
                    is_told = (path.parent.name, since, until) in told_gaps
                    if not is_told and [since, until] not in told[name].get("gaps", []):  # it was whole when told of
                        taken = {"from_ms": since, "to_ms": until, "cause": "process ended"}
                        ledger.append(make_fact("gap", unix_ms, rendition=path.parent.name, **taken))
            whole = {"name": name, **values, "size": path.stat().st_size, "sha256": hash_file(path)}
            ledger.append(make_fact("file", unix_ms, **whole, recovered=True))

    for rendition in recording.renditions.values():
        for number in range(rendition.inits):
            tell(f"{rendition.name}/{hls.init_name(number)}", rendition=rendition.name)
        for segment in rendition.segments:
            where = {"rendition": rendition.name, **place_of(segment)}
            name = f"{rendition.name}/{hls.segment_name(segment.msn)}"
            if not segment.gap:
                tell(name, segment, **where)
            elif name not in told and (rendition.name, segment.msn) not in absent:
                ledger.append(make_fact("absent", unix_ms, **where, cause="process ended"))
        own_ms = _told_until_ms(rendition, absent, told)
        if (
            own_ms < end_ms and (rendition.name, own_ms, end_ms) not in told_gaps
        ):  # a part that another rendition got written
            lack = {"rendition": rendition.name, "from_ms": own_ms, "to_ms": end_ms, "cause": "process ended"}
            ledger.append(make_fact("gap", unix_ms, **lack))
    for gap in _open_gap(read_facts(place), recording):
        ledger.append(make_fact("gap", unix_ms, **gap))
    for path in (*place.glob("**/*.m3u8.new"), *place.glob("*/init-*.mp4.new")):  # half written, or not renamed
        if path.relative_to(place).as_posix() not in told:
            path.unlink()
    for path in place.glob("*/init-*.mp4"):  # of no segment, and nobody was told of it
        if path.parent.name not in recording.renditions and path.relative_to(place).as_posix() not in told:
            path.unlink()


def _told_until_ms(
    rendition: RestoredRendition, absent: Mapping[tuple[str, int], str], told: Mapping[str, Fact]
) -> int:
    """The end of what it has, or of which it was told on the air that it has nothing: as the ledger has it, for the
    index may round to another millisecond."""
    for segment in reversed(rendition.segments):
        if not segment.gap or absent.get((rendition.name, segment.msn), "process ended") != "process ended":
            fact = told.get(f"{rendition.name}/{hls.segment_name(segment.msn)}", {})
            return int(fact.get("to_ms", place_of(segment)["to_ms"]))
    return int(place_of(rendition.segments[0])["from_ms"])


def _open_gap(facts: Iterable[Fact], recording: RestoredRecording) -> Iterator[dict[str, Any]]:
    """The gap in which the process was killed: it began, and nothing has told of it since. What the leader has, the
    first rendition that was told of, says where it ends: what a rung is made of may come a moment later."""
    from_ms, cause, told_ms, leader = None, "", 0, ""
    for fact in facts:
        if fact["fact"] == "rendition":
            leader = leader or fact["name"]
        elif fact["fact"] == "lost":
            from_ms, cause = fact["at_ms"], fact["cause"]
        elif fact["fact"] == "refused" and cause == FEED_LOST and fact["cause"] != TurnedAway.IN_USE:
            cause = REFUSED
        elif fact["fact"] == "resumed":
            from_ms, cause = told_ms, "process ended"
        elif fact["fact"] == "gap" and "rendition" not in fact:
            from_ms = None
        if fact.get("rendition") is not None:
            told_ms = max(told_ms, fact.get("to_ms") or 0)
    if from_ms is None or leader not in recording.renditions:
        return
    places = [(place_of(segment), segment.gap) for segment in recording.renditions[leader].segments]
    end_ms = places[-1][0]["to_ms"]
    behind = (place["from_ms"] for place, gap in places if not gap and place["to_ms"] > from_ms + PICTURE_MS)
    to_ms = min(behind, default=end_ms)
    if from_ms < to_ms:
        yield {"from_ms": from_ms, "to_ms": to_ms, "cause": cause, "is_back": to_ms < end_ms}


def _gaps_in(path: Path, segment: Segment) -> list[list[int]]:
    """The stretches of the segment's time that its file holds nothing of. A millisecond is the index's rounding."""
    timescale = fmp4.read_timescale((path.parent / hls.init_name(segment.init)).read_bytes())
    held = [(one.decode_time, one.decode_time + one.duration) for one in fmp4.fragments(path.read_bytes())]
    end_ms = segment.start_ms + segment.duration_s * 1000
    found, at_ms = list[list[int]](), segment.start_ms
    for begin_ms, until_ms in [
        *((since * 1000 / timescale, to * 1000 / timescale) for since, to in held),
        (end_ms,) * 2,
    ]:
        if min(begin_ms, end_ms) - at_ms > 1:
            found.append([round(at_ms), round(min(begin_ms, end_ms))])
        at_ms = max(at_ms, until_ms)
    return found


def _signed_names(place: Path) -> set[str]:
    """The files that stand in the ledger as far as the institution has signed it."""
    signatures = [line for line in read_chain(place / SIGNATURES_NAME).lines if "signature" in line]
    reach = int(signatures[-1]["ledger_bytes"]) if signatures else 0
    ledger = read_chain(place / LEDGER_NAME)
    lines = zip(ledger.lines, ledger.ends, strict=True)
    return {line["name"] for line, end in lines if line.get("fact") == "file" and end <= reach}


def finish(place: Path, restored: RestoredRecording, reason: str, unix_ms: float) -> None:
    """Ends a recording whose broadcast does not go on: what is there becomes a whole playlist."""
    ledger, signed = Ledger(place), _signed_names(place)
    told = {fact["name"]: fact["sha256"] for fact in read_facts(place) if fact["fact"] == "file"}
    for name in restored.renditions:
        path = place / name / hls.PLAYLIST_NAME
        if not path.read_bytes().endswith(END):
            with path.open("ab") as file:
                file.write(END)
    for path in (*(place / name / hls.PLAYLIST_NAME for name in restored.renditions), *sorted(place.glob("*.m3u8"))):
        name, sha256 = path.relative_to(place).as_posix(), hash_file(path)
        if name not in signed and told.get(name) != sha256:  # it may be on record: this process is killed anywhere
            of = {"rendition": path.parent.name} if path.parent != place else {}
            whole = {"name": name, "size": path.stat().st_size, "sha256": sha256}
            ledger.append(make_fact("file", unix_ms, **of, **whole, recovered=True))
    ledger.append(
        make_fact("ended", unix_ms, duration_ms=round(restored.end_ms), size_bytes=restored.size, reason=reason)
    )
