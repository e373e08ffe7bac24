"""Alarms of the archive: a table of what is kept how, and what an archivist is called for."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from archive.recordings import copies
from archive.recordings.alarms import AWAY_ATTEMPTS, CopyFacts, Facts, Kind, Level, decide, delayed
from core.database import open_engine
from ingest.console.alarms import OfArchive, of_archive
from mbashara.archive_calls import ArchiveCalls

NOW = datetime(2026, 11, 28, 9, tzinfo=UTC)
HERE, THERE = CopyFacts("local", "whole"), CopyFacts("dodoma", "whole")


def facts(*copies: CopyFacts, ended: float | None = 120, is_signed: bool = True, signed: float = 120) -> Facts:
    """Minutes ago."""
    ended_at = None if ended is None else NOW - timedelta(minutes=ended)
    return Facts("x", "Kikao", "Sitting", ended_at, is_signed, NOW - timedelta(minutes=signed), copies)


CASES: list[tuple[str, Facts, list[Kind]]] = [
    ("whole in two places", facts(HERE, THERE), []),
    ("one copy, just over", facts(HERE, CopyFacts("dodoma", "copying"), ended=59), []),
    ("one copy, an hour later", facts(HERE, CopyFacts("dodoma", "copying"), ended=61), [Kind.FEW_COPIES]),
    ("on the air, not copied", facts(CopyFacts("dodoma", "copying"), ended=None), []),
    ("faulty beside two good ones", facts(HERE, THERE, CopyFacts("arusha", "faulty", "x")), [Kind.COPY_FAULTY]),
    ("destroyed by order", facts(CopyFacts("local", "disposed"), CopyFacts("dodoma", "disposed")), []),
    ("held", facts(HERE, THERE, CopyFacts("arusha", "held")), [Kind.COPY_HELD]),
    ("signed a minute ago", facts(HERE, THERE, is_signed=False, signed=1), []),
    ("not signed for long", facts(HERE, THERE, is_signed=False, signed=3), [Kind.UNSIGNED]),
    ("nine failures", facts(HERE, THERE, CopyFacts("arusha", "copying", "away", 9)), []),
    ("ten failures", facts(HERE, THERE, CopyFacts("arusha", "copying", "away", 10)), [Kind.LOCATION_AWAY]),
    ("due", facts(HERE, CopyFacts("b", "whole", next_check_at=NOW - timedelta(hours=23))), []),
    ("overdue", facts(HERE, CopyFacts("b", "whole", next_check_at=NOW - timedelta(hours=25))), [Kind.CHECK_OVERDUE]),
]


@pytest.mark.parametrize(("name", "one", "kinds"), CASES, ids=[case[0] for case in CASES])
def test_what_an_archivist_is_called_for(name: str, one: Facts, kinds: list[Kind]) -> None:
    assert [alarm.kind for alarm in decide([one], NOW)] == kinds


def test_a_place_is_away_for_more_than_eight_minutes_and_before_that_it_is_told_as_late() -> None:
    waits = [min(copies.LAST_RETRY, copies.FIRST_RETRY * 2**tries) for tries in range(AWAY_ATTEMPTS - 1)]
    assert timedelta(minutes=8) < sum(waits, timedelta()) < timedelta(minutes=11)
    once, gone = CopyFacts("arusha", "copying", "no answer", 1), CopyFacts("pili", "copying", "no answer", 1)
    late = [facts(HERE, THERE, once), facts(HERE, THERE, gone), facts(HERE, CopyFacts("b", "copying", "x", 99))]
    assert decide(late[:2], NOW) == [] and delayed(late, {"local", "dodoma", "arusha", "b"}) == {"arusha": "no answer"}


def test_the_gravest_first_and_one_for_a_place() -> None:
    away = CopyFacts("arusha", "copying", "no answer", 11)
    found = decide([facts(HERE, THERE, away), facts(HERE, CopyFacts("b", "held", "two disagree"), away)], NOW)
    assert [(one.kind, one.count) for one in found] == [
        (Kind.COPY_HELD, 1), (Kind.FEW_COPIES, 1), (Kind.LOCATION_AWAY, 2),
    ]  # fmt: skip
    assert [one.level for one in found] == [Level.SEVERE, Level.SEVERE, Level.MILD]


def test_the_console_asks_the_database_once_in_ten_seconds_and_stands_without_it() -> None:
    """Whoever looks; there is no database here at all, and what was read last stands."""
    clock, asked = [0.0], list[float]()

    class Counted(ArchiveCalls):
        def _read(self, now: datetime) -> None:
            asked.append(clock[0])
            super()._read(now)

    calls = Counted(open_engine("postgresql://nobody@127.0.0.1:1/none"), clock_s=lambda: clock[0])
    for second in range(25):
        clock[0] = float(second)
        assert [*calls(NOW), *calls(NOW)] == []
    assert asked == [0, 10, 20]


def test_an_alarm_of_many_recordings_is_another_one_when_they_are_twice_as_many() -> None:
    told = OfArchive("copy_faulty", 1, "bunge", 1, "Bunge", "Parliament", "", "", "", "", "/x", "01ab")
    keys = [of_archive(replace(told, count=count, recording_id="")).key for count in (2, 3, 4, 7, 8)]
    assert of_archive(told).key == "bunge.archive.copy_faulty.01ab.severe"
    assert keys == [f"bunge.archive.copy_faulty.{number}.severe" for number in (2, 2, 4, 4, 8)]
