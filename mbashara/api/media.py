"""Asking the media processes over their Unix sockets. Blocks: for threads."""

import json
from dataclasses import dataclass
from urllib.parse import urlencode

from core.workers import channel_worker
from mbashara import probe
from mbashara.api.caller import Json
from mbashara.feeds import PATH, SERIES_PATH
from mbashara.settings import Settings


@dataclass(frozen=True, slots=True)
class MediaWorkers:
    settings: Settings

    def feeds(self) -> tuple[list[Json], bool]:
        """Of every process, and whether all of them answered."""
        told = [self._ask(worker, PATH) for worker in range(self.settings.media_workers)]
        return [feed for one in told if one is not None for feed in json.loads(one)], None not in told

    def series(self, channel: str, role: str, step_s: int, from_s: float) -> Json | None:
        asked = urlencode({"channel": channel, "role": role, "step_s": step_s, "from_s": from_s})
        told = self._ask(channel_worker(channel, self.settings.media_workers), f"{SERIES_PATH}?{asked}")
        found: Json | None = None if told is None else json.loads(told)
        return found

    def refresh(self, slug: str) -> None:
        probe.refresh(self.settings, slug)

    def _ask(self, worker: int, target: str) -> str | None:
        return probe.get(self.settings.socket(f"media-{worker}"), target)
