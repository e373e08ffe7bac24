"""Judges the papers of a recording (ledger, custody log, signatures) as each location has them: which are authentic,
which location's are the authority, which of the others are behind or damaged, and whether the database is right.

Only what the institution signed counts. What was appended to a file since is neither trusted nor thrown away.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

from archive.recordings.fixity import CLOCK_MAY_BE_OFF
from archive.recordings.locations.config import LOCAL
from archive.recordings.locations.errors import Missing, StoreError
from archive.recordings.locations.store import Store
from archive.recordings.verify import (
    CUSTODY_NAME,
    LEDGER_NAME,
    MAX_LEDGER_BYTES,
    PAPERS,
    SIGNATURES_NAME,
    Chain,
    Finding,
    Line,
    check_papers,
    is_disposed,
    listed_files,
    origin_ms_of,
    read_lines,
)

_NO_FORGERY = frozenset({"torn", "unsigned_tail", "no_end", "number_lacking", "after_end", "retold"})


class Standing(StrEnum):
    """Of one paper in one location, against the authority's."""

    EQUAL = "equal"
    AHEAD = "ahead"  # begins with all that is signed and goes on: not signed yet, or not by us
    BEHIND = "behind"
    DAMAGED = "damaged"
    ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class Papers:
    """One location's. `sizes` are the files' bytes, None where there is none; `signed` is the last signature, if it is
    good; `findings` what is wrong with them by themselves; `away`: why they could not be read."""

    location: str
    chains: Mapping[str, Chain]
    sizes: Mapping[str, int | None]
    findings: tuple[Finding, ...] = ()
    signed: Line | None = None
    away: str | None = None

    @property
    def is_authentic(self) -> bool:
        return self.signed is not None and all(one.kind in _NO_FORGERY for one in self.findings)

    @property
    def extent(self) -> tuple[int, int, int]:
        """How far it is signed; more is newer."""
        assert self.signed is not None
        return int(self.signed["ledger_bytes"]), int(self.signed["custody_bytes"]), self.chains[SIGNATURES_NAME].size

    def authentic_size(self, name: str) -> int:
        """Of what is authentic, how many bytes count."""
        return self.extent[PAPERS.index(name)]

    def authentic_head(self, name: str) -> str:
        head = self.chains[name].head_at(self.authentic_size(name))
        assert head is not None, "what is signed was found in it"
        return head


@dataclass(frozen=True, slots=True)
class Judgement:
    """`authority` is None and `hold` says why where no location's word can be taken; nothing may be changed then.
    `faults`: by location, what is wrong with its papers, each with the standing of the paper it is about.
    `database`: what the database says of the ledger, where that is wrong."""

    recording_id: str
    papers: Mapping[str, Papers]
    authority: Papers | None
    hold: Finding | None
    standings: Mapping[str, Mapping[str, Standing]]
    faults: Mapping[str, tuple[Finding, ...]]
    database: Finding | None
    notes: tuple[Finding, ...] = ()
    files: Mapping[str, Line] = field(default_factory=dict)
    """What the authority's signed ledger lists."""
    unsettled: frozenset[str] = frozenset()
    """Names in lines of a ledger that are not signed yet."""
    copied: Mapping[str, int] = field(default_factory=dict)

    @property
    def origin_ms(self) -> int:
        return origin_ms_of(self.authority.chains[LEDGER_NAME]) if self.authority else 0

    @property
    def is_disposed(self) -> bool:
        """The media were destroyed by order, and that is signed: no copy has to hold them."""
        return self.authority is not None and is_disposed(_cut(self.authority, CUSTODY_NAME))

    def files_of(self, location: str) -> Mapping[str, Line]:
        """What the location must hold: as far as the ledger goes that was copied to it."""
        assert self.authority is not None
        if self.is_disposed:
            return {}
        size = self.paper_due(location, LEDGER_NAME)
        if size < self.authority.authentic_size(LEDGER_NAME):
            return listed_files(_cut(self.authority, LEDGER_NAME, size))
        return self.files

    def paper_due(self, location: str, name: str) -> int:
        """How many bytes of a paper must be there. Signatures go no further than the ledger beside them."""
        assert self.authority is not None
        whole = self.authority.authentic_size(name)
        if name == CUSTODY_NAME:
            return whole
        if name == SIGNATURES_NAME:
            chain, ledger_bytes = self.authority.chains[name], self.paper_due(location, LEDGER_NAME)
            if ledger_bytes >= self.authority.authentic_size(LEDGER_NAME):
                return whole
            fitting = (end for line, end in zip(chain.lines, chain.ends, strict=True) if _reach(line) <= ledger_bytes)
            return max(fitting, default=0)
        match self.standings[location][name]:
            case Standing.EQUAL | Standing.AHEAD:
                return whole
            case Standing.BEHIND:
                return min(whole, max(self.papers[location].chains[name].size, self.copied.get(location, 0)))
            case _:
                return min(whole, self.copied.get(location, whole))


