"""Alarms of the archive: a table of what is kept how, and what an archivist is called for."""

from datetime import UTC, datetime, timedelta

import pytest

from archive.recordings.alarms import CopyFacts, Facts, Kind, Level, decide

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
    ("held", facts(HERE, THERE, CopyFacts("arusha", "held")), [Kind.COPY_HELD]),
    ("signed a minute ago", facts(HERE, THERE, is_signed=False, signed=1), []),
    ("not signed for long", facts(HERE, THERE, is_signed=False, signed=3), [Kind.UNSIGNED]),
    ("seven failures", facts(HERE, THERE, CopyFacts("arusha", "copying", "away", 7)), []),
    ("eight failures", facts(HERE, THERE, CopyFacts("arusha", "copying", "away", 8)), [Kind.LOCATION_AWAY]),
    ("due", facts(HERE, CopyFacts("b", "whole", next_check_at=NOW - timedelta(hours=23))), []),
    ("overdue", facts(HERE, CopyFacts("b", "whole", next_check_at=NOW - timedelta(hours=25))), [Kind.CHECK_OVERDUE]),
]


@pytest.mark.parametrize(("name", "one", "kinds"), CASES, ids=[case[0] for case in CASES])
def test_what_an_archivist_is_called_for(name: str, one: Facts, kinds: list[Kind]) -> None:
    assert [alarm.kind for alarm in decide([one], NOW)] == kinds


def test_the_gravest_first_and_one_for_a_place() -> None:
    away = CopyFacts("arusha", "copying", "no answer", 9)
    found = decide([facts(HERE, THERE, away), facts(HERE, CopyFacts("b", "held", "two disagree"), away)], NOW)
    assert [(one.kind, one.count) for one in found] == [
        (Kind.COPY_HELD, 1), (Kind.FEW_COPIES, 1), (Kind.LOCATION_AWAY, 2),
    ]  # fmt: skip
    assert [one.level for one in found] == [Level.SEVERE, Level.SEVERE, Level.MILD]
