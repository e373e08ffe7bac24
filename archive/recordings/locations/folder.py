"""A folder as a store: another disk, a network mount. Written beside, synced, read again, and only then given its name.

Every name is looked up in the folder before it and never through a symbolic link, so no key and no link leads outside.
The folder itself is never made: name one inside a mounted disk, and it is told when the disk is not mounted.
How long a call may hang is up to the mount (NFS: `soft,timeo`); nothing in a process can end it.
"""

import contextlib
import errno
import fcntl
import hashlib
import os
import secrets
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from archive.recordings.locations.errors import (
    Conflict,
    Damaged,
    Full,
    Missing,
    Refused,
    StoreError,
    Unreachable,
    Unsupported,
)
from archive.recordings.locations.source import hashed, pieces
from archive.recordings.locations.store import (
    CHUNK_BYTES,
    Digest,
    Facilities,
    Proof,
    Put,
    Stored,
    check_key,
    check_sha256,
)
from core.digest import AT_ONCE, FileDigest, digests

PARTIAL = ".partial"
"""The folder of what is being written; no key may begin so."""
_NO_LINK = os.O_NOFOLLOW | os.O_CLOEXEC
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | _NO_LINK
_FILE = os.O_RDONLY | os.O_NONBLOCK | _NO_LINK  # a FIFO that someone laid there must not hold us up
_NO_HARD_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
_KINDS: dict[int, type[StoreError]] = {
    errno.ENOSPC: Full, errno.EDQUOT: Full, errno.EFBIG: Full,
    errno.EACCES: Refused, errno.EPERM: Refused, errno.EROFS: Refused,
    errno.ENOENT: Missing, errno.ENAMETOOLONG: Missing,
    errno.ELOOP: Damaged, errno.ENOTDIR: Damaged, errno.EIO: Damaged,
    errno.EEXIST: Conflict, errno.EISDIR: Conflict, errno.ENOTEMPTY: Conflict,
}  # fmt: skip


