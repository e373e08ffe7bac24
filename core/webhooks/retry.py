"""When a message is sent again, and when it is given up: waits that grow threefold up to six hours."""

LONGEST_S = 6 * 3600.0
GROWTH = 3
JITTER = 0.2
"""Receivers that failed together are not asked again together."""


def wait_s(attempts: int, first_s: float, give_up_s: float, chance: float) -> float | None:
    """After `attempts` failed ones, of which there is at least one; `chance` is in 0..1. None: the waits so far amount
    to `give_up_s`, so it is given up. Counted in attempts, not by the clock: an outage of ours costs nobody a retry."""
    waited_s, wait = 0.0, first_s
    for _ in range(attempts - 1):
        waited_s += wait
        wait = min(wait * GROWTH, LONGEST_S)
    return None if waited_s >= give_up_s else wait * (1 - JITTER + 2 * JITTER * chance)
