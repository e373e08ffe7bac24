"""Copies of recordings: which files are still to go where, and rows that say how far each copy is.

A copy follows its recording's ledger, as the rows do: a watermark in bytes. Putting a file is done again without harm,
so whoever is killed between putting and noting costs a look at the store, not a second upload.
"""

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Exists, Row, Select, and_, case, delete, exists, func, literal, or_, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from archive.recordings import checks, custody, newest
from archive.recordings.judge import wrong_with
from archive.recordings.ledger import read_facts
from archive.recordings.locations.config import LOCAL
from archive.recordings.locations.errors import Conflict, Missing, SourceDamaged, StoreError
from archive.recordings.locations.many import File, put_many
from archive.recordings.locations.store import Store
from archive.recordings.tables import RecordingCopy
from archive.recordings.verify import LEDGER_NAME, PAPERS, SIGNATURES_NAME
from archive.words import N_
from core.database import NOW, Moment, is_any
from core.tables import Broadcast, Recording

READ_BYTES = 1 << 20
"""Of a ledger in one turn: some thousand files."""
PAPERS_PACE = timedelta(minutes=5)
"""How often the ledger itself is copied while it grows: it is copied whole."""
FIRST_CHECK = timedelta(days=1)
"""When a new copy is read again the first time; after that at its location's pace."""
MAX_LAG_MS = 2**31 - 1
"""As much as the column holds: an old recording may get a new location years later."""
NOT_COPIED = N_("{count} files could not be copied as the ledger says")
NO_PLACE = N_("no location {location} any more")
PAPERS_DAMAGED = N_("the papers here are damaged, and not copied")
PAPERS_OTHER = N_("the papers there say other things than those here, or more, and are not written over")
NOTED = (NOT_COPIED, NO_PLACE, PAPERS_DAMAGED, PAPERS_OTHER)
TURNS_SINCE_S = 1_760_000_000
"""Unix time, so that the column holds them for decades."""
FIRST_RETRY, LAST_RETRY = timedelta(seconds=2), timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class Turn:
    """What a copy lacks: files named in `[begin, end)` of the ledger, and the papers as well if `papers`."""

    recording_id: str
    location: str
    begin: int
    end: int
    papers: bool
    number: int
    is_anew: bool = False


@dataclass(frozen=True, slots=True)
class Copied:
    """What came of a turn. `end` is how far the copy now follows the ledger; `sent_bytes` are those that were not there
    before; `error` ends the turn early; `damaged` files are not here as the ledger says, and were not copied;
    `newest_at` is when the last file was put on record; `reach`, how far the papers that were put are signed and
    stamped (`_reach`)."""

    end: int
    files: int
    size_bytes: int
    sent_bytes: int
    damaged: int
    papers: bool
    newest_at: str | None = None
    error: str | None = None
    reach: Sequence[int] = (0, 0, 0)


def copy_files(store: Store, recordings: Path, turn: Turn, workers: int = 4) -> Copied:
    """Puts what the turn names, each proven by the store or read back. Blocks. Raises OSError for a ledger that can't
    be read."""
    folder = recordings / turn.recording_id
    with (folder / LEDGER_NAME).open("rb") as ledger:
        ledger.seek(turn.begin)
        data = ledger.read(min(turn.end - turn.begin, READ_BYTES))
    data = data[: data.rfind(b"\n") + 1]
    end = turn.begin + len(data)
    files, size, sent, damaged = 0, 0, 0, 0
    for file, done in put_many(store, _files(folder, turn, data), workers):
        if isinstance(done, SourceDamaged | Conflict):
            damaged += not _is_told_anew(folder, file)
        elif isinstance(done, StoreError):
            return Copied(turn.begin, 0, 0, sent, 0, False, error=str(done))
        else:
            files, size = files + 1, size + done.size_bytes
            sent += 0 if done.was_there else done.size_bytes
    papers = turn.papers and end == turn.end
    reach, error = _put_papers(store, folder, turn) if papers else ((0, 0, 0), None)
    newest_at = json.loads(data.splitlines()[-1])["at"] if data else None
    return Copied(end, files, size, sent, damaged, papers and error is None, newest_at, error, reach)


