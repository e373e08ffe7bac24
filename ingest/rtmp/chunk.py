"""RTMP chunk streams: bytes to messages and messages to bytes (Adobe RTMP 1.0, section 5.3).

The reader is the hottest Python in the house, so it is written for the loop that runs once per chunk:

- payload goes from the caller's buffer to the message in one copy, and a message grows only as its bytes
  arrive, so a length that lies takes no memory;
- only a header that was cut short is kept between two feeds (18 bytes at most);
- a message that is all there, which is nearly every one, is taken at once by `_take_whole`: its chunks differ only
  in their one-byte headers, which sit at a fixed stride, so one slice copies the run and one deletes those bytes;
- `_take_run` does the same for a message that arrives in pieces;
- looking up a member of an enum costs as much as the branch it decides, so here they are module constants.
"""

import struct

from ingest.rtmp.errors import RemoteProtocolError
from ingest.rtmp.message import UINT32, Message, MessageType, set_chunk_size

MiB = 1024 * 1024
DEFAULT_CHUNK_SIZE = 128
CONTROL_CSID = 2
_HEADER_BYTES = (11, 7, 3, 0)  # by fmt, after the basic header
_EXTENDED = 0xFFFFFF
_HALF_RANGE = 1 << 31
_BE32 = struct.Struct(">I").unpack_from
_LE32 = struct.Struct("<I").unpack_from
_CUT_SHORT = -1
_new_tuple = tuple.__new__  # a named tuple's own constructor is a Python function
_NO_BODY = bytearray()  # between two messages; nothing is ever added to it
_ABORT = int(MessageType.ABORT)
_PLAIN_MEDIA = frozenset({int(MessageType.AUDIO), int(MessageType.VIDEO)})
_MOVES_CLOCK = frozenset({int(MessageType.AUDIO), int(MessageType.VIDEO), int(MessageType.AGGREGATE)})


class _ChunkStream:
    """What a chunk stream's next header may leave out, and the message that is being received on it."""

    __slots__ = (
        "body",
        "continuation",
        "delta_ms",
        "extended",
        "length",
        "stream_id",
        "timestamp_ms",
        "type_id",
        "unfinished",
    )

    def __init__(self, csid: int) -> None:
        self.continuation = _basic_header(3, csid)
        self.timestamp_ms = 0  # modulo 2^32, as on the wire
        self.delta_ms = 0
        self.extended = b""  # the last header's extended timestamp as on the wire; empty when it had none
        self.length = 0
        self.type_id = 0
        self.stream_id = 0
        self.unfinished = False
        self.body = _NO_BODY


