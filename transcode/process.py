"""Runs one feed's caged ffmpeg: starts it, feeds it, reads its rungs, restarts it, drops rungs when it is too slow."""

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import structlog

from core import cage
from core.media import flv
from core.media.packet import Kind, MediaError, Packet, Track
from core.media.stream import Item, LiveStream, QueueReader
from transcode.ladder import Rung, choose_rungs
from transcode.ladder_process import end_child, read_rung, start_ladder

log = structlog.get_logger()

LIMITS = cage.Limits(memory_bytes=None, cpu_s=None, goes_first=False, niceness=15)
"""It is on the air as long as its feed is. The source, which is the record, goes before the rungs that are made of it:
where ladders ask for more than the machine has, at media's own priority most of the source is lost."""
MAX_LAG_MS = 4000
LAG_CHECK_S = 1.0
FORGIVEN_S = 120.0
"""A machine, or a process, that stood still for a moment is not too slow: that takes two times within so long."""
FIRST_BACKOFF_S, LAST_BACKOFF_S = 0.25, 8.0
DRAIN_S = 3.0


class TooSlow(Exception):
    """The child falls behind the feed by more than the bound."""


class Transcoder:
    """One feed's ladder. `on_item(rung name, item)` is called on the loop with packets on the feed's own timeline.

    It reads the stream with a bounded queue: whatever happens here, the stream's writer never waits.
    """

    def __init__(
        self, executable: str, stream: LiveStream, tracks: Mapping[Kind, Track],
        on_item: Callable[[str, Item], None], max_lag_ms: int = MAX_LAG_MS,
    ) -> None:  # fmt: skip
        self.restarts = 0
        self.dropped = 0
        self.left_out: set[str] = set()
        self.process_id: int | None = None
        self._executable, self._stream, self._tracks = executable, stream, tracks
        self._on_item, self._max_lag_ms = on_item, max_lag_ms
        self._reader = QueueReader()
        self._ending = False
        self._in_ms = self._out_ms = 0
        self._behind_s: float | None = None
        # The children's first reader stands in the stream before the first packet does.
        stream.add(self._reader)

    async def run(self) -> None:
        """Until `finish` was called and everything is out, or it is cancelled."""
        backoff_s = FIRST_BACKOFF_S
        while rungs := choose_rungs(self._tracks, self.left_out):
            began = asyncio.get_running_loop().time()
            try:
                await self._run_once(rungs)
            except TooSlow:
                self._fall_behind(rungs[0].name, asyncio.get_running_loop().time())
            except (OSError, MediaError) as error:
                log.error("transcoder failed", error=str(error))
            if self._ending:
                break
            self.restarts += 1
            if asyncio.get_running_loop().time() - began > LAST_BACKOFF_S:
                backoff_s = FIRST_BACKOFF_S
            log.warning("transcoder ended; it is started again", after_s=backoff_s, restarts=self.restarts)
            self._take_out()
            await asyncio.sleep(backoff_s)
            backoff_s = min(2 * backoff_s, LAST_BACKOFF_S)
            self._reader = QueueReader()
            self._stream.add(self._reader)
        self._take_out()

    def finish(self) -> None:
        """The feed is over: what is inside comes out, then `run` returns."""
        self._ending = True
        self._reader.close()

    def _fall_behind(self, dearest: str, now_s: float) -> None:
        """Starting anew skips what it lags by; if that doesn't help for long the dearest rung goes."""
        if self._behind_s is not None and now_s - self._behind_s < FORGIVEN_S:
            log.warning("the machine is too slow for a rung", rung=dearest)
            self.left_out.add(dearest)
        self._behind_s = now_s

    def _take_out(self) -> None:
        self._stream.remove(self._reader)
        self.dropped += self._reader.dropped

    async def _run_once(self, rungs: Sequence[Rung]) -> None:
        self._in_ms = self._out_ms = 0
        child, outputs = await start_ladder(
            self._executable, rungs, entrance=cage.entrance(LIMITS), stderr=asyncio.subprocess.PIPE
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
        stdin.write(flv.file_header(*self._tracks))
        waits_for_key = Kind.VIDEO in self._tracks
        with contextlib.suppress(ConnectionError):
            while (item := await self._reader.get()) is not None:
                if isinstance(item, Packet):
                    if waits_for_key and not (item.kind is Kind.VIDEO and item.is_key):
                        continue
                    waits_for_key = False
                    self._in_ms = item.dts_ms
                stdin.writelines(flv.write_tag(item, self._in_ms))
                await stdin.drain()
            stdin.close()

    def _take(self, name: str, items: Iterable[Item]) -> None:
        for item in items:
            if isinstance(item, Packet):
                self._out_ms = max(self._out_ms, item.dts_ms)
            self._on_item(name, item)

    async def _watch_lag(self) -> None:
        """A lag that shrinks is a burst of the feed's that is being worked off."""
        before_ms = 0
        while True:
            await asyncio.sleep(LAG_CHECK_S)
            lag_ms = self._in_ms - self._out_ms if self._out_ms else 0
            if lag_ms >= before_ms > self._max_lag_ms or self._reader.dropped:
                raise TooSlow
            before_ms = lag_ms


async def _log_lines(stderr: asyncio.StreamReader) -> None:
    while line := await stderr.readline():
        log.debug("ffmpeg", line=line.decode(errors="replace").strip())
