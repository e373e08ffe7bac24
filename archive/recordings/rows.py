"""Turns a recording's ledger (facts that media appended, one JSON
object a line) into rows, and rows into lists.

Each function takes the session first; the caller owns the transaction. How far a ledger has been applied
is kept in the recording's own row, so a killed worker or a lost database can neither lose a fact nor apply it
twice.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, Select, and_, delete, select, text, tuple_, update
from sqlalchemy.orm import Session

from archive.imports import rows as imports
from archive.imports.kept import IMPORTED
from archive.recordings.ledger import GENESIS, began_at, hash_of
from archive.recordings.verify import LEFT_OUT
from core.broadcasts.acts import close as close_broadcast
from core.broadcasts.events import add_event
from core.staff.permissions import Scope
from core.tables import Broadcast, Channel, Gap, Recording, Rendition

Fact = dict[str, Any]
MISSING = "file missing"
"""The cause of a gap that was found when the recording was closed, not told by media."""
SHORT_MS = 1000
"""A shorter stretch that a feed left out is a gap of the recording, and no event of the broadcast."""


class LedgerError(Exception):
    """A ledger says what can't be: told with the recording's id, and left for a person to look at."""


@dataclass(frozen=True, slots=True)
class Place:
    """How far a ledger has been applied, and the hash of the last line there."""

    size_bytes: int
    head: str

    def behind(self, lines: bytes) -> "Place":
        """The place at the end of lines that follow."""
        return Place(self.size_bytes + len(lines), hash_of(lines.splitlines()[-1])) if lines else self


@dataclass(frozen=True, slots=True)
class MissingSpan:
    started_ms: int
    ended_ms: int


def read_facts(data: bytes) -> Iterator[tuple[Fact, bytes]]:
    """Facts with their lines. A last line without its newline is not there yet."""
    for line in data.splitlines(keepends=True):
        if not line.endswith(b"\n"):
            return
        try:
            fact = json.loads(line)
        except ValueError as error:
            raise LedgerError(f"not JSON: {line[:80]!r}") from error
        yield fact, line


def applied(session: Session, recording_id: str) -> Place:
    """How much of the ledger is in the rows. Locks the recording's row, so that two workers take turns."""
    query = select(Recording.ledger_bytes, Recording.ledger_head).where(Recording.id == recording_id)
    found = session.execute(query.with_for_update()).one_or_none()
    return Place(0, GENESIS) if found is None else Place(*found)


def apply(session: Session, recording_id: str, data: bytes) -> int:
    """Applies a ledger's bytes that follow those applied; returns how many
    were. The caller commits or rolls back all of it. Raises LedgerError where a line does not follow the one before."""
    known = session.get(Recording, recording_id)
    taken, head = 0, GENESIS if known is None else known.ledger_head
    is_over = known is not None and known.state != "recording"
    for fact, line in read_facts(data):
        try:
            if fact["prev"] != head:
                raise LedgerError(f"the chain is broken: a line does not follow {head}")
            if is_over:
                raise LedgerError("a line follows the end: media writes none")
            is_over = fact["fact"] == "ended"
            _APPLY[fact["fact"]](session, recording_id, fact)
        except (KeyError, TypeError, ValueError) as error:
            raise LedgerError(f"{error!r} in {fact}") from error
        taken, head = taken + len(line), hash_of(line)
    advance = update(Recording).where(Recording.id == recording_id)
    session.execute(advance.values(ledger_bytes=Recording.ledger_bytes + taken, ledger_head=head))
    return taken


def is_import(data: bytes) -> bool:
    """Whether a ledger that begins so is of a file that was imported. Raises LedgerError."""
    fact = next((fact for fact, _ in read_facts(data)), {})
    return isinstance(fact, dict) and "import" in fact


def follow(place: Place, data: bytes) -> Place | None:
    """Where lines behind `place` lead that list files, and so change nothing but how far the ledger has been applied;
    None where one of them says more, or is not what may come there: `apply` takes those."""
    taken, head = 0, place.head
    try:
        for fact, line in read_facts(data):
            if fact["prev"] != head or _APPLY[fact["fact"]] is not _file:
                return None
            taken, head = taken + len(line), hash_of(line)
    except (LedgerError, KeyError, TypeError):
        return None
    return Place(place.size_bytes + taken, head)


