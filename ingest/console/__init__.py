"""The engineers' console: all channels on one wall, a channel with feeds and keys, a broadcast led through its life."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import Engine

from core.broadcasts.viewers import Viewers
from ingest.console.alarms import Memory
from ingest.console.load import Load

Told = dict[str, Any]
"""A feed as its media process tells it (its GET /feeds)."""


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

    def refresh(self, slug: str) -> bool:
        """Has the channel's worker obey at once what was committed; False is no trouble, only later."""

    def ask(self, slug: str, method: str, target: str, body: bytes) -> Answer:
        """A request to the channel's worker as it is; 503 where it doesn't answer."""

    def troubles(self) -> Sequence[str]:
        """What is wrong with the machine: of "media_away", "disk_refuses" and "disk_low". May be seconds old."""

    def viewers(self) -> Mapping[str, Viewers] | None:
        """How many watch now, by channel; one that is not named is watched by nobody. None: that is not known."""

    def series(self, slug: str, role: str, step_s: int) -> Told | None:
        """The feed's time series since the broadcast began."""


@dataclass(frozen=True, slots=True)
class Studio:
    """What the console needs of the world. `rtmp_url` is where encoders publish: "rtmp://HOST:PORT/live"; `stills` is
    the folder of the feeds' pictures, `live` that of what viewers get."""

    engine: Engine
    media: Media
    pepper: bytes
    rtmp_url: str
    stills: Path
    live: Path
    read_load: Callable[[], Load]
    dry_runs: int = 2
    dry_run_minutes: float = 2.0
    alarms: Memory = field(default_factory=Memory)

    def has_still(self, slug: str, role: str) -> bool:
        """Whether there is a picture of that feed."""
        return (self.stills / f"{slug}.{role}.jpg").exists()

    def has_public_still(self, slug: str) -> bool:
        """Whether there is one of what is on the channel's air."""
        return (self.live / slug / "still.jpg").exists()
