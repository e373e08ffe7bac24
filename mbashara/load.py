"""Measures what each child of the supervisor and the machine have to do. Read by web, when somebody looks at it."""

import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from threading import Lock

import psutil

from ingest.console.load import Load, ProcessLoad
from mbashara.health import read_children
from mbashara.media_processes import MediaProcesses
from mbashara.settings import Settings

KEPT_S = 5.0
MB = 1 << 20


@dataclass(frozen=True, slots=True)
class Usage:
    """CPU seconds since it began; `family_s` with its descendants, those that have ended too. Open files are its own; 0
    where it is another account's, as the edge's may be."""

    own_s: float = 0.0
    family_s: float = 0.0
    memory_bytes: int = 0
    open_files: int = 0
    max_open_files: int = 0


def usage(process_id: int, children_of: dict[int, list[int]]) -> Usage:
    """Nothing where it is gone."""
    try:
        process = psutil.Process(process_id)
        with process.oneshot():
            times, memory_bytes = process.cpu_times(), process.memory_info().rss
    except psutil.Error:
        return Usage()
    own_s = times.user + times.system
    descendants = [usage(child, children_of) for child in children_of.get(process_id, ())]
    family_s = own_s + times.children_user + times.children_system + sum(one.family_s for one in descendants)
    memory_bytes += sum(one.memory_bytes for one in descendants)
    return Usage(own_s, family_s, memory_bytes, *_open_files(process))


def _open_files(process: psutil.Process) -> tuple[int, int]:
    try:
        return process.num_fds(), process.rlimit(psutil.RLIMIT_NOFILE)[0]
    except (psutil.Error, OSError):
        return 0, 0


def usages(process_ids: Iterable[int]) -> list[Usage]:
    children_of: dict[int, list[int]] = {}
    for process in psutil.process_iter(["ppid"]):
        children_of.setdefault(process.info["ppid"], []).append(process.pid)
    return [usage(process_id, children_of) if process_id else Usage() for process_id in process_ids]


def machine_s() -> tuple[float, float]:
    """CPU seconds of all cores since the machine began: busy ones, all. (psutil.cpu_percent() knows of the last call of
    the same thread only: web's threads change, and each begins at 0.)"""
    times = psutil.cpu_times()
    all_s = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)  # user and nice hold these
    return all_s - times.idle - getattr(times, "iowait", 0.0), all_s


def busy_percent(before: tuple[float, float], now: tuple[float, float]) -> int:
    """Of two readings of machine_s."""
    busy_s, all_s = now[0] - before[0], now[1] - before[1]
    return min(100, max(0, round(100 * busy_s / all_s))) if all_s > 0 else 0


class LoadMeter:
    """Called in threads; the first reading has no CPU shares yet: those are since the one before."""

    def __init__(
        self, settings: Settings, media: MediaProcesses, clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings, self._media, self._clock_s = settings, media, clock_s
        self._lock = Lock()
        self._before: dict[int, Usage] = {}
        self._machine_before = machine_s()
        self._read_s = -KEPT_S
        self._load: Load | None = None

    def read(self) -> Load:
        """At most KEPT_S old."""
        with self._lock:
            now_s = self._clock_s()
            if self._load is None or now_s - self._read_s >= KEPT_S:
                self._load, self._read_s = self._measure(now_s - self._read_s), now_s
            return self._load

    def _measure(self, passed_s: float) -> Load:
        children = read_children(self._settings)
        process_ids = [int(child["process_id"]) for child in children.values()]
        found = dict(zip(process_ids, usages(process_ids), strict=True))
        feeds = self._feeds()
        processes = [
            self._process(name, found[process_id], self._before.get(process_id), passed_s, feeds.get(name))
            for name, process_id in zip(children, process_ids, strict=True)
        ]
        machine = machine_s()
        percent = busy_percent(self._machine_before, machine)
        self._before, self._machine_before = found, machine
        memory, disk = psutil.virtual_memory(), shutil.disk_usage(self._settings.data)
        return Load(
            processes, percent,
            memory.available // MB, memory.total // MB, disk.free // MB, disk.total // MB,
        )  # fmt: skip

    def _process(self, name: str, now: Usage, before: Usage | None, passed_s: float, feeds: int | None) -> ProcessLoad:
        known = now if before is None else before
        own, family = (
            max(0, round(100 * (later - earlier) / passed_s))
            for later, earlier in ((now.own_s, known.own_s), (now.family_s, known.family_s))
        )
        return ProcessLoad(
            name, now.memory_bytes > 0, own, family, now.memory_bytes // MB, feeds, now.open_files, now.max_open_files
        )  # fmt: skip

    def _feeds(self) -> dict[str, int]:
        """By media process."""
        count = Counter(self._media.process_of(feed["channel"]) for feed in self._media.feeds())
        return {name: count[name] for name in self._media.names}
