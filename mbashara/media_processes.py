"""The media processes as web reaches them, over their sockets: for the console and the API."""

import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path
from threading import Lock
from urllib.parse import urlencode

from core.broadcasts.viewers import Viewers
from core.workers import channel_worker
from ingest.console import Answer, Told
from mbashara import feeds, probe, viewers
from mbashara.health import media_names
from mbashara.settings import Settings

KEPT_S = 0.4
"""Feeds are asked for once in so long, however many consoles are open."""

TROUBLES_KEPT_S = 2.0


class MediaProcesses:
    """Called in threads; one at a time asks, the others take its answer. `levels` tells by a feed's identity how loud
    it is: that is measured elsewhere."""

    def __init__(
        self,
        settings: Settings,
        clock_s: Callable[[], float] = time.monotonic,
        levels: Callable[[], Mapping[str, Told]] = dict,
    ) -> None:
        self._settings, self._clock_s, self._levels = settings, clock_s, levels
        self._asking = Lock()
        self._feeds: list[Told] = []
        self._complete = True
        self._refused: list[Told] = []
        self._asked_s = self._asked_refused_s = -KEPT_S
        self._troubles: Sequence[str] = ()
        self._looked_s = -TROUBLES_KEPT_S

    def feeds(self) -> Sequence[Told]:
        return self.feeds_told()[0]

    def feeds_told(self) -> tuple[Sequence[Told], bool]:
        """Of every process, and whether all of them answered."""
        with self._asking:
            if self._clock_s() - self._asked_s >= KEPT_S:
                told = [self._ask(name, feeds.PATH) for name in media_names(self._settings)]
                levels = self._levels()
                self._feeds = [{**feed, "levels": levels.get(feed["feed"])} for one in told for feed in one or ()]
                self._complete = None not in told
                self._asked_s = self._clock_s()
            return self._feeds, self._complete

    def refused(self) -> Sequence[Told]:
        with self._asking:
            if self._clock_s() - self._asked_refused_s >= KEPT_S:
                told = (self._ask(name, feeds.REFUSED_PATH) for name in media_names(self._settings))
                self._refused = [one for each in told for one in each or ()]
                self._asked_refused_s = self._clock_s()
            return self._refused

    def troubles(self) -> Sequence[str]:
        with self._asking:
            if self._clock_s() - self._looked_s >= TROUBLES_KEPT_S:
                self._troubles = self._look_for_troubles()
                self._looked_s = self._clock_s()
            return self._troubles

    def refresh(self, slug: str) -> bool:
        return probe.refresh(self._settings, slug)

    def ask(self, slug: str, method: str, target: str, body: bytes) -> Answer:
        with closing(probe.UnixConnection(self._socket(slug))) as connection:
            try:
                connection.request(method, target, body)
                answer = connection.getresponse()
                headers = {name.lower(): value for name, value in answer.getheaders()}
                return Answer(answer.status, headers, answer.read())
            except (OSError, HTTPException):
                return Answer(HTTPStatus.SERVICE_UNAVAILABLE, {}, b"")

    def series(self, slug: str, role: str, step_s: int, from_s: float = 0) -> Told | None:
        asked = urlencode({"channel": slug, "role": role, "step_s": step_s, "from_s": from_s})
        text = probe.get(self._socket(slug), f"{feeds.SERIES_PATH}?{asked}")
        found: Told | None = None if text is None else json.loads(text)
        return found

    def _look_for_troubles(self) -> Sequence[str]:
        healths = [probe.health(self._settings.socket(name)) for name in media_names(self._settings)]
        said = b"; ".join(one[1] for one in healths if one)
        found = {
            "media_away": None in healths, "disk_refuses": probe.DISK_REFUSES in said,
            "memory_refuses": probe.MEMORY_REFUSES in said, "disk_low": self._is_disk_low(),
            "media_shut_out": probe.SHUT_OUT in said,
        }  # fmt: skip
        return [name for name, is_so in found.items() if is_so]

    def _is_disk_low(self) -> bool:
        try:
            free_bytes = shutil.disk_usage(self._settings.recordings).free
        except OSError:
            return False
        return free_bytes < 2 * self._settings.min_free_mb << 20

    def viewers(self) -> dict[str, Viewers] | None:
        return viewers.read_file(self._settings)

    @property
    def names(self) -> list[str]:
        return media_names(self._settings)

    def process_of(self, slug: str) -> str:
        """The name of the one that has the channel."""
        return f"media-{channel_worker(slug, self._settings.media_workers)}"

    def _socket(self, slug: str) -> Path:
        return self._settings.socket(self.process_of(slug))

    def _ask(self, name: str, path: str) -> list[Told] | None:
        text = probe.get(self._settings.socket(name), path)
        found: list[Told] | None = None if text is None else json.loads(text)
        return found
