"""Where a BagIt package (RFC 8493) is read from: a folder, or a tar as it comes. Names are looked at before anything is
read; neither says more than which files there are, how long each is, and what is in it.
"""

import os
import re
import tarfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Protocol

from archive.recordings.bag_errors import BagError, Fault

MAX_FILES, EXTRA_BYTES = 2_000_000, 1 << 14


class Source(Protocol):
    """A bag's files by their name in it, with their sizes. `open` reads one from its beginning."""

    @property
    def is_folder(self) -> bool: ...
    @property
    def sizes(self) -> Mapping[str, int]: ...

    def open(self, name: str) -> IO[bytes]: ...


Reading = Callable[[], AbstractContextManager[None]]


@contextmanager
def opened(path: Path, reading: Reading) -> Iterator[Source]:
    """A folder or a tar, its files opened in `reading`. Raises BagError, OSError."""
    with reading():
        folder = _Folder(path, dict(_sizes(path)), reading) if path.is_dir() else None
    if folder is not None:
        yield folder
        return
    # Never compressed: what is written is never more than what was sent.
    with ExitStack() as stack:
        stack.enter_context(_no_bag(path))
        with reading():
            tar = stack.enter_context(tarfile.open(path, "r:", tarinfo=_Member))
            members = _members(tar, path)
        yield _Tar(tar, members, {name: member.size for name, member in members.items()})


def check_name(name: str) -> None:
    """A name that a tar or a manifest gives. Raises BagError where it could mean a place outside the bag, also to one
    who decodes it or reads it on another system (RFC 8493, 5.3)."""
    plain = name.lower().replace("%2e", ".").replace("%2f", "/").replace("%5c", "\\").replace("%7e", "~")
    parts = re.split(r"[/\\]", plain)
    if not name or plain.startswith(("/", "\\", "~")) or ".." in parts or re.match(r"[a-z]:", plain):
        raise BagError(Fault.ESCAPES, name)
    if "" in parts or "." in parts or "\\" in plain or not name.isprintable() or "%" in name or len(name) > 1024:
        raise BagError(Fault.ODD_NAME, name)


@contextmanager
def _no_bag(path: Path) -> Iterator[None]:
    try:
        yield
    except tarfile.TarError as error:
        raise BagError(Fault.NO_BAG, path.name) from error


def _sizes(folder: Path) -> Iterator[tuple[str, int]]:
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or not (path.is_dir() or path.is_file()):
            raise BagError(Fault.NO_FILE, name)
        if path.is_file():
            yield name, path.stat().st_size


@dataclass(frozen=True, slots=True)
class _Folder:
    top: Path
    sizes: Mapping[str, int]
    reading: Reading
    is_folder: bool = True

    def open(self, name: str) -> IO[bytes]:
        """The last step is never through a link that came meanwhile."""
        with self.reading():
            return os.fdopen(os.open(self.top / name, os.O_RDONLY | os.O_NOFOLLOW), "rb")


@dataclass(frozen=True, slots=True)
class _Tar:
    tar: tarfile.TarFile
    members: Mapping[str, tarfile.TarInfo]
    sizes: Mapping[str, int]
    is_folder: bool = False

    def open(self, name: str) -> IO[bytes]:
        file = self.tar.extractfile(self.members[name])
        assert file is not None, "only plain files are members"
        return file


class _Member(tarfile.TarInfo):
    """A tar's extra headers are read into memory: none of ours has more than a name in them."""

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        extra = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, *tarfile.GNU_TYPES)
        if self.size < 0 or (self.type in extra and self.size > EXTRA_BYTES):
            raise BagError(Fault.TOO_LARGE, self.name)
        found: tarfile.TarInfo = super()._proc_member(archive)  # type: ignore[misc]
        return found


def _members(tar: tarfile.TarFile, path: Path) -> dict[str, tarfile.TarInfo]:
    """The plain files under the one folder that a bag's tar has at its top (RFC 8493, 4.2)."""
    end, found, tops = path.stat().st_size, dict[str, tarfile.TarInfo](), set[str]()
    last = path.name
    if not _has_end(path, end):
        raise BagError(Fault.CUT_OFF, path.name)
    try:
        for member in tar:
            last = member.name
            check_name(member.name.removeprefix("./").rstrip("/") if member.name.rstrip("/") != "." else "bag")
            parts = PurePosixPath(member.name).parts
            tops.add(parts[0] if parts else ".")
            if member.issparse() or not (member.isreg() or member.isdir()):
                raise BagError(Fault.NO_FILE, member.name)
            if member.offset_data + member.size > end:
                raise BagError(Fault.CUT_OFF, member.name)
            if member.isreg():
                name = "/".join(parts[1:])
                if name in found:
                    raise BagError(Fault.TWICE, member.name)
                found[name] = member
            if len(found) > MAX_FILES:
                raise BagError(Fault.TOO_LARGE, path.name)
    except tarfile.TarError as error:
        raise BagError(Fault.CUT_OFF, last) from error
    if len(tops) != 1 or "" in found:
        raise BagError(Fault.NO_BAG, path.name)
    return found


def _has_end(path: Path, size: int) -> bool:
    """Two blocks of zeros end a tar; one that was cut off ends in something else."""
    with path.open("rb") as file:
        file.seek(max(0, size - 2 * tarfile.BLOCKSIZE))
        return not any(file.read())
