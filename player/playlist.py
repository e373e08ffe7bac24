"""Playlists from windows: media, delta and multivariant (RFC 8216bis 4.4). Text is built once per published change.

Lines of segments that no longer change are kept as one string, so a change costs the same in a window of an hour.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from core.media.hls import PLAYLIST_NAME, init_name, part_name, segment_head, segment_tail
from core.media.packet import AudioTrack, Kind, Track, VideoTrack
from core.media.window import Cadence, LiveWindow, Part, Segment

# 9 for EXT-X-SKIP in deltas; EXT-X-GAP alone needs 8, and a playlist's version does not change while it is live.
MEDIA_VERSION, MULTIVARIANT_VERSION = 9, 6


def part_line(msn: int, part: Part) -> str:
    attributes = ",INDEPENDENT=YES" if part.independent else ",GAP=YES" if part.gap else ""
    return f'#EXT-X-PART:DURATION={part.duration_s:.5f},URI="{part_name(msn, part.number)}"{attributes}\n'


def live_header(cadence: Cadence, media_sequence: int, discontinuity_sequence: int) -> str:
    return (
        f"#EXTM3U\n#EXT-X-VERSION:{MEDIA_VERSION}\n#EXT-X-TARGETDURATION:{cadence.target_duration_s}\n"
        f"#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK={cadence.part_hold_back_s:g},"
        f"HOLD-BACK={cadence.hold_back_s},CAN-SKIP-UNTIL={cadence.skip_until_s}\n"
        f"#EXT-X-PART-INF:PART-TARGET={cadence.part_target_s:g}\n"
        f"#EXT-X-MEDIA-SEQUENCE:{media_sequence}\n#EXT-X-DISCONTINUITY-SEQUENCE:{discontinuity_sequence}\n"
    )


class MediaPlaylist:
    """Renders one window. `siblings` are the renditions of the same broadcast, for the rendition reports.

    Three texts are kept: segments whose parts are no longer listed, complete segments with their parts, the open one.
    """

    def __init__(self, window: LiveWindow, siblings: Mapping[str, LiveWindow]) -> None:
        self._window, self._siblings = window, siblings
        self._header = ""
        self._old: list[str] = []
        self._old_text = ""
        self._old_end = -1
        self._recent: dict[int, str] = {}
        self._recent_text = ""
        self._open_msn = -1
        self._open_parts = 0
        self._open_text = ""
        self._range = (-1, -1)
        self._after_first_s = 0.0
        self._end_text = ""
        self._rendered_version = -1
        self._rendered = ""

    def full(self) -> str:
        """The whole playlist, as it is now. Rendered once per version of the window."""
        window = self._window
        if self._rendered_version != window.version:
            if self._range != (window.media_sequence, window.next_msn):
                self._advance()
            self._extend_open()
            self._retire()
            self._end_text = self._end()
            self._rendered = self._header + self._old_text + self._recent_text + self._open_text + self._end_text
            self._rendered_version = window.version
        return self._rendered

    def delta(self) -> str | None:
        """A playlist delta update (4.4.5.2). None while no segment is past the skip boundary: then the full one serves.

        The state that the first kept segment needs is repeated before the SKIP tag: hls.js reads it there."""
        window = self._window
        skipped = self._skippable()
        if not skipped or window.ended:
            return None
        self.full()
        first = window.segments[skipped]
        header = live_header(window.cadence, window.media_sequence, window.discontinuity_sequence)
        state = f'#EXT-X-MAP:URI="{init_name(first.init)}"\n' if not first.discontinuity else ""
        kept = "".join(self._recent.get(msn) or self._lines(msn, False) for msn in range(first.msn, window.next_msn))
        return f"{header}{state}#EXT-X-SKIP:SKIPPED-SEGMENTS={skipped}\n{kept}{self._open_text}{self._end_text}"

    def _skippable(self) -> int:
        """Segments whose end is farther from the end of the last segment than the skip boundary (6.2.5.1)."""
        window = self._window
        past_s = window.duration_s - window.cadence.skip_until_s
        count = 0
        for segment in window.segments:
            past_s -= segment.duration_s
            if past_s < 0:
                break
            count += 1
        return count

    def _advance(self) -> None:
        """A segment was completed or left the window: the kept texts move on."""
        window = self._window
        first, end = window.media_sequence, window.next_msn
        if self._old and first > self._range[0]:
            del self._old[: first - self._range[0]]
            if self._old:
                self._old[0] = self._lines(first, False)
        self._old_end = max(self._old_end, first)
        for msn in range(max(first, self._range[1]), end):
            self._recent[msn] = self._lines(msn, True)
        self._range = (first, end)
        self._after_first_s = sum(one.duration_s for one in window.segments if one.msn > self._old_end)
        self._old_text = "".join(self._old)
        self._recent_text = "".join(self._recent.values())
        self._header = live_header(window.cadence, first, window.discontinuity_sequence)

    def _retire(self) -> None:
        """Parts are listed for as long as the end of their segment is within three target durations of the edge."""
        window = self._window
        open_s = window.open.content_s if window.open is not None else 0.0
        while self._recent and self._after_first_s + open_s > window.cadence.parts_listed_s:
            self._old.append(self._lines(self._old_end, False))
            del self._recent[self._old_end]
            self._old_end += 1
            following = window.find(self._old_end)
            self._after_first_s -= following.duration_s if following is not None else 0.0
            self._old_text = "".join(self._old)
            self._recent_text = "".join(self._recent.values())

    def _extend_open(self) -> None:
        segment = self._window.open
        if segment is None:
            self._open_msn, self._open_text = -1, ""
            return
        if segment.msn != self._open_msn:
            self._open_msn, self._open_parts, self._open_text = segment.msn, 0, self._head(segment)
        for part in segment.parts[self._open_parts :]:
            self._open_text += part_line(segment.msn, part)
        self._open_parts = len(segment.parts)

    def _lines(self, msn: int, with_parts: bool) -> str:
        segment = self._window.find(msn)
        assert segment is not None
        parts = "".join([part_line(msn, part) for part in segment.parts]) if with_parts else ""
        return self._head(segment) + parts + segment_tail(segment)

    def _head(self, segment: Segment) -> str:
        before = self._window.find(segment.msn - 1)
        return segment_head(segment, self._window.origin_ms, before.init if before else None)

    def _end(self) -> str:
        window = self._window
        if window.ended:
            return "#EXT-X-ENDLIST\n"
        msn, part = (window.open.msn, len(window.open.parts)) if window.open else (window.next_msn, 0)
        reports = "".join([_report(other) for other in self._siblings.values() if other is not window])
        return f'#EXT-X-PRELOAD-HINT:TYPE=PART,URI="{part_name(msn, part)}"\n{reports}'


def _report(window: LiveWindow) -> str:
    edge = window.edge
    if edge is None:
        return ""
    uri = f"../{window.name}/{PLAYLIST_NAME}"
    return f'#EXT-X-RENDITION-REPORT:URI="{uri}",LAST-MSN={edge.msn},LAST-PART={edge.part}\n'


@dataclass(frozen=True, slots=True)
class Rendition:
    """What a multivariant playlist says of one rendition. `path` is its playlist, relative to the multivariant one."""

    name: str
    track: Track
    path: str
    peak_bps: int
    average_bps: int


AUDIO_GROUPS = {"source": "source-audio"}
LOW_AUDIO = "low-audio"


def multivariant(renditions: Iterable[Rendition]) -> str:
    """Video variants, highest first, each with an audio group: the source's own, or the small one for the rungs."""
    found = {rendition.name: rendition for rendition in renditions}
    audio = [rendition for rendition in found.values() if rendition.track.kind is Kind.AUDIO]
    video = [rendition for rendition in found.values() if rendition.track.kind is Kind.VIDEO]
    if not video:
        return audio_multivariant(audio)
    lines = [f"#EXTM3U\n#EXT-X-VERSION:{MULTIVARIANT_VERSION}\n"]
    lines += [_media_line(rendition) for rendition in audio]
    for rendition in sorted(video, key=lambda one: -one.peak_bps):
        wanted = AUDIO_GROUPS.get(rendition.name, LOW_AUDIO)
        sound = found.get(wanted) or (audio[0] if audio else None)
        lines.append(_variant_lines(rendition, sound))
    return "".join(lines)


