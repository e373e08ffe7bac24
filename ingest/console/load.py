"""How much each process and the machine have to do, as the wall tells the platform's staff, and when it is much."""

from collections.abc import Sequence
from dataclasses import dataclass

CPU_NEAR_PERCENT = 80
"""Of one core: a process of ours is one event loop, and has no other."""
FULL_SHARE = 0.1
"""Memory or disk with less than this free is nearly full."""
FILES_SHARE = 0.8
"""Of the files that a process may open; encoders and viewers are refused when they are used up."""
BACKGROUND = frozenset({"stills"})
"""What takes only what the others leave is never near a limit."""


@dataclass(frozen=True, slots=True)
class ProcessLoad:
    """`cpu_percent` of one core is the process's own; `family_percent` with all that it started (a ladder's ffmpeg).
    `feeds` is None where it has none by its nature; `open_files` 0 where that is not known."""

    name: str
    is_running: bool
    cpu_percent: int
    family_percent: int
    memory_mb: int
    feeds: int | None
    open_files: int = 0
    max_open_files: int = 0

    @property
    def is_files_near(self) -> bool:
        return self.open_files > FILES_SHARE * self.max_open_files > 0

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
