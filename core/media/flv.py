"""FLV (Adobe FLV 10.1, annex E): message bodies to packets and tracks; the tag stream of ffmpeg's pipes."""

import struct
from collections.abc import Iterator

from core.media import codecs
from core.media.packet import AudioTrack, Kind, MediaError, Packet, Track, VideoTrack

FILE_HEADER = b"FLV\x01\x05\x00\x00\x00\x09\x00\x00\x00\x00"
AUDIO, VIDEO, SCRIPT = 8, 9, 18
AVC, AAC = 7, 10
MAX_TAG_BYTES = 8 << 20
_TAG_HEADER_BYTES = 11


def file_header(*kinds: Kind) -> bytes:
    """Of a file that has these alone, with the first PreviousTagSize (E.2, E.3)."""
    flags = sum({Kind.AUDIO: 4, Kind.VIDEO: 1}[kind] for kind in kinds)
    return FILE_HEADER[:4] + bytes([flags]) + FILE_HEADER[5:]


def read_video(body: bytes | bytearray, timestamp_ms: int) -> Packet | VideoTrack | None:
    """One video message (E.4.3): a track from a sequence header, a packet from coded frames, None from what carries
    no picture: empty tags, end of sequence, command frames and codecs that we don't take (DJI sends such tags)."""
    if len(body) < 5 or body[0] & 0x8F != AVC or body[0] >> 4 > 3:
        return None
    packet_type = body[1]
    if packet_type == 1 and len(body) > 9:
        cts_ms = ((body[2] << 16 | body[3] << 8 | body[4]) ^ 0x800000) - 0x800000
        return Packet(Kind.VIDEO, timestamp_ms, cts_ms, body[0] >> 4 == 1, memoryview(body)[5:])
    return codecs.video_track(bytes(body[5:])) if packet_type == 0 else None


def read_audio(body: bytes | bytearray, timestamp_ms: int) -> Packet | AudioTrack | None:
    """One audio message (E.4.2); None for other codecs than AAC and for empty tags."""
    if len(body) < 3 or body[0] >> 4 != AAC:
        return None
    if body[1]:
        return Packet(Kind.AUDIO, timestamp_ms, 0, True, memoryview(body)[2:])
    return codecs.audio_track(bytes(body[2:]))


def write_tag(item: Packet | Track, timestamp_ms: int) -> list[bytes | bytearray | memoryview]:
    """One tag with its trailing size, as buffers for writelines. `timestamp_ms` is taken modulo 2^32."""
    if isinstance(item, Packet):
        is_video = item.kind is Kind.VIDEO
        prefix = _video_prefix(item) if is_video else b"\xaf\x01"
        payload = item.payload
    else:
        is_video = isinstance(item, VideoTrack)
        prefix = b"\x17\x00\x00\x00\x00" if is_video else b"\xaf\x00"
        payload = item.config
    size = len(prefix) + len(payload)
    stamp = timestamp_ms & 0xFFFFFFFF
    header = struct.pack(
        ">IIHB", (VIDEO if is_video else AUDIO) << 24 | size, (stamp & 0xFFFFFF) << 8 | stamp >> 24, 0, 0
    )
    return [header, prefix, payload, (size + _TAG_HEADER_BYTES).to_bytes(4, "big")]


def _video_prefix(packet: Packet) -> bytes:
    frame = 0x17 if packet.is_key else 0x27
    return bytes((frame, 1)) + (packet.cts_ms & 0xFFFFFF).to_bytes(3, "big")


class TagReader:
    """Reads a growing FLV byte stream, as ffmpeg writes one to a pipe, into packets and tracks."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._past_header = False

    def feed(self, data: bytes) -> Iterator[Packet | Track]:
        """Takes the next bytes and yields what they complete. Raises MediaError where they are no FLV."""
        buffer = self._buffer
        buffer += data
        position = 0
        if not self._past_header:
            if len(buffer) < len(FILE_HEADER):
                return
            if buffer[:3] != b"FLV":
                raise MediaError("not an FLV stream")
            self._past_header, position = True, int.from_bytes(buffer[5:9], "big") + 4
        items: list[Packet | Track] = []
        while len(buffer) - position >= _TAG_HEADER_BYTES:
            size = int.from_bytes(buffer[position + 1 : position + 4], "big")
            if size > MAX_TAG_BYTES:
                raise MediaError(f"FLV tag of {size} bytes")
            end = position + _TAG_HEADER_BYTES + size
            if len(buffer) < end + 4:
                break
            item = self._read_tag(buffer, position, end)
            if item is not None:
                items.append(item)
            position = end + 4
        del buffer[:position]
        yield from items

    def _read_tag(self, buffer: bytearray, start: int, end: int) -> Packet | Track | None:
        stamp = int.from_bytes(buffer[start + 4 : start + 7], "big") | buffer[start + 7] << 24
        body = bytes(buffer[start + _TAG_HEADER_BYTES : end])
        if buffer[start] == VIDEO:
            return read_video(body, stamp)
        return read_audio(body, stamp) if buffer[start] == AUDIO else None
