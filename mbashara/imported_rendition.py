"""One rendition of a file that is imported: a packager and its recorder. A broadcast's (rendition.py) has viewers."""

from collections.abc import Callable

from archive.recordings.recorder import Recording, RenditionRecorder
from core.media.packet import Kind, Track
from core.media.window import Part, Segment
from mbashara.listing import tell_rendition
from player.playlist import Rendition as Listed
from transcode.audio_packager import AudioPackager
from transcode.packager import Packager
from transcode.timeline import Timeline
from transcode.video_packager import VideoPackager


class ImportedRendition:
    """The packager's sink. `on_lost` is called on the recorder's thread."""

    def __init__(
        self, name: str, kind: Kind, timeline: Timeline, recording: Recording, on_lost: Callable[[Segment], None],
        leader: str | None, made_of: Packager | None = None,
    ) -> None:  # fmt: skip
        self.name, self.kind = name, kind
        self._recording = recording
        pictures_stand = kind is Kind.VIDEO
        self._recorder = RenditionRecorder(recording, name, on_lost, leader, pictures_stand=pictures_stand)
        self._track: Track | None = None
        self._peak_bps = self._bytes = 0
        self._seconds = 0.0
        self.packager: Packager
        if kind is Kind.VIDEO:
            self.packager = VideoPackager(timeline, recording.cadence, self, leader is None)
        else:
            self.packager = AudioPackager(timeline, recording.cadence, self, leader is None, made_of=made_of)

    def listed(self) -> Listed | None:
        """How a multivariant playlist shows it; None without media."""
        if self._track is None or not self._bytes:
            return None
        peak_bps = max(self._peak_bps, self._average_bps)
        return Listed(self.name, self._track, f"{self.name}/index.m3u8", peak_bps, self._average_bps)

    def tell(self) -> None:
        """The ledger, what this rendition is."""
        if self._track is not None:
            tell_rendition(self._recording, self.name, self._track, self._average_bps)

    @property
    def _average_bps(self) -> int:
        return max(1, round(self._bytes * 8 / self._seconds)) if self._seconds else 1

    # As a RenditionSink.

    def on_init(self, number: int, track: Track, data: bytes) -> None:
        self._track = track
        self._recorder.on_init(number, track, data)

    def on_part(self, segment: Segment, part: Part, data: bytes) -> None:
        self._recorder.on_part(segment, part, data)

    def on_complete(self, segment: Segment) -> None:
        self._recorder.on_complete(segment)
        if segment.gap:
            return
        self._bytes += segment.size
        self._seconds += segment.duration_s
        if segment.duration_s > 0.5:
            self._peak_bps = max(self._peak_bps, round(segment.size * 8 / segment.duration_s))

    def on_end(self) -> None:
        self._recorder.on_end()

    def commit(self) -> None: ...
