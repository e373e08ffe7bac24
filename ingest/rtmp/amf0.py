"""AMF0: Python values to bytes and back, bounded in depth, number and size (Adobe AMF0, section 2).

number <-> float      boolean <-> bool       string, long string, XML <-> str       null <-> None
object <-> dict       ECMA array <-> EcmaArray (a dict)       strict array <-> list       date <-> Date
undefined, unsupported <-> UNDEFINED
"""

import struct
from enum import Enum, IntEnum
from typing import Any, Final, NamedTuple

from ingest.rtmp.errors import AmfError

_DOUBLE = struct.Struct(">d")
_U16 = struct.Struct(">H")
_U32 = struct.Struct(">I")
_DATE = struct.Struct(">dh")


class _Undefined(Enum):
    UNDEFINED = "undefined"


UNDEFINED: Final = _Undefined.UNDEFINED


class EcmaArray(dict[str, Any]):
    """An associative array: decoded and encoded apart from an object because encoders look at the marker."""


class Date(NamedTuple):
    epoch_ms: float
    zone_minutes: int = 0


class Marker(IntEnum):
    NUMBER = 0x00
    BOOLEAN = 0x01
    STRING = 0x02
    OBJECT = 0x03
    NULL = 0x05
    UNDEFINED = 0x06
    ECMA_ARRAY = 0x08
    OBJECT_END = 0x09
    STRICT_ARRAY = 0x0A
    DATE = 0x0B
    LONG_STRING = 0x0C
    UNSUPPORTED = 0x0D
    XML_DOCUMENT = 0x0F
    TYPED_OBJECT = 0x10


def decode(
    data: bytes | bytearray | memoryview,
    *,
    max_bytes: int = 65536,
    max_values: int = 2048,
    max_depth: int = 16,
) -> list[Any]:
    """All the values in `data`, one after another. Raises AmfError."""
    if len(data) > max_bytes:
        raise AmfError(f"AMF0 of {len(data)} bytes; the limit is {max_bytes}")
    reader = _Reader(bytes(data), max_values)
    values = []
    while not reader.at_end():
        values.append(reader.value(max_depth))
    return values


class _Reader:
    def __init__(self, data: bytes, max_values: int) -> None:
        self._data = data
        self._at = 0
        self._values_left = max_values

    def at_end(self) -> bool:
        return self._at == len(self._data)

    def value(self, depth_left: int) -> Any:
        self._values_left -= 1
        if self._values_left < 0:
            raise AmfError("too many AMF0 values")
        if depth_left == 0:
            raise AmfError("AMF0 values nested too deep")
        marker = self._take(1)[0]
        match marker:
            case Marker.NUMBER:
                return _DOUBLE.unpack(self._take(8))[0]
            case Marker.BOOLEAN:
                return self._take(1) != b"\0"
            case Marker.STRING:
                return self._string()
            case Marker.OBJECT:
                return self._properties({}, depth_left)
            case Marker.NULL:
                return None
            case Marker.UNDEFINED | Marker.UNSUPPORTED:
                return UNDEFINED
            case Marker.ECMA_ARRAY:
                self._take(4)  # a count that encoders get wrong; the end marker decides
                return self._properties(EcmaArray(), depth_left)
            case Marker.STRICT_ARRAY:
                count = self._u32()
                return [self.value(depth_left - 1) for _ in range(count)]
            case Marker.DATE:
                return Date(*_DATE.unpack(self._take(10)))
            case Marker.LONG_STRING | Marker.XML_DOCUMENT:
                return self._text(self._u32())
            case Marker.TYPED_OBJECT:
                self._string()  # the class; nobody here needs it
                return self._properties({}, depth_left)
        raise AmfError(f"AMF0 marker 0x{marker:02x} is not one we read")

    def _properties(self, into: dict[str, Any], depth_left: int) -> dict[str, Any]:
        while True:
            name = self._string()
            if not name and self._data[self._at : self._at + 1] == bytes([Marker.OBJECT_END]):
                self._at += 1
                return into
            into[name] = self.value(depth_left - 1)

    def _string(self) -> str:
        return self._text(_U16.unpack(self._take(2))[0])

    def _u32(self) -> int:
        return int(_U32.unpack(self._take(4))[0])

    def _text(self, size_bytes: int) -> str:
        # Encoders put Latin-1 into titles: a wrong letter is no reason to lose a feed.
        return self._take(size_bytes).decode("utf-8", "replace")

    def _take(self, size_bytes: int) -> bytes:
        taken = self._data[self._at : self._at + size_bytes]
        if len(taken) < size_bytes:
            raise AmfError("AMF0 value is cut short")
        self._at += size_bytes
        return taken


def encode(*values: Any) -> bytes:
    """Raises AmfError for a value that AMF0 cannot say."""
    return b"".join(map(_encoded, values))


def _encoded(value: Any) -> bytes:
    match value:
        case None:
            return bytes([Marker.NULL])
        case _Undefined():
            return bytes([Marker.UNDEFINED])
        case bool():
            return bytes([Marker.BOOLEAN, value])
        case int() | float():
            return bytes([Marker.NUMBER]) + _DOUBLE.pack(value)
        case str():
            return _encoded_string(value)
        case EcmaArray():
            return bytes([Marker.ECMA_ARRAY]) + _U32.pack(len(value)) + _encoded_properties(value)
        case dict():
            return bytes([Marker.OBJECT]) + _encoded_properties(value)
        case list():
            return bytes([Marker.STRICT_ARRAY]) + _U32.pack(len(value)) + encode(*value)
        case Date():
            return bytes([Marker.DATE]) + _DATE.pack(*value)
    raise AmfError(f"AMF0 has no {type(value).__name__}")


def _encoded_string(text: str) -> bytes:
    raw = text.encode("utf-8", "replace")
    if len(raw) > 0xFFFF:
        return bytes([Marker.LONG_STRING]) + _U32.pack(len(raw)) + raw
    return bytes([Marker.STRING]) + _U16.pack(len(raw)) + raw


def _encoded_properties(properties: dict[str, Any]) -> bytes:
    parts = [_encoded_name(name) + _encoded(value) for name, value in properties.items()]
    return b"".join(parts) + _U16.pack(0) + bytes([Marker.OBJECT_END])


def _encoded_name(name: str) -> bytes:
    raw = name.encode("utf-8", "replace")
    if len(raw) > 0xFFFF:
        raise AmfError("AMF0 property name of more than 65535 bytes")
    return _U16.pack(len(raw)) + raw
