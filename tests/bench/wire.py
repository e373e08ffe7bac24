"""A cheap HTTP/1.1 client for load: one kept connection per viewer, bodies counted and thrown away unless wanted."""

import asyncio
import gzip
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlsplit

import uvloop

_BUFFER = bytearray(1 << 18)  # shared: what is received is used before the loop receives again


@dataclass(slots=True, frozen=True)
class Answer:
    status: int
    body: bytes  # empty unless kept
    body_bytes: int
    arrived_s: float  # wall clock of its last byte; what the client then does with it takes time of its own

    @property
    def text(self) -> str:
        return (gzip.decompress(self.body) if self.body[:2] == b"\x1f\x8b" else self.body).decode()


class _Wire(asyncio.BufferedProtocol):
    """Reads one answer at a time."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[Answer] | None = None
        self._head = bytearray()
        self._body = bytearray()
        self._keeps = self._is_chunked = False
        self._status = self._left = self._size = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is none of asyncio's classes

    def ask(self, request: bytes, keep: bool) -> asyncio.Future[Answer]:
        assert self.transport is not None
        self._waiter = asyncio.get_running_loop().create_future()
        self._keeps, self._status = keep, 0
        self._head.clear()
        self._body.clear()
        self.transport.write(request)
        return self._waiter

    def get_buffer(self, sizehint: int) -> bytearray:
        return _BUFFER

    def buffer_updated(self, nbytes: int) -> None:
        if self._status:
            return self._take_body(memoryview(_BUFFER)[:nbytes])
        self._head += memoryview(_BUFFER)[:nbytes]
        end = self._head.find(b"\r\n\r\n")
        if end < 0:
            return None
        head = bytes(self._head[:end]).lower()
        self._status = int(head[9:12])
        self._is_chunked = b"transfer-encoding: chunked" in head
        at = head.find(b"content-length: ")
        self._left = self._size = int(head[at + 16 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        return self._take_body(memoryview(bytes(self._head[end + 4 :])))

    def _take_body(self, data: memoryview) -> None:
        if self._is_chunked:
            self._body += data
            if self._body.endswith(b"0\r\n\r\n"):
                body = _unchunk(bytes(self._body))
                self._finish(body if self._keeps else b"", len(body))
            return
        self._left -= len(data)
        if self._keeps:
            self._body += data
        if self._left <= 0:
            self._finish(bytes(self._body), self._size)

    def _finish(self, body: bytes, size: int) -> None:
        if self._waiter and not self._waiter.done():
            self._waiter.set_result(Answer(self._status, body, size, time.time()))

    def connection_lost(self, error: Exception | None) -> None:
        self.transport = None
        if self._waiter and not self._waiter.done():
            self._waiter.set_exception(error or ConnectionResetError("closed before the answer was whole"))


def _unchunk(data: bytes) -> bytes:
    body, at = b"", 0
    while size := int(data[at : (line_end := data.index(b"\r\n", at))].split(b";")[0], 16):
        body += data[line_end + 2 : line_end + 2 + size]
        at = line_end + 2 + size + 2
    return body


class Client:
    """One viewer's connection; it is opened again when the server has closed it."""

    def __init__(self, base_url: str) -> None:
        parts = urlsplit(base_url)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._wire: _Wire | None = None

    async def get(self, path: str, keep: bool = False) -> Answer:
        if self._wire is None or self._wire.transport is None:
            loop = asyncio.get_running_loop()
            _, self._wire = await loop.create_connection(_Wire, self._host, self._port)
        host = f"{self._host}:{self._port}"
        request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept-Encoding: gzip\r\n\r\n"
        return await self._wire.ask(request.encode(), keep)

    def close(self) -> None:
        if self._wire and self._wire.transport:
            self._wire.transport.close()


def run(main: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else float("nan")
