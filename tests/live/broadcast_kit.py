"""Broadcasts in a database, for tests: planned, acted on, told of by a ledger."""

import itertools
from datetime import UTC, datetime, timedelta

from sqlalchemy.orm import Session

from core.broadcasts import acts, events, queries
from core.broadcasts.lifecycle import Act, State
from core.broadcasts.queries import Outline
from core.channels import add_channel, find_channel
from core.tables import Broadcast, Channel

NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)
PEPPER = b"p" * 32
BUDGET = Outline("Hotuba ya Bajeti", "Budget Speech", NOW + timedelta(hours=1), NOW + timedelta(hours=3))
SECOND = timedelta(seconds=1)


def channel(session: Session, slug: str = "bunge") -> Channel:
    add_channel(session, slug, name_sw=slug, name_en=slug, pepper=PEPPER, now=NOW, institution=slug)
    found = find_channel(session, slug)
    assert found is not None
    return found


_numbers = itertools.count(1)


def randomness() -> bytes:
    return next(_numbers).to_bytes(10, "big")


def planned(session: Session, at: Channel | None = None, outline: Outline = BUDGET) -> Broadcast:
    at = at or channel(session)
    return queries.schedule(session, at, outline, actor="asha", now=NOW, randomness=randomness())


def do(
    session: Session, broadcast: Broadcast, act: Act, now: datetime = NOW, expected: State | None = None
) -> Broadcast:
    return acts.act(
        session, broadcast.institution_id, broadcast.id, act, now, expected or State(broadcast.state), actor="asha",
        randomness=randomness(),
    )  # fmt: skip


def kinds(session: Session, broadcast: Broadcast) -> list[str]:
    return [one.kind for one in events.list_events(session, broadcast.institution_id, broadcast.id)]


def started(broadcast: Broadcast, recording: str, at: datetime) -> dict[str, object]:
    return {
        "fact": "started", "at": at.isoformat(), "broadcast": recording, "channel": "bunge", "plan": broadcast.id,
        "channel_id": broadcast.channel_id, "institution_id": broadcast.institution_id,
    }  # fmt: skip
