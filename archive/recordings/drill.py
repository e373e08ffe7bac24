"""A drill: faults laid into copies of a recording one by one, and what the archive's own check and repair make of them.

Every fault goes into a state without any, through the store's door, so that folders and S3 servers are drilled alike.
What a case must come to is said by the case (`drill_cases`); whether it did is looked up in the bytes themselves.
"""

import random
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from archive.recordings.ledger import CUSTODY_NAME, LEDGER_NAME, Ledger, make_fact
from archive.recordings.locations.errors import Missing
from archive.recordings.locations.store import Store
from archive.recordings.repair import Cycle, Outcome, Result, check_and_repair
from archive.recordings.signatures import Heads, sign
from archive.recordings.signing_keys import Signer
from archive.recordings.verify import PAPERS, Finding, Line, hash_file, listed_files, read_chain

RECORDING = "0" * 25 + "D"
SEGMENTS = 40
_SEGMENT_MS = 2000
_SIZES = {"source": (4_000, 24_000), "source-audio": (300, 3_000)}

Found = tuple[str, str, str, str, str]
"""Location, file or paper, kind of fault, result, kind of why; empty where there is none."""


@dataclass(frozen=True, slots=True)
class Want:
    """An outcome that must come. `name`: of the file or paper, empty for a whole location; any of `kinds` will do."""

    location: str
    name: str
    kinds: tuple[str, ...]
    result: Result = Result.REPAIRED
    why: str = ""

    def is_met_by(self, found: Found) -> bool:
        location, name, kind, result, why = found
        return (location, name, result, why) == (self.location, self.name, self.result, self.why) and kind in self.kinds


@dataclass(frozen=True, slots=True)
class Case:
    """What was laid, and what must come of it. `locations`: those that take part; `options` of `check_and_repair`;
    `notes` that must be told; `relief`: ends what held the repair, after which the next cycle must bring it;
    `way`: how it was done, where there are several; `skip`: why it can't be done here."""

    wants: tuple[Want, ...] = ()
    locations: tuple[str, ...] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    relief: Callable[[], None] | None = None
    way: str = ""
    skip: str = ""


