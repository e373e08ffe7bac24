"""One child process: started as the account, restarted with exponential
back-off when it dies, ended with all that it started."""

import asyncio
import os
import signal
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Literal, TypedDict

import psutil
import structlog

from core import cage
from mbashara.data import Account

FIRST_BACKOFF_S = 0.2
LAST_BACKOFF_S = 10.0
HEALTHY_AFTER_S = 30.0
"""A child that lived as long as this starts again from the first back-off."""

log: structlog.stdlib.BoundLogger = structlog.get_logger("mbashara.supervisor")


class PopenIdentity(TypedDict, total=False):
    user: int
    group: int
    extra_groups: list[int]
    umask: int


def as_account(owner: Account | None) -> PopenIdentity:
    """Arguments of Popen that make a child run as the account. Umask 002: the
    edge shares its group and must write to sockets."""
    if owner is None:
        return {}
    return {"user": owner.user_id, "group": owner.group_id, "extra_groups": [], "umask": 0o002}


def backoff_s(failures: int) -> float:
    """The wait before the start that follows `failures` deaths in a row."""
    return float(min(LAST_BACKOFF_S, FIRST_BACKOFF_S * 2 ** min(failures - 1, 16)))


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """What a child is. `prepare` blocks, in a thread, before each start."""

    name: str
    command: list[str]
    environment: dict[str, str]
    pass_fds: tuple[int, ...] = ()
    owner: Account | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    stop_timeout_s: float = 2.0
    niceness: int = 0
    """Beside the supervisor's, see nice(2). Below 0: before others, where this machine lets us."""
    prepare: Callable[[], None] | None = None


State = Literal["starting", "running", "waiting", "stopped"]


@dataclass(slots=True)
class Child:
    """A spec that is kept running until `stop`. `on_change` is told of every change of state."""

    spec: ChildSpec
    on_change: Callable[[], None]
    state: State = "stopped"
    restarts: int = 0
    process: asyncio.subprocess.Process | None = None
    started_unix_s: float = 0.0
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)

    async def keep_running(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            began_s = time.monotonic()
            reason = await self._run_once()
            if self._stopping.is_set():
                break
            lived_s = time.monotonic() - began_s
            failures = 1 if lived_s >= HEALTHY_AFTER_S else failures + 1
            await self._wait_before_restart(reason, backoff_s(failures), lived_s)
        self._become("stopped")

    async def stop(self) -> None:
        """Asks, waits `stop_timeout_s`, then kills the whole process group."""
        self._stopping.set()
        process = self.process
        if process is None:
            return
        with suppress(ProcessLookupError):
            process.send_signal(self.spec.stop_signal)
        with suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), self.spec.stop_timeout_s)
        kill_group(process.pid)
        await process.wait()

    async def _run_once(self) -> str:
        self._become("starting")
        try:
            if self.spec.prepare is not None:
                await asyncio.to_thread(self.spec.prepare)
            if self._stopping.is_set():
                return "stopping"
            self.process = await self._spawn()
            self._put_first()
        except (
            Exception
        ) as error:  # the top of this child's task: whatever keeps it from starting is told and tried again
            return f"cannot start: {error}"
        self.started_unix_s = start_time(self.process.pid)
        self._become("running")
        code = await self.process.wait()
        kill_group(self.process.pid)
        self.process = None
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"

    async def _spawn(self) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *self.spec.command,
            env={**os.environ, **self.spec.environment},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=2,  # our standard output is for people; a child's goes where its logs go
            pass_fds=self.spec.pass_fds,
            start_new_session=True,
            preexec_fn=partial(cage.die_with_parent, os.getpid(), self.spec.stop_signal),
            **as_account(self.spec.owner),
        )

    def _put_first(self) -> None:
        """With all that it has started by now: it is a group of its own."""
        if self.spec.niceness and self.process is not None:
            with suppress(OSError):
                os.setpriority(os.PRIO_PGRP, self.process.pid, os.nice(0) + self.spec.niceness)

    async def _wait_before_restart(self, reason: str, wait_s: float, lived_s: float) -> None:
        self.restarts += 1
        log.error("child died", child=self.spec.name, reason=reason, lived_s=round(lived_s, 1), restart_in_s=wait_s)
        self._become("waiting")
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), wait_s)

    def _become(self, state: State) -> None:
        self.state = state
        self.on_change()


def kill_group(group_id: int) -> None:
    """Ends what a child left behind (nginx's workers, a feed's ffmpeg). Its
    group outlives it, so the number can't be another's."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group_id, signal.SIGKILL)


def start_time(process_id: int) -> float:
    """Seconds since 1970 at which it started; with the id it names one process for good. 0 if it is gone."""
    try:
        return float(psutil.Process(process_id).create_time())
    except psutil.NoSuchProcess:
        return 0.0


def orphans(file: IO[str], modules: Collection[str], owner: Account | None) -> list[int]:
    """Processes of ours (the account's, if there is one) that run one of the modules and have the file open; but for
    those of parents that have it open too: another supervisor's."""
    mine, found = os.fstat(file.fileno()), list[int]()
    for one in psutil.process_iter(["cmdline", "ppid", "uids"]):
        is_ours = one.info["uids"] and one.info["uids"].real == (owner.user_id if owner else os.geteuid())
        if is_ours and {*modules} & {*(one.info["cmdline"] or ())} and _has_open(one.pid, mine):
            is_led = one.info["ppid"] != os.getpid() and _has_open(one.info["ppid"], mine)
            found += [] if is_led else [one.pid]
    return found


def _has_open(process_id: int, file: os.stat_result) -> bool:
    with suppress(OSError):  # it is gone, or not ours to look at
        for one in Path(f"/proc/{process_id}/fd").iterdir():
            with suppress(OSError):
                if os.path.samestat(one.stat(), file):
                    return True
    return False
