"""The cage of a child that reads strangers' bytes: bounded in memory, time and files, without a network of its own.

It gets its file and its pipes as open descriptors, writes and removes no file, and dies with the thread that started
it. Where memory is short it is the first to go.
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
LANDLOCK_CREATE_RULESET, LANDLOCK_RESTRICT_SELF = 444, 446
REFER, TRUNCATE = 1 << 13, 1 << 14
WRITING = 0b1_1111_1111_0010 | REFER | TRUNCATE
"""Landlock's rights to write, remove, make, move and cut: all but those to run, read and list."""
BIND_TCP, CONNECT_TCP, SCOPES = 1, 2, 3
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
        with suppress(OSError), open("/proc/self/oom_score_adj", "wb", buffering=0) as file:
            file.write(b"1000")
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
            _forbid_writing()

    return lock


def _forbid_writing() -> None:
    """From now on this process opens no file for writing, removes and makes none, has no TCP and signals nobody outside
    (Landlock); what is open stays. Nothing where the kernel does not know of it. It may still read: libraries are."""
    version = _LIBC.syscall(LANDLOCK_CREATE_RULESET, None, 0, 1)
    if version < 1:
        return
    known = WRITING & ~(0 if version >= 3 else TRUNCATE) & ~(0 if version >= 2 else REFER)
    words = (known, *((BIND_TCP | CONNECT_TCP,) if version >= 4 else ()), *((SCOPES,) if version >= 6 else ()))
    attributes = (ctypes.c_uint64 * len(words))(*words)
    ruleset = _LIBC.syscall(LANDLOCK_CREATE_RULESET, attributes, ctypes.c_size_t(8 * len(words)), 0)
    if ruleset >= 0:
        _LIBC.syscall(LANDLOCK_RESTRICT_SELF, ruleset, 0)
        os.close(ruleset)


def die_with_parent(parent_id: int) -> None:
    """For a child between fork and exec: it is killed when `parent_id` is."""
    if sys.platform == "linux":
        _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent_id:  # it died before we asked
            os._exit(1)
