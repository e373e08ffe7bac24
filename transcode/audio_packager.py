"""The packager of AAC (packager.py)."""

from core.media import fmp4
from core.media.packet import AudioTrack, Buffer, Packet, Track
from core.media.window import Cadence, RenditionSink
from transcode.packager import DRIFT_TOLERANCE_MS, EDGE_MS, Packager
from transcode.timeline import Cut, Timeline

LEADING_AUDIO_SEGMENT_MS = 2000


class AudioPackager(Packager):
    """Frames are counted, not timed: durations are exact, and only a real hole or overlap moves the count.
    A rung is `made_of` another packager's sound, and ends where that ends: an encoder that is drained gives a frame or
    two of silence more than it got."""

    def __init__(
        self, timeline: Timeline, cadence: Cadence, sink: RenditionSink, leads: bool, next_init: int = 0,
        made_of: Packager | None = None,
    ) -> None:  # fmt: skip
        super().__init__(timeline, cadence, sink, leads, next_init)
        self._made_of = made_of
        self._frame = 1024
        self._tolerance = 0
        self._anchored = False
        self._sizes: list[int] = []

    def _set_track(self, track: Track) -> None:
        assert isinstance(track, AudioTrack)
        self._frame = track.frame_samples
        self._tolerance = DRIFT_TOLERANCE_MS * track.timescale // 1000

    def _take(self, packet: Packet) -> None:
        time = packet.dts_ms * self._timescale // 1000
        tolerance = self._tolerance
        counted = self._anchored and not self.awaits_cut and -tolerance <= time - self._end <= tolerance
        is_open = self._segment is not None and not self.leads
        if counted and is_open and self._next_cut() is None:
            self._append(packet.payload)  # the short way, which most frames go
            return
        start, timescale = self._end if counted else time, self._timescale
        if not counted and start < self._end - self._frame // 2:
            self.dropped += 1
            return
        if self.leads:
            self._lead(start)
        elif not self._follow_sound(start) or self.awaits_cut:
            self.dropped += 1
            return
        if self._timescale != timescale:  # its segment is the first of a new configuration
            start = self._ticks(start * 1000 / timescale)
        if start - self._end > self._tolerance and not self._opens(start):
            self._bridge(start)
            if self.leads and self._segment is None:
                self._begin(self._timeline.cut(self.end_ms), self._end)
        if not self._anchored:
            self._anchor(start)
        self._append(packet.payload)

    def _lead(self, start: int) -> None:
        if self._segment is None:
            self._begin(self._timeline.cut(start * 1000 / self._timescale), start)
        elif self.end_ms - self._segment.start_ms >= LEADING_AUDIO_SEGMENT_MS or self._timeline.break_wanted:
            self._close_part()
            self._complete()
            self._begin(self._timeline.cut(self.end_ms), self._end)

    def _opens(self, start: int) -> bool:
        """The first sound of a broadcast or after a discontinuity: its segment begins with it, not with a gap."""
        segment = self._segment
        return (
            segment is not None and not segment.parts and not self._payloads
            and (segment.discontinuity or segment.msn == self._first_msn)
            and start - self._end < self._ticks(EDGE_MS)
        )  # fmt: skip

    def _anchor(self, start: int) -> None:
        """The first frame after a hole stands where its timestamp says, to the sample; counting goes on from it."""
        segment = self._segment
        assert segment is not None
        if start > self._end:
            self._close_part()
            if segment.parts or not (segment.discontinuity or segment.msn == self._first_msn):
                self._gap_parts(start, exactly=True)
            else:
                self._end = self._part_start = start
                segment.start_ms = self.end_ms
        self._anchored = True

    def _add_part(self, duration: int, independent: bool, gap: bool, data: bytes) -> None:
        super()._add_part(duration, independent, gap, data)
        self._anchored &= not gap

    def _follow_sound(self, start: int) -> bool:
        """Like `_follow_to`, but where the leader's gap begins or ends, a segment gives or takes a frame or two rather
        than be part media and part gap. False for a frame that belongs nowhere."""
        start_ms = start * 1000 / self._timescale
        if not self._is_begun(start_ms) or self._is_padding(start_ms):
            return False
        while (cut := self._next_cut()) is not None and cut.start_ms <= start_ms:
            from_cut_ms = start_ms - cut.start_ms
            if self._anchored and cut.gap and from_cut_ms < EDGE_MS and self._fits(start_ms):
                if self._made_of is None:
                    self._timeline.note_sound(cut, start_ms + self._frame * 1000 / self._timescale)
                return True
            ends_gap = self._is_gap() and not cut.gap and from_cut_ms <= DRIFT_TOLERANCE_MS
            self._advance(cut, self._ticks(start_ms if ends_gap else cut.start_ms))
        is_early = cut is not None and not cut.gap and cut.start_ms - start_ms < EDGE_MS
        return not (is_early and self._is_gap())

    def _is_padding(self, start_ms: float) -> bool:
        """Whether a rung's frame lies where the source's sound was over, just before or in a gap."""
        cut = self._next_cut()
        if self._made_of is None or cut is None or not cut.gap or start_ms >= cut.start_ms + EDGE_MS:
            return False
        behind = self._timeline.get(cut.msn + 1)
        if behind is not None and not behind.gap and start_ms >= behind.start_ms - 1:
            return False  # the gap is over
        return start_ms + self._frame * 500 / self._timescale >= self._timeline.sound_end_ms(cut)

    def _known_ms(self) -> float:
        known_ms = self._timeline.watermark_ms
        if self._made_of is None:
            return known_ms
        return min(known_ms, self._made_of.end_ms - self._frame * 500 / self._timescale)

    def _is_gap(self) -> bool:
        """Whether the leader has nothing in the open segment, and neither have we."""
        assert self._segment is not None
        cut = self._timeline.get(self._segment.msn)
        return cut is not None and cut.gap and self._all_gap(self._segment) and not self._payloads

    def _fits(self, end_ms: float) -> bool:
        assert self._segment is not None
        return end_ms - self._segment.start_ms < self._cadence.target_duration_s * 1000 + 400

    def _advance(self, cut: Cut, start: int) -> None:
        if cut.gap and self._made_of is None and self._anchored:
            self._timeline.note_sound(cut, self.end_ms)
        super()._advance(cut, start)
        self._anchored &= not cut.discontinuity

    def _append(self, payload: Buffer) -> None:
        self._sizes.append(len(payload))
        self._payloads.append(payload)
        self._end += self._frame
        if self._end - self._part_start + self._frame > self._part_ticks:
            self._close_part()

    def _flush(self) -> None:
        self._close_part()

    def _fragment(self) -> tuple[bytes, bool]:
        data = fmp4.audio_fragment(self._sequence, self._part_start, self._frame, self._sizes, self._payloads)
        self._sizes, self._payloads = [], []
        return data, True
