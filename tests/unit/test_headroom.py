"""What ladders of one process may ask of a machine: each gives up one rung at a time, and tries it again in time."""

import pytest

from transcode.headroom import (
    ASKS_S,
    FIRST_WAIT_S,
    FORGIVEN_S,
    LONGEST_WAIT_S,
    SETTLE_S,
    SHORTEST_WAIT_S,
    TRIAL_S,
    Headroom,
)

BITRATES = (365_000, 80_000, 32_000)


class Machine:
    """Where ladders run of which `room` rungs can be made; each has three."""

    def __init__(self, ladders: int, room: int) -> None:
        self.now_s, self.room = 1000.0, room
        self.headroom = Headroom(lambda: self.now_s)
        self.lacking = dict.fromkeys(range(ladders), 0)
        self.tried_s: list[float] = []

    @property
    def made(self) -> int:
        return sum(3 - lacking for lacking in self.lacking.values())

    def shrink(self, ladder: int) -> bool:
        shrinks = self.headroom.must_shrink(ladder)
        self.lacking[ladder] += shrinks
        return shrinks

    def grow(self, ladder: int) -> bool:
        lacking = self.lacking[ladder]
        grows = lacking > 0 and self.headroom.may_grow(ladder, BITRATES[lacking - 1])
        self.lacking[ladder] -= grows
        return grows

    def run(self, seconds: float) -> None:
        """Too many rungs: each ladder falls behind once in six seconds. Otherwise each asks for more once a second."""
        for _ in range(round(seconds)):
            self.now_s += 1
            for ladder, lacking in self.lacking.items():
                if self.made > self.room and lacking < 3 and (self.now_s + ladder) % 6 == 0:
                    self.shrink(ladder)
                elif self.made <= self.room and self.grow(ladder):
                    self.tried_s.append(self.now_s)


def test_falling_behind_once_is_forgiven() -> None:
    machine = Machine(1, 3)
    assert not machine.shrink(0)
    machine.now_s += FORGIVEN_S
    assert not machine.shrink(0)
    machine.now_s += FORGIVEN_S - 1
    assert machine.shrink(0)


def test_one_ladder_at_a_time_gives_up_a_rung() -> None:
    """All fall behind together; with one rung less they may all keep up."""
    machine = Machine(3, 8)
    assert [machine.shrink(ladder) for ladder in range(3)] == [False, False, False]
    machine.now_s += 6
    assert [machine.shrink(ladder) for ladder in range(3)] == [True, False, False]
    machine.now_s += SETTLE_S
    assert [machine.shrink(ladder) for ladder in range(1, 3)] == [True, False]


def test_the_cheapest_that_any_lacks_comes_back_first() -> None:
    machine = Machine(3, 9)
    machine.headroom.note_lag()
    for ladder, lacking in enumerate((1, 2, 0)):
        machine.lacking[ladder] = lacking
    for _ in range(round(FIRST_WAIT_S)):
        assert not any(machine.grow(ladder) for ladder in range(3)), "it lagged a moment ago"
        machine.now_s += 1
    assert [machine.grow(ladder) for ladder in range(3)] == [False, True, False]
    assert not machine.grow(0), "one at a time"
    machine.now_s += FIRST_WAIT_S / 2
    assert machine.grow(0)


def test_who_is_gone_holds_nobody_up() -> None:
    machine = Machine(1, 3)
    machine.lacking[0] = 1
    machine.headroom.note_lag()
    machine.now_s += FIRST_WAIT_S - 1
    assert not machine.headroom.may_grow("gone", BITRATES[1])
    machine.now_s += 1
    assert not machine.grow(0)
    machine.headroom.forget("gone")
    assert machine.grow(0)


def test_who_asks_no_more_holds_nobody_up() -> None:
    """Its ffmpeg dies again and again, each time before it could ask."""
    machine = Machine(1, 3)
    machine.lacking[0] = 1
    machine.headroom.note_lag()
    machine.now_s += FIRST_WAIT_S - 1
    assert not machine.headroom.may_grow("dies", BITRATES[1])
    machine.now_s += ASKS_S
    assert machine.grow(0)


def test_who_may_try_and_has_no_keyframe_yet_holds_nobody_up() -> None:
    machine = Machine(1, 3)
    machine.lacking[0] = 1
    assert machine.headroom.may_grow("still picture", BITRATES[1])
    machine.now_s += FIRST_WAIT_S / 2
    assert machine.grow(0)


def test_nothing_is_tried_while_one_lags() -> None:
    machine = Machine(1, 3)
    machine.lacking[0] = 1
    for _ in range(100):
        machine.headroom.note_lag()
        machine.now_s += FIRST_WAIT_S - 1
        assert not machine.grow(0)
    machine.now_s += 1
    assert machine.grow(0)


@pytest.mark.parametrize(("ladders", "room"), [(1, 0), (1, 1), (1, 2), (5, 7), (25, 30), (25, 74)])
def test_a_machine_too_small_for_all_makes_as_many_as_it_can(ladders: int, room: int) -> None:
    machine = Machine(ladders, room)
    machine.run(600)
    machine.run(7200)
    assert room - 1 <= machine.made <= room + 1, "two hours on"
    last = [at_s for at_s in machine.tried_s if at_s > machine.now_s - 4 * LONGEST_WAIT_S]
    assert len(last) <= 6, "it is tried seldom what fails each time"


def test_a_machine_that_was_short_for_a_minute_makes_all_again_soon() -> None:
    machine = Machine(25, 40)
    machine.run(60)
    assert machine.made < 75
    lacked = 75 - machine.made
    machine.room = 75
    machine.run(2 * FIRST_WAIT_S + lacked * SHORTEST_WAIT_S)
    assert machine.made == 75


def test_a_trial_that_fails_doubles_the_wait() -> None:
    machine = Machine(1, 2)
    machine.run(4 * 3600)
    waits = [after - before for before, after in zip(machine.tried_s[5:], machine.tried_s[6:], strict=False)]
    assert waits[-1] >= LONGEST_WAIT_S
    assert waits[-1] <= LONGEST_WAIT_S + TRIAL_S
