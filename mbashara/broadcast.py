"""A broadcast: what lies between a channel's feeds and its renditions, from the first keyframe to ENDLIST.

    feed ──items──> Intake ──packets on the timeline──> source renditions
                                └─────> LiveStream ──> Transcoder ──> rungs

Feeds come and go; the timeline, the windows and the recording go on until `end`.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from archive.recordings.recorder import Recorder, Recording
from archive.recordings.recover import RestoredRecording
from archive.recordings.verify import FEED_LOST, NO_PICTURE, NO_SOUND, REFUSED
from core.keys import TurnedAway
from core.media.hub import OnAir
from core.media.packet import Kind, Packet, Track
from core.media.stream import Item, LiveStream
from core.media.window import Cadence
from ingest.feed import Feed
from ingest.rtmp.errors import FeedError
from mbashara.listing import SOURCE_NAMES, Listing
from mbashara.rendition import Rendition
from transcode.packager import Packager
from transcode.process import DRAIN_S, Transcoder
from transcode.timeline import KEPT_CUTS, FeedClock, Timeline, part_target_of

log = structlog.get_logger()

WAIT_FOR_SECOND_TRACK_MS = 1200
WAIT_FOR_BURST_MS = 250
MAX_EARLY_PACKETS = 2000
RUNG_LAG_MS = 2500
SOURCE_LAG_MS = 1000
LATE_SOUND_MS = 60
QUIET_TICKS = 3
MAX_BREAKS = 20
BREAKS_PER_MS = 60_000
HEARD_MS = 1000
"""Sound that is no older goes on."""
STALLED = "stalled"
FROZEN_MS = 10_000
"""Between two ticks: the process stood still, or the machine, and an encoder had no answer; or the clock was set."""
LATE_MS = 1000
"""Between two ticks: nothing was read meanwhile, so that it is no silence of the feed's."""
FAR_CUTS = KEPT_CUTS // 2


@dataclass(frozen=True, slots=True)
class Parameters:
    """What a broadcast needs of the process. `ffmpeg` None: no ladder."""

    live: Path
    recorder: Recorder
    unix_ms: Callable[[], float]
    part_target_s: float = 0.5
    target_duration_s: int = 4
    window_s: float = 900.0
    stall_timeout_s: float = 6.0
    ffmpeg: str | None = None


@dataclass(slots=True)
class Intake:
    """A feed as the broadcast sees it: its clock, and what came before it could be put on the air.

    Encoders begin with a burst (ffmpeg -re sends half a second at once): the newest packet of it is what happens now,
    and the first is anchored `lead_ms` earlier, or PROGRAM-DATE-TIME would run ahead of the clock for hours.
    """

    feed: Feed
    since_ms: float = 0.0
    lead_ms: int = 0
    clock: FeedClock = field(default_factory=FeedClock)
    early: list[Packet] = field(default_factory=list)
    on_air: bool = False
    shift_ms: int = 0
    changed: bool = False


