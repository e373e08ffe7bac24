"""The handshake: simple, digest in both schemas, and what is not RTMP."""

import pytest

from ingest.rtmp import handshake
from ingest.rtmp.connection import Connection
from ingest.rtmp.errors import RemoteProtocolError


def counting(size: int) -> bytes:
    return bytes(n * 7 % 251 for n in range(size))


def signed_c1(schema: int) -> bytes:
    packet = bytes(4) + bytes([9, 0, 124, 2]) + counting(1528)
    return handshake.sign(packet, schema, handshake.PLAYER_KEY)


def split(answer: bytes) -> tuple[int, bytes, bytes]:
    return answer[0], answer[1:1537], answer[1537:]


def test_simple_echoes_c1() -> None:
    c1 = bytes(8) + counting(1528)
    version, s1, s2 = split(handshake.answer(c1, counting))
    assert (version, s1, s2) == (3, bytes(8) + counting(1528), c1)


@pytest.mark.parametrize("schema", [0, 1])
def test_digest_is_found_and_answered_in_the_same_schema(schema: int) -> None:
    c1 = signed_c1(schema)
    version, s1, s2 = split(handshake.answer(c1, counting))
    assert version == 3 and len(s2) == 1536
    assert handshake.find_schema(s1, handshake.SERVER_KEY) == schema
    assert handshake.is_answer_to(s2, handshake.digest_in(c1, schema))


@pytest.mark.parametrize("schema", [0, 1])
def test_a_wrong_digest_gets_the_simple_answer(schema: int) -> None:
    c1 = bytearray(signed_c1(schema))
    c1[1535] ^= 1
    assert split(handshake.answer(bytes(c1), counting))[2] == c1


def test_a_version_without_digest_gets_the_simple_answer() -> None:
    c1 = bytes(4) + bytes([128, 0, 3, 2]) + counting(1528)
    assert split(handshake.answer(c1, counting))[2] == c1


WRONG_FIRST_BYTES = [(6, "RTMPE"), (0, "not RTMP"), (4, "not RTMP"), (0x16, "not RTMP"), (ord("G"), "not RTMP")]


@pytest.mark.parametrize(("version", "reason"), WRONG_FIRST_BYTES)
def test_other_versions_are_refused_at_the_first_byte(version: int, reason: str) -> None:
    connection = Connection()
    with pytest.raises(RemoteProtocolError, match=reason):
        connection.receive_data(bytes([version]))
    assert connection.data_to_send() == b""


def test_nothing_is_said_before_c1_is_whole_and_c2_may_be_anything() -> None:
    connection = Connection()
    connection.receive_data(b"\x03" + bytes(1535))
    assert connection.data_to_send() == b""
    connection.receive_data(b"\0")
    assert len(connection.data_to_send()) == 3073
    assert connection.receive_data(b"\xee" * 1536) == []
    assert connection.state.name == "AWAIT_CONNECT"
