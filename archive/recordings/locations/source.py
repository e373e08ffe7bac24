"""What is to be put, read a piece at a time and checked against its SHA-256 as it passes."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from archive.recordings.locations.errors import SourceDamaged
from archive.recordings.locations.store import CHUNK_BYTES


def size_of(location: str, key: str, source: Path | bytes) -> int:
    """Raises SourceDamaged for a file that isn't there."""
    if isinstance(source, bytes):
        return len(source)
    try:
        return source.stat().st_size
    except OSError as error:
        raise _unreadable(location, key, source, error) from error


def pieces(location: str, key: str, source: Path | bytes, chunk_bytes: int = CHUNK_BYTES) -> Iterator[memoryview]:
    """Raises SourceDamaged for a file that can't be read."""
    if isinstance(source, bytes):
        view = memoryview(source)
        yield from (view[at : at + chunk_bytes] for at in range(0, len(view), chunk_bytes))
        return
    try:
        with source.open("rb", buffering=0) as file:
            while chunk := file.read(chunk_bytes):
                yield memoryview(chunk)
    except OSError as error:
        raise _unreadable(location, key, source, error) from error


def hashed(location: str, key: str, chunks: Iterator[memoryview], sha256: str) -> Iterator[memoryview]:
    """The same chunks. Raises SourceDamaged after the last where they are not what `sha256` says."""
    hasher = hashlib.sha256()
    for chunk in chunks:
        hasher.update(chunk)
        yield chunk
    if hasher.hexdigest() != sha256:
        raise SourceDamaged(location, f"{key}: its SHA-256 is {hasher.hexdigest()}, not {sha256}")


def _unreadable(location: str, key: str, source: Path, error: OSError) -> SourceDamaged:
    return SourceDamaged(location, f"{key}: {error.strerror}: {source}")