_ADVANCE = text("""
    update recording set ledger_bytes = step.now_bytes, ledger_head = step.now_head
    from unnest(cast(:ids as text[]), cast(:bytes as bigint[]), cast(:heads as text[]),
        cast(:now_bytes as bigint[]), cast(:now_heads as text[])) as step (id, bytes, head, now_bytes, now_head)
    where recording.id = step.id and recording.ledger_bytes = step.bytes and recording.ledger_head = step.head
        and recording.state = 'recording'
        and recording.id in (select id from recording where id = any(cast(:ids as text[])) for update skip locked)
    returning recording.id
""")


def advance(session: Session, steps: Mapping[str, tuple[Place, Place]]) -> set[str]:
    """Takes many recordings from place to place (`follow`) in one statement; those that were there, on the air, and
    that nobody else holds: the others are left as they are."""
    places = steps.values()
    given = {
        "ids": list(steps),
        "bytes": [was.size_bytes for was, _ in places], "heads": [was.head for was, _ in places],
        "now_bytes": [now.size_bytes for _, now in places], "now_heads": [now.head for _, now in places],
    }  # fmt: skip
    return set(session.scalars(_ADVANCE, given))


def _started(session: Session, recording_id: str, fact: Fact) -> None:
    channel = session.get(Channel, fact["channel_id"])
    if channel is None or channel.institution_id != fact["institution_id"]:
        raise LedgerError(f"no channel {fact['channel_id']} of institution {fact['institution_id']}")
    at = began_at(fact)
    if "import" in fact:
        imports.begin(session, channel, recording_id, fact, at, _when(fact))
        _add_recording(session, recording_id, recording_id, channel, at)
        imports.place_embargo(session, recording_id, fact, _when(fact))
        return
    broadcast = _broadcast_of(session, channel, recording_id, fact.get("plan", recording_id), at)
    if broadcast.air_id == recording_id and broadcast.started_at is None:
        broadcast.started_at = at
    began = {"after": broadcast.state} if broadcast in session.new else {}
    session.flush()
    _add_recording(session, recording_id, broadcast.id, channel, at)
    add_event(session, broadcast.institution_id, broadcast.id, at, "on_air", recording=recording_id, **began)


def _add_recording(session: Session, recording_id: str, broadcast_id: str, channel: Channel, at: datetime) -> None:
    session.add(
        Recording(
            id=recording_id, broadcast_id=broadcast_id, institution_id=channel.institution_id, state="recording",
            started_at=at, ledger_bytes=0,
        )
    )  # fmt: skip
    session.flush()


def _broadcast_of(session: Session, channel: Channel, recording_id: str, broadcast_id: str, at: datetime) -> Broadcast:
    """The planned one, or a new one that a feed began by itself (so is a plan that a lost database took along)."""
    planned = session.get(Broadcast, broadcast_id, with_for_update=True)
    if planned is not None:
        if planned.channel_id != channel.id:
            raise LedgerError(f"broadcast {broadcast_id} is not of channel {channel.slug}")
        return planned
    made = Broadcast(
        id=broadcast_id, air_id=recording_id, institution_id=channel.institution_id, channel_id=channel.id,
        state="live", title_sw=channel.name_sw, title_en=channel.name_en, started_at=at,
    )  # fmt: skip
    session.add(made)
    return made


def add_rendition(session: Session, recording_id: str, fact: Fact) -> None:
    session.merge(
        Rendition(
            recording_id=recording_id,
            name=fact["name"],
            institution_id=_owner(session, recording_id),
            kind=fact["kind"],
            codecs=fact["codecs"],
            width=fact.get("width"),
            height=fact.get("height"),
            bitrate_bps=fact.get("bitrate_bps"),
        )
    )


def _lost(session: Session, recording_id: str, fact: Fact) -> None:
    _tell(session, recording_id, fact, "feed_lost", cause=fact["cause"], at_ms=fact["at_ms"], **_goodbye(fact))


def _spare(session: Session, recording_id: str, fact: Fact) -> None:
    """A second feed is there, or no longer: viewers see nothing of it."""
    _tell(session, recording_id, fact, fact["fact"], role=fact["role"], at_ms=fact["at_ms"], **_goodbye(fact))


