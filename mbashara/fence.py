"""The fence of those processes that are the account's own and yet meet strangers' bytes first: media, the pictures, the
database. They reach nothing in the data folder but what they work on: no keys, no letters, no other's files (Landlock).
The database is one of them since whoever may ask it anything may have it read files.

Whatever takes such a process over has no key to sign with; what media writes is signed by work, as ever. It reads the
rest of the machine as before, since programs, libraries and certificates may lie anywhere; it writes in its own folders
alone. What it starts inherits the fence.

    fence.close(settings, own)                           a process of ours, before it has a second thread
    python -m mbashara.fence OWN... -- COMMAND...        a program of others
"""

import os
import re
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import structlog

from core import cage
from mbashara import logs
from mbashara.data import FOLDERS
from mbashara.settings import Settings

WRITE_FILE = 1 << 1
COMMON = (("/", cage.READ_DIR), ("/dev/null", cage.READING | WRITE_FILE), ("/proc", cage.READING | WRITE_FILE))
"""Names of files are nobody's secret, and Python looks for modules by them. By /proc a child steps back and says that
it goes first; memory of processes outside is closed to whoever is fenced."""
LURES = 1 << 6 | 1 << 10 | 1 << 11 | 1 << 12
"""Devices, pipes and links are made nowhere: whoever is not fenced, and hands out what lies there, would follow a link
to the keys."""
REMOTE = re.compile(r"nfs|cifs|smb|ceph|9p|afs|gluster|lustre|fuse\.")

log: structlog.stdlib.BoundLogger = structlog.get_logger("mbashara.fence")


def close(settings: Settings, own: Sequence[Path]) -> None:
    """This process, which has one thread yet, keeps `own` alone of the data folder, and writes there alone. Where the
    kernel can't do that it goes on, and says so."""
    rules = _rules(settings, own)
    if rules is not None and cage.restrict(rules):
        os.close(rules)
        log.info("the keys are out of reach", own=[str(path) for path in own])
    else:
        log.warning("this kernel has no Landlock: the keys are within this process's reach")


def _rules(settings: Settings, own: Sequence[Path]) -> int | None:
    shut = _shut(settings)
    around = [one for one in cage.programs() if not any(path.is_relative_to(one[0]) for path in shut)]
    around += ((path, cage.READING) for path in _beside(shut))
    mine = [(str(path), (cage.READING | cage.WRITING) & ~LURES) for path in own]
    return cage.ruleset([*COMMON, *around, *mine], with_tcp=True)


def _shut(settings: Settings) -> set[Path]:
    """The data folder, and where links in it lead to that lies elsewhere: on another disk, in a folder for keys."""
    data = settings.data.resolve()
    inside = (Path(os.path.realpath(data / name)) for name in (*FOLDERS, "secrets/pepper"))
    return {data, *(path for path in inside if not path.is_relative_to(data))}


def _beside(shut: Collection[Path]) -> Iterator[str]:
    """All that is neither such a folder nor above one. No links: what they lead to is met by its own name, or is
    inside. No other machine's files either: where that machine is away, so much as looking at them would wait for
    it."""
    left_out = _remote_mounts() | {str(path) for path in shut}
    above = {path for one in shut for path in one.parents}
    for folder in above:
        if any(folder.is_relative_to(path) for path in shut):
            continue
        with suppress(OSError), os.scandir(folder) as entries:  # not one that the account may pass through, not list
            for one in entries:
                if not (one.is_symlink() or one.path in left_out or Path(one.path) in above):
                    yield one.path


def _remote_mounts() -> set[str]:
    with suppress(OSError), open("/proc/self/mountinfo") as file:
        mounts = [line.partition(" - ") for line in file]
        return {place.split()[4] for place, _, kind in mounts if REMOTE.match(kind)}
    return set()


def entrance(own: Sequence[Path]) -> list[str]:
    """Words that go before a command."""
    return [sys.executable, "-m", "mbashara.fence", *map(str, own), "--"]


def main(arguments: list[str]) -> None:
    settings, at = Settings(), arguments.index("--")
    own, command = [Path(one) for one in arguments[:at]], arguments[at + 1 :]
    logs.configure(Path(command[0]).name, settings.log_level)
    close(settings, own)
    os.execv(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
