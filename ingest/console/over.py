"""A broadcast that is over, as its page says so: since when, and where what was on the air is kept. Takes the session
first; whether the person may see the broadcast is the caller's to ask."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from core.broadcasts.lifecycle import Act, State
from core.tables import Broadcast, BroadcastEvent, Recording

OVER = (State.ENDED, State.ARCHIVED, State.CANCELLED)


@dataclass(frozen=True, slots=True)
class Over:
    """`since` None: nobody has written it down. `recordings`: of each time on the air, the last one last."""

    since: datetime | None
    recordings: Sequence[Recording]


def over(session: Session, broadcast: Broadcast) -> Over | None:
    """None: it is not over."""
    if broadcast.state not in OVER:
        return None
    of_it = select(Recording).where(Recording.broadcast_id == broadcast.id)
    return Over(
        broadcast.ended_at or _cancelled_at(session, broadcast),
        session.scalars(of_it.order_by(Recording.started_at, Recording.id)).all(),
    )


def _cancelled_at(session: Session, broadcast: Broadcast) -> datetime | None:
    mine = (BroadcastEvent.broadcast_id == broadcast.id) & (BroadcastEvent.kind == Act.CANCEL)
    return session.scalar(select(func.max(BroadcastEvent.at)).where(mine))
