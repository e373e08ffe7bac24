"""How many watch: a count of one moment (player/audience.py makes it), and what is kept of a broadcast's counts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from core.tables import Broadcast, Channel, ViewersSample

SAMPLE_S = 10
MAX_SERIES = 10_000


@dataclass(frozen=True, slots=True)
class Viewers:
    """`sound_only` are among the `viewers`. `is_least`: there are more, but no more can be counted."""

    viewers: int = 0
    sound_only: int = 0
    is_least: bool = False

    def __str__(self) -> str:
        return f"≥ {self.viewers}" if self.is_least else str(self.viewers)


NOBODY = Viewers()


def keep(session: Session, most: Mapping[str, Viewers], at: datetime) -> None:
    """The most of each channel, by slug, in the last SAMPLE_S: for the broadcasts that are on the air there."""
    watched = [slug for slug, found in most.items() if found.viewers]
    query = select(Broadcast.id, Broadcast.institution_id, Channel.slug).join(
        Channel, Channel.id == Broadcast.channel_id
    )
    on_air = query.where(Broadcast.state == "live", Broadcast.started_at.is_not(None), ~Broadcast.is_test)
    rows = [
        {
            "broadcast_id": row.id, "institution_id": row.institution_id, "at": at,
            "viewers": most[row.slug].viewers, "sound_only": most[row.slug].sound_only,
            "is_least": most[row.slug].is_least,
        }
        for row in session.execute(on_air.where(Channel.slug.in_(watched)))
    ]  # fmt: skip
    if rows:
        session.execute(insert(ViewersSample).on_conflict_do_nothing(), rows)


def peak(session: Session, broadcast_id: str) -> ViewersSample | None:
    """None: nobody was seen to watch."""
    mine = select(ViewersSample).where(ViewersSample.broadcast_id == broadcast_id)
    return session.scalar(mine.order_by(ViewersSample.viewers.desc(), ViewersSample.at).limit(1))


def series(session: Session, broadcast_id: str) -> Sequence[ViewersSample]:
    """The newest MAX_SERIES (a day and more), oldest first."""
    mine = select(ViewersSample).where(ViewersSample.broadcast_id == broadcast_id)
    return session.scalars(mine.order_by(ViewersSample.at.desc()).limit(MAX_SERIES)).all()[::-1]
