"""One rendition on the air: a packager and those it tells, in their order: memory files, recorder, window."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from archive.recordings.recorder import Recording, RenditionRecorder
from core.media.packet import Kind, Track
from core.media.window import LiveWindow, Part, Segment, Storage
from player.files import RenditionFiles
from player.playlist import Rendition as Listed
from transcode.audio_packager import AudioPackager
from transcode.packager import Packager
from transcode.timeline import Timeline
from transcode.video_packager import VideoPackager

MEMORY_WINDOW_S = 60.0


class Rendition:
    """The packager's sink. Where the disk refuses a segment, it is kept in memory, in a shorter window.

    Of a source `came_unix_ms` is when its feed's newest packet came, by the broadcast's clock, `unix_ms`; `followers`
    hold packets until this one has cut.
    """

    def __init__(
        self, name: str, kind: Kind, timeline: Timeline, recording: Recording, folder: Path,
        siblings: Mapping[str, LiveWindow], leader: str | None, unix_ms: Callable[[], float],
        restored: Sequence[Segment] = (), inits: int = 0, made_of: Packager | None = None,
    ) -> None:  # fmt: skip
        window = LiveWindow(name, kind, recording.cadence, recording.origin_ms, restored)
        self.name, self.window = name, window
        self._unix_ms = unix_ms
        self.files = RenditionFiles(folder, window, siblings)
        self.announced = False
        self.peak_bps = 0
        self.part_delay_s = 0.0
        self.came_unix_ms = 0.0
        self.followers: tuple[Packager, ...] = ()
        self._bytes = 0
        self._seconds = 0.0
        previous_init = restored[-1].init if restored else None
        self._recorder = RenditionRecorder(
            recording, name, self._keep_in_memory, leader, previous_init, resumed=bool(restored), memory=folder
        )
        window.on_dropped = self.files.drop_segment
        self.packager: Packager
        if kind is Kind.VIDEO:
            self.packager = VideoPackager(timeline, recording.cadence, self, leader is None, inits)
        else:
            self.packager = AudioPackager(timeline, recording.cadence, self, leader is None, inits, made_of)

    @property
    def average_bps(self) -> int:
        return round(self._bytes * 8 / self._seconds) if self._seconds else self.peak_bps

    def listed(self, prefix: str, expected_peak_bps: int = 0) -> Listed | None:
        """How a multivariant playlist shows it; None before its first part."""
        track = self.window.track
        if track is None or not self.window.has_media:
            return None
        peak_bps = max(self.peak_bps, expected_peak_bps) or 1
        return Listed(
            self.name,
            track,
            f"{prefix}{self.name}/index.m3u8",
            peak_bps,
            min(self.average_bps, peak_bps) or 1,
        )

    def on_init(self, number: int, track: Track, data: bytes) -> None:
        self.files.on_init(number, track, data)
        self._recorder.on_init(number, track, data)
        self.window.on_init(number, track, data)

    def on_part(self, segment: Segment, part: Part, data: bytes) -> None:
        self.files.on_part(segment, part, data)
        self._recorder.on_part(segment, part, data)
        self.window.on_part(segment, part, data)
        if not part.gap:
            self.part_delay_s = (self._unix_ms() - self.window.origin_ms - self.packager.end_ms) / 1000

    def on_complete(self, segment: Segment) -> None:
        self.files.on_complete(segment)
        self._recorder.on_complete(segment)
        self.window.on_complete(segment)
        if not segment.gap and segment.duration_s > 0.5:
            self._bytes += segment.size
            self._seconds += segment.duration_s
            self.peak_bps = max(self.peak_bps, round(segment.size * 8 / segment.duration_s))

    def on_end(self) -> None:
        self._recorder.on_end()
        self.window.on_end()

    def commit(self) -> None:
        self.window.commit()

    def _keep_in_memory(self, segment: Segment) -> None:
        """On the recorder's thread. The parts are still files: they are kept longer than a disk takes to refuse."""
        try:
            self.files.keep_in_memory(segment, self.files.read_parts(segment))
        except OSError:
            segment.storage = Storage.NOWHERE
            return
        self.window.window_s = MEMORY_WINDOW_S
        segment.storage = Storage.IN_MEMORY
