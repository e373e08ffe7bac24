"""What a file is that someone has: a piece of a recording, an export of one, one with credentials, or none of it."""

import io
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy.orm import Session

from archive.pages import Archive
from archive.pages.papers import find_file
from archive.recordings import export_credentials, genuine, rows
from archive.recordings.export_credentials import Standing
from archive.recordings.ledger import origin_ms_of
from core.ids import is_id


class Kind(StrEnum):
    SEGMENT = "segment"
    PIECE = "piece"
    """A file of the recording that has no time of its own: an initialisation, an index, the ledger."""
    EXPORT = "export"
    SIGNED = "signed"
    """Its content credentials are right; nobody noted its hash."""
    CHANGED = "changed"
    """It has our credentials, and was changed since."""
    STRANGER = "stranger"
    """Someone else signed it."""
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Answer:
    """`recording_id` None: of none. Times are of the wall clock; `title_sw` and `title_en` of the broadcast."""

    kind: Kind
    sha256: str
    recording_id: str | None = None
    name: str = ""
    number: int | None = None
    from_at: datetime | None = None
    to_at: datetime | None = None
    made_at: datetime | None = None
    title_sw: str = ""
    title_en: str = ""


def by_hash(archive: Archive, session: Session, sha256: str, recording_id: str | None) -> Answer:
    """Looks at the recording's own files, if one is named, and at every export."""
    found = find_file(archive.recordings / recording_id, sha256) if recording_id else None
    if recording_id is not None and found is not None:
        return _of_file(sha256, recording_id, *found)
    exports = genuine.find_exports(session, sha256)
    if not exports:
        return Answer(Kind.UNKNOWN, sha256)
    event, line = next((one for one in exports if one[0].recording_id == recording_id), exports[0])
    origin_ms = origin_ms_of(archive.recordings / event.recording_id)
    return _titled(session, Answer(
        Kind.EXPORT, sha256, event.recording_id, str(line.get("name", "")), None, _at(origin_ms, line.get("from_ms")),
        _at(origin_ms, line.get("to_ms")), event.at,
    ))  # fmt: skip


def by_credentials(archive: Archive, session: Session, sha256: str, data: bytes) -> Answer:
    """What the content credentials in the file say. Blocks: a few hundred milliseconds."""
    found = export_credentials.read_file(io.BytesIO(data), "video/mp4", archive.authority())
    kinds = {Standing.VALID: Kind.SIGNED, Standing.CHANGED: Kind.CHANGED, Standing.UNKNOWN_SIGNER: Kind.STRANGER}
    kind, ledger = kinds.get(found.standing, Kind.UNKNOWN), found.ledger or {}
    if kind is Kind.STRANGER or kind is Kind.UNKNOWN:
        return Answer(kind, sha256)
    named = ledger.get("recording")
    if not (isinstance(named, str) and is_id(named) and rows.find_recording(session, named)):
        return Answer(Kind.UNKNOWN, sha256)
    times = (_clock(ledger, "from"), _clock(ledger, "to")) if kind is Kind.SIGNED else (None, None)
    return _titled(session, Answer(kind, sha256, named, from_at=times[0], to_at=times[1]))


def _of_file(sha256: str, recording_id: str, origin_ms: int, line: Mapping[str, Any]) -> Answer:
    from_at, to_at = _at(origin_ms, line.get("from_ms")), _at(origin_ms, line.get("to_ms"))
    kind = Kind.SEGMENT if from_at and line.get("msn") is not None else Kind.PIECE
    return Answer(kind, sha256, recording_id, str(line["name"]), line.get("msn"), from_at, to_at)


def _titled(session: Session, answer: Answer) -> Answer:
    found = rows.find_recording(session, answer.recording_id or "")
    if found is None:
        return Answer(Kind.UNKNOWN, answer.sha256)
    return replace(answer, title_sw=found[1].title_sw, title_en=found[1].title_en)


def _at(origin_ms: int | None, time_ms: Any) -> datetime | None:
    return (
        None if time_ms is None or origin_ms is None else datetime.fromtimestamp((origin_ms + int(time_ms)) / 1000, UTC)
    )


def _clock(ledger: Mapping[str, Any], name: str) -> datetime | None:
    try:
        return datetime.fromisoformat(str(ledger.get(name)))
    except ValueError:
        return None
