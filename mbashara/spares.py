"""A broadcast's spare: the second of a channel's two feeds, which goes on the air when the first is lost.

It comes and goes unseen by viewers, so the ledger tells of it: `spare_back` when two feeds are there, for the first
time too, and `spare_lost` when one of them has been away for `MISSED_MS` while the other was there. Where none is
there, that is a gap's to tell (gap.py). `"goodbye":true`: its encoder took leave.
"""

from collections.abc import Collection

from archive.recordings.recorder import Recording
from archive.recordings.recover import RestoredRecording

MISSED_MS = 3000.0
"""After a restart the second encoder comes a moment after the first."""
OTHER = {"primary": "backup", "backup": "primary"}


class Spares:
    """Of one broadcast, from its first keyframe on."""

    def __init__(self, recording: Recording, restored: RestoredRecording | None = None) -> None:
        """A killed process had no time to tell that a spare was lost: it is missed from now on, if it was there."""
        told = restored.spare if restored is not None else None
        self._recording = recording
        self._has_been = told is not None
        self._lost = told["role"] if told is not None and told["fact"] == "spare_lost" else None
        self._missed: tuple[str, float] | None = None

    def look(self, now_ms: float, there: Collection[str], on_air: str, goodbyes: Collection[str]) -> None:
        """Called some times a second with the roles of the feeds that are there, of the one on the air, and of those
        whose last feed took leave; Unix milliseconds."""
        if len(there) == 2:
            self._note_back(now_ms, self._lost or OTHER[on_air])
        elif there and self._has_been:
            self._note_missed(now_ms, OTHER[next(iter(there))], goodbyes)

    def _note_back(self, now_ms: float, role: str) -> None:
        if self._lost is not None or not self._has_been:
            self._tell("spare_back", now_ms, role)
        self._has_been, self._lost, self._missed = True, None, None

    def _note_missed(self, now_ms: float, role: str, goodbyes: Collection[str]) -> None:
        if self._missed is None or self._missed[0] != role:
            self._missed = role, now_ms
        since_ms = self._missed[1]
        if role == self._lost or now_ms - since_ms < MISSED_MS:
            return
        if self._lost is not None:
            self._tell("spare_back", now_ms, self._lost)
        self._lost = role
        self._tell("spare_lost", since_ms, role, **({"goodbye": True} if role in goodbyes else {}))

    def _tell(self, fact: str, unix_ms: float, role: str, **more: bool) -> None:
        self._recording.fact(fact, at_ms=round(unix_ms) - self._recording.origin_ms, role=role, **more)
