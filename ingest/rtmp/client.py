"""A publisher's end of an RTMP connection, without IO: for tests, benches and sending a feed on.

client = ClientConnection("live", "rtmp://host/live", key)
send(client.data_to_send()); for event in client.receive_data(bytes): ...   # until PublishStarted
client.send_media(MessageType.VIDEO, timestamp_ms, body); send(client.data_to_send())
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from ingest.rtmp import handshake, message
from ingest.rtmp.chunk import CONTROL_CSID, ChunkReader, ChunkWriter
from ingest.rtmp.errors import AmfError, LocalProtocolError, RemoteProtocolError
from ingest.rtmp.message import Message, MessageType, UserControl

_COMMAND_CSID = 3
_MEDIA_CSIDS: Final = {MessageType.AUDIO: 4, MessageType.DATA: 5, MessageType.VIDEO: 6}
_ANSWER_BYTES = 1 + 2 * handshake.PACKET_BYTES
_CONNECT, _RELEASE_STREAM, _FC_PUBLISH, _CREATE_STREAM, _PUBLISH = range(1, 6)  # transaction ids


@dataclass(frozen=True, slots=True)
class PublishStarted:
    """The server takes media from now on."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The server said no, or ended the publication; it is about to close."""

    code: str
    description: str


class ClientConnection:
    def __init__(
        self,
        app: str,
        tc_url: str,
        publish_name: str,
        *,
        chunk_size: int = 4096,
        repeat_extended: bool = True,
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        """`repeat_extended` False behaves like old librtmp: see chunk.ChunkWriter."""
        self.publishing = False
        self._app = app
        self._tc_url = tc_url
        self._publish_name = publish_name
        self._chunk_size = chunk_size
        self._reader = ChunkReader()
        self._writer = ChunkWriter(repeat_extended=repeat_extended)
        self._out = [bytes([handshake.VERSION]) + bytes(8) + random_bytes(handshake.PACKET_BYTES - 8)]
        self._shaking_hands = True
        self._answer = bytearray()  # S0, S1 and S2 as far as they are here
        self._stream_id = 0
        self._received_bytes = 0
        self._unacknowledged_bytes = 0
        self._window_bytes = 0

    def data_to_send(self) -> bytes:
        data = b"".join(self._out)
        self._out.clear()
        return data

    def receive_data(self, data: memoryview | bytes) -> list[PublishStarted | Refused]:
        """Raises RemoteProtocolError."""
        if self._shaking_hands:
            data = self._shake_hands(data)
        self._acknowledge(len(data))
        events: list[PublishStarted | Refused] = []
        for one in self._reader.feed(data):
            self._take_message(one, events)
        return events

    def send_media(self, type_id: int, timestamp_ms: int, body: bytes | bytearray) -> None:
        if not self.publishing:
            raise LocalProtocolError("media before the server accepted the publication")
        csid = _MEDIA_CSIDS[MessageType(type_id)]
        self._out.append(self._writer.write(csid, Message(type_id, timestamp_ms, bytearray(body), self._stream_id)))

    def unpublish(self) -> None:
        self._send_command("FCUnpublish", 6, None, self._publish_name)
        self._send_command("deleteStream", 7, None, float(self._stream_id))
        self.publishing = False

    def _shake_hands(self, data: memoryview | bytes) -> bytes:
        """Returns what follows the handshake, if that is through."""
        self._answer += data
        if len(self._answer) < _ANSWER_BYTES:
            return b""
        if self._answer[0] != handshake.VERSION:
            raise RemoteProtocolError(f"the server answers with version {self._answer[0]}")
        s1 = bytes(self._answer[1 : 1 + handshake.PACKET_BYTES])
        rest, self._shaking_hands = bytes(self._answer[_ANSWER_BYTES:]), False
        self._out += [s1, self._writer.set_chunk_size(self._chunk_size)]
        fields = {"app": self._app, "type": "nonprivate", "flashVer": "FMLE/3.0", "tcUrl": self._tc_url}
        self._send_command("connect", _CONNECT, fields)
        return rest

    def _acknowledge(self, received_bytes: int) -> None:
        self._received_bytes += received_bytes
        self._unacknowledged_bytes += received_bytes
        if self._window_bytes and self._unacknowledged_bytes >= self._window_bytes:
            self._unacknowledged_bytes = 0
            self._out.append(self._writer.write(CONTROL_CSID, message.acknowledgement(self._received_bytes)))

    def _take_message(self, one: Message, events: list[PublishStarted | Refused]) -> None:
        if one.type_id == MessageType.COMMAND:
            self._take_command(one, events)
        elif one.type_id == MessageType.WINDOW_ACKNOWLEDGEMENT_SIZE:
            self._window_bytes = message.parse_uint32(one)
        elif one.type_id == MessageType.USER_CONTROL:
            kind, value = message.parse_user_control(one)
            if kind == UserControl.PING_REQUEST:
                pong = message.user_control(UserControl.PING_RESPONSE, value)
                self._out.append(self._writer.write(CONTROL_CSID, pong))

    def _take_command(self, one: Message, events: list[PublishStarted | Refused]) -> None:
        try:
            command = message.parse_command(one)
        except AmfError as error:
            raise RemoteProtocolError(f"command: {error}") from error
        match command.name, command.transaction_id:
            case "_result", 1.0:
                self._ask_for_stream()
            case "_result", 4.0:
                self._publish(command)
            case "onStatus" | "_error", _:
                self._take_status(command, events)

    def _ask_for_stream(self) -> None:
        self._send_command("releaseStream", _RELEASE_STREAM, None, self._publish_name)
        self._send_command("FCPublish", _FC_PUBLISH, None, self._publish_name)
        self._send_command("createStream", _CREATE_STREAM, None)

    def _publish(self, created: message.Command) -> None:
        self._stream_id = int(created.arguments[0]) if created.arguments else 1
        self._send_command("publish", _PUBLISH, None, self._publish_name, "live", stream_id=self._stream_id)

    def _take_status(self, command: message.Command, events: list[PublishStarted | Refused]) -> None:
        info = command.arguments[0] if command.arguments and isinstance(command.arguments[0], dict) else {}
        code, description = str(info.get("code", "")), str(info.get("description", ""))
        if code == "NetStream.Publish.Start":
            self.publishing = True
            events.append(PublishStarted())
        elif command.name == "_error" or info.get("level") == "error":
            self.publishing = False
            events.append(Refused(code, description))

    def _send_command(self, name: str, transaction_id: int, *values: Any, stream_id: int = 0) -> None:
        command = message.command(name, transaction_id, *values, stream_id=stream_id)
        self._out.append(self._writer.write(_COMMAND_CSID, command))