def read_papers(
    store: Store, recording_id: str, keys: Collection[bytes], known: dict[tuple[str, bytes], Chain] | None = None
) -> Papers:
    """`known`: chains read already, by name and contents; those of equal copies are kept once."""
    known = {} if known is None else known
    chains, sizes = dict[str, Chain](), dict[str, int | None]()
    for name in PAPERS:
        try:
            data = _read(store, f"{recording_id}/{name}")
        except Missing:
            chains[name], sizes[name] = Chain(name, [], [], [], [Finding("no_ledger", {"name": name})]), None
            continue
        except StoreError as error:
            return Papers(store.name, {}, {}, away=str(error))
        sizes[name] = len(data)
        if (name, data) not in known:
            known[name, data] = read_lines(Chain(name, [], [], [], []), data)
        chains[name] = known[name, data]
    try:
        findings, signed = check_papers(
            recording_id, chains[LEDGER_NAME], chains[CUSTODY_NAME], chains[SIGNATURES_NAME], keys
        )
        listed_files(chains[LEDGER_NAME])
    except (KeyError, ValueError, TypeError, AttributeError, OverflowError):  # lines that no program of ours writes
        findings, signed = [Finding("unreadable", {"name": LEDGER_NAME, "line": 1})], None
    return Papers(store.name, chains, sizes, tuple(findings), signed)


def wrong_with(recording_id: str, papers: Mapping[str, bytes]) -> Finding | None:
    """What is wrong with papers by themselves, whoever signed them, if anything is. Memory: a few times the largest."""

    def kept(line: Line, number: int) -> Line:
        return line if number == 1 or "signature" in line or "timestamp" in line else {}

    chains = {name: read_lines(Chain(name, [], [], [], []), papers.get(name, b""), kept) for name in PAPERS}
    findings, _ = check_papers(recording_id, chains[LEDGER_NAME], chains[CUSTODY_NAME], chains[SIGNATURES_NAME], None)
    return next((one for one in findings if one.kind not in _NO_FORGERY), None)


def judge(
    stores: Mapping[str, Store],
    recording_id: str,
    keys: Collection[bytes],
    *,
    ledger_bytes: int | None = None,
    ledger_head: str | None = None,
    copied: Mapping[str, int] | None = None,
    on_air: bool = False,
    now: datetime | None = None,
) -> Judgement:
    """`keys`: all that the institution ever published. `ledger_bytes` and `ledger_head` are what the database believes;
    `copied` how far (in bytes of the ledger) each location's copy is known to have come. Raises nothing of the
    stores'."""
    known: dict[tuple[str, bytes], Chain] = {}
    papers = {name: read_papers(store, recording_id, keys, known) for name, store in stores.items()}
    known.clear()
    return weigh(papers, recording_id, ledger_bytes, ledger_head, copied or {}, on_air, now or datetime.now(UTC))


