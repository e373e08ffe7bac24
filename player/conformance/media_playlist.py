"""The rules that one media playlist shows by itself: live, ended or delta (rfc8216bis 4.4, Apple 8)."""

from collections.abc import Iterator

from player.conformance.playlist import MediaPlaylist, Segment, parse
from player.conformance.violation import TIME_SLACK_S, Violation, in_line_order

_OVERLAP_SLACK_S = 1.0  # 6.2.1: the mapping to wall clock may not overlap by more than sub-second amounts


@in_line_order
def check_media_playlist(text: str) -> Iterator[Violation]:
    """Every rule that one playlist shows by itself: live, ended or delta."""
    playlist = parse(text)
    yield from playlist.violations
    yield from _check_head(playlist)
    yield from _check_durations(playlist)
    yield from _check_wall_clock(playlist)
    yield from _check_maps(playlist)
    yield from _check_parts(playlist)
    yield from _check_gaps(playlist)
    yield from _check_ended(playlist) if playlist.is_ended else _check_live(playlist)


def _check_head(playlist: MediaPlaylist) -> Iterator[Violation]:
    if not playlist.target_duration_s:
        yield Violation(0, "4.4.3.1-missing", "no TARGETDURATION")
    if not playlist.listed:
        yield Violation(0, "mbashara-empty", "no segments and no parts: hls.js stops on an empty playlist")
    needs = {"EXT-X-SKIP": 9, "EXT-X-GAP": 8, "EXT-X-MAP": 6}
    needed = max([3, *(version for tag, version in needs.items() if tag in playlist.tag_lines)])
    if playlist.version < needed:
        yield Violation(playlist.line_of("EXT-X-VERSION"), "8-version", f"VERSION must be at least {needed}")


def _check_durations(playlist: MediaPlaylist) -> Iterator[Violation]:
    for segment in playlist.segments:
        if int(segment.duration_s + 0.5) > playlist.target_duration_s:
            yield Violation(
                segment.line, "4.4.3.1-extinf", f"{segment.duration_s} s rounds to more than TARGETDURATION"
            )


def _check_wall_clock(playlist: MediaPlaylist) -> Iterator[Violation]:
    before: Segment | None = None
    for segment in playlist.segments:
        if segment.starts_at_s is None:
            yield Violation(segment.line, "apple-8.4-date", "a segment without PROGRAM-DATE-TIME")
        elif before and before.starts_at_s is not None:
            drift_s = segment.starts_at_s - before.starts_at_s - before.duration_s
            if segment.follows_discontinuity:
                if drift_s < -_OVERLAP_SLACK_S:
                    yield Violation(segment.line, "6.2.1-date-overlap", f"wall clock goes back {-drift_s:.3f} s")
            elif abs(drift_s) > TIME_SLACK_S:
                reason = f"wall clock is {drift_s:+.3f} s off the segment's place"
                yield Violation(segment.line, "4.4.4.6-date-jump", reason)
        before = segment


def _check_maps(playlist: MediaPlaylist) -> Iterator[Violation]:
    before: Segment | None = None
    for segment in playlist.listed:
        line = segment.line or segment.parts[0].line
        if segment.map_uri is None:
            yield Violation(line, "3.1.2-map", "a segment without MAP before it")
        elif before and before.map_uri != segment.map_uri and not segment.follows_discontinuity:
            yield Violation(line, "4.4.4.3-map", "MAP changes without DISCONTINUITY")
        before = segment


def _check_parts(playlist: MediaPlaylist) -> Iterator[Violation]:
    target_s = playlist.part_target_s
    if target_s is None:
        if any(segment.parts for segment in playlist.listed):
            yield Violation(0, "4.4.3.7-missing", "parts without PART-INF")
        return
    for segment in playlist.listed:
        yield from _check_part_durations(segment, target_s)
        if segment.uri and segment.parts:
            total_s = sum(part.duration_s for part in segment.parts)
            if abs(total_s - segment.duration_s) > TIME_SLACK_S:
                yield Violation(segment.line, "4.4.4.9-sum", f"parts last {total_s:.3f} s, EXTINF {segment.duration_s}")
        first = segment.parts[0] if segment.parts else None
        independent = "EXT-X-INDEPENDENT-SEGMENTS" in playlist.tag_lines
        if first and independent and not first.is_gap and not first.is_independent:
            yield Violation(first.line, "4.4.2.1-independent", "INDEPENDENT-SEGMENTS, but a first part is not")
    yield from _check_part_names(playlist)


def _check_part_durations(segment: Segment, target_s: float) -> Iterator[Violation]:
    for index, part in enumerate(segment.parts):
        if part.duration_s > target_s:
            yield Violation(part.line, "4.4.4.9-part-long", f"part of {part.duration_s} s, PART-TARGET {target_s}")
        is_last = index == len(segment.parts) - 1
        before_gap = not is_last and segment.parts[index + 1].is_gap
        # The newest part of the open segment may yet be its parent's last one: only the next list can tell.
        excused = part.is_independent or part.is_gap or before_gap or is_last
        if part.duration_s < 0.85 * target_s and not excused:
            yield Violation(
                part.line, "4.4.4.9-part-short", f"part of {part.duration_s} s is under 85 % of PART-TARGET"
            )


