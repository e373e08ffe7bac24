"""Reads a media playlist, full or delta, into segments and parts (rfc8216bis 4.2 to 4.4.5)."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime

from player.conformance.violation import Violation

_ATTRIBUTE = re.compile(r'([A-Z0-9-]+)=("[^"\r\n]*"|[^",\s][^,\s]*)(?:,|$)')
_ONCE = {
    "EXT-X-VERSION", "EXT-X-TARGETDURATION", "EXT-X-MEDIA-SEQUENCE", "EXT-X-DISCONTINUITY-SEQUENCE",
    "EXT-X-ENDLIST", "EXT-X-PLAYLIST-TYPE", "EXT-X-PART-INF", "EXT-X-SERVER-CONTROL",
    "EXT-X-INDEPENDENT-SEGMENTS", "EXT-X-SKIP",
}  # fmt: skip
_HEAD_ONLY = {"EXT-X-MEDIA-SEQUENCE": "4.4.3.2-before", "EXT-X-DISCONTINUITY-SEQUENCE": "4.4.3.3-before"}


@dataclass(frozen=True, slots=True)
class Part:
    line: int
    uri: str
    duration_s: float
    is_independent: bool
    is_gap: bool

    def same(self, other: "Part") -> bool:
        return replace(self, line=0) == replace(other, line=0)


@dataclass(slots=True)
class Segment:
    """A media segment, or the open one at the edge (uri "") that so far has only parts."""

    msn: int
    discontinuity: int
    line: int = 0
    uri: str = ""
    duration_s: float = 0.0
    starts_at_s: float | None = None  # PROGRAM-DATE-TIME as Unix time
    map_uri: str | None = None
    is_gap: bool = False
    follows_discontinuity: bool = False
    parts: list[Part] = field(default_factory=list)

    @property
    def length_s(self) -> float:
        return self.duration_s if self.uri else sum(part.duration_s for part in self.parts)

    def facts(self) -> tuple[object, ...]:
        """What may never change while the segment is listed (6.2.1)."""
        return self.uri, self.duration_s, self.starts_at_s, self.map_uri, self.is_gap, self.discontinuity


@dataclass(slots=True)
class MediaPlaylist:
    lines: list[str]
    violations: list[Violation] = field(default_factory=list)
    tag_lines: dict[str, int] = field(default_factory=dict)
    version: int = 1
    target_duration_s: int = 0
    part_target_s: float | None = None
    server_control: dict[str, str] = field(default_factory=dict)
    media_sequence: int = 0
    discontinuity_sequence: int = 0
    skipped: int = 0
    kind: str = ""  # PLAYLIST-TYPE
    is_ended: bool = False
    segments: list[Segment] = field(default_factory=list)
    open: Segment = field(default_factory=lambda: Segment(0, 0))
    hints: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    reports: list[tuple[int, dict[str, str]]] = field(default_factory=list)

    def broken(self, rule: str, line: int, reason: str) -> None:
        self.violations.append(Violation(line, rule, reason))

    def line_of(self, tag: str) -> int:
        return self.tag_lines.get(tag, 0)

    def control_s(self, name: str) -> float | None:
        return decimal(self.server_control.get(name))

    @property
    def listed(self) -> list[Segment]:
        """The segments, and the open one when it has parts."""
        return [*self.segments, self.open] if self.open.parts else self.segments

    @property
    def duration_s(self) -> float:
        return sum(segment.length_s for segment in self.listed)

    @property
    def last_part(self) -> tuple[int, int]:
        """MSN and part index of the newest part; part -1 where the newest segment lists none."""
        if not self.listed:
            return self.media_sequence - 1, -1
        return self.listed[-1].msn, len(self.listed[-1].parts) - 1


def attribute_list(text: str) -> dict[str, str] | None:
    """An attribute list (4.2) with quotes taken off; None where it isn't one or names an attribute twice."""
    found: dict[str, str] = {}
    at = 0
    while match := _ATTRIBUTE.match(text, at):
        if match[1] in found:
            return None
        found[match[1]] = match[2].strip('"')
        at = match.end()
    return found if at == len(text) and found and not text.endswith(",") else None


