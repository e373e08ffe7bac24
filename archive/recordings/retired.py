"""A place that is named no more, forgotten: the rows of the copies there go, and each recording's custody log tells of
it. What lies there is left as it is, a legal hold that its store knows of too: nobody here reaches it. What that is,
`forgotten` reads from those logs.

The caller owns the transaction, and has seen that the place is named no more. Errors are PolicyErrors; nothing was
changed then.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete, exists, or_, select, update
from sqlalchemy.orm import Session

from archive.recordings import custody, forgotten, store_holds
from archive.recordings.alarms import SAFE_COPIES
from archive.recordings.custody import to_ms
from archive.recordings.forgotten import DELETION, FORGOTTEN, RULE
from archive.recordings.overview import whole_copies
from archive.recordings.policy import check_reason
from archive.recordings.policy_errors import LeavesTooFew, NoCopies, NothingLeft
from archive.recordings.policy_tables import DisposalRequest
from archive.recordings.tables import RecordingCopy, Resolution
from core import audit
from core.audit import Actor
from core.tables import Recording


@dataclass(frozen=True, slots=True)
class Forgotten:
    copies: int
    too_few: int
    """Recordings that are left with fewer whole copies than one must have, or whose disposal waited for the place."""


def forget(
    session: Session, location: str, places: Collection[str], reason: str, *, even_so: bool, by: Actor, now: datetime
) -> Forgotten:
    """`places`: those that are named, and where a whole copy counts. Raises BadReason, NoCopies, LeavesTooFew."""
    now, reason = to_ms(now), check_reason(reason)
    at_it = select(Recording.id).join(RecordingCopy, RecordingCopy.recording_id == Recording.id)
    at_it = at_it.where(RecordingCopy.location == location)
    ids = session.scalars(at_it.order_by(Recording.id).with_for_update(of=Recording)).all()
    if not ids:
        raise NoCopies(location=location)
    waits = exists().where(
        DisposalRequest.recording_id == Recording.id, DisposalRequest.state.in_(("approved", "carrying"))
    )
    has_something = RecordingCopy.state.in_(("whole", "faulty", "held"))
    is_needed = or_(has_something & (whole_copies(places) < SAFE_COPIES), waits)
    too_few = len(session.scalars(at_it.where(is_needed)).all())
    if too_few and not even_so:
        raise LeavesTooFew(count=too_few, location=location)
    store_holds.doubt(session, location, now)
    going = set(session.scalars(select(DisposalRequest.recording_id).where(DisposalRequest.state == "carrying")))
    gone = session.scalars(delete(RecordingCopy).where(RecordingCopy.location == location).returning(RecordingCopy))
    counted = Counter[int]()
    for copy in gone.all():
        told: dict[str, Any] = {**FORGOTTEN, "location": location, "detail": reason}
        has_media = copy.state != "disposed" or copy.next_check_at is not None or copy.recording_id in going
        told |= {"state": copy.state, "files": copy.files, "size_bytes": copy.size_bytes, "media": has_media}
        custody.append(session, copy.recording_id, RULE, now, agent=by.name, **told)
        counted[copy.institution_id] += 1
    is_open = Resolution.state.in_(("asked", "planned"))  # what is ordered ends by itself, and says what came of it
    session.execute(update(Resolution).where(Resolution.location == location, is_open).values(state="withdrawn"))
    _audit(session, by, "location.forget", location, counted, now, reason=reason, even_so=even_so)
    return Forgotten(len(ids), too_few)


def gone(session: Session, location: str, reason: str, *, by: Actor, now: datetime) -> int:
    """Puts on record that what lay at a forgotten place is there no more, as a person says; of how many recordings.
    Raises BadReason, NothingLeft."""
    now, reason = to_ms(now), check_reason(reason)
    counted = Counter[int]()
    for recording_id, left in forgotten.everywhere(session).items():
        for one in (one for one in left if one.location == location):
            told: dict[str, Any] = {"location": location, "files": one.files, "size_bytes": one.size_bytes}
            event = custody.append(session, recording_id, DELETION, now, agent=by.name, **told, detail=reason)
            counted[event.institution_id] += 1
    if not counted:
        raise NothingLeft(location=location)
    _audit(session, by, "location.gone", location, counted, now, reason=reason)
    return counted.total()


def _audit(
    session: Session, by: Actor, act: str, location: str, counted: Mapping[int, int], now: datetime, **after: Any
) -> None:
    """`counted`: copies by institutions, each with an entry of its own."""
    for institution_id, copies in sorted(counted.items()):
        facts = {"copies": copies, **after}
        audit.append(session, by, act, f"location:{location}", now=now, institution_id=institution_id, after=facts)
