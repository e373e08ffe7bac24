"""How much each process and the machine have to do, as the wall tells the platform's staff, and when it is much."""

from collections.abc import Sequence
from dataclasses import dataclass

CPU_NEAR_PERCENT = 80
"""Of one core: a process of ours is one event loop, and has no other."""
FULL_SHARE = 0.1
"""Memory or disk with less than this free is nearly full."""
BACKGROUND = frozenset({"stills"})
"""What takes only what the others leave is never near a limit."""


@dataclass(frozen=True, slots=True)
class ProcessLoad:
    """`cpu_percent` of one core is the process's own; `family_percent` with all that it started (a ladder's ffmpeg).
    `feeds` is None where it has none by its nature."""

    name: str
    is_running: bool
    cpu_percent: int
    family_percent: int
    memory_mb: int
    feeds: int | None

    @property
    def is_near(self) -> bool:
        return self.cpu_percent >= CPU_NEAR_PERCENT and self.name not in BACKGROUND


@dataclass(frozen=True, slots=True)
class Load:
    """Of the machine: `cpu_percent` of all its cores. Sizes in MB."""

    processes: Sequence[ProcessLoad]
    cpu_percent: int
    memory_free_mb: int
    memory_mb: int
    disk_free_mb: int
    disk_mb: int

    @property
    def is_cpu_near(self) -> bool:
        return self.cpu_percent >= CPU_NEAR_PERCENT

    @property
    def is_memory_near(self) -> bool:
        return self.memory_free_mb < FULL_SHARE * self.memory_mb

    @property
    def is_disk_near(self) -> bool:
        return self.disk_free_mb < FULL_SHARE * self.disk_mb
