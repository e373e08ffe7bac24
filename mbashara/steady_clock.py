"""A clock that no step of the wall clock moves: what is on the air is placed by it."""

import time
from collections.abc import Callable

Clock = Callable[[], float]


def steady_ms() -> float:
    """Milliseconds since the machine was started, and those in which it slept too."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) * 1000


def anchored(unix_ms: float, steady_ms: Clock) -> Clock:
    """Unix milliseconds, `unix_ms` now; however the wall clock is set from here on."""
    ahead_ms = unix_ms - steady_ms()
    return lambda: steady_ms() + ahead_ms
