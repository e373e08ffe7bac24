"""The rules for what may change from one load of a playlist to the next (rfc8216bis 6.2.1, 6.2.2)."""

from collections.abc import Iterator

from player.conformance.playlist import MediaPlaylist, Segment, parse
from player.conformance.violation import Violation, in_line_order


@in_line_order
def check_reload(previous: str, current: str, elapsed_s: float, slack_s: float = 0.5) -> Iterator[Violation]:
    """What may change from one full load to a later one (6.2.1, 6.2.2).

    `elapsed_s` lies between the moments at which the two were first seen; `slack_s` is for the way here.
    """
    old, new = parse(previous), parse(current)
    yield from _check_constants(old, new)
    yield from _check_sequences(old, new)
    yield from _check_kept(old, new)
    if not old.is_ended:
        yield from _check_pace(old, new, elapsed_s, slack_s)


def _check_constants(old: MediaPlaylist, new: MediaPlaylist) -> Iterator[Violation]:
    if old.target_duration_s != new.target_duration_s:
        yield Violation(new.line_of("EXT-X-TARGETDURATION"), "6.2.1-target-duration", "TARGETDURATION changed")
    if new.is_ended:
        return  # an ended playlist needs no delivery directives any more
    if old.part_target_s != new.part_target_s:
        yield Violation(new.line_of("EXT-X-PART-INF"), "mbashara-part-target", "PART-TARGET changed (CoreMedia -12642)")
    if old.server_control != new.server_control:
        yield Violation(new.line_of("EXT-X-SERVER-CONTROL"), "mbashara-server-control", "SERVER-CONTROL changed")


def _check_sequences(old: MediaPlaylist, new: MediaPlaylist) -> Iterator[Violation]:
    line = new.line_of("EXT-X-MEDIA-SEQUENCE")
    if new.media_sequence < old.media_sequence:
        yield Violation(line, "6.2.2-media-sequence", "MEDIA-SEQUENCE went back")
    if new.last_part[0] < old.last_part[0]:
        yield Violation(line, "6.2.1-lost-end", "the newest segment went back")
    if new.discontinuity_sequence < old.discontinuity_sequence:
        line = new.line_of("EXT-X-DISCONTINUITY-SEQUENCE")
        yield Violation(line, "6.2.2-discontinuity-sequence", "DISCONTINUITY-SEQUENCE went back")
    if old.is_ended and (not new.is_ended or new.last_part[0] != old.last_part[0]):
        yield Violation(0, "4.4.3.4-changed", "the playlist changed after ENDLIST")
    if old.kind and new.media_sequence != old.media_sequence:
        yield Violation(line, "4.4.3.5-removed", f"segments were removed from a {old.kind} playlist")
    if new.media_sequence > old.media_sequence and not new.is_ended:
        if new.duration_s < 3 * new.target_duration_s:
            yield Violation(line, "6.2.2-short", "segments were removed below 3 x TARGETDURATION")
        if len(new.segments) + new.skipped < 6:
            yield Violation(line, "apple-8.11-segments", "segments were removed below six")


def _check_kept(old: MediaPlaylist, new: MediaPlaylist) -> Iterator[Violation]:
    now = {segment.msn: segment for segment in new.listed}
    for before in old.listed:
        after = now.get(before.msn)
        if after is None:
            continue  # left at the head, or the sequence rules have said it
        if before.uri and not after.uri:
            yield Violation(after.parts[0].line, "6.2.1-reopened", f"segment {before.msn} lost its EXTINF")
        elif before.uri and before.facts() != after.facts():
            yield from _say_changed(before, after)
        elif before.discontinuity != after.discontinuity:
            yield Violation(after.line, "6.2.2-discontinuity", f"segment {before.msn} changed its discontinuity number")
        yield from _check_parts_kept(before, after)


def _say_changed(before: Segment, after: Segment) -> Iterator[Violation]:
    names = ("URI", "EXTINF", "PROGRAM-DATE-TIME", "MAP", "GAP", "discontinuity number")
    changed = [name for name, a, b in zip(names, before.facts(), after.facts(), strict=True) if a != b]
    rule = "6.2.2-discontinuity" if changed == ["discontinuity number"] else "6.2.1-segment"
    yield Violation(after.line, rule, f"segment {before.msn} changed its {' and '.join(changed)}")


def _check_parts_kept(before: Segment, after: Segment) -> Iterator[Violation]:
    if not after.parts and after.uri:
        return  # dropped off the edge; _check_part_span says whether too early
    if len(after.parts) < len(before.parts):
        yield Violation(after.line, "6.2.1-part-removed", f"segment {before.msn} lost some of its parts")
    for old_part, new_part in zip(before.parts, after.parts, strict=False):
        if not old_part.same(new_part):
            yield Violation(new_part.line, "6.2.1-part", f"part {old_part.uri} changed")
    if before.uri and before.parts and len(after.parts) > len(before.parts):
        yield Violation(after.line, "6.2.1-part", f"segment {before.msn} got parts after it was finished")


def _check_pace(old: MediaPlaylist, new: MediaPlaylist, elapsed_s: float, slack_s: float) -> Iterator[Violation]:
    """A new part within one PART-TARGET of the last, a new segment within 1.5 x TD (6.2.2)."""
    if new.is_ended or new.part_target_s is None:
        return
    no_new_segment = bool(old.segments and new.segments) and new.segments[-1].msn == old.segments[-1].msn
    if no_new_segment and elapsed_s > 1.5 * new.target_duration_s + slack_s:
        yield Violation(0, "6.2.2-segment-late", f"no new segment for {elapsed_s:.2f} s")
    if new.last_part == old.last_part and elapsed_s > new.part_target_s + slack_s:
        yield Violation(0, "6.2.2-part-late", f"no new part for {elapsed_s:.2f} s")
