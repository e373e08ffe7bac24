"""Passing a publisher to another media worker: its TCP socket, and all we know of it, over a unix socket.

The frame is a length and a pickle of (Connection, PublishRequest); the descriptor travels with the first
byte, and one byte comes back when the other side has it all. The calls block, with a time limit: run them in
a thread. Bytes that were read but not parsed yet are in the connection, those not read yet are in the kernel:
none are lost.
"""

import os
import pickle
import socket
import struct
from pathlib import Path
from typing import Final

from ingest.rtmp.connection import Connection
from ingest.rtmp.door import PublishRequest
from ingest.rtmp.errors import HandoffError

_LENGTH = struct.Struct(">I")
_UCRED = struct.Struct("3i")  # pid, uid, gid: unix(7), SO_PEERCRED
_MAX_FRAME_BYTES = 64 << 20  # a connection holds at most its unfinished messages
_TAKEN: Final = b"\x06"


def send_publisher(
    path: Path, descriptor: int, connection: Connection, request: PublishRequest, *, timeout_s: float = 5.0
) -> None:
    """Returns when the worker that listens at `path` has taken it; the caller then closes its own descriptor.

    Raises HandoffError; the publisher is then still ours.
    """
    frame = pickle.dumps((connection, request))
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door:
            door.settimeout(timeout_s)
            door.connect(str(path))
            socket.send_fds(door, [_LENGTH.pack(len(frame))], [descriptor])
            door.sendall(frame)
            if door.recv(1) != _TAKEN:
                raise HandoffError("the other worker did not take the publisher")
    except OSError as error:
        raise HandoffError(f"the other worker cannot be reached: {error.strerror or error}") from error


def receive_publisher(
    door: socket.socket, *, timeout_s: float = 5.0
) -> tuple[socket.socket, Connection, PublishRequest]:
    """Takes one publisher from an accepted connection. Raises HandoffError; then the sender keeps it."""
    _check_same_user(door)
    door.settimeout(timeout_s)
    try:
        head, descriptors, _, _ = socket.recv_fds(door, _LENGTH.size, 1)
    except OSError as error:
        raise HandoffError(f"no publisher arrived: {error.strerror or error}") from error
    if not descriptors:
        raise HandoffError("a frame without a descriptor")
    publisher = socket.socket(fileno=descriptors[0])
    try:
        head += _receive_exactly(door, _LENGTH.size - len(head))
        frame = _receive_exactly(door, _LENGTH.unpack(head)[0])
        connection, request = pickle.loads(frame)  # noqa: S301 - from our own user, checked above
        door.sendall(_TAKEN)
    except (OSError, HandoffError) as error:
        publisher.close()
        raise HandoffError(f"the publisher did not arrive whole: {error}") from error
    publisher.setblocking(False)
    return publisher, connection, request


def _receive_exactly(door: socket.socket, size_bytes: int) -> bytes:
    if size_bytes > _MAX_FRAME_BYTES:
        raise HandoffError(f"a frame of {size_bytes} bytes")
    frame = bytearray()
    while len(frame) < size_bytes:
        piece = door.recv(size_bytes - len(frame))
        if not piece:
            raise HandoffError("the sender went away")
        frame += piece
    return bytes(frame)


def _check_same_user(door: socket.socket) -> None:
    # Unpickling runs whatever it is told to, so nobody but ourselves may send; the socket's mode says the
    # same.
    _, user, _ = _UCRED.unpack(door.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    if user != os.geteuid():
        raise HandoffError(f"user {user} has no business here")
