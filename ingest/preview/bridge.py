"""A feed's sound to the process that makes Opus of it (opus.py), and back: one while the feed has viewers.

That process is killed with the last viewer, with us, and where it stands still. One that dies is followed by another.
"""

import asyncio
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections import deque
from collections.abc import Callable
from contextlib import suppress

import structlog

from core import cage
from core.media import flv
from core.media.packet import AudioTrack, Kind, Packet
from ingest.preview.forward import Forward
from ingest.preview.sound import Sound, SoundReader

COMMAND = (sys.executable, "-m", "ingest.preview.opus")
MAX_PENDING = 100
"""AAC frames that wait: two seconds."""
STUCK_S, PAUSE_S = 5.0, 2.0
MOST_BYTES, BYTES_PER_S = 256 << 10, 64 << 10
"""What such a process may say at once, and all the time: four times what sound is. More would
keep the loop from the air."""

SoundItem = Packet | AudioTrack

log = structlog.get_logger(__name__)


class SoundBridge:
    """Used on the loop. `on_sound` is called with what comes back, on a timeline that only goes forward."""

    def __init__(self, on_sound: Callable[[Sound], None], stuck_s: float = STUCK_S, pause_s: float = PAUSE_S) -> None:
        self.dropped = 0
        self.process_id: int | None = None
        self._on_sound, self._stuck_s, self._pause_s = on_sound, stuck_s, pause_s
        self._pending: deque[SoundItem] = deque()
        self._has_come = asyncio.Event()
        self._track: AudioTrack | None = None
        self._forward = Forward()
        self._working: asyncio.Task[None] | None = None
        self._is_closed = False

    def take(self, item: SoundItem) -> None:
        if isinstance(item, AudioTrack):
            self._track = item
        if len(self._pending) >= MAX_PENDING:
            self.dropped += len(self._pending)
            self._pending = deque(one for one in self._pending if isinstance(one, AudioTrack))
        self._pending.append(item)
        self._has_come.set()
        if self._working is None:
            self._working = asyncio.get_running_loop().create_task(self._work())

    async def close(self) -> None:
        self._is_closed = True
        if self._working is not None:
            self._working.cancel()
            await asyncio.gather(self._working, return_exceptions=True)

    async def _work(self) -> None:
        while not self._is_closed:  # a group whose child fails just now swallows its cancellation (Python 3.11)
            try:
                await self._run_once()
            except Exception as error:  # the top of this task: the picture goes on
                first = error.exceptions[0] if isinstance(error, ExceptionGroup) else error
                log.warning("preview without sound for a moment", reason=str(first) or type(first).__name__)
            await asyncio.sleep(self._pause_s)
            self._pending.clear()
            if self._track is not None:
                self._pending.append(self._track)

    async def _run_once(self) -> None:
        """Until the child ends, or stands still. Always ends by an exception."""
        child = await asyncio.create_subprocess_exec(
            *COMMAND, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, env=cage.environment()
        )
        self.process_id = child.pid
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._feed(child))
                both.create_task(self._read(child))
        finally:
            self.process_id = None
            with suppress(ProcessLookupError):
                child.kill()
            await child.communicate()  # a pipe's worth at most; what is left in it would keep the pipe open

    async def _feed(self, child: Process) -> None:
        assert child.stdin is not None
        child.stdin.write(flv.file_header(Kind.AUDIO))
        while True:
            await self._has_come.wait()
            self._has_come.clear()
            while self._pending:
                item = self._pending.popleft()
                at_ms = self._forward.of(item.dts_ms) if isinstance(item, Packet) else self._forward.at_ms
                child.stdin.writelines(flv.write_tag(item, at_ms))
                async with asyncio.timeout(self._stuck_s):  # wait_for may swallow a cancellation (Python 3.11)
                    await child.stdin.drain()

    async def _read(self, child: Process) -> None:
        assert child.stdout is not None
        reader, left, at_s = SoundReader(), float(MOST_BYTES), time.monotonic()
        while data := await child.stdout.read(1 << 16):
            before_s, at_s = at_s, time.monotonic()
            left = min(MOST_BYTES, left + (at_s - before_s) * BYTES_PER_S) - len(data)
            if left < 0:
                raise ChildProcessError("its process says more than sound would")
            self._on_sound(reader.feed(data))
        raise ChildProcessError("its process ended")
