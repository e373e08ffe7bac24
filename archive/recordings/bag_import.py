"""Takes a BagIt package (RFC 8493) of a recording in again: a folder, or a tar as it comes.

Nothing in a bag is believed. Names are looked at before anything is read, sizes before anything is written; each file
is hashed as it is copied into a folder beside the recordings; the copy is held against the bag's manifests and the
recording's own signed ledger, and only then gets its name among the recordings, in one rename. A killed import leaves
what it had copied, and the next one goes on from there.
"""

import ctypes
import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

from archive.recordings import verify
from archive.recordings.bag import READ_BYTES, clone
from archive.recordings.bag_errors import BagError, Fault
from archive.recordings.bag_reading import Bag, identity, kept, ledger_in, read_bag, recording_of
from archive.recordings.bag_source import Reading, Source, opened

INCOMING = ".incoming"
"""In the recordings' folder, so that the last step is a rename: what is being taken in."""


@dataclass(frozen=True, slots=True)
class Imported:
    """`is_new` is False where the very recording was here already: then nothing was changed."""

    recording_id: str
    is_new: bool
    files: int
    size_bytes: int


def import_bag(
    path: Path, recordings: Path, keys: Collection[bytes] | None = None, reading: Reading = nullcontext,
    accept: Callable[[Path], None] = lambda staged: None,
) -> Imported:  # fmt: skip
    """`keys` are the public keys that may have signed the recording; None: any. The bag's files are opened in
    `reading`. `accept` sees the recording before it has its place, and may raise BagError. Blocks; for a worker's
    thread. Raises BagError, OSError."""
    with _refused(lambda: ""), opened(path, reading) as source, _refused(partial(_here, source, recordings)):
        bag = read_bag(source)
        recording, head = identity(source)
        files, size = len(bag.payload()), sum(bag.payload().values())
        place = recordings / recording
        if place.exists():
            _check_bag(bag)
            return _already(place, head, files, size)
        incoming = recordings / INCOMING
        incoming.mkdir(exist_ok=True)
        if shutil.disk_usage(incoming).free < size:
            raise BagError(Fault.NO_ROOM, str(size))
        staged = incoming / recording
        staged.mkdir(exist_ok=True)
        with _locked(staged):
            try:
                _check_ledger(staged, _stage(bag, staged), keys)
                accept(staged)
            except BagError:
                shutil.rmtree(staged)
                raise
            return _place(staged, place, head, files, size)


@contextmanager
def _refused(here: Callable[[], str]) -> Iterator[None]:
    """Says of a bag that is refused what became of the recording that is `here`, which is looked for then."""
    try:
        yield
    except BagError as error:
        if error.here is not None:
            raise
        raise BagError(error.fault, error.name, here()) from error


def _here(source: Source, recordings: Path) -> str:
    """The recording that a bag is of, damaged as it may be, where that is here already; else nothing."""
    try:
        recording = recording_of(ledger_in(source))
    except (BagError, OSError):
        return ""
    return recording if recording and (recordings / recording).exists() else ""


def _check_bag(bag: Bag) -> None:
    """Of a recording that is here already: every byte all the same, since who hands it over wants to know."""
    digests = dict[str, str]()
    for name, wanted in sorted(bag.sums.items()):
        found = _hash_to(bag.source.open(name), bag.source.sizes[name], wanted, None)
        if any(found[algorithm] != digest for algorithm, digest in wanted.items()):
            raise BagError(Fault.CHECKSUM, name)
        digests[name[5:]] = found["sha256"]
    _check_listed(ledger_in(bag.source), digests)


def _already(place: Path, head: str, files: int, size: int) -> Imported:
    if verify.read_chain(place / verify.LEDGER_NAME, kept).head != head:
        raise BagError(Fault.ANOTHER, place.name)
    return Imported(place.name, False, files, size)


def _place(staged: Path, place: Path, head: str, files: int, size: int) -> Imported:
    _give(staged, place.parent)
    _sync(staged)
    try:
        staged.rename(place)
    except OSError:
        if place.exists():
            return _already(place, head, files, size)
        raise
    _sync(place.parent)
    return Imported(place.name, True, files, size)


