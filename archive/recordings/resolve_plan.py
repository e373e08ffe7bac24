"""What can be done with one location's copy that is held, or holds what no ledger names: a plan, file by file, that a
person reads and then orders as it stands; and the carrying out, which does what was ordered and nothing else.

Looks at stores, never at the database. Plans and outcomes are small enough, and plain enough, for rows and logs.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from archive.recordings.fixity import Examination, examine
from archive.recordings.judge import Judgement, Standing
from archive.recordings.locations.errors import StoreError
from archive.recordings.locations.store import Store
from archive.recordings.repair import (
    MOST_FAULTY,
    Order,
    Outcome,
    Repair,
    Result,
    alike,
    is_nowhere,
    lost_at,
    named,
    repair,
)
from archive.recordings.verify import PAPERS, Finding

DAMAGED = (Standing.DAMAGED, Standing.ABSENT)
MOST = 500
"""Files of each kind in one plan: as many as a person can read. More are another order's."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of a plan. `sha256` and `size_bytes` are as the ledger says; of what is to be removed, as it lies there,
    and `former` the same of older versions beneath it, which go with it. `kind` and `values` are of the Finding that
    says what is wrong, or why it is left."""

    file: str
    kind: str
    values: dict[str, Any]
    sha256: str = ""
    size_bytes: int = 0
    former: tuple[dict[str, Any], ...] = ()

    @property
    def sha256s(self) -> set[str]:
        return {self.sha256, *(str(one["sha256"]) for one in self.former)}

    @property
    def finding(self) -> Finding:
        return Finding(self.kind, self.values)


@dataclass(frozen=True, slots=True)
class Plan:
    """`repaired`: there is a good copy elsewhere; `removed`: no ledger names it; `lost` everywhere, and so a gap;
    `left` as it is, with why. `papers` are put right too. `more`: files that found no place in this plan. `hold`: why
    nothing can be ordered for single files; `ledgers` are then what each place holds, and `aside` the papers that can
    be set aside (contradiction.py)."""

    repaired: tuple[Entry, ...] = ()
    removed: tuple[Entry, ...] = ()
    lost: tuple[Entry, ...] = ()
    left: tuple[Entry, ...] = ()
    papers: tuple[str, ...] = ()
    more: int = 0
    hold: Entry | None = None
    aside: tuple[Entry, ...] = ()
    ledgers: tuple[dict[str, Any], ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing that a person could order."""
        return not (self.repaired or self.removed or self.lost or self.papers or self.aside)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def read_plan(told: Mapping[str, Any]) -> Plan:
    lists = ("repaired", "removed", "lost", "left")
    hold = told["hold"] and _read_entry(told["hold"])
    entries = {name: tuple(map(_read_entry, told[name])) for name in lists}
    aside = tuple(map(_read_entry, told.get("aside", ())))
    ledgers = tuple(told.get("ledgers", ()))
    return Plan(**entries, papers=tuple(told["papers"]), more=told["more"], hold=hold, aside=aside, ledgers=ledgers)


def _read_entry(told: Mapping[str, Any]) -> Entry:
    return Entry(**{**told, "former": tuple(told.get("former", ()))})


def make_plan(
    stores: Mapping[str, Store], judgement: Judgement, examinations: Mapping[str, Examination], scratch: Path,
    location: str, *, lost: Collection[str] = (), is_on_hold: bool = False,
) -> Plan:  # fmt: skip
    """`lost`: what a person knows to be lost already. `is_on_hold`: a legal hold stands, so nothing is removed. Reads
    what is to be removed."""
    why = _why_nothing(stores, judgement, examinations, location)
    if why is not None:
        return Plan(hold=Entry("", why.kind, why.values))
    found = examinations[location]
    work = Repair(stores, judgement, examinations, scratch, on_air=False)
    sources = {name: work.sources(location, name) for name in found.faulty if name not in lost}
    mine = {name: _entry(judgement, fault) for name, fault in found.faulty.items()}
    plan = Plan(
        repaired=tuple(mine[name] for name, where in sources.items() if isinstance(where, list)),
        lost=tuple(mine[name] for name, where in sources.items() if is_nowhere(where)),
        left=tuple(
            replace(mine[name], kind=where.kind, values=where.values)
            for name, where in sources.items()
            if isinstance(where, Finding) and not is_nowhere(where)
        ),
        papers=tuple(name for name in PAPERS if judgement.standings[location][name] in DAMAGED),
    )
    lacking = {str(judgement.files[name]["sha256"]): name for name in _lacking(judgement, examinations)}
    strange, ours = list(_strange(found)), named(judgement)
    entries = [_unlisted(stores[location], judgement, fault, ours, lacking, is_on_hold) for fault in strange[:MOST]]
    kept = tuple(one for one in entries if one.kind != "unlisted")
    plan = replace(plan, removed=tuple(one for one in entries if one.kind == "unlisted"), left=(*plan.left, *kept))
    return _cut(plan, len(strange) - len(entries))


def not_lost(plan: Plan, unread: Collection[str]) -> Plan:
    """What no place holds may lie at one of those that nobody read, as they are named no more."""
    if not unread:
        return plan
    why = Finding("source_away", {"location": ", ".join(sorted(unread))})
    left = tuple(replace(one, kind=why.kind, values=why.values) for one in plan.lost)
    return replace(plan, lost=(), left=(*plan.left, *left))


def _why_nothing(
    stores: Mapping[str, Store], judgement: Judgement, examinations: Mapping[str, Examination], location: str
) -> Finding | None:
    if location not in stores:
        return Finding("dropped", {"location": location})
    return judgement.hold or lost_at(judgement, examinations[location], MOST_FAULTY)


