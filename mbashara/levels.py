"""Sound levels of feeds: measured beside the air in the stills process, kept in one file, read by web.

To read them is to look (`is_looked_at`): while nobody looks they are measured once a minute. On a full machine they are
only older.
"""

import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from urllib.parse import urlencode

import structlog

from core.media.files import replace_file
from core.media.levels import Level
from ingest.console import Told
from mbashara import feeds
from mbashara.media_processes import MediaProcesses
from mbashara.settings import Settings

ROUND_S, RESTING_S = 2.0, 60.0
LOOKED_S = 10.0
"""Whoever looked so long ago may look still."""
WRITE_S = 0.5

log: structlog.stdlib.BoundLogger = structlog.get_logger("mbashara.stills")


class Levels:
    """What was measured of each feed, by its identity. `measure` makes levels of what GET /feeds/sound gives."""

    def __init__(
        self, settings: Settings, media: MediaProcesses, measure: Callable[[bytes], Sequence[Level] | None]
    ) -> None:
        self._settings, self._media, self._measure = settings, media, measure
        self._heard: dict[str, str] = {}
        """The sound that each feed was asked for last."""
        self._measured: dict[str, Told] = {}
        self._written_s = 0.0
        self._rested_s = -RESTING_S

    def round(self, stopping: threading.Event) -> None:
        if not is_looked_at(self._settings) and time.monotonic() - self._rested_s < RESTING_S:
            return
        self._rested_s = time.monotonic()
        told, is_complete = self._media.feeds_told()
        for feed in told:
            if stopping.is_set():
                return
            if _has_sound(feed) and self._take(feed) and time.monotonic() - self._written_s >= WRITE_S:
                self._write()
        if is_complete:
            connected = {feed["feed"] for feed in told}
            self._heard = {feed: tag for feed, tag in self._heard.items() if feed in connected}
            self._measured = {feed: one for feed, one in self._measured.items() if feed in connected}
        self._write()

    def _take(self, feed: Told) -> bool:
        """False: there is nothing new of it."""
        identity, channel = feed["feed"], feed["channel"]
        asked = {"channel": channel, "role": feed["role"], "known": self._heard.get(identity, "")}
        at_s, sound = time.time(), self._media.ask(channel, "GET", f"{feeds.SOUND_PATH}?{urlencode(asked)}", b"")
        if sound.status != 200:
            return False
        is_first = identity not in self._heard
        self._heard[identity] = sound.headers["etag"]
        levels = self._measure(sound.body)
        if levels is None:
            if is_first:
                log.info("sound that can't be measured", channel=channel, role=feed["role"], bytes=len(sound.body))
            return False
        self._measured[identity] = {"at_s": round(at_s, 1), "sides": [asdict(level) for level in levels]}
        return True

    def _write(self) -> None:
        self._written_s = time.monotonic()
        with suppress(OSError):  # the memory folder is full: levels are old then
            replace_file(str(self._settings.levels_file), json.dumps(self._measured).encode())


def is_looked_at(settings: Settings) -> bool:
    """Whether staff have a wall or a channel's page before them."""
    try:
        return time.time() - settings.levels_looked_file.stat().st_mtime < LOOKED_S
    except OSError:
        return False


def _has_sound(feed: Told) -> bool:
    return any(track["kind"] == "audio" for track in feed["tracks"])


class LevelsRead:
    """Web's side."""

    def __init__(self, settings: Settings, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._settings, self._clock_s = settings, clock_s
        self._looked_s = -LOOKED_S

    def read(self) -> Mapping[str, Told]:
        """By the feed's identity: `at_s` (Unix) and `sides`, one level or left and right."""
        if self._clock_s() - self._looked_s >= LOOKED_S / 4:
            self._looked_s = self._clock_s()
            with suppress(OSError):
                self._settings.levels_looked_file.touch()
        try:
            found: Mapping[str, Told] = json.loads(self._settings.levels_file.read_bytes())
        except (OSError, ValueError):
            return {}
        return found
