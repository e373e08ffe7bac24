"""The server's connection: with our own client, with bytes no client of ours would send, and with anything at all."""

import hashlib
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.rtmp import message
from ingest.rtmp.amf0 import EcmaArray, encode
from ingest.rtmp.chunk import ChunkReader
from ingest.rtmp.client import ClientConnection, PublishStarted, Refused
from ingest.rtmp.connection import MAX_EARLY_BYTES, TRANSITIONS, Connection, State
from ingest.rtmp.errors import LocalProtocolError, RemoteProtocolError
from ingest.rtmp.events import Connected, PlayRequested, PublishEnded, PublishRequested
from ingest.rtmp.message import Message, MessageType, UserControl
from tests.unit.rtmp.pair import (
    C0_C1_C2,
    KEY,
    TC_URL,
    Pair,
    accepted_connection,
    chunk,
    command_chunk,
    cuts,
    receive_in_pieces,
)

VECTORS = Path(__file__).parents[2] / "vectors" / "rtmp"
CONNECT = command_chunk(message.command("connect", 1, {"app": "live", "tcUrl": TC_URL}))


def connected() -> Connection:
    connection = Connection()
    connection.receive_data(C0_C1_C2 + CONNECT)
    connection.data_to_send()
    return connection


def call(name: str, transaction_id: float, *values: Any, stream_id: int = 0) -> bytes:
    return command_chunk(message.command(name, transaction_id, *values, stream_id=stream_id))


PUBLISH = call("publish", 5, None, KEY, "live", stream_id=1)


def said(connection: Connection) -> list[Message]:
    """What the connection has to say, as messages; reads the size that it announced at connect by itself."""
    reader = ChunkReader()
    reader.feed(chunk(0, 2, 0, (65536).to_bytes(4, "big"), type_id=1))
    return reader.feed(connection.data_to_send())


def commands(connection: Connection) -> list[message.Command]:
    return [message.parse_command(one) for one in said(connection) if one.type_id == MessageType.COMMAND]


# The ordinary life.


def test_a_publication_from_the_first_byte_to_the_last() -> None:
    pair = Pair()
    events = pair.pump()
    assert events == [Connected("live", "FMLE/3.0"), PublishRequested(KEY, "live", TC_URL, "FMLE/3.0")]
    pair.server.accept_publish()
    pair.pump()
    assert pair.client_events == [PublishStarted()]
    pair.client.send_media(MessageType.DATA, 0, encode("@setDataFrame", "onMetaData", EcmaArray(width=640.0)))
    pair.client.send_media(MessageType.VIDEO, 0, b"\x17\x01" + bytes(9000))
    pair.client.send_media(MessageType.AUDIO, 3, b"\xaf\x01abc")
    pair.client.unpublish()
    data, video, audio, end = pair.pump()
    assert isinstance(data, Message) and data.type_id == 18 and data.body[:3] == b"\x02\x00\x0d"
    assert isinstance(video, Message) and isinstance(audio, Message)
    assert video == Message(9, 0, bytearray(b"\x17\x01" + bytes(9000)), 1)
    assert audio == Message(8, 3, bytearray(b"\xaf\x01abc"), 1)
    assert end == PublishEnded("FCUnpublish") and pair.server.state is State.ENDED


def test_connect_is_answered_as_encoders_expect() -> None:
    connection = Connection()
    connection.receive_data(C0_C1_C2 + CONNECT)
    reader = ChunkReader()
    window, bandwidth, result = reader.feed(connection.data_to_send()[3073:])
    assert (window.type_id, message.parse_uint32(window)) == (5, 2_500_000)
    assert bandwidth.type_id == 6 and bandwidth.body == (2_500_000).to_bytes(4, "big") + b"\x02"
    name, transaction_id, properties, (info,) = message.parse_command(result)
    assert (name, transaction_id) == ("_result", 1.0)
    assert properties["capabilities"] == 31.0 and properties["fmsVer"].startswith("FMS/3")
    assert info["code"] == "NetConnection.Connect.Success" and info["objectEncoding"] == 0.0
    assert reader._chunk_size == 65536


