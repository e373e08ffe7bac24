"""Merges delta updates as a client does, and the rules for them (rfc8216bis 6.2.5.1, 4.4.5.2)."""

from collections.abc import Iterator

from player.conformance.media_playlist import check_media_playlist
from player.conformance.playlist import MediaPlaylist, parse
from player.conformance.violation import TIME_SLACK_S, Violation, in_line_order

_SEGMENT_TAGS = {
    "#EXTINF", "#EXT-X-PART", "#EXT-X-MAP", "#EXT-X-PROGRAM-DATE-TIME", "#EXT-X-GAP", "#EXT-X-DISCONTINUITY",
    "#EXT-X-KEY", "#EXT-X-BITRATE",
}  # fmt: skip


class DeltaError(Exception):
    """The delta can't be merged with this playlist."""


def apply_delta(previous_full: str, delta: str) -> str:
    """The full playlist that a client makes of its last full one and a delta (6.2.5.1)."""
    old, update = parse(previous_full), parse(delta)
    if not update.skipped:
        return delta
    first, last = update.media_sequence, update.media_sequence + update.skipped - 1
    blocks = dict(_blocks(old))
    if not all(msn in blocks for msn in range(first, last + 1)):
        raise DeltaError(f"skips segments {first} to {last}, of which the last full playlist lacks some")
    at = update.line_of("EXT-X-SKIP")
    kept = [line for msn in range(first, last + 1) for line in blocks[msn] if not line.startswith("#EXT-X-PART:")]
    carried = next((s.map_uri for s in old.segments if s.msn == first), None)
    if carried and not any(line.startswith("#EXT-X-MAP") for line in blocks[first]):
        kept.insert(0, f'#EXT-X-MAP:URI="{carried}"')
    return "\n".join(update.lines[: at - 1] + kept + update.lines[at:])


def _blocks(playlist: MediaPlaylist) -> Iterator[tuple[int, list[str]]]:
    """The lines of each whole segment, from its first segment tag to its URI."""
    msn, block = playlist.media_sequence, list[str]()
    for line in playlist.lines:
        if line and not line.startswith("#"):
            yield msn, [*block, line]
            msn, block = msn + 1, []
        elif line.partition(":")[0] in _SEGMENT_TAGS:
            block.append(line)


@in_line_order
def check_delta(previous_full: str, delta: str, full: str | None = None) -> Iterator[Violation]:
    """A delta by itself and merged with `previous_full`; `full` is the full playlist of the same instant."""
    yield from check_media_playlist(delta)
    update = parse(delta)
    line = update.line_of("EXT-X-SKIP")
    boundary_s = update.control_s("CAN-SKIP-UNTIL") or 0.0
    if not update.skipped:
        # Durations are rounded to 10 µs in the text: at the boundary itself either answer is right.
        kept_s = sum(segment.duration_s for segment in update.segments[1:])
        if boundary_s and kept_s > boundary_s + TIME_SLACK_S:
            yield Violation(0, "6.2.5.1-no-skip", "no SKIP although segments lie beyond the skip boundary")
        return
    kept_s = sum(segment.duration_s for segment in update.segments)
    if kept_s < boundary_s - TIME_SLACK_S:
        yield Violation(line, "6.2.5.1-boundary", f"only {kept_s:.3f} s are left, the skip boundary is {boundary_s} s")
    try:
        merged = apply_delta(previous_full, delta)
    except DeltaError as error:
        yield Violation(line, "6.2.5.1-merge", str(error))
        return
    yield from (v for v in check_media_playlist(merged) if v.rule != "8-version")
    if full is not None and (difference := _difference(parse(merged), parse(full))):
        yield Violation(
            line,
            "6.2.5.1-same",
            f"merged with the last full playlist it differs from the full one: {difference}",
        )


def _difference(merged: MediaPlaylist, full: MediaPlaylist) -> str:
    for a, b in zip(merged.listed, full.listed, strict=False):
        if a.facts() != b.facts() or len(a.parts) != len(b.parts):
            return f"segment {a.msn}"
        if not all(x.same(y) for x, y in zip(a.parts, b.parts, strict=True)):
            return f"parts of segment {a.msn}"
    if len(merged.listed) != len(full.listed) or merged.media_sequence != full.media_sequence:
        return "the segments listed"
    if [h for _, h in merged.hints] != [h for _, h in full.hints]:
        return "PRELOAD-HINT"
    if [r for _, r in merged.reports] != [r for _, r in full.reports]:
        return "RENDITION-REPORT"
    return "" if merged.server_control == full.server_control else "SERVER-CONTROL"
