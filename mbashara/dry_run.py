"""Carries out dry runs (core/broadcasts/dry_runs.py) in the work process: an ffmpeg of bars, tone and clock for each,
published over RTMP as an encoder would, while the way of its feed is looked at.

Nothing of it outlives its time: ffmpeg has the limit on its command line and dies with this process, and media has the
end in the plan. What a killed process left is ended when the next one starts.
"""

import asyncio
import os
import secrets
import threading
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

import structlog
from sqlalchemy import Engine

from core import cage
from core.broadcasts import dry_runs
from core.broadcasts.dry_runs import PATH_BYTES, Reason
from core.database import DatabaseAway, transaction
from core.keys import hash_key, new_key
from core.tables import Channel, DryRun
from mbashara import probe
from mbashara.bell import Bell
from mbashara.demo import feed_clock, ffmpeg_command
from mbashara.dry_run_checks import Checks
from mbashara.media_processes import MediaProcesses
from mbashara.settings import Settings

LOOK_S = 0.5
CARD, TONE = "smptehdbars", "sine=frequency=1000"
AGENT = "mbashara-dry-run"

log: structlog.stdlib.BoundLogger = structlog.get_logger("mbashara.dry_run")


@dataclass(frozen=True, slots=True)
class Run:
    """One that this process carries out."""

    id: str
    slug: str
    channel_id: int
    path: str
    key: str
    lasts_s: float


class DryRuns:
    """All of it in one thread with a loop of its own, since children die with the thread that started them."""

    def __init__(self, settings: Settings, engine: Engine, bell: Bell) -> None:
        self._settings, self._engine = settings, engine
        self._rung = bell.on(dry_runs.is_under_way)
        self._media = MediaProcesses(settings)
        self._pepper = settings.pepper_file.read_bytes()
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def run(self, stopping: threading.Event) -> None:
        """The thread: until the process stops."""
        asyncio.run(self._serve(stopping))

    async def _serve(self, stopping: threading.Event) -> None:
        while True:
            self._rung.clear()
            if stopping.is_set():  # not before: the bell rings a last time behind that
                break
            try:
                await self._follow()
            except DatabaseAway:
                pass  # the bell has said so
            except Exception:
                log.exception("a round of dry runs failed")
            await asyncio.to_thread(self._rung.wait)
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _follow(self) -> None:
        """Begins what is wanted, and ends what has no end: of a process before this one, or while the database was
        away."""
        self._tasks = {name: task for name, task in self._tasks.items() if not task.done()}
        for run, slug in await asyncio.to_thread(self._under_way):
            if run.broadcast_id in self._tasks:
                continue
            if run.state == "wanted":
                mine = await asyncio.to_thread(self._start, run, slug)
                if mine is not None:
                    self._tasks[mine.id] = asyncio.create_task(self._carry_out(mine))
            else:
                await asyncio.to_thread(self._end, run.broadcast_id, str(run.path), Reason.RESTART)

    async def _carry_out(self, run: Run) -> None:
        log.info("dry run begins", channel=run.slug, broadcast=run.id)
        reason = Reason.RESTART  # where this task is cancelled
        try:
            reason = await self._publish(run)
        except Exception as error:  # the top of this run's task
            reason = Reason.FAULT
            log.error("dry run failed", channel=run.slug, broadcast=run.id, exc_info=error)
        finally:
            with suppress(DatabaseAway):  # then `_follow` ends it
                await asyncio.to_thread(self._end, run.id, run.path, reason)

    async def _publish(self, run: Run) -> Reason:
        process = await asyncio.create_subprocess_exec(
            *self._command(run),
            stdin=asyncio.subprocess.PIPE,
            preexec_fn=partial(cage.die_with_parent, os.getpid()),
        )
        assert process.stdin is not None
        clock = asyncio.create_task(_clock(process.stdin))
        try:
            return await self._watch(run, process)
        finally:
            clock.cancel()
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    def _command(self, run: Run) -> list[str]:
        url = f"rtmp://{self._settings.rtmp_address.reachable}/live/{run.key}"
        return ffmpeg_command(url, card=CARD, tone=TONE, volume=1, lasts_s=run.lasts_s)

    async def _watch(self, run: Run, process: asyncio.subprocess.Process) -> Reason:
        """Until there is a reason to end it."""
        clock_s = asyncio.get_running_loop().time
        ends_s = clock_s() + run.lasts_s
        judged_s = clock_s() + dry_runs.JUDGED_AFTER.total_seconds()
        checks = Checks(run.path, self._fetch, self._settings.ladder)
        is_judged = False
        while clock_s() < ends_s and process.returncode is None:
            feeds = {feed["channel"]: feed for feed in await asyncio.to_thread(self._media.feeds)}
            if run.slug in feeds:
                return Reason.FEED
            with suppress(DatabaseAway):
                reason = await asyncio.to_thread(self._look, run, checks, feeds.get(run.path))
                if reason is not None:
                    return reason
            if clock_s() >= judged_s and not is_judged:
                is_judged = True
                with suppress(DatabaseAway):
                    await asyncio.to_thread(self._judge, run)
            await asyncio.sleep(LOOK_S)
        return Reason.TIME if clock_s() >= ends_s - 2 else Reason.ENCODER

    # Threads.

    def _under_way(self) -> list[tuple[DryRun, str]]:
        with transaction(self._engine) as session:
            found = dry_runs.all_under_way(session)
            return [(run, session.get_one(Channel, run.channel_id).slug) for run in found]

    def _start(self, wanted: DryRun, slug: str) -> Run | None:
        key = new_key()
        chance = [secrets.token_bytes(PATH_BYTES) for _ in range(64 * self._settings.media_workers)]
        path = dry_runs.new_path(slug, self._settings.media_workers, chance)
        with transaction(self._engine) as session:
            hashed = hash_key(key, self._pepper)
            lasts = dry_runs.start(session, wanted.broadcast_id, path, hashed, datetime.now(UTC))
        if lasts is None:
            return None
        probe.refresh(self._settings, path)
        return Run(wanted.broadcast_id, slug, wanted.channel_id, path, key, lasts.total_seconds())

    def _look(self, run: Run, checks: Checks, feed: Mapping[str, Any] | None) -> Reason | None:
        now = datetime.now(UTC)
        with transaction(self._engine) as session:
            if dry_runs.has_ended(session, run.id):
                return Reason.STOPPED
            if dry_runs.is_taken(session, run.channel_id):
                return Reason.TAKEN
            is_recorded = dry_runs.is_recorded(session, run.id)
        found = checks.look(feed, is_recorded, now)
        if found:
            with transaction(self._engine) as session:
                dry_runs.keep_found(session, run.id, found, now)
        return None

    def _judge(self, run: Run) -> None:
        with transaction(self._engine) as session:
            dry_runs.judge(session, run.id, datetime.now(UTC))

    def _end(self, broadcast_id: str, path: str, reason: Reason) -> None:
        with transaction(self._engine) as session:
            dry_runs.end(session, broadcast_id, reason, datetime.now(UTC))
        probe.refresh(self._settings, path)
        log.info("dry run ended", broadcast=broadcast_id, reason=reason)

    def _fetch(self, path: str) -> bytes | None:
        """Through the edge, as a viewer does."""
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        url = f"http://{self._settings.http_address.reachable}{path}"
        try:
            with direct.open(urllib.request.Request(url, headers={"user-agent": AGENT}), timeout=5) as answer:
                body: bytes = answer.read()
                return body
        except OSError:
            return None


async def _clock(pipe: asyncio.StreamWriter) -> None:
    with suppress(BrokenPipeError, ConnectionResetError):
        await feed_clock(pipe)
