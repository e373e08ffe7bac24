"""Writing what is in pieces to a file, whole or not at all; and to the disk itself."""

import ctypes
import errno
import os
from collections.abc import Sequence
from pathlib import Path

from core.media.packet import Buffer

IOV_MAX = 1024  # pieces in one call (Linux)


def write_all(descriptor: int, pieces: Sequence[Buffer]) -> int:
    """Writes all pieces and returns their size in bytes. Raises OSError (ENOSPC) where the disk takes only some."""
    size = sum(map(len, pieces))
    if len(pieces) > IOV_MAX:
        pieces = [b"".join(pieces)]
    if os.writev(descriptor, pieces) < size:
        raise OSError(errno.ENOSPC, "no space left")
    return size


def append_whole(path: str, data: bytes) -> None:
    """Appends all of it or nothing. Raises OSError (ENOSPC) where the disk takes only some."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        written = os.write(descriptor, data)
        if written < len(data):
            os.ftruncate(descriptor, os.fstat(descriptor).st_size - written)
            raise OSError(errno.ENOSPC, "no space left", path)
    finally:
        os.close(descriptor)


def sync_file_system(folder: Path) -> None:
    """Returns when all that was written beside and below a folder is on the disk. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(descriptor):
            raise OSError(ctypes.get_errno(), "cannot be synced", str(folder))
    finally:
        os.close(descriptor)
