"""What is missing of a recording, as its completeness statement has it: what nobody can see any more, apart from what
one rendition alone lacks. Where no whole papers say so, as its rows have it, all together.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import NamedTuple

from archive.pages.papers import version_of
from archive.recordings import verify
from archive.recordings.account import Account, Stretch, account, without
from archive.recordings.brief import apart
from archive.recordings.missing import Missing
from archive.recordings.statement import in_folder

MAX_KEPT = 500
OLD_S = 600.0
"""So long a file that goes missing, or comes back, may stay untold while the papers are the same."""
YOUNG_S = 30.0


class Gap(NamedTuple):
    """From the beginning on the air. `rendition` is None where no rendition of the picture (or of sound, where there is
    no picture) has it, and where nobody knows which lack it."""

    from_ms: int
    to_ms: int
    cause: str
    rendition: str | None = None

    @property
    def length_ms(self) -> int:
        return self.to_ms - self.from_ms


@dataclass(frozen=True, slots=True)
class Lacking:
    """`gaps` are nobody's to see, `alone` are some renditions' only."""

    gaps: Sequence[Gap]
    alone: Sequence[Gap]

    @property
    def gap_ms(self) -> int:
        return sum(gap.length_ms for gap in self.gaps)

    @property
    def parted(self) -> tuple[list[Gap], list[Gap]]:
        """`gaps`: those that people notice, and those that nobody does."""
        return apart(self.gaps, _length_ms)

    @property
    def alone_parted(self) -> tuple[list[Gap], list[Gap]]:
        return apart(self.alone, _length_ms)

    @property
    def alone_ms(self) -> dict[str, int]:
        """By rendition."""
        found = dict[str, int]()
        for gap in self.alone:
            found[str(gap.rendition)] = found.get(str(gap.rendition), 0) + gap.length_ms
        return found


def _length_ms(gap: Gap) -> int:
    return gap.length_ms


def of_account(found: Account) -> Lacking:
    alone = [_gap(found, gap, one.name) for one in found.renditions for gap in without(one.gaps, found.best.gaps)]
    return Lacking([_gap(found, gap) for gap in found.best.gaps], alone)


def _gap(found: Account, gap: Stretch, rendition: str | None = None) -> Gap:
    return Gap(gap.from_ms - found.from_ms, gap.to_ms - found.from_ms, gap.cause, rendition)


def of_rows(gaps: Sequence[Missing]) -> Lacking:
    return Lacking([Gap(one.span.started_ms, one.span.ended_ms, one.cause, one.rendition) for one in gaps], ())


class _Kept(NamedTuple):
    papers: object
    made_s: float
    found: Lacking


class Accounts:
    """Made anew when the papers have changed (on the air, not within YOUNG_S), and when they are old: every file is
    looked at, none is read."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._kept: OrderedDict[Path, _Kept] = OrderedDict()
        self._lock = Lock()

    def lacking(self, folder: Path, on_air: bool) -> Lacking:
        """Of a recording whose papers are whole."""
        papers, now_s = version_of(folder), self._clock_s()
        with self._lock:
            kept = self._kept.get(folder)
        if kept is not None:
            age_s = now_s - kept.made_s
            if age_s < YOUNG_S if on_air else (kept.papers == papers and age_s < OLD_S):
                return kept.found
        found = of_account(account(verify.read_chain(folder / verify.LEDGER_NAME).lines, in_folder(folder)))
        with self._lock:
            self._kept[folder] = _Kept(papers, now_s, found)
            self._kept.move_to_end(folder)
            if len(self._kept) > MAX_KEPT:
                self._kept.popitem(last=False)
        return found
