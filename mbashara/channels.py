"""The channels of one media worker: who may publish, which feed is on the air or held, and each channel's broadcast.

What a channel has to do next is decided in life.py; this file does it.
"""

import asyncio
import os
import secrets
import shutil
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import structlog

from archive.recordings.recover import STARTED_NAME, RestoredRecording, finish, forget_empty, unfinished
from core.broadcasts.dry_runs import is_test_path
from core.broadcasts.plan import Plan
from core.ids import RANDOM_BYTES, ulid
from core.keys import ChannelEntry, KeyBook, KeyOwner, TurnedAway
from core.media.hub import Hub
from core.media.stream import Item
from core.media.window import LiveWindow
from core.workers import channel_worker
from ingest.feed import Feed
from ingest.health.limits import Limits
from ingest.rtmp.door import FeedEnd, FeedSink, HandOff, PublishRequest, Refusal
from ingest.rtmp.errors import FeedError
from mbashara.admission import REFUSALS, Admission, Known
from mbashara.broadcast import Broadcast, Parameters
from mbashara.channel import Channel
from mbashara.life import Attach, Begin, Current, End, Patience, Situation, decide
from mbashara.refused import Refused, told_since_ms
from player.files import STILL_NAME, MemoryFolder, withdraw
from player.playlist import MediaPlaylist

log = structlog.get_logger()

TICK_S = 0.2
TEST_KEPT_S = 5.0
"""What a dry run leaves in memory: its feed has ended by then."""


