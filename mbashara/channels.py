"""The channels of one media worker: who may publish, which feed is on the air or held, and each channel's broadcast.

What a channel has to do next is decided in life.py; this file does it.
"""

import asyncio
import os
import secrets
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

from archive.recordings.recover import RestoredRecording, finish, unfinished
from core.broadcasts.dry_runs import is_test_path
from core.broadcasts.plan import Message, Plan
from core.ids import RANDOM_BYTES, ulid
from core.keys import ChannelEntry, KeyBook, KeyOwner, TurnedAway
from core.media.hub import Hub
from core.media.stream import Item
from core.media.window import LiveWindow
from core.workers import channel_worker
from ingest.feed import Feed
from ingest.health.limits import Limits
from ingest.health.series import Series
from ingest.rtmp.door import FeedEnd, FeedSink, HandOff, PublishRequest, Refusal
from ingest.rtmp.errors import FeedError
from mbashara.broadcast import Broadcast, Parameters
from mbashara.life import Attach, Begin, Current, End, Patience, Situation, decide
from player.files import STATE_NAME, STILL_NAME, MemoryFolder, withdraw, write_state
from player.playlist import MediaPlaylist

log = structlog.get_logger()

TICK_S = 0.2
TEST_KEPT_S = 5.0
"""What a dry run leaves in memory: its feed has ended by then."""
REFUSED_S = 1.0
"""After so long a state that the memory folder refused is written anew."""
REFUSED_TOLD_S = 120.0
"""Encoders wait longer from try to try, OBS half as long again each time: the alarm of one stays the same."""
GUESSES_PER_MINUTE = 10
UNKNOWN_KEY = "This stream key is wrong or was revoked."


class GuessLimit:
    """Wrong keys per address: whoever guesses is refused unheard for a while; keys that are right are not counted."""

    def __init__(self, per_minute: int = GUESSES_PER_MINUTE, max_addresses: int = 10_000) -> None:
        self._per_minute, self._max_addresses = per_minute, max_addresses
        self._wrong: dict[str, list[float]] = {}

    def is_exceeded(self, address: str, now_s: float) -> bool:
        recent = [at for at in self._wrong.get(address, ()) if now_s - at < 60]
        return len(recent) >= self._per_minute

    def count(self, address: str, now_s: float) -> None:
        recent = [at for at in self._wrong.pop(address, ()) if now_s - at < 60]
        self._wrong[address] = [*recent, now_s][-self._per_minute :]
        while len(self._wrong) > self._max_addresses:
            del self._wrong[next(iter(self._wrong))]


@dataclass(frozen=True, slots=True)
class Refused:
    """The newest of the encoders that were turned away for that reason. `unix_ms`: when."""

    role: str
    why: TurnedAway
    peer: str
    unix_ms: float


@dataclass(slots=True)
class Channel:
    """A channel with at most one feed a role, and at most one broadcast. Feeds that are not on the air are held.

    `eager` are the identities of feeds that may begin a broadcast by themselves; `rests` once people have ended one:
    an encoder that goes on, or comes back within the reconnect window, does not begin another.
    """

    slug: str
    channel_id: int
    institution_id: int
    folder: MemoryFolder
    feeds: dict[str, Feed] = field(default_factory=dict)
    eager: set[str] = field(default_factory=set)
    rests: bool = False
    empty_since_s: float = 0.0
    on_air: Feed | None = None
    broadcast: Broadcast | None = None
    plan_id: str | None = None
    last: Broadcast | None = None
    lost_since_s: float | None = None
    ending: asyncio.Task[None] | None = None
    told: object = ()
    refused_s: float | None = None
    to_withdraw: bool = False
    failing: set[str] = field(default_factory=set)
    refused: dict[tuple[str, TurnedAway], Refused] = field(default_factory=dict)
    series: dict[str, Series] = field(default_factory=dict)  # by role, of the broadcast

    def other(self, feed: Feed) -> Feed | None:
        """The backup of a primary, the primary of a backup."""
        return next((one for one in self.feeds.values() if one is not feed), None)

    @property
    def is_refused(self) -> bool:
        """The memory folder does not take what viewers are to get."""
        return self.folder.refuses or (self.broadcast is not None and self.broadcast.is_refused)