def _goodbye(fact: Fact) -> dict[str, bool]:
    return {"goodbye": True} if fact.get("goodbye") is True else {}


def _gap(session: Session, recording_id: str, fact: Fact) -> None:
    """Of one rendition alone where the disk refused it, or a feed left it out; else the feed was away, and is back
    unless this is the end.

    As the ledger has it, for whoever makes rows again has nothing else. In ledgers of before 28 November 2026 a feed's
    gap begins a picture (40 ms at 25 a second) before the last one's end: no row is moved, or it would say other than
    what is signed. What is held is reckoned from files (`account.py`), which such a gap takes nothing from."""
    span = MissingSpan(fact["from_ms"], fact["to_ms"])
    add_gap(session, recording_id, span, fact["cause"])
    told = {"from_ms": span.started_ms, "to_ms": span.ended_ms, "cause": fact["cause"]}
    if "rendition" not in fact:
        waited = {"waited": True} if fact.get("waited") is True else {}
        _tell(session, recording_id, fact, "feed_back" if fact.get("is_back", True) else "gap", **told, **waited)
    elif fact["cause"] not in LEFT_OUT:
        _tell(session, recording_id, fact, "not_recorded", rendition=fact["rendition"], **told)
    elif span.ended_ms - span.started_ms >= SHORT_MS:
        _tell(session, recording_id, fact, "gap", **told)


def _back(session: Session, recording_id: str, fact: Fact) -> None:
    """As the end of a gap in which nothing is missing."""
    _tell(session, recording_id, fact, "feed_back", from_ms=fact["at_ms"], to_ms=fact["at_ms"])


def _refused(session: Session, recording_id: str, fact: Fact) -> None:
    """An encoder with a key of the channel was turned away while there was no feed."""
    _tell(session, recording_id, fact, "refused", cause=fact["cause"], role=fact["role"])


def _resumed(session: Session, recording_id: str, fact: Fact) -> None:
    """The process that was killed is back. A broadcast that people have ended meanwhile stays ended."""
    recording = session.get_one(Recording, recording_id)
    recording.state, recording.ended_at = "recording", None
    broadcast = session.get_one(Broadcast, recording.broadcast_id, with_for_update=True)
    before = broadcast.state
    if broadcast.created_by is None:
        broadcast.state, broadcast.ended_at = "live", None
    changed = {} if broadcast.state == before else {"before": before, "after": broadcast.state}
    _tell(session, recording_id, fact, "resumed", **changed)


def _ended(session: Session, recording_id: str, fact: Fact) -> None:
    """Ends the broadcast too, if it is still on the air in this recording."""
    at = _when(fact)
    recording = session.get_one(Recording, recording_id)
    recording.state, recording.ended_at = "ended", at
    recording.duration_ms, recording.size_bytes = fact["duration_ms"], fact["size_bytes"]
    if fact.get("reason") == IMPORTED:
        imports.end(session, recording, fact["duration_ms"])
        return
    _tell(session, recording_id, fact, "off_air", reason=fact.get("reason"), recording=recording_id)
    broadcast = session.get_one(Broadcast, recording.broadcast_id, with_for_update=True)
    if broadcast.state == "live" and broadcast.air_id == recording_id:
        close_broadcast(session, broadcast, at, str(fact.get("reason")))


def _file(session: Session, recording_id: str, fact: Fact) -> None:
    """No row for each file: the ledger lists them, and copies are checked against it."""


def _tell(session: Session, recording_id: str, fact: Fact, kind: str, **detail: Any) -> None:
    recording = session.get_one(Recording, recording_id)
    add_event(session, recording.institution_id, recording.broadcast_id, _when(fact), kind, **detail)


_APPLY = {
    "started": _started,
    "rendition": add_rendition,
    "lost": _lost,
    "gap": _gap,
    "back": _back,
    "refused": _refused,
    "spare_lost": _spare,
    "spare_back": _spare,
    "resumed": _resumed,
    "ended": _ended,
    "file": _file,
    "absent": _file,
}


def ended_recordings(session: Session) -> Sequence[str]:
    """Recordings that media has finished and nobody has closed yet."""
    is_open = and_(Recording.state == "ended", Recording.described_event_id == 0, Recording.disposed_at.is_(None))
    return session.scalars(select(Recording.id).where(is_open).order_by(Recording.id)).all()


