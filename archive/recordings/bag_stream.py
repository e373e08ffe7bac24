"""A bag's tar that nobody stores: which stretches of it are files of the recording, and, in a file of parts, all else
(headers, manifests, papers as they were signed). Read from both it is the very tar that bag.write_tar would write.
"""

import hashlib
import json
import tarfile
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import IO, NamedTuple

from archive.recordings import bag
from archive.recordings.about import About
from archive.recordings.bag import READ_BYTES, Payload, Tag

ALGORITHMS = ("sha256",)
PARTS, PLAN = ".parts", ".plan"
"""What is added to a package's name for the two files that it is put together by."""


class Stretch(NamedTuple):
    """`length` bytes: a whole file of the recording, with its name and SHA-256; or, without, the next of the parts."""

    length: int
    name: str = ""
    sha256: str = ""


class Changed(OSError):
    """A file of the recording is not what it was when the bag was made."""


@dataclass(slots=True)
class Plan:
    """The tar, as it was read once to its end."""

    size: int = 0
    sha256: str = ""
    stretches: list[Stretch] = field(default_factory=list)

    def as_json(self) -> str:
        return json.dumps({"size": self.size, "sha256": self.sha256, "stretches": self.stretches})


def read_plan(path: Path) -> Plan:
    """Raises OSError."""
    told = json.loads(path.read_bytes())
    return Plan(told["size"], told["sha256"], [Stretch(*one) for one in told["stretches"]])


def plan_tar(
    folder: Path, parts: IO[bytes], about: About, tags: Mapping[str, Tag], now: datetime,
    passing: Callable[[bytes], object],
) -> Plan:  # fmt: skip
    """Reads the recording once, holding each file against its ledger; `passing` sees every byte, and stops it by
    raising. Raises BagError, OSError."""
    target = _Planner(parts, f"mbashara-{about.recording_id}", now, passing)
    bag.fill(target, folder, about, tags, now, ALGORITHMS)
    return target.ended()


class _Planner:
    """The tar that bag.fill writes into, member by member."""

    def __init__(self, parts: IO[bytes], top: str, now: datetime, passing: Callable[[bytes], object]) -> None:
        self._parts, self._top, self._now, self._passing = parts, top, now, passing
        self._plan, self._sum, self._loose = Plan(), hashlib.sha256(), 0

    def add(self, name: str, source: Payload, algorithms: Iterable[str]) -> dict[str, str]:
        member = bag.member(f"{self._top}/{name}", source.size, self._now)
        self._part(member.tobuf(tarfile.PAX_FORMAT, tarfile.ENCODING, "surrogateescape"))
        is_here = source.data is None and source.sha256 is not None
        with bag.opened(source, algorithms) as reader:
            while data := reader.read(READ_BYTES):
                if is_here:
                    self._pass(data)
                else:
                    self._part(data)
            digests = reader.digests()
        if is_here and source.size:
            self._told()
            self._plan.stretches.append(Stretch(source.size, source.name, digests["sha256"]))
        self._part(bytes(-source.size % tarfile.BLOCKSIZE))
        return digests

    def ended(self) -> Plan:
        self._part(bytes(2 * tarfile.BLOCKSIZE))
        self._part(bytes(-self._plan.size % tarfile.RECORDSIZE))
        self._told()
        self._plan.sha256 = self._sum.hexdigest()
        return self._plan

    def _part(self, data: bytes) -> None:
        self._pass(data)
        self._parts.write(data)
        self._loose += len(data)

    def _pass(self, data: bytes) -> None:
        self._passing(data)
        self._sum.update(data)
        self._plan.size += len(data)

    def _told(self) -> None:
        """What went into the parts since the last file is one stretch."""
        if self._loose:
            self._plan.stretches.append(Stretch(self._loose))
            self._loose = 0


def read(plan: Plan, parts: Path, folder: Path, begin: int, end: int) -> Generator[bytes, None, None]:
    """The tar's bytes from `begin` to before `end`. A file that is not what it was ends it short, before that file's
    last bytes: raises Changed; OSError."""
    at, part_at = 0, 0
    with parts.open("rb") as beside:
        for one in plan.stretches:
            first, last = max(begin - at, 0), min(end - at, one.length)
            if first < last and one.name:
                yield from _of_file(folder / one.name, one, first, last)
            elif first < last:
                beside.seek(part_at + first)
                yield from _pieces(beside, last - first)
            at += one.length
            part_at += 0 if one.name else one.length
            if at >= end:
                return


def _of_file(path: Path, one: Stretch, first: int, last: int) -> Iterator[bytes]:
    """Only of a whole file can it be told whether it is what it was."""
    is_whole, found, held = last - first == one.length, hashlib.sha256(), b""
    with path.open("rb") as file:
        file.seek(first)
        for data in _pieces(file, last - first):
            if held:
                yield held
            held = data
            if is_whole:
                found.update(data)
    if is_whole and found.hexdigest() != one.sha256:
        raise Changed(f"{one.name} is not what it was")
    yield held


def _pieces(file: IO[bytes], length: int) -> Iterator[bytes]:
    while length:
        data = file.read(min(READ_BYTES, length))
        if not data:
            raise Changed(f"{getattr(file, 'name', '')} is shorter than it was")
        length -= len(data)
        yield data
