"""The rules for the bytes: initialization segments, parts and segments (ISO 23000-19, Apple 7)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from core.media import fmp4
from core.media.packet import MediaError
from player.conformance.playlist import Part, Segment
from player.conformance.violation import TIME_SLACK_S, Violation, in_line_order


@in_line_order
def check_init(init: bytes) -> Iterator[Violation]:
    """An initialization segment: CMAF header (ISO 23000-19, 7.3), one track, avc1 (Apple 1.10)."""
    top = {kind: (start, end) for kind, start, end in fmp4.boxes(init)}
    if b"ftyp" not in top or b"moov" not in top:
        yield Violation(0, "cmaf-7.3.1-header", "not an ftyp and a moov")
        return
    start, end = top[b"ftyp"]
    brands = {bytes(init[at : at + 4]) for at in (start, *range(start + 8, end, 4))}
    if not brands & {b"cmfc", b"cmf2"}:
        yield Violation(0, "cmaf-7.2-brand", "neither cmfc nor cmf2 among the brands")
    inside = [kind for kind, _, _ in fmp4.boxes(init, *top[b"moov"])]
    if inside.count(b"trak") != 1 or b"mvex" not in inside:
        yield Violation(0, "cmaf-7.3.2-track", "moov must hold one trak and an mvex")
    for kind in (b"avc3", b"hev1", b"edts"):
        if kind in init:
            yield Violation(0, "apple-1.10-sample-entry", f"{kind.decode()} is not allowed")


@dataclass(frozen=True, slots=True)
class Clock:
    """Where a rendition's decode time stands: continuity is checked from one segment to the next."""

    timescale: int
    next_decode_time: int | None = None


def check_segment(
    segment: Segment, data: bytes, parts: Mapping[str, bytes], clock: Clock, is_video: bool
) -> tuple[list[Violation], Clock]:
    """A finished segment's bytes against its lines; `parts` has the bytes of its parts that were fetched.

    Where parts are gaps the file holds the rest: it lasts that much less, and its decode times skip them.
    """
    gap_s = sum(part.duration_s for part in segment.parts if part.is_gap)
    found = list(_check_fragments(segment.line, data, clock, segment.duration_s - gap_s, gap_s > 0))
    fragments = _fragments(data)
    held = [part for part in segment.parts if not part.is_gap]
    complete = held and all(part.uri in parts for part in held)
    if complete and b"".join(parts[part.uri] for part in held) != data:
        found.append(Violation(segment.line, "3.2-parts", "the parts put together are not the segment"))
    for part in segment.parts:
        if part.uri in parts:
            found += _check_part_bytes(part, parts[part.uri], clock.timescale, is_video)
    last = fragments[-1] if fragments else None
    ends_in_gap = bool(segment.parts) and segment.parts[-1].is_gap
    following = last.decode_time + last.duration if last and not ends_in_gap else None
    return sorted(found), Clock(clock.timescale, following)


def _check_part_bytes(part: Part, data: bytes, timescale: int, is_video: bool) -> Iterator[Violation]:
    yield from _check_fragments(part.line, data, Clock(timescale), part.duration_s)
    first = next(iter(_fragments(data)), None)
    if is_video and first and first.starts_with_key != part.is_independent:
        has = "starts" if first.starts_with_key else "does not start"
        yield Violation(part.line, "4.4.4.9-idr", f"INDEPENDENT={part.is_independent}, but it {has} with a key frame")


def _fragments(data: bytes) -> list[fmp4.Fragment]:
    """The fragments, none where they can't be read; the box rules say why."""
    try:
        return list(fmp4.fragments(data))
    except MediaError:
        return []


def _check_fragments(
    line: int, data: bytes, clock: Clock, duration_s: float, has_gaps: bool = False
) -> Iterator[Violation]:
    boxes = list(fmp4.boxes(data))
    if not boxes or boxes[-1][2] != len(data):
        yield Violation(line, "3.1.2-whole", "the last box is cut off, or there is none")
        return
    kinds = [kind for kind, _, _ in boxes if kind not in (b"styp", b"prft", b"emsg")]
    if kinds != [b"moof", b"mdat"] * (len(kinds) // 2):
        yield Violation(line, "3.1.2-fragments", f"not pairs of moof and mdat: {kinds[:6]}")
        return
    yield from _check_moofs(line, data)
    yield from _check_times(line, _fragments(data), clock, duration_s, has_gaps)


def _check_times(
    line: int, fragments: list[fmp4.Fragment], clock: Clock, duration_s: float, has_gaps: bool
) -> Iterator[Violation]:
    expected = clock.next_decode_time
    for fragment in fragments:
        skipped = has_gaps and expected is not None and fragment.decode_time > expected
        if expected is not None and fragment.decode_time != expected and not skipped:
            reason = f"tfdt is {fragment.decode_time}, the media before it ended at {expected}"
            yield Violation(line, "apple-7.3-tfdt", reason)
        expected = fragment.decode_time + fragment.duration
    length_s = sum(fragment.duration for fragment in fragments) / clock.timescale
    one_sample_s = length_s / max(sum(fragment.samples for fragment in fragments), 1)
    if fragments and abs(length_s - duration_s) > one_sample_s + TIME_SLACK_S:
        reason = f"samples last {length_s:.3f} s, the playlist says {duration_s}"
        yield Violation(line, "apple-8.1-duration", reason)


def _check_moofs(line: int, data: bytes) -> Iterator[Violation]:
    for kind, start, end in fmp4.boxes(data):
        if kind != b"moof":
            continue
        trafs = [(s, e) for k, s, e in fmp4.boxes(data, start, end) if k == b"traf"]
        if len(trafs) != 1:
            yield Violation(line, "cmaf-7.3.3-track", f"a moof with {len(trafs)} traf")
            continue
        inside = {k: s for k, s, _ in fmp4.boxes(data, *trafs[0])}
        if b"tfdt" not in inside:
            yield Violation(line, "cmaf-7.5.16-tfdt", "a traf without tfdt")
        if b"tfhd" in inside and not data[inside[b"tfhd"] + 1] & 2:  # flag 0x020000
            yield Violation(line, "cmaf-7.5.16-base", "tfhd without default-base-is-moof")