def test_release_stream_and_fc_publish_carry_the_callers_transaction_id() -> None:
    connection = connected()
    connection.receive_data(call("releaseStream", 2, None, KEY) + call("FCPublish", 33, None, KEY))
    got = [(one.name, one.transaction_id) for one in commands(connection)]
    assert got == [("_result", 2.0), ("_result", 33.0), ("onFCPublish", 33.0)]


def test_create_stream_counts_from_one() -> None:
    connection = connected()
    connection.receive_data(call("createStream", 4, None) + call("createStream", 9, None))
    assert [(one.transaction_id, one.arguments) for one in commands(connection)] == [(4.0, [1.0]), (9.0, [2.0])]


def test_publish_is_answered_on_the_stream_that_asked() -> None:
    connection = connected()
    connection.receive_data(call("publish", 5, None, KEY, "live", stream_id=7))
    connection.accept_publish()
    begin, status = said(connection)
    assert message.parse_user_control(begin) == (UserControl.STREAM_BEGIN, 7)
    assert status.stream_id == 7
    assert message.parse_command(status).arguments[0]["code"] == "NetStream.Publish.Start"


@pytest.mark.parametrize("name", ["_checkbw", "getStreamLength", "onFCSubscribe", "setDataFrame", ""])
def test_commands_nobody_needs_are_passed_over(name: str) -> None:
    connection = connected()
    assert connection.receive_data(call(name, 6, None, KEY)) == []
    assert connection.data_to_send() == b""


@pytest.mark.parametrize("name", ["FCUnpublish", "deleteStream", "closeStream"])
def test_every_way_to_take_leave(name: str) -> None:
    pair = Pair().publish()
    assert pair.server.receive_data(call(name, 6, None, 1.0)) == [PublishEnded(name)]
    assert commands(pair.server)[0].arguments[0]["code"] == "NetStream.Unpublish.Success"


def test_leaving_before_publish_is_an_encoder_cleaning_up() -> None:
    connection = connected()
    assert connection.receive_data(call("deleteStream", 2, None, 1.0) + call("FCUnpublish", 3, None, KEY)) == []
    assert len(connection.receive_data(PUBLISH)) == 1


def test_a_rejection_reaches_the_encoder() -> None:
    pair = Pair()
    pair.pump()
    pair.server.reject_publish("NetStream.Publish.Denied", "Ufunguo haujulikani")
    pair.pump()
    assert pair.client_events == [Refused("NetStream.Publish.Denied", "Ufunguo haujulikani")]
    assert pair.server.state is State.ENDED


def test_a_failure_in_mid_publication_reaches_the_encoder() -> None:
    pair = Pair().publish()
    pair.server.fail_publish("the key was revoked")
    pair.pump()
    assert pair.client_events[-1] == Refused("NetStream.Failed", "the key was revoked")
    assert pair.server.receive_data(b"whatever") == []


def test_publish_without_a_key_is_refused_by_the_connection_itself() -> None:
    connection = connected()
    assert connection.receive_data(call("publish", 5, None, "", "live", stream_id=1)) == []
    assert connection.state is State.ENDED
    assert commands(connection)[0].arguments[0]["code"] == "NetStream.Publish.BadName"


def test_play_is_told_where_to_watch() -> None:
    connection = connected()
    assert connection.receive_data(call("play", 5, None, "ikulu", stream_id=1)) == [PlayRequested()]
    (status,) = said(connection)
    info = message.parse_command(status).arguments[0]
    assert status.stream_id == 1 and info["level"] == "error" and info["code"] == "NetStream.Play.Failed"


def test_amf3_framed_commands_and_data() -> None:
    connection = Connection()
    connect = message.command("connect", 1, {"app": "live", "tcurl": f'"{TC_URL}"', "objectEncoding": 3.0})
    publish = message.command("publish", 5, None, KEY, stream_id=1)
    framed = [Message(17, 0, bytearray(b"\0") + one.body, one.stream_id) for one in (connect, publish)]
    events = connection.receive_data(C0_C1_C2 + b"".join(map(command_chunk, framed)))
    assert events[1] == PublishRequested(KEY, "live", f'"{TC_URL}"', "")
    connection.accept_publish()
    metadata = encode("onMetaData", {})
    assert connection.receive_data(chunk(0, 4, 5, b"\0" + metadata, type_id=15)) == [
        Message(18, 5, bytearray(metadata))
    ]


