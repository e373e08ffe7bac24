"""A file brought back from a store: for repair, for restoring, for a drill."""

import hashlib
import os
from pathlib import Path

from archive.recordings.locations.errors import Damaged
from archive.recordings.locations.store import Store, check_sha256


def fetch_file(store: Store, key: str, path: Path, sha256: str | None, max_bytes: int | None = None) -> int:
    """Writes what is at the key to `path` and returns its size in bytes: beside it first, synced, and under its name
    only once it is what `sha256` says (None: whatever it is). Raises StoreError (Damaged, also at the first byte above
    `max_bytes`; Missing), OSError for what the disk here refuses; then what was at `path` is as before."""
    wanted = None if sha256 is None else check_sha256(sha256)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial, hasher, size = path.with_name(f"{path.name}.partial"), hashlib.sha256(), 0
    partial.unlink(missing_ok=True)
    try:
        with partial.open("xb", buffering=0) as file:
            for chunk in store.open(key):
                hasher.update(chunk)
                size += len(chunk)
                if max_bytes is not None and size > max_bytes:
                    raise Damaged(store.name, f"{key}: larger than {max_bytes} bytes")
                view = memoryview(chunk)
                while view:
                    view = view[file.write(view) :]
            os.fsync(file.fileno())
        if wanted not in (None, hasher.hexdigest()):
            raise Damaged(store.name, f"{key}: its SHA-256 is {hasher.hexdigest()}, not {wanted}")
        partial.rename(path)
    finally:
        partial.unlink(missing_ok=True)
    _sync(path.parent)
    return size


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
