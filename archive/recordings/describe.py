"""What the database knows of a recording and its files don't tell, as an event of its custody log: whose it is, the
broadcast with its titles and times, and that broadcast's log. So the catalogue can be made again from files alone.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import func, inspect, select
from sqlalchemy.orm import Session

from archive.recordings import custody, policy
from core.tables import Base, Broadcast, BroadcastEvent, Channel, Institution, Recording

DESCRIBED = "described"


def newest_event(session: Session) -> int:
    return session.scalar(select(func.max(BroadcastEvent.id))) or 0


def open_since(session: Session) -> int | None:
    """The event before the first that belongs to a recording that is not closed yet; None where all are."""
    first = session.scalar(
        select(func.min(BroadcastEvent.id))
        .join(Recording, Recording.broadcast_id == BroadcastEvent.broadcast_id)
        .where(Recording.described_event_id == 0)
    )
    return None if first is None else first - 1


def due(session: Session, after_event: int) -> Sequence[str]:
    """Recordings that were closed and whose broadcast has had events since, behind `after_event`."""
    return session.scalars(
        select(Recording.id)
        .join(BroadcastEvent, BroadcastEvent.broadcast_id == Recording.broadcast_id)
        .where(
            BroadcastEvent.id > after_event,
            BroadcastEvent.id > Recording.described_event_id,
            Recording.described_event_id > 0,
        )
        .distinct()
    ).all()


def tell_renamed(session: Session, now: datetime, limit: int) -> int:
    """Describes recordings of institutions that have other names than were told, the newest first: that many at most;
    how many. What another works on just now is left for the next round."""
    query = (
        select(Recording.id)
        .join(Institution, Institution.id == Recording.institution_id)
        .where(
            Institution.renamed > 0, Recording.described_renamed < Institution.renamed,
            Recording.described_event_id > 0,
        )
        .order_by(Recording.id.desc())
        .limit(limit)
        .with_for_update(of=Recording, skip_locked=True)
    )  # fmt: skip
    found = session.scalars(query).all()
    for recording_id in found:
        describe(session, recording_id, now)
    return len(found)


def describe_closed(session: Session, recording_id: str, now: datetime) -> None:
    """Once, when its files have been looked at. Nothing is told of a dry run: it is not kept."""
    recording = session.get_one(Recording, recording_id, with_for_update=True)
    broadcast = session.get_one(Broadcast, recording.broadcast_id)
    if recording.state != "recording" and recording.described_event_id == 0 and not broadcast.is_test:
        describe(session, recording_id, now)
        policy.promise(session, recording_id, now)


def describe(session: Session, recording_id: str, now: datetime) -> None:
    """Adds the event. Of the broadcast's log it tells what was not told before."""
    recording = session.get_one(Recording, recording_id, with_for_update=True)
    broadcast = session.get_one(Broadcast, recording.broadcast_id)
    channel = session.get_one(Channel, broadcast.channel_id)
    events = session.scalars(
        select(BroadcastEvent)
        .where(BroadcastEvent.broadcast_id == broadcast.id, BroadcastEvent.id > recording.described_event_id)
        .order_by(BroadcastEvent.id)
    ).all()
    if recording.described_event_id == 0:
        size: dict[str, Any] = {"duration_ms": recording.duration_ms, "size_bytes": recording.size_bytes}
        custody.append(session, recording_id, "ingestion", now, head=recording.ledger_head, **size)
    institution = session.get_one(Institution, broadcast.institution_id)
    told: dict[str, Any] = {
        "institution": _columns(institution),
        "channel": _columns(channel),
        "broadcast": _columns(broadcast),
        "log": [_columns(event) for event in events],
        "recording_state": recording.state,
    }
    recording.described_renamed = institution.renamed
    if events:
        recording.described_event_id = events[-1].id
    custody.append(session, recording_id, DESCRIBED, now, **told)


def _columns(row: Base) -> dict[str, Any]:
    values = {attribute.key: getattr(row, attribute.key) for attribute in inspect(row).mapper.column_attrs}
    return {key: value.isoformat() if isinstance(value, datetime) else value for key, value in values.items()}
