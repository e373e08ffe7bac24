"""What other programs are told of a broadcast's event (core/webhooks), in the event's own transaction."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from core.tables import Broadcast, Channel
from core.webhooks import outbox
from core.webhooks.tables import Event

_FEEDS = {"feed_lost": Event.FEED_LOST, "feed_back": Event.FEED_BACK}


def tell(session: Session, broadcast_id: str, at: datetime, kind: str, detail: Mapping[str, Any]) -> None:
    event = event_of(kind, detail)
    if event is None:
        return
    broadcast = session.get_one(Broadcast, broadcast_id)
    if broadcast.is_test:
        return  # a dry run is nobody else's business
    data = {**_data(broadcast, session.get_one(Channel, broadcast.channel_id).slug), **_more(event, detail)}
    outbox.write(session, broadcast.institution_id, event, at, data)


def event_of(kind: str, detail: Mapping[str, Any]) -> Event | None:
    """An event of the log that changes the state says `after`, and `before` where there was a state."""
    after = detail.get("after")
    if after is not None and after != detail.get("before"):
        return Event(f"broadcast.{after}")
    return _FEEDS.get(kind)


def _data(broadcast: Broadcast, channel: str) -> dict[str, Any]:
    return {
        "institution_id": broadcast.institution_id,
        "channel": channel,
        "broadcast": {
            "id": broadcast.id,
            "state": broadcast.state,
            "title_sw": broadcast.title_sw,
            "title_en": broadcast.title_en,
            "visibility": broadcast.visibility,
            **{
                name: _written(getattr(broadcast, name))
                for name in ("planned_start_at", "planned_end_at", "started_at", "ended_at")
            },
        },
    }


def _more(event: Event, detail: Mapping[str, Any]) -> dict[str, Any]:
    if event in _FEEDS.values():
        return {"cause": detail.get("cause")}
    return {"previous_state": detail.get("before")}


def _written(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()
