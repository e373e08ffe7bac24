"""The packager: packets of one rendition to CMAF parts and segments (8216bis 4.4.4.9, ISO 23000-19). No IO, no clock.

A part is cut before the packet that would pass the part target, a segment at the leading rendition's keyframes. The
leader decides where the timeline is cut; a follower holds each packet until the timeline is known that far, and cuts at
its first frame at or after the cut. Where there is no media it says so in gap parts, so durations always add up. A
segment is media or gap as a whole wherever that is possible: hls.js stops for good at one that begins with sound and
goes on with a gap.
"""

from collections import deque
from collections.abc import Sequence

from core.media import fmp4
from core.media.packet import AudioTrack, Buffer, Packet, Track, VideoTrack
from core.media.window import Cadence, Part, RenditionSink, Segment
from transcode.timeline import Cut, Timeline

SEGMENT_MIN_MS = 1500
LEADING_AUDIO_SEGMENT_MS = 2000
FULL_PART = 0.85
DRIFT_TOLERANCE_MS = 60
EDGE_MS = 200
MAX_HELD = 1024
DEFAULT_FRAME_MS = 40


class Packager:
    """What audio and video have in common: segments, cuts, gaps. Times inside are ticks of the track's timescale."""

    def __init__(
        self, timeline: Timeline, cadence: Cadence, sink: RenditionSink, leads: bool, next_init: int = 0
    ) -> None:
        self.leads = leads
        self.dropped = 0
        self._timeline, self._cadence, self._sink = timeline, cadence, sink
        self._init = next_init - 1
        self._segment: Segment | None = None
        self._timescale = 1000
        self._part_ticks = 0
        self._end = 0
        self._part_start = 0
        self._sequence = 0
        self._dirty = False
        self._begun = False
        self._first_msn = -1
        self._follows_msn: int | None = None
        self._next_track: Track | None = None
        self._payloads: list[Buffer] = []
        self._held: deque[Packet] = deque()

    # What the broadcast calls.

    @property
    def end_ms(self) -> float:
        """The end of what was packaged."""
        return self._end * 1000 / self._timescale

    def configure(self, track: Track) -> None:
        """A new configuration, in force from the next segment: the caller breaks the timeline where it differs."""
        self._next_track = track
        if self._segment is None:
            self._apply_track()

    @property
    def awaits_cut(self) -> bool:
        """A configuration waits for the next segment; packets until then belong to none."""
        return self._next_track is not None

    def _apply_track(self) -> None:
        track, self._next_track = self._next_track, None
        if track is None:
            return
        end_ms = self.end_ms
        self._set_track(track)
        self._timescale = track.timescale
        self._part_ticks = int(self._cadence.part_target_s * track.timescale + 1e-6)
        self._end = self._part_start = round(end_ms * track.timescale / 1000)
        self._init += 1
        self._sink.on_init(self._init, track, fmp4.initialization_segment(track))

    def _set_track(self, track: Track) -> None:
        """What audio or video wants to know of a track that comes into force."""
        raise NotImplementedError

    def write(self, packet: Packet) -> None:
        """Takes a packet whose dts is already on the timeline."""
        if self.leads:
            self._take(packet)
            self._timeline.watermark_ms = max(self._timeline.watermark_ms, packet.dts_ms)
            self._commit()
            return
        if len(self._held) >= MAX_HELD:
            self._held.popleft()
            self.dropped += 1
        self._held.append(packet)
        self.drain()

    def drain(self) -> None:
        """A follower takes what it holds up to where the timeline is known."""
        held = self._held
        if held and held[0].dts_ms <= (known_ms := self._known_ms()):
            while held and held[0].dts_ms <= known_ms:
                self._take(held.popleft())
            self._commit()

    def _known_ms(self) -> float:
        return self._timeline.watermark_ms

    def fill_gap(self, until_ms: float) -> None:
        """There is no media until then: whole gap parts only, so that later calls go on from there."""
        until = self._ticks(until_ms)
        if self.leads:
            self._flush()
            if self._segment is not None and not self._all_gap(self._segment):
                self._complete()
            self._gap_until(until, exactly=False)
            self._timeline.watermark_ms = max(self._timeline.watermark_ms, self.end_ms)
        elif until - self._end >= self._part_ticks:
            self._take_held()
            self._flush()
            self._gap_until(until, exactly=False)
        self._commit()

    def resume(self, at_ms: float) -> None:
        """The leader ends a gap or breaks the timeline: the segment before is completed; the next begins at `at_ms`."""
        self._flush()
        at = self._ticks(at_ms)
        if self._begun and at - self._end > (0 if self._segment is not None else self._hole_ticks()):
            if self._segment is not None and not self._all_gap(self._segment):
                self._complete()
            self._gap_until(at, exactly=True)
        self._complete()
        self._commit()

    def restore(self, track: Track, at_ms: float) -> None:
        """After a restart: what was packaged before, in this configuration, ends there."""
        self._begun = True
        self._timescale = track.timescale
        self._part_ticks = int(self._cadence.part_target_s * track.timescale + 1e-6)
        self._set_track(track)
        self._end = self._part_start = self._ticks(at_ms)

    def fill_behind(self) -> None:
        """At the end a follower says what it lacks up to the leader's last cut."""
        self._take_held()
        newest = self._timeline.newest
        if newest is not None and (self._segment is None or self._segment.msn < newest.msn):
            self._flush()
            self._gap_until(self._ticks(newest.start_ms), exactly=True)

    def flush(self) -> None:
        """What is pending becomes a part now."""
        if self._segment is not None:
            self._flush()
            self._commit()

    def end(self) -> None:
        """Everything that is held becomes the last segment."""
        self._take_held()
        self._flush()
        self._complete()
        self._sink.on_end()
        self._dirty = True
        self._commit()

    def _take_held(self) -> None:
        while self._held:
            self._take(self._held.popleft())

    # What audio and video each do.

    def _take(self, packet: Packet) -> None:
        raise NotImplementedError

    def _flush(self) -> None:
        """Ends the open part, with what is pending in it."""
        raise NotImplementedError

    def _fragment(self) -> tuple[list[Buffer], bool]:
        """The open part's bytes in pieces, and whether it holds an independent frame. Empties it."""
        raise NotImplementedError

    # Segments and parts.

    def _ticks(self, time_ms: float) -> int:
        return round(time_ms * self._timescale / 1000)

    def _begin(self, cut: Cut, at: int) -> None:
        at_ms = at * 1000 / self._timescale
        if self._next_track is not None:
            self._apply_track()
            at = self._ticks(at_ms)
        self._end = self._part_start = at
        # The first segment of a playlist needs no tag: its discontinuity sequence says it.
        discontinuity = cut.discontinuity and self._begun
        if not self._begun:
            self._first_msn = cut.msn
        self._begun = True
        self._segment = Segment(cut.msn, at_ms, discontinuity, cut.discontinuities, self._init)

    def _close_part(self) -> None:
        if not self._payloads:
            return
        assert self._segment is not None
        self._sequence += 1
        duration = self._end - self._part_start
        data, independent = self._fragment()
        self._add_part(duration, independent, False, data)
        self._part_start = self._end

    def _add_part(self, duration: int, independent: bool, gap: bool, data: Sequence[Buffer]) -> None:
        segment = self._segment
        assert segment is not None
        part = Part(len(segment.parts), duration / self._timescale, independent, gap, segment.size, sum(map(len, data)))
        segment.parts.append(part)
        segment.size += part.size
        self._sink.on_part(segment, part, data)
        self._dirty = True

    def _complete(self) -> None:
        segment, self._segment = self._segment, None
        if segment is None:
            return
        if not segment.parts:
            # Nothing fell into it. A segment without duration is not legal: the next one takes its place.
            self._segment = segment
            self._add_part(1, False, True, ())
            self._segment = None
            self._end = self._part_start = self._end + 1
        segment.duration_s = segment.content_s
        segment.gap = self._all_gap(segment)
        self._sink.on_complete(segment)
        self._dirty = True

    def _commit(self) -> None:
        if self._dirty:
            self._dirty = False
            self._sink.commit()

    @staticmethod
    def _all_gap(segment: Segment) -> bool:
        return all(part.gap for part in segment.parts)

    # Following and gaps.

    def _follow_to(self, time_ms: float) -> bool:
        """A follower completes each segment whose end is at or before the time. False before its first cut."""
        if not self._is_begun(time_ms):
            return False
        while (cut := self._next_cut()) is not None and cut.start_ms <= time_ms:
            self._advance(cut, self._ticks(cut.start_ms))
        return True

    def _is_begun(self, time_ms: float) -> bool:
        """Whether a follower has a segment by then; it begins its first one."""
        if self._segment is None:
            cut = self._timeline.get(self._follows_msn) if self._follows_msn is not None else self._timeline.at(time_ms)
            if cut is None or cut.start_ms > time_ms:
                return False
            self._begin(cut, max(self._ticks(cut.start_ms), self._end))
        return True

    def follow_from(self, msn: int) -> None:
        """After a restart: the first segment to make, so that no number is missed."""
        self._follows_msn = msn

    def _next_cut(self) -> Cut | None:
        return self._timeline.get(self._segment.msn + 1) if self._segment is not None else None

    def _advance(self, cut: Cut, start: int) -> None:
        self._flush()
        if cut.gap and start - self._end < self._ticks(EDGE_MS) and self._segment and not self._all_gap(self._segment):
            start = self._end  # the gap begins where our media ends
        self._gap_parts(start, exactly=True)
        self._complete()
        self._begin(cut, max(start, self._end))

    def _hole_ticks(self) -> int:
        return self._ticks(DRIFT_TOLERANCE_MS * 2)

    def _gap_until(self, until: int, exactly: bool) -> None:
        if self.leads:
            self._lead_gap(until, exactly)
            return
        if not self._follow_to(until * 1000 / self._timescale):
            return
        self._gap_parts(until, exactly)

    def _lead_gap(self, until: int, exactly: bool) -> None:
        """Gap segments as long as the target duration."""
        longest = self._cadence.target_duration_s * self._timescale
        while self._end < until:
            if self._segment is None:
                self._begin(self._timeline.cut(self.end_ms, gap=True), self._end)
            assert self._segment is not None
            limit = self._ticks(self._segment.start_ms) + longest
            before = self._end
            self._gap_parts(min(until, limit), exactly or until >= limit)
            if self._end >= limit:
                self._complete()
            elif self._end == before:
                return

    def _gap_parts(self, until: int, exactly: bool) -> None:
        while (left := until - self._end) > 0 and (exactly or left >= self._part_ticks):
            step = min(self._part_ticks, left)
            self._add_part(step, False, True, ())
            self._end = self._part_start = self._end + step


