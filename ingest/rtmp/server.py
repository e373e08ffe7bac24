"""The RTMP server on asyncio: sockets on one side, `Connection` in the middle, feed sinks on the other.

Nothing here knows RTMP's bytes. A peer reads into one buffer that all of them share (whatever is in it is
consumed before the call returns), asks `admit` about each publisher, and sees to it that nobody costs more
than `Limits` allows: once a second `sweep` looks at every peer, so the way of a frame has no timers in it.

Until it publishes, a peer is read when the event loop says so. Publishers are gathered: every `GATHER_S` what has
arrived from all of them is read in one go. To wake for each frame of each feed costs more than to handle the frame.

Ending a connection takes three steps, or the encoder's operator never reads the reason: send it, send FIN,
then read and discard until the encoder hangs up. Closing with unread bytes would make the kernel send RST
instead.
"""

import asyncio
import contextlib
import itertools
import os
import socket
import ssl
import time
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

import structlog

from ingest.rtmp.connection import Connection, State
from ingest.rtmp.door import Admit, FeedEnd, FeedSink, HandOff, PublishRequest, Refusal
from ingest.rtmp.errors import FeedError, HandoffError, RemoteProtocolError
from ingest.rtmp.events import Event, PublishEnded, PublishRequested
from ingest.rtmp.handoff import receive_publisher, send_publisher
from ingest.rtmp.message import Message

GATHER_S: Final = 0.02
_READS_AT_ONCE: Final = 4  # of one publisher, before the next one's turn
_SWEEP_INTERVAL_S: Final = 1.0
_TRY_AGAIN: Final = Refusal("NetStream.Publish.Denied", "The server cannot take the feed now; try again.")
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    max_connections: int = 1024
    max_connections_per_address: int = 128  # a press room behind one address has many encoders
    setup_timeout_s: float = 10.0  # from accept to publish, without the time `admit` takes
    admit_timeout_s: float = 10.0
    silence_timeout_s: float = 15.0  # a publisher without one complete message
    linger_s: float = 2.0  # for the peer to read why it was ended
    max_unsent_bytes: int = 65536  # answers that the peer does not read
    read_buffer_bytes: int = 65536
    max_message_bytes: int = 8 << 20
    max_buffered_bytes: int = 16 << 20  # of one connection's unfinished messages
    max_chunk_streams: int = 64


