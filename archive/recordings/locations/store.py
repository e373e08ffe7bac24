"""The door to a place where files are kept under keys (`ID/RENDITION/N.m4s`). A folder and S3 stand behind it.

Its methods block and may be called from many threads at once. Each raises a StoreError and nothing else for what the
place does; for what is wrong with a key, ValueError. A put is whole or not there, is proven before it returns, and
never changes what is at its key already unless told to replace it. A SHA-256 is 64 lower-case hex digits throughout.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from archive.recordings.locations.errors import StoreError

CHUNK_BYTES = 1 << 20
PROBES = ".probe"
"""What `facilities` and the check of a location lay down begins so, and is removed again."""
MAX_KEY_BYTES = 1024
MAX_NAME_BYTES = 255
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Stored:
    """What is at a key. `sha256` is what the store itself worked out from the whole body when it took it, where it can
    say; `stated_sha256` is only what was said of it then. Listings have neither."""

    key: str
    size_bytes: int
    modified: datetime
    sha256: str | None = None
    stated_sha256: str | None = None


class Proof(StrEnum):
    CHECKSUM = "checksum"  # the store keeps the body's checksum, made by itself, and it is ours
    READ_BACK = "read back"  # the body was read again and hashed


@dataclass(frozen=True, slots=True)
class Put:
    """`was_there`: the same bytes were at the key before, so none were sent."""

    key: str
    size_bytes: int
    was_there: bool
    proof: Proof


@dataclass(frozen=True, slots=True)
class Digest:
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Facilities:
    """What a place can do. `checksums`: it refuses a body that is not what its SHA-256 says, and keeps that;
    `conditional_puts`: it itself refuses to write over what is there; `free_bytes`: None where it does not say."""

    object_lock: bool
    versioning: bool
    checksums: bool
    conditional_puts: bool
    free_bytes: int | None


class Store(Protocol):
    @property
    def name(self) -> str:
        """The location's."""
        ...

    def put_file(self, key: str, path: Path, sha256: str, *, replace: bool = False, lock: bool = True) -> Put:
        """Puts a file. With the same bytes there already nothing is sent; with others there, Conflict, or they are
        replaced if told so. `lock`: the location's retention (`lock_days`) goes with it; not for files that still grow.
        Raises SourceDamaged where the file is not what `sha256` says (nothing is put then), Damaged where what arrived
        is not."""
        ...

    def put_bytes(self, key: str, data: bytes, *, replace: bool = False, lock: bool = True) -> Put: ...

    def stat(self, key: str) -> Stored:
        """Raises Missing."""
        ...

    def open(self, key: str) -> Iterator[bytes]:
        """The body in chunks of CHUNK_BYTES at most. Raises Missing first of all, Unreachable where it breaks off."""
        ...

    def digest(self, key: str) -> Digest:
        """Reads all of it again and hashes it. Raises Missing."""
        ...

    def digests(self, keys: Sequence[str]) -> list[Digest | StoreError]:
        """As `digest`, of many: each one's digest or what would have been raised, in their order."""
        ...

    def former(self, key: str) -> tuple[Digest, ...]:
        """Older versions that are kept beneath what is there, newest first, each read and hashed; most places keep
        none. `delete` removes them too."""
        ...

    def list(self, prefix: str = "") -> Iterator[Stored]:
        """All whose key begins so, each once, a page at a time, in an order of the store's own."""
        ...

    def keys(self, prefix: str) -> set[str]:
        """All that begin so and under which anything is kept: in a listing those are missing whose newest version is a
        deletion."""
        ...

    def delete(self, key: str) -> None:
        """Every version of it. Nothing there is no error. Raises Locked."""
        ...

    def set_hold(self, key: str, on: bool) -> None:
        """A legal hold: it can't be deleted until lifted. Raises Unsupported, Missing."""
        ...

    def is_held(self, key: str) -> bool:
        """False too where there are no holds."""
        ...

    def retain(self, key: str, until: datetime) -> None:
        """It can't be deleted before `until` (aware). Raises Unsupported, Missing."""
        ...

    def retained_until(self, key: str) -> datetime | None: ...

    def tidy(self, before: datetime) -> int:
        """Removes what killed puts left half done before then (aware); how many."""
        ...

    def facilities(self) -> Facilities:
        """Found out by trying, with objects under PROBES that are removed again."""
        ...

    def close(self) -> None: ...


def check_key(key: str) -> tuple[str, ...]:
    """The key's names. Raises ValueError for one that could mean another file than it says."""
    names = tuple(key.split("/"))
    if any(name in ("", ".", "..") or len(name.encode()) > MAX_NAME_BYTES for name in names):
        raise ValueError(f"{key!r} is no key")
    if len(key.encode()) > MAX_KEY_BYTES or not key.isprintable() or "\\" in key:
        raise ValueError(f"{key!r} is no key")
    return names


def is_key(key: str) -> bool:
    try:
        check_key(key)
    except ValueError:
        return False
    return True


def check_sha256(sha256: str) -> str:
    if _SHA256.fullmatch(sha256) is None:
        raise ValueError(f"{sha256!r} is no SHA-256 in hex")
    return sha256
