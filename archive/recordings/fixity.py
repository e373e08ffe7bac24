"""Fixity: reads every file of a recording's copy again, in one location, and compares it with the ledger."""

import hashlib
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import chain, islice

from archive.recordings.locations.errors import Damaged, Missing, StoreError, Unreachable
from archive.recordings.locations.many import each
from archive.recordings.locations.store import Digest, Store, is_key
from archive.recordings.verify import MADE_LATER, NEWEST_NAME, Finding, Line, fault_of, may_be_listed_soon, wall_clock

WORKERS = 4
SILENT = 5
"""So many files without an answer, and the location is away: the others are not asked for."""
CLOCK_MAY_BE_OFF = timedelta(days=1)

BATCH = 16
"""Files that a worker takes at a time; handing over each alone costs as much as hashing a small one."""

Item = tuple[str, Line]


@dataclass(slots=True)
class Examination:
    """What lies in one location of one recording. `faults` are of listed files (missing, changed, shortened,
    lengthened, swapped, not_read, no_answer) or of others (unlisted); `notes` are no faults. `away`: why the location
    could not be asked; what it holds is then not known. `is_complete`: every listed file was asked for."""

    location: str
    recording_id: str
    files: int
    files_read: int = 0
    bytes_read: int = 0
    faults: list[Finding] = field(default_factory=list)
    notes: list[Finding] = field(default_factory=list)
    away: str | None = None
    is_complete: bool = False

    @property
    def is_whole(self) -> bool:
        return self.is_complete and not self.faults and self.away is None

    @property
    def faulty(self) -> dict[str, Finding]:
        """By its name, what is wrong with each listed file."""
        return {str(one.values["file"]): one for one in self.faults if one.kind != "unlisted"}


def examine(
    store: Store,
    recording_id: str,
    files: Mapping[str, Line],
    *,
    may_be: Container[str] = (),
    origin_ms: int = 0,
    on_air: bool = False,
    now: datetime | None = None,
    workers: int = WORKERS,
    on_progress: Callable[[int], None] = lambda size_bytes: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Examination:
    """`files`: by its name, the ledger's line of each file that must be there. `may_be`: names that may be there too.
    `on_progress` is told the bytes of each file that was read, and `should_stop` asked now and then, in the caller's
    thread. Memory: the names that are there, and `workers` pieces of a megabyte. Raises nothing of the store's."""
    found = Examination(store.name, recording_id, len(files))
    by_hash = {str(line["sha256"]): name for name, line in files.items()}
    try:
        there = _list(store, found, files, may_be, on_air, now or datetime.now(UTC))
    except StoreError as error:
        found.away = str(error)
        return found

    def look(item: Item, digest: Digest | StoreError | None) -> Finding | StoreError | int:
        name, line = item
        if isinstance(digest, Digest) and digest.sha256 == line["sha256"]:
            return digest.size_bytes
        try:
            if isinstance(digest, StoreError):
                raise digest
            return _fault(store, f"{recording_id}/{name}", line, name, _time(line, origin_ms), digest, by_hash)
        except StoreError as error:
            return error if isinstance(error, Unreachable) else _unread(name, _time(line, origin_ms), error)

    def look_at(batch: list[Item]) -> list[tuple[Item, Finding | StoreError | int]]:
        names = [name for name, _ in batch if name in there]
        digests = dict(zip(names, store.digests([f"{recording_id}/{name}" for name in names]), strict=True))
        return [(item, look(item, digests.get(item[0]))) for item in batch]

    silent = 0
    with closing(each(f"fixity {store.name}", workers, _batches(files, workers), look_at)) as looked:
        for (name, line), outcome in chain.from_iterable(outcomes for _, outcomes in looked):
            if isinstance(outcome, Unreachable):
                silent += 1
                found.away = str(outcome) if silent >= SILENT else None
                told = {"file": name, "time": _time(line, origin_ms), "reason": outcome.detail}
                outcome = Finding("no_answer", told)
            if isinstance(outcome, Finding):
                found.faults.append(outcome)
            if not isinstance(outcome, Finding) or "sha256" in outcome.values:
                found.files_read += 1
                found.bytes_read += int(line["size"])
            on_progress(int(line["size"]))
            if found.away is not None or should_stop():
                return found
    found.is_complete = True
    found.faults.sort(key=lambda one: (one.kind == "unlisted", str(one.values["file"])))
    return found


def _batches(files: Mapping[str, Line], workers: int) -> Iterator[list[Item]]:
    """Smaller ones where there are few files, so that each worker has some."""
    items, most = iter(files.items()), max(1, min(BATCH, len(files) // (4 * workers)))
    while batch := [*islice(items, most)]:
        yield batch


def _list(
    store: Store, found: Examination, files: Mapping[str, Line], may_be: Container[str], on_air: bool, now: datetime
) -> set[str]:
    """The listed files that are there; what is there besides is told."""
    there, newest = set[str](), now
    for stored in store.list(f"{found.recording_id}/"):
        name = stored.key.removeprefix(f"{found.recording_id}/")
        newest = max(newest, stored.modified)
        if name in files:
            if is_key(stored.key):  # else a ledger's name that nothing of ours can lie under
                there.add(name)
        elif (
            name not in (*MADE_LATER, NEWEST_NAME) and name not in may_be and not (on_air and may_be_listed_soon(name))
        ):
            shown = name.encode("utf-8", "backslashreplace").decode()
            found.faults.append(Finding("unlisted", {"file": shown}))
    if newest > now + CLOCK_MAY_BE_OFF:
        found.notes.append(Finding("future", {"name": store.name, "at": newest.isoformat(timespec="seconds")}))
    return there


def _fault(
    store: Store, key: str, line: Line, name: str, time: str, digest: Digest | None, by_hash: Mapping[str, str]
) -> Finding | int:
    if digest is None:
        return Finding("missing", {"file": name, "time": time})
    fault = fault_of(
        name, line, time, digest.size_bytes, digest.sha256, by_hash, lambda size: _begins(store, key, size)
    )
    return fault or digest.size_bytes


def _time(line: Line, origin_ms: int) -> str:
    return wall_clock(origin_ms + int(line.get("from_ms") or 0))


def _begins(store: Store, key: str, size: int) -> str:
    hasher = hashlib.sha256()
    for chunk in store.open(key):
        hasher.update(chunk[:size])
        size -= min(size, len(chunk))
        if not size:
            break
    return hasher.hexdigest()


def _unread(name: str, time: str, error: StoreError) -> Finding:
    """Damaged: a bad sector, or no regular file; what is put in its place can be read again."""
    if isinstance(error, Missing):
        return Finding("missing", {"file": name, "time": time})
    kind = "not_read" if isinstance(error, Damaged) else "no_answer"
    return Finding(kind, {"file": name, "time": time, "reason": error.detail})
