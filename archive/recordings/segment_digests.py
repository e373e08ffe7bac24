"""The SHA-256 of a segment that is being recorded: of what was meant to be written, never of what a disk gives back.

A core hashes some 1.9 GB/s, which is a fifteenth of what media does for a stream; so media has another core do it
(`hasher.py`), asked once a segment. It may be slow, or killed: then it is done here.
"""

import errno
import hashlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import structlog

from archive.recordings import hasher
from archive.recordings.hasher import MAX_QUESTION_BYTES, Digest
from core.media import hls
from core.media.window import Segment

PATIENCE_S = 2.0
"""A hasher that is slower stands still: it is ended."""
REST_S = 10.0
"""Until another is started."""
DIES_IN_S = 0.5
BEHIND_S = 0.5
"""A recorder that is so late does not wait for a hasher, which a full machine makes slow (35 ms a segment where 16
others want each core): it would fall behind until segments are lost."""

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class SegmentDigest(Protocol):
    """Of one segment after the other, on the recorder's thread."""

    def begin(self) -> None: ...
    def add(self, data: bytes) -> None: ...
    def end(self, segment: Segment, size: int, late_s: float) -> str | None:
        """In hex. `size` is that of all that was added, `late_s` how long ago the segment was complete. None: it can't
        be told any more."""


class AsWritten:
    """Of the bytes as they pass."""

    def begin(self) -> None:
        self._sha256 = hashlib.sha256()

    def add(self, data: bytes) -> None:
        self._sha256.update(data)

    def end(self, segment: Segment, size: int, late_s: float) -> str | None:
        return self._sha256.hexdigest()


class FromMemory:
    """Of the parts in the memory folder, which viewers were given."""

    def __init__(self, hasher: "Hasher", folder: Path) -> None:
        self._hasher, self._folder = hasher, str(folder)

    def begin(self) -> None: ...

    def add(self, data: bytes) -> None: ...

    def end(self, segment: Segment, size: int, late_s: float) -> str | None:
        if segment.is_refused:
            return None
        names = [hls.part_name(segment.msn, part.number) for part in segment.parts if not part.gap]
        digest = hasher.digest if late_s > BEHIND_S else self._hasher.digest
        with suppress(OSError):
            found = digest([f"{self._folder}/{name}" for name in names])
            return found.sha256 if found.size == size else None
        return None


class Hasher:
    """The child. For one thread."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None
        self._door: socket.socket | None = None
        self._rests_until_s = 0.0

    def start(self) -> None:
        """Ahead of the first question, which would start it too: on a full machine that takes some seconds."""
        try:
            self._start()
        except OSError:
            self.stop()

    def digest(self, paths: Sequence[str]) -> Digest:
        """Of these files, one after the other. Raises OSError where one is not there."""
        question = b"\0".join(map(os.fsencode, paths))
        if not 0 < len(question) <= MAX_QUESTION_BYTES or time.monotonic() < self._rests_until_s:
            return hasher.digest(paths)
        try:
            size, sha256 = self._ask(question).split()
        except OSError as error:
            log.error("the hasher does not answer", error=str(error))
            self.stop()
            self._rests_until_s = time.monotonic() + REST_S
            return hasher.digest(paths)
        except ValueError as error:
            raise FileNotFoundError(errno.ENOENT, "a part is not in memory") from error
        return Digest(int(size), sha256.decode())

    def stop(self) -> None:
        """One that can't die yet (a debugger holds it) is not waited for: there is no other until it has."""
        if self._door is not None:
            self._door.close()
        self._door = None
        if self._child is not None:
            self._child.kill()
            with suppress(subprocess.TimeoutExpired):
                self._child.wait(DIES_IN_S)
                self._child = None

    def _ask(self, question: bytes) -> bytes:
        door = self._door or self._start()
        door.send(question)
        answer = door.recv(256)
        if not answer:
            raise ConnectionResetError("it has ended")
        return answer

    def _start(self) -> socket.socket:
        if self._child is not None:
            raise ChildProcessError("the one before has not died yet")
        self._door, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._door.settimeout(PATIENCE_S)
        environment = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
        with theirs:
            command = [sys.executable, "-I", "-S", hasher.__file__, str(theirs.fileno())]
            self._child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, env=environment, pass_fds=[theirs.fileno()]
            )  # fmt: skip
        return self._door
