"""A recording brought back from a location where it was copied to, proven before it is given its place."""

import os
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from pathlib import Path

from archive.recordings import newest, resolve, verify
from archive.recordings.locations.errors import Damaged, Missing
from archive.recordings.locations.fetch import fetch_file
from archive.recordings.locations.store import Store, check_key
from archive.recordings.rebuild import check_signer
from archive.recordings.verify import Report

FETCHING = ".fetching"


def recordings_at(store: Store) -> Iterator[str]:
    """Ids of the recordings that have a ledger there. Raises StoreError."""
    for stored in store.list():
        recording_id, _, name = stored.key.partition("/")
        if name == verify.LEDGER_NAME:
            yield recording_id


def fetch(
    store: Store, recording_id: str, recordings: Path, keys: Collection[bytes],
    on_progress: Callable[[int], None] = lambda size_bytes: None, accept: Callable[[Path], None] = lambda folder: None,
) -> Path:  # fmt: skip
    """The folder `recordings`/ID, whole: of what was destroyed by order, its papers; without files that are known to be
    lost. Its papers must be signed by one of `keys` before anything else is fetched. What an earlier fetch left half
    done is gone on with. One that was cut off has no end, and may lack what was not signed or copied yet. `accept`
    sees it before it has its place. Raises UnknownKey, StoreError, OSError, ValueError."""
    folder, place = recordings / f"{FETCHING}-{recording_id}", recordings / recording_id
    folder.mkdir(parents=True, exist_ok=True)
    for name in reversed(verify.PAPERS):  # signatures first: they are put last, and sign no more than is there
        _fetch_paper(store, recording_id, name, folder)
    wrong = _cut_to_signed(folder, keys)
    if {finding.kind for finding in wrong.findings} == {verify.NO_END}:
        wrong = _lengthen(store, recording_id, folder, keys, wrong)
    check_signer(recording_id, wrong.findings)
    faults = [finding for finding in wrong.findings if finding.kind != verify.NO_END]
    if faults or wrong.recording != recording_id:
        raise Damaged(store.name, "; ".join([recording_id, *(finding.text() for finding in faults)]))
    is_cut_off = bool(wrong.findings)
    custody = verify.read_chain(folder / verify.CUSTODY_NAME)
    files = {} if verify.is_disposed(custody) else verify.listed_files(verify.read_chain(folder / verify.LEDGER_NAME))
    lost = resolve.known_lost(custody.lines)
    for name, line in files.items():
        check_key(name)  # a ledger that is not ours must not lead outside
        path, sha256, size = folder / name, str(line["sha256"]), int(line["size"])
        if path.is_symlink() or not path.is_file() or verify.hash_file(path) != sha256:
            not_copied = (Missing,) if is_cut_off and "msn" in line else ()
            with suppress(*((Missing, Damaged) if name in lost else not_copied)):
                fetch_file(store, f"{recording_id}/{name}", path, sha256, size)
        on_progress(size)
    accept(folder)
    folder.rename(place)
    return place


def _lengthen(store: Store, recording_id: str, folder: Path, keys: Collection[bytes], wrong: Report) -> Report:
    """By what was signed since the papers were put whole. What does not prove itself is left."""
    before = {name: (folder / name).read_bytes() for name in verify.PAPERS if (folder / name).exists()}
    if not newest.add(store, recording_id, folder):
        return wrong
    longer = _cut_to_signed(folder, keys)
    if not {finding.kind for finding in longer.findings} <= {verify.NO_END}:
        for name in verify.PAPERS:
            (folder / name).write_bytes(before[name]) if name in before else (folder / name).unlink(missing_ok=True)
        return wrong
    return longer


def _cut_to_signed(folder: Path, keys: Collection[bytes]) -> Report:
    """What is behind was put, and its signature was not: the process ended between the two, or is at it just now."""
    wrong = verify.verify(folder, keys, with_media=False)
    if {finding.kind for finding in wrong.findings} != {verify.NO_END, verify.UNSIGNED_TAIL}:
        return wrong
    last = [line for line in verify.read_chain(folder / verify.SIGNATURES_NAME).lines if "signature" in line][-1]
    for name, signed_bytes in (
        (verify.LEDGER_NAME, last["ledger_bytes"]),
        (verify.CUSTODY_NAME, last["custody_bytes"]),
    ):
        if (folder / name).exists():
            os.truncate(folder / name, signed_bytes)
    return verify.verify(folder, keys, with_media=False)


def _fetch_paper(store: Store, recording_id: str, name: str, folder: Path) -> None:
    try:
        fetch_file(store, f"{recording_id}/{name}", folder / name, None, verify.MAX_LEDGER_BYTES)
    except Missing:
        (folder / name).unlink(missing_ok=True)
        if name == verify.LEDGER_NAME:
            raise