def _files(folder: Path, turn: Turn, data: bytes) -> Iterator[File]:
    """What may be told twice (playlists, what a killed process left) may replace what is there."""
    named = {}
    for line in data.splitlines():
        fact = json.loads(line)
        if fact["fact"] == "file":
            named[str(fact["name"])] = fact
    for name, fact in named.items():
        replace = turn.is_anew or bool(fact.get("recovered")) or "msn" not in fact
        yield File(f"{turn.recording_id}/{name}", folder / name, fact["sha256"], replace=replace)


def _is_told_anew(folder: Path, file: File) -> bool:
    """A process that was killed left the file shorter, and its successor put it on record again, later."""
    newest = [fact for fact in read_facts(folder) if fact["fact"] == "file" and folder / fact["name"] == file.path]
    return bool(newest) and newest[-1]["sha256"] != file.sha256


def _put_papers(store: Store, folder: Path, turn: Turn) -> tuple[tuple[int, int, int], str | None]:
    """As far as they are signed: what is not may be gone after a power cut; and no further than the turn goes, as a
    rebuild asks for each file that they name. Signatures are read first and put last: one that says more than there is
    tells of a cut. What is damaged here goes nowhere, and what lies there is written over by what goes on from it alone
    (or where a person has it made anew): it may be newer, or the last that is good."""
    read = {name: (folder / name).read_bytes() for name in reversed(PAPERS) if (folder / name).exists()}
    if wrong_with(turn.recording_id, read) is not None:
        return (0, 0, 0), PAPERS_DAMAGED
    read[SIGNATURES_NAME] = newest.reached(read[SIGNATURES_NAME], turn.end) or read[SIGNATURES_NAME]
    reach = _reach(read[SIGNATURES_NAME])
    ends = (*reach[:2], read[SIGNATURES_NAME].rfind(b"\n") + 1)
    papers = {name: read[name][:end] for name, end in zip(PAPERS, ends, strict=True) if name in read}
    try:
        if not turn.is_anew and not all(_goes_on(store, turn, name, data) for name, data in papers.items()):
            return (0, 0, 0), PAPERS_OTHER
        for name, data in papers.items():
            store.put_bytes(f"{turn.recording_id}/{name}", data, replace=True, lock=False)
    except StoreError as error:
        return (0, 0, 0), str(error)
    return reach, None


def _goes_on(store: Store, turn: Turn, name: str, data: bytes) -> bool:
    """Whether it begins with what is there. Raises StoreError."""
    key = f"{turn.recording_id}/{name}"
    try:
        there = store.stat(key)
        sha256 = there.sha256 or store.digest(key).sha256
    except Missing:
        return True
    return there.size_bytes <= len(data) and hashlib.sha256(data[: there.size_bytes]).hexdigest() == sha256


def _reach(signatures: bytes) -> tuple[int, int, int]:
    """How far they sign the ledger and the custody log, and how far of the ledger is stamped, in bytes."""
    lines = [json.loads(line) for line in signatures.split(b"\n")[:-1]]
    signed = {str(line["signature"]): line for line in lines if "signature" in line}
    last, stamps = [*signed.values()][-1], [line["of"] for line in lines if "timestamp" in line]
    stamped = signed[stamps[-1]]["ledger_bytes"] if stamps else 0
    return last["ledger_bytes"], last["custody_bytes"], stamped


# Rows.


def want(session: Session, locations: Iterable[str], now: datetime) -> None:
    """A row for each recording at each location (here: once it has ended); dry runs are kept nowhere, and of what was
    destroyed by order the papers alone: whether media lie there still is looked at (`remains`). Turns are counted from
    the time on: none of a copy that was forgotten before is taken for one of a new copy at the same place."""
    is_disposed = Recording.disposed_at.is_not(None)
    for location in locations:
        is_here = location == LOCAL
        lacks = ~exists().where(RecordingCopy.recording_id == Recording.id, RecordingCopy.location == location)
        lacking = (
            select(
                Recording.id, literal(location), Recording.institution_id,
                case((is_disposed, "disposed"), else_="whole" if is_here else "copying"), literal(now),
                case((is_disposed, now), else_=now + FIRST_CHECK),
                case((is_disposed, Recording.ledger_bytes), else_=0), literal(not is_here),
                literal(round(now.timestamp()) - TURNS_SINCE_S),
            )
            .join(Broadcast, Broadcast.id == Recording.broadcast_id)
            .where(lacks, ~Broadcast.is_test)
        )  # fmt: skip
        if is_here:
            lacking = lacking.where(Recording.state != "recording")
        names = [
            "recording_id",
            "location",
            "institution_id",
            "state",
            "next_try_at",
            "next_check_at",
            "ledger_bytes",
            "papers_due",
            "turns",
        ]
        session.execute(insert(RecordingCopy).from_select(names, lacking).on_conflict_do_nothing())


