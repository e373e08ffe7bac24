"""What tests of the server share: a sink, a clock that they move, an encoder on a real socket, a server on uvloop."""

import asyncio
import functools
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import uvloop

from ingest.rtmp.client import ClientConnection, PublishStarted, Refused
from ingest.rtmp.door import FeedEnd, FeedSink, HandOff, PublishRequest, Refusal
from ingest.rtmp.errors import FeedError
from ingest.rtmp.message import MessageType
from ingest.rtmp.server import RtmpServer
from tests.unit.rtmp.pair import KEY, TC_URL

VIDEO = MessageType.VIDEO


@dataclass
class Sink:
    """What arrived; `fails_at` is the message at which it raises `error`."""

    messages: list[tuple[int, int, bytes]] = field(default_factory=list)
    ends: list[FeedEnd] = field(default_factory=list)
    fails_at: int = -1
    error: Exception = field(default_factory=lambda: FeedError("the codec is not one we take"))

    def on_message(self, type_id: int, timestamp_ms: int, body: bytearray) -> None:
        self.messages.append((type_id, timestamp_ms, bytes(body)))
        if len(self.messages) == self.fails_at:
            raise self.error

    def on_end(self, end: FeedEnd) -> None:
        self.ends.append(end)


class Clock:
    """Moved by the test: the server's own sweep runs once a second and finds what the test set."""

    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class Encoder:
    """Our client on a real socket."""

    def __init__(self, address: tuple[str, int], key: str = KEY, receive_buffer: int = 0) -> None:
        self.client = ClientConnection("live", TC_URL, key)
        self.events: list[PublishStarted | Refused] = []
        self._address = address
        self._receive_buffer = receive_buffer

    async def connect(self) -> "Encoder":
        sock = socket.socket()
        if self._receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._receive_buffer)
        sock.connect(self._address)
        self.reader, self.writer = await asyncio.open_connection(sock=sock)
        await self.flush()
        return self

    async def flush(self) -> None:
        self.writer.write(self.client.data_to_send())
        await self.writer.drain()

    async def read_once(self) -> bool:
        """False at the end of the stream."""
        data = await asyncio.wait_for(self.reader.read(65536), 60)
        self.events += self.client.receive_data(data) if data else []
        await self.flush()
        return bool(data)

    async def answer(self) -> PublishStarted | Refused:
        while not self.events:
            assert await self.read_once(), "closed without a word"
        return self.events.pop(0)

    async def publish(self) -> "Encoder":
        await self.connect()
        assert await self.answer() == PublishStarted()
        return self

    async def send(self, timestamp_ms: int, body: bytes) -> None:
        self.client.send_media(VIDEO, timestamp_ms, body)
        await self.flush()

    async def read_to_end(self) -> None:
        """To FIN; a reset fails the test, because it would take the last words with it."""
        while await self.read_once():
            pass


def on_uvloop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    @functools.wraps(test)
    def run(*arguments: Any, **named: Any) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(asyncio.wait_for(test(*arguments, **named), 120))

    return run


def admits(answer: Any) -> Callable[[PublishRequest], Awaitable[FeedSink | Refusal | HandOff]]:
    async def admit(request: PublishRequest) -> Any:
        return answer

    return admit


def listening() -> socket.socket:
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.setblocking(False)
    return sock


@asynccontextmanager
async def serving(server: RtmpServer, send_buffer: int = 0) -> AsyncIterator[tuple[str, int]]:
    sock = listening()
    if send_buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
    address = sock.getsockname()
    task = asyncio.create_task(server.serve(sock))
    await asyncio.sleep(0)
    try:
        yield address
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not holds():  # noqa: ASYNC110 - what it asks about knows nothing of tests
            await asyncio.sleep(0.005)
