"""What a BagIt package (RFC 8493) says of itself: its manifests, and the recording's ledger in it. Nothing of it is
believed: sizes are looked at before anything is read, and each fault is told by its kind.
"""

import hashlib
import re
import unicodedata
from dataclasses import dataclass, field
from typing import IO

from archive.recordings import verify
from archive.recordings.bag import READ_BYTES
from archive.recordings.bag_errors import BagError, Fault
from archive.recordings.bag_source import MAX_FILES, Source, check_name
from core.ids import is_id

ALGORITHMS = {"md5": 32, "sha1": 40, "sha256": 64, "sha512": 128}
STRONG = ("sha256", "sha512")
TAG_BYTES, MANIFEST_BYTES = 1 << 20, 1 << 28
LEDGER = f"data/{verify.LEDGER_NAME}"
PAYLOAD_NAME = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]{0,127}/){0,4}[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_LINE = re.compile(r"([0-9A-Fa-f]+)[ \t]+\*?(.+)")
_DECLARATION = re.compile(
    rb"\A(?:\xef\xbb\xbf)?BagIt-Version: (0\.97|1\.0)\r?\nTag-File-Character-Encoding: UTF-8\s*\Z"
)
_MANIFEST = re.compile(r"(tag)?manifest-([a-z0-9-]+)\.txt")


@dataclass(slots=True)
class Bag:
    source: Source
    sums: dict[str, dict[str, str]] = field(default_factory=dict)
    """What the manifests say of each file of data/: algorithm to digest."""

    def payload(self) -> dict[str, int]:
        return {name: size for name, size in self.source.sizes.items() if name.startswith("data/")}


def read_bag(source: Source) -> Bag:
    """Its names, its declaration and its manifests; the payload is not read yet. Raises BagError, OSError."""
    _check_names(source)
    if _DECLARATION.match(_tag(source, "bagit.txt", TAG_BYTES)) is None:
        raise BagError(Fault.NO_BAG, "bagit.txt")
    if "fetch.txt" in source.sizes:
        raise BagError(Fault.FETCH)
    bag = Bag(source)
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


def _add_payload(bag: Bag, manifest: str, sums: dict[str, str], algorithm: str) -> None:
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


def _check_oxum(bag: Bag) -> None:
    """Payload-Oxum tells at once of a bag that is not whole (RFC 8493, 2.2.2)."""
    if "bag-info.txt" not in bag.source.sizes:
        return
    sizes = bag.payload()
    for line in _lines(bag.source, "bag-info.txt", TAG_BYTES):
        label, _, value = line.partition(":")
        if label.strip().lower() == "payload-oxum" and value.strip() != f"{sum(sizes.values())}.{len(sizes)}":
            raise BagError(Fault.OXUM, value.strip())


def identity(source: Source) -> tuple[str, str]:
    """Which recording the ledger in the bag is of, and its head. The ledger's own word counts, no name around it."""
    chain = ledger_in(source)
    if chain.findings or not chain.lines:
        raise BagError(Fault.LEDGER, chain.findings[0].text() if chain.findings else LEDGER)
    recording = recording_of(chain)
    if recording is None:
        raise BagError(Fault.NO_RECORDING, LEDGER)
    return recording, chain.head


def ledger_in(source: Source) -> verify.Chain:
    """The recording's ledger, as far as it can be read. Raises BagError where there is none."""
    if LEDGER not in source.sizes:
        raise BagError(Fault.NO_RECORDING, LEDGER)
    empty = verify.Chain(verify.LEDGER_NAME, [], [], [], [])
    return verify.read_lines(empty, _tag(source, LEDGER, verify.MAX_LEDGER_BYTES), kept)


def kept(line: verify.Line, number: int) -> verify.Line:
    """What is asked of a ledger here. Whole, a stranger's lines would take many times their room."""
    names = ("fact", "name", "sha256", "at", "recording", "broadcast")
    return {name: line[name] for name in names if isinstance(line.get(name), str)}


def recording_of(ledger: verify.Chain) -> str | None:
    """The ID that its first line names; None where that is none of ours."""
    started = ledger.lines[0] if ledger.lines else {}
    recording = started.get("recording") or started.get("broadcast")
    is_named = started.get("fact") == "started" and isinstance(recording, str) and is_id(recording)
    return str(recording) if is_named else None
