"""Whether a feed is silent, or nobody listened: both look the same from here."""

FROZEN_MS = 10_000
"""Between two looks: the process stood still, or the machine, and an encoder had no answer."""
LATE_MS = 1000
"""Between two looks: nothing was read meanwhile, so that it is no silence of the feed's."""
SILENT_MS = 1000


class Attention:
    """When this process looked at a broadcast's feeds (Unix milliseconds of its clock, which is never set)."""

    def __init__(self, now_ms: float) -> None:
        self._looked_ms = self._back_ms = now_ms
        self.frozen_ms = 0.0
        """When it was back from having stood still for long."""

    def look(self, now_ms: float) -> bool:
        """True: it stood still for so long that an encoder may have come to no answer."""
        away_ms, self._looked_ms = now_ms - self._looked_ms, now_ms
        if away_ms > LATE_MS:
            self._back_ms = now_ms
        if away_ms > FROZEN_MS:
            self.frozen_ms = now_ms
        return away_ms > FROZEN_MS

    def silent_ms(self, came_ms: float, now_ms: float) -> float:
        """For how long a feed has been heard to be silent whose last packet came then."""
        return now_ms - max(came_ms, self._back_ms)


def is_stalled(silent_ms: float, since_segment_ms: float, timeout_s: float, target_duration_s: int) -> bool:
    """No packet for the timeout, or no segment for 1.5 target durations (draft 6.2.1)."""
    if silent_ms <= SILENT_MS:
        return False
    return silent_ms > timeout_s * 1000 or since_segment_ms > 1500 * target_duration_s
