"""What lies at places that were forgotten (`retired`): copies whose rows are gone, known from custody logs alone. No
order reaches them until the place is named again (`remains`), so each order tells of them."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, exists, select
from sqlalchemy.orm import Session

from archive.recordings.tables import PreservationEvent, RecordingCopy
from core.staff.permissions import Scope
from core.tables import Recording

RULE, FORGOTTEN = "policy assignment", {"rule": "place", "act": "forgotten"}
DELETION = "deletion"
_MARK = '"act":"forgotten"'


@dataclass(frozen=True, slots=True)
class Left:
    """A copy at a forgotten place, as it was known to be when the place was forgotten."""

    location: str
    at: datetime
    files: int
    size_bytes: int


def is_told_by(line: Mapping[str, Any]) -> bool:
    """Whether a line of a custody log says that the copy at its location was forgotten."""
    return bool(line["fact"] == RULE and line.items() >= FORGOTTEN.items())


def left_at(lines: Iterable[Mapping[str, Any]]) -> dict[str, Left]:
    """By their locations, what was forgotten with media there, as a custody log tells it, and was not removed since."""
    left: dict[str, Left] = {}
    for line in lines:
        if is_told_by(line):
            location, at = str(line.get("location")), datetime.fromisoformat(line["at"])
            left.pop(location, None)
            if line.get("media", line.get("state") != "disposed"):
                left[location] = Left(location, at, int(line.get("files", 0)), int(line.get("size_bytes", 0)))
        elif line["fact"] == DELETION and line["outcome"] == "success":
            for location in line.get("locations", [line.get("location")]):
                left.pop(location, None)
    return left


def of_recording(session: Session, recording_id: str) -> list[Left]:
    """At places that are named no more."""
    known = set(session.scalars(select(RecordingCopy.location).where(RecordingCopy.recording_id == recording_id)))
    return [one for location, one in sorted(left_there(session, recording_id).items()) if location not in known]


def left_there(session: Session, recording_id: str) -> dict[str, Left]:
    """As its custody log tells it, whether the place is named again or not."""
    return left_at(_lines(session, [recording_id]).get(recording_id, ()))


def of_destroyed(session: Session, visible: Scope) -> dict[str, int]:
    """By forgotten places: of how many recordings that were destroyed by order something lies there."""
    found = everywhere(session, visible.where(Recording.institution_id), Recording.disposed_at.is_not(None))
    return Counter(one.location for left in found.values() for one in left)


def everywhere(session: Session, *of_recordings: ColumnElement[bool]) -> dict[str, list[Left]]:
    """By recordings, what `of_recording` says of each."""
    told = and_(PreservationEvent.recording_id == Recording.id, _is_of(RULE), PreservationEvent.line.contains(_MARK))
    ids = select(Recording.id).where(*of_recordings, exists().where(told))
    copies = select(RecordingCopy.recording_id, RecordingCopy.location).where(RecordingCopy.recording_id.in_(ids))
    known = {(recording_id, location) for recording_id, location in session.execute(copies)}
    return {
        recording_id: [one for location, one in left_at(lines).items() if (recording_id, location) not in known]
        for recording_id, lines in sorted(_lines(session, ids).items())
    }


def _is_of(*kinds: str) -> ColumnElement[bool]:
    return PreservationEvent.kind.in_(kinds)


def _lines(session: Session, ids: Iterable[str] | Select[str]) -> dict[str, list[dict[str, Any]]]:
    query = select(PreservationEvent.recording_id, PreservationEvent.line).where(_is_of(RULE, DELETION))
    query = query.where(PreservationEvent.recording_id.in_(ids)).order_by(PreservationEvent.id)
    found: dict[str, list[dict[str, Any]]] = {}
    for recording_id, line in session.execute(query):
        found.setdefault(recording_id, []).append(json.loads(line))
    return found