class Channels:
    """All of it runs on the loop; `refresh` is awaited where an unknown key may be a new one."""

    def __init__(
        self, parameters: Parameters, hub: Hub, book: KeyBook, refresh: Callable[[], Any],
        worker: int = 0, workers: int = 1, reconnect_window_s: float = 30.0, planned_wait_s: float = 14_400.0,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self.channels: dict[str, Channel] = {}
        self._parameters, self._hub, self._book, self._refresh = parameters, hub, book, refresh
        self._worker, self._workers = worker, workers
        self._reconnect_window_s, self._planned_wait_s = reconnect_window_s, planned_wait_s
        self._over: set[str] = set()
        self._clock_s = clock_s
        self._guesses = GuessLimit()
        self._stranger_ms: float | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    # Admission.

    async def admit(self, request: PublishRequest) -> FeedSink | Refusal | HandOff:
        address = request.peer.rpartition(":")[0] or request.peer
        owner, former = self._book.lookup(request.key), self._book.lookup_former(request.key)
        if owner is None and former is None:
            if self._guesses.is_exceeded(address, self._clock_s()):
                return Refusal(
                    "NetStream.Publish.Denied", "Too many wrong stream keys from this address; wait a minute."
                )
            await self._refresh()
            owner, former = self._book.lookup(request.key), self._book.lookup_former(request.key)
        known = owner or former
        if known is None:
            self._guesses.count(address, self._clock_s())
            self._stranger_ms = self._parameters.unix_ms()
            log.warning("publisher refused", peer=request.peer, reason="unknown key")
            return Refusal("NetStream.Publish.Denied", UNKNOWN_KEY)
        lives_in = channel_worker(known.channel, self._workers)
        if lives_in != self._worker:
            return HandOff(lives_in)  # who is turned away is turned away there, where the broadcast is
        if owner is None:
            self._note_refused(known, TurnedAway.REVOKED, request)
            return Refusal("NetStream.Publish.Denied", UNKNOWN_KEY)
        if not owner.allows(address):
            self._note_refused(owner, TurnedAway.ADDRESS, request)
            return Refusal("NetStream.Publish.Denied", "This stream key is not allowed from this address.")
        return self._accept(owner, request)

    def _accept(self, owner: KeyOwner, request: PublishRequest) -> FeedSink | Refusal:
        channel = self._channel(owner)
        if owner.role in channel.feeds:
            self._note_refused(owner, TurnedAway.IN_USE, request)
            return Refusal("NetStream.Publish.BadName", "This stream key is in use by another encoder.")
        limits = Limits(gop_over_s=self._parameters.target_duration_s)
        feed = Feed(secrets.token_hex(4), owner.role, self._end_feed, limits)
        channel.feeds[owner.role] = feed
        feed.channel, feed.peer, feed.encoder = channel.slug, request.peer, request.flash_ver
        feed.since_ms = self._parameters.unix_ms()
        log.info(
            "feed",
            channel=channel.slug,
            feed=feed.identity,
            role=feed.role,
            peer=request.peer,
            encoder=request.flash_ver,
        )
        if self._may_begin(channel):
            channel.eager.add(feed.identity)
        self._step(channel)
        return feed

    def _note_refused(self, owner: KeyOwner, why: TurnedAway, request: PublishRequest) -> None:
        """An encoder with a key that is or was the channel's came and was turned away: engineers are told, and nobody
        may say later that none came. Whoever has no such key changes nothing of a channel's."""
        log.warning("publisher refused", channel=owner.channel, role=owner.role, peer=request.peer, reason=str(why))
        channel = self.channels.get(owner.channel)
        if channel is None:
            return
        refused = Refused(owner.role, why, request.peer, self._parameters.unix_ms())
        channel.refused[owner.role, why] = refused
        if channel.broadcast is not None:
            channel.broadcast.note_refused(owner.role, why)

    def _may_begin(self, channel: Channel) -> bool:
        """Whether a feed that arrives now may begin a broadcast by itself."""
        entry = self._entry(channel)
        empty_s = self._clock_s() - channel.empty_since_s if len(channel.feeds) == 1 else 0
        channel.rests = channel.rests and empty_s <= self._patience(channel).reconnect_window_s
        return entry.auto_live and not channel.rests and (entry.plan is None or entry.plan.is_automatic)

    def _channel(self, owner: KeyOwner) -> Channel:
        if owner.channel not in self.channels:
            self._add(owner.channel, owner.channel_id, owner.institution_id)
        return self.channels[owner.channel]

    def _add(self, slug: str, channel_id: int, institution_id: int) -> None:
        self.channels[slug] = Channel(slug, channel_id, institution_id, MemoryFolder(self._parameters.live / slug))

    def _entry(self, channel: Channel) -> ChannelEntry:
        """What the book says. Where it knows nothing of the channel (no database and no saved book), a planned
        broadcast is left as it is."""
        entry = self._book.entry(channel.slug)
        if entry is not None:
            return entry
        plan = None  # a dry run that it doesn't know is over
        if channel.plan_id is not None and not is_test_path(channel.slug) and channel.broadcast is not None:
            plan = Plan(channel.plan_id, channel.broadcast.identity, "live")
        return ChannelEntry(channel.slug, channel.channel_id, channel.institution_id, plan=plan)

    def _patience(self, channel: Channel) -> Patience:
        own_s = self._entry(channel).reconnect_window_s
        return Patience(self._reconnect_window_s if own_s is None else own_s, self._planned_wait_s)

    # Feeds.

    def _put_on_air(self, channel: Channel) -> None:
        """The primary feed where there is one. It is seen from its next keyframe on."""
        assert channel.broadcast is not None
        feed = channel.feeds.get("primary") or next(iter(channel.feeds.values()))
        channel.on_air, channel.lost_since_s = feed, None
        channel.broadcast.attach(feed)
        feed.on_item = channel.broadcast.take

    def _new_broadcast(self, channel: Channel, plan: Plan | None) -> Broadcast:
        fresh = ulid(round(self._parameters.unix_ms()), secrets.token_bytes(RANDOM_BYTES))
        identity = fresh if plan is None else plan.air_id
        started = {
            "broadcast": identity, "channel": channel.slug, "channel_id": channel.channel_id,
            "institution_id": channel.institution_id, **({} if plan is None else {"plan": plan.id}),
        }  # fmt: skip
        broadcast = Broadcast(self._parameters, channel.slug, identity, started)
        self._hub.add(broadcast.on_air)
        channel.series.clear()
        return broadcast

    def _end_feed(self, feed: Feed, end: FeedEnd) -> None:
        channel = self.channels[feed.channel]
        channel.feeds.pop(feed.role, None)
        channel.eager.discard(feed.identity)
        if not channel.feeds:
            channel.empty_since_s = self._clock_s()
        log.info("feed ended", channel=channel.slug, feed=feed.identity, clean=end.clean, reason=end.reason)
        if channel.on_air is not feed:
            return
        channel.on_air = None
        broadcast = channel.broadcast
        if broadcast is None:
            return
        broadcast.detach(is_refused=end.is_refused)
        if end.is_refused and feed.on_item is _refuse:
            broadcast.note_refused(feed.role, TurnedAway.REVOKED)
        if channel.feeds:
            self._put_on_air(channel)
        elif channel.plan_id is None and (end.clean or not broadcast.has_begun):
            self._end(channel, End("feed ended", by_people=False))
        else:
            channel.lost_since_s = self._clock_s() if broadcast.has_begun else None
            self._tell(channel)

    # The life of broadcasts.

    async def run(self) -> None:
        """Ticks until cancelled, then ends nothing: a process that is stopped leaves its broadcasts to the next one."""
        while True:
            await asyncio.sleep(TICK_S)
            self._each(self._tick)

    def _each(self, act: Callable[[Channel], None]) -> None:
        """One channel's trouble stays its own: it is told once, and tried again."""
        for channel in list(self.channels.values()):
            try:
                act(channel)
            except Exception:
                if act.__name__ not in channel.failing:
                    log.exception("a channel fails", channel=channel.slug)
                channel.failing.add(act.__name__)
            else:
                channel.failing.discard(act.__name__)

    def _tick(self, channel: Channel) -> None:
        if channel.broadcast is not None and channel.ending is None:
            channel.broadcast.tick()
        if channel.to_withdraw:
            channel.to_withdraw = channel.broadcast is None and not withdraw(channel.folder)
        self._obey(channel)

    def _obey(self, channel: Channel) -> None:
        self._step(channel)
        self._tell(channel)

    def _step(self, channel: Channel) -> None:
        """Does what is to be done next, if nothing is on its way already."""
        if channel.ending is not None or not (channel.feeds or channel.broadcast):
            return
        match decide(self._situation(channel), self._patience(channel)):
            case Begin(plan):
                channel.broadcast = self._new_broadcast(channel, plan)
                channel.plan_id = None if plan is None else plan.id
                self._put_on_air(channel)
            case Attach():
                self._put_on_air(channel)
            case End() as end:
                self._end(channel, end)

    def _situation(self, channel: Channel) -> Situation:
        current, plan = None, self._entry(channel).plan
        if channel.broadcast is not None:
            lost_s = 0.0 if channel.lost_since_s is None else self._clock_s() - channel.lost_since_s
            current = Current(channel.broadcast.identity, channel.plan_id, lost_s)
        return Situation(
            plan, current, bool(channel.feeds) and channel.on_air is None, bool(channel.eager),
            self._parameters.unix_ms(), is_over=plan is not None and plan.air_id in self._over,
        )  # fmt: skip

    def _end(self, channel: Channel, end: End) -> None:
        if channel.ending is not None or channel.broadcast is None:
            return
        if channel.on_air is not None:
            channel.on_air.on_item = None  # it goes on, and is held again
            channel.on_air = None
        if end.by_people:
            channel.eager.clear()
            channel.rests = True
        channel.ending = asyncio.create_task(self._finish(channel, channel.broadcast, end))

    async def _finish(self, channel: Channel, broadcast: Broadcast, end: End) -> None:
        with suppress(OSError):
            (self._parameters.live / channel.slug / STILL_NAME).unlink(missing_ok=True)
        try:
            await broadcast.end(end.reason)
        except Exception:
            log.exception("a broadcast could not be ended", broadcast=broadcast.identity)
        channel.ending = channel.lost_since_s = channel.plan_id = None
        channel.broadcast, channel.last = None, broadcast if broadcast.has_begun else channel.last
        if broadcast.has_begun:
            self._over.add(broadcast.identity)
        if end.is_undone:
            channel.last = None
            channel.to_withdraw = not withdraw(channel.folder)
        kept_s = TEST_KEPT_S if is_test_path(channel.slug) else self._parameters.window_s
        self._later(self._clean_up(broadcast, 0 if end.is_undone else kept_s))
        self._step(channel)
        self._tell(channel)

    async def _clean_up(self, broadcast: Broadcast, kept_s: float) -> None:
        """Players still read the end of the playlist; a presentation is removed a window later (8216bis 6.2.1)."""
        await asyncio.sleep(kept_s if broadcast.has_begun else 0)
        self._hub.remove(broadcast.on_air)
        folder = self._parameters.live / broadcast.channel / broadcast.identity
        await asyncio.to_thread(shutil.rmtree, folder, True)

    def _later(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # After a restart.

    def restore(self, recordings: Path) -> None:
        """Takes up the broadcasts that a killed process left; ends those that are not to go on."""
        self._over = set(os.listdir(recordings)) if recordings.exists() else set()
        now_ms = self._parameters.unix_ms()
        for restored in unfinished(recordings, self._parameters.live, now_ms, self._is_ours):
            started = restored.started
            slug = str(started["channel"])
            channel = self._channel(KeyOwner(slug, started["channel_id"], started["institution_id"], "primary"))
            try:
                if channel.broadcast is not None or not restored.can_go_on or not self._resume(channel, restored):
                    finish(recordings / restored.broadcast, restored, "process ended", self._parameters.unix_ms())
                    log.warning("broadcast ended after a restart", channel=slug, broadcast=restored.broadcast)
            except OSError as error:  # the disk is full, say: the next start ends it
                log.error("a recording can't be taken up", broadcast=restored.broadcast, error=str(error))
            except Exception:  # the top of one recording's way: no other channel is to wait for it
                log.exception("a recording can't be taken up", broadcast=restored.broadcast)

    def _is_ours(self, slug: str) -> bool:
        return channel_worker(slug, self._workers) == self._worker

    def _resume(self, channel: Channel, restored: RestoredRecording) -> bool:
        """False: its plan has ended meanwhile, or its feed could not come back any more."""
        identity, plan_id = restored.broadcast, restored.started.get("plan")
        now_ms = self._parameters.unix_ms()
        current = Current(identity, plan_id, (now_ms - restored.silent_since_ms) / 1000)
        entry = self._book.entry(channel.slug)
        unknown = Plan(plan_id, identity, "live") if plan_id else None
        plan = unknown if entry is None else entry.plan
        if decide(Situation(plan, current, False, False, now_ms), self._patience(channel)) is not None:
            return False
        broadcast = Broadcast(self._parameters, channel.slug, identity, restored.started, restored)
        self._hub.add(broadcast.on_air)
        channel.broadcast, channel.plan_id, channel.lost_since_s = broadcast, plan_id, self._clock_s()
        log.warning("broadcast resumed", channel=channel.slug, broadcast=identity)
        return True

    # What players poll.

    def know(self) -> None:
        """Obeys a new book. Channels that nobody has published on yet have a state too."""
        self._forget_tests()
        for entry in self._book.channels:
            is_new = entry.slug not in self.channels and not is_test_path(entry.slug)
            if is_new and channel_worker(entry.slug, self._workers) == self._worker:
                self._add(entry.slug, entry.id, entry.institution_id)
        let_in = {(owner.channel, owner.role) for owner in self._book.owners.values()}
        for channel, feed in self.feeds():
            if (channel.slug, feed.role) not in let_in:
                feed.on_item = _refuse  # its key was revoked, and none took its place
        self._each(self._remind)
        self._each(self._obey)

    def _remind(self, channel: Channel) -> None:
        """A state that somebody took away is written anew."""
        if not channel.folder.has(STATE_NAME):
            channel.told = ()

    def _forget_tests(self) -> None:
        """Of a dry run that is over nothing stays."""
        for slug, one in list(self.channels.items()):
            is_over = is_test_path(slug) and self._book.entry(slug) is None
            if is_over and not (one.feeds or one.broadcast or one.ending):
                del self.channels[slug]
                self._later(asyncio.to_thread(shutil.rmtree, self._parameters.live / slug, True))

    def _tell(self, channel: Channel) -> None:
        broadcast = channel.broadcast
        begun = broadcast is not None and (broadcast.has_begun, broadcast.is_lost, broadcast.has_video)
        brief = (broadcast, begun, channel.last, self._message(channel), self._names(channel))
        if brief == channel.told and not channel.folder.refuses:
            return
        if channel.refused_s is not None and self._clock_s() - channel.refused_s < REFUSED_S:
            return
        state = self._state(channel)
        now = datetime.fromtimestamp(self._parameters.unix_ms() / 1000, UTC).isoformat(timespec="milliseconds")
        if not write_state(channel.folder, {**state, "updated_at": now}):
            channel.refused_s = self._clock_s()
            return
        channel.told, channel.refused_s = brief, None
        log.info("channel", channel=channel.slug, state=state["state"], broadcast=state["broadcast"])

    def _state(self, channel: Channel) -> dict[str, Any]:
        shown = channel.broadcast if channel.broadcast is not None and channel.broadcast.has_begun else channel.last
        message = self._message(channel)
        said = {"message": None if message is None else asdict(message), "name": self._names(channel)}
        if shown is None or shown.cadence is None:
            nothing = {"broadcast": None, "recording": None, "audio_only": False, "started_at": None}
            return {"state": "offline", **nothing, **said}
        state = "ended" if shown.ended else "lost" if shown.is_lost else "live"
        return {
            "state": state,
            "broadcast": shown.identity,
            "recording": f"/recordings/{shown.identity}/index.m3u8" if shown.ended else None,
            "audio_only": not shown.has_video,
            "part_target_s": shown.cadence.part_target_s,
            "part_hold_back_s": shown.cadence.part_hold_back_s,
            "hold_back_s": shown.cadence.hold_back_s,
            "started_at": datetime.fromtimestamp(shown.origin_ms / 1000, UTC).isoformat(timespec="milliseconds"),
            **said,
        }

    def _message(self, channel: Channel) -> Message | None:
        """What people tell every player, of the broadcast that has the channel."""
        plan = self._entry(channel).plan
        if plan is None or (plan.is_automatic and (channel.broadcast is None or channel.broadcast.identity != plan.id)):
            return None
        return plan.message

    def _names(self, channel: Channel) -> dict[str, str] | None:
        """By language; None where nobody has told us any."""
        entry = self._entry(channel)
        return {"sw": entry.name_sw, "en": entry.name_en} if entry.name_sw else None

    @property
    def is_refused(self) -> bool:
        """Of some channel the memory folder does not take what viewers are to get."""
        return any(channel.is_refused for channel in self.channels.values())

    def feeds(self) -> list[tuple[Channel, Feed]]:
        return [(channel, feed) for channel in self.channels.values() for feed in channel.feeds.values()]

    def refused(self) -> list[tuple[Channel, Refused]]:
        """Encoders that were turned away a moment ago."""
        told = ((channel, one) for channel in self.channels.values() for one in channel.refused.values())
        return [(channel, one) for channel, one in told if one.unix_ms > self._told_since_ms]

    @property
    def stranger_ms(self) -> float | None:
        """When one came with a key that is nobody's, if that was a moment ago: a hint where an encoder is missed."""
        at_ms = self._stranger_ms
        return at_ms if at_ms is not None and at_ms > self._told_since_ms else None

    @property
    def _told_since_ms(self) -> float:
        return self._parameters.unix_ms() - REFUSED_TOLD_S * 1000

    def sample(self) -> None:
        """Once a second: what engineers look at."""
        self._each(self._sample)

    def _sample(self, channel: Channel) -> None:
        now_s, unix_s = self._clock_s(), self._parameters.unix_ms() / 1000
        for feed in channel.feeds.values():
            feed.sample(now_s, channel.other(feed))
            channel.series.setdefault(feed.role, Series()).add(unix_s, feed.health.measures.row())

    def playlist_of(self, window: LiveWindow) -> MediaPlaylist | None:
        """The renderer of a window that the hub knows."""
        for channel in self.channels.values():
            for broadcast in (channel.broadcast, channel.last):
                rendition = broadcast.renditions.get(window.name) if broadcast is not None else None
                if rendition is not None and rendition.window is window:
                    return rendition.files.playlist
        return None

    def pause(self) -> None:
        """The process is asked to stop: what came in is cut into parts, so that the next process loses nothing."""
        for channel in self.channels.values():
            if channel.broadcast is not None:
                channel.broadcast.pause()


def _refuse(_feed: Feed, _item: Item) -> None:
    raise FeedError("This stream key was revoked.")
