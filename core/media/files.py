"""Writing what is in pieces to a file, whole or not at all."""

import errno
import os
from collections.abc import Sequence

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
