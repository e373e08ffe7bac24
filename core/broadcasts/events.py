"""The event log of a broadcast: what people did and what media told, appended only (the table refuses changes)."""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Select, select, tuple_
from sqlalchemy.orm import Session

from core.broadcasts.told import tell
from core.tables import BroadcastEvent

PAGE = 1000
COLUMNS = ("id", "at", "broadcast", "kind", "actor", "detail")


def add_event(
    session: Session, institution_id: int, broadcast_id: str, at: datetime, kind: str, actor: str | None = None,
    **detail: Any,
) -> None:  # fmt: skip
    """`actor` None: nobody, the system itself. One that changes the broadcast's state says `after`."""
    session.add(
        BroadcastEvent(
            institution_id=institution_id, broadcast_id=broadcast_id, at=at, kind=kind, actor=actor, detail=detail
        )
    )
    tell(session, broadcast_id, at, kind, detail)


def list_events(
    session: Session, institution_id: int, broadcast_id: str, limit: int = 1000
) -> Sequence[BroadcastEvent]:
    """The latest, in the order in which they happened: what media tells is written a moment after it."""
    newest = _of(institution_id, broadcast_id).order_by(BroadcastEvent.at.desc(), BroadcastEvent.id.desc())
    return session.scalars(newest.limit(limit)).all()[::-1]


def all_events(session: Session, institution_id: int, broadcast_id: str) -> Iterator[BroadcastEvent]:
    """For an export, in the same order: however many there are, a page of them at a time."""
    oldest = _of(institution_id, broadcast_id).order_by(BroadcastEvent.at, BroadcastEvent.id).limit(PAGE)
    found = session.scalars(oldest).all()
    while found:
        yield from found
        last = tuple_(found[-1].at, found[-1].id)
        found = session.scalars(oldest.where(tuple_(BroadcastEvent.at, BroadcastEvent.id) > last)).all()


def written_after(
    session: Session, institution_id: int, broadcast_id: str, after_id: int, limit: int
) -> Sequence[BroadcastEvent]:
    """In the order in which they were written: who asks again and again misses none that media told late."""
    mine = _of(institution_id, broadcast_id).where(BroadcastEvent.id > after_id).order_by(BroadcastEvent.id)
    return session.scalars(mine.limit(limit)).all()


def _of(institution_id: int, broadcast_id: str) -> Select[BroadcastEvent]:
    mine = (BroadcastEvent.institution_id == institution_id) & (BroadcastEvent.broadcast_id == broadcast_id)
    return select(BroadcastEvent).where(mine)


def csv_lines(events: Iterable[BroadcastEvent]) -> Iterator[str]:
    yield _csv_line(COLUMNS)
    for event in events:
        detail = json.dumps(event.detail, ensure_ascii=False)
        yield _csv_line(
            (str(event.id), event.at.isoformat(), event.broadcast_id, event.kind, event.actor or "", detail)
        )


def _csv_line(values: Sequence[str]) -> str:
    line = io.StringIO()
    # A spreadsheet would run a cell that begins like a formula.
    csv.writer(line).writerow([f"'{value}" if value[:1] in ("=", "+", "-", "@") else value for value in values])
    return line.getvalue()
