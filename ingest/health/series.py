"""What was measured, for the life of a broadcast: fixed columns of numbers in tiers that grow coarser with age.

A row is its time, and of each column the least, the mean and the most: 8 + 3 * 4 * columns bytes. With the seven
columns and the three tiers below a full series takes 611 kB (`MAX_BYTES`), after a week and for ever after; one of an
hour takes 62 kB.
"""

import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

COLUMNS = ("received_bps", "video_bps", "audio_bps", "frame_rate", "gop_s", "av_offset_s", "pace")
Row = Sequence[float | None]


@dataclass(frozen=True, slots=True)
class Tier:
    """Rows of `step_s` seconds, the last `rows` of them."""

    step_s: int
    rows: int


TIERS = (Tier(1, 300), Tier(10, 12 * 360), Tier(300, 7 * 288))
ROW_BYTES = 8 + 3 * 4 * len(COLUMNS)
MAX_BYTES = sum(tier.rows for tier in TIERS) * ROW_BYTES
MAX_ANSWER_ROWS = 400
"""Ten milliseconds of the loop that carries the packets; more is asked for from the last row on."""


class Rows:
    """One tier: a ring that grows to its size, and the row that is still being added up."""

    def __init__(self, tier: Tier) -> None:
        self.tier = tier
        self._times, self._values = array("d"), array("f")
        self._next = 0
        self._slot: int | None = None
        self._open: list[list[float]] = []

    @property
    def size_bytes(self) -> int:
        return len(self._times) * self._times.itemsize + len(self._values) * self._values.itemsize

    def add(self, at_s: float, row: Row) -> None:
        """Rows of the past are not added to: a clock that was put back repeats nothing."""
        slot = int(at_s // self.tier.step_s)
        if self._slot is not None and slot < self._slot:
            return
        if slot != self._slot:
            self._close()
            self._slot, self._open = slot, [[] for _ in COLUMNS]
        for column, value in zip(self._open, row, strict=True):
            if value is not None:
                column.append(value)

    def since(self, from_s: float) -> list[tuple[float, list[float | None]]]:
        """Oldest first, at most `MAX_ANSWER_ROWS` of them; each with three numbers a column."""
        count, width = len(self._times), 3 * len(COLUMNS)
        order = [(self._next + n) % count for n in range(count)] if count == self.tier.rows else range(count)
        wanted = [place for place in order if self._times[place] >= from_s][:MAX_ANSWER_ROWS]
        return [
            (self._times[place], [_told(value) for value in self._values[place * width : (place + 1) * width]])
            for place in wanted
        ]

    def _close(self) -> None:
        if self._slot is None:
            return
        values = array("f", [value for column in self._open for value in _summary(column)])
        if len(self._times) < self.tier.rows:
            self._times.append(self._slot * self.tier.step_s)
            self._values += values
            return
        self._times[self._next] = self._slot * self.tier.step_s
        self._values[self._next * len(values) : (self._next + 1) * len(values)] = values
        self._next = (self._next + 1) % self.tier.rows


class Series:
    """A feed's role in a broadcast. Where nothing came there is no row: a graph shows a hole, not a zero."""

    def __init__(self, tiers: Sequence[Tier] = TIERS) -> None:
        self._tiers = {tier.step_s: Rows(tier) for tier in tiers}

    @property
    def size_bytes(self) -> int:
        return sum(rows.size_bytes for rows in self._tiers.values())

    def add(self, at_s: float, row: Row) -> None:
        for rows in self._tiers.values():
            rows.add(at_s, row)

    def as_json(self, step_s: int, from_s: float = 0.0) -> dict[str, Any] | None:
        """Columns of [least, mean, most] beside their times; None for a step that isn't kept."""
        rows = self._tiers.get(step_s)
        if rows is None:
            return None
        found = rows.since(from_s)
        columns = {
            name: [values[3 * n : 3 * n + 3] for _, values in found] for n, name in enumerate(COLUMNS)
        }  # fmt: skip
        return {"step_s": step_s, "at_s": [at_s for at_s, _ in found], "columns": columns}


def _summary(column: Sequence[float]) -> tuple[float, float, float]:
    if not column:
        return math.nan, math.nan, math.nan
    return min(column), sum(column) / len(column), max(column)


def _told(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 3)
