"""Broadcasts as a file for calendar programs (iCalendar, RFC 5545)."""

import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

from core.broadcasts.lifecycle import State
from core.broadcasts.queries import begins_at
from core.tables import Broadcast, Channel

MEDIA_TYPE = "text/calendar; charset=utf-8"
MAX_LINE = 75


def calendar(rows: Iterable[tuple[Broadcast, Channel]], pick: Callable[[str, str], str], now: datetime) -> str:
    lines = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//Mbashara//"]
    for broadcast, channel in rows:
        ends_at = broadcast.ended_at or broadcast.planned_end_at
        lines += ["BEGIN:VEVENT", f"UID:{broadcast.id}@mbashara", f"DTSTAMP:{_time(now)}"]
        lines += [f"DTSTART:{_time(begins_at(broadcast))}", *([f"DTEND:{_time(ends_at)}"] if ends_at else [])]
        lines += [f"SUMMARY:{_text(pick(broadcast.title_sw, broadcast.title_en))}"]
        lines += [f"LOCATION:{_text(pick(channel.name_sw, channel.name_en))}"]
        lines += ["STATUS:CANCELLED" if broadcast.state == State.CANCELLED else "STATUS:CONFIRMED", "END:VEVENT"]
    return "".join(map(_folded, [*lines, "END:VCALENDAR"]))


def _time(when: datetime) -> str:
    return f"{when.astimezone(UTC):%Y%m%dT%H%M%SZ}"


def _text(text: str) -> str:
    return re.sub(r"([\\;,])", r"\\\1", " ".join(text.split()))


def _folded(line: str) -> str:
    """Lines have 75 bytes at most, whatever the letters take (3.1)."""
    if len(line.encode()) <= MAX_LINE:
        return f"{line}\r\n"
    whole = next(at for at in range(MAX_LINE, 0, -1) if len(line[:at].encode()) <= MAX_LINE)
    return f"{line[:whole]}\r\n" + _folded(f" {line[whole:]}")
