"""What the archive calls engineers for, read for the console once in some seconds, however many look."""

import threading
import time
from collections.abc import Callable, Collection, Sequence
from datetime import datetime

from sqlalchemy import Engine

from archive.recordings.calls import Call, calls
from core.database import DatabaseAway, transaction
from core.web.i18n import Language
from ingest.console.alarms import OfArchive

KEPT_S = 10.0


class ArchiveCalls:
    """Of this process. What was read last stands while the database is away. `places`: where copies are kept now, None
    where nobody can say."""

    def __init__(
        self, engine: Engine, places: Callable[[], Collection[str] | None] = lambda: None, kept_s: float = KEPT_S,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._engine, self._places, self._kept_s, self._clock_s = engine, places, kept_s, clock_s
        self._found: Sequence[OfArchive] = ()
        self._asked_s: float | None = None
        self._lock = threading.Lock()

    def __call__(self, now: datetime) -> Sequence[OfArchive]:
        """Blocks whoever finds it old; the others get what there is."""
        if not self._is_fresh() and self._lock.acquire(blocking=self._asked_s is None):
            try:
                if not self._is_fresh():
                    self._read(now)
            finally:
                self._lock.release()
        return self._found

    def _is_fresh(self) -> bool:
        return self._asked_s is not None and self._clock_s() - self._asked_s < self._kept_s

    def _read(self, now: datetime) -> None:
        try:
            with transaction(self._engine) as session:
                found = calls(session, now, self._places())
        except DatabaseAway:
            found = None
        if found is not None:
            self._found = [_told(one) for one in found]
        self._asked_s = self._clock_s()


def _told(one: Call) -> OfArchive:
    sw, en = Language.SW, Language.EN
    return OfArchive(
        one.kind, one.count, one.channel, one.institution_id, one.name_sw, one.name_en, one.cause(sw), one.cause(en),
        one.remedy(sw), one.remedy(en), one.path, one.recording_id, one.title_sw, one.title_en,
    )  # fmt: skip