class FolderStore:
    """`past_cache`: what is verified is read from the disk, not from memory, as far as the system can; and nothing that
    viewers have in memory is pushed out, but where the file system knows no reads past memory."""

    def __init__(self, name: str, folder: Path, *, past_cache: bool = True) -> None:
        self._name, self._folder, self._past_cache = name, folder, past_cache

    @property
    def name(self) -> str:
        return self._name

    def put_file(self, key: str, path: Path, sha256: str, *, replace: bool = False, lock: bool = True) -> Put:
        return self._put(key, path, check_sha256(sha256), replace)

    def put_bytes(self, key: str, data: bytes, *, replace: bool = False, lock: bool = True) -> Put:
        return self._put(key, data, hashlib.sha256(data).hexdigest(), replace)

    def stat(self, key: str) -> Stored:
        with self._told(key), self._opened(key) as file:
            return _stored(key, os.fstat(file))

    def open(self, key: str) -> Iterator[bytes]:
        with self._told(key), self._opened(key) as file:
            expected, size = os.fstat(file).st_size, 0
            while chunk := os.read(file, CHUNK_BYTES):
                size += len(chunk)
                yield chunk
            if size < expected:
                raise Unreachable(self._name, f"{key}: broke off after {size} of {expected} bytes")

    def digest(self, key: str) -> Digest:
        with self._told(key), self._opened(key) as file:
            return self._digest(file)

    def digests(self, keys: Sequence[str]) -> list[Digest | StoreError]:
        found = list[Digest | StoreError]()
        for first in range(0, len(keys), AT_ONCE):
            found += self._digests(keys[first : first + AT_ONCE])
        return found

    def _digests(self, keys: Sequence[str]) -> list[Digest | StoreError]:
        found = dict[str, Digest | StoreError]()
        with contextlib.ExitStack() as opened:
            files, parents = dict[str, int](), dict[tuple[str, ...], int]()
            for key in keys:
                try:
                    with self._told(key):
                        *folder, name = names = self._names(key)
                        if tuple(folder) not in parents:
                            parents[tuple(folder)] = opened.enter_context(self._parent(names))
                        files[key] = opened.enter_context(self._file(parents[tuple(folder)], name, key))
                except StoreError as error:
                    found[key] = error
            for key, one in zip(files, self._read([*files.values()]), strict=True):
                found[key] = Digest(one.size_bytes, one.sha256) if one.error is None else self._error(key, one.error)
        return [found[key] for key in keys]

    def former(self, key: str) -> tuple[Digest, ...]:
        return ()

    def list(self, prefix: str = "") -> Iterator[Stored]:
        with self._told(prefix), self._root() as root:
            yield from _walk(root, "", prefix)

    def keys(self, prefix: str) -> set[str]:
        return {one.key for one in self.list(prefix)}

    def delete(self, key: str) -> None:
        names = self._names(key)
        with self._told(key):
            try:
                with self._parent(names) as parent:
                    os.unlink(names[-1], dir_fd=parent)
                    os.fsync(parent)
                self._remove_empty(names[:-1])
            except FileNotFoundError:
                return

    def set_hold(self, key: str, on: bool) -> None:
        raise Unsupported(self._name, "a folder has no legal holds")

    def is_held(self, key: str) -> bool:
        return False

    def retain(self, key: str, until: datetime) -> None:
        raise Unsupported(self._name, "a folder has no retention")

    def retained_until(self, key: str) -> datetime | None:
        return None

    def tidy(self, before: datetime) -> int:
        removed = 0
        gone = contextlib.suppress(FileNotFoundError)
        with self._told(PARTIAL), self._root() as root, gone, _inside(root, PARTIAL) as partials:
            for name in os.listdir(partials):
                with contextlib.suppress(FileNotFoundError):
                    if os.stat(name, dir_fd=partials, follow_symlinks=False).st_mtime < before.timestamp():
                        os.unlink(name, dir_fd=partials)
                        removed += 1
        return removed

    def facilities(self) -> Facilities:
        with self._told(""), self._root():
            return Facilities(False, False, False, True, shutil.disk_usage(self._folder).free)

    def close(self) -> None: ...

    def _put(self, key: str, source: Path | bytes, sha256: str, replace: bool) -> Put:
        names = self._names(key)
        with self._told(key), self._root() as root:
            there = self._there(names)
            if there is not None and there.sha256 == sha256:
                return Put(key, there.size_bytes, True, Proof.READ_BACK)
            if there is not None and not replace:
                raise Conflict(self._name, key)
            with _inside(root, PARTIAL, make=True) as partials:
                partial = secrets.token_hex(16)
                try:
                    size = self._write(partials, partial, key, source, sha256)
                    with self._parent(names, make=True) as parent:
                        _give_name(partials, partial, parent, names[-1], replace)
                        os.fsync(parent)
                finally:
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(partial, dir_fd=partials)
        return Put(key, size, False, Proof.READ_BACK)

    def _there(self, names: tuple[str, ...]) -> Digest | None:
        """What is at the key now; an empty digest for what is no file."""
        try:
            with self._opened("/".join(names)) as file:
                return self._digest(file)
        except (FileNotFoundError, Missing):
            return None
        except (OSError, Damaged):
            return Digest(0, "")

    def _write(self, partials: int, partial: str, key: str, source: Path | bytes, sha256: str) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | _NO_LINK
        with _closing(os.open(partial, flags, 0o644, dir_fd=partials)) as file:
            for chunk in hashed(self._name, key, pieces(self._name, key, source), sha256):
                while chunk:
                    chunk = chunk[os.write(file, chunk) :]
            os.fsync(file)
            os.lseek(file, 0, os.SEEK_SET)
            found = self._digest(file)
        if found.sha256 != sha256:
            raise Damaged(self._name, f"{key}: not what was written, when read again")
        return found.size_bytes

    def _digest(self, file: int) -> Digest:
        found = self._read([file])[0]
        if found.error is not None:
            raise found.error
        return Digest(found.size_bytes, found.sha256)

    def _read(self, files: Sequence[int]) -> Sequence[FileDigest]:
        if self._past_cache:
            for file in files:
                _leave_memory(file)
        return digests(files)

    def _names(self, key: str) -> tuple[str, ...]:
        names = check_key(key)
        if names[0] == PARTIAL:
            raise ValueError(f"{key!r} is no key")
        return names

    @contextmanager
    def _root(self) -> Iterator[int]:
        try:
            root = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise Unreachable(self._name, f"{self._folder}: {error.strerror}") from error
        with _closing(root):
            yield root

    @contextmanager
    def _parent(self, names: tuple[str, ...], make: bool = False) -> Iterator[int]:
        """The folder that the last of the names is in."""
        with contextlib.ExitStack() as opened:
            folder = opened.enter_context(self._root())
            for name in names[:-1]:
                folder = opened.enter_context(_inside(folder, name, make))
            yield folder

    @contextmanager
    def _opened(self, key: str) -> Iterator[int]:
        names = self._names(key)
        with self._parent(names) as parent, self._file(parent, names[-1], key) as file:
            yield file

    @contextmanager
    def _file(self, parent: int, name: str, key: str) -> Iterator[int]:
        with _closing(os.open(name, _FILE, dir_fd=parent)) as file:
            mode = os.fstat(file).st_mode
            if stat.S_ISDIR(mode):
                raise Missing(self._name, key)
            if not stat.S_ISREG(mode):
                raise Damaged(self._name, f"{key}: no regular file")
            yield file

    def _remove_empty(self, names: tuple[str, ...]) -> None:
        while names:
            with contextlib.suppress(OSError), self._parent(names) as parent:
                os.rmdir(names[-1], dir_fd=parent)
            names = names[:-1]

    @contextmanager
    def _told(self, key: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._error(key, error) from error

    def _error(self, key: str, error: OSError) -> StoreError:
        kind = _KINDS.get(error.errno or 0, Unreachable)
        return kind(self._name, f"{key or self._folder}: {error.strerror}")


def _leave_memory(file: int) -> None:
    """Reads go past the system's memory from now on; where a file system knows no such reads, it forgets the file."""
    try:
        fcntl.fcntl(file, fcntl.F_SETFL, fcntl.fcntl(file, fcntl.F_GETFL) | os.O_DIRECT)
    except OSError:
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)