def weigh(
    papers: Mapping[str, Papers], recording_id: str, ledger_bytes: int | None, ledger_head: str | None,
    copied: Mapping[str, int], on_air: bool, now: datetime,
) -> Judgement:  # fmt: skip
    """The judgement of papers that were read."""
    authentic = sorted((one for one in papers.values() if one.is_authentic), key=lambda one: one.extent, reverse=True)
    hold = _hold(papers, authentic)
    if hold is not None:
        alone = {
            name: tuple(one for one in found.findings if one.kind not in _NO_FORGERY) for name, found in papers.items()
        }
        return Judgement(recording_id, papers, None, hold, {}, alone, None)
    authority = authentic[0]
    standings = {name: _standings(found, authority) for name, found in papers.items() if found.away is None}
    faults = {
        name: tuple(_faults(papers[name], authority, standing, copied.get(name, 0), on_air))
        for name, standing in standings.items()
    }
    signed = _cut(authority, LEDGER_NAME)
    return Judgement(
        recording_id, papers, authority, None, standings, faults,
        database=_database(papers, authority, standings, ledger_bytes, ledger_head),
        notes=tuple(_notes(papers, authority, standings, now)),
        files=listed_files(signed),
        unsettled=frozenset(_unsettled(papers, authority, standings)),
        copied=copied,
    )  # fmt: skip


def _read(store: Store, key: str) -> bytes:
    """Raises StoreError. Of what no ledger can be, no more than can be one."""
    chunks, size = list[bytes](), 0
    for chunk in store.open(key):
        chunks.append(chunk)
        size += len(chunk)
        if size > MAX_LEDGER_BYTES:
            break
    return b"".join(chunks)


def _hold(papers: Mapping[str, Papers], authentic: list[Papers]) -> Finding | None:
    """Why nobody's word can be taken."""
    if not authentic:
        for one in papers.values():
            if one.away is not None:
                return Finding("source_away", {"location": one.location})
        return Finding("none_authentic", {})
    longest = authentic[0]
    for other in authentic[1:]:
        for name in PAPERS:
            size = min(other.authentic_size(name), longest.authentic_size(name))
            if longest.chains[name].head_at(size) != other.chains[name].head_at(size):
                return Finding("diverged", {"location": longest.location, "other": other.location})
    added = (_added_and_signed(one) for one in authentic)
    return next((one for one in added if one is not None), None)


def _added_and_signed(papers: Papers) -> Finding | None:
    """What was slipped into a ledger and then signed is proof of nothing. While it is not signed, it does not count."""
    ends, whole = papers.chains[LEDGER_NAME].ends, papers.authentic_size(LEDGER_NAME)
    slipped = (one for one in papers.findings if one.kind in ("after_end", "retold"))
    return next((one for one in slipped if ends[int(one.values["line"]) - 1] <= whole), None)


def _standings(found: Papers, authority: Papers) -> Mapping[str, Standing]:
    return {name: _standing(found, authority, name) for name in PAPERS}


def _standing(found: Papers, authority: Papers, name: str) -> Standing:
    chain, file_size, whole = found.chains[name], found.sizes[name], authority.authentic_size(name)
    if file_size is None:
        return Standing.ABSENT if whole else Standing.EQUAL
    if chain.size > whole and chain.head_at(whole) == authority.authentic_head(name):
        # Every authentic location has at most the authority's signatures: what is more of them is nobody's.
        return Standing.DAMAGED if name == SIGNATURES_NAME else Standing.AHEAD
    if chain.size > whole or authority.chains[name].head_at(chain.size) != chain.head or file_size != chain.size:
        return Standing.DAMAGED
    return Standing.EQUAL if chain.size == whole else Standing.BEHIND


_ABOUT = {"other_ledger": LEDGER_NAME} | dict.fromkeys(
    ("signature_bad", "key_unknown", "key_retired", "other_recording", "stamp_strange"), SIGNATURES_NAME
)