def ledger_places(session: Session) -> dict[str, Place]:
    rows = session.execute(select(Recording.id, Recording.ledger_bytes, Recording.ledger_head))
    return {row.id: Place(row.ledger_bytes, row.ledger_head) for row in rows}


def close(
    session: Session, recording_id: str, duration_ms: int, size_bytes: int, missing: Sequence[MissingSpan]
) -> None:
    """What the check of the files found. Said again, it says the
    same; only a whole recording is `complete`."""
    session.execute(delete(Gap).where(Gap.recording_id == recording_id, Gap.cause == MISSING))
    for span in missing:
        add_gap(session, recording_id, span, MISSING)
    found = {
        "duration_ms": duration_ms,
        "size_bytes": size_bytes,
        "state": "ended" if missing else "complete",
    }
    session.execute(
        update(Recording).where(Recording.id == recording_id, Recording.state != "recording").values(**found)
    )


def is_of_test(session: Session, recording_id: str) -> bool:
    query = select(Broadcast.is_test).join(Recording, Recording.broadcast_id == Broadcast.id)
    return session.scalar(query.where(Recording.id == recording_id)) or False


def remove(session: Session, recording_id: str) -> None:
    """All rows of a recording whose files are gone."""
    for table in (Rendition, Gap):
        session.execute(delete(table).where(table.recording_id == recording_id))
    session.execute(delete(Recording).where(Recording.id == recording_id))


def list_recordings(session: Session) -> Sequence[Row[Recording, Broadcast, Channel]]:
    """Newest first."""
    return session.execute(_with_broadcast().order_by(Recording.started_at.desc())).all()


def page_of_recordings(
    session: Session, visible: Scope, *, channel: str | None = None, after: tuple[datetime, str] | None = None,
    limit: int, only_open: bool = False, only_kept: bool = False,
) -> Sequence[Row[Recording, Broadcast, Channel]]:  # fmt: skip
    """Newest first, those behind `after`: the beginning and the id of the last one seen. `only_kept`: none
    that was destroyed by order; `only_open`: nor any under embargo."""
    query = _with_broadcast().where(visible.where(Recording.institution_id))
    if only_open:
        query = query.where(~Recording.is_embargoed)
    if only_open or only_kept:
        query = query.where(Recording.disposed_at.is_(None))
    if channel is not None:
        query = query.where(Channel.slug == channel)
    if after is not None:
        query = query.where(tuple_(Recording.started_at, Recording.id) < tuple_(*after))
    return session.execute(query.order_by(Recording.started_at.desc(), Recording.id.desc()).limit(limit)).all()


def renditions(session: Session, recording_id: str) -> Sequence[Rendition]:
    return session.scalars(
        select(Rendition).where(Rendition.recording_id == recording_id).order_by(Rendition.name)
    ).all()


def find_recording(session: Session, recording_id: str) -> Row[Recording, Broadcast, Channel] | None:
    return session.execute(_with_broadcast().where(Recording.id == recording_id)).one_or_none()


def _with_broadcast() -> Select[Recording, Broadcast, Channel]:
    return (
        select(Recording, Broadcast, Channel)
        .join(Broadcast, Broadcast.id == Recording.broadcast_id)
        .join(Channel, Channel.id == Broadcast.channel_id)
        .where(~Broadcast.is_test)
    )


def gaps(session: Session, recording_id: str) -> Sequence[Gap]:
    return session.scalars(select(Gap).where(Gap.recording_id == recording_id).order_by(Gap.started_ms, Gap.id)).all()


def add_gap(session: Session, recording_id: str, span: MissingSpan, cause: str) -> None:
    owner = _owner(session, recording_id)
    told = Gap(
        recording_id=recording_id,
        institution_id=owner,
        started_ms=span.started_ms,
        ended_ms=span.ended_ms,
        cause=cause,
    )
    session.add(told)


def _owner(session: Session, recording_id: str) -> int:
    return session.scalars(select(Recording.institution_id).where(Recording.id == recording_id)).one()


def _when(fact: Fact) -> datetime:
    return datetime.fromisoformat(fact["at"])