def test_media_before_publish_and_empty_media_are_passed_over() -> None:
    connection = connected()
    assert connection.receive_data(chunk(0, 4, 0, b"abc", type_id=8)) == []
    assert accepted_connection().receive_data(chunk(0, 4, 0, b"", type_id=9)) == []


# Control messages.


def test_ping_is_answered() -> None:
    connection = connected()
    ping = message.user_control(UserControl.PING_REQUEST, 0xDEADBEEF)
    connection.receive_data(chunk(1, 2, 0, bytes(ping.body), type_id=4))
    assert [message.parse_user_control(one) for one in said(connection)] == [(UserControl.PING_RESPONSE, 0xDEADBEEF)]


def test_acknowledgements_every_window_and_the_count_wraps() -> None:
    connection = accepted_connection()
    window = chunk(0, 2, 0, (1000).to_bytes(4, "big"), type_id=5)
    connection.receive_data(window)
    assert connection.data_to_send() == b""
    connection._received_bytes = 2**32 - 500
    connection.receive_data(chunk(0, 6, 0, bytes(128), 5000) + chunk(3, 6, 0, bytes(128)) * 8)
    (acknowledgement,) = said(connection)
    assert acknowledgement.type_id == 3
    assert message.parse_uint32(acknowledgement) == (2**32 - 500 + 140 + 129 * 8) % 2**32


def test_peer_bandwidth_is_answered_with_our_window() -> None:
    connection = connected()
    connection.receive_data(chunk(0, 2, 0, (5000).to_bytes(4, "big") + b"\x02", type_id=6))
    assert [message.parse_uint32(one) for one in said(connection)] == [2_500_000]


@pytest.mark.parametrize("type_id", [0, 3, 7, 10, 16, 19, 21, 255])
def test_messages_nobody_needs_are_passed_over(type_id: int) -> None:
    connection = accepted_connection()
    assert connection.receive_data(chunk(0, 5, 0, b"\0\0\0\1", type_id=type_id)) == []


def flv_tag(type_id: int, stamp_ms: int, body: bytes) -> bytes:
    stamp = (stamp_ms & 0xFFFFFF).to_bytes(3, "big") + bytes([stamp_ms >> 24])
    head = bytes([type_id]) + len(body).to_bytes(3, "big") + stamp + bytes(3)
    return head + body + (11 + len(body)).to_bytes(4, "big")


AGGREGATES = [
    ("moved to the aggregate's timestamp", 1000, [(9, 500), (8, 510), (9, 540)], [1000, 1010, 1040]),
    ("already right", 40, [(8, 40), (9, 80)], [40, 80]),
    ("above 24 bits", 0x2000000, [(8, 0x1FFFFFF), (9, 0x2000001)], [0x2000000, 0x2000002]),
    ("commands inside are nobody's", 7, [(8, 0), (20, 0), (22, 0), (1, 0), (9, 3)], [7, 10]),
]


@pytest.mark.parametrize(("at_ms", "tags", "expected"), [case[1:] for case in AGGREGATES],
                         ids=[case[0] for case in AGGREGATES])  # fmt: skip
def test_aggregates(at_ms: int, tags: list[tuple[int, int]], expected: list[int]) -> None:
    body = b"".join(flv_tag(type_id, stamp_ms, b"x%d" % n) for n, (type_id, stamp_ms) in enumerate(tags))
    for twin in (body, body[:-4]):  # the last back pointer is missing from some encoders
        events = accepted_connection().receive_data(chunk(0, 6, at_ms, twin, type_id=22))
        assert [event.timestamp_ms for event in events if isinstance(event, Message)] == expected


