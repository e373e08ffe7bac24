"""What a broken rule is, for every check of this package."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import wraps
from typing import ParamSpec

TIME_SLACK_S = 0.002  # DURATION, EXTINF and PROGRAM-DATE-TIME are printed in rounded decimals

P = ParamSpec("P")


@dataclass(frozen=True, slots=True, order=True)
class Violation:
    """A broken rule: its id, the playlist's line (from 1; 0 when none is to blame), the reason in words."""

    line: int
    rule: str
    reason: str

    def __str__(self) -> str:
        return f"{self.rule} (line {self.line}): {self.reason}"


def in_line_order(check: Callable[P, Iterator[Violation]]) -> Callable[P, list[Violation]]:
    @wraps(check)
    def checked(*args: P.args, **kwargs: P.kwargs) -> list[Violation]:
        return sorted(check(*args, **kwargs))

    return checked
