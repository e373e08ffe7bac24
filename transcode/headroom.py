"""Headroom: how many rungs this machine can make. What one ladder takes the others lack, so a process decides for all
of its ladders, one rung at a time.

Where ladders are too slow again and again, one gives up its dearest rung, and the others are seen again without it.
Where nobody lags, the cheapest that any lacks is tried again; after a trial that failed the next comes later.
"""

import math
import time
from collections.abc import Callable

FORGIVEN_S = 120.0
"""A machine, or a process, that stood still for a moment is not too slow: that takes two times within so long."""
SETTLE_S = 1.0
ASKS_S = 5.0
"""A ladder that lacks rungs and does not lag asks for them each second."""
TRIAL_S = 120.0
FIRST_WAIT_S, SHORTEST_WAIT_S, LONGEST_WAIT_S = 30.0, 10.0, 960.0


class Headroom:
    """Of one process. Ladders are told apart by any object, a feed's pictures from its sound too; times are seconds of
    `clock`, which is never set."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._asked: dict[object, tuple[float, int]] = {}
        self._behind_s: dict[object, float] = {}
        self._lagged_s = self._shrunk_s = self._grown_s = -math.inf
        self._wait_s = self._waited_s = FIRST_WAIT_S

    def forget(self, ladder: object) -> None:
        self._asked.pop(ladder, None)
        self._behind_s.pop(ladder, None)

    def note_lag(self) -> None:
        """A ladder lags more than it does by nature: nothing is tried for a while."""
        self._lagged_s = self._clock()

    def must_shrink(self, ladder: object) -> bool:
        """It fell behind, and is started anew: whether without its dearest rung."""
        now_s = self._lagged_s = self._clock()
        before_s, self._behind_s[ladder] = self._behind_s.get(ladder, -math.inf), now_s
        if now_s - before_s >= FORGIVEN_S or now_s - self._shrunk_s < SETTLE_S:
            return False
        self._shrunk_s = now_s
        self._wait_s = max(self._wait_s, FIRST_WAIT_S)
        if now_s - self._grown_s < TRIAL_S:  # it was too early
            self._wait_s, self._grown_s = min(2 * self._waited_s, LONGEST_WAIT_S), -math.inf
        return True

    def may_grow(self, ladder: object, cheapest_bps: int) -> bool:
        """Whether it tries the cheapest of the rungs that it lacks again, now. Who asks no more holds up nobody: its
        child dies again and again, or it waits for a keyframe that never comes."""
        now_s = self._clock()
        self._asked[ladder] = now_s, cheapest_bps
        if cheapest_bps > min(bps for at_s, bps in self._asked.values() if now_s - at_s < ASKS_S):
            return False
        if now_s - max(self._lagged_s, self._grown_s) < self._wait_s:
            return False
        del self._asked[ladder]
        self._grown_s, self._waited_s = now_s, self._wait_s
        self._wait_s = max(self._wait_s / 2, SHORTEST_WAIT_S)
        return True
