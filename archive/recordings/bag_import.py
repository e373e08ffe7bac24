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
import re
import shutil
import tarfile
import unicodedata
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Protocol

from archive.recordings import verify
from archive.recordings.bag import READ_BYTES, clone
from archive.recordings.bag_errors import BagError, Fault
from core.ids import is_id

INCOMING = ".incoming"
"""In the recordings' folder, so that the last step is a rename: what is being taken in."""
ALGORITHMS = {"md5": 32, "sha1": 40, "sha256": 64, "sha512": 128}
STRONG = ("sha256", "sha512")
TAG_BYTES, MANIFEST_BYTES, EXTRA_BYTES, MAX_FILES = 1 << 20, 1 << 28, 1 << 14, 2_000_000
PAYLOAD_NAME = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]{0,127}/){0,4}[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_LINE = re.compile(r"([0-9A-Fa-f]+)[ \t]+\*?(.+)")
_DECLARATION = re.compile(
    rb"\A(?:\xef\xbb\xbf)?BagIt-Version: (0\.97|1\.0)\r?\nTag-File-Character-Encoding: UTF-8\s*\Z"
)
_MANIFEST = re.compile(r"(tag)?manifest-([a-z0-9-]+)\.txt")


@dataclass(frozen=True, slots=True)
class Imported:
    """`is_new` is False where the very recording was here already: then nothing was changed."""

    recording_id: str
    is_new: bool
    files: int
    size_bytes: int


class Source(Protocol):
    """A bag's files by their name in it, with their sizes. `open` reads one from its beginning."""

    @property
    def is_folder(self) -> bool: ...
    @property
    def sizes(self) -> Mapping[str, int]: ...

    def open(self, name: str) -> IO[bytes]: ...


Reading = Callable[[], AbstractContextManager[None]]


@dataclass(slots=True)
class _Bag:
    source: Source
    sums: dict[str, dict[str, str]] = field(default_factory=dict)
    """What the manifests say of each file of data/: algorithm to digest."""

    def payload(self) -> dict[str, int]:
        return {name: size for name, size in self.source.sizes.items() if name.startswith("data/")}


def import_bag(
    path: Path, recordings: Path, keys: Collection[bytes] | None = None, reading: Reading = nullcontext,
    accept: Callable[[Path], None] = lambda staged: None,
) -> Imported:  # fmt: skip
    """`keys` are the public keys that may have signed the recording; None: any. The bag's files are opened in
    `reading`. `accept` sees the recording before it has its place, and may raise BagError. Blocks; for a worker's
    thread. Raises BagError, OSError."""
    with _refused(lambda: ""), _source(path, reading) as source, _refused(partial(_here, source, recordings)):
        bag = _read_bag(source)
        recording, head = _identity(source)
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
    name = f"data/{verify.LEDGER_NAME}"
    try:
        recording = _named_in(_ledger(source, name))
    except (BagError, OSError):
        return ""
    return recording if recording and (recordings / recording).exists() else ""


def _check_bag(bag: _Bag) -> None:
    """Of a recording that is here already: every byte all the same, since who hands it over wants to know."""
    digests = dict[str, str]()
    for name, wanted in sorted(bag.sums.items()):
        found = _hash_to(bag.source.open(name), bag.source.sizes[name], wanted, None)
        if any(found[algorithm] != digest for algorithm, digest in wanted.items()):
            raise BagError(Fault.CHECKSUM, name)
        digests[name[5:]] = found["sha256"]
    _check_listed(_ledger(bag.source, f"data/{verify.LEDGER_NAME}"), digests)


def _already(place: Path, head: str, files: int, size: int) -> Imported:
    if verify.read_chain(place / verify.LEDGER_NAME, _kept).head != head:
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


# What a bag says of itself.


def _read_bag(source: Source) -> _Bag:
    _check_names(source)
    if _DECLARATION.match(_tag(source, "bagit.txt", TAG_BYTES)) is None:
        raise BagError(Fault.NO_BAG, "bagit.txt")
    if "fetch.txt" in source.sizes:
        raise BagError(Fault.FETCH)
    bag = _Bag(source)
    _check_oxum(bag)
    for name in sorted(source.sizes):
        found = _MANIFEST.fullmatch(name)
        if found is None:
            continue
        if found[2] not in ALGORITHMS:
            raise BagError(Fault.ALGORITHM, name)
        sums = _manifest(source, name, found[2])
        if found[1]:
            _check_tags(source, sums, found[2])
        else:
            _add_payload(bag, name, sums, found[2])
    if not bag.sums:
        raise BagError(Fault.NO_BAG, "manifest-sha256.txt")
    if not any(algorithm in next(iter(bag.sums.values())) for algorithm in STRONG):
        raise BagError(Fault.ALGORITHM, "data/")
    return bag


def _check_names(source: Source) -> None:
    """Before anything is read: no name leads out, none is another's twin on some file system."""
    if len(source.sizes) > MAX_FILES:
        raise BagError(Fault.TOO_LARGE, str(len(source.sizes)))
    twins = set[str]()
    for name in source.sizes:
        check_name(name)
        twin = unicodedata.normalize("NFC", unicodedata.normalize("NFKD", name).casefold())
        if twin in twins:
            raise BagError(Fault.TWICE, name)
        twins.add(twin)
        if name.startswith("data/") and PAYLOAD_NAME.fullmatch(name[5:]) is None:
            raise BagError(Fault.ODD_NAME, name)


def check_name(name: str) -> None:
    """A name that a tar or a manifest gives. Raises BagError where it could mean a place outside the bag, also to one
    who decodes it or reads it on another system (RFC 8493, 5.3)."""
    plain = name.lower().replace("%2e", ".").replace("%2f", "/").replace("%5c", "\\").replace("%7e", "~")
    parts = re.split(r"[/\\]", plain)
    if not name or plain.startswith(("/", "\\", "~")) or ".." in parts or re.match(r"[a-z]:", plain):
        raise BagError(Fault.ESCAPES, name)
    if "" in parts or "." in parts or "\\" in plain or not name.isprintable() or "%" in name or len(name) > 1024:
        raise BagError(Fault.ODD_NAME, name)


def _tag(source: Source, name: str, limit: int) -> bytes:
    """A small file of the bag, whole. Raises BagError where it is not there or not small."""
    if name not in source.sizes:
        raise BagError(Fault.NO_BAG, name)
    if source.sizes[name] > limit:
        raise BagError(Fault.TOO_LARGE, name)
    with source.open(name) as file:
        data = file.read(limit + 1)
    if len(data) != source.sizes[name]:
        raise BagError(Fault.CUT_OFF, name)
    return data


def _lines(source: Source, name: str, limit: int) -> list[str]:
    try:
        return _tag(source, name, limit).decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise BagError(Fault.ENCODING, name) from error


def _manifest(source: Source, name: str, algorithm: str) -> dict[str, str]:
    sums: dict[str, str] = {}
    for line in _lines(source, name, MANIFEST_BYTES):
        if not line.strip():
            continue
        found = _LINE.fullmatch(line)
        if found is None or len(found[1]) != ALGORITHMS[algorithm]:
            raise BagError(Fault.MALFORMED, name)
        file = found[2].removeprefix("./")
        check_name(file)
        if file in sums:
            raise BagError(Fault.TWICE, file)
        sums[file] = found[1].lower()
    return sums


def _add_payload(bag: _Bag, manifest: str, sums: dict[str, str], algorithm: str) -> None:
    """Each manifest of the payload names all of it (RFC 8493, 3)."""
    there = bag.payload()
    for name in sums:
        if not name.startswith("data/"):
            raise BagError(Fault.MALFORMED, manifest)
        if name not in there:
            raise BagError(Fault.MISSING, name)
    for name in there:
        if name not in sums:
            raise BagError(Fault.EXTRA, name)
        bag.sums.setdefault(name, {})[algorithm] = sums[name]


def _check_tags(source: Source, sums: dict[str, str], algorithm: str) -> None:
    for name, digest in sums.items():
        if name not in source.sizes or name.startswith("data/"):
            raise BagError(Fault.MISSING, name)
        with source.open(name) as file:
            if _digest(file, source.sizes[name], algorithm) != digest:
                raise BagError(Fault.CHECKSUM, name)


def _digest(file: IO[bytes], size: int, algorithm: str) -> str:
    found, left = hashlib.new(algorithm, usedforsecurity=False), size
    while left and (data := file.read(min(READ_BYTES, left))):
        found.update(data)
        left -= len(data)
    return found.hexdigest()


def _check_oxum(bag: _Bag) -> None:
    """Payload-Oxum tells at once of a bag that is not whole (RFC 8493, 2.2.2)."""
    if "bag-info.txt" not in bag.source.sizes:
        return
    sizes = bag.payload()
    for line in _lines(bag.source, "bag-info.txt", TAG_BYTES):
        label, _, value = line.partition(":")
        if label.strip().lower() == "payload-oxum" and value.strip() != f"{sum(sizes.values())}.{len(sizes)}":
            raise BagError(Fault.OXUM, value.strip())


def _identity(source: Source) -> tuple[str, str]:
    """Which recording the ledger in the bag is of, and its head. The ledger's own word counts, no name around it."""
    name = f"data/{verify.LEDGER_NAME}"
    chain = _ledger(source, name)
    if chain.findings or not chain.lines:
        raise BagError(Fault.LEDGER, chain.findings[0].text() if chain.findings else name)
    recording = _named_in(chain)
    if recording is None:
        raise BagError(Fault.NO_RECORDING, name)
    return recording, chain.head


def _ledger(source: Source, name: str) -> verify.Chain:
    """As far as it can be read."""
    if name not in source.sizes:
        raise BagError(Fault.NO_RECORDING, name)
    empty = verify.Chain(verify.LEDGER_NAME, [], [], [], [])
    return verify.read_lines(empty, _tag(source, name, verify.MAX_LEDGER_BYTES), _kept)


def _kept(line: verify.Line, number: int) -> verify.Line:
    """What is asked of a ledger here. Whole, a stranger's lines would take many times their room."""
    names = ("fact", "name", "sha256", "at", "recording", "broadcast")
    return {name: line[name] for name in names if isinstance(line.get(name), str)}


def _named_in(ledger: verify.Chain) -> str | None:
    started = ledger.lines[0] if ledger.lines else {}
    recording = started.get("recording") or started.get("broadcast")
    is_named = started.get("fact") == "started" and isinstance(recording, str) and is_id(recording)
    return str(recording) if is_named else None


# The copy.


def _stage(bag: _Bag, staged: Path) -> dict[str, str]:
    """Copies data/ into `staged`, and is certain of every byte; the SHA-256 of each file by its name there."""
    for old in list(staged.rglob("*")):
        is_wanted = old.is_dir() or f"data/{old.relative_to(staged).as_posix()}" in bag.sums
        if old.is_symlink() or not is_wanted:  # no link is of ours
            old.unlink()
    return {name[5:]: _copy(bag, name, staged / name[5:]) for name in sorted(bag.sums)}


def _copy(bag: _Bag, name: str, target: Path) -> str:
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
    if report.findings:
        raise BagError(Fault.LEDGER, report.findings[0].text())
    _check_listed(verify.read_chain(staged / verify.LEDGER_NAME, _kept), digests)


def _check_listed(ledger: verify.Chain, digests: Mapping[str, str]) -> None:
    listed = verify.listed_files(ledger)
    for name, line in listed.items():
        if digests.get(name) != line.get("sha256"):
            kind = "changed" if name in digests else "missing"
            raise BagError(Fault.LEDGER, verify.Finding(kind, {"file": name, "time": line.get("at", "")}).text())
    for name in digests:
        if name not in listed and name not in verify.MADE_LATER:
            raise BagError(Fault.LEDGER, verify.Finding("unlisted", {"file": name}).text())


# Where a bag is.


@contextmanager
def _source(path: Path, reading: Reading) -> Iterator[Source]:
    with reading():
        folder = _Folder(path, dict(_sizes(path)), reading) if path.is_dir() else None
    if folder is not None:
        yield folder
        return
    # Never compressed: what is written is never more than what was sent.
    with ExitStack() as opened:
        opened.enter_context(_no_bag(path))
        with reading():
            tar = opened.enter_context(tarfile.open(path, "r:", tarinfo=_Member))
            members = _members(tar, path)
        yield _Tar(tar, members, {name: member.size for name, member in members.items()})


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
