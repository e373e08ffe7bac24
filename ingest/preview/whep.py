"""The previews of one media worker: who may watch, how many, and when a session is over."""

import asyncio
import secrets
from dataclasses import dataclass, field

import structlog

from ingest.feed import Feed
from ingest.preview.refusals import PreviewRefused, Reason
from ingest.preview.relay import Relay, unplayable
from ingest.preview.session import Session, SessionLimits, read_offer
from ingest.preview.sound import Levels

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class PreviewLimits:
    """A viewer of 4 Mbit/s costs the worker's core 4 to 5 %, RTP and its encryption; a feed's first one 3 % more."""

    per_worker: int = 8
    per_feed: int = 4
    session: SessionLimits = field(default_factory=SessionLimits)


@dataclass(frozen=True, slots=True)
class Answer:
    identity: str
    sdp: str


@dataclass(frozen=True, slots=True)
class Watched:
    """What a feed's viewers cost and hear. `levels` is None until 100 ms of sound were decoded."""

    viewers: int
    opus_packets: int
    levels: Levels | None


class Previews:
    """All of it runs on the loop, but for the sound: each feed's is made in a process of its own."""

    def __init__(self, limits: PreviewLimits | None = None) -> None:
        self._limits = limits or PreviewLimits()
        self._sessions: dict[str, Session] = {}
        self._relays: dict[Feed, Relay] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def offer(self, feed: Feed, sdp: str) -> Answer:
        """Raises PreviewRefused. The session counts from here on, and ends on its own."""
        kinds = read_offer(sdp)
        refusal = self._full(feed) or ("video" in kinds and unplayable(feed))
        if refusal:
            raise PreviewRefused(refusal)
        session = self._open(feed)
        try:
            answer = await session.answer(sdp, kinds)
        except BaseException:
            await self._close(session)
            raise
        task = asyncio.get_running_loop().create_task(self._live(session))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return Answer(session.identity, answer)

    def end(self, identity: str, channel: str) -> bool:
        """False for a session that the channel doesn't have."""
        session = self._sessions.get(identity)
        if session is None or session.channel != channel:
            return False
        session.end("taken leave")
        return True

    def watched(self, feed: Feed) -> Watched | None:
        """None while nobody watches: then nothing is decoded."""
        relay = self._relays.get(feed)
        return Watched(len(self._of(feed)), relay.opus_packets, relay.levels) if relay is not None else None

    async def close(self) -> None:
        for session in self._sessions.values():
            session.end("process ends")
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _full(self, feed: Feed) -> Reason | None:
        if len(self._of(feed)) >= self._limits.per_feed:
            return Reason.FEED_FULL
        return Reason.WORKER_FULL if len(self._sessions) >= self._limits.per_worker else None

    def _of(self, feed: Feed) -> list[Session]:
        return [session for session in self._sessions.values() if session.relay.feed is feed]

    def _open(self, feed: Feed) -> Session:
        relay = self._relays.get(feed)
        if relay is None:
            relay = self._relays[feed] = Relay(feed, self._end_feed)
        session = Session(secrets.token_urlsafe(16), feed.channel, relay, self._limits.session)
        self._sessions[session.identity] = session
        return session

    async def _live(self, session: Session) -> None:
        feed = session.relay.feed
        log.info("preview", channel=feed.channel, feed=feed.identity, role=feed.role)
        try:
            await session.run()
        finally:
            await self._close(session)
            log.info("preview ended", channel=feed.channel, feed=feed.identity, reason=session.reason)

    async def _close(self, session: Session) -> None:
        self._sessions.pop(session.identity, None)
        feed = session.relay.feed
        is_last = not self._of(feed) and self._relays.get(feed) is session.relay
        if is_last:
            self._relays.pop(feed)
        await session.close()
        if is_last:
            await session.relay.close()

    def _end_feed(self, feed: Feed, reason: Reason | None) -> None:
        """All sessions of a feed that is over; those with its picture where that can't be played."""
        for session in self._of(feed):
            if reason is None or "video" in session.kinds:
                session.end(reason or "feed ended")