class Channels:
    """All of it runs on the loop."""

    def __init__(
        self, parameters: Parameters, hub: Hub, book: KeyBook, refresh: Callable[[], Awaitable[None]],
        worker: int = 0, workers: int = 1, reconnect_window_s: float = 30.0, planned_wait_s: float = 14_400.0,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self.channels: dict[str, Channel] = {}
        self._parameters, self._hub, self._book = parameters, hub, book
        self._admission = Admission(book, refresh, worker, workers, parameters.unix_ms, clock_s)
        self._worker, self._workers = worker, workers
        self._reconnect_window_s, self._planned_wait_s = reconnect_window_s, planned_wait_s
        self._over: set[str] = set()
        self._clock_s = clock_s
        self._tasks: set[asyncio.Task[None]] = set()

    # Admission.

    async def admit(self, request: PublishRequest) -> FeedSink | Refusal | HandOff:
        found = await self._admission.ask(request)
        if not isinstance(found, Known):
            return found
        if found.why is not None:
            return self._refuse(found.owner, found.why, request)
        return self._accept(found.owner, request)

    def _accept(self, owner: KeyOwner, request: PublishRequest) -> FeedSink | Refusal:
        channel = self._channel(owner)
        if owner.role in channel.feeds:
            return self._refuse(owner, TurnedAway.IN_USE, request)
        limits = Limits(gop_over_s=self._parameters.target_duration_s)
        feed = Feed(secrets.token_hex(4), owner.role, self._end_feed, limits)
        channel.feeds[owner.role] = feed
        feed.channel, feed.peer, feed.encoder = channel.slug, request.peer, request.flash_ver
        feed.since_ms = self._parameters.unix_ms()
        who = {"peer": feed.peer, "encoder": feed.encoder}
        log.info("feed", channel=channel.slug, feed=feed.identity, role=feed.role, **who)
        if self._may_begin(channel):
            channel.eager.add(feed.identity)
        self._step(channel)
        return feed

    def _refuse(self, owner: KeyOwner, why: TurnedAway, request: PublishRequest) -> Refusal:
        """An encoder with a key that is or was the channel's came and is turned away: engineers are told, and nobody
        may say later that none came. Whoever has no such key changes nothing of a channel's."""
        log.warning("publisher refused", channel=owner.channel, role=owner.role, peer=request.peer, reason=str(why))
        channel = self.channels.get(owner.channel)
        if channel is not None:
            channel.note_refused(Refused(owner.role, why, request.peer, self._parameters.unix_ms()))
        return REFUSALS[why]

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
        return self._book.entry(channel.slug) or channel.entry_without_book()

    def _patience(self, channel: Channel) -> Patience:
        own_s = self._entry(channel).reconnect_window_s
        return Patience(self._reconnect_window_s if own_s is None else own_s, self._planned_wait_s)

    # Feeds.

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
        (channel.goodbyes.add if end.clean else channel.goodbyes.discard)(feed.role)
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
        broadcast.detach(is_refused=end.is_refused, said_goodbye=end.clean)
        if end.is_refused and feed.on_item is _end_revoked:
            broadcast.note_refused(Refused(feed.role, TurnedAway.REVOKED, feed.peer, self._parameters.unix_ms()))
        if channel.feeds:
            channel.put_on_air()
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
            channel.look_at_spare()
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
                channel.put_on_air()
            case Attach():
                channel.put_on_air()
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
        channel.take_off_air()
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
        for entry in self._book.channels:
            if entry.plan is not None and self._is_ours(entry.slug) and forget_empty(recordings / entry.plan.air_id):
                self._over.discard(entry.plan.air_id)
        now_ms = self._parameters.unix_ms()
        for restored in unfinished(recordings, self._parameters.live, now_ms, self._is_ours):
            started = restored.started
            slug = str(started["channel"])
            channel = self._channel(KeyOwner(slug, started["channel_id"], started["institution_id"], "primary"))
            try:
                if channel.broadcast is not None or not restored.can_go_on or not self._resume(channel, restored):
                    finish(recordings / restored.broadcast, restored, "process ended", self._parameters.unix_ms())
                    MemoryFolder(self._parameters.live / slug / restored.broadcast).remove(STARTED_NAME)
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
            if is_new and self._is_ours(entry.slug):
                self._add(entry.slug, entry.id, entry.institution_id)
        let_in = {(owner.channel, owner.role) for owner in self._book.owners.values()}
        for channel, feed in self.feeds():
            if (channel.slug, feed.role) not in let_in:
                feed.on_item = _end_revoked  # its key was revoked, and none took its place
        self._each(_remind)
        self._each(self._obey)

    def _forget_tests(self) -> None:
        """Of a dry run that is over nothing stays."""
        for slug, one in list(self.channels.items()):
            is_over = is_test_path(slug) and self._book.entry(slug) is None
            if is_over and not (one.feeds or one.broadcast or one.ending):
                del self.channels[slug]
                self._later(asyncio.to_thread(shutil.rmtree, self._parameters.live / slug, True))

    def _tell(self, channel: Channel) -> None:
        channel.tell(self._entry(channel), self._clock_s(), self._parameters.unix_ms())

    @property
    def is_refused(self) -> bool:
        """Of some channel the memory folder does not take what viewers are to get."""
        return any(channel.is_refused for channel in self.channels.values())

    def feeds(self) -> list[tuple[Channel, Feed]]:
        return [(channel, feed) for channel in self.channels.values() for feed in channel.feeds.values()]

    def refused(self) -> list[tuple[Channel, Refused]]:
        """Encoders that were turned away a moment ago."""
        since_ms = told_since_ms(self._parameters.unix_ms())
        return [(channel, one) for channel in self.channels.values() for one in channel.refused.after(since_ms)]

    @property
    def stranger_ms(self) -> float | None:
        """When one came with a key that is nobody's, if that was a moment ago: a hint where an encoder is missed."""
        at_ms = self._admission.stranger_ms
        return at_ms if at_ms is not None and at_ms > told_since_ms(self._parameters.unix_ms()) else None

    def sample(self) -> None:
        """Once a second: what engineers look at."""
        self._each(self._sample)

    def _sample(self, channel: Channel) -> None:
        channel.sample(self._clock_s(), self._parameters.unix_ms() / 1000)

    def playlist_of(self, window: LiveWindow) -> MediaPlaylist | None:
        """The renderer of a window that the hub knows."""
        found = (channel.playlist_of(window) for channel in self.channels.values())
        return next((playlist for playlist in found if playlist is not None), None)

    def pause(self) -> None:
        """The process is asked to stop: what came in is cut into parts, so that the next process loses nothing."""
        for channel in self.channels.values():
            if channel.broadcast is not None:
                channel.broadcast.pause()


def _end_revoked(_feed: Feed, _item: Item) -> None:
    raise FeedError("This stream key was revoked.")


def _remind(channel: Channel) -> None:
    channel.state.remind()
