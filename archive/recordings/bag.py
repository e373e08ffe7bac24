"""BagIt 1.0 packages of recordings (RFC 8493): out here, in again in bag_import.py.

data/ holds the recording's folder whole; metadata/ its PREMIS and the keys that signed it. A tar is written in one
pass, each file read once; a folder shares its media's blocks with the recording where the file system can do that.
"""

import contextlib
import fcntl
import hashlib
import io
import json
import os
import shutil
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Protocol

from archive.recordings.about import About
from archive.recordings.bag_errors import BagError, Fault
from archive.recordings.verify import (
    CUSTODY_NAME,
    LEDGER_NAME,
    PENDING_SUFFIXES,
    SIGNATURES_NAME,
    Finding,
    is_disposed,
    read_chain,
)
from core.web.i18n import Language

DECLARATION = b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"
READ_BYTES = 1 << 20
FICLONE = 0x40049409  # linux/fs.h
GROWING = (SIGNATURES_NAME, CUSTODY_NAME, LEDGER_NAME)
"""Read in this order: what is signed is then in the files that are read after it."""

Tag = bytes | Path


@dataclass(frozen=True, slots=True)
class Payload:
    """A file of the recording: its name in the folder, and its bytes where they are a copy of a file that grows."""

    name: str
    path: Path
    size: int
    data: bytes | None = None
    sha256: str | None = None


class Target(Protocol):
    """What a bag is written into. `add` returns the file's digests, one for each of `algorithms`."""

    def add(self, name: str, source: Payload, algorithms: Iterable[str]) -> dict[str, str]: ...


def write_tar(
    folder: Path, out: IO[bytes], about: About, tags: Mapping[str, Tag], now: datetime,
    algorithms: tuple[str, ...] = ("sha256",),
) -> None:  # fmt: skip
    """Streams a bag of the recording as a tar (POSIX.1-2001). Raises BagError, OSError; `out` is worthless then."""
    with tarfile.open(fileobj=out, mode="w|", bufsize=READ_BYTES, format=tarfile.PAX_FORMAT) as tar:
        fill(_TarTarget(tar, f"mbashara-{about.recording_id}", now), folder, about, tags, now, algorithms)


def write_folder(
    folder: Path, target: Path, about: About, tags: Mapping[str, Tag], now: datetime,
    algorithms: tuple[str, ...] = ("sha256",), may_link: bool = False,
) -> None:  # fmt: skip
    """Makes the bag beside `target` and gives it the name when it is whole. With `may_link` the media may be
    hard links: who writes into the bag then writes into the recording. Raises BagError, OSError."""
    if target.exists():
        raise BagError(Fault.TAKEN, str(target))
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    partial.mkdir(parents=True)
    try:
        fill(_FolderTarget(partial, may_link), folder, about, tags, now, algorithms)
        partial.rename(target)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def fill(
    target: Target, folder: Path, about: About, tags: Mapping[str, Tag], now: datetime, algorithms: tuple[str, ...]
) -> None:
    """Adds every file of the bag, in its order. Raises BagError, OSError."""
    payload = list(_payload(folder))
    target.add("bagit.txt", _bytes(DECLARATION), ())
    sums = {f"data/{one.name}": _add_checked(target, one, algorithms) for one in payload}
    size = sum(one.size for one in payload)
    written = {"bag-info.txt": _bytes(_info(about, now, size, len(payload)))}
    for algorithm in algorithms:
        lines = "".join(f"{digests[algorithm]}  {_encoded(name)}\n" for name, digests in sums.items())
        written[f"manifest-{algorithm}.txt"] = _bytes(lines.encode())
    written |= {name: _bytes(tag) if isinstance(tag, bytes) else _file(tag) for name, tag in sorted(tags.items())}
    tag_sums = {"bagit.txt": _digests(DECLARATION, algorithms)}
    tag_sums |= {name: target.add(name, source, algorithms) for name, source in written.items()}
    for algorithm in algorithms:
        lines = "".join(f"{digests[algorithm]}  {_encoded(name)}\n" for name, digests in tag_sums.items())
        target.add(f"tagmanifest-{algorithm}.txt", _bytes(lines.encode()), ())


def _add_checked(target: Target, one: Payload, algorithms: tuple[str, ...]) -> dict[str, str]:
    """A bag vouches for what is in it, so a file that is not as it was on the air does not go into one."""
    digests = target.add(f"data/{one.name}", one, {"sha256", *algorithms})
    if one.sha256 not in (None, digests["sha256"]):
        raise BagError(Fault.LEDGER, one.name)
    return digests


def _payload(folder: Path) -> Iterator[Payload]:
    """Every file of the folder, as large as it is now. Raises BagError where the recording is not whole."""
    grown = {name: _whole_lines(folder / name) for name in GROWING if (folder / name).is_file()}
    facts = [json.loads(line) for line in grown.get(LEDGER_NAME, b"").splitlines()]
    if not any(fact.get("fact") == "ended" for fact in facts):
        raise BagError(Fault.ON_AIR if facts else Fault.NO_RECORDING, folder.name)
    _cut_to_signed(grown, folder.name)
    listed = {str(fact["name"]): fact for fact in facts if fact.get("fact") == "file"}
    names = sorted(path.relative_to(folder).as_posix() for path in _files(folder))
    for name in listed:
        if not (folder / name).is_file():
            if is_disposed(read_chain(folder / CUSTODY_NAME)):
                raise BagError(Fault.DESTROYED, folder.name)
            raise BagError(Fault.MISSING, name)
    for name in names:
        if name not in listed and name not in GROWING:
            raise BagError(Fault.LEDGER, Finding("unlisted", {"file": name}).text())
        path, data = folder / name, grown.get(name)
        size = path.stat().st_size if data is None else len(data)
        yield Payload(name, path, size, data, listed[name]["sha256"] if name in listed else None)


