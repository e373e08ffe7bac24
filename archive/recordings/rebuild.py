"""The catalogue made again from files: a recording's ledger, custody log and signatures, into an emptied database.

What is there already is left alone. Nobody is told of anything: no webhook goes out for what happened long ago.
"""

import base64
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import DateTime, inspect, select, text
from sqlalchemy.orm import Session

from archive.recordings import forgotten, gaps, inventory, policy_rebuild, resolve, rows, verify
from archive.recordings.copies import FIRST_CHECK, NOT_COPIED
from archive.recordings.describe import DESCRIBED
from archive.recordings.ledger import began_at, read_facts
from archive.recordings.locations.config import LOCAL
from archive.recordings.tables import PreservationEvent, RecordingCopy
from archive.recordings.verify import Chain, Finding, Line, Report
from archive.words import LOCALE, N_
from core.plain import PlainError
from core.tables import Base, Broadcast, BroadcastEvent, Channel, Institution, Recording, SigningKey

Row = TypeVar("Row", bound=Base)
MOST_NUMBERED = 1 << 40
"""More than any request of ours; another platform's log may say anything."""


class RebuildError(PlainError):
    """A recording can't be put into the catalogue: its files don't prove themselves, or don't say whose it is."""

    catalogues = (LOCALE,)


class UnknownKey(RebuildError):
    """It is signed by a key that is not trusted here, so that nothing can be said of it; in plain words."""


@dataclass(frozen=True, slots=True)
class Files:
    """A recording's papers, read and checked."""

    folder: Path
    report: Report
    ledger: Chain
    custody: Chain
    signatures: Chain

    @property
    def recording_id(self) -> str:
        return self.report.recording

    @property
    def is_cut_off(self) -> bool:
        return _is_cut_off(self.report)


def _is_cut_off(report: Report) -> bool:
    return any(finding.kind == verify.NO_END for finding in report.findings)


def check_signer(recording_id: str, findings: Iterable[Finding]) -> None:
    """Raises UnknownKey where it is the key that is not known: that is no damage."""
    for one in findings:
        if one.kind == "key_unknown":
            key = one.values["key"]
            raise UnknownKey(
                N_(
                    "{recording}: it is signed by the key {key}, which is not trusted here; nothing says that it is "
                    "damaged: name the institution's published keys with --keys keys.json"
                ),
                recording=recording_id, key=key,
            )  # fmt: skip


def read(folder: Path, keys: Collection[bytes]) -> Files:
    """Raises RebuildError where the papers are not whole, or not signed by one of `keys` (UnknownKey). One that was cut
    off has no end yet."""
    report = verify.verify(folder, keys, with_media=False)
    check_signer(folder.name, report.findings)
    is_cut_off = _is_cut_off(report)
    wrong = [finding for finding in report.findings if not (is_cut_off and finding.kind in verify.NOTES)]
    if wrong:
        raise RebuildError(lambda language: f"{folder.name}: {'; '.join(one.told(language) for one in wrong)}")
    chains = (verify.read_chain(folder / name) for name in ("ledger.jsonl", "custody.jsonl", "signatures.jsonl"))
    return Files(folder, report, *chains)


def described_as(folder: Path) -> Mapping[str, Any] | None:
    """What its own custody log says last of whose it is: `institution`, `channel`, `broadcast`. Raises OSError."""
    described = [line for line in read_facts(folder, verify.CUSTODY_NAME) if line.get("fact") == DESCRIBED]
    return described[-1] if described else None


