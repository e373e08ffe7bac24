"""What recordings' papers (ledger, custody log, signatures) prove, read anew only when they have changed."""

import os
import time
from collections import OrderedDict
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple, TypeVar

from archive.recordings import verify
from archive.recordings.verify import LEDGER_NAME, PAPERS, Report

T = TypeVar("T")
MAX_KEPT = 500
YOUNG_S = 10.0
LOOKS = 3


class _Kept(NamedTuple):
    papers: object
    asked: tuple[frozenset[bytes], bool]
    made_s: float
    report: Report


class Papers:
    """Answers are kept until one of the files has another size or time; of what is on the air, where that is so at each
    segment, for YOUNG_S at least. Ten hours are read in less than a second."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._kept: OrderedDict[Path, _Kept] = OrderedDict()
        self._lock = Lock()

    def report(self, folder: Path, keys: Collection[bytes], on_air: bool) -> Report | None:
        """Without the media. None: they are not here."""
        papers, asked, now_s = version_of(folder), (frozenset(keys), on_air), self._clock_s()
        if papers[0] is None:
            return None
        with self._lock:
            kept = self._kept.get(folder)
            if kept is not None and kept.asked == asked:
                if kept.papers == papers or (on_air and now_s - kept.made_s < YOUNG_S):
                    return kept.report
                if on_air:  # whoever else comes while this one reads gets what there is
                    self._kept[folder] = kept._replace(made_s=now_s)
        look = partial(verify.verify, folder, keys, with_media=False, on_air=on_air)
        report = settled(folder, look, lambda found: found.is_whole)
        with self._lock:
            self._kept[folder] = _Kept(papers, asked, now_s, report)
            self._kept.move_to_end(folder)
            if len(self._kept) > MAX_KEPT:
                self._kept.popitem(last=False)
        return report

    def forget(self, folder: Path) -> None:
        with self._lock:
            self._kept.pop(folder, None)


def settled(folder: Path, look: Callable[[], T], is_well: Callable[[T], bool]) -> T:
    """What `look` finds in the papers. On the air they grow: a signature that came while they were read is of more than
    was read before it. So where something is wrong and they have changed meanwhile, they are looked at again."""
    for _ in range(LOOKS - 1):
        version = version_of(folder)
        found = look()
        if is_well(found) or version_of(folder) == version:
            return found
    return look()


def find_file(folder: Path, sha256: str) -> tuple[int, dict[str, Any]] | None:
    """The ledger's line of the recording's file with this hash, and the recording's origin (Unix, ms)."""
    path = folder / LEDGER_NAME
    if not path.is_file() or sha256.encode() not in path.read_bytes():
        return None
    ledger = verify.read_chain(path)
    line = next((line for line in verify.listed_files(ledger).values() if line["sha256"] == sha256), None)
    return None if line is None else (verify.origin_ms_of(ledger), line)


def version_of(folder: Path) -> tuple[tuple[int, int] | None, ...]:
    """Changes with any of the papers."""
    return tuple(_stat(folder / name) for name in PAPERS)


def _stat(path: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns
