"""The packager: packets of one rendition to CMAF parts and segments (8216bis 4.4.4.9, ISO 23000-19). No IO, no clock.

A part is cut before the packet that would pass the part target, a segment at the leading rendition's keyframes. The
leader decides where the timeline is cut; a follower holds each packet until the timeline is known that far, and cuts at
its first frame at or after the cut. Where there is no media it says so in gap parts, so durations always add up. A
segment is media or gap as a whole wherever that is possible: hls.js stops for good at one that begins with sound and
goes on with a gap.
"""

from abc import ABC, abstractmethod
from collections import deque

from core.media import fmp4
from core.media.packet import Buffer, Packet, Track
from core.media.window import Cadence, Part, RenditionSink, Segment
from transcode.timeline import Cut, Timeline

DRIFT_TOLERANCE_MS = 60
EDGE_MS = 200
MAX_HELD = 1024
MAX_HOLES = 100


class Packager(ABC):
    """What audio and video have in common: segments, cuts, gaps. Times inside are ticks of the track's timescale."""

    def __init__(
        self, timeline: Timeline, cadence: Cadence, sink: RenditionSink, leads: bool, next_init: int = 0
    ) -> None:
        self.leads = leads
        self.dropped = 0
        self.track: Track | None = None
        """The newest configuration: in force, or to come into force."""
        self.holes: deque[tuple[float, float]] = deque(maxlen=MAX_HOLES)
        """Of a leader: where it had nothing though nobody said so (ms); whoever tells of them takes them out."""
        self._timeline, self._cadence, self._sink = timeline, cadence, sink
        self._init, self._inits = next_init - 1, next_init
        self._in_force: Track | None = None
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
        self._held: deque[Packet | Track] = deque()
        self._held_tracks = 0

    # What the broadcast calls.

    @property
    def end_ms(self) -> float:
        """The end of what was packaged."""
        return self._end * 1000 / self._timescale

    @property
    def came_ms(self) -> float:
        """The end of what came, packaged or held."""
        return max(self.end_ms, next((one.dts_ms for one in reversed(self._held) if isinstance(one, Packet)), 0))

    def configure(self, track: Track) -> None:
        """A new configuration, in force from the next segment: the caller breaks the timeline where it differs. What a
        follower holds is of the one before."""
        self.track = track
        if self._held:
            self._held.append(track)
            self._held_tracks += 1
        else:
            self._configure(track)

    def _configure(self, track: Track) -> None:
        self._next_track = track
        if self._segment is None:
            self._apply_track()

    @property
    def awaits_cut(self) -> bool:
        """A configuration waits for the next segment; packets until then belong to none."""
        return self._next_track is not None

    def _apply_track(self) -> None:
        track, self._next_track = self._next_track, None
        if track is None or track == self._in_force:  # another one came and went, and nothing was made of it
            return
        self._in_force, end_ms = track, self.end_ms
        self._set_track(track)
        self._timescale = track.timescale
        self._part_ticks = int(self._cadence.part_target_s * track.timescale + 1e-6)
        self._end = self._part_start = round(end_ms * track.timescale / 1000)
        self._init = self._inits
        self._inits += 1
        self._sink.on_init(self._init, track, fmp4.initialization_segment(track))

    @abstractmethod
    def _set_track(self, track: Track) -> None:
        """What audio or video wants to know of a track that comes into force."""

    def write(self, packet: Packet) -> None:
        """Takes a packet whose dts is already on the timeline."""
        if self.leads:
            self._take(packet)
            self._timeline.watermark_ms = max(self._timeline.watermark_ms, packet.dts_ms)
            self._commit()
            return
        if len(self._held) >= MAX_HELD:
            self._leave_out()
        self._held.append(packet)
        self.drain()

    def drain(self) -> None:
        """A follower takes what it holds up to where the timeline is known."""
        held = self._held
        if held and self._is_known(held[0], known_ms := self._known_ms()):
            while held and self._is_known(held[0], known_ms):
                self._take_next()
            self._commit()

    @staticmethod
    def _is_known(held: Packet | Track, known_ms: float) -> bool:
        return not isinstance(held, Packet) or held.dts_ms <= known_ms

    def _known_ms(self) -> float:
        return self._timeline.watermark_ms

    def fill_gap(self, until_ms: float) -> None:
        """There is no media until then: whole gap parts only, so that later calls go on from there."""
        if self.leads:
            self._flush()
            if self._segment is not None and not self._all_gap(self._segment):
                self._complete()
            self._gap_until(self._ticks(until_ms), exactly=False)
            self._timeline.watermark_ms = max(self._timeline.watermark_ms, self.end_ms)
        elif self._ticks(until_ms) - self._end >= self._part_ticks:
            self._take_held()
            self._flush()
            self._gap_until(self._ticks(until_ms), exactly=False)
        self._commit()

    def resume(self, at_ms: float) -> None:
        """The leader ends a gap or breaks the timeline: the segment before is completed; the next begins at `at_ms`."""
        self._flush()
        at = self._ticks(at_ms)
        self._note_hole(at)
        if self._begun and at - self._end > (0 if self._segment is not None else self._hole_ticks()):
            if self._segment is not None and not self._all_gap(self._segment):
                self._complete()
            self._gap_until(at, exactly=True)
        self._complete()
        self._commit()

    def restore(self, track: Track, at_ms: float) -> None:
        """After a restart: what was packaged before ends there; this configuration, the newest, is in force then."""
        self.track = self._in_force = track
        self._begun = True
        self._timescale = track.timescale
        self._part_ticks = int(self._cadence.part_target_s * track.timescale + 1e-6)
        self._set_track(track)
        self._end = self._part_start = self._ticks(at_ms)

    def fill_behind(self, end_ms: float) -> None:
        """At the end a follower says what it lacks up to the leader's last cut, and up to its end where it has nothing
        of that segment."""
        self._take_held()
        self._flush()
        newest = self._timeline.newest
        if newest is not None and (self._segment is None or self._segment.msn < newest.msn):
            self._gap_until(self._ticks(newest.start_ms), exactly=True)
        if self._segment is not None and not self._segment.parts:
            self._gap_parts(self._ticks(end_ms), exactly=True)

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
            self._take_next()

    def _take_next(self) -> None:
        held = self._held[0]
        if isinstance(held, Packet) and not (self._held_tracks and self._is_behind_break(held)):
            self._held.popleft()
            self._take(held)
        else:
            self._leave_out()

    def _is_behind_break(self, packet: Packet) -> bool:
        """What the timeline was broken for comes after it: the next segment is to begin with that."""
        cut = self._timeline.at(max(packet.dts_ms, self.end_ms))  # frames that are counted may be before their time
        return cut is not None and self._segment is not None and cut.discontinuities > self._segment.discontinuities

    def _leave_out(self) -> None:
        """The oldest that is held; a configuration holds all the same."""
        oldest = self._held.popleft()
        if isinstance(oldest, Packet):
            self.dropped += 1
        else:
            self._held_tracks -= 1
            self._configure(oldest)

    # What audio and video each do.

    @abstractmethod
    def _take(self, packet: Packet) -> None: ...

    @abstractmethod
    def _flush(self) -> None:
        """Ends the open part, with what is pending in it."""

    @abstractmethod
    def _fragment(self) -> tuple[bytes, bool]:
        """The open part's bytes, and whether it holds an independent frame. Empties it."""

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

    def _add_part(self, duration: int, independent: bool, gap: bool, data: bytes) -> None:
        segment = self._segment
        assert segment is not None
        part = Part(len(segment.parts), duration / self._timescale, independent, gap, segment.size, len(data))
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
            self._add_part(1, False, True, b"")
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

    def _bridge(self, until: int) -> None:
        """Nothing came until then, though the feed went on."""
        self._close_part()
        self._note_hole(until)
        self._gap_until(until, exactly=True)

    def _note_hole(self, until: int) -> None:
        if self.leads and self._begun and until > self._end:
            self.holes.append((self.end_ms, until * 1000 / self._timescale))

    def _gap_until(self, until: int, exactly: bool) -> None:
        """A configuration that comes into force on the way changes what a tick is."""
        until_ms = until * 1000 / self._timescale
        if self.leads:
            self._lead_gap(until_ms, exactly)
        elif self._follow_to(until_ms):
            self._gap_parts(self._ticks(until_ms), exactly)

    def _lead_gap(self, until_ms: float, exactly: bool) -> None:
        """Gap segments as long as the target duration. None is begun without a part: a feed may come there."""
        while self._end < (until := self._ticks(until_ms)):
            if self._segment is None:
                if not exactly and until - self._end < self._part_ticks:
                    return
                self._begin(self._timeline.cut(self.end_ms, gap=True), self._end)
                until = self._ticks(until_ms)
            assert self._segment is not None
            limit = self._ticks(self._segment.start_ms) + self._cadence.target_duration_s * self._timescale
            before = self._end
            self._gap_parts(min(until, limit), exactly or until >= limit)
            if self._end >= limit:
                self._complete()
            elif self._end == before:
                return

    def _gap_parts(self, until: int, exactly: bool) -> None:
        while (left := until - self._end) > 0 and (exactly or left >= self._part_ticks):
            step = min(self._part_ticks, left)
            self._add_part(step, False, True, b"")
            self._end = self._part_start = self._end + step