class ChunkReader:
    """Turns bytes into messages. Set Chunk Size and Abort are obeyed here; every other message is handed out.

    Timestamps come out unwrapped: 32-bit serial arithmetic against the last audio or video message of the
    connection, whatever its chunk stream, so that audio and video stay together, the wrap after 49 days is a
    step forward and an encoder's jump back stays a jump back.
    """

    def __init__(
        self,
        *,
        max_message_bytes: int = 8 * MiB,
        max_buffered_bytes: int = 16 * MiB,
        max_chunk_streams: int = 64,
    ) -> None:
        """`max_buffered_bytes` counts the declared lengths of all unfinished messages together."""
        self._max_message_bytes = max_message_bytes
        self._max_buffered_bytes = max_buffered_bytes
        self._max_chunk_streams = max_chunk_streams
        self._streams: dict[int, _ChunkStream] = {}
        self._chunk_size = DEFAULT_CHUNK_SIZE
        self._cut_header = b""
        self._current = _ChunkStream(CONTROL_CSID)  # the stream of the chunk being received
        self._chunk_left = 0  # payload bytes of that chunk still to come
        self._buffered_bytes = 0
        self._media_ms: int | None = None
        self.messages_dropped = 0  # by Abort, or by a new header inside an unfinished message

    def feed(self, data: memoryview | bytes) -> list[Message]:
        """Takes all of `data` and keeps no reference to it. Raises RemoteProtocolError (see its `before`)."""
        messages: list[Message] = []
        try:
            self._consume(data, messages)
        except RemoteProtocolError as error:
            error.before = list(messages)
            raise
        return messages

    def _consume(self, data: memoryview | bytes, messages: list[Message]) -> None:
        if self._cut_header:
            data = self._cut_header + data
            self._cut_header = b""
        stream, body = self._current, self._current.body
        left, chunk_size = self._chunk_left, self._chunk_size
        at, end = 0, len(data)
        while at < end:
            if not left:
                whole = self._take_whole(data, at, end, messages)
                if whole > at:
                    at = whole
                    continue
                header = at
                at = self._read_header(data, header, end)
                if at == _CUT_SHORT:
                    self._cut_header = bytes(data[header:])
                    break
                stream = self._current
                body = stream.body
                left = min(chunk_size, stream.length - len(body))
            stop = at + left
            if stop < end and stream.length - len(body) > left and not stream.extended:
                at, left = self._take_run(stream, body, left, data, at, end)
            else:
                body += data[at:stop]  # a slice ends where the data do
                at, left = min(stop, end), max(stop - end, 0)
            if len(body) == stream.length:
                self._finish_message(stream, body, messages)
                chunk_size = self._chunk_size
        self._chunk_left = left

    def _take_whole(self, data: memoryview | bytes, at: int, end: int, messages: list[Message]) -> int:
        """Takes the media message that begins at `at` if it is all there, uninterrupted and without extended
        timestamps, and returns its end; else returns `at` and has changed nothing."""
        first = data[at]
        stream = self._streams.get(first & 0x3F)
        if stream is None or stream.unfinished or stream.extended or at + 12 > end:
            return at
        fmt = first >> 6
        length, type_id, delta_ms = stream.length, stream.type_id, stream.delta_ms
        if fmt < 3:
            delta_ms = _BE32(data, at)[0] & _EXTENDED
            if fmt < 2:
                length = _BE32(data, at + 4)[0]
                length, type_id = length >> 8, length & 0xFF
        size = self._chunk_size
        start = at + 1 + _HEADER_BYTES[fmt]
        joints = (length - 1) // size
        stop = start + length + joints
        if stop > end or type_id not in _PLAIN_MEDIA or delta_ms == _EXTENDED or not self._has_room(length):
            return at
        body = bytearray(data[start:stop])
        if joints:
            if body[size :: size + 1] != stream.continuation * joints:
                return at
            del body[size :: size + 1]
        if fmt == 0:
            stream.stream_id = _LE32(data, at + 8)[0]
            stream.timestamp_ms = 0
        stream.length, stream.type_id, stream.delta_ms = length, type_id, delta_ms
        stream.timestamp_ms = timestamp_ms = (stream.timestamp_ms + delta_ms) & UINT32
        reference_ms = self._media_ms
        if reference_ms is not None:
            step_ms = (timestamp_ms - reference_ms) & UINT32
            timestamp_ms = reference_ms + (step_ms if step_ms < _HALF_RANGE else step_ms - UINT32 - 1)
        self._media_ms = timestamp_ms
        messages.append(_new_tuple(Message, (type_id, timestamp_ms, body, stream.stream_id)))
        return stop

    def _has_room(self, length: int) -> bool:
        return 0 < length <= self._max_message_bytes and self._buffered_bytes + length <= self._max_buffered_bytes

    def _take_run(
        self, stream: _ChunkStream, body: bytearray, left: int, data: memoryview | bytes, at: int, end: int
    ) -> tuple[int, int]:
        """Takes what is left of a chunk and the chunks of the same message that follow it at once.

        Returns where they end, and what is then left of the last of them.
        """
        size, wanted, first = self._chunk_size, stream.length - len(body), len(body) + left
        next_header = at + left
        if len(stream.continuation) > 1:
            body += data[at:next_header]
            return next_header, 0
        stop = min(end, at + wanted + (wanted - left + size - 1) // size)
        headers = bytes(data[next_header : stop : size + 1])
        others = len(headers.lstrip(stream.continuation))  # from the first chunk of another stream on
        count = len(headers) - others
        if others:
            stop = next_header + count * (size + 1)
        body += data[at:stop]
        del body[first :: size + 1]
        if not count:
            return stop, 0
        taken = stop - next_header - (count - 1) * (size + 1) - 1  # of the last chunk
        return stop, min(size - taken, stream.length - len(body))

    def _read_header(self, data: memoryview | bytes, at: int, end: int) -> int:
        """Reads the chunk header at `at` into its chunk stream; returns where it ends, or _CUT_SHORT."""
        first = data[at]
        csid = first & 0x3F
        fields = at + 1
        if csid < 2:  # 0: one more byte; 1: two more, the low one first
            fields += 1 + csid
            if fields > end:
                return _CUT_SHORT
            csid = 64 + data[at + 1] + (data[at + 2] << 8 if csid else 0)
        stream = self._streams.get(csid)
        if first >= 0xC0:
            return self._read_type_3(csid, stream, data, fields, end)
        fmt = first >> 6
        stop = fields + _HEADER_BYTES[fmt]
        if stop > end:
            return _CUT_SHORT
        stamp_ms: int = _BE32(data, fields - 1)[0] & _EXTENDED
        extended = b""
        if stamp_ms == _EXTENDED:
            extended = bytes(data[stop : stop + 4])
            stop += 4
            if stop > end:
                return _CUT_SHORT
            stamp_ms = int.from_bytes(extended, "big")
        if stream is None:
            stream = self._open_stream(csid, fmt)
        elif stream.unfinished:
            self._drop_message(stream)
        if fmt < 2:
            length_and_type = _BE32(data, fields + 3)[0]
            stream.length = length_and_type >> 8
            stream.type_id = length_and_type & 0xFF
        if fmt == 0:
            stream.stream_id = _LE32(data, fields + 7)[0]
            stream.timestamp_ms = 0
        stream.delta_ms = stamp_ms  # a type 3 that starts a message repeats it, even after type 0 (5.3.1.2.4)
        stream.extended = extended
        self._start_message(stream)
        return stop

    def _read_type_3(self, csid: int, stream: _ChunkStream | None, data: memoryview | bytes, at: int, end: int) -> int:
        if stream is None:
            raise RemoteProtocolError(f"chunk stream {csid} starts with a type 3 header")
        if stream.extended:
            # The specification repeats the extended timestamp here; older librtmp, OBS and appliances do not.
            # Where four bytes equal it they are it, else they are payload, as in SRS.
            peeked = bytes(data[at : at + 4])
            if peeked == stream.extended:
                at += 4
            elif stream.extended.startswith(peeked):
                return _CUT_SHORT
        if not stream.unfinished:
            self._start_message(stream)
        self._current = stream
        return at

    def _open_stream(self, csid: int, fmt: int) -> _ChunkStream:
        # librtmp sends its first ping on chunk stream 2 with a type 1 header; a type 2 says no length, so
        # cannot be.
        if fmt == 2:
            raise RemoteProtocolError(f"chunk stream {csid} starts with a type 2 header")
        if len(self._streams) >= self._max_chunk_streams:
            raise RemoteProtocolError(f"more than {self._max_chunk_streams} chunk streams")
        self._streams[csid] = stream = _ChunkStream(csid)
        return stream

    def _start_message(self, stream: _ChunkStream) -> None:
        if stream.length > self._max_message_bytes:
            raise RemoteProtocolError(f"message of {stream.length} bytes; the limit is {self._max_message_bytes}")
        self._buffered_bytes += stream.length
        if self._buffered_bytes > self._max_buffered_bytes:
            raise RemoteProtocolError(f"unfinished messages of more than {self._max_buffered_bytes} bytes")
        stream.timestamp_ms = (stream.timestamp_ms + stream.delta_ms) & UINT32
        stream.unfinished = True
        stream.body = bytearray()
        self._current = stream

    def _drop_message(self, stream: _ChunkStream) -> None:
        self._buffered_bytes -= stream.length
        self.messages_dropped += 1
        stream.unfinished = False
        stream.body = _NO_BODY

    def _finish_message(self, stream: _ChunkStream, body: bytearray, messages: list[Message]) -> None:
        stream.unfinished = False
        stream.body = _NO_BODY  # or 64 chunk streams would keep 64 whole messages alive
        self._buffered_bytes -= stream.length
        type_id = stream.type_id
        if type_id > _ABORT:
            timestamp_ms = self._unwrap(stream.timestamp_ms, type_id)
            messages.append(Message(type_id, timestamp_ms, body, stream.stream_id))
        elif type_id:
            self._obey(type_id, body)

    def _unwrap(self, timestamp_ms: int, type_id: int) -> int:
        reference_ms = self._media_ms
        if reference_ms is not None:
            step_ms = (timestamp_ms - reference_ms) & UINT32
            timestamp_ms = reference_ms + (step_ms if step_ms < _HALF_RANGE else step_ms - UINT32 - 1)
        # Commands and metadata carry a timestamp of 0 at any hour, so they never move the reference.
        if type_id in _MOVES_CLOCK:
            self._media_ms = timestamp_ms
        return timestamp_ms

    def _obey(self, type_id: int, body: bytearray) -> None:
        if len(body) < 4:
            raise RemoteProtocolError(f"message of type {type_id} has {len(body)} bytes, not 4")
        value: int = _BE32(body)[0]
        if type_id == _ABORT:
            aborted = self._streams.get(value)
            if aborted is not None and aborted.unfinished:
                self._drop_message(aborted)
            return
        self._chunk_size = value & 0x7FFFFFFF  # the top bit must be zero; the field ignores it
        if not self._chunk_size:
            raise RemoteProtocolError("chunk size of 0")


class _Sent:
    """The last header sent on a chunk stream, which the next one may build on."""

    __slots__ = ("delta_ms", "length", "stream_id", "timestamp_ms", "type_id")

    def __init__(self, message: Message, delta_ms: int) -> None:
        self.timestamp_ms = message.timestamp_ms & UINT32
        self.delta_ms = delta_ms
        self.length = len(message.body)
        self.type_id = message.type_id
        self.stream_id = message.stream_id


class ChunkWriter:
    """Turns messages into bytes, with the shortest header that is legal."""

    def __init__(self, *, repeat_extended: bool = True) -> None:
        """`repeat_extended` False leaves out the extended timestamp of type 3 chunks, as old encoders do."""
        self._chunk_size = DEFAULT_CHUNK_SIZE
        self._repeat_extended = repeat_extended
        self._sent: dict[int, _Sent] = {}

    def set_chunk_size(self, size_bytes: int) -> bytes:
        """The announcement as bytes; what is written after it is cut by the new size."""
        announcement = self.write(CONTROL_CSID, set_chunk_size(size_bytes))
        self._chunk_size = size_bytes
        return announcement

    def write(self, csid: int, message: Message, fmt: int | None = None) -> bytes:
        """`fmt` forces a longer header than needed, as tests do; a shorter one is the caller's mistake."""
        last = self._sent.get(csid)
        if fmt is None:
            fmt = _shortest_fmt(last, message)
        if last is None or fmt == 0:
            stamp_ms = message.timestamp_ms & UINT32
        else:
            stamp_ms = (message.timestamp_ms - last.timestamp_ms) & UINT32
        self._sent[csid] = _Sent(message, stamp_ms)
        extended = stamp_ms.to_bytes(4, "big") if stamp_ms >= _EXTENDED else b""
        header = _basic_header(fmt, csid) + _message_header(fmt, message, min(stamp_ms, _EXTENDED)) + extended
        return self._cut(message.body, header, _basic_header(3, csid) + (extended if self._repeat_extended else b""))

    def _cut(self, body: bytearray | bytes, first: bytes, following: bytes) -> bytes:
        size = self._chunk_size
        if len(body) <= size:
            return first + body
        pieces = memoryview(body)
        return first + following.join([pieces[at : at + size] for at in range(0, len(body), size)])


def _shortest_fmt(last: _Sent | None, message: Message) -> int:
    if last is None or message.stream_id != last.stream_id:
        return 0
    step_ms = (message.timestamp_ms - last.timestamp_ms) & UINT32
    if step_ms >= _HALF_RANGE:
        return 0
    if message.type_id != last.type_id or len(message.body) != last.length:
        return 1
    return 3 if step_ms == last.delta_ms else 2


def _basic_header(fmt: int, csid: int) -> bytes:
    if csid < 64:
        return bytes([fmt << 6 | csid])
    if csid < 320:
        return bytes([fmt << 6, csid - 64])
    return bytes([fmt << 6 | 1, (csid - 64) & 0xFF, (csid - 64) >> 8])


def _message_header(fmt: int, message: Message, stamp_ms: int) -> bytes:
    header = stamp_ms.to_bytes(3, "big") + len(message.body).to_bytes(3, "big") + bytes([message.type_id])
    return (header + message.stream_id.to_bytes(4, "little"))[: _HEADER_BYTES[fmt]]