def count_here(session: Session, recordings: Path, limit: int = 5) -> int:
    """Says of copies here, which nobody copied, how many files they are and how large, as their ledgers have it: of
    those whose ledgers went on since; how many. One whose ledger can't be read is left with what is known."""
    query = (
        select(RecordingCopy, Recording.ledger_bytes)
        .join(Recording, Recording.id == RecordingCopy.recording_id)
        .where(RecordingCopy.location == LOCAL, RecordingCopy.state != "disposed", Recording.state != "recording")
        .where(RecordingCopy.ledger_bytes < Recording.ledger_bytes)
    )
    found = session.execute(query.order_by(Recording.started_at.desc()).limit(limit)).all()
    for copy, ledger_bytes in found:
        copy.ledger_bytes = ledger_bytes
        with suppress(OSError, ValueError, KeyError, TypeError):
            sizes = _sizes(recordings / copy.recording_id)
            copy.files, copy.size_bytes = len(sizes), sum(sizes.values())
    return len(found)


def _sizes(folder: Path) -> dict[str, int]:
    """Of each file that the ledger names. Raises OSError, ValueError; KeyError, TypeError for others' lines."""
    return {str(fact["name"]): int(fact["size"]) for fact in read_facts(folder) if fact["fact"] == "file"}


def due(session: Session, locations: Sequence[str], now: datetime, limit: int) -> list[Turn]:
    """Turns to be made now, those that waited longest first."""
    query = _due(locations, now).order_by(RecordingCopy.next_try_at).limit(limit)
    return [
        Turn(copy.recording_id, copy.location, copy.ledger_bytes, ledger_bytes, with_papers, copy.turns, copy.is_anew)
        for copy, ledger_bytes, with_papers in session.execute(query)
    ]


def is_due(locations: Sequence[str]) -> Exists:
    """A question for the bell."""
    return is_any(_due(locations, NOW))


def _due(locations: Sequence[str], now: Moment) -> Select[RecordingCopy, int, bool]:
    """Papers go when they are signed to their end, and now and then while the recording grows."""
    is_sealed = and_(
        Recording.state != "recording",
        Recording.described_event_id > 0,
        Recording.signed_bytes == Recording.ledger_bytes,
        Recording.signed_custody_bytes == Recording.custody_bytes,
    )
    stale = or_(RecordingCopy.papers_at.is_(None), RecordingCopy.papers_at <= now - PAPERS_PACE)
    papers = or_(
        and_(RecordingCopy.papers_due, is_sealed),
        and_(Recording.state == "recording", Recording.signed_bytes > 0, stale),
    )
    return (
        select(RecordingCopy, Recording.ledger_bytes, papers.label("papers"))
        .join(Recording, Recording.id == RecordingCopy.recording_id)
        .where(
            RecordingCopy.location.in_(locations),
            RecordingCopy.location != LOCAL,
            RecordingCopy.state != "held",
            or_(RecordingCopy.state == "copying", RecordingCopy.papers_due),
            or_(RecordingCopy.next_try_at <= now, RecordingCopy.next_try_at > now + 2 * LAST_RETRY),  # the clock jumped
            or_(RecordingCopy.ledger_bytes < Recording.ledger_bytes, papers),
        )
    )


