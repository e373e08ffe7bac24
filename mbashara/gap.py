"""A gap: a stretch in which a broadcast's leading rendition has nothing, and what is on record of it.

    it begins: lost      an encoder is turned away meanwhile: refused      it ends: gap, or back

Where a feed that was ahead of the clock is back before that is over, nothing is missing: it is told as back alone. A
gap in which nobody came, and none comes after, is a wait: nothing is missing then.
"""

from archive.recordings.recorder import Recording
from archive.recordings.verify import FEED_LOST, NO_PICTURE, REFUSED
from core.keys import TurnedAway
from mbashara.refused import Refused

STALLED = "stalled"
PROCESS_ENDED = "process ended"


class Gap:
    """From `from_ms` on the timeline until `end`."""

    def __init__(self, recording: Recording, from_ms: float, cause: str, *, may_have_come: bool = False) -> None:
        """`may_have_come`: an encoder had no answer since the last packet, so that this is no mere wait."""
        self.from_ms = from_ms
        self._recording, self._cause = recording, cause
        self._may_have_come = may_have_come
        self._turned_away: set[tuple[str, TurnedAway]] = set()

    @property
    def is_heard(self) -> bool:
        """The sound goes on beside it."""
        return self._cause == NO_PICTURE

    def tell_lost(self, *, said_goodbye: bool = False) -> None:
        more = {"goodbye": True} if said_goodbye else {}
        self._recording.fact("lost", at_ms=round(self.from_ms), cause=self._cause, **more)

    def note_feed(self) -> None:
        """Its encoder did come, though nothing of it is on the air. So the gap is no mere wait."""
        self._may_have_come = True

    def note_refused(self, refused: Refused) -> None:
        """An encoder with a key of the channel came and was turned away: told once for each role and reason."""
        self.note_feed()
        if (refused.role, refused.why) in self._turned_away:
            return
        self._turned_away.add((refused.role, refused.why))
        at_ms = round(refused.unix_ms) - self._recording.origin_ms
        self._recording.fact("refused", at_ms=at_ms, role=refused.role, cause=refused.why)
        if self._cause == FEED_LOST:
            self._cause = self._lost_cause()

    def note_lost(self) -> None:
        """The feed that stood still is gone."""
        if self._cause in (STALLED, NO_PICTURE):
            self._cause = self._lost_cause()

    def _lost_cause(self) -> str:
        """Whose key is in use comes back by itself."""
        return REFUSED if any(why is not TurnedAway.IN_USE for _, why in self._turned_away) else FEED_LOST

    def end(self, at_ms: float, *, is_back: bool) -> None:
        """`is_back`: a feed is there; otherwise the broadcast ends."""
        if at_ms > self.from_ms:
            told = {"from_ms": round(self.from_ms), "to_ms": round(at_ms), "cause": self._cause, "is_back": is_back}
            is_wait = not is_back and not self._may_have_come and self._cause == FEED_LOST
            self._recording.fact("gap", **told, **({"waited": True} if is_wait else {}))
        elif is_back:
            self._recording.fact("back", at_ms=round(self.from_ms))
