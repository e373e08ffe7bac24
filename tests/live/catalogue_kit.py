"""The catalogue's rows of a recording, for comparing two catalogues."""

import json
from typing import Any

from sqlalchemy import inspect, select
from sqlalchemy.orm import Session

from archive.recordings.locations.config import LOCAL
from archive.recordings.policy_tables import Embargo, Hold, RetentionPromise
from archive.recordings.tables import LostFile, PreservationEvent, RecordingCopy
from core.tables import Base, Broadcast, BroadcastEvent, Channel, Gap, Institution, Recording, Rendition

PEOPLE = {"placed_by", "lifted_by"}
SERIAL = {"gap": {"id"}, "preservation_event": {"id"}, "embargo": {"id", *PEOPLE}, "hold": PEOPLE}
"""Numbers that mean nothing outside their database; accounts are in no file."""
KEPT_OF_COPY = {"recording_id", "location", "institution_id", "state", "files", "size_bytes", "whole_at", "checked_at"}
"""The rest of a copy's row is how its next turn goes."""


def rows_of(session: Session, recording_id: str) -> list[str]:
    """As JSON."""
    recording = session.get_one(Recording, recording_id)
    broadcast = session.get_one(Broadcast, recording.broadcast_id)
    found: list[Base] = [recording, broadcast, session.get_one(Channel, broadcast.channel_id)]
    found.append(session.get_one(Institution, recording.institution_id))
    found += session.scalars(select(BroadcastEvent).where(BroadcastEvent.broadcast_id == broadcast.id))
    for table in (Rendition, Gap, PreservationEvent, Hold, Embargo, RetentionPromise, LostFile):
        found += session.scalars(select(table).where(table.recording_id == recording_id))
    remote = RecordingCopy.location != LOCAL
    found += session.scalars(select(RecordingCopy).where(RecordingCopy.recording_id == recording_id, remote))
    return sorted(json.dumps(_told(row), default=str, sort_keys=True) for row in found)


def _told(row: Base) -> list[Any]:
    name = row.__tablename__
    values = {one.key: getattr(row, one.key) for one in inspect(row).mapper.column_attrs}
    kept = KEPT_OF_COPY if isinstance(row, RecordingCopy) else values.keys() - SERIAL.get(name, set())
    return [name, {key: value for key, value in values.items() if key in kept}]
