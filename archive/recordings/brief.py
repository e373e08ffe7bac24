"""Gaps that nobody notices, apart from those that people do. Both count: no number changes by this."""

from collections.abc import Callable, Sequence
from typing import TypeVar

BRIEF_MS = 100
"""A tenth of a second is two or three pictures: what is shorter is not seen to stand still."""
TOGETHER_MS = 1000
"""Where brief ones come to so much, they are so many that people see it stutter: then none of them is brief."""

T = TypeVar("T")


def apart(gaps: Sequence[T], length_ms: Callable[[T], int]) -> tuple[list[T], list[T]]:
    """Those that people notice, and those that nobody does, each in their order."""
    limit_ms = BRIEF_MS
    if sum(length_ms(gap) for gap in gaps if length_ms(gap) < BRIEF_MS) >= TOGETHER_MS:
        limit_ms = 0
    return [gap for gap in gaps if length_ms(gap) >= limit_ms], [gap for gap in gaps if length_ms(gap) < limit_ms]
