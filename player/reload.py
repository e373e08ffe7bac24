"""Decides what a blocking playlist reload is answered (RFC 8216bis 6.2.5.2). Pure; the route loops on it."""

import math
from dataclasses import dataclass
from enum import Enum, auto

from core.media.window import LiveWindow

MAX_NUMBER = 2**53


class Answer(Enum):
    READY = auto()
    WAIT = auto()
    BAD_REQUEST = auto()


@dataclass(frozen=True, slots=True)
class Directives:
    """The delivery directives of a request. `msn` and `part` are None where they are not given."""

    msn: int | None = None
    part: int | None = None
    skip: bool = False


class DirectiveError(ValueError):
    """A directive that is no number, or a part without its segment: 400."""


def parse_directives(query: str) -> Directives:
    """Reads `_HLS_msn`, `_HLS_part`, `_HLS_skip` and leaves other keys alone (6.2.5: they are the server's own)."""
    values = dict(pair.partition("=")[::2] for pair in query.split("&"))
    msn, part = _number(values.get("_HLS_msn")), _number(values.get("_HLS_part"))
    if part is not None and msn is None:
        raise DirectiveError("_HLS_part without _HLS_msn")
    return Directives(msn, part, values.get("_HLS_skip") in ("YES", "v2"))


def _number(text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 16 and int(text) < MAX_NUMBER):
        raise DirectiveError("a delivery directive must be a decimal number")
    return int(text)


def advance_part_limit(part_target_s: float) -> int:
    """How far ahead of the last part a request may reach."""
    return math.ceil(3 / part_target_s) if part_target_s < 1 else 3


def decide(window: LiveWindow, wanted: Directives) -> Answer:
    """What the window allows now.

    A number older than the window gets the current playlist. A part beyond the last of a finished segment is part 0
    of the next: hls.js asks so at every segment's end.
    """
    if window.ended or wanted.msn is None:
        return Answer.READY
    last_msn = window.next_msn - 1
    if wanted.msn > last_msn + 2:
        return Answer.BAD_REQUEST
    if wanted.part is None:
        return Answer.READY if wanted.msn <= last_msn else Answer.WAIT
    if wanted.msn < last_msn:
        return Answer.READY
    segment = window.find(wanted.msn)
    listed = len(segment.parts) if segment is not None else 0
    if wanted.part < listed:
        return Answer.READY
    if wanted.part - listed >= advance_part_limit(window.cadence.part_target_s):
        return Answer.BAD_REQUEST
    past_the_end = wanted.msn == last_msn
    return Answer.READY if past_the_end and window.open is not None else Answer.WAIT
