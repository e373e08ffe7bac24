"""A broadcast: what lies between a channel's feeds and its renditions, from the first keyframe to ENDLIST.

    feed ──items──> Intake ──> Continuity ──packets on the timeline──> source renditions
                                   └─────> LiveStream ──> Ladder ──> rungs

Feeds come and go; the timeline, the windows and the recording go on until `end`.
"""

import asyncio
import contextlib
import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import structlog

from archive.recordings.recorder import Recorder, Recording
from archive.recordings.recover import STARTED_NAME, RestoredRecording
from core.media.hub import OnAir
from core.media.packet import Kind, Packet, Track
from core.media.stream import Item
from core.media.window import Cadence
from ingest.feed import Feed
from ingest.rtmp.errors import FeedError
from mbashara.continuity import Continuity
from mbashara.intake import Intake
from mbashara.ladder import Ladder
from mbashara.listing import SOURCE_NAMES, Listing
from mbashara.refused import Refused
from mbashara.rendition import Rendition
from mbashara.renditions import Renditions
from mbashara.silence import Attention
from mbashara.spares import Spares
from mbashara.steady_clock import anchored
from player.files import MemoryFolder
from transcode.headroom import Headroom
from transcode.process import DRAIN_S
from transcode.timeline import Timeline, part_target_of

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Parameters:
    """What a broadcast needs of the process. `unix_ms` is the wall clock, `steady_ms` one that is never set. `ffmpeg`
    None: no ladder; `headroom` is what all of the process's ladders share."""

    live: Path
    recorder: Recorder
    unix_ms: Callable[[], float]
    steady_ms: Callable[[], float]
    part_target_s: float = 0.5
    target_duration_s: int = 4
    window_s: float = 900.0
    stall_timeout_s: float = 6.0
    ffmpeg: str | None = None
    headroom: Headroom = field(default_factory=Headroom)


@dataclass(frozen=True, slots=True)
class Begun:
    """What a broadcast has from its first keyframe on."""

    recording: Recording
    renditions: Renditions
    ladder: Ladder
    continuity: Continuity
    attention: Attention
    spares: Spares