def restore(session: Session, files: Files, here: Channel | None = None) -> bool:
    """Puts a recording into the catalogue; False where it is there already. It becomes a recording of `here`; None: of
    the institution and channel of its own names, which are made where they are not. One that was cut off, and so never
    closed, becomes one of the channel it was on, still without an end: media ends it. Raises RebuildError,
    LedgerError."""
    if session.get(Recording, files.recording_id) is not None:
        return False
    described = [line for line in files.custody.lines if line["fact"] == DESCRIBED]
    if not described and here is None and files.is_cut_off:
        _restore_cut_off(session, files)
        return True
    if not described:
        raise RebuildError(
            N_("{recording}: nothing says whose it is: it was never closed"), recording=files.recording_id
        )
    newest = described[-1]
    if here is None:
        institution = _institution(session, newest["institution"])
        channel = _channel(session, newest["channel"], institution)
    else:
        institution, channel = session.get_one(Institution, here.institution_id), here
    owned = {"institution_id": institution.id}
    if session.get(Broadcast, newest["broadcast"]["id"]) is None:
        without = {} if here is None else {"cloned_from": None}  # what it was made after is another's
        _add(session, Broadcast, {**newest["broadcast"], **owned, **without, "channel_id": channel.id})
    _add_recording(session, files, newest, institution.id)
    for line in _log(files):
        taken = session.get(BroadcastEvent, line["id"])
        if taken is None or (taken.broadcast_id, taken.kind) != (line["broadcast_id"], line["kind"]):
            _add(session, BroadcastEvent, {**line, **owned, **({} if taken is None else {"id": None})})
    _add_contents(session, files)
    _add_custody(session, files)
    _add_copies(session, files)
    session.flush()
    policy_rebuild.restore(session, session.get_one(Recording, files.recording_id), files.custody.lines)
    return True


def _restore_cut_off(session: Session, files: Files) -> None:
    """As far as its papers go, which is all that there is, with its holds and embargo; what lacks is told."""
    started, recording_id = files.ledger.lines[0], files.recording_id
    channel = session.scalars(select(Channel).where(Channel.slug == str(started.get("channel")))).one_or_none()
    numbers = (started.get("channel_id"), started.get("institution_id"))
    if channel is None or (channel.id, channel.institution_id) != numbers:
        raise RebuildError(
            N_("{recording}: it was cut off, so only its channel {channel} says whose it is, and that is not here"),
            recording=recording_id, channel=started.get("channel"),
        )  # fmt: skip
    rows.apply(session, recording_id, (files.folder / verify.LEDGER_NAME).read_bytes()[: files.ledger.size])
    recording = session.get_one(Recording, recording_id, populate_existing=True)
    for name, value in _proofs(files).items():
        setattr(recording, name, value)
    for span in inventory.lacking(files.folder):
        rows.add_gap(session, recording_id, span, rows.MISSING)
    _add_custody(session, files)
    session.flush()
    policy_rebuild.restore(session, recording, files.custody.lines)


def _proofs(files: Files) -> dict[str, Any]:
    """How far its papers go, are signed and stamped, as its row has it."""
    last, stamped = [line for line in files.signatures.lines if "signature" in line][-1], _stamped(files)
    return {
        "ledger_bytes": files.ledger.size, "ledger_head": files.ledger.head, "signed_bytes": last["ledger_bytes"],
        "signed_at": _at(last), "custody_bytes": files.custody.size, "custody_head": files.custody.head,
        "signed_custody_bytes": last["custody_bytes"], "stamped_bytes": stamped["ledger_bytes"] if stamped else 0,
        "stamped_at": _at(stamped) if stamped else None,
    }  # fmt: skip


def _institution(session: Session, told: Mapping[str, Any]) -> Institution:
    """The one of that slug; else a new one, under its old number where that is free."""
    found = session.scalars(select(Institution).where(Institution.slug == told["slug"])).one_or_none()
    if found is not None:
        return found
    is_free = session.get(Institution, told["id"]) is None
    parent = told.get("parent_id")
    has_parent = parent is not None and session.get(Institution, parent) is not None
    kept = {**told, "id": told["id"] if is_free else None, "parent_id": parent if has_parent else None}
    return _add(session, Institution, kept)


def _channel(session: Session, told: Mapping[str, Any], institution: Institution) -> Channel:
    found = session.scalars(select(Channel).where(Channel.slug == told["slug"])).one_or_none()
    if found is not None:
        if found.institution_id != institution.id:
            raise RebuildError(N_("the channel {slug} is another institution's here"), slug=told["slug"])
        return found
    is_free = session.get(Channel, told["id"]) is None
    return _add(session, Channel, {**told, "id": told["id"] if is_free else None, "institution_id": institution.id})


