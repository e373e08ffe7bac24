"""Writing to a file, whole or not at all; and to the disk itself."""

import ctypes
import errno
import os
from contextlib import suppress
from pathlib import Path


def write_all(descriptor: int, data: bytes) -> None:
    """Raises OSError (ENOSPC) where the disk takes only some."""
    if os.write(descriptor, data) < len(data):
        raise OSError(errno.ENOSPC, "no space left")


def replace_file(path: str | Path, data: bytes) -> None:
    """Whoever opens it sees the old or the new one. Raises OSError, and leaves nothing behind."""
    fresh = f"{path}.new"
    try:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        try:
            write_all(descriptor, data)
        finally:
            os.close(descriptor)
        os.rename(fresh, path)
    except OSError:
        with suppress(OSError):
            os.unlink(fresh)  # what was taken of it fills the disk
        raise


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