def _check_part_names(playlist: MediaPlaylist) -> Iterator[Violation]:
    seen: set[str] = set()
    for segment in playlist.listed:
        for part in segment.parts:
            if part.uri in seen:
                yield Violation(part.line, "6.2.1-part-uri", f"{part.uri} stands twice")
            seen.add(part.uri)


def _check_gaps(playlist: MediaPlaylist) -> Iterator[Violation]:
    for segment in playlist.segments:
        gaps = sum(part.is_gap for part in segment.parts)
        if segment.parts and gaps == len(segment.parts) and not segment.is_gap:
            yield Violation(segment.line, "4.4.4.7-gap", "all parts are gaps, but the segment has no GAP tag")
        if segment.parts and segment.is_gap and not gaps:
            yield Violation(segment.line, "4.4.4.7-gap-parts", "a GAP segment without a GAP=YES part")


def _check_live(playlist: MediaPlaylist) -> Iterator[Violation]:
    if playlist.kind == "VOD":
        yield Violation(playlist.line_of("EXT-X-PLAYLIST-TYPE"), "4.4.3.5-vod", "PLAYLIST-TYPE=VOD without ENDLIST")
    if playlist.part_target_s is None:
        yield Violation(0, "4.4.3.7-missing", "a live playlist without PART-INF")
        return
    yield from _check_server_control(playlist, playlist.part_target_s)
    yield from _check_part_span(playlist)
    yield from _check_hints(playlist)
    for line, report in playlist.reports:
        if "URI" not in report or not report.get("LAST-MSN", "").isdigit() or not report.get("LAST-PART", "").isdigit():
            yield Violation(line, "4.4.5.4-attributes", "RENDITION-REPORT needs URI, LAST-MSN and LAST-PART")
        elif "//" in report["URI"] or report["URI"].startswith("/"):
            yield Violation(line, "4.4.5.4-relative", "RENDITION-REPORT's URI is not relative")


def _check_server_control(playlist: MediaPlaylist, part_target_s: float) -> Iterator[Violation]:
    line, target_s = playlist.line_of("EXT-X-SERVER-CONTROL"), playlist.target_duration_s
    if playlist.server_control.get("CAN-BLOCK-RELOAD") != "YES":
        yield Violation(line, "4.4.3.8-block", "no CAN-BLOCK-RELOAD=YES")
    for name, least_s, rule in (
        ("HOLD-BACK", 3 * target_s, "4.4.3.8-hold-back"),
        ("PART-HOLD-BACK", 3 * part_target_s, "apple-14.3-part-hold-back"),
        ("CAN-SKIP-UNTIL", 6 * target_s, "4.4.3.8-skip-until"),
    ):
        value_s = playlist.control_s(name)
        if value_s is None or value_s < least_s:
            yield Violation(line, rule, f"{name} is {value_s}, must be at least {least_s:.3f} s")


def _check_part_span(playlist: MediaPlaylist) -> Iterator[Violation]:
    """Parts leave the list after 3 x TD from its end, not before (4.4.4.9); on the line either is right."""
    limit_s, to_end_s = 3 * playlist.target_duration_s, 0.0
    for segment in reversed(playlist.listed):
        if segment.parts and to_end_s > limit_s:
            reason = f"parts that end {to_end_s:.3f} s from the end are still listed"
            yield Violation(segment.parts[0].line, "4.4.4.9-part-old", reason)
        to_end_s += segment.length_s
        if not segment.parts and to_end_s <= limit_s:
            reason = f"a segment that starts {to_end_s:.3f} s from the end has lost its parts"
            yield Violation(segment.line, "4.4.4.9-part-gone", reason)


def _check_hints(playlist: MediaPlaylist) -> Iterator[Violation]:
    of_type = {kind: [h for h in playlist.hints if h[1].get("TYPE") == kind] for kind in ("PART", "MAP")}
    if len(of_type["PART"]) + len(of_type["MAP"]) < len(playlist.hints):
        yield Violation(playlist.hints[0][0], "4.4.5.3-type", "PRELOAD-HINT of an unknown TYPE")
    if not of_type["PART"]:
        yield Violation(0, "4.4.5.3-missing", "no PRELOAD-HINT for the next part: hls.js loops without it")
    listed = {part.uri for segment in playlist.listed for part in segment.parts}
    for hints in of_type.values():
        if len(hints) > 1:
            yield Violation(hints[1][0], "4.4.5.3-twice", "more than one PRELOAD-HINT of a TYPE")
    for line, hint in of_type["PART"]:
        if hint.get("URI", "") in listed | {""}:
            yield Violation(line, "4.4.5.3-uri", "PRELOAD-HINT names no part that is still to come")


def _check_ended(playlist: MediaPlaylist) -> Iterator[Violation]:
    if playlist.hints:
        yield Violation(playlist.hints[0][0], "4.4.5.3-ended", "PRELOAD-HINT in a playlist with ENDLIST")
    if playlist.open.parts:
        yield Violation(playlist.open.parts[0].line, "4.4.3.4-open", "parts without a parent before ENDLIST")
