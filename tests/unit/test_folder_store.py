"""A folder's files are hashed past the system's memory: whatever their size, and where that can't be done. What killed
processes leave beside them."""

import fcntl
import hashlib
import os
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from archive.recordings.locations import folder
from archive.recordings.locations.folder import PARTIAL, FolderStore
from core.database import open_engine
from core.digest import plain
from mbashara import copying, fixity
from mbashara.places import Places
from mbashara.settings import Settings
from tests.unit.test_recover_twice import Died, Fate, dying

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


@pytest.mark.parametrize("before", [None, b"what was there"])
def test_a_put_that_is_killed_anywhere_leaves_what_was_there_or_all_that_is_put(
    tmp_path: Path, before: bytes | None
) -> None:
    """And nothing else but what `tidy` removes; put again, it is there."""
    at, is_alive, whole = 0, False, os.urandom(MB + 5)
    while not is_alive:
        at += 1
        place = tmp_path / str(at)
        place.mkdir()
        store, key = FolderStore("hapa", place), "rec/source/0.m4s"
        assert store.tidy(datetime.now(UTC)) == 0 and list(place.iterdir()) == []
        if before is not None:
            store.put_bytes(key, before)
        try:
            with dying(Fate(at)):
                store.put_bytes(key, whole, replace=before is not None)
            is_alive = True
        except Died:
            pass
        there = (place / key).read_bytes() if (place / key).exists() else None
        assert there in ((whole,) if is_alive else (before, whole)), at
        assert store.put_bytes(key, whole, replace=before is not None).was_there == (there == whole), at
        assert (place / key).read_bytes() == whole and [one.key for one in store.list()] == [key], at
        store.tidy(datetime.now(UTC) + timedelta(hours=1))
        assert list((place / PARTIAL).iterdir()) == [], at
    assert at > 8, "it was watched"


def test_what_killed_processes_left_is_removed_where_it_can_be(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path)
    scratch, place = tmp_path / "scratch", tmp_path / "mbali"
    for folder_ in (scratch, place):
        folder_.mkdir()
    (scratch / "repair-1").write_bytes(b"on its way to where it was needed")
    (scratch / "somebody's").write_bytes(b"not ours")
    stores = {"away": FolderStore("away", tmp_path / "not mounted"), "mbali": FolderStore("mbali", place)}
    stores["mbali"].put_bytes("rec/0.m4s", b"x")
    (place / PARTIAL / "left").write_bytes(b"half")
    Places(settings, {**stores}).tidy(datetime.now(UTC) - copying.HALF_DONE)
    assert (place / PARTIAL / "left").exists(), "somebody may be at it"
    Places(settings, {**stores}).tidy(datetime.now(UTC) + timedelta(seconds=5))
    assert list((place / PARTIAL).iterdir()) == [] and (place / "rec/0.m4s").exists()
    fixity.prepare(settings, open_engine("postgresql://nobody@/none?host=/nonexistent"), {**stores}, {})
    assert [one.name for one in scratch.iterdir()] == ["somebody's"]
