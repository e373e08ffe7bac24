"""Encoders that were turned away though their key is a channel's, or was: whom engineers and the record are told of."""

from dataclasses import dataclass

from core.keys import TurnedAway

REFUSED_TOLD_S = 120.0
"""Encoders wait longer from try to try, OBS half as long again each time: the alarm of one stays the same."""


def told_since_ms(now_ms: float) -> float:
    """Who came after that is an alarm still."""
    return now_ms - REFUSED_TOLD_S * 1000


@dataclass(frozen=True, slots=True)
class Refused:
    """`unix_ms`: when it came; for a broadcast's record, by the broadcast's clock."""

    role: str
    why: TurnedAway
    peer: str
    unix_ms: float


class RefusedEncoders:
    """The newest for each role and reason."""

    def __init__(self) -> None:
        self._newest: dict[tuple[str, TurnedAway], Refused] = {}

    def note(self, refused: Refused) -> None:
        self._newest[refused.role, refused.why] = refused

    def after(self, unix_ms: float) -> list[Refused]:
        return [one for one in self._newest.values() if one.unix_ms > unix_ms]

    def clear(self) -> None:
        self._newest.clear()
