"""The maker of a job: a process of its own, attended from a durable workflow's thread, with which it would die.

It gets its order as JSON on standard input, and tells in lines of JSON on standard output how far it is (`progress`, 0
to 1) and what became of it (`made` or `failed`, with facts). One that dies without such a word begins again, some
times.
"""

import json
import math
import os
import selectors
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import structlog
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from core import cage
from core.database import DatabaseAway, transaction

TRIES = 3
LOOK_S = 0.5
STOP_S = 10.0

log: structlog.stdlib.BoundLogger = structlog.get_logger("mbashara.jobs")


@dataclass(frozen=True, slots=True)
class Ended:
    """`end`: "made", "failed", "stopped" (with the process), or "unwanted". `told` are the maker's facts."""

    end: str
    told: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class JobChild:
    """`module` is run with `order` (JSON). `note` writes how far the job is, in percent, and says whether it is still
    wanted. What lasts longer than `limit_s` is killed."""

    module: str
    job_id: str
    order: str
    note: Callable[[Session, str, int], bool]
    engine: Engine
    stopping: threading.Event
    environment: Mapping[str, str] = field(default_factory=dict)
    limit_s: float = math.inf

    def run(self, prepare: Callable[[], None] = lambda: None) -> Ended:
        """`prepare` comes before each try. A `failed` of our own has only its `trouble`: "fault" or "too_long"."""
        for _ in range(TRIES):
            prepare()
            ended = self._run_once()
            if ended is not None:
                return ended
            log.error("a maker died; it begins again", maker=self.module, job=self.job_id)
        return Ended("failed", {"trouble": "fault"})

    def _run_once(self) -> Ended | None:
        """None: it died without a word."""
        child = subprocess.Popen(
            [sys.executable, "-m", self.module], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env={**cage.environment(), **self.environment},
            preexec_fn=partial(cage.die_with_parent, os.getpid()),
        )  # fmt: skip
        with child:
            try:
                assert child.stdin is not None
                with suppress(BrokenPipeError):
                    child.stdin.write(self.order.encode())
                    child.stdin.close()
                return self._attend(child)
            finally:
                child.kill()

    def _attend(self, child: "subprocess.Popen[bytes]") -> Ended | None:
        assert child.stdout is not None
        deadline_s, heard = time.monotonic() + self.limit_s, _Heard()
        with selectors.DefaultSelector() as ready:
            ready.register(child.stdout, selectors.EVENT_READ)
            while True:
                if self.stopping.is_set():
                    return Ended("stopped")
                if time.monotonic() > deadline_s:
                    return Ended("failed", {"trouble": "too_long"})
                if ready.select(LOOK_S):
                    data = os.read(child.stdout.fileno(), 1 << 16)
                    if not data:
                        return heard.ended
                    heard.take(data)
                if heard.ended is None and not self._is_wanted(heard.percent):
                    return _ask_to_stop(child)

    def _is_wanted(self, percent: int) -> bool:
        """Asked at least twice a second. While the database is away, yes."""
        with suppress(DatabaseAway), transaction(self.engine) as session:
            return self.note(session, self.job_id, min(99, percent))
        return True


class _Heard:
    """What one maker has told so far."""

    def __init__(self) -> None:
        self.percent = 0
        self.ended: Ended | None = None
        self._pending = b""

    def take(self, data: bytes) -> None:
        *lines, self._pending = (self._pending + data).split(b"\n")
        for line in lines:
            told: dict[str, Any] = json.loads(line)
            if "progress" in told:
                self.percent = int(told["progress"] * 100)
            for end in ("made", "failed"):
                if end in told:
                    self.ended = Ended(end, told[end])


def _ask_to_stop(child: "subprocess.Popen[bytes]") -> Ended:
    """What does not stop is killed by the caller."""
    child.terminate()
    with suppress(subprocess.TimeoutExpired):
        child.wait(STOP_S)
    return Ended("unwanted")
