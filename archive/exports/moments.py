"""Moments of a recording as people write them."""

import re
from datetime import datetime

from core.web.dates import EAST_AFRICA_TIME

_POSITION = re.compile(r"(?:(\d{1,4}):)?([0-5]?\d):([0-5]?\d(?:\.\d+)?)")
_SECONDS = re.compile(r"\d{1,9}(\.\d+)?")


def read_moment(text: str, origin_ms: int) -> int:
    """Milliseconds of the broadcast's timeline. A time with its day is the wall clock,
    in East Africa Time unless it says otherwise; HH:MM:SS or seconds count from the beginning. Raises ValueError."""
    text = text.strip()
    if _SECONDS.fullmatch(text):
        return round(float(text) * 1000)
    if position := _POSITION.fullmatch(text):
        hours, minutes, seconds = int(position[1] or 0), int(position[2]), float(position[3])
        return round((hours * 3600 + minutes * 60 + seconds) * 1000)
    when = datetime.fromisoformat(text)
    try:
        return round(when.replace(tzinfo=when.tzinfo or EAST_AFRICA_TIME).timestamp() * 1000) - origin_ms
    except OverflowError as error:
        raise ValueError(text) from error