class RtmpServer:
    """One event loop's RTMP server. `handoff_path` says where another worker listens for publishers."""

    def __init__(
        self,
        admit: Admit,
        limits: Limits | None = None,
        clock: Callable[[], float] = time.monotonic,
        *,
        handoff_path: Callable[[int], Path] | None = None,
    ) -> None:
        self.admit = admit
        self.limits = limits or Limits()
        self.clock = clock
        self.handoff_path = handoff_path
        self.buffer = memoryview(bytearray(self.limits.read_buffer_bytes))
        self.peers: dict[Peer, None] = {}  # in order of arrival
        self._gathered: dict[Peer, None] = {}
        self._next_gather_s: float | None = None  # of the loop's clock; None while there is no publisher
        self._numbers = itertools.count(1)
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, sock: socket.socket, ssl_context: ssl.SSLContext | None = None) -> None:
        """Serves a bound socket until cancelled (twice, for RTMP and RTMPS); then every feed is ended."""
        listener = await asyncio.get_running_loop().create_server(
            lambda: Peer(self, self.new_connection()),
            sock=sock,
            backlog=1024,
            ssl=ssl_context,
            ssl_handshake_timeout=self.limits.setup_timeout_s if ssl_context else None,
        )
        try:
            while True:
                await asyncio.sleep(_SWEEP_INTERVAL_S)
                self.sweep()
        finally:
            listener.close()
            self._stop()

    async def serve_handoffs(self, sock: socket.socket) -> None:
        """Takes publishers that other workers pass on, from a listening unix socket, until cancelled."""
        sock.setblocking(False)
        while True:
            door, _ = await asyncio.get_running_loop().sock_accept(sock)
            self.start(self._take_over(door))

    def sweep(self) -> None:
        """Ends what has overstepped a time limit."""
        now_s = self.clock()
        for peer in list(self.peers):
            peer.check(now_s)

    def new_connection(self) -> Connection:
        return Connection(
            max_message_bytes=self.limits.max_message_bytes,
            max_buffered_bytes=self.limits.max_buffered_bytes,
            max_chunk_streams=self.limits.max_chunk_streams,
        )

    def enter(self, newcomer: "Peer") -> bool:
        """Counts a peer in, if need be in the place of the oldest that is not publishing."""
        neighbours = [peer for peer in self.peers if peer.host == newcomer.host]
        fits = len(neighbours) < self.limits.max_connections_per_address or _evict_oldest(neighbours)
        fits = fits and (len(self.peers) < self.limits.max_connections or _evict_oldest(self.peers))
        if fits:
            newcomer.number = next(self._numbers)
            self.peers[newcomer] = None
        return fits

    def leave(self, peer: "Peer") -> None:
        self.peers.pop(peer, None)

    def gather(self, peer: "Peer") -> None:
        """From now on the peer is read with the other publishers."""
        self._gathered[peer] = None
        if self._next_gather_s is None:
            self._gather_at(asyncio.get_running_loop().time() + GATHER_S)

    def gather_no_more(self, peer: "Peer") -> None:
        self._gathered.pop(peer, None)

    def _gather_at(self, due_s: float) -> None:
        self._next_gather_s = due_s
        asyncio.get_running_loop().call_at(due_s, self._gather)

    def _gather(self) -> None:
        for peer in list(self._gathered):
            if peer in self._gathered:  # another one's packet may have ended it
                peer.read()
        due_s, self._next_gather_s = self._next_gather_s, None
        if self._gathered and due_s is not None:
            self._gather_at(max(due_s + GATHER_S, asyncio.get_running_loop().time()))

    def start(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def adopt(self, publisher: socket.socket, connection: Connection, request: PublishRequest) -> None:
        """Goes on with a publisher that another worker began to serve; asks `admit` again."""
        await asyncio.get_running_loop().connect_accepted_socket(
            lambda: Peer(self, connection, request), sock=publisher
        )

    async def _take_over(self, door: socket.socket) -> None:
        with door:
            try:
                publisher, connection, request = await asyncio.to_thread(receive_publisher, door)
            except HandoffError as error:
                log.warning("handoff failed", reason=str(error))
                return
        await self.adopt(publisher, connection, request)

    def _stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        for peer in list(self.peers):
            peer.abort("the server is stopping")


def _evict_oldest(peers: Iterable["Peer"]) -> bool:
    for peer in peers:
        if peer.evictable:
            peer.abort("evicted: too many connections")
            return True
    return False


class Peer(asyncio.BufferedProtocol):
    """One peer, from accept to the last byte."""

    def __init__(self, server: RtmpServer, connection: Connection, adopted: PublishRequest | None = None) -> None:
        self.host = ""
        self.number = 0
        self._server = server
        self._connection = connection
        self._adopted = adopted
        self._transport: asyncio.Transport  # from connection_made on
        self._descriptor = -1  # of a publisher that is gathered
        self._sink: FeedSink | None = None
        self._admitting = False
        self._over = False  # nothing but draining is left to do
        self._deadline_s = 0.0  # of the setup, then of the silence, then of the lingering
        self._messages = 0
        self._messages_seen = 0
        self._name = ""
        self._log = log

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=self._server.limits.max_unsent_bytes)
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._note_address(transport.get_extra_info("peername"))
        if not self._server.enter(self):
            self._over = True
            log.warning("rtmp connection refused: too many publishers", peer=self._name)
            self._transport.abort()
            return
        self._log = log.bind(rtmp=self.number, peer=self._name)
        self._deadline_s = self._server.clock() + self._server.limits.setup_timeout_s
        if self._adopted is not None:
            self._ask(self._adopted)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._server.buffer

    def buffer_updated(self, nbytes: int) -> None:
        if not self._over:
            self._receive(self._server.buffer[:nbytes])

    def eof_received(self) -> None:
        self._end("the peer closed the connection")

    def connection_lost(self, error: Exception | None) -> None:
        self._over = True
        self._end_feed(FeedEnd(False, f"the connection broke: {error}" if error else "the peer closed the connection"))
        self._server.leave(self)

    def pause_writing(self) -> None:
        self.abort("the peer does not read our answers")

    # What the server calls.

    def read(self) -> None:
        """Takes what has arrived. Called while this peer is gathered, when the loop doesn't read it."""
        buffer = self._server.buffer
        for _ in range(_READS_AT_ONCE):
            try:
                count = os.readv(self._descriptor, (buffer,))
            except BlockingIOError:
                return None
            except OSError as error:
                return self.abort(f"the connection broke: {error}")
            if not count:
                return self._end("the peer closed the connection")
            self._receive_safely(buffer[:count])
            if count < len(buffer) or self._over:
                return None

    def _receive_safely(self, data: memoryview | bytes) -> None:
        """One publisher's trouble stays its own."""
        try:
            self._receive(data)
        except Exception:
            self._log.exception("feed failed")
            self.abort("an error of ours", is_refused=True)

    @property
    def evictable(self) -> bool:
        return self._sink is None and not self._admitting

    def check(self, now_s: float) -> None:
        if self._over:
            if now_s >= self._deadline_s:
                self.abort("lingered")
        elif self._messages != self._messages_seen:
            self._messages_seen = self._messages
            self._deadline_s = now_s + self._server.limits.silence_timeout_s
        elif now_s >= self._deadline_s and not self._admitting:
            self._fail("nothing arrived for too long" if self._sink else "did not publish in time")

    def abort(self, reason: str, *, is_refused: bool = False) -> None:
        """Ends it at once, without a last word."""
        if not self._over:
            self._log.info("rtmp connection aborted", reason=reason)
        self._over = True
        self._end_feed(FeedEnd(False, reason, is_refused))
        self._server.leave(self)
        self._transport.abort()

    # The rest is ours.

    def _note_address(self, address: object) -> None:
        if isinstance(address, tuple):
            self.host, self._name = str(address[0]), f"{address[0]}:{address[1]}"

    def _receive(self, data: memoryview | bytes) -> None:
        try:
            events = self._connection.receive_data(data)
        except RemoteProtocolError as error:
            self._take_events(cast(list[Event], error.before), str(error))
        else:
            self._take_events(events)

    def _take_events(self, events: list[Event], fault: str = "") -> None:
        sink = self._sink
        try:
            for event in events:
                if type(event) is Message:
                    if sink is not None:
                        self._messages += 1
                        sink.on_message(event[0], event[1], event[2])
                elif isinstance(event, PublishRequested):
                    self._request(event)
                elif isinstance(event, PublishEnded):
                    self._end(event.command, clean=True)
        except FeedError as error:
            self._fail(str(error), is_refused=True)
        else:
            self._flush()
            if self._connection.state is State.ENDED:
                self._end(fault or "asked for something other than publishing with a key")

    def _flush(self) -> None:
        data = self._connection.data_to_send()
        if data and not self._transport.is_closing():
            self._transport.write(data)

    def _request(self, event: PublishRequested) -> None:
        self._ask(PublishRequest(event.key, event.app, event.tc_url, self._name, event.flash_ver))

    def _ask(self, request: PublishRequest) -> None:
        # On uvloop reading starts after connection_made whatever that said, so an adopted connection may
        # still be handed bytes; it keeps them.
        self._admitting = True
        self._transport.pause_reading()
        self._server.start(self._admit(request))

    async def _admit(self, request: PublishRequest) -> None:
        answer = await self._answer(request)
        if isinstance(answer, HandOff) and not self._over:
            if self._adopted is None and await self._hand_off(answer, request):  # passed on once, not round and round
                return
            answer = _TRY_AGAIN
        self._admitting = False
        if self._over:
            if not isinstance(answer, (Refusal, HandOff)):
                answer.on_end(FeedEnd(False, "left while being admitted"))
        elif isinstance(answer, Refusal):
            self._connection.reject_publish(answer.code, answer.description)
            self._end(f"refused: {answer.description}")
        elif not isinstance(answer, HandOff):
            self._accept(answer)

    async def _answer(self, request: PublishRequest) -> FeedSink | Refusal | HandOff:
        try:
            async with asyncio.timeout(self._server.limits.admit_timeout_s):
                return await self._server.admit(request)
        except TimeoutError:
            self._log.warning("admission took too long")
        except Exception:  # the top of this task: one publisher's trouble must stay its own
            self._log.exception("admission failed")
        return _TRY_AGAIN

    def _accept(self, sink: FeedSink) -> None:
        self._sink = sink
        self._deadline_s = self._server.clock() + self._server.limits.silence_timeout_s
        self._connection.accept_publish()
        self._log.info("publisher accepted", encoder=self._connection.flash_ver)
        self._flush()
        self._receive_safely(b"")
        if self._over:
            return
        sock = self._transport.get_extra_info("socket")
        if sock is None or self._transport.get_extra_info("ssl_object") is not None:
            self._transport.resume_reading()
            return
        self._transport.pause_reading()
        self._descriptor = sock.fileno()
        self._server.gather(self)

    async def _hand_off(self, answer: HandOff, request: PublishRequest) -> bool:
        sock = self._transport.get_extra_info("socket")
        if self._server.handoff_path is None or self._transport.get_extra_info("ssl_object") is not None:
            self._log.error("handoff is impossible: TLS state cannot be passed on, or nobody said where to")
            return False
        descriptor = os.dup(sock.fileno())
        try:
            await asyncio.sleep(0)  # uvloop writes at the end of its turn
            if self._transport.get_write_buffer_size():
                raise HandoffError("the peer does not read our answers")
            path = self._server.handoff_path(answer.worker)
            await asyncio.to_thread(send_publisher, path, descriptor, self._connection, request)
        except HandoffError as error:
            self._log.warning("handoff failed", worker=answer.worker, reason=str(error))
            return False
        finally:
            os.close(descriptor)
        self._log.info("publisher passed on", worker=answer.worker)
        self._over = True
        self._transport.abort()  # sends nothing: the other worker's descriptor keeps the TCP connection open
        return True

    def _fail(self, reason: str, *, is_refused: bool = False) -> None:
        if self._connection.state is not State.ENDED:
            self._connection.fail_publish(reason)
        self._end(reason, is_refused=is_refused)

    def _end(self, reason: str, *, clean: bool = False, is_refused: bool = False) -> None:
        """The three steps of the module's docstring."""
        if self._over:
            return
        self._log.info("rtmp connection ended", reason=reason)
        self._over = True
        self._end_feed(FeedEnd(clean, reason, is_refused))
        self._flush()
        self._deadline_s = self._server.clock() + self._server.limits.linger_s
        if not self._transport.can_write_eof():  # TLS
            self._transport.close()
            return
        with contextlib.suppress(RuntimeError):  # uvloop's, where the transport broke in this very turn
            self._transport.write_eof()
        with contextlib.suppress(RuntimeError):  # asyncio's, when it was not paused
            self._transport.resume_reading()

    def _end_feed(self, end: FeedEnd) -> None:
        self._server.gather_no_more(self)
        sink, self._sink = self._sink, None
        if sink is not None:
            try:
                sink.on_end(end)
            except Exception:  # the peer ends all the same, and so does whoever called
                self._log.exception("the end of a feed failed")
