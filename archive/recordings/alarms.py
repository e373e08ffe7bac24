"""What an archivist is called for: alarms of the archive, decided from rows that were read. No clock, no database.

**severe**: something that was on the air may be lost, or can't be proven. **mild**: it may come to that.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import partial

SAFE_COPIES = 2
"""Whole copies that a recording must have, here among them."""
SOON = timedelta(hours=1)
"""After its end a recording must have them."""
UNSIGNED_FOR = timedelta(minutes=2)
"""A ledger on the air is signed every fifteen seconds."""
OVERDUE_BY = timedelta(days=1)
UNSTAMPED_FOR = timedelta(minutes=10)
"""An authority that answers stamps what has ended within seconds."""
AWAY_ATTEMPTS = 10
"""Copying that failed so often in a row has failed for more than eight minutes (FIRST_RETRY doubles, to LAST_RETRY)."""


class Level(StrEnum):
    SEVERE = "severe"
    MILD = "mild"


class Kind(StrEnum):
    COPY_HELD = "copy_held"
    COPY_FAULTY = "copy_faulty"
    UNSIGNED = "unsigned"
    FEW_COPIES = "few_copies"
    LOCATION_AWAY = "location_away"
    CHECK_OVERDUE = "check_overdue"
    LOCATION_DROPPED = "location_dropped"
    REMAINS_LEFT = "remains_left"
    REMAINS_KEPT = "remains_kept"
    HOLD_UNTOLD = "hold_untold"
    UNSTAMPED = "unstamped"


LEVELS = {
    Kind.COPY_HELD: Level.SEVERE, Kind.COPY_FAULTY: Level.SEVERE, Kind.UNSIGNED: Level.SEVERE,
    Kind.FEW_COPIES: Level.SEVERE, Kind.LOCATION_AWAY: Level.MILD, Kind.CHECK_OVERDUE: Level.MILD,
    Kind.LOCATION_DROPPED: Level.MILD, Kind.REMAINS_LEFT: Level.MILD, Kind.REMAINS_KEPT: Level.MILD,
    Kind.HOLD_UNTOLD: Level.MILD, Kind.UNSTAMPED: Level.MILD,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class CopyFacts:
    """As RecordingCopy has them."""

    location: str
    state: str
    fault: str | None = None
    attempts: int = 0
    next_check_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """A recording. `is_signed`: to its end; `signed_at` the last time, or when it began."""

    recording_id: str
    title_sw: str
    title_en: str
    ended_at: datetime | None
    is_signed: bool
    signed_at: datetime
    copies: tuple[CopyFacts, ...]


@dataclass(frozen=True, slots=True)
class Alarm:
    """Of a recording, or of a `location` and then of `count` recordings (copies of one that is named no more; destroyed
    ones of which something lies at one that was forgotten; held ones whose hold its store was not told); of `count`
    recordings that wait for a time stamp. `detail` is in English, as it was noted."""

    kind: Kind
    count: int = 1
    location: str = ""
    recording_id: str = ""
    title_sw: str = ""
    title_en: str = ""
    detail: str = ""

    @property
    def level(self) -> Level:
        return LEVELS[self.kind]


def decide(
    recordings: Iterable[Facts], now: datetime, places: Collection[str] | None = None, of_places: Iterable[Alarm] = (),
) -> list[Alarm]:  # fmt: skip
    """The gravest first. Of a location that is away, or late with its reading, there is one alarm. `places`: those that
    are named now, None where nobody can say; a copy elsewhere is no copy that counts. `of_places`: see `of_each`."""
    found: list[Alarm] = [*of_places]
    away: dict[str, list[str]] = {}
    overdue: dict[str, int] = {}
    for one in recordings:
        found += _of_recording(one, now, places)
        for copy in one.copies:
            if places is not None and copy.location not in places:
                continue
            if copy.attempts >= AWAY_ATTEMPTS and copy.fault:
                away.setdefault(copy.location, []).append(copy.fault)
            is_read = copy.state not in ("copying", "disposed")
            if is_read and copy.next_check_at and copy.next_check_at < now - OVERDUE_BY:
                overdue[copy.location] = overdue.get(copy.location, 0) + 1
    found += [Alarm(Kind.LOCATION_AWAY, len(why), place, detail=why[0]) for place, why in away.items()]
    found += [Alarm(Kind.CHECK_OVERDUE, count, place) for place, count in overdue.items()]
    order = list(Kind)
    return sorted(found, key=lambda alarm: (alarm.level is Level.MILD, order.index(alarm.kind)))


def delayed(recordings: Iterable[Facts], places: Collection[str] | None) -> dict[str, str]:
    """By places, why they did not take a copy just now: too short a while for an alarm."""
    return {
        copy.location: copy.fault
        for one in recordings for copy in one.copies
        if copy.fault and 0 < copy.attempts < AWAY_ATTEMPTS and (places is None or copy.location in places)
    }  # fmt: skip


def of_each(kind: Kind, counted: Mapping[str, int]) -> list[Alarm]:
    """By places, how many of something are there."""
    return [Alarm(kind, count, place) for place, count in counted.items() if count]


def _of_recording(one: Facts, now: datetime, places: Collection[str] | None) -> Iterator[Alarm]:
    alarm = partial(Alarm, recording_id=one.recording_id, title_sw=one.title_sw, title_en=one.title_en)
    for copy in one.copies:
        if copy.state in ("held", "faulty"):
            kind = Kind.COPY_HELD if copy.state == "held" else Kind.COPY_FAULTY
            yield alarm(kind, location=copy.location, detail=copy.fault or "")
        is_named = places is None or copy.location in places
        is_late = copy.next_check_at is not None and (copy.fault or not is_named or copy.next_check_at < now - SOON)
        if copy.state == "disposed" and is_late:
            yield alarm(Kind.REMAINS_KEPT, location=copy.location, detail=copy.fault or "")
    if not one.is_signed and one.signed_at < now - UNSIGNED_FOR:
        yield alarm(Kind.UNSIGNED)
    whole = sum(copy.state == "whole" and (places is None or copy.location in places) for copy in one.copies)
    is_kept = all(copy.state != "disposed" for copy in one.copies)
    if is_kept and one.ended_at is not None and one.ended_at < now - SOON and whole < SAFE_COPIES:
        yield alarm(Kind.FEW_COPIES, whole)
