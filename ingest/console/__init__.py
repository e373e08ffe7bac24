"""The engineers' console: all channels on one wall, a channel with feeds and keys, a broadcast led through its life.

The console is told, not asked (`ingest/console/pulse.py`): media is read twice a second for all who watch; numbers go
out as they are, a wall's card goes out as HTML that is made once for all who see it (`cards.py`), any other page
fetches itself anew. Every page works by reloading alone.

An alarm is decided, not stored (`ingest/console/alarms.py`): from feeds, plans, the machine and the archive, by a pure
function with a short memory against flicker; only who has seen it is a row. One of a feed that was lost until its
broadcast's end stays until it is seen, for a day at most (`unseen.py`). The browser adds sound and speech and forgets
nothing but silence.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import Engine

from core.broadcasts.viewers import Viewers
from ingest.console.alarms import Memory, OfArchive
from ingest.console.load import Load

Told = dict[str, Any]
"""A feed as its media process tells it (its GET /feeds)."""


OLD_STILL_S = 20.0
"""A picture is made anew each five seconds or so: an older one stands still, and is told so."""
OLD_PUBLIC_STILL_S = 90.0
"""Of those that viewers get, which are made once a minute while no staff look."""


class Still(Enum):
    """Whether a feed has a picture."""

    NONE = "none"
    FRESH = "fresh"
    OLD = "old"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a media process answered; the headers' names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Media(Protocol):
    """The media processes, as the console reaches them. All of it blocks: for threads."""

    def feeds(self) -> Sequence[Told]:
        """Every feed that is connected, of all workers. May be half a second old."""

    def refused(self) -> Sequence[Told]:
        """Encoders that were turned away in the last two minutes: channel, role, why, address, at. Without a channel:
        the newest whose key is nobody's."""

    def refresh(self, slug: str) -> bool:
        """Has the channel's worker obey at once what was committed; False is no trouble, only later."""

    def ask(self, slug: str, method: str, target: str, body: bytes) -> Answer:
        """A request to the channel's worker as it is; 503 where it doesn't answer."""

    def troubles(self) -> Sequence[str]:
        """What is wrong with the machine: of "media_away", "media_shut_out", "disk_refuses", "memory_refuses" and
        "disk_low". May be seconds old."""

    def viewers(self) -> Mapping[str, Viewers] | None:
        """How many watch now, by channel; one that is not named is watched by nobody. None: that is not known."""

    def series(self, slug: str, role: str, step_s: int) -> Told | None:
        """The feed's time series since the broadcast began."""


def _nothing(_now: datetime) -> Sequence[OfArchive]:
    return ()


@dataclass(frozen=True, slots=True)
class Studio:
    """What the console needs of the world. `rtmp_url` is where encoders publish: "rtmp://HOST:PORT/live"; `stills` is
    the folder of the feeds' pictures, `live` that of what viewers get; `archive` says what the archive calls for: it
    may be seconds old, and costs nothing however often it is asked."""

    engine: Engine
    media: Media
    pepper: bytes
    rtmp_url: str
    stills: Path
    live: Path
    read_load: Callable[[], Load]
    dry_runs: int = 2
    dry_run_minutes: float = 2.0
    archive: Callable[[datetime], Sequence[OfArchive]] = _nothing
    alarms: Memory = field(default_factory=Memory)

    def still(self, slug: str, role: str) -> Still:
        """Of that feed."""
        return still_of(self.stills / f"{slug}.{role}.jpg")

    def has_public_still(self, slug: str) -> bool:
        """Whether there is one of what is on the channel's air now."""
        return still_of(self.live / slug / "still.jpg", OLD_PUBLIC_STILL_S) is Still.FRESH


def still_of(path: Path, old_s: float = OLD_STILL_S) -> Still:
    """Of the file of a feed's picture."""
    try:
        age_s = time.time() - path.stat().st_mtime
    except OSError:
        return Still.NONE
    return Still.OLD if age_s > old_s else Still.FRESH
