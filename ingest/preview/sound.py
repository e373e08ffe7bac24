"""What sound became, and its way out of the process that makes it (opus.py): a byte stream of short messages.

That process decodes what strangers sent, so what comes from it is believed no farther than its bounds.
"""

import math
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

FLOOR_DB = -99.0
"""Digital silence: minus infinity is no JSON."""
MAX_CHANNELS = 64
MAX_OPUS_BYTES = 1275 * 6
"""RFC 6716, 3.4: of a packet's frames, with room to spare."""
_PACKET, _LEVELS = 1, 2
_HEAD, _PTS = struct.Struct(">BH"), struct.Struct(">Q")
_MAX_PTS = 1 << 48


@dataclass(frozen=True, slots=True)
class Levels:
    """`peak_dbfs` by channel; loudness in LUFS over the last 400 ms and 3 s, FLOOR_DB until so much was heard."""

    peak_dbfs: tuple[float, ...]
    momentary_lufs: float
    short_term_lufs: float


class OpusPacket(NamedTuple):
    """`pts` counts samples at 48 kHz."""

    pts: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Sound:
    """What a batch became."""

    packets: Sequence[OpusPacket]
    levels: Levels | None


class SoundError(Exception):
    """Bytes that are none of ours."""


def write_sound(sound: Sound) -> bytes:
    bodies = [(_PACKET, _PTS.pack(one.pts) + one.data) for one in sound.packets]
    if sound.levels is not None:
        levels = sound.levels
        numbers = (levels.momentary_lufs, levels.short_term_lufs, *levels.peak_dbfs)
        bodies.append((_LEVELS, struct.pack(f">{len(numbers)}f", *numbers)))
    return b"".join(_HEAD.pack(kind, len(body)) + body for kind, body in bodies)


class SoundReader:
    """Bytes in, sound out."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Sound:
        """What these bytes complete. Raises SoundError."""
        self._buffer += data
        packets, levels = [], None
        for kind, body in self._messages():
            if kind == _PACKET:
                packets.append(_packet(body))
            elif kind == _LEVELS:
                levels = _levels(body)
            else:
                raise SoundError(f"a message of kind {kind}")
        return Sound(packets, levels)

    def _messages(self) -> Iterator[tuple[int, bytes]]:
        at = 0
        while len(self._buffer) - at >= _HEAD.size:
            kind, size = _HEAD.unpack_from(self._buffer, at)
            if size > MAX_OPUS_BYTES + _PTS.size:
                raise SoundError(f"a message of {size} bytes")
            end = at + _HEAD.size + size
            if end > len(self._buffer):
                break
            yield kind, bytes(self._buffer[at + _HEAD.size : end])
            at = end
        del self._buffer[:at]


def _packet(body: bytes) -> OpusPacket:
    if len(body) <= _PTS.size or (pts := _PTS.unpack_from(body)[0]) > _MAX_PTS:
        raise SoundError("a packet without sound or time")
    return OpusPacket(pts, body[_PTS.size :])


def _levels(body: bytes) -> Levels:
    count, rest = divmod(len(body), 4)
    if rest or not 2 < count <= 2 + MAX_CHANNELS:
        raise SoundError("levels of no channels")
    momentary, short_term, *peaks = (
        round(one, 1) if math.isfinite(one) else FLOOR_DB for one in struct.unpack(f">{count}f", body)
    )
    return Levels(tuple(peaks), momentary, short_term)