def _inside(folder: int, name: str, make: bool = False) -> contextlib.AbstractContextManager[int]:
    if make:
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, 0o755, dir_fd=folder)
            os.fsync(folder)
    return _closing(os.open(name, _FOLDER, dir_fd=folder))


@contextmanager
def _closing(descriptor: int) -> Iterator[int]:
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _give_name(partials: int, partial: str, parent: int, name: str, replace: bool) -> None:
    """Whole at once. A link never writes over what came meanwhile; where there are none (exFAT, SMB), the name was free
    just now."""
    if not replace:
        try:
            return os.link(partial, name, src_dir_fd=partials, dst_dir_fd=parent, follow_symlinks=False)
        except OSError as error:
            if error.errno not in _NO_HARD_LINKS:
                raise
    os.rename(partial, name, src_dir_fd=partials, dst_dir_fd=parent)


def _walk(folder: int, base: str, prefix: str) -> Iterator[Stored]:
    """By the whole key, as Amazon does. Links are left out, they are nothing of ours."""
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_symlink() or (not base and entry.name == PARTIAL):
                continue
            key = base + entry.name + ("/" if entry.is_dir(follow_symlinks=False) else "")
            if key.startswith(prefix) or (key.endswith("/") and prefix.startswith(key)):
                found.append(key)
    for key in sorted(found):
        name = key.removesuffix("/")[len(base) :]
        with contextlib.suppress(FileNotFoundError):  # deleted meanwhile
            if key.endswith("/"):
                with _inside(folder, name) as inner:
                    yield from _walk(inner, key, prefix)
            else:
                yield _stored(key, os.stat(name, dir_fd=folder, follow_symlinks=False))


def _stored(key: str, found: os.stat_result) -> Stored:
    return Stored(key, found.st_size, datetime.fromtimestamp(found.st_mtime, UTC))
