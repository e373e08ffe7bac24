"""Packages (BagIt) on their way out: put together as they are fetched, from the recording and what was made beside it,
so nothing of it lies on the disk twice. With ranges, as the edge gives them for files.
"""

import asyncio
import re
from collections.abc import AsyncGenerator
from contextlib import closing
from functools import lru_cache
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from archive.recordings import bag_stream
from archive.recordings.bag_stream import PARTS, PLAN, Plan

AT_ONCE, MOST = 8, 100
"""Pieces that are read, and packages that are fetched, at the same time; others wait: for the sake of the pages and of
memory (two megabytes each). Who takes his slowly keeps no other from reading."""
PLANS = 2
"""Kept as they were read: some twenty megabytes each for a recording of ten hours."""
RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")
_turns, _places = asyncio.Semaphore(AT_ONCE), asyncio.Semaphore(MOST)


def is_made(folder: Path, name: str) -> bool:
    return (folder / f"{name}{PLAN}").is_file() and (folder / f"{name}{PARTS}").is_file()


def answer(request: Request, made: Path, name: str, recording: Path, headers: dict[str, str]) -> Response:
    """The whole, or the stretch that is asked for. `made`: the export's folder. Raises OSError."""
    plan = plan_of(made / f"{name}{PLAN}")
    told = {**headers, "accept-ranges": "bytes", "etag": f'"{plan.sha256}"'}
    wanted = wanted_range(request.headers, plan.size, told["etag"])
    if wanted is None:
        return Response(status_code=416, headers={**told, "content-range": f"bytes */{plan.size}"})
    begin, end = wanted
    told["content-length"] = str(end - begin)
    status = 200
    if end - begin < plan.size or "range" in request.headers:
        status, told["content-range"] = 206, f"bytes {begin}-{end - 1}/{plan.size}"
    if request.method == "HEAD":
        return Response(status_code=status, headers=told)
    return _Package(_body(plan, made / f"{name}{PARTS}", recording, begin, end), status, told)


def plan_of(path: Path) -> Plan:
    """Who fetches in ranges asks often, and a long recording's plan has a line for each file. Raises OSError."""
    status = path.stat()
    return _read_plan(path, status.st_mtime_ns, status.st_size, status.st_ino)


@lru_cache(maxsize=PLANS)
def _read_plan(path: Path, *_version: int) -> Plan:
    return bag_stream.read_plan(path)


def wanted_range(headers: Headers, size: int, etag: str) -> tuple[int, int] | None:
    """From and to before; all of it where no single range of this very file is asked for. None: there is no such."""
    asked = RANGE.fullmatch(headers.get("range", ""))
    if asked is None or asked[0] == "bytes=-" or headers.get("if-range", etag) != etag:
        return 0, size
    first, last = asked.groups()
    if not first:
        return (max(0, size - int(last)), size) if int(last) and size else None
    begin, end = int(first), min(size, int(last) + 1) if last else size
    return (begin, end) if begin < end else None


class _Package(StreamingResponse):
    """Closes its files and gives up its place at once where the other side breaks off."""

    def __init__(self, body: AsyncGenerator[bytes, None], status: int, headers: dict[str, str]) -> None:
        super().__init__(body, status, headers)
        self._body = body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._body.aclose()


async def _body(plan: Plan, parts: Path, recording: Path, begin: int, end: int) -> AsyncGenerator[bytes, None]:
    """Cut short where a file is not what it was: the length that was told says so."""
    async with _places:
        with closing(bag_stream.read(plan, parts, recording, begin, end)) as pieces:
            while True:
                async with _turns:
                    data = await run_in_threadpool(next, pieces, b"")
                if not data:
                    return
                yield data