def test_truncated_aggregates_are_faults() -> None:
    body = flv_tag(9, 0, b"abc") + flv_tag(9, 1, b"de")
    whole = {len(flv_tag(9, 0, b"abc")), len(body)} | set(range(14, 18)) | set(range(len(body) - 4, len(body)))
    for size in set(range(1, len(body))) - whole:
        with pytest.raises(RemoteProtocolError, match="aggregate"):
            accepted_connection().receive_data(chunk(0, 6, 0, body[:size], type_id=22))


def test_an_aggregate_of_nothing_but_headers_is_a_fault() -> None:
    body = flv_tag(9, 0, b"") * 5000
    with pytest.raises(RemoteProtocolError, match="more than 4096"):
        accepted_connection().receive_data(SIZE_MAX + chunk(0, 6, 0, body, type_id=22))


SIZE_MAX = chunk(0, 2, 0, b"\x7f\xff\xff\xff", type_id=1)

# What goes wrong.

FAULTS = [
    ("publish before connect", C0_C1_C2 + PUBLISH, "a command before connect"),
    ("connect twice", C0_C1_C2 + CONNECT + CONNECT, "CONNECT in state CONNECTED"),
    ("AMF bomb", C0_C1_C2 + command_chunk(Message(20, 0, bytearray(b"\x03\x00\x01a" * 1000))), "nested too deep"),
    ("command cut short", C0_C1_C2 + command_chunk(Message(20, 0, bytearray(b"\x02\x00"))), "cut short"),
    ("16 MiB message", C0_C1_C2 + CONNECT + chunk(0, 6, 0, b"", 0xFFFFFF), "the limit is"),
    ("ping of one byte is no fault, chunk size 0 is", C0_C1_C2 + chunk(0, 2, 0, bytes(4), type_id=1), "chunk size"),
    ("window of one byte", C0_C1_C2 + CONNECT + chunk(0, 2, 0, b"\0", type_id=5), "1 bytes, not 4"),
]


@pytest.mark.parametrize(("data", "reason"), [case[1:] for case in FAULTS], ids=[case[0] for case in FAULTS])
def test_faults_end_the_connection_with_a_reason(data: bytes, reason: str) -> None:
    connection = Connection()
    with pytest.raises(RemoteProtocolError, match=reason):
        connection.receive_data(data)
    assert connection.state is State.ENDED
    assert reason in repr(connection.data_to_send())
    assert connection.receive_data(CONNECT) == []


def test_a_second_publish_and_a_play_by_a_publisher_are_faults() -> None:
    for second in (PUBLISH, call("play", 6, None, KEY, stream_id=1)):
        with pytest.raises(RemoteProtocolError):
            accepted_connection().receive_data(second)


def test_what_was_whole_before_the_fault_is_kept() -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        accepted_connection().receive_data(chunk(0, 4, 9, b"abc", type_id=8) + chunk(3, 9, 0, b""))
    assert caught.value.before == [Message(8, 9, bytearray(b"abc"))]


def test_our_own_mistakes_are_local_errors() -> None:
    mistakes: tuple[Callable[[Connection], object], ...] = (
        lambda one: one.accept_publish(),
        lambda one: one.reject_publish("NetStream.Publish.Denied", ""),
    )
    for mistake in mistakes:
        with pytest.raises(LocalProtocolError):
            mistake(connected())
    with pytest.raises(LocalProtocolError):
        ClientConnection("live", TC_URL, KEY).send_media(9, 0, b"")


def test_every_state_but_the_last_can_fail() -> None:
    assert set(TRANSITIONS) == set(State)
    assert [state for state, steps in TRANSITIONS.items() if State.ENDED not in steps.values()] == [State.ENDED]


# Waiting for the answer to publish.

MEDIA = chunk(0, 6, 40, bytes(128), 200, stream_id=1) + chunk(3, 6, 0, bytes(72)) + chunk(0, 4, 41, b"a", type_id=8)


def test_media_that_did_not_wait_for_the_answer_is_kept() -> None:
    connection = connected()
    assert len(connection.receive_data(PUBLISH + MEDIA + MEDIA[:50])) == 1
    assert connection.receive_data(MEDIA[50:]) == []
    connection.accept_publish()
    events = connection.receive_data(b"")
    assert [event.timestamp_ms for event in events if isinstance(event, Message)] == [40, 41] * 2


