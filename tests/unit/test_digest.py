"""SHA-256 of two files at a time is SHA-256: the standard and hashlib say the same."""

import errno
import fcntl
import hashlib
import mmap
import os
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from core.digest import AT_ONCE, LIBRARY, Digests, digests, plain

MB = 1 << 20


def _kinds() -> list[Digests]:
    """A processor without the instructions has hashlib alone; a machine for tests has a C compiler."""
    assert LIBRARY.exists(), "make has not built core/native"
    return [plain] if digests is plain else [plain, digests]


each_kind = pytest.mark.parametrize("digests", _kinds(), ids=lambda one: str(one.__qualname__).split(".")[0])


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


# The examples of FIPS 180-4, and of the lengths at which padding takes another block.
@each_kind
@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        (b"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (
            b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
        ),
        (b"a" * 1_000_000, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"),
    ],
)
def test_the_standards_examples(digests: Digests, tmp_path: Path, data: bytes, expected: str) -> None:
    (tmp_path / "file").write_bytes(data)
    with (tmp_path / "file").open("rb") as file:
        assert [one.sha256 for one in digests([file.fileno()])] == [expected]


@each_kind
def test_files_of_all_sizes(digests: Digests, tmp_path: Path) -> None:
    sizes = [0, 1, 63, 64, 4095, 4096, 4097, 512 << 10, (512 << 10) + 4096, MB - 1, 3 * MB + 5]
    rng = random.Random(1)
    data = [rng.randbytes(size) for size in rng.sample(sizes * 6, AT_ONCE)]
    for number, one in enumerate(data):
        (tmp_path / str(number)).write_bytes(one)
    for flags in (0, os.O_DIRECT):
        files = [os.open(tmp_path / str(number), os.O_RDONLY | flags) for number in range(len(data))]
        try:
            found = digests(files)
        finally:
            for file in files:
                os.close(file)
        assert [(one.sha256, one.size_bytes, one.error) for one in found] == [
            (sha256(one), len(one), None) for one in data
        ]


@each_kind
def test_one_file_that_cant_be_read_stops_no_other(digests: Digests, tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).write_bytes(name.encode() * MB)
    files = [os.open(path, os.O_RDONLY) for path in (tmp_path / "a", tmp_path, tmp_path / "b")]
    try:
        a, folder, b = digests(files)
    finally:
        for file in files:
            os.close(file)
    assert folder.error is not None and folder.error.errno == errno.EISDIR
    assert (a.sha256, b.sha256) == (sha256(b"a" * MB), sha256(b"b" * MB))


@each_kind
def test_what_can_not_be_read_past_memory_is_read_through_it(digests: Digests, tmp_path: Path) -> None:
    """Such a read must begin at a multiple of the disk's blocks, or it is an invalid argument."""
    data = os.urandom(MB)
    (tmp_path / "file").write_bytes(data)
    file = os.open(tmp_path / "file", os.O_RDONLY | os.O_DIRECT)
    try:
        os.lseek(file, 1, os.SEEK_SET)
        found = digests([file])[0]
        assert (found.sha256, found.size_bytes, found.error) == (sha256(data[1:]), MB - 1, None)
        assert not fcntl.fcntl(file, fcntl.F_GETFL) & os.O_DIRECT
    finally:
        os.close(file)


@each_kind
def test_a_kernel_without_large_pages(tmp_path: Path, digests: Digests, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mmap, "MADV_HUGEPAGE", 9999)  # it says EINVAL then, as to any advice that it does not know
    (tmp_path / "a").write_bytes(b"abc")
    with (tmp_path / "a").open("rb") as file, ThreadPoolExecutor(1) as thread:  # each thread has a space of its own
        (found,) = thread.submit(digests, [file.fileno()]).result()
    assert (found.sha256, found.error) == (sha256(b"abc"), None)
