"""What the catalogue says of an imported recording, from its ledger: its time is the file's, not that of the import. It
is under embargo at once where whoever sent it said so."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session

from archive.imports.tables import ImportJob
from archive.recordings import policy
from core.audit import Actor
from core.broadcasts.events import add_event
from core.broadcasts.lifecycle import State
from core.broadcasts.queries import IMPORTED
from core.channels import MAX_NAME
from core.tables import Broadcast, Channel, Recording


def begin(
    session: Session, channel: Channel, recording_id: str, fact: Mapping[str, Any], began_at: datetime, at: datetime
) -> None:
    """Adds its broadcast, which is over. `at`: when it was imported."""
    told = fact["import"]
    session.add(
        Broadcast(
            id=recording_id, air_id=recording_id, institution_id=channel.institution_id, channel_id=channel.id,
            state=State.ENDED, title_sw=str(told["title_sw"])[:MAX_NAME], title_en=str(told["title_en"])[:MAX_NAME],
            started_at=began_at, created_by=told["by"],
        )
    )  # fmt: skip
    session.flush()
    original = {name: told["original"][name] for name in ("name", "size", "sha256")}
    add_event(session, channel.institution_id, recording_id, at, IMPORTED, told["by"], **original)


def place_embargo(session: Session, recording_id: str, fact: Mapping[str, Any], at: datetime) -> None:
    """In the transaction in which its recording comes into the catalogue. `at`: when it was imported. Why is not in the
    ledger, which is for everyone once the embargo is over."""
    told = fact["import"].get("embargo")
    if told is None:
        return
    job = session.get(ImportJob, recording_id)
    why = {} if job is None else {"reason": job.embargo_reason}
    by = Actor(None if job is None else job.embargo_by, fact["import"]["by"])
    policy.grant(session, session.get_one(Recording, recording_id), policy.wish_of({**told, **why}), by=by, now=at)


def end(session: Session, recording: Recording, duration_ms: int) -> None:
    """Both ended so much after they began."""
    ended_at = recording.started_at + timedelta(milliseconds=duration_ms)
    session.get_one(Broadcast, recording.broadcast_id).ended_at = recording.ended_at = ended_at
