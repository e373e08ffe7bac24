"""The parts' health for /healthz: whether each answers, and what the supervisor last wrote of its children."""

import asyncio
import json
import time
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Engine

from core.database import answers
from mbashara import probe
from mbashara.settings import Settings

HEALTH_KEPT_S = 1.0
"""A health answer is reused this long, so that nobody can make us ask the database for every request."""
HEARTBEAT_LATE_S = 10.0


@dataclass(slots=True)
class Health:
    """Asks every part whether it answers."""

    settings: Settings
    engine: Engine
    _parts: dict[str, str] = field(default_factory=dict)
    _asked_s: float = -HEALTH_KEPT_S
    _asking: asyncio.Lock = field(default_factory=asyncio.Lock)
    _database: asyncio.Task[bool] | None = None

    async def parts(self) -> dict[str, str]:
        """Each part's state: `ok`, or what is wrong with it."""
        async with self._asking:
            if time.monotonic() - self._asked_s >= HEALTH_KEPT_S:
                self._parts = await self._ask()
                self._asked_s = time.monotonic()
            return self._parts

    async def _ask(self) -> dict[str, str]:
        workers = media_names(self.settings)
        database, *media = await asyncio.gather(
            self._database_answers(),
            *(_answers(self.settings.socket(name)) for name in workers),
        )
        answering = {
            "postgres": database,
            "web": True,
            "work": self._work_beats(),
            **dict(zip(workers, media, strict=True)),
        }
        parts = {name: "ok" if ok else "no answer" for name, ok in answering.items()}
        for name, child in read_children(self.settings).items():
            if child["state"] != "running":
                parts[name] = str(child["state"])
            parts.setdefault(name, "ok")
        return dict(sorted(parts.items()))

    async def _database_answers(self) -> bool:
        """A server that hangs holds one thread of ours, not one for each who asks."""
        if self._database is None or self._database.done():
            self._database = asyncio.create_task(asyncio.to_thread(answers, self.engine))
        await asyncio.wait([self._database], timeout=probe.TIMEOUT_S)
        return self._database.done() and self._database.result()

    def _work_beats(self) -> bool:
        try:
            return time.time() - self.settings.heartbeat_file.stat().st_mtime < HEARTBEAT_LATE_S
        except OSError:
            return False


def media_names(settings: Settings) -> list[str]:
    return [f"media-{worker}" for worker in range(settings.media_workers)]


def read_children(settings: Settings) -> dict[str, dict[str, str | int | float]]:
    """What the supervisor last wrote; empty where each process is run by something else (containers)."""
    try:
        children: dict[str, dict[str, str | int | float]] = json.loads(settings.supervisor_file.read_text())["children"]
    except (OSError, ValueError):
        return {}
    return children


async def _answers(path: Path) -> bool:
    return await asyncio.to_thread(probe.get, path, "/healthz") is not None
