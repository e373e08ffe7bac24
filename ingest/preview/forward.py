"""Time as RTP wants it: forward."""

MAX_STEP_MS = 10_000
FRAME_MS = 40


class Forward:
    """A feed's timestamps as RTP's, which only go forward: a step back or one too long counts as one frame."""

    def __init__(self) -> None:
        self.at_ms = 0
        self._last_ms: int | None = None

    def of(self, dts_ms: int) -> int:
        if self._last_ms is not None:
            step_ms = dts_ms - self._last_ms
            self.at_ms += step_ms if 0 <= step_ms <= MAX_STEP_MS else FRAME_MS
        self._last_ms = dts_ms
        return self.at_ms
