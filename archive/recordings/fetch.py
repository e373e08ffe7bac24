"""A recording brought back from a location where it was copied to, proven before it is given its place."""

import os
from collections.abc import Callable, Iterator
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
    store: Store, recording_id: str, recordings: Path, on_progress: Callable[[int], None] = lambda size_bytes: None
) -> Path:
    """The folder `recordings`/ID, whole. What an earlier fetch left half done is gone on with. Raises StoreError,
    OSError."""
    folder, place = recordings / f"{FETCHING}-{recording_id}", recordings / recording_id
    folder.mkdir(parents=True, exist_ok=True)
    for name in PAPERS:
        _fetch_paper(store, recording_id, name, folder)
    files = verify.listed_files(verify.read_chain(folder / verify.LEDGER_NAME))
    for name, line in files.items():
        check_key(name)  # a ledger that is not ours must not lead outside
        path = folder / name
        if not path.is_file() or verify.hash_file(path) != line["sha256"]:
            _fetch_file(store, f"{recording_id}/{name}", path, str(line["sha256"]))
        on_progress(int(line["size"]))
    folder.rename(place)
    return place


def _fetch_paper(store: Store, recording_id: str, name: str, folder: Path) -> None:
    try:
        _write(store, f"{recording_id}/{name}", folder / name)
    except Missing:
        if name == verify.LEDGER_NAME:
            raise


def _fetch_file(store: Store, key: str, path: Path, sha256: str) -> None:
    _write(store, key, path)
    if verify.hash_file(path) != sha256:
        path.unlink()
        raise Damaged(store.name, key)


def _write(store: Store, key: str, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(path.name + ".new")
    with fresh.open("wb") as file:
        for chunk in store.open(key):
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    fresh.rename(path)
