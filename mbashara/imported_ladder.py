"""The ladder of a file: an ffmpeg in a cage that is fed as fast as it takes it."""

import asyncio
from asyncio.subprocess import Process
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial

from core import cage
from core.media import flv
from core.media.packet import Kind, Packet, Track
from core.media.stream import Item
from transcode.ladder import choose_rungs
from transcode.ladder_process import end_child, read_rung, start_ladder

OFFSET_MS = 1000
"""Added to times on their way through the ladder: an encoder's sound begins a little before its first sample."""


class ImportedLadder:
    """`take` is called with each rung's name and items, on the file's own times. Without `start`, nothing happens."""

    def __init__(self, executable: str, limits: cage.Limits, take: Callable[[str, Item], None]) -> None:
        self._executable, self._limits, self._take = executable, limits, take
        self._child: Process | None = None
        self._rungs: list[asyncio.Task[None]] = []

    async def start(self, tracks: Mapping[Kind, Track]) -> None:
        rungs = choose_rungs(tracks)
        if not rungs:
            return
        self._child, outputs = await start_ladder(
            self._executable, rungs, low_delay=False, preexec_fn=cage.enter(self._limits, self._executable)
        )
        self._rungs = [asyncio.create_task(read_rung(pipe, partial(self._take_all, name))) for name, pipe in outputs]
        assert self._child.stdin is not None
        self._child.stdin.write(flv.file_header(*tracks))
        for track in tracks.values():
            await self.feed(track, 0)

    async def feed(self, item: Item, time_ms: int) -> None:
        """A ladder that has gone is found out by its exit code."""
        if self._child is None or self._child.stdin is None:
            return
        with suppress(ConnectionError):
            self._child.stdin.writelines(flv.write_tag(item, time_ms + OFFSET_MS))
            await self._child.stdin.drain()

    async def drain(self) -> bool:
        """What is inside comes out. False: it failed. Raises MediaError."""
        if self._child is None or self._child.stdin is None:
            return True
        self._child.stdin.close()
        await asyncio.gather(*self._rungs)
        return await self._child.wait() == 0

    async def stop(self) -> None:
        for rung in self._rungs:
            rung.cancel()
        await asyncio.gather(*self._rungs, return_exceptions=True)
        if self._child is not None:
            await end_child(self._child)

    def _take_all(self, name: str, items: Iterable[Item]) -> None:
        for item in items:
            self._take(name, item._replace(dts_ms=item.dts_ms - OFFSET_MS) if isinstance(item, Packet) else item)
