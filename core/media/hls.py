"""The names and lines of HLS (RFC 8216) that a live playlist and a recording's index have in common, both ways."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from core.media.window import Segment

PLAYLIST_NAME = "index.m3u8"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def segment_name(msn: int) -> str:
    return f"{msn}.m4s"


def part_name(msn: int, index: int) -> str:
    return f"{msn}.{index}.m4s"


def mark_name(msn: int, init: int, discontinuities: int) -> str:
    """Of the file beside the parts in memory that says what is in force from a segment on."""
    return f"{msn}.{init}-{discontinuities}.from"


def init_name(number: int) -> str:
    return f"init-{number}.mp4"


def date_time(unix_ms: float) -> str:
    """ISO 8601 in UTC, to the millisecond, as PROGRAM-DATE-TIME wants it."""
    return (_EPOCH + timedelta(milliseconds=round(unix_ms))).isoformat(timespec="milliseconds")[:-6] + "Z"


def segment_head(segment: Segment, origin_ms: int, previous_init: int | None) -> str:
    """What stands before a segment's parts. A changed initialization segment is named again; so is one after a
    discontinuity, because players look for it there."""
    lines = "#EXT-X-DISCONTINUITY\n" if segment.discontinuity else ""
    if segment.init != previous_init or segment.discontinuity:
        lines += f'#EXT-X-MAP:URI="{init_name(segment.init)}"\n'
    return f"{lines}#EXT-X-PROGRAM-DATE-TIME:{date_time(origin_ms + segment.start_ms)}\n"


def segment_tail(segment: Segment) -> str:
    gap = "#EXT-X-GAP\n" if segment.gap else ""
    return f"{gap}#EXTINF:{segment.duration_s:.5f},\n{segment_name(segment.msn)}\n"


def index_header(target_duration_s: int, media_sequence: int, discontinuity_sequence: int) -> str:
    """The head of an append-only playlist: EVENT while it grows, complete with its ENDLIST (4.3.3.5)."""
    return (
        f"#EXTM3U\n#EXT-X-VERSION:8\n#EXT-X-TARGETDURATION:{target_duration_s}\n#EXT-X-PLAYLIST-TYPE:EVENT\n"
        f"#EXT-X-MEDIA-SEQUENCE:{media_sequence}\n#EXT-X-DISCONTINUITY-SEQUENCE:{discontinuity_sequence}\n"
    )


@dataclass(slots=True)
class Index:
    """What an index says. `torn_bytes` is the length of an unfinished entry at its end."""

    segments: list[Segment]
    ended: bool
    torn_bytes: int


_TAGS = re.compile(
    r"#EXT-X-(MEDIA-SEQUENCE|DISCONTINUITY-SEQUENCE|MAP:URI=\"init|PROGRAM-DATE-TIME):?-?(.*?)(?:\.mp4\")?$"
)


def read_index(text: str, origin_ms: int) -> Index:
    """Reads what segment_head and segment_tail wrote. An entry counts once its URI line is whole."""
    whole = text[: text.rfind("\n") + 1]
    reader = _IndexReader(origin_ms)
    position = end = 0
    for line in whole.splitlines(keepends=True):
        position += len(line)
        if reader.take(line.strip()):
            end = position
    return Index(
        reader.segments, reader.ended, len(text.encode()) - len(text[:end].encode()) if not reader.ended else 0
    )


class _IndexReader:
    def __init__(self, origin_ms: int) -> None:
        self.segments: list[Segment] = []
        self.ended = False
        self._origin_ms = origin_ms
        self._msn = self._discontinuities = self._init = 0
        self._start_ms = self._duration_s = 0.0
        self._discontinuity = self._gap = False

    def take(self, line: str) -> bool:
        """True where everything up to this line is whole: after the header and after each segment."""
        if line.startswith("#EXTINF:"):
            self._duration_s = float(line[8:].rstrip(","))
        elif line == "#EXT-X-DISCONTINUITY":
            self._discontinuity = True
            self._discontinuities += 1
        elif line == "#EXT-X-GAP":
            self._gap = True
        elif line == "#EXT-X-ENDLIST":
            self.ended = True
        elif line and not line.startswith("#"):
            self._add()
            return True
        elif match := _TAGS.match(line):
            self._read_tag(match[1], match[2])
            return match[1].endswith("SEQUENCE")
        return self.ended

    def _read_tag(self, tag: str, value: str) -> None:
        if tag == "MEDIA-SEQUENCE":
            self._msn = int(value)
        elif tag == "DISCONTINUITY-SEQUENCE":
            self._discontinuities = int(value)
        elif tag == "PROGRAM-DATE-TIME":
            moment = datetime.fromisoformat(value.replace("Z", "+00:00"))
            self._start_ms = (moment - _EPOCH) / timedelta(milliseconds=1) - self._origin_ms
        else:
            self._init = int(value)

    def _add(self) -> None:
        segment = Segment(self._msn, self._start_ms, self._discontinuity, self._discontinuities, self._init)
        segment.duration_s, segment.gap = self._duration_s, self._gap
        self.segments.append(segment)
        self._msn += 1
        self._discontinuity = self._gap = False


def entries(segments: Iterable[Segment], origin_ms: int, previous_init: int | None) -> Iterator[str]:
    """The lines of consecutive segments, ready to append."""
    for segment in segments:
        yield segment_head(segment, origin_ms, previous_init) + segment_tail(segment)
        previous_init = segment.init