def note(session: Session, turn: Turn, copied: Copied, now: datetime) -> None:
    """What came of a turn. Noted again, it changes nothing; nor does one at a place that was forgotten meanwhile."""
    now = custody.to_ms(now)
    recording = session.get_one(Recording, turn.recording_id, with_for_update=True)
    copy = session.get(RecordingCopy, (turn.recording_id, turn.location), with_for_update=True)
    if copy is None or copy.turns != turn.number:
        return
    copy.turns += 1
    copy.next_try_at, tries = now, copy.attempts
    if copied.error is None:
        if copy.attempts or copy.state == "copying":  # else it is what a check found, and that stands
            copy.fault = None
        copy.attempts = 0
        if tries:
            try_now(session, [copy.location], now)
    elif copied.error in (PAPERS_DAMAGED, PAPERS_OTHER) and recording.state == "recording":
        copy.fault, copy.papers_at = copied.error, now  # files of what is on the air don't wait for them
    else:
        copy.fault = copied.error
        if copied.error in (PAPERS_DAMAGED, PAPERS_OTHER) and not tries:  # another place's may be good
            checks.ask(session, now, recording.id)
        _try_later(copy, now, tries)
    if copied.end > turn.begin:
        copy.ledger_bytes, copy.files = copied.end, copy.files + copied.files
        copy.size_bytes += copied.size_bytes
        if copied.newest_at is not None:
            lag_ms = round((now - datetime.fromisoformat(copied.newest_at)).total_seconds() * 1000)
            copy.lag_ms = min(lag_ms, MAX_LAG_MS)
    copy.damaged += copied.damaged
    if copy.damaged and copy.fault is None:
        copy.fault = NOT_COPIED.format(count=copy.damaged)
    if copied.papers:
        copy.papers_at = now
        known = (recording.ledger_bytes, recording.custody_bytes, recording.stamped_bytes)
        is_newest = all(there >= due for there, due in zip(copied.reach, known, strict=True))
        is_closed = recording.state != "recording" and recording.described_event_id > 0
        copy.papers_due = not (is_newest and is_closed and copy.ledger_bytes == turn.end)
        if is_closed and not is_newest:  # more was told since they were read; or less is here than once was
            _try_later(copy, now, tries)
    if copied.error is None:
        _finish(session, recording, copy, now)


def _try_later(copy: RecordingCopy, now: datetime, tries: int) -> None:
    copy.next_try_at = now + min(LAST_RETRY, FIRST_RETRY * 2 ** min(tries, 12))
    copy.attempts = tries + 1


def _finish(session: Session, recording: Recording, copy: RecordingCopy, now: datetime) -> None:
    is_closed = recording.state != "recording" and recording.described_event_id > 0
    if copy.state == "copying" and is_closed and copy.papers_at and copy.ledger_bytes == recording.ledger_bytes:
        told: dict[str, Any] = {"location": copy.location, "files": copy.files, "size_bytes": copy.size_bytes}
        copy.is_anew = False
        if copy.damaged:
            copy.state, copy.next_check_at = "faulty", now
            custody.append(session, recording.id, "replication", now, outcome="fail", **told, lacking=copy.damaged)
            return
        copy.state, copy.whole_at, copy.next_check_at = "whole", now, now + FIRST_CHECK
        custody.append(session, recording.id, "replication", now, **told)


def try_now(session: Session, locations: Iterable[str], now: datetime) -> None:
    """What failed there is not waited for: the places work again, or they, or what they are asked with, are others now.
    What another turn is at just now is let be."""
    waits = (RecordingCopy.location.in_(list(locations)), RecordingCopy.attempts > 0, RecordingCopy.next_try_at > now)
    free = select(RecordingCopy.recording_id, RecordingCopy.location).where(*waits).with_for_update(skip_locked=True)
    these = tuple_(RecordingCopy.recording_id, RecordingCopy.location).in_(free)
    query = update(RecordingCopy).where(these).values(next_try_at=now)
    session.execute(query, execution_options={"synchronize_session": False})


def of_recording(session: Session, recording_id: str, places: Collection[str] | None = None) -> Sequence[RecordingCopy]:
    """At `places` alone, where it is said which count."""
    query = select(RecordingCopy).where(RecordingCopy.recording_id == recording_id)
    if places is not None:
        query = query.where(RecordingCopy.location.in_(places))
    return session.scalars(query.order_by(RecordingCopy.location)).all()


def are_elsewhere(session: Session, recording_id: str) -> None:
    """Of a recording that was handed over: what its custody log tells of copies is of another platform's places, also
    where one here has the same name."""
    there = (RecordingCopy.recording_id == recording_id, RecordingCopy.location != LOCAL)
    session.execute(delete(RecordingCopy).where(*there))


def states(session: Session) -> Sequence[Row[str, str, int]]:
    """How many copies are in which state at each location."""
    return session.execute(
        select(RecordingCopy.location, RecordingCopy.state, func.count())
        .group_by(RecordingCopy.location, RecordingCopy.state)
        .order_by(RecordingCopy.location, RecordingCopy.state)
    ).all()