def _cut_to_signed(grown: dict[str, bytes], recording_id: str) -> None:
    """What was done with the recording since its last signature is not signed yet, and stays out."""
    signed = [line for line in map(json.loads, grown.get(SIGNATURES_NAME, b"").splitlines()) if "signature" in line]
    if not signed or signed[-1]["ledger_bytes"] != len(grown[LEDGER_NAME]):
        raise BagError(Fault.UNSIGNED, recording_id)
    if CUSTODY_NAME in grown:
        grown[CUSTODY_NAME] = grown[CUSTODY_NAME][: signed[-1]["custody_bytes"]]


def _files(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise BagError(Fault.NO_FILE, path.name)
        if path.is_file() and not path.name.endswith(PENDING_SUFFIXES):
            yield path


def _whole_lines(path: Path) -> bytes:
    data = path.read_bytes()
    return data[: data.rfind(b"\n") + 1]


def _bytes(data: bytes) -> Payload:
    return Payload("", Path(), len(data), data)


def _file(path: Path) -> Payload:
    return Payload("", path, path.stat().st_size)


def _digests(data: bytes, algorithms: Iterable[str]) -> dict[str, str]:
    return {algorithm: hashlib.new(algorithm, data).hexdigest() for algorithm in algorithms}


def _encoded(name: str) -> str:
    """As manifests write a name (RFC 8493, 2.1.3)."""
    return name.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _info(about: About, now: datetime, size: int, files: int) -> bytes:
    """bag-info.txt (RFC 8493, 2.2.2)."""
    fields = [
        ("Source-Organization", about.institution(Language.EN)),
        ("External-Description", about.title(Language.SW)),
        ("External-Description", about.title(Language.EN)),
        ("External-Identifier", about.recording_id),
        ("Internal-Sender-Identifier", about.channel),
        ("Bagging-Date", now.astimezone(UTC).date().isoformat()),
        ("Bag-Software-Agent", "Mbashara"),
        ("Payload-Oxum", f"{size}.{files}"),
        ("Bag-Size", _size_text(size)),
    ]
    kept = dict.fromkeys((name, " ".join(value.split())) for name, value in fields if value.strip())
    return "".join(f"{name}: {value}\n" for name, value in kept).encode()


def _size_text(size: int) -> str:
    value, unit = float(size), "B"
    for larger in ("KB", "MB", "GB", "TB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{value:.1f} {unit}" if unit != "B" else f"{size} B"


class _Hashing:
    """Reads a file to its size of before, whatever it became since, and hashes on the way."""

    def __init__(self, source: Payload, file: IO[bytes], algorithms: Iterable[str]) -> None:
        self._source, self._file, self._left = source, file, source.size
        self._sums = {algorithm: hashlib.new(algorithm) for algorithm in algorithms}

    def read(self, size: int = READ_BYTES) -> bytes:
        data = self._file.read(min(size, self._left))
        if not data and self._left:
            raise BagError(Fault.CUT_OFF, self._source.name)
        self._left -= len(data)
        for one in self._sums.values():
            one.update(data)
        return data

    def digests(self) -> dict[str, str]:
        return {algorithm: one.hexdigest() for algorithm, one in self._sums.items()}


def member(name: str, size: int, now: datetime) -> tarfile.TarInfo:
    """Owned by nobody in particular, as of the moment of packing."""
    made = tarfile.TarInfo(name)
    made.size, made.mode, made.mtime = size, 0o644, int(now.timestamp())
    return made


@contextlib.contextmanager
def opened(source: Payload, algorithms: Iterable[str]) -> Iterator[_Hashing]:
    with io.BytesIO(source.data) if source.data is not None else source.path.open("rb") as file:
        yield _Hashing(source, file, algorithms)


@dataclass(frozen=True, slots=True)
class _TarTarget:
    tar: tarfile.TarFile
    top: str
    now: datetime

    def add(self, name: str, source: Payload, algorithms: Iterable[str]) -> dict[str, str]:
        member_ = member(f"{self.top}/{name}", source.size, self.now)
        with opened(source, algorithms) as reader:
            self.tar.addfile(member_, reader)
            return reader.digests()


@dataclass(frozen=True, slots=True)
class _FolderTarget:
    top: Path
    may_link: bool

    def add(self, name: str, source: Payload, algorithms: Iterable[str]) -> dict[str, str]:
        path = self.top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if source.data is None and (self._clone(source, path) or self._link(source, path)):
            with opened(Payload(source.name, path, source.size), algorithms) as reader:
                while reader.read():
                    pass
                return reader.digests()
        with opened(source, algorithms) as reader, path.open("xb") as file:
            while data := reader.read():
                file.write(data)
            return reader.digests()

    def _clone(self, source: Payload, path: Path) -> bool:
        with source.path.open("rb") as old:
            return clone(old, path)

    def _link(self, source: Payload, path: Path) -> bool:
        """Only what the ledger lists: those files are never written again, only replaced."""
        if source.sha256 is None or not self.may_link:
            return False
        try:
            os.link(source.path, path)
        except OSError:
            return False
        return True


def clone(source: IO[bytes], target: Path) -> bool:
    """A new file that shares the other's blocks until one is written to. False where the file system has no such."""
    with target.open("xb") as new:
        try:
            fcntl.ioctl(new.fileno(), FICLONE, source.fileno())
        except OSError:
            pass
        else:
            return True
    target.unlink()
    return False
