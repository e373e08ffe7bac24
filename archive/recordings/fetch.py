"""A recording brought back from a location where it was copied to, proven before it is given its place."""

import os
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from archive.recordings import verify
from archive.recordings.copies import PAPERS
from archive.recordings.locations.errors import Damaged, Missing
from archive.recordings.locations.store import Store, check_key

FETCHING = ".fetching"


def recordings_at(store: Store) -> Iterator[str]:
    """Ids of the recordings that have a ledger there. Raises StoreError."""
    for stored in store.list():
        recording_id, _, name = stored.key.partition("/")
        if name == verify.LEDGER_NAME:
            yield recording_id


def fetch(
    store: Store, recording_id: str, recordings: Path, keys: Collection[bytes],
    on_progress: Callable[[int], None] = lambda size_bytes: None,
) -> Path:  # fmt: skip
    """The folder `recordings`/ID, whole. Its papers must be signed by one of `keys` before anything else is fetched.
    What an earlier fetch left half done is gone on with. Raises StoreError, OSError, ValueError."""
    folder, place = recordings / f"{FETCHING}-{recording_id}", recordings / recording_id
    folder.mkdir(parents=True, exist_ok=True)
    for name in PAPERS:
        _fetch_paper(store, recording_id, name, folder)
    wrong = verify.verify(folder, keys, with_media=False)
    if wrong.findings or wrong.recording != recording_id:
        raise Damaged(store.name, "; ".join([recording_id, *(finding.text() for finding in wrong.findings)]))
    files = verify.listed_files(verify.read_chain(folder / verify.LEDGER_NAME))
    for name, line in files.items():
        check_key(name)  # a ledger that is not ours must not lead outside
        path, sha256, size = folder / name, str(line["sha256"]), int(line["size"])
        if path.is_symlink() or not path.is_file() or verify.hash_file(path) != sha256:
            _fetch_file(store, f"{recording_id}/{name}", path, sha256, size)
        on_progress(size)
    folder.rename(place)
    return place


def _fetch_paper(store: Store, recording_id: str, name: str, folder: Path) -> None:
    try:
        _write(store, f"{recording_id}/{name}", folder / name, verify.MAX_LEDGER_BYTES)
    except Missing:
        (folder / name).unlink(missing_ok=True)
        if name == verify.LEDGER_NAME:
            raise


def _fetch_file(store: Store, key: str, path: Path, sha256: str, size: int) -> None:
    _write(store, key, path, size)
    if verify.hash_file(path) != sha256:
        path.unlink()
        raise Damaged(store.name, key)


def _write(store: Store, key: str, path: Path, max_bytes: int) -> None:
    """Raises Damaged at the first byte too many. What is not whole is not left."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    try:
        with fresh.open("xb") as file:
            for chunk in store.open(key):
                if file.tell() + len(chunk) > max_bytes:
                    raise Damaged(store.name, f"{key}: larger than {max_bytes} bytes")
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        fresh.rename(path)
    finally:
        fresh.unlink(missing_ok=True)
