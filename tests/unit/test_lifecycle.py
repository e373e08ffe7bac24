"""The table of a broadcast's life, every state with every act, and what it promises about ways through it."""

import pytest

from core.broadcasts.lifecycle import TABLE, Act, State, next_state, possible_acts

ROWS = """
                scheduled  rehearsal  live       ended     archived  cancelled
edit            scheduled  rehearsal  live       ended     -         -
rehearse        rehearsal  -          -          -         -         -
stand_down      -          scheduled  -          -         -         -
go_live         live       live       -          -         -         -
undo_go_live    -          -          rehearsal  -         -         -
message         -          rehearsal  live       -         -         -
end             -          -          live       -         -         -
undo_end        -          -          live       -         -         -
close           -          -          ended      -         -         -
cancel          cancelled  cancelled  -          -         -         -
archive         -          -          -          archived  -         -
"""
HEAD, *LINES = (line.split() for line in ROWS.strip().splitlines())
CASES = [(state, act, found) for act, *row in LINES for state, found in zip(HEAD, row, strict=True)]


def test_the_cases_are_every_state_with_every_act() -> None:
    assert {(state, act) for state, act, _ in CASES} == {(state, act) for state in State for act in Act}


@pytest.mark.parametrize(("state", "act", "found"), CASES)
def test_the_table(state: str, act: str, found: str) -> None:
    assert next_state(State(state), Act(act)) == (None if found == "-" else State(found))


@pytest.mark.parametrize("state", State)
def test_possible_acts_are_those_that_lead_somewhere(state: State) -> None:
    assert set(possible_acts(state)) == {act for act in Act if next_state(state, act) is not None}


def reachable(start: State) -> set[State]:
    found, fresh = {start}, {start}
    while fresh := {after for (before, _), after in TABLE.items() if before in fresh} - found:
        found |= fresh
    return found


def test_what_was_on_the_air_and_ended_never_is_again() -> None:
    assert reachable(State.SCHEDULED) == set(State)
    assert reachable(State.ENDED) == {State.ENDED, State.ARCHIVED}
    assert reachable(State.CANCELLED) == {State.CANCELLED}
