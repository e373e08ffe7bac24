"""Owns a cheap RTMP publisher: N paced streams of one pre-cut feed, one thread, plain sockets.

    python -m tests.bench.publisher rtmp://127.0.0.1:1935/live KEY... [--streams N] [--seconds S]

A KEY with {} in it stands for N keys, numbered from 0. Frames are sent one by one when due, as an encoder
does, so the server sees its real number of reads.
"""

import argparse
import heapq
import os
import select
import socket
import struct
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tests.bench import feed as feeds

_STALL_S = 20.0  # a server that takes nothing for so long has failed the run


def _amf(*values: object) -> bytes:
    """AMF0: numbers, strings, None and dicts, all that a publisher's commands need."""
    out = b""
    for value in values:
        if value is None:
            out += b"\x05"
        elif isinstance(value, dict):
            pairs = b"".join(struct.pack(">H", len(k)) + k.encode() + _amf(v) for k, v in value.items())
            out += b"\x03" + pairs + b"\x00\x00\x09"
        elif isinstance(value, str):
            out += b"\x02" + struct.pack(">H", len(value)) + value.encode()
        else:
            out += b"\x00" + struct.pack(">d", value)
    return out


def _command(stream_id: int, *values: object) -> bytes:
    return bytes(feeds.chunked(3, 20, stream_id, _amf(*values), 4096))


class Refused(Exception):
    """The server would not let us publish."""


@dataclass(slots=True)
class Stream:
    """One publishing connection. `started_s` is time.time() at timestamp 0."""

    url: str
    key: str
    sock: socket.socket
    next_message: int = 0
    loops: int = 0
    started_s: float = 0.0
    sent_bytes: int = 0
    late_max_s: float = 0.0
    unsent: bytearray = field(default_factory=bytearray)
    stuck_since_s: float = 0.0

    def send(self, data: bytes | bytearray) -> None:
        self.sent_bytes += len(data)
        if self.unsent:
            self.unsent += data
            return self.flush()
        try:
            done = self.sock.send(data)
        except BlockingIOError:
            done = 0
        if done < len(data):
            self.unsent += memoryview(data)[done:]
            self.stuck_since_s = time.monotonic()

    def flush(self) -> None:
        try:
            done = self.sock.send(self.unsent)
        except BlockingIOError:
            done = 0
        if done:
            del self.unsent[:done]
            self.stuck_since_s = time.monotonic()
        elif time.monotonic() - self.stuck_since_s > _STALL_S:
            raise Refused(f"{self.key}: the server takes no bytes for {_STALL_S:.0f} s")

    def drain(self) -> None:
        """Read away acknowledgements; an end from the server's side is an error here."""
        try:
            if not self.sock.recv(65536):
                raise Refused(f"{self.key}: the server closed the connection")
        except BlockingIOError:
            pass


def connect(url: str, key: str, feed: feeds.Feed) -> Stream:
    """Handshake, connect, createStream, publish, sequence headers (RTMP 1.0 sections 5.2 and 7.2)."""
    parts = urlsplit(url)
    sock = socket.create_connection((parts.hostname, parts.port or 1935), timeout=10)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    random = os.urandom(1528)
    sock.sendall(b"\x03" + bytes(8) + random)
    answer = b""
    while len(answer) < 3073:
        answer += _receive(sock, key)
    sock.sendall(answer[1:1537])
    app = parts.path.strip("/")
    sock.sendall(bytes(feeds.chunked(2, 1, 0, struct.pack(">I", 4096), 128)))
    sock.sendall(_command(0, "connect", 1, {"app": app, "type": "nonprivate", "tcUrl": url}))
    _await(sock, key, b"NetConnection.Connect.Success")
    sock.sendall(_command(0, "releaseStream", 2, None, key) + _command(0, "FCPublish", 3, None, key))
    sock.sendall(_command(0, "createStream", 4, None))
    sock.sendall(_command(1, "publish", 5, None, key, "live"))
    _await(sock, key, b"NetStream.Publish.Start")
    for message in feed.head:
        sock.sendall(message.wire)
    sock.setblocking(False)
    return Stream(url, key, sock)


def _receive(sock: socket.socket, key: str) -> bytes:
    data = sock.recv(65536)
    if not data:
        raise Refused(f"{key}: the server closed the connection")
    return data


def _await(sock: socket.socket, key: str, code: bytes) -> None:
    got = b""
    while code not in got:
        got += _receive(sock, key)
        for bad in (
            b"NetStream.Publish.Denied",
            b"NetStream.Publish.BadName",
            b"NetConnection.Connect.Rejected",
        ):
            if bad in got:
                raise Refused(f"{key}: {bad.decode()}")


