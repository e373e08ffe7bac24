"""The server's end of one RTMP connection, without IO: bytes in, events out (Adobe RTMP 1.0, 5.2 and 7.2).

Its life is a line with few turns. The peer shakes hands (C0 and C1, then C2) and sends `connect`; from then
on commands are answered in any order. `publish` suspends the connection: its owner has to ask somebody
whether this key may go on the air, so nothing more is parsed until `accept_publish` or `reject_publish`;
bytes that arrive meanwhile are kept, up to a limit. Accepted, it yields media until the publisher takes leave
or the owner ends the publication with `fail_publish`. ENDED is final: whatever is still in `data_to_send` is
to be sent, then the owner closes.

A protocol error from any state leads to ENDED, after a last onStatus if the peer had come far enough to read
one.

Between two calls a connection is plain data: it can be pickled and go on in another process.
"""

import os
from collections.abc import Callable
from enum import Enum, auto
from typing import Any, Final, NoReturn

from ingest.rtmp import address, handshake, message
from ingest.rtmp.chunk import CONTROL_CSID, ChunkReader, ChunkWriter
from ingest.rtmp.errors import AmfError, LocalProtocolError, RemoteProtocolError
from ingest.rtmp.events import Connected, Event, PlayRequested, PublishEnded, PublishRequested
from ingest.rtmp.message import Command, Message, MessageType, UserControl

OFFERED_CHUNK_SIZE = 65536  # ffmpeg adopts it, which spares both sides most of the headers
WINDOW_BYTES = 2_500_000
MAX_EARLY_BYTES = 1 << 20  # sent without waiting for the answer to `publish`
MAX_SETUP_BYTES = 1 << 17  # from C0 to `publish`: pings and commands cost us more than whoever sends them
_COMMAND_CSID = 3
_MEDIA_TYPES = frozenset({int(MessageType.AUDIO), int(MessageType.VIDEO)})  # plain: asked for every message
_DATA_TYPES = frozenset({int(MessageType.DATA), int(MessageType.DATA_AMF3)})
_COMMAND_TYPES = frozenset({int(MessageType.COMMAND), int(MessageType.COMMAND_AMF3)})
_NO_PLAY = "Mbashara does not play over RTMP. Watch on the channel's page, or with HLS."


class State(Enum):
    AWAIT_C1 = auto()
    AWAIT_C2 = auto()
    AWAIT_CONNECT = auto()
    CONNECTED = auto()
    ADMITTING = auto()
    PUBLISHING = auto()
    ENDED = auto()


class Step(Enum):
    """What moves a connection from one state to the next."""

    C1 = auto()
    C2 = auto()
    CONNECT = auto()
    PUBLISH = auto()
    PLAY = auto()
    ACCEPT = auto()  # ours
    REJECT = auto()  # ours
    LEAVE = auto()
    FAIL = auto()  # ours, or the peer's protocol error


TRANSITIONS: Final[dict[State, dict[Step, State]]] = {
    State.AWAIT_C1: {Step.C1: State.AWAIT_C2, Step.FAIL: State.ENDED},
    State.AWAIT_C2: {Step.C2: State.AWAIT_CONNECT, Step.FAIL: State.ENDED},
    State.AWAIT_CONNECT: {Step.CONNECT: State.CONNECTED, Step.FAIL: State.ENDED},
    State.CONNECTED: {Step.PUBLISH: State.ADMITTING, Step.PLAY: State.ENDED, Step.FAIL: State.ENDED},
    State.ADMITTING: {Step.ACCEPT: State.PUBLISHING, Step.REJECT: State.ENDED, Step.FAIL: State.ENDED},
    State.PUBLISHING: {Step.LEAVE: State.ENDED, Step.FAIL: State.ENDED},
    State.ENDED: {},
}

# What every read asks for: Python 3.11 finds an enum's member by calling a descriptor.
_ADMITTING, _PUBLISHING, _ENDED = State.ADMITTING, State.PUBLISHING, State.ENDED