def audio_multivariant(renditions: Iterable[Rendition]) -> str:
    """Audio alone, smallest first: it is there for those who pay by the megabyte. Its own playlist, because hls.js
    drops audio-only variants from one that has video, and Apple's 9.20 forbids them there."""
    lines = [f"#EXTM3U\n#EXT-X-VERSION:{MULTIVARIANT_VERSION}\n"]
    sound = [rendition for rendition in renditions if rendition.track.kind is Kind.AUDIO]
    for rendition in sorted(sound, key=lambda one: one.peak_bps):
        lines.append(
            f"#EXT-X-STREAM-INF:BANDWIDTH={rendition.peak_bps},AVERAGE-BANDWIDTH={rendition.average_bps},"
            f'CODECS="{rendition.track.codecs}"\n{rendition.path}\n'
        )
    return "".join(lines)


def _media_line(rendition: Rendition) -> str:
    channels = rendition.track.channels if isinstance(rendition.track, AudioTrack) else 2
    return (
        f'#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="{rendition.name}",NAME="Sauti",LANGUAGE="sw",DEFAULT=YES,AUTOSELECT=YES,'
        f'CHANNELS="{channels}",URI="{rendition.path}"\n'
    )


def _variant_lines(video: Rendition, audio: Rendition | None) -> str:
    assert isinstance(video.track, VideoTrack)
    codecs = video.track.codecs + (f",{audio.track.codecs}" if audio else "")
    peak_bps = video.peak_bps + (audio.peak_bps if audio else 0)
    average_bps = video.average_bps + (audio.average_bps if audio else 0)
    rate = f",FRAME-RATE={video.track.frame_rate:.3f}" if video.track.frame_rate else ""
    group = f',AUDIO="{audio.name}"' if audio else ""
    return (
        f'#EXT-X-STREAM-INF:BANDWIDTH={peak_bps},AVERAGE-BANDWIDTH={average_bps},CODECS="{codecs}",'
        f"RESOLUTION={video.track.width}x{video.track.height}{rate}{group}\n{video.path}\n"
    )
