"""Continuity: where a broadcast's feeds go on its timeline. What can't go on from what was is a break; where nothing
comes is a gap.

    packet ──> air ──(nearly all)──> packager
                └────> settle: a feed's first, a jump, a new configuration, the end of a gap
"""

from collections.abc import Callable

import structlog

from archive.recordings.recorder import Recording
from archive.recordings.verify import FEED_LOST, NO_MEDIA, NO_PICTURE, NO_SOUND
from core.media.hub import OnAir
from core.media.packet import Kind, Packet
from core.media.stream import LiveStream
from ingest.rtmp.errors import FeedError
from mbashara.gap import PROCESS_ENDED, STALLED, Gap
from mbashara.intake import Intake
from mbashara.ladder import Ladder
from mbashara.listing import SOURCE_NAMES
from mbashara.refused import Refused, RefusedEncoders
from mbashara.rendition import Rendition
from mbashara.renditions import Renditions
from mbashara.silence import Attention, is_stalled

log = structlog.get_logger()

LATE_SOUND_MS = 60
MAX_BREAKS = 20
BREAKS_PER_MS = 60_000
HEARD_MS = 1000
"""Sound that is no older goes on."""


class Continuity:
    """Of one broadcast, from its first keyframe on."""

    def __init__(
        self, on_air: OnAir, recording: Recording, renditions: Renditions, ladder: Ladder, attention: Attention,
        stall_timeout_s: float, has_feed: Callable[[], bool], unix_ms: Callable[[], float],
    ) -> None:  # fmt: skip
        """`unix_ms` is the broadcast's own clock, which is never set."""
        self.gap: Gap | None = None
        self.discontinuities = 0
        self._on_air, self._recording, self._renditions, self._ladder = on_air, recording, renditions, ladder
        self._attention, self._stall_timeout_s, self._has_feed = attention, stall_timeout_s, has_feed
        self._unix_ms, self._origin_ms = unix_ms, recording.origin_ms
        self._by_name = renditions.by_name
        self._stream: LiveStream | None = None
        self._breaks: list[float] = []
        self._refused = RefusedEncoders()

    @property
    def _leader(self) -> Rendition | None:
        return self._renditions.leader

    # Packets.

    def air(self, intake: Intake, packet: Packet) -> None:
        """The way of every packet. What happens seldom is in `_settle`."""
        kind, dts_ms, cts_ms, is_key, payload = packet
        now_ms = self._unix_ms()
        time_ms = None
        if self.gap is None and not intake.changed:
            time_ms = intake.clock.steady(dts_ms, now_ms - self._origin_ms)
        if time_ms is None:
            time_ms = self._settle(intake, packet, now_ms)
            if time_ms is None:
                return
        if self._stream is not None:
            self._stream.write(Packet(kind, time_ms, cts_ms, is_key, payload))
        if kind is Kind.VIDEO:
            # The first picture's decode time is its presentation time (CMAF 7.5.17): all renditions cut at the same.
            time_ms, cts_ms = time_ms + intake.shift_ms, cts_ms - intake.shift_ms
        rendition = self._by_name[SOURCE_NAMES[kind]]
        rendition.packager.write(Packet(kind, time_ms, cts_ms, is_key, payload))
        rendition.came_unix_ms = now_ms
        for other in rendition.followers:
            other.drain()

    def _settle(self, intake: Intake, packet: Packet, now_ms: float) -> int | None:
        """Places a packet that is a feed's first, jumps, brings a new configuration or ends a gap. None: it is
        left out, because it isn't the leader's."""
        if self._goes_on(intake, packet, now_ms):
            return intake.clock.steady(packet.dts_ms, now_ms - self._origin_ms)
        if self.gap is not None and not intake.changed and not self._leads(packet.kind):
            return None  # before its clock is asked: where the feed goes on is the leader's to say
        end_ms = 0.0
        if self._leader is not None:
            self._leader.packager.flush()  # what comes next stands behind the last picture
            end_ms = self._leader.packager.end_ms
        # A broadcast begins at exactly 0: Shaka drops pictures where the first decode time is a millisecond off.
        elapsed_ms = now_ms - intake.lead_ms - self._origin_ms if self._leader is not None else 0.0
        time_ms, broke = intake.clock.place(packet.dts_ms, elapsed_ms, end_ms, self.gap is not None)
        intake.lead_ms = 0
        if self._leads(packet.kind) and time_ms - end_ms > self._renditions.far_ms:
            self._begin_gap(STALLED)  # before any tick
        in_gap = self.gap is not None
        turns = broke or intake.changed or in_gap
        if turns and not self._turn(intake, packet.kind, time_ms + intake.shift_ms, broke):
            return None
        return time_ms

    def _goes_on(self, intake: Intake, packet: Packet, now_ms: float) -> bool:
        """Sound whose picture stands still is on the air all the same; late sound, told as a gap already, isn't it."""
        name = SOURCE_NAMES[packet.kind]
        rendition = self._by_name.get(name)
        if self.gap is None or intake.changed or rendition is None or rendition is self._leader:
            return False
        time_ms = intake.clock.steady(packet.dts_ms, now_ms - self._origin_ms)
        return time_ms is not None and time_ms >= rendition.packager.end_ms - LATE_SOUND_MS

    def _leads(self, kind: Kind) -> bool:
        return self._leader is not None and self._leader.window.kind is kind

    def _turn(self, intake: Intake, kind: Kind, at_ms: int, broke: bool) -> bool:
        """A feed's first packet, a jump, a new configuration, the end of a gap: what the leader settles before it goes
        on. False where this packet has to be left out, because it isn't the leader's.

        A feed that comes back without a picture is sound beside the picture's gap; a picture that comes to a broadcast
        of sound follows the sound's cuts."""
        tracks = intake.feed.tracks
        leads = Kind.VIDEO if Kind.VIDEO in tracks else Kind.AUDIO
        if self._leader is not None:
            leads = self._leader.window.kind
        if leads not in tracks:
            self._take_tracks(intake, None)
            return True
        if kind is not leads and (self._leader is None or self.gap is not None or leads is Kind.AUDIO):
            return False
        if self._leader is None:
            self._take_tracks(intake, leads)
            return True
        if broke or intake.changed:
            self._break(intake)
        self._fill_far(at_ms)
        self._leader.packager.resume(at_ms)
        self._end_gap(at_ms, is_back=True)
        self._take_tracks(intake, leads)
        return True

    def _take_tracks(self, intake: Intake, leads: Kind | None) -> None:
        if intake.changed:
            intake.changed = False
            self._renditions.add_sources(intake.feed.tracks, leads)
            self._stream = self._ladder.start(intake.feed.tracks)

    def _break(self, intake: Intake) -> None:
        now_ms = self._unix_ms()
        self._breaks = [at for at in self._breaks if now_ms - at < BREAKS_PER_MS] + [now_ms]
        if len(self._breaks) > MAX_BREAKS:
            raise FeedError("The timestamps jump again and again; restart the encoder.")
        self.discontinuities += 1
        self._renditions.timeline.break_wanted = True
        log.warning("timeline broken", **self._ids, feed=intake.feed.identity)

    @property
    def _ids(self) -> dict[str, str]:
        return {"channel": self._on_air.channel, "broadcast": self._on_air.broadcast}

    # Gaps.

    def lose_feed(self, *, may_have_come: bool, said_goodbye: bool = False) -> None:
        """`may_have_come`: it sent what can't be shown, or we sent it away. `said_goodbye`: its encoder took leave."""
        self._begin_gap(FEED_LOST, said_goodbye=said_goodbye)
        if may_have_come:
            self.note_feed()

    def note_feed(self) -> None:
        """Its encoder did come, though nothing of it is on the air."""
        if self.gap is not None:
            self.gap.note_feed()

    def note_refused(self, refused: Refused) -> None:
        """Before a gap it is kept: the feed may be lost already, and nobody knows."""
        if self.gap is None:
            self._refused.note(refused)
        else:
            self.gap.note_refused(refused)

    def look(self, now_ms: float, silent_until_ms: float) -> None:
        """Tells what is lacking by now (Unix milliseconds of the broadcast's clock)."""
        leader = self._leader
        if leader is None:
            return
        self.tell_holes()
        if self.gap is None and self._is_stalled(leader, now_ms):
            is_heard = self._leads(Kind.VIDEO) and now_ms - self._others_came_unix_ms < HEARD_MS
            self._begin_gap(NO_PICTURE if is_heard else STALLED)
        if self.gap is not None:
            until_ms = silent_until_ms - self._origin_ms
            self._fill_far(until_ms)
            leader.packager.fill_gap(until_ms)

    def _is_stalled(self, leader: Rendition, now_ms: float) -> bool:
        newest = leader.window.segments[-1] if leader.window.segments else None
        begun_ms = self._origin_ms + (newest.start_ms + newest.duration_s * 1000 if newest is not None else 0)
        silent_ms = self._attention.silent_ms(leader.came_unix_ms, now_ms)
        return is_stalled(silent_ms, now_ms - begun_ms, self._stall_timeout_s, leader.window.cadence.target_duration_s)

    def _begin_gap(self, cause: str, *, said_goodbye: bool = False) -> None:
        if self.gap is None and self._leader is not None:
            self._leader.packager.flush()  # the last picture lasts as long as the others
            self.tell_holes()
            may_have_come = self._attention.frozen_ms > self._came_unix_ms
            self.gap = Gap(self._recording, self._leader.packager.end_ms, cause, may_have_come=may_have_come)
            self.gap.tell_lost(said_goodbye=said_goodbye)
            log.warning("no media", **self._ids, cause=cause)
            for refused in self._refused.after(self._came_unix_ms):
                self.gap.note_refused(refused)
            self._refused.clear()
        elif self.gap is not None and cause == FEED_LOST:
            self.gap.note_lost()

    @property
    def _others_came_unix_ms(self) -> float:
        return max((one.came_unix_ms for one in self._renditions.others()), default=0.0)

    @property
    def _came_unix_ms(self) -> float:
        return max((one.came_unix_ms for one in self._by_name.values()), default=0.0)

    def _end_gap(self, at_ms: float, *, is_back: bool) -> None:
        gap, self.gap = self.gap, None
        if gap is not None:
            assert self._leader is not None
            self._leader.packager.holes.clear()  # the gap tells of them
            gap.end(at_ms, is_back=is_back)

    def tell_holes(self) -> None:
        """Stretches that a feed left out while it went on. Each has its gap on record, however short."""
        if self._leader is None or self.gap is not None:
            return
        holes, cause = self._leader.packager.holes, NO_PICTURE if self._leads(Kind.VIDEO) else NO_SOUND
        while holes:
            from_ms, to_ms = (round(at_ms) for at_ms in holes.popleft())
            if to_ms > from_ms:
                told = {"from_ms": from_ms, "to_ms": to_ms, "cause": cause}
                self._recording.fact("gap", rendition=self._leader.name, **told)

    def _fill_far(self, until_ms: float) -> None:
        self._renditions.fill_far(until_ms, in_gap=self.gap is not None, has_feed=self._has_feed())

    def fill_followers(self) -> None:
        self._renditions.fill_followers(in_gap=self.gap is not None, has_feed=self._has_feed())

    # The end, and after a restart.

    def fill_to_the_end(self) -> None:
        """A gap was told by whole parts; it ends to the millisecond. A feed's ordinary end has none; sound that went
        on without its picture was on the air."""
        if self._leader is None:
            return
        packager, heard_ms = self._leader.packager, self._heard_ms()
        is_heard = heard_ms - packager.end_ms > HEARD_MS
        if is_heard:
            self._begin_gap(NO_PICTURE)
        if self.gap is None or not (is_heard or packager.end_ms > self.gap.from_ms):
            return
        now_ms = self._unix_ms() - self._origin_ms
        until_ms = max(heard_ms, now_ms if packager.end_ms > self.gap.from_ms else 0)
        self._fill_far(until_ms)
        packager.resume(until_ms)

    def _heard_ms(self) -> float:
        """Where the feed's sound ends beside a leading picture."""
        sound = self._by_name.get(SOURCE_NAMES[Kind.AUDIO])
        return 0 if sound is None or sound is self._leader else sound.packager.came_ms

    def end(self) -> None:
        assert self._leader is not None
        self.tell_holes()
        is_heard = self.gap is not None and self.gap.is_heard
        self._end_gap(self._leader.packager.end_ms, is_back=False)
        self._renditions.end()
        for rendition in self._renditions.others() if is_heard else ():
            from_ms, to_ms = round(rendition.packager.end_ms), round(self._leader.packager.end_ms)
            if rendition.window.kind is Kind.AUDIO and from_ms < to_ms:  # it was over before the broadcast
                self._recording.fact("gap", rendition=rendition.name, from_ms=from_ms, to_ms=to_ms, cause=NO_MEDIA)

    def resume(self, end_ms: float) -> None:
        """Goes on in a gap from where the killed process was."""
        self._recording.fact("resumed")
        self.gap = Gap(self._recording, end_ms, PROCESS_ENDED)