class Broadcast:
    """One broadcast. All methods are called on the loop."""

    def __init__(
        self, parameters: Parameters, channel: str, identity: str, started: Mapping[str, Any],
        restored: RestoredRecording | None = None,
    ) -> None:  # fmt: skip
        """`started` becomes the ledger's first fact. A restored broadcast begins in a gap."""
        self.channel, self.identity = channel, identity
        self.on_air = OnAir(channel, identity)
        self.renditions: dict[str, Rendition] = {}
        self.transcoder: Transcoder | None = None
        self.discontinuities = 0
        self.ended = False
        self._parameters = parameters
        self._unix_ms = parameters.unix_ms
        self._has_ladder = parameters.ffmpeg is not None
        self._folder = parameters.live / channel / identity
        self._started = dict(started)
        self._stream = LiveStream()
        self._timeline = Timeline()
        self._recording: Recording | None = None
        self._intake: Intake | None = None
        self._leader: Rendition | None = None
        self._gap_from_ms: float | None = None
        self._gap_cause = ""
        self._may_have_come = False
        self._turned_away: set[tuple[str, TurnedAway]] = set()
        self._knocked_ms: dict[tuple[str, TurnedAway], float] = {}
        self._looked_ms = self._back_ms = self._unix_ms()
        self._frozen_ms = 0.0
        self._last_packet_ms = self._last_other_ms = self._unix_ms()
        self._breaks: list[float] = []
        self._followers: tuple[Packager, ...] = ()
        self._ticked_msn = -1
        self._quiet: dict[str, tuple[int, int]] = {}
        self._listing = Listing(parameters.live / channel, identity)
        self._tasks: set[asyncio.Task[None]] = set()
        self.origin_ms = round(started.get("origin_ms", self._unix_ms()))
        if restored is not None:
            self._restore(restored)

    # Feeds.

    def attach(self, feed: Feed) -> None:
        """This feed is on the air from its first keyframe on."""
        self._intake = Intake(feed)

    def note_feed(self) -> None:
        """In a gap: its encoder did come, though nothing of it is on the air. So the gap is no mere wait."""
        self._may_have_come = True

    def note_refused(self, role: str, why: TurnedAway) -> None:
        """An encoder with a key of the channel came and was turned away. In a gap that is told once; before it, it is
        kept: the feed may be lost already, and nobody knows."""
        if self._gap_from_ms is None:
            self._knocked_ms[role, why] = self._unix_ms()
        else:
            self._tell_refused(role, why, self._unix_ms())

    def _tell_refused(self, role: str, why: TurnedAway, unix_ms: float) -> None:
        self.note_feed()
        if self._recording is None or (role, why) in self._turned_away:
            return
        self._turned_away.add((role, why))
        self._recording.fact("refused", at_ms=round(unix_ms) - self.origin_ms, role=role, cause=why)
        if self._gap_cause == FEED_LOST:
            self._gap_cause = self._lost_cause()

    def _lost_cause(self) -> str:
        """Whose key is in use comes back by itself."""
        return REFUSED if any(why is not TurnedAway.IN_USE for _, why in self._turned_away) else FEED_LOST

    def detach(self, *, is_refused: bool = False) -> None:
        """No feed: a gap begins, until another comes or the broadcast ends. `is_refused`: it was we who ended it."""
        is_shown = self._let_go()
        self._stop_transcoder()
        if self._leader is not None:
            self._begin_gap(FEED_LOST)
        if is_refused or not is_shown:
            self.note_feed()

    def _let_go(self) -> bool:
        """False where there was a feed, and nothing of it can be shown."""
        intake, self._intake = self._intake, None
        if intake is not None and not intake.on_air:
            try:
                self._put_on_air(intake)  # it was short, but it was there
            except FeedError:
                return False
        return intake is None or intake.on_air

    def take(self, feed: Feed, item: Item) -> None:
        """An item of the feed on the air; of others nothing. Raises FeedError."""
        intake = self._intake
        if intake is None or intake.feed is not feed or self.ended:
            return
        if type(item) is not Packet:
            intake.changed = intake.changed or intake.on_air
        elif intake.on_air:
            self._air(intake, item)
        else:
            self._wait_for_tracks(intake, item)

    def _wait_for_tracks(self, intake: Intake, item: Packet) -> None:
        now_ms = self._unix_ms()
        intake.since_ms = intake.since_ms or now_ms
        intake.early.append(item)
        waited_ms = item.dts_ms - intake.early[0].dts_ms
        is_whole = len(intake.feed.tracks) == 2 and now_ms - intake.since_ms >= WAIT_FOR_BURST_MS
        if is_whole or not 0 <= waited_ms < WAIT_FOR_SECOND_TRACK_MS or len(intake.early) >= MAX_EARLY_PACKETS:
            self._put_on_air(intake)

    def _put_on_air(self, intake: Intake) -> None:
        """From the first keyframe on: what comes before it shows nothing, and a running encoder sends such."""
        if Kind.VIDEO in intake.feed.tracks:
            first = next((n for n, one in enumerate(intake.early) if one.kind is Kind.VIDEO and one.is_key), None)
            if first is None:
                del intake.early[: -MAX_EARLY_PACKETS // 2]
                return
            del intake.early[:first]
        if not intake.early:
            return
        early, intake.early, intake.on_air = intake.early, [], True
        intake.shift_ms = max(0, early[0].cts_ms)
        intake.lead_ms = max(0, max(one.dts_ms for one in early) - early[0].dts_ms)
        self._go(intake, early)

    def _go(self, intake: Intake, early: list[Packet]) -> None:
        if self._recording is None:
            self._open(intake.feed.tracks, intake.lead_ms)
        intake.changed = True
        for packet in early:
            self._air(intake, packet)

    def _open(self, tracks: Mapping[Kind, Track], lead_ms: int) -> None:
        """The first keyframe of the broadcast, `lead_ms` ago: its cadence is fixed now, its timeline is 0 there."""
        parameters = self._parameters
        target_s = part_target_of(parameters.part_target_s, tracks)
        self.origin_ms = round(self._unix_ms()) - lead_ms
        self._record(Cadence(parameters.target_duration_s, target_s, parameters.window_s))
        assert self._recording is not None
        self._recording.fact(
            "started", recording=self.identity, **self._started, origin_ms=self.origin_ms, part_target_s=target_s
        )

    def _record(self, cadence: Cadence) -> None:
        parameters = self._parameters
        self._recording = Recording(parameters.recorder, self.identity, cadence, self.origin_ms, self._unix_ms)

    # Packets.

    def _air(self, intake: Intake, packet: Packet) -> None:
        """The way of every packet. What happens seldom is in `_settle`."""
        kind, dts_ms, cts_ms, is_key, payload = packet
        now_ms = self._unix_ms()
        time_ms = None
        if self._gap_from_ms is None and not intake.changed:
            time_ms = intake.clock.steady(dts_ms, now_ms - self.origin_ms)
        if time_ms is None:
            time_ms = self._settle(intake, packet, now_ms)
            if time_ms is None:
                return
        if self._has_ladder:
            self._stream.write(Packet(kind, time_ms, cts_ms, is_key, payload))
        if kind is Kind.VIDEO:
            # The first picture's decode time is its presentation time (CMAF 7.5.17): all renditions cut at the same.
            time_ms, cts_ms = time_ms + intake.shift_ms, cts_ms - intake.shift_ms
        rendition = self.renditions[SOURCE_NAMES[kind]]
        rendition.packager.write(Packet(kind, time_ms, cts_ms, is_key, payload))
        if rendition is self._leader:
            self._last_packet_ms = now_ms
            for other in self._followers:
                other.drain()
        else:
            self._last_other_ms = now_ms

    def _settle(self, intake: Intake, packet: Packet, now_ms: float) -> int | None:
        """Places a packet that is a feed's first, jumps, brings a new configuration or ends a gap. None: it is
        left out, because it isn't the leader's."""
        if self._goes_on(intake, packet, now_ms):
            return intake.clock.steady(packet.dts_ms, now_ms - self.origin_ms)
        if self._gap_from_ms is not None and not intake.changed and not self._leads(packet.kind):
            return None  # before its clock is asked: where the feed goes on is the leader's to say
        end_ms = self._leader.packager.end_ms if self._leader is not None else 0.0
        # A broadcast begins at exactly 0: Shaka drops pictures where the first decode time is a millisecond off.
        elapsed_ms = now_ms - intake.lead_ms - self.origin_ms if self._leader is not None else 0.0
        time_ms, broke = intake.clock.place(packet.dts_ms, elapsed_ms, end_ms, self._gap_from_ms is not None)
        intake.lead_ms = 0
        if self._leads(packet.kind) and time_ms - end_ms > self._far_ms:
            self._begin_gap(STALLED)  # before any tick
        in_gap = self._gap_from_ms is not None
        turns = broke or intake.changed or in_gap
        if turns and not self._turn(intake, packet.kind, time_ms + intake.shift_ms, broke):
            return None
        return time_ms

    def _goes_on(self, intake: Intake, packet: Packet, now_ms: float) -> bool:
        """Sound whose picture stands still is on the air all the same; late sound, told as a gap already, isn't it."""
        name = SOURCE_NAMES[packet.kind]
        rendition = self.renditions.get(name)
        if self._gap_from_ms is None or intake.changed or rendition is None or rendition is self._leader:
            return False
        time_ms = intake.clock.steady(packet.dts_ms, now_ms - self.origin_ms)
        return time_ms is not None and time_ms >= rendition.packager.end_ms - LATE_SOUND_MS

    def _leads(self, kind: Kind) -> bool:
        return self._leader is not None and self._leader.window.kind is kind

    def _turn(self, intake: Intake, kind: Kind, at_ms: int, broke: bool) -> bool:
        """A feed's first packet, a jump, a new configuration, the end of a gap: what the leader settles before it goes
        on. False where this packet has to be left out, because it isn't the leader's.

        Who leads is settled once for a broadcast. A feed that comes back without a picture is sound beside the
        picture's gap; a picture that comes to a broadcast of sound follows the sound's cuts."""
        tracks = intake.feed.tracks
        leads = Kind.VIDEO if Kind.VIDEO in tracks else Kind.AUDIO
        if self._leader is not None:
            leads = self._leader.window.kind
        if leads not in tracks:
            self._add_beside(intake)
            return True
        if kind is not leads and (self._leader is None or self._gap_from_ms is not None or leads is Kind.AUDIO):
            return False
        if self._leader is None:
            self._add_sources(intake, leads)
            self._start_transcoder(intake)
            intake.changed = False
            return True
        if broke or intake.changed:
            self._break(intake, leads)
        self._fill_far(at_ms)
        self._leader.packager.resume(at_ms)
        self._end_gap(at_ms)
        if intake.changed:
            intake.changed = False
            self._add_sources(intake, leads)
            self._start_transcoder(intake)
        return True

    def _add_beside(self, intake: Intake) -> None:
        if intake.changed:
            intake.changed = False
            self._add_sources(intake, None)
            self._start_transcoder(intake)

    def _break(self, intake: Intake, leads: Kind) -> None:
        now_ms = self._unix_ms()
        self._breaks = [at for at in self._breaks if now_ms - at < BREAKS_PER_MS] + [now_ms]
        if len(self._breaks) > MAX_BREAKS:
            raise FeedError("The timestamps jump again and again; restart the encoder.")
        self.discontinuities += 1
        self._timeline.break_wanted = True
        log.warning("timeline broken", channel=self.channel, broadcast=self.identity, feed=intake.feed.identity)

    def _add_sources(self, intake: Intake, leads: Kind | None) -> None:
        """Renditions for the feed's tracks; the one of the leading kind decides where the timeline is cut."""
        for kind in sorted(intake.feed.tracks, key=lambda one: one is not leads):
            name = SOURCE_NAMES[kind]
            rendition = self.renditions.get(name) or self._add(name, kind)
            if kind is leads:
                self._lead(rendition)
            self._configure(rendition, intake.feed.tracks[kind])

    def _lead(self, rendition: Rendition) -> None:
        if self._leader is None:
            rendition.packager.leads = True
            self._leader = rendition
        self._note_followers()

    def _note_followers(self) -> None:
        """Only a source rendition holds packets: rungs lag behind what they follow."""
        names = SOURCE_NAMES.values()
        self._followers = tuple(one.packager for one in self._others() if one.name in names)

    def _add(self, name: str, kind: Kind, **restored: Any) -> Rendition:
        assert self._recording is not None
        leader = None if self._leader is None else self._leader.name
        folder = self._folder / name
        sound = self.renditions.get(SOURCE_NAMES[Kind.AUDIO])
        rendition = Rendition(
            name, kind, self._timeline, self._recording, folder, self.on_air.windows, leader,
            made_of=sound.packager if sound is not None else None, **restored,
        )  # fmt: skip
        self.renditions[name] = rendition
        self.on_air.windows[name] = rendition.window
        self._note_followers()
        return rendition

    def _others(self) -> list[Rendition]:
        return [one for one in self.renditions.values() if one is not self._leader]

    def _configure(self, rendition: Rendition, track: Track) -> None:
        known = rendition.window.track
        if known is None or known.config != track.config:
            rendition.packager.configure(track)

    # The ladder.

    def _start_transcoder(self, intake: Intake) -> None:
        self._stop_transcoder()
        if self._parameters.ffmpeg is None:
            return
        tracks = dict(intake.feed.tracks)
        self._stream = LiveStream()
        for track in tracks.values():
            self._stream.write(track)
        transcoder = Transcoder(self._parameters.ffmpeg, self._stream, tracks, self._take_rung)
        if self.transcoder is not None:
            transcoder.restarts, transcoder.left_out = self.transcoder.restarts, self.transcoder.left_out
        self.transcoder = transcoder
        task = asyncio.create_task(transcoder.run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _stop_transcoder(self) -> None:
        """It may finish what it has; nobody waits for it."""
        if self.transcoder is not None:
            self.transcoder.finish()

    def _take_rung(self, name: str, item: Item) -> None:
        if self.ended:
            return
        rendition = self.renditions.get(name)
        if isinstance(item, Packet):
            if rendition is not None:
                rendition.packager.write(item)
            return
        if rendition is None:
            rendition = self._add(name, item.kind)
        elif rendition.window.track is not None and rendition.window.track.config != item.config:
            # Another configuration than the window's: every rendition breaks where this one must.
            self._timeline.break_wanted |= not self._breaks_ahead(rendition)
        self._configure(rendition, item)

    def _breaks_ahead(self, rendition: Rendition) -> bool:
        newest = self._timeline.newest
        known = rendition.window.open or (rendition.window.segments[-1] if rendition.window.segments else None)
        return newest is not None and known is not None and newest.discontinuities > known.discontinuities

    # Gaps and time.

    def tick(self) -> bool:
        """Called some times a second. True where what the multivariant playlists say has changed."""
        leader, now_ms = self._leader, self._unix_ms()
        away_ms, self._looked_ms = now_ms - self._looked_ms, now_ms
        if away_ms > LATE_MS:
            self._back_ms = now_ms
        if away_ms > FROZEN_MS:
            self._may_have_come, self._frozen_ms = True, now_ms
        if leader is None or self.ended:
            return False
        self._tell_holes()
        if self._gap_from_ms is None and self._is_stalled(now_ms):
            is_heard = self._leads(Kind.VIDEO) and now_ms - self._last_other_ms < HEARD_MS
            self._begin_gap(NO_PICTURE if is_heard else STALLED)
        if self._gap_from_ms is not None:
            until_ms = self._silent_until_ms(now_ms) - self.origin_ms
            self._fill_far(until_ms)
            leader.packager.fill_gap(until_ms)
        self._refresh_reports()
        msn = leader.window.next_msn
        if msn == self._ticked_msn and self._gap_from_ms is None and len(self._listing) == len(self.renditions):
            return False
        self._ticked_msn = msn
        self._fill_followers()
        return self._write_listing()

    @property
    def _far_ms(self) -> float:
        return FAR_CUTS * self._parameters.target_duration_s * 1000

    def _fill_far(self, until_ms: float) -> None:
        """Nearly until then, in steps that the followers go along with: a process may have been away for hours, and the
        timeline keeps a few minutes' cuts. Who missed one would never find his segments again."""
        assert self._leader is not None
        packager = self._leader.packager
        while until_ms - packager.end_ms > self._far_ms:
            packager.fill_gap(packager.end_ms + self._far_ms)
            self._fill_followers()

    def _silent_until_ms(self, now_ms: float) -> float:
        """A feed that has just begun is on the air in a moment: its place is not told as a gap."""
        intake = self._intake
        is_coming = intake is not None and not intake.on_air and now_ms - intake.since_ms < WAIT_FOR_SECOND_TRACK_MS
        return intake.since_ms if intake is not None and is_coming else now_ms

    def _refresh_reports(self) -> None:
        """A rendition that makes no parts for now says in time how far the others are (4.4.5.4)."""
        for rendition in self._others():
            version, ticks = self._quiet.get(rendition.name, (-1, 0))
            ticks = ticks + 1 if version == rendition.window.version else 0
            if ticks >= QUIET_TICKS and rendition.window.has_media:
                rendition.window.commit()
                ticks = 0
            self._quiet[rendition.name] = (rendition.window.version, ticks)

    def _is_stalled(self, now_ms: float) -> bool:
        """No packet for the timeout, or no segment for 1.5 target durations (draft 6.2.1)."""
        assert self._leader is not None
        silent_ms = now_ms - max(self._last_packet_ms, self._back_ms)
        if silent_ms <= 1000:
            return False
        window = self._leader.window
        begun_ms = self.origin_ms + (
            window.segments[-1].start_ms + window.segments[-1].duration_s * 1000 if window.segments else 0
        )
        latest_ms = 1500 * window.cadence.target_duration_s
        return silent_ms > self._parameters.stall_timeout_s * 1000 or (
            silent_ms > 1000 and now_ms - begun_ms > latest_ms
        )

    def _begin_gap(self, cause: str) -> None:
        if self._gap_from_ms is None and self._leader is not None:
            self._leader.packager.flush()  # the last picture lasts as long as the others
            self._tell_holes()
            self._gap_from_ms, self._gap_cause = self._leader.packager.end_ms, cause
            self._may_have_come = self._frozen_ms > self._came_ms
            self._turned_away.clear()
            assert self._recording is not None
            self._recording.fact("lost", at_ms=round(self._gap_from_ms), cause=cause)
            log.warning("no media", channel=self.channel, broadcast=self.identity, cause=cause)
            self._tell_knocked()
        elif cause == FEED_LOST and self._gap_cause in (STALLED, NO_PICTURE):
            self._gap_cause = self._lost_cause()

    @property
    def _came_ms(self) -> float:
        return max(self._last_packet_ms, self._last_other_ms)

    def _tell_knocked(self) -> None:
        """Who was turned away since the feed's last packet."""
        knocked, self._knocked_ms = self._knocked_ms, {}
        for (role, why), unix_ms in knocked.items():
            if unix_ms > self._came_ms:
                self._tell_refused(role, why, unix_ms)

    def _end_gap(self, at_ms: float, is_back: bool = True) -> None:
        if self._gap_from_ms is None:
            return
        from_ms, self._gap_from_ms = self._gap_from_ms, None
        assert self._recording is not None and self._leader is not None
        self._leader.packager.holes.clear()  # the gap tells of them
        if at_ms > from_ms:
            told = {"from_ms": round(from_ms), "to_ms": round(at_ms), "cause": self._gap_cause, "is_back": is_back}
            is_wait = not is_back and not self._may_have_come and self._gap_cause == FEED_LOST
            self._recording.fact("gap", **told, **({"waited": True} if is_wait else {}))

    def _tell_holes(self) -> None:
        """Stretches that a feed left out while it went on. Each has its gap on record, however short."""
        if self._leader is None or self._recording is None or self._gap_from_ms is not None:
            return
        holes, cause = self._leader.packager.holes, NO_PICTURE if self._leads(Kind.VIDEO) else NO_SOUND
        while holes:
            from_ms, to_ms = (round(at_ms) for at_ms in holes.popleft())
            if to_ms > from_ms:
                told = {"from_ms": from_ms, "to_ms": to_ms, "cause": cause}
                self._recording.fact("gap", rendition=self._leader.name, **told)

    def _fill_followers(self) -> None:
        """A rendition that has nothing says so, once it is certain that nothing comes: a rung lags behind by nature."""
        newest = self._timeline.newest
        if newest is None:
            return
        in_gap = self._gap_from_ms is not None
        for rendition in self._others():
            open_msn = rendition.window.open.msn if rendition.window.open else rendition.window.next_msn
            source_lag_ms = 0 if self._intake is None else SOURCE_LAG_MS
            lag_ms = source_lag_ms if rendition.name in SOURCE_NAMES.values() else RUNG_LAG_MS
            if in_gap:
                rendition.packager.fill_gap(self._timeline.watermark_ms - lag_ms)
            elif open_msn < newest.msn - 1:
                rendition.packager.fill_gap(min(newest.start_ms, self._timeline.watermark_ms - lag_ms))

    # What is told to others.

    def _write_listing(self) -> bool:
        assert self._recording is not None
        left_out = self.transcoder.left_out if self.transcoder is not None else ()
        return self._listing.write(self._recording, self.renditions.values(), left_out)

    @property
    def is_refused(self) -> bool:
        """The memory folder does not take what viewers are to get."""
        folders = [self._listing.folder, *(one.files.folder for one in self.renditions.values())]
        return any(folder.refuses for folder in folders)

    @property
    def is_lost(self) -> bool:
        return self._gap_from_ms is not None

    @property
    def has_begun(self) -> bool:
        return self._leader is not None

    @property
    def has_video(self) -> bool:
        return SOURCE_NAMES[Kind.VIDEO] in self.renditions

    @property
    def cadence(self) -> Cadence | None:
        return self._recording.cadence if self._recording is not None else None

    # The end, and after a restart.

    async def end(self, reason: str) -> None:
        """ENDLIST everywhere, and the recording whole."""
        if self._leader is not None and not self._let_go():
            self.note_feed()
        self._intake = None
        self._fill_to_the_end()
        self._stop_transcoder()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=DRAIN_S)
        for task in self._tasks:
            task.cancel()
        self.ended = True
        if self._recording is None or self._leader is None:
            return
        leader = self._leader
        self._tell_holes()
        self._end_gap(leader.packager.end_ms, is_back=False)
        leader.packager.end()
        for rendition in self._others():
            rendition.packager.fill_behind()
            rendition.packager.end()
        self._listing.forget()
        self._write_listing()
        self._recording.end(round(leader.packager.end_ms), reason)
        # Whoever is told of the end finds the recording whole; a disk that hangs must not hold up the channel.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._parameters.recorder.written(), DRAIN_S)
        log.info("broadcast ended", channel=self.channel, broadcast=self.identity, reason=reason)

    def _fill_to_the_end(self) -> None:
        """A gap was told by whole parts; it ends to the millisecond. A feed's ordinary end has none; sound that went
        on without its picture was on the air."""
        if self._leader is None:
            return
        packager, heard_ms = self._leader.packager, self._heard_ms()
        is_heard = heard_ms - packager.end_ms > HEARD_MS
        if is_heard:
            self._begin_gap(NO_PICTURE)
        if self._gap_from_ms is None or not (is_heard or packager.end_ms > self._gap_from_ms):
            return
        now_ms = self._unix_ms() - self.origin_ms
        until_ms = max(heard_ms, now_ms if packager.end_ms > self._gap_from_ms else 0)
        self._fill_far(until_ms)
        packager.resume(until_ms)

    def _heard_ms(self) -> float:
        """Where the feed's sound ends beside a leading picture."""
        sound = self.renditions.get(SOURCE_NAMES[Kind.AUDIO])
        return 0 if sound is None or sound is self._leader else sound.packager.came_ms

    def pause(self) -> None:
        """Cuts what is pending into parts."""
        for rendition in self.renditions.values():
            rendition.packager.flush()
        self._tell_holes()

    def _restore(self, restored: RestoredRecording) -> None:
        """Goes on where a killed process was: same numbers, same windows, a discontinuity before the next media."""
        self.origin_ms = int(restored.started["origin_ms"])
        part_target_s = float(restored.started.get("part_target_s", self._parameters.part_target_s))
        self._record(Cadence(self._parameters.target_duration_s, part_target_s, self._parameters.window_s))
        assert self._recording is not None
        self._recording.size = restored.size
        discontinuities = max(one.segments[-1].discontinuities for one in restored.renditions.values())
        self._timeline = Timeline(restored.next_msn, discontinuities)
        self._timeline.break_wanted = True
        names = sorted(
            restored.renditions, key=lambda name: list(_RESTORE_ORDER).index(name) if name in _RESTORE_ORDER else 9
        )
        for name in names:
            self._restore_rendition(name, restored)
        self._recording.fact("resumed")
        self._gap_from_ms, self._gap_cause = restored.end_ms, "process ended"

    def _restore_rendition(self, name: str, restored: RestoredRecording) -> None:
        one = restored.renditions[name]
        is_audio = name.endswith("audio")
        kept = one.segments[-max(8, int(self._parameters.window_s)) :]
        rendition = self._add(name, Kind.AUDIO if is_audio else Kind.VIDEO, restored=kept, inits=one.inits)
        rendition.window.track = one.track
        rendition.announced = True
        rendition.packager.restore(one.track, restored.end_ms)
        if self._leader is None:
            self._leader = rendition
        else:
            rendition.packager.follow_from(restored.next_msn)
        rendition.window.commit()


_RESTORE_ORDER = ("source", "source-audio", "360p", "144p", "low-audio")