@dataclass(slots=True)
class Stage:
    """Copies of one recording in `stores`, which nobody else uses. `pristine`: its folder as it must be; `folders`:
    where the stores' folders are, for those that are folders; `signer`: the key of a recording made for the drill."""

    recording_id: str
    keys: Collection[bytes]
    stores: dict[str, Store]
    pristine: Path
    scratch: Path
    rng: random.Random
    folders: Mapping[str, Path] = field(default_factory=dict)
    signer: Signer | None = None
    files: dict[str, Line] = field(default_factory=dict)
    laid: dict[tuple[str, str], bytes | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.files = listed_files(read_chain(self.pristine / LEDGER_NAME))

    @property
    def names(self) -> list[str]:
        return [*self.files, *(name for name in PAPERS if (self.pristine / name).exists())]

    @property
    def heads(self) -> Heads:
        ledger, custody = read_chain(self.pristine / LEDGER_NAME), read_chain(self.pristine / CUSTODY_NAME)
        return Heads(ledger.size, ledger.head, custody.size, custody.head)

    def right(self, name: str) -> bytes | None:
        """What must lie there."""
        path = self.pristine / name
        return path.read_bytes() if path.is_file() else None

    def read(self, location: str, name: str) -> bytes | None:
        """What lies there."""
        try:
            return b"".join(self.stores[location].open(f"{self.recording_id}/{name}"))
        except Missing:
            return None

    def lay(self, location: str, name: str, data: bytes | None) -> None:
        """Puts something there instead, or takes it away."""
        self._put(location, name, data)
        self.laid[location, name] = data

    def fill(self) -> None:
        """Every location holds the recording as it must be."""
        for location in self.stores:
            for name in self.names:
                self._put(location, name, self.right(name))

    def reset(self) -> None:
        for location, name in self.laid:
            self._put(location, name, self.right(name))
        self.laid.clear()

    def cycle(self, case: Case) -> Cycle:
        stores = {name: self.stores[name] for name in case.locations or self.stores}
        heads = self.heads
        believed = {
            "ledger_bytes": heads.ledger_bytes,
            "ledger_head": heads.ledger_head,
            "copied": dict.fromkeys(stores, heads.ledger_bytes),
        }
        return check_and_repair(stores, self.recording_id, self.keys, self.scratch, **{**believed, **case.options})

    def _put(self, location: str, name: str, data: bytes | None) -> None:
        key = f"{self.recording_id}/{name}"
        if data is None:
            self.stores[location].delete(key)
        else:
            self.stores[location].put_bytes(key, data, replace=True, lock=False)


Inject = Callable[[Stage, ExitStack], Case]
"""Lays a fault; what the stack is given undoes what `Stage.reset` does not know of."""


@dataclass(frozen=True, slots=True)
class Told:
    """What came of a case. `wrong`: what is not as it must be, a line each."""

    name: str
    way: str
    skip: str
    outcomes: tuple[Outcome, ...]
    notes: tuple[Finding, ...]
    wrong: tuple[str, ...]
    files_read: int


def run(stage: Stage, cases: Iterable[tuple[str, Inject]]) -> Iterator[Told]:
    """Each case in turn, each from a state without faults."""
    for name, inject in cases:
        with ExitStack() as undone:
            case = inject(stage, undone)
            if case.skip:
                yield Told(name, "", case.skip, (), (), (), 0)
            else:
                yield _judge(name, stage, case)
        stage.reset()


@dataclass(frozen=True, slots=True)
class Reads:
    """Files read in copies without faults, and what was alarmed all the same."""

    files: int
    cycles: int
    alarms: tuple[Outcome, ...]


def read_clean(stage: Stage, reads: int) -> Reads:
    files, cycles, alarms = 0, 0, list[Outcome]()
    while files < reads:
        cycle = stage.cycle(Case())
        files, cycles = files + cycle.files_read, cycles + 1
        alarms += cycle.outcomes
        if not cycle.files_read:
            break
    return Reads(files, cycles, tuple(alarms))


def _judge(name: str, stage: Stage, case: Case) -> Told:
    first = stage.cycle(case)
    wrong = [*_compare(case.wants, first.outcomes)]
    missed = Counter(case.notes) - Counter(one.kind for one in first.notes)
    wrong += [f"not told: {kind}" for kind in missed]
    wrong += _look(stage, {(one.location, one.name): one.result for one in case.wants})
    second = stage.cycle(case)
    left = {_found(one) for one in first.outcomes if one.result in (Result.HELD, Result.TOLD)}
    wrong += [f"afterwards: {one}" for one in {_found(one) for one in second.outcomes} ^ left]
    files_read = first.files_read + second.files_read
    if case.relief is not None:
        case.relief()
        third = stage.cycle(case)
        wrong += [f"not mended then: {_found(one)}" for one in third.outcomes if one.result is not Result.REPAIRED]
        wrong += _look(stage, dict.fromkeys(stage.laid, Result.REPAIRED))
        files_read += third.files_read
    return Told(name, case.way, "", tuple(first.outcomes), tuple(first.notes), tuple(wrong), files_read)


def _compare(wants: tuple[Want, ...], outcomes: Iterable[Outcome]) -> Iterator[str]:
    found = [_found(one) for one in outcomes]
    for want in wants:
        met = next((one for one in found if want.is_met_by(one)), None)
        if met is None:
            yield f"did not come: {want}"
        else:
            found.remove(met)
    yield from (f"came besides: {one}" for one in found)


def _look(stage: Stage, results: Mapping[tuple[str, str], Result]) -> Iterator[str]:
    """What lies there now: what was repaired is right again, what was held is as it was laid."""
    for (location, name), laid in stage.laid.items():
        if location not in stage.stores:
            continue
        result = results.get((location, name), Result.HELD)
        must = stage.right(name) if result in (Result.REPAIRED, Result.REMOVED) else laid
        if stage.read(location, name) != must:
            yield f"{location}: {name}: not as it must be when {result}"


def _found(one: Outcome) -> Found:
    values = one.fault.values
    name = "" if one.location is None else str(values.get("file") or values.get("name") or "")
    return one.location or "", name, one.fault.kind, one.result, one.why.kind if one.why else ""


def make_recording(folder: Path, signer: Signer, rng: random.Random, now: datetime, segments: int = SEGMENTS) -> None:
    """A small signed recording in a folder named for it: bytes that mean nothing, in two renditions."""
    folder.mkdir(parents=True)
    recording_id, start = folder.name, now - timedelta(hours=1)
    origin_ms = int(start.timestamp() * 1000)
    ledger, custody = Ledger(folder), Ledger(folder, CUSTODY_NAME)
    ledger.append(make_fact("started", origin_ms, recording=recording_id, channel="zoezi", origin_ms=origin_ms))
    for rendition in _SIZES:
        (folder / rendition).mkdir()
        _add(folder, ledger, rng, rendition, "init-0.mp4", origin_ms)
    for msn in range(segments):
        for rendition in _SIZES:
            span = {"msn": msn, "from_ms": msn * _SEGMENT_MS, "to_ms": (msn + 1) * _SEGMENT_MS}
            _add(folder, ledger, rng, rendition, f"{msn}.m4s", origin_ms, **span)
        if msn == segments // 2:
            _sign(folder, signer, start)
    _add(folder, ledger, rng, "source", "index.m3u8", origin_ms)
    duration_ms = segments * _SEGMENT_MS
    ledger.append(make_fact("ended", origin_ms + duration_ms, duration_ms=duration_ms, reason="drill"))
    _sign(folder, signer, start)
    custody.append(make_fact("ingestion", origin_ms + duration_ms, agent="drill", outcome="success"))
    _sign(folder, signer, now)


def _add(
    folder: Path, ledger: Ledger, rng: random.Random, rendition: str, name: str, origin_ms: int, **span: int
) -> None:
    path = folder / rendition / name
    path.write_bytes(rng.randbytes(rng.randint(*_SIZES[rendition])))
    told = {"rendition": rendition, "name": f"{rendition}/{name}", **span}
    size, sha256 = path.stat().st_size, hash_file(path)
    ledger.append(make_fact("file", origin_ms + span.get("to_ms", 0), **told, size=size, sha256=sha256))


def _sign(folder: Path, signer: Signer, now: datetime) -> None:
    ledger, custody = read_chain(folder / LEDGER_NAME), read_chain(folder / CUSTODY_NAME)
    sign(folder, folder.name, Heads(ledger.size, ledger.head, custody.size, custody.head), signer, now.astimezone(UTC))
