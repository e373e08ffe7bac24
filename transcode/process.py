"""Runs a caged ffmpeg of one feed: starts it, feeds it, reads its rungs, restarts it; makes fewer rungs where it is too
slow, and more where there is room again."""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import structlog

from core import cage
from core.media import flv
from core.media.packet import Kind, MediaError, Packet, Track
from core.media.stream import Item, LiveStream, QueueReader
from transcode.headroom import Headroom
from transcode.ladder import Rung, choose_rungs
from transcode.ladder_process import end_child, read_rung, start_ladder

log = structlog.get_logger()

LIMITS = cage.Limits(memory_bytes=None, cpu_s=None, goes_first=False, niceness=15)
"""It is on the air as long as its feed is. The source, which is the record, goes before the rungs that are made of it:
where ladders ask for more than the machine has, at media's own priority most of the source is lost. Media in its turn
goes before others where it may, so that ladders are in nobody's way and nobody is in theirs."""
SOUND_LIMITS = LIMITS._replace(niceness=10)
"""Where no picture is made, little is taken: it goes before the pictures of all."""
MAX_LAG_MS, MAX_START_MS = 4000, 8000
"""What comes later than that, viewers have been told is missing. Until the first comes it may take longer. Of pictures
that come seldom the next is not late while the one before it is being made: it must have waited for so long, too."""
PROBED = 8
"""So many packets at most ffmpeg wants to see before it begins: of slides without sound, half a minute of them."""
NATURAL_LAG_MS = 1000
LAG_CHECK_S = 1.0
FIRST_BACKOFF_S, LAST_BACKOFF_S = 0.25, 8.0
DRAIN_S = 3.0
MOST_LOOKS = 60
"""That many are remembered of what waits: the first say for how long, the others only how soon it gets less."""
MOST_STILL = 10
"""So many checks in a row find that nothing more comes of one whose feed is over: it hangs."""


class TooSlow(Exception):
    """The child falls behind the feed by more than the bound."""