class Broadcast:
    """One broadcast. All methods are called on the loop.

    Its clock is the wall clock as it was at its first keyframe, or at a restart: whoever sets that one meanwhile moves
    nothing on the air. Only facts say when they were told by the wall clock as it is.
    """

    def __init__(
        self, parameters: Parameters, channel: str, identity: str, started: Mapping[str, Any],
        restored: RestoredRecording | None = None,
    ) -> None:  # fmt: skip
        """`started` becomes the ledger's first fact. A restored broadcast begins in a gap."""
        self.channel, self.identity = channel, identity
        self.on_air = OnAir(channel, identity)
        self.renditions: dict[str, Rendition] = {}
        self.ended = False
        self._parameters = parameters
        self._anchor(parameters.unix_ms())
        self._started = dict(started)
        self._begun: Begun | None = None
        self._intake: Intake | None = None
        self._ticked_msn = -1
        self._memory = MemoryFolder(parameters.live / channel / identity)
        self._listing = Listing(parameters.live / channel, identity)
        self.origin_ms = round(started.get("origin_ms", self._unix_ms()))
        if restored is not None:
            self._restore(restored)

    def _anchor(self, unix_ms: float) -> None:
        self._unix_ms = anchored(unix_ms, self._parameters.steady_ms)

    # Feeds.

    def attach(self, feed: Feed) -> None:
        """This feed is on the air from its first keyframe on."""
        self._intake = Intake(feed)

    def note_refused(self, refused: Refused) -> None:
        """An encoder with a key of the channel came and was turned away."""
        if self._begun is not None:
            self._begun.continuity.note_refused(replace(refused, unix_ms=self._unix_ms()))

    def note_feeds(self, there: Collection[str], on_air: str, goodbyes: Collection[str]) -> None:
        """Which feeds its channel has, by role (`Spares.look`)."""
        if self._begun is not None and self.has_begun and not self.ended:
            self._begun.spares.look(self._unix_ms(), there, on_air, goodbyes)

    def detach(self, *, is_refused: bool = False, said_goodbye: bool = False) -> None:
        """No feed: a gap begins, until another comes or the broadcast ends. `is_refused`: it was we who ended it."""
        is_shown = self._let_go()
        if self._begun is not None:
            self._begun.ladder.finish()
            self._begun.continuity.lose_feed(may_have_come=is_refused or not is_shown, said_goodbye=said_goodbye)

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
        elif intake.keep(item, self._unix_ms()):
            self._put_on_air(intake)

    def _put_on_air(self, intake: Intake) -> None:
        early = intake.begin(self._unix_ms())
        if early and self._begun is None:
            self._open(intake.feed.tracks, intake.lead_ms)
        for packet in early:
            self._air(intake, packet)

    def _open(self, tracks: Mapping[Kind, Track], lead_ms: int) -> None:
        """The first keyframe of the broadcast, `lead_ms` ago: its cadence is fixed now, its timeline is 0 there."""
        target_s = part_target_of(self._parameters.part_target_s, tracks)
        self._anchor(self._parameters.unix_ms())  # it may have waited for hours
        self.origin_ms = round(self._unix_ms()) - lead_ms
        begun = self._begin(target_s, Timeline())
        started = begun.recording.fact(
            "started", recording=self.identity, **self._started, origin_ms=self.origin_ms, part_target_s=target_s
        )
        self._memory.write(STARTED_NAME, json.dumps(started).encode())

    def _begin(self, part_target_s: float, timeline: Timeline, restored: RestoredRecording | None = None) -> Begun:
        parameters = self._parameters
        cadence = Cadence(parameters.target_duration_s, part_target_s, parameters.window_s)
        recording = Recording(parameters.recorder, self.identity, cadence, self.origin_ms, parameters.unix_ms)
        folder = parameters.live / self.channel / self.identity
        renditions = Renditions(self.renditions, self.on_air, folder, recording, timeline, self._unix_ms)
        ladder = Ladder(parameters.ffmpeg, renditions, parameters.headroom)
        attention = Attention(self._unix_ms())
        continuity = Continuity(
            self.on_air, recording, renditions, ladder, attention, parameters.stall_timeout_s,
            has_feed=lambda: self._intake is not None, unix_ms=self._unix_ms,
        )  # fmt: skip
        self._air = continuity.air  # bound once: it is called for each packet
        self._begun = Begun(recording, renditions, ladder, continuity, attention, Spares(recording, restored))
        return self._begun

    # Time.

    def tick(self) -> bool:
        """Called some times a second. True where what the multivariant playlists say has changed."""
        now_ms, begun = self._unix_ms(), self._begun
        if begun is None or begun.renditions.leader is None or self.ended:
            return False
        if begun.attention.look(now_ms):
            begun.continuity.note_feed()
        begun.continuity.look(now_ms, now_ms if self._intake is None else self._intake.silent_until_ms(now_ms))
        begun.renditions.refresh_reports()
        msn = begun.renditions.leader.window.next_msn
        if msn == self._ticked_msn and not self.is_lost and len(self._listing) == len(self.renditions):
            return False
        self._ticked_msn = msn
        begun.continuity.fill_followers()
        return self._write_listing(begun)

    # What is told to others.

    def _write_listing(self, begun: Begun) -> bool:
        return self._listing.write(begun.recording, self.renditions.values(), begun.ladder.left_out)

    @property
    def is_refused(self) -> bool:
        """The memory folder does not take what viewers are to get."""
        folders = [self._listing.folder, *(one.files.folder for one in self.renditions.values())]
        return any(folder.refuses for folder in folders)

    @property
    def is_lost(self) -> bool:
        return self._begun is not None and self._begun.continuity.gap is not None

    @property
    def has_begun(self) -> bool:
        return self._begun is not None and self._begun.renditions.leader is not None

    @property
    def has_video(self) -> bool:
        return SOURCE_NAMES[Kind.VIDEO] in self.renditions

    @property
    def cadence(self) -> Cadence | None:
        return self._begun.recording.cadence if self._begun is not None else None

    @property
    def discontinuities(self) -> int:
        return self._begun.continuity.discontinuities if self._begun is not None else 0

    @property
    def restarts(self) -> int:
        """Of its transcoder."""
        return self._begun.ladder.restarts if self._begun is not None else 0

    @property
    def left_out(self) -> frozenset[str]:
        """Rungs that viewers are not offered, for the machine is too slow for them."""
        return self._begun.ladder.left_out if self._begun is not None else frozenset()

    # The end, and after a restart.

    async def end(self, reason: str) -> None:
        """ENDLIST everywhere, and the recording whole."""
        begun = self._begun
        if begun is not None and self.has_begun and not self._let_go():
            begun.continuity.note_feed()
        self._intake = None
        if begun is not None:
            begun.continuity.fill_to_the_end()
            await begun.ladder.end()
        self.ended = True
        if begun is None or begun.renditions.leader is None:
            return
        begun.continuity.end()
        self._listing.forget()
        self._write_listing(begun)
        begun.recording.end(round(begun.renditions.leader.packager.end_ms), reason)
        self._parameters.recorder.put(lambda: self._memory.remove(STARTED_NAME))
        # Whoever is told of the end finds the recording whole; a disk that hangs must not hold up the channel.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._parameters.recorder.written(), DRAIN_S)
        log.info("broadcast ended", channel=self.channel, broadcast=self.identity, reason=reason)

    def pause(self) -> None:
        """Cuts what is pending into parts."""
        if self._begun is not None:
            self._begun.renditions.flush()
            self._begun.continuity.tell_holes()

    def _restore(self, restored: RestoredRecording) -> None:
        """Goes on where a killed process was: same numbers, same windows, a discontinuity before the next media."""
        self.origin_ms = int(restored.started["origin_ms"])
        self._anchor(max(self._parameters.unix_ms(), self.origin_ms + restored.end_ms))  # not before what was told
        discontinuities = max(one.segments[-1].discontinuities for one in restored.renditions.values())
        timeline = Timeline(restored.next_msn, discontinuities)
        timeline.break_wanted = True
        target_s = float(restored.started.get("part_target_s", self._parameters.part_target_s))
        begun = self._begin(target_s, timeline, restored)
        begun.recording.size = restored.size
        begun.renditions.restore(restored, self._parameters.window_s)
        begun.continuity.resume(restored.end_ms)
