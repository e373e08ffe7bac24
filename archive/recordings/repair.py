"""Repairs a recording's copies from each other, where the signed ledger says which bytes are right.

No person is asked where the ledger and one copy at least agree. Where no copy is what the ledger says, or nobody's
papers are authentic, nothing of the recording is changed: what lies there is evidence, and a person decides. A location
that lost much at once is not mended file by file (it may be another disk that is mounted there): it is copied anew.
"""

import hashlib
import shutil
import tempfile
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from archive.recordings.fixity import WORKERS, Examination, examine
from archive.recordings.judge import Judgement, Standing, judge
from archive.recordings.locations.config import LOCAL
from archive.recordings.locations.errors import Missing, StoreError
from archive.recordings.locations.store import Store
from archive.recordings.verify import LEDGER_NAME, PAPERS, Chain, Finding, Line, read_lines

MOST_FAULTY = 0.5
"""Of a copy's files; more at once, and the location is lost."""
FEW = 4
"""So many files are repaired however small the recording, unless they are all of it."""
RESERVE_BYTES = 16 << 20
SCRATCH = "repair-"
"""So files begin that are on their way to where they are needed."""


class Result(StrEnum):
    REPAIRED = "repaired"
    HELD = "held"  # something must be done and was not; `why` says what keeps us
    TOLD = "told"  # for people to know; nothing to be done by itself
    REMOVED = "removed"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one fault. `location` is None where it is the recording's or the database's; `source`: the location
    that the right bytes came from."""

    location: str | None
    fault: Finding
    result: Result
    source: str | None = None
    why: Finding | None = None

    def text(self) -> str:
        """The fault and why it was left, once where these are the same."""
        return " ".join(dict.fromkeys(one.text() for one in (self.fault, self.why) if one is not None))


@dataclass(frozen=True, slots=True)
class Order:
    """What a person ordered of one location's copy, file by file: nothing else is touched, there or elsewhere.
    `repaired`, though another file is lost everywhere; `removed`: by its name, the SHA-256 of each version of an
    unlisted file."""

    location: str
    repaired: Collection[str] = ()
    removed: Mapping[str, Collection[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Cycle:
    """One round over all copies of a recording."""

    judgement: Judgement
    examinations: Mapping[str, Examination]
    outcomes: Sequence[Outcome]

    @property
    def files_read(self) -> int:
        return sum(one.files_read for one in self.examinations.values())

    @property
    def notes(self) -> list[Finding]:
        return [*self.judgement.notes, *(note for one in self.examinations.values() for note in one.notes)]


def examine_all(
    stores: Mapping[str, Store], judgement: Judgement, *, on_air: bool = False, now: datetime | None = None,
    workers: int = WORKERS, on_progress: Callable[[int], None] = lambda size_bytes: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> dict[str, Examination]:  # fmt: skip
    """Every location's copy against what the judgement says it must hold; none where there is no authority."""
    if judgement.authority is None:
        return {}
    found = dict[str, Examination]()
    for location, store in stores.items():
        away = judgement.papers[location].away
        if away is not None:
            found[location] = Examination(location, judgement.recording_id, len(judgement.files), away=away)
            continue
        found[location] = examine(
            store, judgement.recording_id, judgement.files_of(location),
            may_be={*judgement.files, *(judgement.unsettled if on_air else ())}, origin_ms=judgement.origin_ms,
            on_air=on_air, now=now, workers=workers, on_progress=on_progress, should_stop=should_stop,
        )  # fmt: skip
    return found


def check_and_repair(
    stores: Mapping[str, Store], recording_id: str, keys: Collection[bytes], scratch: Path, *,
    ledger_bytes: int | None = None, ledger_head: str | None = None, copied: Mapping[str, int] | None = None,
    on_air: bool = False, now: datetime | None = None, order: Order | None = None, workers: int = WORKERS,
    should_stop: Callable[[], bool] = lambda: False,
) -> Cycle:  # fmt: skip
    """Judges, examines and repairs all copies of a recording, once. See `judge`, `examine`, `repair`."""
    judgement = judge(
        stores, recording_id, keys, ledger_bytes=ledger_bytes, ledger_head=ledger_head, copied=copied, on_air=on_air,
        now=now,
    )  # fmt: skip
    found = examine_all(stores, judgement, on_air=on_air, now=now, workers=workers, should_stop=should_stop)
    outcomes = repair(stores, judgement, found, scratch, on_air=on_air, order=order)
    return Cycle(judgement, found, tuple(outcomes))


