"""How loud a feed is, as the wall says it: what words a card has, and the numbers that move under them."""

from dataclasses import dataclass, field
from enum import Enum

from core.media.levels import FLOOR_DBFS, Level
from ingest.console import Told

OLD_S = 10.0
SIDES = ("left", "right")


class Heard(Enum):
    """What is known of a feed's sound."""

    NONE = "none"
    """It has no sound at all."""
    WAITING = "waiting"
    """Nothing was measured yet."""
    SOUND = "sound"
    SILENCE = "silence"
    OLD = "old"


@dataclass(frozen=True, slots=True)
class Sound:
    """`levels`, one or left and right, change all the time and are told as numbers: others make no other card."""

    heard: Heard = Heard.WAITING
    sides: int = 0
    levels: tuple[Level, ...] = field(default=(), compare=False)

    @property
    def by_side(self) -> dict[str, Level]:
        return dict(zip(SIDES, self.levels, strict=False))


UNHEARD = Sound()


def sound_of(feed: Told, now_s: float) -> Sound:
    """`now_s` is Unix time. Where the clock was set back nothing is known to be new."""
    if not any(track["kind"] == "audio" for track in feed["tracks"]):
        return Sound(Heard.NONE)
    measured = feed.get("levels")
    if measured is None:
        return Sound(Heard.WAITING)
    if abs(now_s - measured["at_s"]) > OLD_S:
        return Sound(Heard.OLD)
    levels = tuple(Level(**side) for side in measured["sides"])
    is_silent = all(level.peak_dbfs <= FLOOR_DBFS for level in levels)
    return Sound(Heard.SILENCE if is_silent else Heard.SOUND, len(levels), levels)


def level_numbers(feed: Told) -> dict[str, str]:
    """What changes every two seconds, in dBFS."""
    measured = feed.get("levels") or {"sides": ()}
    by_side = zip(SIDES, measured["sides"], strict=False)
    return {f"{side}.{name}": f"{level[f'{name}_dbfs']:.1f}" for side, level in by_side for name in ("peak", "rms")}
