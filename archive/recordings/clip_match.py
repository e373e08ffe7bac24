"""Where packets of a clip lie among those of a recording: pure functions over numbers that are equal where packets are.

A still picture or silence gives many equal packets, so a packet's place is decided by those that follow it too.
"""

import bisect
from collections.abc import Mapping, Sequence
from typing import NamedTuple

LOOK_AHEAD = 256
MAX_CANDIDATES = 64
MIN_RUN = 3
"""Fewer packets in a row are chance: an encoder makes the same packet of the same silence anywhere."""


class Run(NamedTuple):
    """`packets` of them from `clip` on are those of the recording from `recorded` on."""

    clip: int
    recorded: int
    packets: int

    @property
    def clip_end(self) -> int:
        return self.clip + self.packets

    @property
    def recorded_end(self) -> int:
        return self.recorded + self.packets


def align(
    clip: Sequence[int], recorded: Sequence[int], places: Mapping[int, Sequence[int]], expected: int = 0
) -> list[Run]:
    """The runs in the clip's order. `places` are the ascending positions in `recorded` of each number; `expected` is
    about where the clip begins, for packets that occur more than once."""
    runs: list[Run] = []
    at = 0
    while at < len(clip):
        found = _best(clip, recorded, at, places.get(clip[at], ()), expected)
        if found is None:
            at += 1
            continue
        count = _length(clip, recorded, at, found, len(clip))
        if count >= min(MIN_RUN, len(clip)):
            _append(runs, clip, recorded, Run(at, found, count))
            expected = found + count
        at += count
    return runs


def _append(runs: list[Run], clip: Sequence[int], recorded: Sequence[int], run: Run) -> None:
    """A run goes back as far as it fits, and takes the place of those that it covers: silence before speech was taken
    for silence elsewhere."""
    back = 0
    while back < min(run.clip, run.recorded) and clip[run.clip - back - 1] == recorded[run.recorded - back - 1]:
        back += 1
    while runs and runs[-1].clip >= run.clip - back:
        runs.pop()
    back = min(back, run.clip - (runs[-1].clip_end if runs else 0))
    runs.append(Run(run.clip - back, run.recorded - back, run.packets + back))


def _best(
    clip: Sequence[int], recorded: Sequence[int], at: int, candidates: Sequence[int], expected: int
) -> int | None:
    """The one that most packets go on from; of equals the nearest to where we are."""
    if not candidates:
        return None
    near = bisect.bisect_left(candidates, expected)
    some = candidates[max(0, near - MAX_CANDIDATES // 2) : near + MAX_CANDIDATES // 2]
    return max(some, key=lambda one: (_length(clip, recorded, at, one, LOOK_AHEAD), -abs(one - expected)))


def _length(clip: Sequence[int], recorded: Sequence[int], at: int, place: int, most: int) -> int:
    end = min(most, len(clip) - at, len(recorded) - place)
    count = 0
    while count < end and clip[at + count] == recorded[place + count]:
        count += 1
    return count


def foreign(length: int, runs: Sequence[Run]) -> list[tuple[int, int]]:
    """The stretches of a clip of `length` packets that no run covers, from and to before."""
    edges = [0, *(edge for run in runs for edge in (run.clip, run.clip_end)), length]
    return [(begins, ends) for begins, ends in zip(edges[::2], edges[1::2], strict=True) if ends > begins]