def repair(
    stores: Mapping[str, Store],
    judgement: Judgement,
    examinations: Mapping[str, Examination],
    scratch: Path,
    *,
    most_faulty: float = MOST_FAULTY,
    on_air: bool = False,
    lost: Collection[str] = (),
    order: Order | None = None,
) -> Iterator[Outcome]:
    """What comes of each fault, as it is done. `scratch`: a folder for one file at a time. `lost`: files that a person
    knows to be lost everywhere: they hold no others. Whoever else writes to the recording's papers must be kept out
    meanwhile (`signatures.lock`). Raises nothing of the stores'."""
    if judgement.database is not None:
        yield Outcome(None, judgement.database, Result.TOLD)
    if judgement.hold is not None:
        for location, faults in judgement.faults.items():
            yield from (Outcome(location, fault, Result.HELD, why=judgement.hold) for fault in faults)
        yield Outcome(None, judgement.hold, Result.HELD, why=judgement.hold)
        return
    gone = {
        name: why for name, one in examinations.items() if (why := lost_at(judgement, one, most_faulty)) is not None
    }
    work = Repair(stores, judgement, examinations, scratch, on_air)
    for location, why in gone.items():
        yield Outcome(location, why, Result.HELD, why=why)
    mine = [name for name in judgement.standings if name not in gone and (order is None or name == order.location)]
    plan = [
        (location, name, fault, work.sources(location, name))
        for location, one in examinations.items()
        if location in mine
        for name, fault in one.faulty.items()
    ]
    nowhere = (name for _, name, _, found in plan if is_nowhere(found) and name not in lost)
    holding = None if order is not None else next(nowhere, None)
    for location, name, fault, found in plan:
        if isinstance(found, Finding):
            is_known = is_nowhere(found) and name in lost
            yield Outcome(location, fault, Result.TOLD if is_known else Result.HELD, why=found)
        elif holding is not None:
            yield Outcome(location, fault, Result.HELD, why=Finding("other_held", {"file": holding}))
        elif order is None or name in order.repaired:
            yield work.mend(location, name, fault, found)
    for location in mine:
        yield from work.mend_papers(location, None if holding is None else Finding("other_held", {"file": holding}))
    strange = [
        (location, fault)
        for location in mine
        for fault in (examinations[location].faults if location in examinations else ())
        if fault.kind == "unlisted"
    ]
    if order is None:
        yield from (Outcome(location, fault, Result.TOLD) for location, fault in strange)
        return
    ours = named(judgement)
    for location, fault in strange:
        if fault.values["file"] in order.removed:
            yield work.remove(location, fault, order.removed[str(fault.values["file"])], ours)


def is_nowhere(found: object) -> bool:
    """Whether `Repair.sources` says that no location holds the file's right bytes."""
    return isinstance(found, Finding) and found.kind in ("no_good_copy", "copies_against")


def named(judgement: Judgement) -> frozenset[str]:
    """The files that any location's ledger names, signed or not, as `alike` spells them: none is ever removed."""
    ledgers = (papers.chains[LEDGER_NAME] for papers in judgement.papers.values() if papers.chains)
    lines = (line for ledger in ledgers for line in ledger.lines if line.get("fact") == "file")
    return frozenset(alike(str(name)) for name in (*PAPERS, *(line.get("name") for line in lines)))


def alike(name: str) -> str:
    """Names that some disk takes for the same are the same here."""
    return unicodedata.normalize("NFC", name).casefold()


def lost_at(judgement: Judgement, found: Examination, most_faulty: float) -> Finding | None:
    """Why a location's copy is not mended file by file: it is away, be it only for its papers, or lost much at once."""
    away = found.away or judgement.papers[found.location].away
    if away is not None:
        return Finding("away", {"location": found.location, "reason": away})
    faulty = len(found.faulty)
    if faulty and (faulty == found.files or (faulty > FEW and faulty > most_faulty * found.files)):
        return Finding("location_lost", {"location": found.location, "count": faulty, "files": found.files})
    return None


