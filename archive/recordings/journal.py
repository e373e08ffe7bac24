"""A recording's journal: one JSON object a line, appended only.

Rows in PostgreSQL are read from it, never the reverse, so a broadcast goes on
without a database and rows can be made again.
"""

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

JOURNAL_NAME = "journal.jsonl"
Fact = dict[str, Any]


def make_fact(fact: str, unix_ms: float, **values: Any) -> Fact:
    """A fact with the time at which it became one."""
    return {
        "fact": fact,
        "at": datetime.fromtimestamp(unix_ms / 1000, UTC).isoformat(timespec="milliseconds"),
        **values,
    }


class Journal:
    """Appends facts. What the disk refuses stays queued in memory and goes first the next time."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / JOURNAL_NAME
        self._queued: list[bytes] = []

    def append(self, fact: Fact) -> None:
        """Raises OSError when the disk refuses; the fact is not lost then."""
        self._queued.append(json.dumps(fact, separators=(",", ":"), ensure_ascii=False).encode() + b"\n")
        self.flush()

    def flush(self) -> None:
        if not self._queued:
            return
        data = b"".join(self._queued)
        with self._path.open("ab", buffering=0) as file:
            start = file.tell()
            written = file.write(data)
            if written != len(data):
                os.truncate(self._path, start)
                raise OSError(28, "no space left for the journal")
        self._queued.clear()


def read_facts(folder: Path) -> Iterator[Fact]:
    """The whole lines of a journal. A torn last line, left by a killed writer, is not there yet."""
    path = folder / JOURNAL_NAME
    if not path.exists():
        return
    for line in path.read_bytes().split(b"\n")[:-1]:
        try:
            yield json.loads(line)
        except ValueError:
            continue
