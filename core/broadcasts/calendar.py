"""A month of broadcasts, by day. Days are Tanzania's, so the caller says which zone's."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo

from sqlalchemy import Row, Select, func, select
from sqlalchemy.orm import Session

from core.broadcasts.queries import begins_at
from core.staff.permissions import Scope
from core.tables import Broadcast, Channel

MAX_BROADCASTS = 1000
"""Of a month: more are told of, not shown."""
YEARS = range(2000, 2100)


@dataclass(frozen=True, slots=True)
class Month:
    """`first` is its first day."""

    first: date

    @classmethod
    def of(cls, day: date) -> "Month":
        return cls(day.replace(day=1))

    @classmethod
    def read(cls, text: str) -> "Month":
        """ "2026-11". Raises ValueError, also for a year that plans can't be of."""
        found = cls(datetime.strptime(text, "%Y-%m").date())
        if found.first.year not in YEARS:
            raise ValueError(text)
        return found

    @property
    def after(self) -> "Month":
        return Month.of(self.first + timedelta(days=31))

    @property
    def before(self) -> "Month":
        return Month.of(self.first - timedelta(days=1))

    @property
    def is_known(self) -> bool:
        return self.first.year in YEARS

    @property
    def days(self) -> list[date]:
        return [self.first + timedelta(days=n) for n in range((self.after.first - self.first).days)]

    def __str__(self) -> str:
        return f"{self.first:%Y-%m}"


@dataclass(frozen=True, slots=True)
class Day:
    date: date
    broadcasts: Sequence[Row[Broadcast, Channel]]


def read_month(session: Session, visible: Scope, month: Month, zone: tzinfo) -> tuple[list[Day], bool]:
    """Every day with what begins on it, or began; and whether that is all."""
    found = session.execute(query(visible, month, zone).limit(MAX_BROADCASTS + 1)).all()
    by_day: dict[date, list[Row[Broadcast, Channel]]] = {day: [] for day in month.days}
    for row in found[:MAX_BROADCASTS]:
        by_day[begins_at(row[0]).astimezone(zone).date()].append(row)
    return [Day(day, rows) for day, rows in by_day.items()], len(found) <= MAX_BROADCASTS


def query(visible: Scope, month: Month, zone: tzinfo) -> Select[Broadcast, Channel]:
    """A stretch of the index broadcast_begins_at."""
    begins = func.coalesce(Broadcast.started_at, Broadcast.planned_start_at)
    first, end = (datetime.combine(one.first, datetime.min.time(), zone) for one in (month, month.after))
    mine = visible.where(Broadcast.institution_id) & ~Broadcast.is_test
    return (
        select(Broadcast, Channel)
        .join(Channel, Channel.id == Broadcast.channel_id)
        .where(begins >= first, begins < end, mine)
        .order_by(begins, Broadcast.id)
    )