@dataclass(frozen=True, slots=True)
class Repair:
    stores: Mapping[str, Store]
    judgement: Judgement
    examinations: Mapping[str, Examination]
    scratch: Path
    on_air: bool

    def sources(self, location: str, name: str) -> list[str] | Finding:
        """Where good bytes of a file are, or why there are none."""
        good, silent, digests = list[str](), list[str](), Counter[str]()
        for other, one in self.examinations.items():
            fault = one.faulty.get(name)
            if fault is not None and "sha256" in fault.values:
                digests[str(fault.values["sha256"])] += 1
            if other == location:
                continue
            is_away = one.away is not None or other not in self.judgement.standings
            if is_away or (fault is None and not one.is_complete):
                silent.append(other)
            elif fault is None and name in self.judgement.files_of(other):
                good.append(other)
            elif fault is not None and fault.kind == "no_answer":
                silent.append(other)
        if good:
            return good
        if silent:
            return Finding("source_away", {"location": ", ".join(silent)})
        if digests and max(digests.values()) > 1:
            return Finding("copies_against", {"file": name, "count": max(digests.values())})
        return Finding("no_good_copy", {"file": name})

    def mend(self, location: str, name: str, fault: Finding, sources: list[str]) -> Outcome:
        if fault.kind == "no_answer":
            why = Finding("away", {"location": location, "reason": fault.values["reason"]})
            return Outcome(location, fault, Result.HELD, why=why)
        line, why = self.judgement.files[name], Finding("no_good_copy", {"file": name})
        size, sha256 = int(line["size"]), str(line["sha256"])
        if shutil.disk_usage(self.scratch).free < size + RESERVE_BYTES:
            return Outcome(location, fault, Result.HELD, why=Finding("no_room", {"size": size}))
        for source in sources:
            with tempfile.NamedTemporaryFile(dir=self.scratch, prefix=SCRATCH) as file:
                try:
                    is_right = _fetch(self.stores[source], self._key(name), Path(file.name), line)
                except OSError:
                    return Outcome(location, fault, Result.HELD, why=Finding("no_room", {"size": size}))
                except StoreError as error:
                    why = Finding("source_away", {"location": str(error)})
                    continue
                if is_right:
                    refused = self._put(location, name, Path(file.name), sha256)
                    result = Result.HELD if refused else Result.REPAIRED
                    return Outcome(location, fault, result, source, refused)
        return Outcome(location, fault, Result.HELD, why=why)

    def mend_papers(self, location: str, held: Finding | None) -> Iterator[Outcome]:
        """Those that are damaged or gone; and those that are behind though all files are there."""
        authority, standings = self.judgement.authority, self.judgement.standings[location]
        assert authority is not None
        faults = {str(one.values.get("name")): one for one in self.judgement.faults[location]}
        tail = faults.pop(LEDGER_NAME) if standings[LEDGER_NAME] is Standing.AHEAD and LEDGER_NAME in faults else None
        if tail is not None:
            yield Outcome(location, tail, Result.TOLD)
        if not faults and standings[LEDGER_NAME] not in (Standing.EQUAL, Standing.AHEAD):
            return
        for name in PAPERS:
            due, there = self.judgement.paper_due(location, name), self.judgement.papers[location]
            is_as_due = there.chains[name].size == due == (there.sizes[name] or 0)
            if standings[name] in (Standing.EQUAL, Standing.AHEAD) or (is_as_due and name not in faults):
                continue
            behind = Finding("behind", {"name": name, "found": there.chains[name].size, "size": due})
            why = held
            if self.on_air and location == LOCAL:
                if name not in faults:
                    continue
                why = Finding("on_air", {"name": name})
            why = why or self.put_paper(location, name, due)
            result = Result.HELD if why else Result.REPAIRED
            yield Outcome(location, faults.get(name, behind), result, authority.location, why)

    def remove(self, location: str, fault: Finding, sha256s: Collection[str], ours: Collection[str]) -> Outcome:
        """Never what a ledger names (`ours`, see `named`), whatever was ordered; and no other bytes than those that
        were, in whatever version."""
        name, store = str(fault.values["file"]), self.stores[location]
        if alike(name) in ours:
            return Outcome(location, fault, Result.HELD, why=Finding("named", {"file": name}))
        try:
            there = (store.digest(self._key(name)), *store.former(self._key(name)))
            if not {one.sha256 for one in there} <= set(sha256s):
                return Outcome(location, fault, Result.HELD, why=Finding("other_now", {"file": name}))
            store.delete(self._key(name))
            store.stat(self._key(name))
        except Missing:
            return Outcome(location, fault, Result.REMOVED)
        except (StoreError, ValueError) as error:
            return Outcome(location, fault, Result.HELD, why=_refused(location, str(error)))
        return Outcome(location, fault, Result.HELD, why=_refused(location, "it is there still"))

    def _put(self, location: str, name: str, file: Path, sha256: str) -> Finding | None:
        """Why it did not come to lie there."""
        store, key = self.stores[location], self._key(name)
        try:
            store.put_file(key, file, sha256, replace=True)
            is_right = store.digest(key).sha256 == sha256
        except StoreError as error:
            return _refused(location, str(error))
        return None if is_right else _refused(location, "read again, it is not what was put there")

    def put_paper(self, location: str, name: str, size: int) -> Finding | None:
        authority, store, key = self.judgement.authority, self.stores[location], self._key(name)
        assert authority is not None
        try:
            data = b"".join(self.stores[authority.location].open(key))[:size]
        except StoreError as error:
            return Finding("source_away", {"location": str(error)})
        if read_lines(Chain(name, [], [], [], []), data).head != authority.chains[name].head_at(size):
            return Finding("paper_other", {"name": name, "location": authority.location})
        try:
            store.put_bytes(key, data, replace=True, lock=False)
            is_right = store.digest(key).sha256 == hashlib.sha256(data).hexdigest()
        except StoreError as error:
            return _refused(location, str(error))
        return None if is_right else _refused(location, "read again, it is not what was put there")

    def _key(self, name: str) -> str:
        return f"{self.judgement.recording_id}/{name}"


def _fetch(store: Store, key: str, to: Path, line: Line) -> bool:
    """Whether what came is what the ledger's line says. Raises StoreError for the source, OSError for the disk here."""
    hasher, size = hashlib.sha256(), 0
    with to.open("wb") as file:
        for chunk in store.open(key):
            size += len(chunk)
            if size > int(line["size"]):
                return False
            hasher.update(chunk)
            file.write(chunk)
    return hasher.hexdigest() == str(line["sha256"])


def _refused(location: str, reason: str) -> Finding:
    return Finding("refused", {"location": location, "reason": reason})
