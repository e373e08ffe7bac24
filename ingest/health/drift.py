"""A feed's clock against ours: a straight line through how far its media is ahead, with how sure the line is."""

import math
from collections import deque
from typing import NamedTuple

BUCKET_S = 10.0
MAX_POINTS = 60
MIN_POINTS = 12
MAX_PPM = 20_000.0


class Drift(NamedTuple):
    """Parts per million that the feed's clock is fast; `error_ppm` is two standard errors of the line."""

    ppm: float
    error_ppm: float


class ClockDrift:
    """A network only ever delays: of each ten seconds the moment counts at which the media was furthest ahead.

    Two minutes are the least that says anything, ten are looked back at. A line steeper than `MAX_PPM` is a
    feed that stalls or hurries, no clock.
    """

    def __init__(self) -> None:
        self.drift: Drift | None = None
        self._points: deque[tuple[float, float]] = deque(maxlen=MAX_POINTS)
        self._bucket_end_s = -math.inf
        self._best = (0.0, -math.inf)

    def note(self, now_s: float, lead_s: float) -> None:
        if now_s >= self._bucket_end_s:
            if self._best[1] > -math.inf:
                self._points.append(self._best)
                self.drift = fit(self._points)
            self._best, self._bucket_end_s = (now_s, lead_s), now_s + BUCKET_S
        elif lead_s > self._best[1]:
            self._best = (now_s, lead_s)


def fit(points: deque[tuple[float, float]]) -> Drift | None:
    """Least squares."""
    count = len(points)
    if count < MIN_POINTS:
        return None
    mean_t, mean_y = sum(t for t, _ in points) / count, sum(y for _, y in points) / count
    spread = sum((t - mean_t) ** 2 for t, _ in points)
    slope = sum((t - mean_t) * (y - mean_y) for t, y in points) / spread
    residue = sum((y - mean_y - slope * (t - mean_t)) ** 2 for t, y in points)
    error = 2 * math.sqrt(residue / (count - 2) / spread)
    return Drift(slope * 1e6, error * 1e6) if abs(slope) * 1e6 <= MAX_PPM else None
