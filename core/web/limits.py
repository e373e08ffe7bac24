"""How many requests a caller may make: a token bucket for each key, in this process."""

import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock


@dataclass(frozen=True, slots=True)
class Rate:
    """`burst` at once, then so many a second."""

    burst: int
    per_s: float


@dataclass(frozen=True, slots=True)
class Allowance:
    """What is left after a request. `retry_after_s` None: it was allowed."""

    limit: int
    remaining: int
    reset_s: int
    retry_after_s: int | None

    def headers(self) -> dict[str, str]:
        told = {"limit": self.limit, "remaining": self.remaining, "reset": self.reset_s}
        return {f"ratelimit-{name}": str(value) for name, value in told.items()}


class Buckets:
    """At most `max_keys` of them: the one that was not used for longest is forgotten, and so full again."""

    def __init__(self, rate: Rate, clock_s: Callable[[], float], max_keys: int = 10_000) -> None:
        self._rate, self._clock_s, self._max_keys = rate, clock_s, max_keys
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = Lock()

    def take(self, key: str) -> Allowance:
        with self._lock:
            level = self._level(key)
            is_allowed = level >= 1
            level -= is_allowed
            self._levels[key] = level, self._clock_s()
            self._levels.move_to_end(key)
            if len(self._levels) > self._max_keys:
                self._levels.popitem(last=False)
        full_s = math.ceil((self._rate.burst - level) / self._rate.per_s)
        retry_s = None if is_allowed else math.ceil((1 - level) / self._rate.per_s)
        return Allowance(self._rate.burst, int(level), full_s, retry_s)

    def give_back(self, key: str) -> None:
        """What was taken once; a bucket that was forgotten is full."""
        with self._lock:
            if key in self._levels:
                self._levels[key] = self._level(key) + 1, self._clock_s()

    def is_empty(self, key: str) -> bool:
        with self._lock:
            return self._level(key) < 1

    def knows(self, key: str) -> bool:
        with self._lock:
            return key in self._levels

    def _level(self, key: str) -> float:
        level, at_s = self._levels.get(key, (float(self._rate.burst), 0.0))
        return min(self._rate.burst, level + max(0.0, self._clock_s() - at_s) * self._rate.per_s)
