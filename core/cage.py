"""The cage of a child that reads strangers' bytes: bounded in memory, time and files, without a network or a socket.

It gets its file and its pipes as open descriptors. By name it reads what it is made of and nothing else: no data, no
keys, no home. It writes and removes no file, and dies with the thread that started it. Where memory is short it is the
first to go.

    preexec_fn=cage.enter(limits, executable)     where this process is small: the child is its copy for a moment
    [*cage.entrance(limits), executable, ...]     where it is not: a bare Python goes in and becomes the child (20 ms)
    cage.go_in(limits)                            in a Python of its own, which has read nothing yet
"""

import ctypes
import os
import resource
import signal
import struct
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import cache
from typing import NamedTuple

PR_SET_PDEATHSIG, PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 1, 22, 38
CLONE_NEWIPC, CLONE_NEWUSER, CLONE_NEWNET = 0x08000000, 0x10000000, 0x40000000
LANDLOCK_CREATE_RULESET, LANDLOCK_ADD_RULE, LANDLOCK_RESTRICT_SELF = 444, 445, 446
PATH_BENEATH = 1
EXECUTE, READ_FILE, READ_DIR, REFER, TRUNCATE = 1 << 0, 1 << 2, 1 << 3, 1 << 13, 1 << 14
READING = EXECUTE | READ_FILE | READ_DIR
WRITING = 0b1_1111_1111_0010 | REFER | TRUNCATE
"""Landlock's rights to write, remove, make, move and cut."""
FOR_FILES = EXECUTE | READ_FILE | 1 << 1 | TRUNCATE
"""What of them can be said of a file; the rest is of folders."""
BIND_TCP, CONNECT_TCP, SCOPES = 1, 2, 3
OPEN_FILES = 64
KEPT_VARIABLES = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH")
SYSTEM = (
    "/usr", "/bin", "/lib", "/lib32", "/lib64", "/nix/store", "/gnu/store", "/etc/ld.so.cache", "/etc/ld.so.preload",
    "/dev/null", "/dev/urandom", "/sys/devices/system/cpu",
)  # fmt: skip
"""Where programs and their libraries lie."""
AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
IO_URING_SETUP = 425
FORBIDDEN_CALLS = {"x86_64": (41, 42, IO_URING_SETUP), "aarch64": (198, 203, IO_URING_SETUP)}
"""socket, connect, and io_uring, which could do both. Landlock leaves sockets that have a path alone."""
FIRST_X32_CALL = 0x40000000
EACCES = 13
_LIBC = ctypes.CDLL(None)


class Limits(NamedTuple):
    """Of one child: bytes of address space, seconds of processors' time. None: as many as there are."""

    memory_bytes: int | None
    cpu_s: int | None
    goes_first: bool = True
    """Where memory is short."""
    niceness: int = 0
    """How far it steps back for all who want a processor, 0 to 19; see nice(2)."""


def environment() -> dict[str, str]:
    """What such a child knows of ours: no settings, no secrets."""
    return {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}


def enter(limits: Limits, executable: str) -> Callable[[], None]:
    """For preexec_fn: runs between fork and exec. What may block or fail is done here, before the fork."""
    parent_id, rules, calls = os.getpid(), _rules(executable), _forbidden_calls()

    def lock() -> None:
        die_with_parent(parent_id)
        _lock(limits, rules, calls)

    return lock


def entrance(limits: Limits) -> list[str]:
    """Words that go before a command: its way into the cage."""
    said = (os.getpid(), limits.memory_bytes or 0, limits.cpu_s or 0, int(limits.goes_first), limits.niceness)
    return [sys.executable, "-I", "-S", os.path.abspath(__file__), *map(str, said)]


def go_in(limits: Limits) -> None:
    """This process, which has one thread."""
    _lock(limits, _rules(sys.executable), _forbidden_calls())
    shut()


def shut() -> None:
    """For a caged Python that has all modules of ours and now begins to read: our code's folder, where data may lie
    too, can't even be listed any more."""
    rules = ruleset([*_system(), *_interpreter()])
    if rules is not None:
        restrict(rules)
        os.close(rules)


def die_with_parent(parent_id: int, number: int = signal.SIGKILL) -> None:
    """For a child between fork and exec: the kernel sends it the signal when `parent_id` dies, even by kill -9."""
    if sys.platform == "linux":
        _LIBC.prctl(PR_SET_PDEATHSIG, number)
        if os.getppid() != parent_id:  # it died before we asked
            os._exit(1)


def _lock(limits: Limits, rules: int | None, calls: "ctypes.Structure | None") -> None:
    os.nice(limits.niceness)
    if limits.goes_first:
        with suppress(OSError), open("/proc/self/oom_score_adj", "wb", buffering=0) as file:
            file.write(b"1000")
    for limit, most in (
        (resource.RLIMIT_AS, limits.memory_bytes), (resource.RLIMIT_CPU, limits.cpu_s),
        (resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_CORE, 0), (resource.RLIMIT_NOFILE, OPEN_FILES),
    ):  # fmt: skip
        with suppress(ValueError, OSError):  # a lower one is in force already
            if most is not None:
                resource.setrlimit(limit, (most, most))
    if sys.platform == "linux":
        _LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        # Where the kernel lets nobody make namespaces, the whitelist of protocols and the filter of calls stand alone.
        _LIBC.unshare(CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWIPC)
        if rules is not None:
            restrict(rules)
        if calls is not None:
            _LIBC.prctl(PR_SET_SECCOMP, 2, ctypes.byref(calls), 0, 0)