class VideoPackager(Packager):
    """H.264. A sample's duration is the distance to the next one, so one sample is always pending."""

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
            self._close_part()
            self._gap_until(time_ms, exactly=True)
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

    def _fragment(self) -> tuple[list[Buffer], bool]:
        data = fmp4.video_fragment(self._sequence, self._part_start, self._samples, self._payloads)
        independent, self._has_key = self._has_key, False
        self._samples, self._payloads = [], []
        return data, independent


class AudioPackager(Packager):
    """AAC. Frames are counted, not timed: durations are exact, and only a real hole or overlap moves the count.
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
        counted = self._anchored and -tolerance <= time - self._end <= tolerance
        is_open = self._segment is not None and self._next_track is None and not self.leads
        if counted and is_open and self._next_cut() is None:
            self._append(packet.payload)  # the short way, which most frames go
            return
        start = self._end if counted else time
        if not counted and start < self._end - self._frame // 2:
            self.dropped += 1
            return
        if self.leads:
            self._lead(start)
        elif not self._follow_sound(start) or self.awaits_cut:
            self.dropped += 1
            return
        if start - self._end > tolerance and not self._opens(start):
            self._close_part()
            self._gap_until(start, exactly=True)
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

    def _add_part(self, duration: int, independent: bool, gap: bool, data: Sequence[Buffer]) -> None:
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
            self._advance(cut, start if ends_gap else self._ticks(cut.start_ms))
        is_early = cut is not None and not cut.gap and cut.start_ms - start_ms < EDGE_MS
        return not (is_early and self._is_gap())

    def _is_padding(self, start_ms: float) -> bool:
        """Whether a rung's frame lies where the source's sound was over, just before or in a gap."""
        cut = self._next_cut()
        if self._made_of is None or cut is None or not cut.gap or start_ms >= cut.start_ms + EDGE_MS:
            return False
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

    def _fragment(self) -> tuple[list[Buffer], bool]:
        data = fmp4.audio_fragment(self._sequence, self._part_start, self._frame, self._sizes, self._payloads)
        self._sizes, self._payloads = [], []
        return data, True
