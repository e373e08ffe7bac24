"""A folder's files are hashed past the system's memory: whatever their size, and where that can't be done."""

import fcntl
import hashlib
import os
import tempfile
from pathlib import Path

import pytest

from archive.recordings.locations import folder
from archive.recordings.locations.folder import FolderStore
from core.digest import plain

MB = 1 << 20
PIECE = 512 << 10


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 4097, PIECE - 1, PIECE, PIECE + 5, 3 * PIECE + 4096, MB])
@pytest.mark.parametrize("place", [tempfile.gettempdir(), "/dev/shm"])
def test_a_digest_is_of_every_byte(size: int, place: str) -> None:
    data = os.urandom(size)
    with tempfile.TemporaryDirectory(dir=place) as place:
        (Path(place) / "0.m4s").write_bytes(data)
        digest = FolderStore("hapa", Path(place)).digest("0.m4s")
    assert (digest.size_bytes, digest.sha256) == (size, hashlib.sha256(data).hexdigest())


@pytest.mark.skipif(not hasattr(os, "O_DIRECT"), reason="this system knows no reads past its memory")
def test_where_the_system_refuses_at_the_first_read_it_is_read_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As FUSE file systems do: the flag is taken, and a read with it is an invalid argument."""
    data, readv = os.urandom(MB + 5), os.readv
    (tmp_path / "0.m4s").write_bytes(data)

    def refusing(file: int, spaces: list[memoryview]) -> int:
        if fcntl.fcntl(file, fcntl.F_GETFL) & os.O_DIRECT:
            raise OSError(22, "Invalid argument")
        return readv(file, spaces)

    monkeypatch.setattr(os, "readv", refusing)
    monkeypatch.setattr(folder, "digests", plain)  # whose reads can be seen here
    assert FolderStore("hapa", tmp_path).digest("0.m4s").sha256 == hashlib.sha256(data).hexdigest()
