"""The packager of H.264 (packager.py)."""

from core.media import fmp4
from core.media.packet import Packet, Track, VideoTrack
from core.media.window import Cadence, RenditionSink
from transcode.packager import Packager
from transcode.timeline import Cut, Timeline

SEGMENT_MIN_MS = 1500
FULL_PART = 0.85
DEFAULT_FRAME_MS = 40


class VideoPackager(Packager):
    """A sample's duration is the distance to the next one, so one sample is always pending."""

    def __init__(
        self, timeline: Timeline, cadence: Cadence, sink: RenditionSink, leads: bool, next_init: int = 0
    ) -> None:
        super().__init__(timeline, cadence, sink, leads, next_init)
        self._pending: Packet | None = None
        self._frame_ms = DEFAULT_FRAME_MS
        self._samples: list[int] = []
        self._has_key = False
        self._needs_key = True
        self._longest_ms = cadence.target_duration_s * 1000 + 499
        self._latest_cut_ms = 0.0  # by which the open segment has to end

    def _set_track(self, track: Track) -> None:
        assert isinstance(track, VideoTrack)
        if track.frame_rate:
            self._frame_ms = max(1, round(1000 / track.frame_rate))

    def write(self, packet: Packet) -> None:
        """The short way, which most packets go: the leader's next delta frame, where the pending one and another like
        it fit into the open part. `_take` knows all the others."""
        pending, dts_ms = self._pending, packet.dts_ms
        if pending is not None and self.leads and not packet.is_key:
            duration = dts_ms - pending.dts_ms
            if 0 < duration <= self._part_start + self._part_ticks - dts_ms and dts_ms < self._latest_cut_ms - duration:
                payload = pending.payload
                flags = fmp4.DELTA_SAMPLE
                if pending.is_key:
                    flags, self._has_key = fmp4.KEY_SAMPLE, True
                self._samples += (duration, len(payload), flags, pending.cts_ms & 0xFFFFFFFF)
                self._payloads.append(payload)
                self._frame_ms, self._end, self._pending = duration, dts_ms, packet
                self._timeline.watermark_ms = max(self._timeline.watermark_ms, dts_ms)
                return
        super().write(packet)

    def _take(self, packet: Packet) -> None:
        pending = self._pending
        if pending is not None:
            if packet.dts_ms <= pending.dts_ms:
                # Decoding times must grow (14496-12, 8.6.1.2): move this one and keep its presentation time.
                moved_ms = pending.dts_ms + 1
                packet = packet._replace(dts_ms=moved_ms, cts_ms=packet.cts_ms + packet.dts_ms - moved_ms)
            self._settle(pending, packet.dts_ms)
        elif packet.dts_ms < self._end:
            self.dropped += 1
            return
        time_ms = packet.dts_ms
        if not self.leads and not self._follows(packet):
            self.dropped += 1
            return
        if time_ms > self._end and self._segment is not None:
            self._bridge(time_ms)
        if self.leads and (self._segment is None or self._wants_cut(packet)):
            self._cut(time_ms)
        self._pending = packet

    def _follows(self, packet: Packet) -> bool:
        if self._needs_key and not packet.is_key:
            return False
        if not self._follow_to(packet.dts_ms) or self.awaits_cut:
            return False
        self._needs_key = False
        return packet.dts_ms >= self._end

    def _begin(self, cut: Cut, at: int) -> None:
        super()._begin(cut, at)
        assert self._segment is not None
        self._latest_cut_ms = self._segment.start_ms + self._longest_ms

    def _settle(self, pending: Packet, next_ms: int) -> None:
        """The pending sample's duration is known now: into this part or, where that would pass the target, the next."""
        duration = next_ms - pending.dts_ms
        if duration > self._part_ticks:
            duration = self._frame_ms
        else:
            self._frame_ms = duration
        self._append(pending, duration)

    def _append(self, sample: Packet, duration: int) -> None:
        filled = sample.dts_ms + duration - self._part_start
        if filled > self._part_ticks and self._payloads:
            self._close_part()
            filled = duration
        payload = sample.payload
        self._has_key |= sample.is_key
        flags = fmp4.KEY_SAMPLE if sample.is_key else fmp4.DELTA_SAMPLE
        self._samples += (duration, len(payload), flags, sample.cts_ms & 0xFFFFFFFF)
        self._payloads.append(payload)
        self._end = sample.dts_ms + duration
        self._pending = None
        # The next frame's timestamp may be rounded down by one.
        if filled + duration - 1 > self._part_ticks and filled >= FULL_PART * self._part_ticks:
            self._close_part()

    def _wants_cut(self, packet: Packet) -> bool:
        """At a keyframe, but not at each of a feed that sends many; at the latest before EXTINF would round above the
        target duration (draft 4.4.3.1), keyframe or not."""
        assert self._segment is not None
        elapsed_ms = packet.dts_ms - self._segment.start_ms
        if packet.is_key and (elapsed_ms >= SEGMENT_MIN_MS or self._timeline.break_wanted):
            return True
        return packet.dts_ms + self._frame_ms > self._latest_cut_ms

    def _cut(self, time_ms: int) -> None:
        self._close_part()
        self._complete()
        self._begin(self._timeline.cut(time_ms), time_ms)

    def _flush(self) -> None:
        if self._pending is not None:
            self._append(self._pending, self._frame_ms)
        self._close_part()
        self._needs_key = True

    def _advance(self, cut: Cut, start: int) -> None:
        needs_key = self._needs_key
        super()._advance(cut, start)
        self._needs_key = needs_key

    def _fragment(self) -> tuple[bytes, bool]:
        data = fmp4.video_fragment(self._sequence, self._part_start, self._samples, self._payloads)
        independent, self._has_key = self._has_key, False
        self._samples, self._payloads = [], []
        return data, independent
