"""Places whose signed papers contradict each other: what each of them holds, for the person who decides; and one
place's papers set aside, as a person ordered it, under a name of their own where they stay as evidence.

The rows were made of the papers here (`local`), so those of other places may take their place only where the rows could
have been made of them too. Looks at stores, never at the database.
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from archive.recordings.judge import Judgement, Papers, Standing
from archive.recordings.ledger import GENESIS, hash_of
from archive.recordings.locations.config import LOCAL
from archive.recordings.locations.errors import Missing, StoreError
from archive.recordings.locations.store import Store
from archive.recordings.repair import Repair
from archive.recordings.resolve_plan import Carried, Entry, Plan
from archive.recordings.verify import CUSTODY_NAME, LEDGER_NAME, PAPERS, Finding, key_id

ASIDE = ".aside"
"""Below a location's root, beside the recordings: no check takes it for a recording's, no rebuild for a recording."""
CONTESTED = ("diverged", "none_authentic")


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What the database has of a recording: how far it read the ledger, and every line of the custody log."""

    ledger_bytes: int
    ledger_head: str
    custody: Sequence[str]


def tell(plan: Plan, judgement: Judgement, others: Judgement, store: Store, catalogue: Catalogue) -> Plan:
    """A plan that is held because nobody's papers can be taken for right, with what each place holds. `others`: the
    judgement without the plan's location, whose store `store` is; where those agree with each other and with the
    database, its papers can be set aside."""
    why = plan.hold.kind if plan.hold is not None else ""
    if why not in CONTESTED:
        return plan
    plan = replace(plan, ledgers=tuple(_held(one) for one in judgement.papers.values()))
    if why != "diverged" or not _stands(others, store.name, catalogue):
        return plan
    mine, entries = judgement.papers[store.name], list[Entry]()
    try:
        found = {
            name: store.digest(f"{judgement.recording_id}/{name}")
            for name in PAPERS
            if mine.sizes.get(name) is not None
        }
    except StoreError:
        return plan
    together = hashlib.sha256("".join(one.sha256 for one in found.values()).encode()).hexdigest()
    where = f"{ASIDE}/{judgement.recording_id}/{together[:16]}"
    for name, digest in found.items():
        values = {"file": name, "kept": f"{where}/{name}"}
        entries.append(Entry(name, "set_aside", values, digest.sha256, digest.size_bytes))
    return replace(plan, aside=tuple(entries))


def _held(papers: Papers) -> dict[str, Any]:
    """Of one place, for people: plain enough for rows and logs."""
    told: dict[str, Any] = {"location": papers.location, "away": papers.away, "is_authentic": papers.is_authentic}
    ledger, signed = papers.chains.get(LEDGER_NAME), papers.signed
    told |= {"bytes": ledger.size if ledger else 0, "lines": len(ledger.lines) if ledger else 0}
    return told | {
        "head": str(signed["ledger_head"]) if signed else (ledger.head if ledger else ""),
        "signed_at": str(signed["at"]) if signed else "",
        "key": key_id(base64.b64decode(signed["key"])) if signed else "",
    }


def _stands(others: Judgement, location: str, catalogue: Catalogue) -> bool:
    """Whether those at the other places agree, the papers here among them, and the database with them."""
    if others.authority is None or others.hold is not None or others.database is not None:
        return False
    if location == LOCAL:
        return _are_of_the_rows(others.authority, catalogue)
    here = others.standings.get(LOCAL, {})
    return others.papers[LOCAL].is_authentic and here.get(LEDGER_NAME) in (Standing.EQUAL, Standing.AHEAD)


def _are_of_the_rows(papers: Papers, catalogue: Catalogue) -> bool:
    """Their signed ledger is what the database read, to the byte. Their custody log may be behind: the notary writes
    the rest of it from the rows, and signs that again."""
    told, size = "".join(f"{line}\n" for line in catalogue.custody).encode(), papers.authentic_size(CUSTODY_NAME)
    head = hash_of(told[:size].splitlines()[-1]) if told[:size] else GENESIS
    ledger = (papers.authentic_size(LEDGER_NAME), papers.authentic_head(LEDGER_NAME))
    is_begun = size <= len(told) and head == papers.authentic_head(CUSTODY_NAME)
    return ledger == (catalogue.ledger_bytes, catalogue.ledger_head) and is_begun


def set_aside(
    stores: Mapping[str, Store], others: Judgement, scratch: Path, plan: Plan, location: str, catalogue: Catalogue
) -> Carried:
    """Keeps all of them first, then puts the others' in their place, the ledger last: whoever signs here does not until
    it is the one that the rows are of. Done again, it does what is left to do. The recording's papers are the caller's
    to lock."""
    if location not in stores:
        return Carried(failed=[Finding("dropped", {"location": location}).text()])
    if not _stands(others, location, catalogue):
        hold = others.hold or others.database or Finding("none_authentic", {})
        return Carried(trouble=hold.text())
    store, authority = stores[location], others.authority
    assert authority is not None
    try:
        for one in plan.aside:
            if not _keep(store, f"{others.recording_id}/{one.file}", str(one.values["kept"]), one.sha256):
                return Carried(failed=[Finding("other_now", {"file": one.file}).text()])
    except StoreError as error:
        return Carried(trouble=str(error))
    work = Repair(stores, others, {}, scratch, on_air=False)
    for name in reversed(PAPERS):
        why = work.put_paper(location, name, authority.authentic_size(name))
        if why is not None:
            return Carried(trouble=why.text())
    return Carried(aside=[one.file for one in plan.aside], papers=list(PAPERS))


def _keep(store: Store, key: str, kept: str, sha256: str) -> bool:
    """False: neither there nor kept is what was to be kept. Raises StoreError."""
    if _is(store, kept, sha256):
        return True
    if not _is(store, key, sha256):
        return False
    store.put_bytes(kept, b"".join(store.open(key)))
    return _is(store, kept, sha256)


def _is(store: Store, key: str, sha256: str) -> bool:
    try:
        return store.digest(key).sha256 == sha256
    except Missing:
        return False