def _faults(
    found: Papers, authority: Papers, standings: Mapping[str, Standing], copied: int, on_air: bool
) -> Iterator[Finding]:
    """What is wrong with a location's papers. A copy that is behind is not, unless it was further once."""
    told = {_ABOUT.get(one.kind, one.values.get("name")): one for one in found.findings if one.kind not in _NO_FORGERY}
    for name, standing in standings.items():
        if standing is Standing.ABSENT:
            yield Finding("no_ledger", {"name": name})
        elif standing is Standing.DAMAGED:
            torn = next(iter(found.chains[name].findings), None)
            by_itself = torn or told.get(name)
            if on_air and torn is not None and torn.kind == "torn":
                continue
            plain = Finding("paper_other", {"name": name, "location": authority.location})
            yield Finding((by_itself or plain).kind, {**(by_itself or plain).values, "name": name})
        elif standing is Standing.BEHIND and name == LEDGER_NAME and found.chains[name].size < copied:
            size = authority.authentic_size(name)
            yield Finding("behind", {"name": name, "found": found.chains[name].size, "size": size})
        elif standing is Standing.BEHIND and name != LEDGER_NAME and found.location == LOCAL:
            # What others have came from here.
            size = authority.authentic_size(name)
            yield Finding("behind", {"name": name, "found": found.chains[name].size, "size": size})
        elif standing is Standing.AHEAD and name == LEDGER_NAME and not on_air:
            more = found.chains[name].size - authority.authentic_size(name)
            yield Finding("unsigned_tail", {"name": name, "bytes": more})


def _database(
    papers: Mapping[str, Papers], authority: Papers, standings: Mapping[str, Mapping[str, Standing]],
    ledger_bytes: int | None, ledger_head: str | None,
) -> Finding | None:  # fmt: skip
    """What the database says must be so in the authority's ledger, or in one that goes on from it."""
    if ledger_bytes is None or ledger_head is None:
        return None
    whole = authority.authentic_size(LEDGER_NAME)
    ahead = [name for name, standing in standings.items() if standing[LEDGER_NAME] is Standing.AHEAD]
    for chain in (authority.chains[LEDGER_NAME], *(papers[name].chains[LEDGER_NAME] for name in ahead)):
        if chain.head_at(ledger_bytes) == ledger_head:
            return None
    head = authority.chains[LEDGER_NAME].head_at(ledger_bytes) or authority.authentic_head(LEDGER_NAME)
    told = {"told": ledger_bytes, "told_head": ledger_head, "size": whole, "head": head}
    return Finding("database_wrong", told)


def _notes(
    papers: Mapping[str, Papers], authority: Papers, standings: Mapping[str, Mapping[str, Standing]], now: datetime
) -> Iterator[Finding]:
    for location, standing in standings.items():
        for name in PAPERS:
            if standing[name] is Standing.BEHIND:
                size = authority.authentic_size(name)
                found = papers[location].chains[name].size
                yield Finding("behind", {"name": f"{location}: {name}", "found": found, "size": size})
    assert authority.signed is not None
    at = str(authority.signed["at"])
    if datetime.fromisoformat(at) > now + CLOCK_MAY_BE_OFF:
        yield Finding("future", {"name": SIGNATURES_NAME, "at": at})


def _unsettled(
    papers: Mapping[str, Papers], authority: Papers, standings: Mapping[str, Mapping[str, Standing]]
) -> Iterator[str]:
    whole = authority.authentic_size(LEDGER_NAME)
    for location, standing in standings.items():
        if standing[LEDGER_NAME] is Standing.AHEAD:
            chain = papers[location].chains[LEDGER_NAME]
            for line, end in zip(reversed(chain.lines), reversed(chain.ends), strict=True):
                if end <= whole:
                    break
                if line.get("fact") == "file":
                    yield str(line.get("name"))


def _reach(signature: Line) -> int:
    return int(signature.get("ledger_bytes", 0))


def _cut(papers: Papers, name: str, size: int | None = None) -> Chain:
    """A paper up to `size`, or up to where it is signed."""
    chain, until = papers.chains[name], papers.authentic_size(name) if size is None else size
    if until >= chain.size:
        return chain
    many = sum(end <= until for end in chain.ends)
    return Chain(name, chain.lines[:many], chain.ends[:many], chain.hashes[:many], [])
