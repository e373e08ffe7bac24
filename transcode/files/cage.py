"""The cage of a child that reads strangers' bytes: bounded in memory, time and files, without a network of its own.

It gets its file and its pipes as open descriptors, writes no file, and dies with the thread that started it.
"""

import ctypes
import os
import resource
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS = 1, 38
CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
OPEN_FILES = 64
KEPT_VARIABLES = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH")
_LIBC = ctypes.CDLL(None)


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one child: bytes of address space, seconds of processors' time."""

    memory_bytes: int
    cpu_s: int


def environment() -> dict[str, str]:
    """What such a child knows of ours: no settings, no secrets."""
    return {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}


def enter(limits: Limits) -> Callable[[], None]:
    """For preexec_fn: runs between fork and exec."""
    parent_id = os.getpid()

    def lock() -> None:
        die_with_parent(parent_id)
        for limit, most in (
            (resource.RLIMIT_AS, limits.memory_bytes), (resource.RLIMIT_CPU, limits.cpu_s),
            (resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_CORE, 0), (resource.RLIMIT_NOFILE, OPEN_FILES),
        ):  # fmt: skip
            with suppress(ValueError, OSError):  # a lower one is in force already
                resource.setrlimit(limit, (most, most))
        if sys.platform == "linux":
            _LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
            # Where the kernel lets nobody make namespaces, the whitelist of protocols stands alone.
            _LIBC.unshare(CLONE_NEWUSER | CLONE_NEWNET)

    return lock


def die_with_parent(parent_id: int) -> None:
    """For a child between fork and exec: it is killed when `parent_id` is."""
    if sys.platform == "linux":
        _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent_id:  # it died before we asked
            os._exit(1)
