"""An encoder of our own on a blocking socket, for what no real encoder would send; and FLV tags for it to send."""

import json
import select
import socket
import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from urllib.parse import urlsplit

from core.media import flv
from ingest.rtmp.client import ClientConnection, PublishStarted, Refused
from tests.up import Up, get

Tag = tuple[int, int, bytes]  # FLV tag type, timestamp in ms, body


def tags(path: Path) -> list[Tag]:
    """All tags of an FLV file (annex E.4.1)."""
    data, at, found = path.read_bytes(), len(flv.FILE_HEADER), []
    while at < len(data):
        size = int.from_bytes(data[at + 1 : at + 4], "big")
        stamp_ms = int.from_bytes(data[at + 4 : at + 7], "big") | data[at + 7] << 24
        found.append((data[at], stamp_ms, data[at + 11 : at + 11 + size]))
        at += 11 + size + 4
    return found


def is_head(tag: Tag) -> bool:
    """Metadata and sequence headers."""
    return tag[0] == flv.SCRIPT or tag[2][1] == 0


def connect(up: Up) -> socket.socket:
    parts = urlsplit(up.rtmp_url)
    return socket.create_connection((str(parts.hostname), int(parts.port or 0)), timeout=60)


def read_to_end(sock: socket.socket) -> bytes:
    """All that the server says until it hangs up."""
    said = b""
    try:
        while data := sock.recv(65536):
            said += data
    except ConnectionResetError:
        pass
    return said


class Encoder:
    def __init__(self, up: Up, key: str, chunk_size: int = 4096) -> None:
        self.answer: PublishStarted | Refused | None = None
        self._client = ClientConnection("live", up.rtmp_url, key, chunk_size=chunk_size)
        self._sock = connect(up)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while self.answer is None and self._turn():
            pass

    def __enter__(self) -> "Encoder":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._sock.close()

    @property
    def refusal(self) -> str:
        return f"{self.answer.code} {self.answer.description}" if isinstance(self.answer, Refused) else ""

    def send(self, type_id: int, timestamp_ms: int, body: bytes) -> None:
        self._client.send_media(type_id, timestamp_ms, body)
        self._sock.sendall(self._client.data_to_send())
        self.look()

    def send_in_real_time(self, sent: Iterable[Tag], start_s: float, shift_ms: int = 0) -> None:
        """`start_s` is the monotonic time at timestamp 0; `shift_ms` is what the encoder's clock is wrong by."""
        for type_id, at_ms, body in sent:
            time.sleep(max(0.0, start_s + at_ms / 1000 - time.monotonic()))
            if self.refusal:
                return
            self.send(type_id, at_ms + shift_ms, body)

    def look(self) -> None:
        """Reads what the server may have said."""
        if select.select([self._sock], [], [], 0)[0]:
            self._turn()

    def wait_refused(self) -> str:
        while not self.refusal and self._turn():
            pass
        return self.refusal

    def wait_closed(self) -> None:
        while self._turn():
            pass

    def unpublish(self) -> None:
        self._client.unpublish()
        self._sock.sendall(self._client.data_to_send())

    def _turn(self) -> bool:
        self._sock.sendall(self._client.data_to_send())
        data = self._sock.recv(65536)
        for event in self._client.receive_data(data):
            self.answer = event
        return bool(data)


def state(up: Up, slug: str) -> dict[str, object]:
    status, body, _ = get(f"{up.http_url}/live/{slug}/state.json")
    found: dict[str, object] = json.loads(body) if status == 200 else {}
    return found


def playlist(up: Up, slug: str, rendition: str = "source") -> str:
    """Of the broadcast that is on the air; empty where there is none."""
    broadcast = state(up, slug).get("broadcast")
    status, body, _ = get(f"{up.http_url}/live/{slug}/{broadcast}/{rendition}/index.m3u8")
    return body.decode() if status == 200 else ""
