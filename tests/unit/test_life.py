"""What a channel does next, for every kind of plan and every kind of broadcast on the air."""

from dataclasses import replace

import pytest

from core.broadcasts.plan import Plan
from mbashara.life import Attach, Begin, Current, End, Patience, Situation, Step, decide

NOW_MS = 1_700_000_000_000.0
LIMITS = Patience(reconnect_window_s=30, planned_window_s=3600)
LIVE = Plan("p", "p", "live")
REHEARSAL = Plan("p", "p", "rehearsal")
AGAIN = Plan("p", "a2", "live")
OTHER = Plan("q", "q", "live")
OWN = Plan("x", "x", "live", is_automatic=True)
STALE = Plan("y", "y", "live", is_automatic=True)
PLANNED, AUTOMATIC = Current("p", "p"), Current("x", None)


def ending(plan: Plan, in_ms: float) -> Plan:
    return replace(plan, ends_at_unix_ms=round(NOW_MS + in_ms))


def lost(current: Current, seconds: float) -> Current:
    return replace(current, lost_s=seconds)


BY_PEOPLE, UNDONE = End("ended by people", True), End("taken off the air", True, is_undone=True)
FEED_LOST, TAKEN = End("feed lost", False), End("a planned broadcast has the channel", True)


@pytest.mark.parametrize(
    ("plan", "on_air", "is_waiting", "may_begin", "step"),
    [
        # Nothing on the air.
        (None, None, False, False, None),
        (None, None, True, False, None),
        (None, None, True, True, Begin(None)),
        (REHEARSAL, None, True, True, None),
        (LIVE, None, False, False, None),
        (LIVE, None, True, False, Begin(LIVE)),
        (LIVE, None, True, True, Begin(LIVE)),
        (ending(LIVE, 5000), None, True, False, Begin(ending(LIVE, 5000))),
        (ending(LIVE, -2600), None, True, True, None),
        (STALE, None, True, False, None),
        (STALE, None, True, True, Begin(None)),
        # A planned broadcast on the air.
        (LIVE, PLANNED, False, False, None),
        (LIVE, PLANNED, True, False, Attach()),
        (LIVE, lost(PLANNED, 31), False, False, None),
        (LIVE, lost(PLANNED, 3599), True, False, Attach()),
        (LIVE, lost(PLANNED, 3601), False, False, FEED_LOST),
        (ending(LIVE, 10_000), PLANNED, False, False, None),
        (ending(LIVE, -2400), PLANNED, False, False, None),
        (ending(LIVE, -2600), PLANNED, False, False, BY_PEOPLE),
        (ending(LIVE, -2600), PLANNED, True, False, BY_PEOPLE),
        (None, PLANNED, False, False, BY_PEOPLE),
        (OTHER, PLANNED, False, False, BY_PEOPLE),
        (OWN, PLANNED, False, False, BY_PEOPLE),
        (REHEARSAL, PLANNED, False, False, UNDONE),
        (AGAIN, PLANNED, False, False, UNDONE),
        # One that a feed began.
        (None, AUTOMATIC, False, False, None),
        (None, AUTOMATIC, True, False, Attach()),
        (None, lost(AUTOMATIC, 29), False, False, None),
        (None, lost(AUTOMATIC, 31), False, False, FEED_LOST),
        (OWN, AUTOMATIC, False, False, None),
        (OWN, lost(AUTOMATIC, 31), False, False, FEED_LOST),
        (ending(OWN, 9000), AUTOMATIC, False, False, None),
        (ending(OWN, -2600), AUTOMATIC, False, False, BY_PEOPLE),
        (ending(STALE, -2600), AUTOMATIC, False, False, None),
        (REHEARSAL, AUTOMATIC, False, False, TAKEN),
        (LIVE, AUTOMATIC, True, True, TAKEN),
    ],
)
def test_what_comes_next(
    plan: Plan | None, on_air: Current | None, is_waiting: bool, may_begin: bool, step: Step | None
) -> None:
    assert decide(Situation(plan, on_air, is_waiting, may_begin, NOW_MS), LIMITS) == step


def test_what_has_ended_is_never_begun_again() -> None:
    assert decide(Situation(LIVE, None, True, True, NOW_MS, is_over=True), LIMITS) is None
