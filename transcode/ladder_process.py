"""The ffmpeg of a ladder: started with a pipe for each rung, each read until ffmpeg closes it."""

import asyncio
import os
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

from core import cage
from core.media import flv
from core.media.stream import Item
from transcode.ladder import Rung, ffmpeg_command


async def start_ladder(
    executable: str, rungs: Sequence[Rung], *, low_delay: bool = True, entrance: Sequence[str] = (), **options: Any
) -> tuple[Process, list[tuple[str, int]]]:
    """The child, and each rung's name and descriptor, for `read_rung`. `entrance` is what leads into
    its cage (`cage.entrance`), `options` are the process's own."""
    pipes = [os.pipe() for _ in rungs]
    writers = [write for _, write in pipes]
    try:
        child = await asyncio.create_subprocess_exec(
            *entrance, *ffmpeg_command(executable, rungs, writers, low_delay=low_delay), stdin=PIPE,
            stdout=asyncio.subprocess.DEVNULL, pass_fds=writers, env=cage.environment(), **options,
        )  # fmt: skip
    except BaseException:
        for read, _ in pipes:
            os.close(read)
        raise
    finally:
        for write in writers:
            os.close(write)
    return child, [(rung.name, read) for rung, (read, _) in zip(rungs, pipes, strict=True)]


async def read_rung(descriptor: int, take: Callable[[Iterable[Item]], None]) -> None:
    """Calls `take` with what came at once, and closes the descriptor in the end. Raises MediaError."""
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(descriptor, "rb", buffering=0)
    )
    tags = flv.TagReader()
    try:
        while data := await reader.read(1 << 16):
            take(tags.feed(data))
    finally:
        transport.close()


async def end_child(child: Process) -> None:
    if child.returncode is None:
        with suppress(ProcessLookupError):
            child.kill()
    await child.wait()