class Connection:
    def __init__(
        self,
        *,
        max_message_bytes: int = 8 << 20,
        max_buffered_bytes: int = 16 << 20,
        max_chunk_streams: int = 64,
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self.state = State.AWAIT_C1
        self.app = ""
        self.tc_url = ""
        self.flash_ver = ""
        self._random_bytes = random_bytes
        self._reader = ChunkReader(
            max_message_bytes=max_message_bytes,
            max_buffered_bytes=max_buffered_bytes,
            max_chunk_streams=max_chunk_streams,
        )
        self._writer = ChunkWriter()
        self._out: list[bytes] = []
        self._unread = bytearray()  # a handshake packet that is not whole, or what came while ADMITTING
        self._held: list[Message] = []  # messages after `publish` in the same bytes
        self._held_fault: RemoteProtocolError | None = None  # and what was wrong after those
        self._last_stream_id = 0
        self._publish_stream_id = 0
        self._received_bytes = 0
        self._unacknowledged_bytes = 0
        self._window_bytes = WINDOW_BYTES

    # What the owner calls.

    def receive_data(self, data: memoryview | bytes) -> list[Event]:
        """Takes all of `data`. Raises RemoteProtocolError, whose `before` holds the events that came first.

        After accept_publish call it once with b"" to get what was held back.
        """
        events: list[Event] = []
        if self.state is _ENDED:
            return events
        try:
            if self.state is _ADMITTING:
                self._keep_early(data)
            else:
                self._receive(data, events)
        except RemoteProtocolError as error:
            error.before = list(events)
            self._end_with_status(Step.FAIL, "NetStream.Failed", str(error))
            raise
        return events

    def data_to_send(self) -> bytes:
        """What is to be sent now; hands it out once."""
        if not self._out:
            return b""
        data = b"".join(self._out)
        self._out.clear()
        return data

    def accept_publish(self) -> None:
        self._move(Step.ACCEPT)
        self._send_control(message.user_control(UserControl.STREAM_BEGIN, self._publish_stream_id))
        self._send_status("status", "NetStream.Publish.Start", "On the air.")

    def reject_publish(self, code: str, description: str) -> None:
        """`description` is what OBS and ffmpeg show to the person at the encoder."""
        self._end_with_status(Step.REJECT, code, description)

    def fail_publish(self, description: str) -> None:
        """Ends the publication from our side; the encoder is told why."""
        self._end_with_status(Step.FAIL, "NetStream.Failed", description)

    # Bytes to messages.

    def _receive(self, data: memoryview | bytes, events: list[Event]) -> None:
        if self.state is not _PUBLISHING and self.state in (State.AWAIT_C1, State.AWAIT_C2):
            data = self._shake_hands(data)
        elif self._unread:
            data, self._unread = bytes(self._unread) + data, bytearray()
        messages, fault = self._held, self._held_fault
        if messages or fault:
            self._held, self._held_fault = [], None
        self._count(len(data))
        if fault is None:
            try:
                messages = messages + self._reader.feed(data)
            except RemoteProtocolError as error:
                messages, fault = messages + error.before, error  # type: ignore[operator]
        self._take_messages(messages, events)
        if fault is None or self.state is _ENDED:
            return
        if self.state is not _ADMITTING:
            raise fault
        self._held_fault = fault

    def _keep_early(self, data: memoryview | bytes) -> None:
        self._unread += data
        if len(self._unread) > MAX_EARLY_BYTES:
            raise RemoteProtocolError("media sent without waiting for the answer to publish")

    def _shake_hands(self, data: memoryview | bytes) -> bytes:
        """Returns what follows the handshake, if that is through."""
        self._unread += data
        if self.state is State.AWAIT_C1:
            if self._unread:
                handshake.check_version(self._unread[0])
            if len(self._unread) < 1 + handshake.PACKET_BYTES:
                return b""
            c1 = bytes(self._unread[1 : 1 + handshake.PACKET_BYTES])
            del self._unread[: 1 + handshake.PACKET_BYTES]
            self._out.append(handshake.answer(c1, self._random_bytes))
            self._move(Step.C1)
        if len(self._unread) < handshake.PACKET_BYTES:
            return b""
        # C2 should echo S1; plenty of encoders send something else, so nobody checks.
        rest, self._unread = bytes(self._unread[handshake.PACKET_BYTES :]), bytearray()
        self._move(Step.C2)
        return rest

    def _count(self, received_bytes: int) -> None:
        self._received_bytes += received_bytes
        if self.state is not _PUBLISHING and self._received_bytes > MAX_SETUP_BYTES:
            raise RemoteProtocolError(f"did not publish within {MAX_SETUP_BYTES} bytes")
        self._unacknowledged_bytes += received_bytes
        if self._unacknowledged_bytes >= self._window_bytes:
            self._unacknowledged_bytes = 0
            self._send_control(message.acknowledgement(self._received_bytes))

    # Messages to events.

    def _take_messages(self, messages: list[Message], events: list[Event]) -> None:
        is_publishing = self.state is _PUBLISHING
        for index, one in enumerate(messages):
            if one[0] in _MEDIA_TYPES:
                if is_publishing and one[2]:
                    events.append(one)
                continue
            self._take_message(one, events)
            is_publishing = self.state is _PUBLISHING
            if self.state is _ADMITTING:
                self._held = messages[index + 1 :]
                return
            if self.state is _ENDED:
                return

    def _take_message(self, one: Message, events: list[Event]) -> None:
        """Shared objects, acknowledgements and types nobody knows are passed over, as in the whole field."""
        if one.type_id in _COMMAND_TYPES:
            self._take_command(one, events)
        elif one.type_id in _DATA_TYPES:
            if self.state is _PUBLISHING:
                events.append(message.plain_data(one))
        elif one.type_id == MessageType.AGGREGATE:
            # An aggregate in an aggregate is nothing anybody sends, except to make us recurse.
            tags = [tag for tag in message.split_aggregate(one) if tag.type_id in _MEDIA_TYPES | _DATA_TYPES]
            self._take_messages(tags, events)
        elif one.type_id == MessageType.USER_CONTROL:
            kind, value = message.parse_user_control(one)
            if kind == UserControl.PING_REQUEST:
                self._send_control(message.user_control(UserControl.PING_RESPONSE, value))
        elif one.type_id == MessageType.WINDOW_ACKNOWLEDGEMENT_SIZE:
            self._window_bytes = message.parse_uint32(one) or WINDOW_BYTES
        elif one.type_id == MessageType.SET_PEER_BANDWIDTH:
            self._send_control(message.window_acknowledgement_size(WINDOW_BYTES))

    def _take_command(self, one: Message, events: list[Event]) -> None:
        try:
            command = message.parse_command(one)
        except AmfError as error:
            raise RemoteProtocolError(f"command: {error}") from error
        if self.state is State.AWAIT_CONNECT and command.name != "connect":
            raise RemoteProtocolError("a command before connect")
        match command.name:
            case "connect":
                self._connect(command, events)
            case "releaseStream":
                self._send_result(command, None, None)
            case "FCPublish":
                self._send_result(command, None, None)
                self._send_fc_publish(command)
            case "createStream":
                self._last_stream_id += 1
                self._send_result(command, None, self._last_stream_id)
            case "publish":
                self._publish(command, one.stream_id, events)
            case "play" | "play2":
                self._play(one.stream_id, events)
            case "FCUnpublish" | "deleteStream" | "closeStream":
                self._leave(command, events)
            # _checkbw, getStreamLength and whatever else an encoder tries: nginx-rtmp and MediaMTX keep
            # silent, and an _error would make ffmpeg hang up.

    def _connect(self, command: Command, events: list[Event]) -> None:
        self._move(Step.CONNECT)
        fields = {name.lower(): value for name, value in command.properties.items() if isinstance(value, str)}
        self.app = fields.get("app", "")
        self.tc_url = fields.get("tcurl", "")
        self.flash_ver = fields.get("flashver", "")[:100]
        self._send_control(message.window_acknowledgement_size(WINDOW_BYTES))
        self._send_control(message.set_peer_bandwidth(WINDOW_BYTES))
        self._out.append(self._writer.set_chunk_size(OFFERED_CHUNK_SIZE))
        info = _info("status", "NetConnection.Connect.Success", "Connection succeeded.")
        self._send_result(command, {"fmsVer": "FMS/3,0,1,123", "capabilities": 31.0}, info | {"objectEncoding": 0.0})
        events.append(Connected(self.app, self.flash_ver))

    def _publish(self, command: Command, stream_id: int, events: list[Event]) -> None:
        if self.state is State.PUBLISHING:
            raise RemoteProtocolError("a second publish on one connection")
        app, key = address.stream_address(self.app, self.tc_url, command.text(0))
        self._publish_stream_id = stream_id
        self._move(Step.PUBLISH)
        if key:
            events.append(PublishRequested(key, app, self.tc_url, self.flash_ver))
        else:
            self.reject_publish("NetStream.Publish.BadName", "No stream key: publish to rtmp://HOST/live/KEY")

    def _play(self, stream_id: int, events: list[Event]) -> None:
        if self.state is State.PUBLISHING:
            raise RemoteProtocolError("play on a publisher's connection")
        self._publish_stream_id = stream_id
        self._end_with_status(Step.PLAY, "NetStream.Play.Failed", _NO_PLAY)
        events.append(PlayRequested())

    def _leave(self, command: Command, events: list[Event]) -> None:
        # Before publish these are the manners of encoders that clean up a stream they may have left behind.
        if self.state is not State.PUBLISHING:
            return
        self._send_status("status", "NetStream.Unpublish.Success", "Off the air.")
        self._move(Step.LEAVE)
        events.append(PublishEnded(command.name))

    # What we say.

    def _send_fc_publish(self, command: Command) -> None:
        # Livestream Studio and some appliances wait for this, with their own transaction id in it.
        info = _info("status", "NetStream.Publish.Start", "FCPublish")
        self._send_command(message.command("onFCPublish", command.transaction_id, None, info))

    def _send_result(self, command: Command, properties: Any, information: Any) -> None:
        self._send_command(message.command("_result", command.transaction_id, properties, information))

    def _send_status(self, level: str, code: str, description: str) -> None:
        info = _info(level, code, description)
        self._send_command(message.command("onStatus", 0, None, info, stream_id=self._publish_stream_id))

    def _send_command(self, command: Message) -> None:
        self._out.append(self._writer.write(_COMMAND_CSID, command))

    def _send_control(self, control: Message) -> None:
        self._out.append(self._writer.write(CONTROL_CSID, control))

    def _end_with_status(self, step: Step, code: str, description: str) -> None:
        reads_chunks = self.state not in (State.AWAIT_C1, State.AWAIT_C2)
        self._move(step)
        if reads_chunks:
            self._send_status("error", code, description)

    def _move(self, step: Step) -> None:
        target = TRANSITIONS[self.state].get(step)
        if target is None:
            self._refuse(step)
        self.state = target

    def _refuse(self, step: Step) -> NoReturn:
        wrong = f"{step.name} in state {self.state.name}"
        raise LocalProtocolError(wrong) if step in _OURS else RemoteProtocolError(wrong)


_OURS = frozenset({Step.ACCEPT, Step.REJECT, Step.FAIL})


def _info(level: str, code: str, description: str) -> dict[str, Any]:
    return {"level": level, "code": code, "description": description}
