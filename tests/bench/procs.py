"""Reads what a process tree costs from /proc: CPU seconds, resident memory, who is whose child (proc(5))."""

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(slots=True, frozen=True)
class Process:
    pid: int
    parent: int
    name: str
    cpu_s: float  # own and of its reaped children
    own_cpu_s: float
    command: str


def read(pid: int) -> Process | None:
    """One process, None when it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return None
    name, rest = stat[stat.index("(") + 1 : stat.rindex(")")], stat[stat.rindex(")") + 2 :].split()
    own, reaped = int(rest[11]) + int(rest[12]), int(rest[13]) + int(rest[14])
    return Process(pid, int(rest[1]), name, (own + reaped) / _TICKS_PER_S, own / _TICKS_PER_S, command)


def tree(root: int, without: tuple[str, ...] = ()) -> list[Process]:
    """`root` and everything below it, but for processes (and what is below them) named in `without`."""
    everyone = [p for entry in os.listdir("/proc") if entry.isdigit() and (p := read(int(entry)))]
    found, wave = [], {root}
    while wave:
        here = [p for p in everyone if p.pid in wave and not p.name.startswith(without or ("\0",))]
        found += here
        wave = {p.pid for p in everyone if p.parent in {h.pid for h in here}}
    return found


def cpu_s(processes: list[Process]) -> float:
    return sum(p.cpu_s for p in processes)


def resident_bytes(processes: list[Process]) -> int:
    """Proportional set size: pages shared by forked workers count once. Files in /dev/shm are not in it."""
    return sum(_pss_bytes(p.pid) for p in processes)


def _pss_bytes(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    wanted = {"Pss_Anon:", "Pss_File:"}
    return sum(1024 * int(line.split()[1]) for line in lines if line.split()[0] in wanted)


def folder_bytes(folder: Path) -> int:
    """Bytes in files below `folder`; files that go while we look count as nothing."""
    total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.stat(os.path.join(path, name), follow_symlinks=False).st_blocks * 512
    return total