def _give(staged: Path, recordings: Path) -> None:
    """To the service's account, whose folder it is going to, when root takes a bag in."""
    if os.geteuid() == 0:
        owner = recordings.stat()
        for path in (staged, *staged.rglob("*")):
            os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def _sync(folder: Path) -> None:
    """All that was written on the folder's file system: one wait, not one a file. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(descriptor):
            raise OSError(ctypes.get_errno(), "can't be synced to disk", str(folder))
    finally:
        os.close(descriptor)


@contextmanager
def _locked(staged: Path) -> Iterator[None]:
    """One import of a recording at a time. The lock is the folder's, and goes with it."""
    descriptor = os.open(staged, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise BagError(Fault.BUSY, staged.name) from error
    try:
        yield
    finally:
        os.close(descriptor)


# The copy.


def _stage(bag: Bag, staged: Path) -> dict[str, str]:
    """Copies data/ into `staged`, and is certain of every byte; the SHA-256 of each file by its name there."""
    for old in list(staged.rglob("*")):
        is_wanted = old.is_dir() or f"data/{old.relative_to(staged).as_posix()}" in bag.sums
        if old.is_symlink() or not is_wanted:  # no link is of ours
            old.unlink()
    return {name[5:]: _copy(bag, name, staged / name[5:]) for name in sorted(bag.sums)}


def _copy(bag: Bag, name: str, target: Path) -> str:
    """A file that an earlier try left whole is read, not copied. One that is not right does not get its name."""
    wanted, size = bag.sums[name], bag.source.sizes[name]
    with suppress(OSError):
        digests = _hash_to(target.open("rb"), size, wanted, None) if target.stat().st_size == size else {}
        if all(digests.get(algorithm) == digest for algorithm, digest in wanted.items()):
            return digests["sha256"]
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(target.name + ".new")
    partial.unlink(missing_ok=True)
    if bag.source.is_folder and _clone(bag.source, name, partial):
        digests = _hash_to(partial.open("rb"), size, wanted, None)
    else:
        with partial.open("xb") as file:
            digests = _hash_to(bag.source.open(name), size, wanted, file)
    for algorithm, digest in wanted.items():
        if digests[algorithm] != digest:
            partial.unlink()
            raise BagError(Fault.CHECKSUM, name)
    partial.rename(target)
    return digests["sha256"]


def _clone(source: Source, name: str, target: Path) -> bool:
    with source.open(name) as original:
        return clone(original, target)


def _hash_to(source: IO[bytes], size: int, algorithms: Mapping[str, str], target: IO[bytes] | None) -> dict[str, str]:
    """The digests of the first `size` bytes, which go to `target` too. One byte more or less is a wrong digest."""
    sums = {one: hashlib.new(one, usedforsecurity=False) for one in {"sha256", *algorithms}}
    left = size + 1
    with source:
        while left and (data := source.read(min(READ_BYTES, left))):
            left -= len(data)
            for one in sums.values():
                one.update(data)
            if target is not None:
                target.write(data)
    return {algorithm: one.hexdigest() for algorithm, one in sums.items()}


def _check_ledger(staged: Path, digests: Mapping[str, str], keys: Collection[bytes] | None) -> None:
    """The media were hashed on their way in; what the ledger lists must have those very hashes, and be all there is."""
    report = verify.verify(staged, keys, with_media=False)
    if report.findings and report.findings[0].kind == "key_unknown":
        raise BagError(Fault.STRANGER, str(report.findings[0].values["key"]))
    if report.findings:
        raise BagError(Fault.LEDGER, report.findings[0].text())
    _check_listed(verify.read_chain(staged / verify.LEDGER_NAME, kept), digests)


def _check_listed(ledger: verify.Chain, digests: Mapping[str, str]) -> None:
    listed = verify.listed_files(ledger)
    for name, line in listed.items():
        if digests.get(name) != line.get("sha256"):
            kind = "changed" if name in digests else "missing"
            raise BagError(Fault.LEDGER, verify.Finding(kind, {"file": name, "time": line.get("at", "")}).text())
    for name in digests:
        if name not in listed and name not in verify.MADE_LATER:
            raise BagError(Fault.LEDGER, verify.Finding("unlisted", {"file": name}).text())
