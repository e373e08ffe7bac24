"""RTMP messages: their types and the layout of their bodies (Adobe RTMP 1.0, sections 5.4 and 7.1)."""

import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import Any, NamedTuple

from ingest.rtmp.amf0 import decode, encode
from ingest.rtmp.errors import RemoteProtocolError

UINT32 = 0xFFFFFFFF
_U32 = struct.Struct(">I")
_USER_CONTROL = struct.Struct(">HI")
_PEER_BANDWIDTH = struct.Struct(">IB")
_TAG_HEADER = struct.Struct(">IIxxx")  # of an FLV tag: type and size, timestamp (its high byte last), stream id
_BACK_POINTER_BYTES = 4
_MAX_AGGREGATED = 4096  # a tag of no bytes costs its sender 15 bytes and us an object


class MessageType(IntEnum):
    SET_CHUNK_SIZE = 1
    ABORT = 2
    ACKNOWLEDGEMENT = 3
    USER_CONTROL = 4
    WINDOW_ACKNOWLEDGEMENT_SIZE = 5
    SET_PEER_BANDWIDTH = 6
    AUDIO = 8
    VIDEO = 9
    DATA_AMF3 = 15
    COMMAND_AMF3 = 17
    DATA = 18
    COMMAND = 20
    AGGREGATE = 22


class UserControl(IntEnum):
    STREAM_BEGIN = 0
    PING_REQUEST = 6
    PING_RESPONSE = 7


class Message(NamedTuple):
    """One whole message. The body belongs to whoever holds it; the reader keeps no reference."""

    type_id: int
    timestamp_ms: int
    body: bytearray
    stream_id: int = 0


class Command(NamedTuple):
    """A remote call. `arguments` starts after the command object; absent arguments are simply not there."""

    name: str
    transaction_id: float
    properties: dict[str, Any]
    arguments: list[Any]

    def text(self, index: int) -> str:
        """The argument as text, empty when it is absent or something else."""
        value = self.arguments[index] if index < len(self.arguments) else ""
        return value if isinstance(value, str) else ""


def parse_command(message: Message) -> Command:
    """Raises AmfError."""
    values = decode(_without_amf3_prefix(message, MessageType.COMMAND_AMF3))
    name = values[0] if values else None
    transaction_id = values[1] if len(values) > 1 else 0.0
    properties = values[2] if len(values) > 2 else None
    return Command(
        name if isinstance(name, str) else "",
        transaction_id if isinstance(transaction_id, float) else 0.0,
        properties if isinstance(properties, dict) else {},
        values[3:],
    )


def plain_data(message: Message) -> Message:
    """A data message as AMF0, however it was framed."""
    body = _without_amf3_prefix(message, MessageType.DATA_AMF3)
    return message._replace(type_id=int(MessageType.DATA), body=body)


def _without_amf3_prefix(message: Message, amf3_type: MessageType) -> bytearray:
    # Clients that negotiated AMF3 frame even AMF0 values as types 15 and 17, after a byte that says "AMF0".
    framed = message.type_id == amf3_type and message.body[:1] == b"\0"
    return message.body[1:] if framed else message.body


def command(name: str, transaction_id: float, *values: Any, stream_id: int = 0) -> Message:
    return Message(MessageType.COMMAND, 0, bytearray(encode(name, float(transaction_id), *values)), stream_id)


def set_chunk_size(size_bytes: int) -> Message:
    return Message(MessageType.SET_CHUNK_SIZE, 0, bytearray(_U32.pack(size_bytes)))


def acknowledgement(received_bytes: int) -> Message:
    return Message(MessageType.ACKNOWLEDGEMENT, 0, bytearray(_U32.pack(received_bytes & UINT32)))


def window_acknowledgement_size(window_bytes: int) -> Message:
    return Message(MessageType.WINDOW_ACKNOWLEDGEMENT_SIZE, 0, bytearray(_U32.pack(window_bytes)))


def set_peer_bandwidth(window_bytes: int, limit_type: int = 2) -> Message:
    return Message(MessageType.SET_PEER_BANDWIDTH, 0, bytearray(_PEER_BANDWIDTH.pack(window_bytes, limit_type)))


def user_control(event: UserControl, value: int) -> Message:
    return Message(MessageType.USER_CONTROL, 0, bytearray(_USER_CONTROL.pack(event, value)))


def parse_user_control(message: Message) -> tuple[int, int]:
    """Event type and its first value; (-1, 0) for events of another shape, which nobody here needs."""
    if len(message.body) < _USER_CONTROL.size:
        return -1, 0
    event, value = _USER_CONTROL.unpack_from(message.body)
    return int(event), int(value)


def parse_uint32(message: Message) -> int:
    if len(message.body) < 4:
        raise RemoteProtocolError(f"message of type {message.type_id} has {len(message.body)} bytes, not 4")
    return int(_U32.unpack_from(message.body)[0])


def split_aggregate(message: Message) -> Iterator[Message]:
    """The FLV tags in an aggregate message, moved so that the first has its timestamp (section 7.1.6)."""
    body, at, offset_ms = message.body, 0, None
    for _ in range(_MAX_AGGREGATED):
        if at == len(body):
            return
        if at + _TAG_HEADER.size > len(body):
            raise RemoteProtocolError("aggregate message ends inside a tag header")
        type_and_size, stamp = _TAG_HEADER.unpack_from(body, at)
        tag_ms = (stamp >> 8) | (stamp & 0xFF) << 24
        start = at + _TAG_HEADER.size
        stop = start + (type_and_size & 0xFFFFFF)
        if stop > len(body):
            raise RemoteProtocolError("aggregate message ends inside a tag")
        if offset_ms is None:
            offset_ms = message.timestamp_ms - tag_ms
        yield Message(type_and_size >> 24 & 0x1F, tag_ms + offset_ms, body[start:stop], message.stream_id)
        at = min(stop + _BACK_POINTER_BYTES, len(body))  # the last back pointer is missing from some encoders
    raise RemoteProtocolError(f"aggregate message of more than {_MAX_AGGREGATED} tags")
