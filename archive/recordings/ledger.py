"""Hash-chained files of facts, one JSON object a line, appended only: a recording's ledger (what media wrote) and its
custody (what was done to it afterwards).

Each line names the SHA-256 of the line before it, so the hash of the last line, the head, stands for all of them
(`verify.py` checks that with nothing but Python). Rows in PostgreSQL are read from a ledger, never the reverse, so a
broadcast goes on without a database and rows can be made again.
"""

import errno
import hashlib
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from archive.recordings.verify import CUSTODY_NAME, GENESIS, LEDGER_NAME
from core.media.files import append_whole

__all__ = ["CUSTODY_NAME", "GENESIS", "LEDGER_NAME", "Fact", "Ledger", "line_of", "make_fact", "read_facts"]

Fact = dict[str, Any]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode
TAIL_BYTES = 1 << 16
"""More than any line of ours has; others' are read back further."""


def make_fact(fact: str, unix_ms: float, **values: Any) -> Fact:
    """A fact with the time at which it became one."""
    return {
        "fact": fact,
        "at": datetime.fromtimestamp(unix_ms / 1000, UTC).isoformat(timespec="milliseconds"),
        **values,
    }


def line_of(fact: Fact, previous: str) -> bytes:
    """The line of a fact that follows the line whose SHA-256 is `previous`, with its newline."""
    return _encode({"prev": previous, **fact}).encode() + b"\n"


def hash_of(line: bytes) -> str:
    """The SHA-256, in hex, of a line without its newline."""
    return hashlib.sha256(line.rstrip(b"\n")).hexdigest()


_START = b'{"prev":"' + GENESIS.encode() + b'"'


class LedgerDamaged(OSError):
    """There are bytes, and they are no lines of ours: nothing is to be written behind or over them."""

    def __init__(self, path: Path) -> None:
        super().__init__(errno.EIO, "damaged", str(path))


def has_begun(path: Path) -> bool:
    """False: no ledger is there, or one whose first line a killed writer left torn."""
    if not path.exists():
        return False
    with path.open("rb") as file:
        line = file.readline(TAIL_BYTES)
    is_torn = not line.endswith(b"\n") and (line.startswith(_START) or _START.startswith(line))
    return not is_torn or path.stat().st_size >= TAIL_BYTES


class Ledger:
    """Appends facts, behind those of a writer that was killed. What the disk refuses stays queued in memory and goes
    first the next time. One writer at a time."""

    def __init__(self, folder: Path, name: str = LEDGER_NAME) -> None:
        """Raises OSError, of which LedgerDamaged is one."""
        self._path = str(folder / name)
        self._queued: list[bytes] = []
        self.head = _mend(folder / name)

    def append(self, *facts: Fact) -> None:
        """Raises OSError when the disk refuses; the facts are not lost then."""
        for fact in facts:
            line = line_of(fact, self.head)
            self.head = hash_of(line)
            self._queued.append(line)
        self.flush()

    def flush(self) -> None:
        if not self._queued:
            return
        append_whole(self._path, b"".join(self._queued))
        self._queued.clear()


def _mend(path: Path) -> str:
    """Cuts off a torn last line; the head of what is left."""
    if not path.exists():
        return GENESIS
    is_begun = has_begun(path)
    with path.open("rb+") as file:
        size = file.seek(0, os.SEEK_END)
        back, tail = TAIL_BYTES, b""
        while tail.count(b"\n") < 2 and len(tail) < size:
            file.seek(max(0, size - back))
            tail, back = file.read(), 2 * back
        whole = tail[: tail.rfind(b"\n") + 1]
        if is_begun and not _is_line(whole.rstrip(b"\n").rpartition(b"\n")[2]):
            raise LedgerDamaged(path)
        if len(whole) < len(tail):
            file.truncate(size - len(tail) + len(whole))
    return hash_of(whole.split(b"\n")[-2]) if whole else GENESIS


def _is_line(line: bytes) -> bool:
    try:
        return "prev" in json.loads(line)
    except (ValueError, TypeError):
        return False


def read_facts(folder: Path, name: str = LEDGER_NAME) -> Iterator[Fact]:
    """The whole lines of a ledger. A torn last line, left by a killed writer, is not there yet."""
    path = folder / name
    if not path.exists():
        return
    for line in path.read_bytes().split(b"\n")[:-1]:
        try:
            yield json.loads(line)
        except ValueError:
            continue


def first_fact(folder: Path) -> Fact | None:
    """A recording's first fact; None where there is no ledger, or no whole line in it. Raises OSError, ValueError."""
    path = folder / LEDGER_NAME
    if not path.exists():
        return None
    with path.open("rb") as file:
        line = file.readline(TAIL_BYTES)
    return dict(json.loads(line)) if line.endswith(b"\n") else None


def origin_ms_of(folder: Path) -> int | None:
    """When a recording's timeline begins (Unix, ms); None where its ledger is not here."""
    try:
        return int((first_fact(folder) or {})["origin_ms"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def began_at(started: Fact) -> datetime:
    """When a recording began, from its first fact: where its timeline begins, as its statement, its playlists and
    players say, and not when that was written down, which is up to a second later. To the millisecond; whoever shows
    less cuts off. One without a timeline: then."""
    if "origin_ms" not in started:
        return datetime.fromisoformat(started["at"])
    return EPOCH + timedelta(milliseconds=int(started["origin_ms"]))


def has_ended(folder: Path) -> bool:
    """From the ledger's end alone, where `ended` is: a restart must not read every recording that was ever made."""
    with (folder / LEDGER_NAME).open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - TAIL_BYTES))
        tail = file.read()
    return b'"fact":"ended"' in tail[: tail.rfind(b"\n") + 1]  # a torn line is not there
