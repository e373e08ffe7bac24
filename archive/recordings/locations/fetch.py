"""A file brought back from a store: for repair, for restoring, for a drill."""

import contextlib
import hashlib
import os
from pathlib import Path

from archive.recordings.locations.errors import Damaged
from archive.recordings.locations.store import Store, check_sha256


def fetch_file(store: Store, key: str, path: Path, sha256: str) -> int:
    """Writes what is at the key to `path` and returns its size in bytes: beside it first, synced, and under its name
    only once it is what `sha256` says. Raises StoreError (Damaged, Missing), OSError for what the disk here refuses;
    then what was at `path` is as before."""
    check_sha256(sha256)
    partial, hasher, size = path.with_name(f"{path.name}.partial"), hashlib.sha256(), 0
    try:
        with partial.open("wb", buffering=0) as file:
            for chunk in store.open(key):
                hasher.update(chunk)
                size += len(chunk)
                view = memoryview(chunk)
                while view:
                    view = view[file.write(view) :]
            os.fsync(file.fileno())
        if hasher.hexdigest() != sha256:
            raise Damaged(store.name, f"{key}: its SHA-256 is {hasher.hexdigest()}, not {sha256}")
        partial.rename(path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            partial.unlink()
    _sync(path.parent)
    return size


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