def _entry(judgement: Judgement, fault: Finding) -> Entry:
    line = judgement.files[str(fault.values["file"])]
    return Entry(str(fault.values["file"]), fault.kind, fault.values, str(line["sha256"]), int(line["size"]))


def _strange(found: Examination) -> Iterator[Finding]:
    return (one for one in found.faults if one.kind == "unlisted")


def _lacking(judgement: Judgement, examinations: Mapping[str, Examination]) -> set[str]:
    """Files that no location that was read holds as the ledger says."""
    good = {
        name
        for location, one in examinations.items()
        if one.away is None and one.is_complete
        for name in judgement.files_of(location).keys() - one.faulty.keys()
    }
    return judgement.files.keys() - good


def _unlisted(
    store: Store, judgement: Judgement, fault: Finding, ours: Collection[str], lacking: Mapping[str, str],
    is_on_hold: bool,
) -> Entry:  # fmt: skip
    """What is kept has another kind than "unlisted". It may be the last that there is of a file under another name."""
    name = str(fault.values["file"])
    if alike(name) in ours:
        return Entry(name, "named", {"file": name})
    try:
        key = f"{judgement.recording_id}/{name}"
        digest, former = store.digest(key), store.former(key)
    except (StoreError, ValueError) as error:
        return Entry(name, "refused", {"location": store.name, "reason": str(error)})
    entry = Entry(
        name, fault.kind, fault.values, digest.sha256, digest.size_bytes,
        tuple({"sha256": one.sha256, "size_bytes": one.size_bytes} for one in former),
    )  # fmt: skip
    last = next((lacking[one] for one in entry.sha256s if one in lacking), None)
    if last is not None:
        return replace(entry, kind="bytes_of", values={"file": name, "other": last})
    return replace(entry, kind="legal_hold", values={"file": name}) if is_on_hold else entry


def _cut(plan: Plan, more: int) -> Plan:
    more += sum(max(0, len(one) - MOST) for one in (plan.repaired, plan.removed, plan.lost, plan.left))
    return replace(
        plan, more=more, repaired=plan.repaired[:MOST], removed=plan.removed[:MOST], lost=plan.lost[:MOST],
        left=plan.left[:MOST],
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Carried:
    """What came of a plan: names. `failed` is in words, in English; `trouble`: why nothing at all could be done yet."""

    repaired: list[str] = field(default_factory=list)
    papers: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    aside: list[str] = field(default_factory=list)
    trouble: str | None = None


def examine_planned(
    stores: Mapping[str, Store], judgement: Judgement, plan: Plan, location: str
) -> dict[str, Examination]:
    """The plan's files alone, at every location; what is there besides at the one that the order is for."""
    if judgement.authority is None:
        return {}
    wanted, found = {one.file for one in (*plan.repaired, *plan.lost)}, dict[str, Examination]()
    for name, store in stores.items():
        away = judgement.papers[name].away
        if away is not None:
            found[name] = Examination(name, judgement.recording_id, len(judgement.files), away=away)
            continue
        files = judgement.files_of(name)
        may_be = set(judgement.files) - wanted
        one = examine(store, judgement.recording_id, {key: files[key] for key in files.keys() & wanted}, may_be=may_be)
        one.files = len(files)
        found[name] = one
    return found


def carry_out(
    stores: Mapping[str, Store], judgement: Judgement, examinations: Mapping[str, Examination], scratch: Path,
    plan: Plan, location: str, *, is_on_hold: bool = False,
) -> Carried:  # fmt: skip
    """Done again, it does what is left to do: what the plan repairs and is right by now was repaired, a file that isn't
    there any more was removed. An order for a location that is named no more is over: that may be for good. The
    recording's papers are the caller's to lock."""
    why = _why_nothing(stores, judgement, examinations, location)
    if why is not None and why.kind == "dropped":
        return Carried(failed=[why.text()])
    if why is not None:
        return Carried(trouble=why.text())
    found = examinations[location]
    ours = named(judgement)
    foreign = {one.file: one.sha256s for one in plan.removed if alike(one.file) not in ours}
    order = Order(location, {one.file for one in plan.repaired}, {} if is_on_hold else foreign)
    lost = {one.file for one in plan.lost}
    outcomes = [
        one
        for one in repair(stores, judgement, examinations, scratch, lost=lost, order=order)
        if one.location == location
    ]
    there = {str(one.values["file"]) for one in _strange(found)}
    done = {_name(one) for one in outcomes if one.result in (Result.REPAIRED, Result.REMOVED)}
    standings, faults = judgement.standings[location], judgement.faults[location]
    mended = {_name(one) for one in outcomes if one.result is Result.REPAIRED and one.fault in faults}
    right = judgement.files_of(location).keys() - found.faulty.keys()
    kept = [Finding("named", {"file": one.file}) for one in plan.removed if one.file not in foreign]
    kept += [Finding("legal_hold", {"file": name}) for name in foreign if is_on_hold and name in there]
    return Carried(
        repaired=[one.file for one in plan.repaired if one.file in done or one.file in right],
        papers=[name for name in PAPERS if name in mended or (name in plan.papers and standings[name] not in DAMAGED)],
        removed=[name for name in foreign if name in done or name not in there],
        lost=[_name(one) for one in outcomes if one.result is Result.TOLD and is_nowhere(one.why)],
        failed=[one.text() for one in kept] + [one.text() for one in outcomes if one.result is Result.HELD],
    )


def _name(one: Outcome) -> str:
    return str(one.fault.values.get("file") or one.fault.values.get("name") or "")
