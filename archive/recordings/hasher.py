"""The hasher: a child of media that reads the parts of segments where they lie in memory, and computes SHA-256.

    python -I -S hasher.py FD    FD: a socket of packets; ends when its other end is closed

A question is paths with a NUL between them, an answer bytes and SHA-256 in hex, or nothing of the second where a file
is not there. It knows no module of ours, so that it is small and starts in a moment. `segment_digests.py` asks it.
"""

import hashlib
import os
import socket
import sys
from collections.abc import Sequence
from typing import NamedTuple

MAX_QUESTION_BYTES = 64 << 10
_SPACE_BYTES = 1 << 20


class Digest(NamedTuple):
    """Of so many bytes, in hex."""

    size: int
    sha256: str


def digest(paths: Sequence[str | bytes], space: memoryview | None = None) -> Digest:
    """Of these files, one after the other. Raises OSError."""
    space = memoryview(bytearray(_SPACE_BYTES)) if space is None else space
    size, sha256 = 0, hashlib.sha256()
    for path in paths:
        file, many = os.open(path, os.O_RDONLY), _SPACE_BYTES
        try:
            while many == _SPACE_BYTES:  # a file in memory gives less only at its end
                many = os.readv(file, [space])
                sha256.update(space[:many])
                size += many
        finally:
            os.close(file)
    return Digest(size, sha256.hexdigest())


def serve(door: socket.socket) -> None:
    space = memoryview(bytearray(_SPACE_BYTES))
    while question := door.recv(MAX_QUESTION_BYTES):
        try:
            found = digest(question.split(b"\0"), space)
        except OSError:
            found = Digest(0, "")
        door.send(f"{found.size} {found.sha256}".encode())


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