def test_a_fault_behind_publish_is_told_after_the_answer() -> None:
    connection = connected()
    assert len(connection.receive_data(PUBLISH + MEDIA + chunk(3, 9, 0, b""))) == 1
    connection.accept_publish()
    with pytest.raises(RemoteProtocolError, match="type 3") as caught:
        connection.receive_data(b"")
    assert len(caught.value.before) == 2


def test_early_media_is_bounded() -> None:
    connection = connected()
    connection.receive_data(PUBLISH)
    with pytest.raises(RemoteProtocolError, match="without waiting"):
        for _ in range(MAX_EARLY_BYTES // 65536 + 1):
            connection.receive_data(bytes(65536))


@pytest.mark.parametrize("size", [0, 1, 500, 1537, 2000, 3073, 3080, 3100, 3150, 3250, 3300])
def test_it_can_be_pickled_at_any_byte(size: int) -> None:
    data = C0_C1_C2 + CONNECT + PUBLISH + MEDIA
    connection = Connection()
    first = connection.receive_data(data[:size])
    moved: Connection = pickle.loads(pickle.dumps(connection))
    events, fault = receive_in_pieces(moved, cuts(data[size:], size))
    assert [type(event) for event in first + events] == [
        Connected,
        PublishRequested,
        Message,
        Message,
    ]
    assert fault == ""


# Anything at all.

WHOLE = C0_C1_C2 + CONNECT + call("createStream", 4, None) + PUBLISH + MEDIA * 3 + call("FCUnpublish", 6, None, KEY)


@pytest.mark.parametrize("seed", range(10))
def test_random_cuts_equal_whole(seed: int) -> None:
    assert receive_in_pieces(Connection(), cuts(WHOLE, seed)) == receive_in_pieces(
        Connection(), iter([memoryview(WHOLE)])
    )


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400), st.integers(0, 100), st.sampled_from([b"", C0_C1_C2, C0_C1_C2 + CONNECT]))
def test_any_bytes_end_the_same_way_however_they_are_cut(data: bytes, seed: int, before: bytes) -> None:
    whole = receive_in_pieces(Connection(), iter([memoryview(before + data)]))
    assert receive_in_pieces(Connection(), cuts(before + data, seed)) == whole


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), max_size=6), st.integers(0, 9))
def test_a_damaged_publication_ends_the_same_way_however_it_is_cut(damage: list[tuple[int, int]], seed: int) -> None:
    data = bytearray(WHOLE)
    for at, value in damage:
        data[at] = value
    whole = receive_in_pieces(Connection(), iter([memoryview(data)]))
    assert receive_in_pieces(Connection(), cuts(bytes(data), seed)) == whole


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=3500))
def test_any_server_is_a_typed_error_to_the_client(data: bytes) -> None:
    client = ClientConnection("live", TC_URL, KEY)
    try:
        client.receive_data(b"\x03" + bytes(3072) + data)
    except RemoteProtocolError as error:
        assert str(error)


# Real encoders, recorded.


@pytest.mark.parametrize("path", sorted(VECTORS.glob("*.bin")), ids=lambda path: path.stem)
def test_recorded_encoders(path: Path) -> None:
    data, expected = path.read_bytes(), json.loads(path.with_suffix(".json").read_text())
    for seed in (None, 1, 2):
        pieces = iter([memoryview(data)]) if seed is None else cuts(data, seed)
        events, fault = receive_in_pieces(Connection(), pieces)
        media = [event for event in events if isinstance(event, Message)]
        request = next(event for event in events if isinstance(event, PublishRequested))
        assert [request.key, request.app, request.flash_ver, fault] == expected["request"]
        assert [[one.type_id, one.timestamp_ms, len(one.body)] for one in media] == expected["media"]
        assert hashlib.sha256(b"".join(one.body for one in media)).hexdigest() == expected["sha256"]


def test_there_are_recorded_encoders() -> None:
    assert len(list(VECTORS.glob("*.bin"))) >= 2