def decimal(text: str | None) -> float | None:
    return float(text) if text and re.fullmatch(r"\d+(\.\d+)?", text) else None


def _wall_clock_s(text: str) -> float | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment.timestamp() if moment.tzinfo else None


def parse(text: str) -> MediaPlaylist:
    """Read a media playlist, full or delta. What can't be read becomes a violation and is left out."""
    playlist = MediaPlaylist(text.split("\n"))
    if not text.startswith("#EXTM3U\n"):
        playlist.broken("4.4.1.1-extm3u", 1, "the first line is not #EXTM3U")
    playlist.open = Segment(0, 0)
    for number, line in enumerate(playlist.lines, 1):
        if line.startswith("#EXT"):
            name, _, value = line[1:].partition(":")
            _read_tag(playlist, number, name, value)
        elif line and not line.startswith("#"):
            _close_segment(playlist, number, line)
    return playlist


def _read_tag(playlist: MediaPlaylist, number: int, name: str, value: str) -> None:
    if name in _ONCE and name in playlist.tag_lines:
        playlist.broken("4.4.3-once", number, f"{name} stands a second time")
    if name in _HEAD_ONLY and (playlist.listed or playlist.skipped or playlist.open.follows_discontinuity):
        playlist.broken(_HEAD_ONLY[name], number, f"{name} stands after the first segment, DISCONTINUITY or SKIP")
    playlist.tag_lines.setdefault(name, number)
    if name in _WITH_ATTRIBUTES:
        attributes = attribute_list(value)
        if attributes is None:
            return playlist.broken("4.2-attributes", number, f"{name} has no well-formed attribute list")
        _WITH_ATTRIBUTES[name](playlist, number, attributes)
    elif name in _WITH_VALUE:
        _WITH_VALUE[name](playlist, number, value)


def _read_integer(name: str, store: Callable[[MediaPlaylist, int], None]) -> Callable[[MediaPlaylist, int, str], None]:
    def read(playlist: MediaPlaylist, number: int, value: str) -> None:
        if not value.isdigit():
            return playlist.broken("4.2-integer", number, f"{name} is not a decimal integer")
        store(playlist, int(value))

    return read


def _set_media_sequence(playlist: MediaPlaylist, value: int) -> None:
    playlist.media_sequence = playlist.open.msn = value


def _set_discontinuity_sequence(playlist: MediaPlaylist, value: int) -> None:
    playlist.discontinuity_sequence = playlist.open.discontinuity = value


def _read_extinf(playlist: MediaPlaylist, number: int, value: str) -> None:
    duration_s = decimal(value.partition(",")[0])
    if duration_s is None or "," not in value:
        return playlist.broken("4.4.4.1-extinf", number, "EXTINF is not a decimal duration and a comma")
    playlist.open.duration_s, playlist.open.line = duration_s, number


def _read_date(playlist: MediaPlaylist, number: int, value: str) -> None:
    playlist.open.starts_at_s = _wall_clock_s(value)
    if playlist.open.starts_at_s is None:
        playlist.broken("4.4.4.6-date", number, "PROGRAM-DATE-TIME is not an ISO 8601 time with a zone")


def _read_discontinuity(playlist: MediaPlaylist, number: int, _: str) -> None:
    if playlist.open.parts:
        playlist.broken("4.4.4.3-place", number, "DISCONTINUITY stands after parts of its segment")
    playlist.open.discontinuity += 1
    playlist.open.follows_discontinuity = True


def _read_gap(playlist: MediaPlaylist, _number: int, _: str) -> None:
    playlist.open.is_gap = True


def _read_end(playlist: MediaPlaylist, _number: int, _: str) -> None:
    playlist.is_ended = True


