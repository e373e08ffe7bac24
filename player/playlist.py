"""Playlists from windows: media, delta and multivariant (RFC 8216bis 4.4). Text is built once per published change.

Lines of segments that no longer change are kept as one string, so a change costs the same in a window of an hour.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from core.media.hls import PLAYLIST_NAME, init_name, part_name, segment_head, segment_tail
from core.media.packet import AudioTrack, Kind, Track, VideoTrack
from core.media.window import Cadence, LiveWindow, Part, Segment

VERSION, VERSION_WITH_SKIP = 6, 9


def part_line(msn: int, part: Part) -> str:
    attributes = ",INDEPENDENT=YES" if part.independent else ",GAP=YES" if part.gap else ""
    return f'#EXT-X-PART:DURATION={part.duration_s:.5f},URI="{part_name(msn, part.number)}"{attributes}\n'


def live_header(cadence: Cadence, version: int, media_sequence: int, discontinuity_sequence: int) -> str:
    return (
        f"#EXTM3U\n#EXT-X-VERSION:{version}\n#EXT-X-TARGETDURATION:{cadence.target_duration_s}\n"
        f"#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK={cadence.part_hold_back_s:g},"
        f"HOLD-BACK={cadence.hold_back_s},CAN-SKIP-UNTIL={cadence.skip_until_s}\n"
        f"#EXT-X-PART-INF:PART-TARGET={cadence.part_target_s:g}\n"
        f"#EXT-X-MEDIA-SEQUENCE:{media_sequence}\n#EXT-X-DISCONTINUITY-SEQUENCE:{discontinuity_sequence}\n"
    )


class MediaPlaylist:
    """Renders one window. `siblings` are the renditions of the same broadcast, for the rendition reports."""

    def __init__(self, window: LiveWindow, siblings: Mapping[str, LiveWindow]) -> None:
        self._window, self._siblings = window, siblings
        self._old: list[str] = []
        self._old_text = ""
        self._old_first = self._old_end = -1
        self._part_lines: dict[int, list[str]] = {}

    def full(self) -> str:
        """The whole playlist, as it is now."""
        window = self._window
        self._settle_old()
        header = live_header(window.cadence, VERSION, window.media_sequence, window.discontinuity_sequence)
        return header + self._old_text + self._recent(self._old_end) + self._end()

    def delta(self) -> str | None:
        """A playlist delta update (4.4.5.2). None while no segment is past the skip boundary: then the full one serves.

        The state that the first kept segment needs is repeated before the SKIP tag: hls.js reads it there."""
        window = self._window
        skipped = self._skippable()
        if not skipped or window.ended:
            return None
        first = window.segments[skipped]
        header = live_header(window.cadence, VERSION_WITH_SKIP, window.media_sequence, window.discontinuity_sequence)
        state = f'#EXT-X-MAP:URI="{init_name(first.init)}"\n' if not first.discontinuity else ""
        skip = f"#EXT-X-SKIP:SKIPPED-SEGMENTS={skipped}\n"
        return header + state + skip + self._recent(first.msn) + self._end()

    def _skippable(self) -> int:
        """Segments whose end is farther from the playlist's end than the skip boundary."""
        window = self._window
        past_s = window.duration_s + (window.open.content_s if window.open else 0) - window.cadence.skip_until_s
        count = 0
        for segment in window.segments:
            past_s -= segment.duration_s
            if past_s < 0:
                break
            count += 1
        return count

    def _settle_old(self) -> None:
        """Moves segments whose parts are no longer listed into the kept text, and drops what left the window."""
        window = self._window
        first = window.media_sequence
        if self._old_first != first or not self._old:
            gone = max(0, first - self._old_first) if self._old else 0
            del self._old[:gone]
            self._old_first = first
            self._old_end = max(self._old_end, first)
            if self._old:
                self._old[0] = self._lines(first, with_parts=False)
            self._old_text = "".join(self._old)
        while self._old_end < window.next_msn and not self._lists_parts(self._old_end):
            self._old.append(self._lines(self._old_end, with_parts=False))
            self._old_text += self._old[-1]
            self._part_lines.pop(self._old_end, None)
            self._old_end += 1

    def _lists_parts(self, msn: int) -> bool:
        """Parts are listed for as long as the end of their segment is within three target durations of the edge."""
        window = self._window
        after_s = window.open.content_s if window.open else 0.0
        for segment in reversed(window.segments):
            if segment.msn == msn:
                return after_s < window.cadence.parts_listed_s
            after_s += segment.duration_s
        return True

    def _recent(self, first_msn: int) -> str:
        window = self._window
        text = "".join(self._lines(msn, with_parts=msn >= self._old_end) for msn in range(first_msn, window.next_msn))
        if window.open is not None:
            text += self._head(window.open) + self._parts(window.open)
        return text

    def _lines(self, msn: int, with_parts: bool) -> str:
        segment = self._window.find(msn)
        assert segment is not None
        return self._head(segment) + (self._parts(segment) if with_parts else "") + segment_tail(segment)

    def _head(self, segment: Segment) -> str:
        before = self._window.find(segment.msn - 1)
        return segment_head(segment, self._window.origin_ms, before.init if before else None)

    def _parts(self, segment: Segment) -> str:
        lines = self._part_lines.setdefault(segment.msn, [])
        for part in segment.parts[len(lines) :]:
            lines.append(part_line(segment.msn, part))
        return "".join(lines)

    def _end(self) -> str:
        window = self._window
        if window.ended:
            return "#EXT-X-ENDLIST\n"
        msn, part = (window.open.msn, len(window.open.parts)) if window.open else (window.next_msn, 0)
        reports = "".join(_report(other) for other in self._siblings.values() if other is not window)
        return f'#EXT-X-PRELOAD-HINT:TYPE=PART,URI="{part_name(msn, part)}"\n{reports}'


def _report(window: LiveWindow) -> str:
    if window.edge is None:
        return ""
    uri = f"../{window.name}/{PLAYLIST_NAME}"
    return f'#EXT-X-RENDITION-REPORT:URI="{uri}",LAST-MSN={window.edge.msn},LAST-PART={window.edge.part}\n'


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
    lines = [f"#EXTM3U\n#EXT-X-VERSION:{VERSION}\n"]
    lines += [_media_line(rendition) for rendition in audio]
    for rendition in sorted(video, key=lambda one: -one.peak_bps):
        wanted = AUDIO_GROUPS.get(rendition.name, LOW_AUDIO)
        sound = found.get(wanted) or (audio[0] if audio else None)
        lines.append(_variant_lines(rendition, sound))
    return "".join(lines)


def audio_multivariant(renditions: Iterable[Rendition]) -> str:
    """Audio alone, smallest first: it is there for those who pay by the megabyte. Its own playlist, because hls.js
    drops audio-only variants from one that has video, and Apple's 9.20 forbids them there."""
    lines = [f"#EXTM3U\n#EXT-X-VERSION:{VERSION}\n"]
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
