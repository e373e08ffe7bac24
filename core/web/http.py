"""HTTP/1.1 on a unix socket, for requests that wait long: httptools reads, and each answer is one write.

Its only clients are the edge and the web process: a body is small, and the next request on a connection comes after
the answer to the last. A handler returns the whole response as bytes: what hundreds wait for is made once and sent
hundreds of times.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Coroutine, Iterable
from http import HTTPStatus
from typing import NamedTuple, cast
from urllib.parse import unquote

import httptools
import structlog

MAX_BODY_BYTES = 64 << 10
"""A browser's SDP offer takes some 8 kB."""

log = structlog.get_logger(__name__)


class Request(NamedTuple):
    """`path` is decoded, `query` is as it came."""

    path: str
    query: str = ""
    accepts_gzip: bool = False
    method: str = "GET"
    body: bytes = b""


Handler = Callable[[Request], Coroutine[None, None, bytes]]


def response(status: int, headers: Iterable[tuple[str, str]], body: bytes = b"") -> bytes:
    """A whole response with its content-length. The edge adds Date and Server."""
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"]
    lines += [f"{name}: {value}\r\n" for name, value in headers]
    return f"{''.join(lines)}content-length: {len(body)}\r\n\r\n".encode("latin-1") + body


async def serve_http(handle: Handler, sock: socket.socket) -> None:
    """Serves a bound unix socket until cancelled; then connections are closed, and with them what waits."""
    connections: set[_Connection] = set()
    server = await asyncio.get_running_loop().create_unix_server(
        lambda: _Connection(handle, connections), sock=sock, backlog=4096
    )
    try:
        await asyncio.get_running_loop().create_future()
    finally:
        server.close()
        for connection in list(connections):
            connection.close()


class _Connection(asyncio.Protocol):
    """One connection of a client. The methods named `on_` are httptools' callbacks."""

    def __init__(self, handle: Handler, connections: "set[_Connection]") -> None:
        self._handle, self._connections = handle, connections
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport  # from connection_made on
        self._answering: asyncio.Task[None] | None = None
        self._url = self._body = b""
        self._accepts_gzip = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._connections.add(self)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.close()

    def connection_lost(self, error: Exception | None) -> None:
        self._connections.discard(self)
        if self._answering is not None:
            self._answering.cancel()

    def close(self) -> None:
        self._transport.close()

    def on_message_begin(self) -> None:
        self._url, self._body, self._accepts_gzip = b"", b"", False

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"accept-encoding":
            self._accepts_gzip = b"gzip" in value

    def on_body(self, body: bytes) -> None:
        if len(self._body) + len(body) <= MAX_BODY_BYTES:
            self._body += body
        elif not self._transport.is_closing():
            self._transport.write(response(413, [("connection", "close")]))
            self.close()

    def on_message_complete(self) -> None:
        if self._answering is not None or self._transport.is_closing():
            self.close()
            return
        path, _, query = self._url.decode("latin-1").partition("?")
        method = self._parser.get_method().decode()
        request = Request(unquote(path), query, self._accepts_gzip, method, self._body)
        is_head, stays = method == "HEAD", self._parser.should_keep_alive()
        self._answering = asyncio.get_running_loop().create_task(self._answer(request, is_head, stays))

    async def _answer(self, request: Request, is_head: bool, stays: bool) -> None:
        try:
            data = await self._handle(request)
        except Exception:  # the top of this task: one request's trouble must stay its own
            log.exception("request failed", path=request.path)
            data = response(500, ())
        self._answering = None
        if is_head:
            data = data[: data.index(b"\r\n\r\n") + 4]
        with contextlib.suppress(RuntimeError):  # uvloop's, where the connection broke in this very turn
            self._transport.write(data)
        if not stays:
            self.close()