# Files (Landlock): what is open stays open, all else goes by rules.


@cache
def _rules(executable: str) -> int | None:
    """Kept open as long as this process lives; no child inherits it."""
    found = _found(executable)
    ours = (*_interpreter(), *_code()) if found == sys.executable else ()
    return ruleset([*_system(), (found, READING), *ours])


def _found(executable: str) -> str:
    """Where a command is that has no folder."""
    places = [""] if os.sep in executable else os.get_exec_path()
    return next((path for place in places if os.access(path := os.path.join(place, executable), os.X_OK)), executable)


def restrict(rules: int) -> bool:
    """This thread, and what it starts from now on, by what `ruleset` gave. It becomes nobody else (setuid) any more."""
    _LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    return bool(_LIBC.syscall(LANDLOCK_RESTRICT_SELF, rules, 0) == 0)


def ruleset(allowed: Iterable[tuple[str, int]], *, with_tcp: bool = False) -> int | None:
    """A descriptor; None where the kernel has no Landlock. The process that restricts itself with it does to files what
    is allowed for their path or one above, opens no TCP unless `with_tcp`, and signals nobody outside."""
    version = _LIBC.syscall(LANDLOCK_CREATE_RULESET, None, 0, 1) if sys.platform == "linux" else -1
    if version < 1:
        return None
    known = READING | (WRITING & ~(0 if version >= 3 else TRUNCATE) & ~(0 if version >= 2 else REFER))
    tcp = 0 if with_tcp else BIND_TCP | CONNECT_TCP
    words = (known, *((tcp,) if version >= 4 else ()), *((SCOPES,) if version >= 6 else ()))
    attributes = (ctypes.c_uint64 * len(words))(*words)
    made: int = _LIBC.syscall(LANDLOCK_CREATE_RULESET, attributes, ctypes.c_size_t(8 * len(words)), 0)
    if made < 0:
        return None
    for path, rights in allowed:
        with suppress(OSError):  # not on this machine
            _allow(made, path, rights & known)
    return made


def _allow(rules: int, path: str, rights: int) -> None:
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        rights &= -1 if os.path.isdir(path) else FOR_FILES
        _LIBC.syscall(LANDLOCK_ADD_RULE, rules, PATH_BENEATH, struct.pack("=Qi", rights, descriptor), 0)
    finally:
        os.close(descriptor)


def programs() -> Iterator[tuple[str, int]]:
    """What this Python, our code and programs of the system are made of."""
    yield from (*_system(), *_interpreter(), *_code())


def _system() -> Iterator[tuple[str, int]]:
    for path in (*SYSTEM, *os.environ.get("LD_LIBRARY_PATH", "").split(":")):
        if path:
            yield path, READING


def _interpreter() -> Iterator[tuple[str, int]]:
    """This Python and its packages."""
    version = f"/etc/python{sys.version_info.major}.{sys.version_info.minor}"
    packages = [path for path in sys.path if os.path.basename(path) in ("site-packages", "dist-packages")]
    for path in (sys.prefix, sys.base_prefix, version, *packages):
        yield path, READING


def _code() -> Iterator[tuple[str, int]]:
    """Our packages. Beside them there may be anything: it is listed, so that they are found, but not read."""
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    yield root, READ_DIR
    for name in os.listdir(root):
        if os.path.exists(os.path.join(root, name, "__init__.py")):
            yield os.path.join(root, name), READING


# Calls (seccomp): a filter of classic BPF.


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_char_p))


@cache
def _forbidden_calls() -> _Program | None:
    """None on processors whose numbers of calls we don't know."""
    machine = os.uname().machine
    if sys.platform != "linux" or machine not in AUDIT_ARCH:
        return None
    load, equal, at_least, give = 0x20, 0x15, 0x35, 0x06
    calls = FORBIDDEN_CALLS[machine]
    lines = [
        (load, 0, 0, 4),
        (equal, 0, len(calls) + 4, AUDIT_ARCH[machine]),
        (load, 0, 0, 0),
        (at_least, len(calls) + 1, 0, FIRST_X32_CALL),
        *((equal, len(calls) - at, 0, call) for at, call in enumerate(calls)),
        (give, 0, 0, 0x7FFF0000),
        (give, 0, 0, 0x00050000 | EACCES),
        (give, 0, 0, 0x80000000),  # another kind of processor's calls: killed
    ]
    return _Program(len(lines), b"".join(struct.pack("=HBBI", *line) for line in lines))


def main(arguments: list[str]) -> None:
    """PARENT MEMORY CPU FIRST NICENESS COMMAND...: the command in place of this process."""
    parent_id, memory_bytes, cpu_s, goes_first, niceness = (int(word) for word in arguments[:5])
    command = arguments[5:]
    limits = Limits(memory_bytes or None, cpu_s or None, bool(goes_first), niceness)
    die_with_parent(parent_id)
    _lock(limits, _rules(command[0]), _forbidden_calls())
    os.execv(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