@dataclass(slots=True, frozen=True)
class Report:
    streams: int
    seconds: float
    sent_bytes: int
    late_max_s: float  # of any frame against its due time: a publisher that can't keep pace spoils a bench
    cpu_s: float
    left_s: float  # time.monotonic() when the streams began to say that they end

    def __str__(self) -> str:
        rate = self.sent_bytes * 8 / self.seconds / 1e6
        cpu = 100 * self.cpu_s / self.seconds
        return (
            f"{self.streams} streams, {self.seconds:.0f} s, {rate:.0f} Mbit/s sent, "
            f"latest frame {self.late_max_s * 1000:.0f} ms late, publisher used {cpu:.1f} % of a core"
        )


def publish(
    targets: Iterable[tuple[str, str]],
    feed: feeds.Feed,
    seconds: float,
    on_connected: Callable[[], object] = lambda: None,
) -> Report:
    """Publish to every (url, key) in real time for `seconds`; starts are spread over a GOP, as in life."""
    streams = [connect(url, key, feed) for url, key in targets]
    on_connected()
    cpu_before_s = time.process_time()
    wall_minus_monotonic_s = time.time() - time.monotonic()
    start_s = time.monotonic()
    due: list[tuple[float, int]] = []
    for index, stream in enumerate(streams):
        first_s = start_s + index * feeds.GOP_MS / 1000 / len(streams)
        stream.started_s = first_s + wall_minus_monotonic_s
        due.append((first_s, index))
    heapq.heapify(due)
    next_drain_s = start_s + 1.0
    while (now_s := time.monotonic()) < start_s + seconds:
        while due[0][0] <= now_s:
            due_s, index = due[0]
            heapq.heapreplace(due, (due_s + _send_next(streams[index], feed, now_s - due_s), index))
        if now_s >= next_drain_s:
            next_drain_s = now_s + 1.0
            for stream in streams:
                stream.drain()
        _rest(streams, min(due[0][0], start_s + seconds) - time.monotonic())
    left_s = time.monotonic()
    _leave(streams)
    late_max_s = max(stream.late_max_s for stream in streams)
    sent_bytes = sum(stream.sent_bytes for stream in streams)
    cpu_s = time.process_time() - cpu_before_s
    return Report(len(streams), left_s - start_s, sent_bytes, late_max_s, cpu_s, left_s)


def _send_next(stream: Stream, feed: feeds.Feed, late_s: float) -> float:
    """Send the stream's next message; the answer is the time from its due time to the next one's."""
    message = feed.loop[stream.next_message]
    stream.late_max_s = max(stream.late_max_s, late_s)
    wall_us = time.time_ns() // 1000 if message.clock_at else 0
    stream.send(message.stamp(message.timestamp_ms + stream.loops * feeds.LOOP_MS, wall_us))
    stream.next_message += 1
    if stream.next_message == len(feed.loop):
        stream.next_message, stream.loops = 0, stream.loops + 1
        return (feeds.LOOP_MS - message.timestamp_ms) / 1000
    return (feed.loop[stream.next_message].timestamp_ms - message.timestamp_ms) / 1000


def _rest(streams: list[Stream], until_due_s: float) -> None:
    blocked = [stream for stream in streams if stream.unsent]
    if not blocked:
        return time.sleep(max(until_due_s, 0.0005))
    _, writable, _ = select.select([], [s.sock for s in blocked], [], max(min(until_due_s, 0.05), 0.0005))
    for stream in blocked:
        if stream.sock in writable or not writable:
            stream.flush()


def _leave(streams: list[Stream]) -> None:
    for stream in streams:
        stream.sock.setblocking(True)
        stream.sock.settimeout(5)
        try:
            stream.sock.sendall(bytes(stream.unsent) + _command(0, "FCUnpublish", 6, None, stream.key))
            stream.sock.sendall(_command(0, "deleteStream", 7, None, 1))
        except OSError:
            pass  # the server went first
        stream.sock.close()


def numbered(keys: list[str], streams: int) -> list[str]:
    """KEY arguments to one key per stream; a lone pattern with {} is numbered from 0."""
    if len(keys) == 1 and "{}" in keys[0]:
        return [keys[0].format(index) for index in range(streams)]
    return keys[:streams] if streams else keys


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.publisher", description=__doc__)
    parser.add_argument("url", help="rtmp://HOST:PORT/APP")
    parser.add_argument("keys", nargs="+", metavar="KEY")
    parser.add_argument("--streams", type=int, default=0, help="how many of the keys to use (default: all)")
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--chunk-bytes", type=int, default=4096, choices=(4096,))
    options = parser.parse_args()
    feed = feeds.load(options.chunk_bytes)
    targets = [(options.url, key) for key in numbered(options.keys, options.streams)]
    print(publish(targets, feed, options.seconds))


if __name__ == "__main__":
    main()