def _add(session: Session, table: type[Row], told: Mapping[str, Any]) -> Row:
    columns = inspect(table).mapper.column_attrs
    row = table(**{one.key: _value(one.columns[0].type, told[one.key]) for one in columns if one.key in told})
    session.add(row)
    session.flush()
    return row


def _value(kind: object, told: Any) -> Any:
    return datetime.fromisoformat(told) if isinstance(kind, DateTime) and told is not None else told


def _add_recording(session: Session, files: Files, described: Line, institution_id: int) -> None:
    started_at, ended_at = times(files.ledger.lines)
    try:
        checked = inventory.check_files(files.folder)
    except (ValueError, OverflowError, AttributeError, TypeError) as error:  # playlists that no program of ours writes
        wrong = {"recording": files.recording_id, "why": error}
        raise RebuildError(N_("{recording}: a playlist can't be read: {why!r}"), **wrong) from error
    session.add(
        Recording(
            id=files.recording_id, broadcast_id=described["broadcast"]["id"],
            institution_id=institution_id, state=described["recording_state"],
            started_at=started_at, ended_at=ended_at,
            duration_ms=checked.duration_ms, size_bytes=checked.size_bytes,
            **_proofs(files),
            described_event_id=max((line["id"] for line in _log(files)), default=0),
            described_renamed=described["institution"].get("renamed", 0),
        )
    )  # fmt: skip
    session.flush()
    lost = resolve.restore(session, session.get_one(Recording, files.recording_id), files.custody.lines)
    missing = {*checked.missing, *gaps.lost_spans(files.folder, lost)}
    for span in sorted(missing, key=lambda span: (span.started_ms, span.ended_ms)):
        rows.add_gap(session, files.recording_id, span, rows.MISSING)


def times(ledger: Sequence[Line]) -> tuple[datetime, datetime | None]:
    """When it began and ended; what was imported, by the clock of its pictures and not by that of the import."""
    first, ended = ledger[0], [line for line in ledger if line["fact"] == "ended"]
    began = began_at(first)
    if "import" not in first:
        return began, _at(ended[-1]) if ended else None
    return began, began + timedelta(milliseconds=ended[-1]["duration_ms"]) if ended else None


def _stamped(files: Files) -> Line | None:
    """The newest signature that an authority stamped, with the stamp's time."""
    stamps = [line for line in files.signatures.lines if "timestamp" in line]
    if not stamps:
        return None
    signed = [line for line in files.signatures.lines if line.get("signature") == stamps[-1].get("of")]
    return {**signed[0], "at": stamps[-1]["at"]} if signed else None


def _log(files: Files) -> Iterator[Line]:
    return (line for one in files.custody.lines if one["fact"] == DESCRIBED for line in one["log"])


def _add_contents(session: Session, files: Files) -> None:
    for line in files.ledger.lines:
        if line["fact"] == "rendition":
            rows.add_rendition(session, files.recording_id, line)
        elif line["fact"] == "gap":
            span = rows.MissingSpan(line["from_ms"], line["to_ms"])
            rows.add_gap(session, files.recording_id, span, line["cause"])


def _add_custody(session: Session, files: Files) -> None:
    owner = session.get_one(Recording, files.recording_id).institution_id
    data = (files.folder / verify.CUSTODY_NAME).read_bytes() if files.custody.lines else b""
    for line, begin, end in zip(files.custody.lines, [0, *files.custody.ends], files.custody.ends, strict=False):
        session.add(
            PreservationEvent(
                recording_id=files.recording_id, institution_id=owner, at=_at(line), kind=line["fact"],
                outcome=line["outcome"], agent=line["agent"], line=data[begin : end - 1].decode(),
            )
        )  # fmt: skip
        session.flush()


