"""The rules between the media playlists of one multivariant playlist (rfc8216bis 6.2.4, 4.4.5.4)."""

import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import replace

from player.conformance.playlist import MediaPlaylist, Segment, parse
from player.conformance.violation import Violation, in_line_order

_ALIGN_SLACK_S = 0.05  # audio can be cut only between its frames: 1024 samples at 24 kHz last 43 ms


@in_line_order
def check_renditions(
    texts: Mapping[str, str], slack_s: float = _ALIGN_SLACK_S, report_slack_parts: int = 1
) -> Iterator[Violation]:
    """Media playlists of one multivariant playlist, loaded at about the same moment.

    A key is a rendition's name, its playlist is KEY/index.m3u8 as the reports' URIs see it.
    """
    playlists = {name: parse(text) for name, text in texts.items()}
    first_name, first = next(iter(playlists.items()))
    for name, playlist in playlists.items():
        if not playlist.is_ended:
            yield from _check_reports(name, playlist, playlists, report_slack_parts)
        if playlist is not first:
            for violation in _check_pair(first, playlist, slack_s):
                yield replace(violation, reason=f"{name} against {first_name}: {violation.reason}")


def _check_pair(one: MediaPlaylist, two: MediaPlaylist, slack_s: float) -> Iterator[Violation]:
    if one.target_duration_s != two.target_duration_s:
        yield Violation(two.line_of("EXT-X-TARGETDURATION"), "6.2.4-target-duration", "another TARGETDURATION")
    if not one.is_ended and not two.is_ended:
        if one.server_control != two.server_control:
            yield Violation(two.line_of("EXT-X-SERVER-CONTROL"), "4.4.3.8-same", "another SERVER-CONTROL")
        if one.part_target_s != two.part_target_s:
            yield Violation(two.line_of("EXT-X-PART-INF"), "mbashara-part-target-same", "another PART-TARGET")
    others = {segment.msn: segment for segment in one.segments}
    for segment in two.segments:
        if twin := others.get(segment.msn):
            yield from _check_twins(twin, segment, slack_s)


def _check_twins(one: Segment, two: Segment, slack_s: float) -> Iterator[Violation]:
    if one.discontinuity != two.discontinuity:
        reason = f"segment {two.msn} has discontinuity number {two.discontinuity}, not {one.discontinuity}"
        yield Violation(two.line, "6.2.4-discontinuity", reason)
    if one.starts_at_s is None or two.starts_at_s is None:
        if one.starts_at_s != two.starts_at_s:
            yield Violation(two.line, "6.2.4-date", f"segment {two.msn}: PROGRAM-DATE-TIME in one rendition only")
    elif abs(one.starts_at_s - two.starts_at_s) > slack_s:
        reason = f"segment {two.msn} starts {two.starts_at_s - one.starts_at_s:+.3f} s apart"
        yield Violation(two.line, "apple-8.15-boundary", reason)
    if abs(one.duration_s - two.duration_s) > slack_s:
        reason = f"segment {two.msn} lasts {two.duration_s - one.duration_s:+.3f} s differently"
        yield Violation(two.line, "apple-8.15-boundary", reason)


def _check_reports(
    name: str, playlist: MediaPlaylist, all_of_them: Mapping[str, MediaPlaylist], slack_parts: int
) -> Iterator[Violation]:
    found = _read_reports(name, playlist)
    if name in found:
        yield Violation(found[name][0], "4.4.5.4-self", f"{name} reports on itself")
    for other_name, other in all_of_them.items():
        if other_name == name:
            continue
        if other_name not in found:
            yield Violation(0, "appendix-b-report", f"{name} has no RENDITION-REPORT for {other_name}")
            continue
        line, msn, part = found[other_name]
        if not other.is_ended and abs(_parts_between(other, msn, part)) > slack_parts:
            at = ".".join(map(str, other.last_part))
            reason = f"{name} reports {msn}.{part} for {other_name}, which is at {at}"
            yield Violation(line, "4.4.5.4-true", reason)


def _read_reports(name: str, playlist: MediaPlaylist) -> dict[str, tuple[int, int, int]]:
    """Line, LAST-MSN and LAST-PART by the reported rendition."""
    found: dict[str, tuple[int, int, int]] = {}
    for line, report in playlist.reports:
        path = posixpath.normpath(posixpath.join(name, report.get("URI", "")))
        if report.get("LAST-MSN", "").isdigit() and report.get("LAST-PART", "").isdigit():
            found[posixpath.dirname(path)] = line, int(report["LAST-MSN"]), int(report["LAST-PART"])
    return found


@in_line_order
def check_reports_between(
    before: Mapping[str, str], now: Mapping[str, str], after: Mapping[str, str]
) -> Iterator[Violation]:
    """Reports against playlists loaded over a part target earlier and later: exact, however long the loading took."""
    for name, text in now.items():
        for other, (line, msn, part) in _read_reports(name, parse(text)).items():
            if other not in before or other not in after:
                continue
            first, last = parse(before[other]).last_part, parse(after[other]).last_part
            if not first <= (msn, part) <= last:
                reason = f"{name} reports {msn}.{part} for {other}, which went from {first} to {last} around it"
                yield Violation(line, "4.4.5.4-true", reason)


def _parts_between(playlist: MediaPlaylist, msn: int, part: int) -> int:
    """How many parts lie between a reported position and the playlist's newest part."""
    last_msn, _last_part = playlist.last_part
    if msn > last_msn:
        return part + 1 + 1000 * (msn - last_msn - 1)
    behind = sum(len(segment.parts) for segment in playlist.listed if segment.msn >= msn) - 1 - part
    return -behind if any(segment.msn == msn for segment in playlist.listed) else -1000
