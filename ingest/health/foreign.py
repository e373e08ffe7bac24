"""Names what a message holds that we don't take: other codecs (FLV 10.1 E.4.2.1, E.4.3.1), more tracks (E-RTMP 2)."""

from typing import NamedTuple

from core.media import flv
from core.media.packet import Kind

_VIDEO = {2: "Sorenson H.263", 3: "Screen Video", 4: "VP6", 5: "VP6", 6: "Screen Video 2", 12: "HEVC"}
_AUDIO = {0: "PCM", 1: "ADPCM", 2: "MP3", 3: "PCM", 7: "G.711", 8: "G.711", 11: "Speex", 14: "MP3"}
_NELLYMOSER = range(4, 7)
_EXTENDED_VIDEO, _EXTENDED_AUDIO = 8, 9
_VIDEO_MULTITRACK, _AUDIO_MULTITRACK = 6, 5
_MANY_CODECS = 2  # each track of the message names its own


class Foreign(NamedTuple):
    """`codec` by its name, or its FourCC where E-RTMP carries it; `further`: a track beside the first of its kind."""

    kind: Kind
    codec: str
    further: bool = False


def read_foreign(type_id: int, body: bytes | bytearray) -> Foreign | None:
    """None from what is empty, of our codecs, or neither sound nor picture."""
    if len(body) < 6:
        return None
    if type_id == flv.VIDEO:
        if body[0] >> 4 & _EXTENDED_VIDEO:
            return _extended(Kind.VIDEO, body, _VIDEO_MULTITRACK)
        name = _VIDEO.get(body[0] & 15)
        return Foreign(Kind.VIDEO, name) if name else None
    if type_id != flv.AUDIO:
        return None
    if body[0] >> 4 == _EXTENDED_AUDIO:
        return _extended(Kind.AUDIO, body, _AUDIO_MULTITRACK)
    name = "Nellymoser" if body[0] >> 4 in _NELLYMOSER else _AUDIO.get(body[0] >> 4)
    return Foreign(Kind.AUDIO, name) if name else None


def _extended(kind: Kind, body: bytes | bytearray, multitrack: int) -> Foreign:
    if body[0] & 15 != multitrack:
        return Foreign(kind, _four_cc(body[1:5]))
    return Foreign(kind, "" if body[1] >> 4 == _MANY_CODECS else _four_cc(body[2:6]), True)


def _four_cc(code: bytes | bytearray) -> str:
    text = code.decode("ascii", "replace")
    return text if text.isprintable() and text.isascii() else code.hex()
