"""Our client and our server in memory, and raw chunks for what the client would never send."""

import random
from collections.abc import Iterator
from typing import Any

from ingest.rtmp.client import ClientConnection, PublishStarted, Refused
from ingest.rtmp.connection import Connection, State
from ingest.rtmp.errors import RemoteProtocolError
from ingest.rtmp.events import Event, PublishRequested
from ingest.rtmp.message import Message, command, set_chunk_size

KEY = "ikulu-2f8a"
TC_URL = "rtmp://localhost/live"
C0_C1_C2 = b"\x03" + bytes(1536) + bytes(1536)


class Pair:
    """A client and a server that are joined by nothing but bytes."""

    def __init__(self, client: ClientConnection | None = None, server: Connection | None = None) -> None:
        self.client = client or ClientConnection("live", TC_URL, KEY)
        self.server = server or Connection()
        self.client_events: list[PublishStarted | Refused] = []

    def pump(self) -> list[Event]:
        """Carries bytes both ways until neither has any; returns the server's events."""
        events: list[Event] = []
        while True:
            to_server, to_client = self.client.data_to_send(), self.server.data_to_send()
            if not to_server and not to_client:
                return events
            events += self.server.receive_data(to_server)
            self.client_events += self.client.receive_data(to_client)

    def publish(self) -> "Pair":
        """Up to and including Publish.Start."""
        assert any(isinstance(event, PublishRequested) for event in self.pump())
        self.server.accept_publish()
        self.pump()
        assert self.client_events == [PublishStarted()]
        return self


def accepted_connection(**limits: Any) -> Connection:
    """A server connection that publishes; what it receives next is a new client's chunks at 128 bytes."""
    connection = Connection(**limits)
    opening = command_chunk(command("connect", 1, {"app": "live", "tcUrl": TC_URL}))
    opening += command_chunk(command("publish", 5, None, KEY, "live", stream_id=1))
    connection.receive_data(C0_C1_C2 + opening)
    connection.accept_publish()
    connection.receive_data(b"")
    connection.data_to_send()
    return connection


def command_chunk(message: Message) -> bytes:
    """A message as one chunk after a Set Chunk Size that makes it fit, and back to 128."""
    size = len(message.body)
    head = chunk(0, 2, 0, bytes(set_chunk_size(0xFFFFFF).body), type_id=1)
    return head + chunk(0, 3, 0, bytes(message.body), size, message.type_id, message.stream_id) + SIZE_128


def chunk(
    fmt: int,
    csid: int,
    stamp_ms: int,
    payload: bytes,
    length: int | None = None,
    type_id: int = 9,
    stream_id: int = 0,
    extended: bytes | None = None,
) -> bytes:
    """One chunk as bytes. `extended` overrides the extended timestamp: b"" leaves it out of a type 3."""
    if csid < 64:
        basic = bytes([fmt << 6 | csid])
    elif csid < 320:
        basic = bytes([fmt << 6, csid - 64])
    else:
        basic = bytes([fmt << 6 | 1]) + (csid - 64).to_bytes(2, "little")
    length = len(payload) if length is None else length
    fields = min(stamp_ms, 0xFFFFFF).to_bytes(3, "big") + length.to_bytes(3, "big") + bytes([type_id])
    fields = (fields + stream_id.to_bytes(4, "little"))[: (11, 7, 3, 0)[fmt]]
    if extended is None:
        extended = stamp_ms.to_bytes(4, "big") if stamp_ms >= 0xFFFFFF else b""
    return basic + fields + extended + payload


SIZE_128 = chunk(0, 2, 0, bytes([0, 0, 0, 128]), type_id=1)


def cuts(data: bytes, seed: int) -> Iterator[memoryview]:
    """The same bytes in random pieces, most of them small."""
    rng = random.Random(seed)
    view, at = memoryview(data), 0
    while at < len(data):
        size = rng.choice((1, 2, 3, 5, 17, 129, 1000))
        yield view[at : at + size]
        at += size


def receive_in_pieces(connection: Connection, pieces: Iterator[memoryview]) -> tuple[list[Event], str]:
    """All the events, accepting every publish; and the protocol error that ended it, or an empty string."""
    events: list[Event] = []
    try:
        for piece in pieces:
            events += connection.receive_data(piece)
            if connection.state is State.ADMITTING:
                connection.accept_publish()
                events += connection.receive_data(b"")
    except RemoteProtocolError as error:
        return events + error.before, str(error)  # type: ignore[operator]
    return events, ""