class Transcoder:
    """The rungs of one feed's tracks. `on_item(rung name, item)` is called on the loop with packets on the feed's own
    timeline.

    It reads the stream with a bounded queue: whatever happens here, the stream's writer never waits.
    """

    def __init__(
        self, executable: str, stream: LiveStream, tracks: Mapping[Kind, Track],
        on_item: Callable[[str, Item], None], headroom: Headroom, left_out: Collection[str] = (),
    ) -> None:  # fmt: skip
        """`left_out`: rungs that the machine was too slow for when the broadcast last had a feed."""
        self.restarts = 0
        self.left_out = {one.name for one in choose_rungs(tracks)} & {*left_out}
        """Rungs that there is nothing of now."""
        self.process_id: int | None = None
        self._executable, self._stream, self._tracks = executable, stream, dict(tracks)
        self._on_item, self._headroom = on_item, headroom
        self._spared = set(self.left_out)
        self._grows = False
        self._first: Packet | None = None
        self._reader = QueueReader()
        self._ending = asyncio.Event()
        self._in_ms = self._fed = 0
        self._made_ms: dict[str, int] = {}
        self._begin_ms: int | None = None
        self._out_ms: int | None = None
        # The children's first reader stands in the stream before the first packet does.
        stream.add(self._reader)

    async def run(self) -> None:
        """Until `finish` was called and everything is out, or it is cancelled."""
        try:
            while choose_rungs(self._tracks) and not self._ending.is_set():
                await self._run_on()
        finally:
            self._stream.remove(self._reader)
            self._headroom.forget(self)

    def finish(self) -> None:
        """The feed is over: what is inside comes out, then `run` returns."""
        self._ending.set()
        self._reader.close()

    async def _run_on(self) -> None:
        """One child after another, until there is no rung to make for now."""
        backoff_s = FIRST_BACKOFF_S
        while rungs := self._next_rungs():
            began = asyncio.get_running_loop().time()
            try:
                await self._run_once(rungs)
            except TooSlow:
                self._shrink(rungs[0])
            except (OSError, MediaError) as error:
                log.error("transcoder failed", error=str(error))
            else:
                if self._first is not None:  # it ended before that one, so that nothing lacks
                    continue
            if self._ending.is_set():
                return
            self._first = None
            self.restarts += 1
            if asyncio.get_running_loop().time() - began > LAST_BACKOFF_S:
                backoff_s = FIRST_BACKOFF_S
            log.warning("transcoder ended; it is started again", after_s=backoff_s, restarts=self.restarts)
            if not await self._rest(backoff_s):
                return
            backoff_s = min(2 * backoff_s, LAST_BACKOFF_S)
        while not self._grows and await self._rest(LAG_CHECK_S):
            self._look_for_room()

    def _next_rungs(self) -> list[Rung]:
        """Best first. One that comes back is told as left out until there is something of it."""
        if self._grows:
            self._grows = False
            self._spared.discard(self._lacking()[-1].name)
        return choose_rungs(self._tracks, self._spared)

    def _lacking(self) -> list[Rung]:
        """Dearest first."""
        return [one for one in choose_rungs(self._tracks) if one.name in self._spared]

    def _shrink(self, dearest: Rung) -> None:
        """Starting anew skips what it lags by; if that doesn't help for long the dearest rung goes. One that was to be
        tried again isn't."""
        self._grows = False
        if self._headroom.must_shrink(self):
            log.warning("the machine is too slow for a rung", rung=dearest.name)
            self._spared.add(dearest.name)
            self.left_out.add(dearest.name)

    def _look_for_room(self) -> None:
        lacking = self._lacking()
        if lacking and not self._grows and self._headroom.may_grow(self, lacking[-1].bitrate_bps):
            log.info("a rung is tried again", rung=lacking[-1].name)
            self._grows = True

    async def _rest(self, seconds: float) -> bool:
        """What comes meanwhile is skipped. False: the feed is over."""
        self._stream.remove(self._reader)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._ending.wait(), seconds)
        if self._ending.is_set():  # be it just as the time was over
            return False
        self._reader = QueueReader()
        self._stream.add(self._reader)
        return True

    async def _run_once(self, rungs: Sequence[Rung]) -> None:
        self._begin_ms = self._out_ms = None
        self._fed = 0
        limits = LIMITS if Kind.VIDEO in self._tracks else SOUND_LIMITS
        child, outputs = await start_ladder(
            self._executable, rungs, entrance=cage.entrance(limits), stderr=asyncio.subprocess.PIPE
        )
        self.process_id = child.pid
        try:
            await self._attend(child, outputs)
        finally:
            self.process_id = None
            await end_child(child)

    async def _attend(self, child: asyncio.subprocess.Process, outputs: list[tuple[str, int]]) -> None:
        """Feeding, reading and watching, until the child closes its outputs."""
        assert child.stdin is not None and child.stderr is not None
        helpers = [
            asyncio.create_task(self._feed(child.stdin)),
            asyncio.create_task(_log_lines(child.stderr)),
        ]
        watch = asyncio.create_task(self._watch_lag())
        readers = asyncio.gather(*(read_rung(pipe, partial(self._take, name)) for name, pipe in outputs))
        try:
            waited: set[asyncio.Future[Any]] = {readers, watch}
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            if watch.done():
                watch.result()
            if readers.done():
                readers.result()
        finally:
            for task in (*helpers, watch):
                task.cancel()
            readers.cancel()
            await asyncio.gather(*helpers, watch, readers, return_exceptions=True)

    async def _feed(self, stdin: asyncio.StreamWriter) -> None:
        """From a keyframe on, to the end, or to the keyframe that the next child is to begin with."""
        stdin.write(flv.file_header(*self._tracks))
        first, self._first = self._first, None
        if first is not None:  # this child has the reader from the last
            for track in self._tracks.values():
                stdin.writelines(flv.write_tag(track, first.dts_ms))
        with contextlib.suppress(ConnectionError):
            while (item := first or await self._reader.get()) is not None:
                first = None
                if not isinstance(item, Packet):
                    self._tracks[item.kind] = item
                elif not self._is_wanted(item):
                    if self._first is not None:
                        break
                    continue
                stdin.writelines(flv.write_tag(item, self._in_ms))
                await stdin.drain()
            stdin.close()

    def _is_wanted(self, packet: Packet) -> bool:
        """By the child that runs: from its first keyframe on, up to the one that the next child is to begin with."""
        is_start = Kind.VIDEO not in self._tracks or (packet.kind is Kind.VIDEO and packet.is_key)
        if is_start and self._grows and self._begin_ms is not None:
            self._first = packet
            return False
        if is_start and self._begin_ms is None:
            self._begin_ms = packet.dts_ms
        self._in_ms = packet.dts_ms
        self._fed += self._begin_ms is not None
        return self._begin_ms is not None

    def _take(self, name: str, items: Iterable[Item]) -> None:
        for item in items:
            if isinstance(item, Packet):
                if item.dts_ms <= self._made_ms.get(name, -1):
                    continue  # an encoder of sound begins a frame before what it is given
                self._made_ms[name] = item.dts_ms
                self._out_ms = max(self._out_ms or 0, item.dts_ms)
                self.left_out.discard(name)
            self._on_item(name, item)

    async def _watch_lag(self) -> None:
        """A lag that shrinks is a burst of the feed's that is being worked off."""
        before_ms, still, waits = 0, 0, Waits()
        while True:
            await asyncio.sleep(LAG_CHECK_S)
            lag_ms = self._lag_ms()
            waited_ms = waits.look(self._newest_ms() if lag_ms > 0 else 0, self._out_ms or 0)
            still = still + 1 if self._ending.is_set() and lag_ms == before_ms else 0
            if still >= MOST_STILL:
                raise MediaError("it does not end")
            most_ms = MAX_START_MS if self._out_ms is None else MAX_LAG_MS
            if (lag_ms >= before_ms and min(lag_ms, waited_ms) > most_ms) or self._reader.dropped:
                raise TooSlow
            before_ms = lag_ms
            if min(lag_ms, waited_ms) > NATURAL_LAG_MS:
                self._headroom.note_lag()
            elif not self._ending.is_set():
                self._look_for_room()

    def _lag_ms(self) -> int:
        """From what came last, which may still wait for the child, to what was made last."""
        if self._begin_ms is None or (self._out_ms is None and self._fed < PROBED):
            return 0
        return self._newest_ms() - max(self._begin_ms, self._out_ms or 0)

    def _newest_ms(self) -> int:
        newest = self._reader.newest
        return newest.dts_ms if newest is not None else self._in_ms


class Waits:
    """For how long what is not made yet has been there, by a clock; it is looked at again and again."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._looks: deque[tuple[float, int]] = deque()

    def look(self, newest_ms: int, made_ms: int) -> float:
        """`newest_ms`: of what has come, `made_ms`: of what was made of it. Returns milliseconds."""
        now_s = self._clock()
        while self._looks and self._looks[0][1] <= made_ms:
            self._looks.popleft()
        if newest_ms > made_ms and len(self._looks) < MOST_LOOKS:
            self._looks.append((now_s, newest_ms))
        return (now_s - self._looks[0][0]) * 1000 if self._looks else 0.0


async def _log_lines(stderr: asyncio.StreamReader) -> None:
    while line := await stderr.readline():
        log.debug("ffmpeg", line=line.decode(errors="replace").strip())
