"""The server's half of the RTMP handshake, simple and digest (Adobe RTMP 1.0, section 5.2).

A client whose C1 carries a version (bytes 4 to 7) may have signed it: a SHA-256 HMAC hidden in one of two
places. Signed, it wants S1 and S2 signed as well (ffmpeg ends the connection otherwise); unsigned, it gets
the simple answer.
"""

import hashlib
import hmac
from collections.abc import Callable
from typing import Final

from ingest.rtmp.errors import RemoteProtocolError

PACKET_BYTES = 1536
VERSION = 3
_RTMPE = 6
_DIGEST_BYTES = 32
_SERVER_VERSION = bytes([3, 0, 1, 1])
_SALT = bytes.fromhex("f0eec24a8068bee82e00d0d1029e7e576eec5d2d29806fab93b8e636cfeb31ae")
PLAYER_KEY: Final = b"Genuine Adobe Flash Player 001"
SERVER_KEY: Final = b"Genuine Adobe Flash Media Server 001"
# Where the four bytes stand whose sum says where the digest is: schema 1 has the digest first, schema 0 the
# key.
_SCHEMAS: Final = {1: 8, 0: 772}


def check_version(version: int) -> None:
    """Raises RemoteProtocolError for anything but RTMP 3, in words that help whoever pointed it here."""
    if version == VERSION:
        return
    if version == _RTMPE:
        raise RemoteProtocolError("RTMPE (version 6) is not offered; use rtmp:// or rtmps://")
    raise RemoteProtocolError(f"not RTMP: the first byte is 0x{version:02x}, not 0x03")


def answer(c1: bytes, random_bytes: Callable[[int], bytes]) -> bytes:
    """S0, S1 and S2 for a client's C1."""
    schema = find_schema(c1, PLAYER_KEY)
    if schema is None:
        s1 = bytes(8) + random_bytes(PACKET_BYTES - 8)
        return bytes([VERSION]) + s1 + c1
    s1 = sign(bytes(4) + _SERVER_VERSION + random_bytes(PACKET_BYTES - 8), schema, SERVER_KEY)
    return bytes([VERSION]) + s1 + _s2(digest_in(c1, schema), random_bytes)


def find_schema(packet: bytes, key: bytes) -> int | None:
    """The place of a valid digest in C1 or S1; None for a simple handshake."""
    if packet[4:8] == bytes(4):
        return None
    for schema in _SCHEMAS:
        at = _digest_at(packet, schema)
        if hmac.compare_digest(packet[at : at + _DIGEST_BYTES], _digest_of(packet, at, key)):
            return schema
    return None


def sign(packet: bytes, schema: int, key: bytes) -> bytes:
    """The packet with its digest put in."""
    at = _digest_at(packet, schema)
    return packet[:at] + _digest_of(packet, at, key) + packet[at + _DIGEST_BYTES :]


def digest_in(packet: bytes, schema: int) -> bytes:
    at = _digest_at(packet, schema)
    return packet[at : at + _DIGEST_BYTES]


def is_answer_to(s2: bytes, c1_digest: bytes) -> bool:
    """Whether a server that knows the digest handshake signed S2 for this C1."""
    return hmac.compare_digest(s2[-_DIGEST_BYTES:], _s2_digest(c1_digest, s2[:-_DIGEST_BYTES]))


def _s2(c1_digest: bytes, random_bytes: Callable[[int], bytes]) -> bytes:
    filler = random_bytes(PACKET_BYTES - _DIGEST_BYTES)
    return filler + _s2_digest(c1_digest, filler)


def _s2_digest(c1_digest: bytes, filler: bytes) -> bytes:
    return _hmac(_hmac(SERVER_KEY + _SALT, c1_digest), filler)


def _digest_at(packet: bytes, schema: int) -> int:
    pointer = _SCHEMAS[schema]
    return pointer + 4 + sum(packet[pointer : pointer + 4]) % 728


def _digest_of(packet: bytes, at: int, key: bytes) -> bytes:
    return _hmac(key, packet[:at] + packet[at + _DIGEST_BYTES :])


def _hmac(key: bytes, message: bytes) -> bytes:
    return hmac.new(key, message, hashlib.sha256).digest()
