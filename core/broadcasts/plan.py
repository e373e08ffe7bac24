"""What media has to know of broadcasts: each channel's one in rehearsal or live, as facts that need no database."""

from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Row, Select, select
from sqlalchemy.orm import Session

from core.broadcasts.lifecycle import AT_THE_CHANNEL
from core.tables import Broadcast

Level = Literal["info", "warning"]
READ = (
    Broadcast.id, Broadcast.air_id, Broadcast.channel_id, Broadcast.state, Broadcast.ends_at, Broadcast.created_by,
    Broadcast.is_test, Broadcast.message_sw, Broadcast.message_en, Broadcast.message_level,
)  # fmt: skip
"""What of a broadcast media may read (mbashara/media_role.py)."""


@dataclass(frozen=True, slots=True)
class Message:
    """Words for every player of a channel, in both languages."""

    sw: str
    en: str
    level: Level


@dataclass(frozen=True, slots=True)
class Plan:
    """`air_id` names this time on the air. `is_automatic`: a feed began it by itself, so it is on the air already or
    not at all; it can be ended and given a message like any other."""

    id: str
    air_id: str
    state: Literal["rehearsal", "live"]
    ends_at_unix_ms: int | None = None
    message: Message | None = None
    is_automatic: bool = False


def plans() -> Select[*tuple[Any, ...]]:
    """READ of those that are at a channel. A planned broadcast goes before automatic ones, of those the newest counts:
    it comes last."""
    query = select(*READ).where(Broadcast.state.in_(AT_THE_CHANNEL), ~Broadcast.is_test)
    return query.order_by(Broadcast.created_by.is_not(None), Broadcast.id)


def read_plans(session: Session) -> dict[int, Plan]:
    """By the channel's id."""
    return {row.channel_id: _plan(row) for row in session.execute(plans())}


def _plan(row: Row[*tuple[Any, ...]]) -> Plan:
    return Plan(
        row.id,
        row.air_id,
        "rehearsal" if row.state == "rehearsal" else "live",
        None if row.ends_at is None else round(row.ends_at.timestamp() * 1000),
        _message(row),
        row.created_by is None,
    )


def _message(row: Row[*tuple[Any, ...]]) -> Message | None:
    if row.message_sw is None or row.message_en is None:
        return None
    return Message(row.message_sw, row.message_en, "warning" if row.message_level == "warning" else "info")