def _add_copies(session: Session, files: Files) -> None:
    """As the custody log tells of them. Where they are now, the next check says: at once, where something was wrong."""
    recording = session.get_one(Recording, files.recording_id)
    made: dict[str, RecordingCopy] = {}
    for line in files.custody.lines:
        location = line.get("location")
        if location is not None and forgotten.is_told_by(line):
            made.pop(location, None)
        if location is None or line["fact"] not in ("replication", "fixity check"):
            continue
        at = _at(line)
        copy = made.setdefault(
            location,
            RecordingCopy(
                recording_id=recording.id, location=location, institution_id=recording.institution_id, state="whole",
                next_try_at=at, ledger_bytes=0 if location == LOCAL else recording.ledger_bytes, papers_due=True,
            ),
        )  # fmt: skip
        is_good = line["outcome"] == "success"
        if line["fact"] == "replication":
            copy.files, copy.size_bytes, copy.damaged = line["files"], line["size_bytes"], line.get("lacking", 0)
            copy.state, copy.whole_at = ("whole", at) if is_good else ("faulty", copy.whole_at)
            copy.fault = None if is_good else NOT_COPIED.format(count=copy.damaged)
            copy.next_check_at = at + FIRST_CHECK if is_good else at
        else:
            copy.state, copy.fault = _as_checked(line)
            copy.checked_at, copy.next_check_at = at, at + FIRST_CHECK if is_good else at
    session.add_all(made.values())


def _as_checked(line: Line) -> tuple[str, str | None]:
    """A copy's state and fault. A held one is evidence that nobody writes over."""
    if line.get("hold"):
        return "held", str(line["hold"])
    left = line.get("left")
    return ("faulty", str(left[0])) if isinstance(left, list) and left else ("whole", None)


def add_keys(session: Session, files: Files, trusted: Mapping[bytes, str | None], ours: Collection[bytes] = ()) -> None:
    """The keys that signed it, of those that are trusted (with when each was retired, if that is known). `ours`: whose
    private halves are here; the one that was begun last is in use, whatever order recordings come back in. With others
    nothing more is signed here."""
    owner = session.get_one(Recording, files.recording_id).institution_id
    named = {base64.b64encode(key).decode(): key for key in trusted}
    used: dict[str, list[datetime]] = {}
    for line in files.signatures.lines:
        if str(line.get("key")) in named:  # another platform's lines may say anything
            used.setdefault(line["key"], []).append(_at(line))
    for public, moments in used.items():
        key = named[public]
        row = session.get(SigningKey, verify.key_id(key))
        is_new = row is None
        if row is None:
            told = {"public_key": public, "created_at": min(moments), "retired_at": max(moments)}
            row = SigningKey(id=verify.key_id(key), institution_id=owner, **told)
            session.add(row)
        row.created_at = min(row.created_at, *moments)
        session.flush()
        if key in ours:
            _take_turn(session, row, ours) if is_new else None
        elif row.retired_at is not None:
            until = trusted[key]
            row.retired_at = max(row.retired_at, *moments, *([_moment(until)] if until else []))
    session.flush()


def _take_turn(session: Session, row: SigningKey, ours: Collection[bytes]) -> None:
    """Each key of ours was in use until the next one was begun."""
    query = select(SigningKey).where(SigningKey.institution_id == row.institution_id, SigningKey.id != row.id)
    others = session.scalars(query.order_by(SigningKey.created_at)).all()
    mine = [one for one in others if base64.b64decode(one.public_key) in ours]
    later = next((one for one in mine if one.created_at > row.created_at), None)
    if later is not None:
        row.retired_at = max(later.created_at, row.retired_at or later.created_at)
        return
    for one in mine:
        one.retired_at = one.retired_at or row.created_at
    session.flush()  # of an institution's keys one is in use
    row.retired_at = None


def number_on(session: Session, files: Files) -> None:
    """New rows get numbers behind those that came with the files, be it only in what their logs tell of."""
    told = [line.get("request") for line in files.custody.lines]
    last = max((one for one in told if type(one) is int and 0 < one < MOST_NUMBERED), default=1)
    for table in ("institution", "channel", "broadcast_event", *policy_rebuild.NUMBERED):
        least = last if table in policy_rebuild.REQUESTS else 1
        sequence = f"pg_get_serial_sequence('{table}', 'id')"
        newest = f"greatest((select max(id) from {table}), nextval({sequence}) - 1, {least})"
        session.execute(text(f"select setval({sequence}, {newest})"))


def _at(line: Line) -> datetime:
    return _moment(line["at"])


def _moment(told: str) -> datetime:
    """As whoever verifies takes one that names no zone."""
    found = datetime.fromisoformat(told)
    return found if found.tzinfo else found.replace(tzinfo=UTC)