def _read_part(playlist: MediaPlaylist, number: int, attributes: dict[str, str]) -> None:
    duration_s = decimal(attributes.get("DURATION"))
    if duration_s is None or not attributes.get("URI"):
        return playlist.broken("4.4.4.9-attributes", number, "PART needs URI and a decimal DURATION")
    if playlist.open.duration_s:
        playlist.broken("4.4.4.9-place", number, "PART stands after the EXTINF of its parent segment")
    is_independent, is_gap = attributes.get("INDEPENDENT") == "YES", attributes.get("GAP") == "YES"
    playlist.open.parts.append(Part(number, attributes["URI"], duration_s, is_independent, is_gap))


def _read_map(playlist: MediaPlaylist, number: int, attributes: dict[str, str]) -> None:
    if not attributes.get("URI"):
        return playlist.broken("4.4.4.5-uri", number, "MAP has no URI")
    playlist.open.map_uri = attributes["URI"]


def _read_part_inf(playlist: MediaPlaylist, number: int, attributes: dict[str, str]) -> None:
    playlist.part_target_s = decimal(attributes.get("PART-TARGET"))
    if not playlist.part_target_s:
        playlist.broken("4.4.3.7-part-target", number, "PART-INF has no decimal PART-TARGET above 0")


def _read_control(playlist: MediaPlaylist, _number: int, attributes: dict[str, str]) -> None:
    playlist.server_control = attributes


def _read_skip(playlist: MediaPlaylist, number: int, attributes: dict[str, str]) -> None:
    count = attributes.get("SKIPPED-SEGMENTS", "")
    if not count.isdigit() or count == "0":
        return playlist.broken("4.4.5.2-skipped", number, "SKIP has no positive SKIPPED-SEGMENTS")
    if playlist.segments:
        playlist.broken("4.4.5.2-place", number, "SKIP stands after a segment")
    playlist.skipped = int(count)
    playlist.open.msn += playlist.skipped


def _read_hint(playlist: MediaPlaylist, number: int, attributes: dict[str, str]) -> None:
    playlist.hints.append((number, attributes))


def _read_report(playlist: MediaPlaylist, number: int, attributes: dict[str, str]) -> None:
    playlist.reports.append((number, attributes))


def _close_segment(playlist: MediaPlaylist, number: int, uri: str) -> None:
    done = playlist.open
    if not done.duration_s:
        playlist.broken("4.4.4.1-missing", number, "a segment without EXTINF")
    done.uri, done.line = uri, done.line or number
    playlist.segments.append(done)
    playlist.open = Segment(done.msn + 1, done.discontinuity, map_uri=done.map_uri)


_WITH_ATTRIBUTES: dict[str, Callable[[MediaPlaylist, int, dict[str, str]], None]] = {
    "EXT-X-PART": _read_part,
    "EXT-X-MAP": _read_map,
    "EXT-X-PART-INF": _read_part_inf,
    "EXT-X-SERVER-CONTROL": _read_control,
    "EXT-X-SKIP": _read_skip,
    "EXT-X-PRELOAD-HINT": _read_hint,
    "EXT-X-RENDITION-REPORT": _read_report,
}
_WITH_VALUE: dict[str, Callable[[MediaPlaylist, int, str], None]] = {
    "EXT-X-VERSION": _read_integer("VERSION", lambda p, v: setattr(p, "version", v)),
    "EXT-X-TARGETDURATION": _read_integer("TARGETDURATION", lambda p, v: setattr(p, "target_duration_s", v)),
    "EXT-X-MEDIA-SEQUENCE": _read_integer("MEDIA-SEQUENCE", _set_media_sequence),
    "EXT-X-DISCONTINUITY-SEQUENCE": _read_integer("DISCONTINUITY-SEQUENCE", _set_discontinuity_sequence),
    "EXT-X-PLAYLIST-TYPE": lambda playlist, _, value: setattr(playlist, "kind", value),
    "EXTINF": _read_extinf,
    "EXT-X-PROGRAM-DATE-TIME": _read_date,
    "EXT-X-DISCONTINUITY": _read_discontinuity,
    "EXT-X-GAP": _read_gap,
    "EXT-X-ENDLIST": _read_end,
}
