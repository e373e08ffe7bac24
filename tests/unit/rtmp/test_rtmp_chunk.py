"""The chunk reader and writer against bytes: every header form, timestamps at every edge, every cut, every limit."""

import random
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.rtmp.chunk import ChunkReader, ChunkWriter
from ingest.rtmp.errors import RemoteProtocolError
from ingest.rtmp.message import Message
from tests.unit.rtmp.pair import SIZE_128, chunk, cuts

EDGE = 0xFFFFFF  # 16777215 ms: from here on the timestamp moves to the extended field
ABORT_6 = chunk(0, 2, 0, bytes([0, 0, 0, 6]), type_id=2)


def read(data: bytes) -> list[Message]:
    return ChunkReader().feed(memoryview(data))


def body(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def in_chunks(payload: bytes, csid: int = 6, stamp_ms: int = 40, *, repeat: bytes = b"", size: int = 128) -> bytes:
    pieces = [payload[at : at + size] for at in range(0, len(payload), size)]
    first = chunk(0, csid, stamp_ms, pieces[0], len(payload), stream_id=1)
    return first + b"".join(chunk(3, csid, 0, repeat + piece) for piece in pieces[1:])


@pytest.mark.parametrize("csid", [2, 3, 33, 63, 64, 65, 318, 319, 320, 321, 1024, 65598, 65599])
@pytest.mark.parametrize("size", [1, 127, 128, 129, 256, 300, 5000])
def test_every_chunk_stream_id_form(csid: int, size: int) -> None:
    assert read(in_chunks(body(size), csid)) == [Message(9, 40, bytearray(body(size)), 1)]


P, Q = b"first", b"again"
HEADERS = [
    ("fmt 0", chunk(0, 6, 40, P, stream_id=1), [(40, P)]),
    ("fmt 1 adds a delta", chunk(0, 6, 40, P) + chunk(1, 6, 7, b"xyz"), [(40, P), (47, b"xyz")]),
    ("fmt 2 keeps length and type", chunk(0, 6, 40, P) + chunk(2, 6, 7, Q), [(40, P), (47, Q)]),
    ("fmt 3 after fmt 2 repeats its delta", chunk(0, 6, 40, P) + chunk(2, 6, 7, Q) + chunk(3, 6, 0, P),
     [(40, P), (47, Q), (54, P)]),
    ("fmt 3 after fmt 0 repeats its timestamp: 26, 52", chunk(0, 6, 26, P) + chunk(3, 6, 0, Q), [(26, P), (52, Q)]),
    ("fmt 1 first, as librtmp's ping", chunk(1, 6, 5, P), [(5, P)]),
    ("fmt 0 again starts anew", chunk(0, 6, 40, P) + chunk(0, 6, 10, Q), [(40, P), (10, Q)]),
    ("zero length", chunk(0, 6, 1, b"") + chunk(0, 6, 2, P), [(1, b""), (2, P)]),
    ("fmt 0 in an unfinished message drops it", chunk(0, 6, 40, body(128), 200) + chunk(0, 6, 50, Q), [(50, Q)]),
    ("fmt 1 in an unfinished message drops it", chunk(0, 6, 40, body(128), 200) + chunk(1, 6, 10, Q), [(50, Q)]),
    ("abort drops the partial message only",
     chunk(0, 6, 40, body(128), 200) + chunk(0, 4, 1, body(128), 130) + ABORT_6 + chunk(3, 4, 0, b"zz")
     + chunk(1, 6, 10, Q), [(1, body(128) + b"zz"), (50, Q)]),
    ("abort of nothing", ABORT_6 + chunk(0, 6, 1, P), [(1, P)]),
]  # fmt: skip


@pytest.mark.parametrize(("data", "expected"), [case[1:] for case in HEADERS], ids=[case[0] for case in HEADERS])
def test_headers_in_every_legal_place(data: bytes, expected: list[tuple[int, bytes]]) -> None:
    assert [(one.timestamp_ms, bytes(one.body)) for one in read(data)] == expected


@pytest.mark.parametrize("stamp_ms", [EDGE - 1, EDGE, EDGE + 1, 2**31 - 1, 2**31, 2**32 - 1])
@pytest.mark.parametrize("repeats", [True, False], ids=["type 3 repeats", "type 3 omits"])
@pytest.mark.parametrize("fmt", [0, 1, 2])
def test_extended_timestamp(fmt: int, stamp_ms: int, repeats: bool) -> None:
    payload = body(300)
    repeat = stamp_ms.to_bytes(4, "big") if repeats and stamp_ms >= EDGE else b""
    data = chunk(0, 4, 0, payload[:128], 300, type_id=18) + chunk(3, 4, 0, payload[128:256])
    data += chunk(3, 4, 0, payload[256:])
    data += chunk(fmt, 4, stamp_ms, payload[:128], 300, type_id=18)
    data += chunk(3, 4, 0, repeat + payload[128:256]) + chunk(3, 4, 0, repeat + payload[256:])
    data += chunk(0, 4, 7, b"after", type_id=18)
    got = read(data)
    assert [(one.timestamp_ms, bytes(one.body)) for one in got] == [(0, payload), (stamp_ms, payload), (7, b"after")]


@pytest.mark.parametrize("step_ms", [EDGE - 1, EDGE, EDGE + 1])
@pytest.mark.parametrize("repeats", [True, False])
def test_type_3_that_starts_a_message_after_an_extended_delta(step_ms: int, repeats: bool) -> None:
    repeat = step_ms.to_bytes(4, "big") if repeats and step_ms >= EDGE else b""
    data = chunk(0, 6, 0, P) + chunk(2, 6, step_ms, Q) + chunk(3, 6, 0, repeat + P) + chunk(2, 6, 1, Q)
    stamps = [one.timestamp_ms for one in read(data)]
    assert stamps == [0, step_ms, 2 * step_ms, 2 * step_ms + 1]


def test_a_short_last_chunk_without_the_repeat_does_not_wait_for_four_bytes() -> None:
    reader = ChunkReader()
    assert reader.feed(chunk(0, 6, EDGE + 1, body(128), 130)) == []
    assert len(reader.feed(chunk(3, 6, 0, b"\xffz"))) == 1


def test_payload_that_looks_like_the_start_of_the_repeat_waits_for_the_rest() -> None:
    reader = ChunkReader()
    start = (EDGE + 1).to_bytes(4, "big")[:2]
    assert reader.feed(chunk(0, 6, EDGE + 1, body(128), 130) + chunk(3, 6, 0, start)) == []
    (one, two) = reader.feed(chunk(0, 6, 5, P))
    assert bytes(one.body) == body(128) + start and bytes(two.body) == P


WRAPS = [
    ("forward over 2^31", [2**31 - 1, 2**31, 2**31 + 40], [2**31 - 1, 2**31, 2**31 + 40]),
    ("forward over 2^32", [2**32 - 20, 20, 60], [2**32 - 20, 2**32 + 20, 2**32 + 60]),
    ("back over 2^32 and again", [2**32 - 5, 5, 2**32 - 1], [2**32 - 5, 2**32 + 5, 2**32 - 1]),
    ("a day back stays a day back", [90_000_000, 3_600_000], [90_000_000, 3_600_000]),
    ("a day on stays a day on", [0, 86_400_000], [0, 86_400_000]),
    ("back below zero", [10, 2**32 - 10], [10, -10]),
    ("a first timestamp of three billion", [3_000_000_000, 3_000_000_040], [3_000_000_000, 3_000_000_040]),
]


@pytest.mark.parametrize(("stamps", "expected"), [case[1:] for case in WRAPS], ids=[case[0] for case in WRAPS])
def test_unwrapping(stamps: list[int], expected: list[int]) -> None:
    data = b"".join(chunk(0, 6, stamp_ms, P) for stamp_ms in stamps)
    assert [one.timestamp_ms for one in read(data)] == expected


def test_audio_on_another_chunk_stream_unwraps_with_the_video() -> None:
    data = chunk(0, 6, 2**32 - 20, P) + chunk(0, 6, 20, P) + chunk(0, 4, 25, Q, type_id=8)
    assert [one.timestamp_ms for one in read(data)] == [2**32 - 20, 2**32 + 20, 2**32 + 25]


def test_commands_with_timestamp_zero_do_not_move_the_reference() -> None:
    stamps = [0, 2**30, 2**31, 2**31 + 2**30, 2**32 - 1]
    data = b"".join(chunk(0, 6, at, P) + chunk(0, 3, 0, Q, type_id=20) for at in stamps)
    assert [one.timestamp_ms for one in read(data) if one.type_id == 9] == stamps


def test_delta_wraps_at_32_bits() -> None:
    data = chunk(0, 6, 2**32 - 20, P) + chunk(1, 6, 40, Q)
    assert [one.timestamp_ms for one in read(data)] == [2**32 - 20, 2**32 + 20]


def test_set_chunk_size_holds_for_the_next_chunk_in_the_same_buffer() -> None:
    resize = chunk(0, 2, 0, (300).to_bytes(4, "big"), type_id=1)
    data = in_chunks(body(200)) + resize + in_chunks(body(650), size=300) + SIZE_128 + in_chunks(body(200))
    assert [len(one.body) for one in read(data)] == [200, 650, 200]


def test_set_chunk_size_between_the_chunks_of_a_message() -> None:
    payload, resize = body(400), chunk(0, 2, 0, (200).to_bytes(4, "big"), type_id=1)
    data = (
        chunk(0, 6, 0, payload[:128], 400) + resize + chunk(3, 6, 0, payload[128:328]) + chunk(3, 6, 0, payload[328:])
    )
    assert [bytes(one.body) for one in read(data)] == [payload]


def test_interleaved_chunk_streams_in_runs_of_every_length() -> None:
    rng, out, data = random.Random(7), {4: [], 6: [], 70: []}, b""  # type: ignore[var-annotated]
    queues = {csid: [body(rng.randint(1, 3000), csid * 100 + n) for n in range(20)] for csid in out}
    left: dict[int, list[bytes]] = {csid: [] for csid in out}
    while any(queues.values()) or any(left.values()):
        csid = rng.choice([one for one in out if queues[one] or left[one]])
        for _ in range(rng.randint(1, 9)):
            if left[csid]:
                data += chunk(3, csid, 0, left[csid].pop(0))
            elif queues[csid]:
                payload = queues[csid].pop(0)
                data += chunk(0, csid, 9, payload[:128], len(payload), stream_id=csid)
                left[csid] = [payload[at : at + 128] for at in range(128, len(payload), 128)]
    for one in read(data):
        out[one.stream_id].append(bytes(one.body))
    expected = random.Random(7)
    assert out == {csid: [body(expected.randint(1, 3000), csid * 100 + n) for n in range(20)] for csid in out}


MIXED = (
    in_chunks(body(700, 2), 6, 5)
    + chunk(0, 64, 9, P)
    + in_chunks(body(300, 3), 65599, EDGE + 5, repeat=(EDGE + 5).to_bytes(4, "big"))
    + in_chunks(body(300, 4), 6, EDGE + 9)
    + chunk(1, 6, 3, Q)
    + ABORT_6
    + chunk(0, 2, 0, (77).to_bytes(4, "big"), type_id=1)
    + in_chunks(body(1000, 5), 4, 12, size=77)
)


def test_byte_by_byte_equals_whole() -> None:
    whole, reader = read(MIXED), ChunkReader()
    assert len(whole) == 6
    view = memoryview(MIXED)
    assert [one for at in range(len(MIXED)) for one in reader.feed(view[at : at + 1])] == whole


@pytest.mark.parametrize("seed", range(20))
def test_random_cuts_equal_whole(seed: int) -> None:
    reader = ChunkReader()
    assert [one for piece in cuts(MIXED, seed) for one in reader.feed(piece)] == read(MIXED)


def test_truncated_twins_yield_a_prefix_and_no_error() -> None:
    whole = read(MIXED)
    for size in range(len(MIXED)):
        got = read(MIXED[:size])
        assert got == whole[: len(got)] and len(got) < len(whole)


def test_the_caller_may_reuse_its_buffer() -> None:
    buffer, reader, got = bytearray(100), ChunkReader(), []
    for at in range(0, len(MIXED), 100):
        piece = MIXED[at : at + 100]
        buffer[: len(piece)] = piece
        got += reader.feed(memoryview(buffer)[: len(piece)])
        buffer[:] = b"\xee" * 100
    assert got == read(MIXED)


FAULTS = [
    ("type 3 on an unknown chunk stream", chunk(3, 6, 0, b"x"), "starts with a type 3"),
    ("type 2 on an unknown chunk stream", chunk(2, 6, 0, b"x"), "starts with a type 2"),
    ("16 MiB message", chunk(0, 6, 0, b"", (1 << 24) - 1), "the limit is 8388608"),
    ("chunk size 0", chunk(0, 2, 0, bytes(4), type_id=1), "chunk size of 0"),
    ("chunk size with the top bit only", chunk(0, 2, 0, b"\x80\0\0\0", type_id=1), "chunk size of 0"),
    ("short control message", chunk(0, 2, 0, b"\0", type_id=1), "has 1 bytes, not 4"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "reason"), [case[1:] for case in FAULTS], ids=[case[0] for case in FAULTS])
def test_faults_have_a_reason_and_keep_what_came_before(data: bytes, reason: str) -> None:
    with pytest.raises(RemoteProtocolError, match=reason) as caught:
        read(chunk(0, 5, 3, P) + data)
    assert caught.value.before == [Message(9, 3, bytearray(P), 0)]


def test_limit_of_chunk_streams() -> None:
    reader = ChunkReader(max_chunk_streams=10)
    for csid in range(3, 13):
        reader.feed(chunk(0, csid, 0, P))
    with pytest.raises(RemoteProtocolError, match="more than 10 chunk streams"):
        reader.feed(chunk(0, 13, 0, P))


def test_limit_of_all_unfinished_messages_together() -> None:
    reader = ChunkReader(max_buffered_bytes=1000)
    reader.feed(chunk(0, 3, 0, body(128), 400) + chunk(0, 4, 0, body(128), 600))
    with pytest.raises(RemoteProtocolError, match="more than 1000 bytes"):
        reader.feed(chunk(0, 5, 0, b"", 1))


def test_finished_dropped_and_aborted_messages_are_counted_out_again() -> None:
    reader = ChunkReader(max_buffered_bytes=300)
    for _ in range(50):
        reader.feed(in_chunks(body(300)))
        reader.feed(chunk(0, 6, 0, body(128), 300) + chunk(0, 6, 0, body(128), 200) + ABORT_6)
    assert reader.messages_dropped == 100


def test_lengths_that_lie_take_no_memory() -> None:
    reader = ChunkReader(max_buffered_bytes=1 << 30)
    data = b"".join(chunk(0, csid, 0, b"", 8 << 20) + b"x" * 128 for csid in range(3, 60))
    tracemalloc.start()
    reader.feed(data)
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert used < 100_000


def test_nothing_is_kept_of_what_was_handed_out() -> None:
    reader = ChunkReader()
    reader.feed(chunk(0, 2, 0, b"\x7f\xff\xff\xff", type_id=1))
    payload = body(1 << 20)
    tracemalloc.start()
    for csid in range(3, 60):
        assert len(reader.feed(chunk(0, csid, 0, payload))) == 1
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert used < 200_000


@given(st.binary(max_size=600), st.integers(0, 1000))
def test_any_bytes_end_the_same_way_however_they_are_cut(data: bytes, seed: int) -> None:
    assert outcome([memoryview(data)]) == outcome(list(cuts(data, seed)))


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(2, 5), st.integers(0, 2**32 - 1), st.integers(0, 400),
                          st.integers(0, 22)), max_size=12), st.integers(0, 1000))  # fmt: skip
def test_any_chunks_end_the_same_way_however_they_are_cut(
    headers: list[tuple[int, int, int, int, int]], seed: int
) -> None:
    data = b"".join(
        chunk(fmt, csid, stamp_ms, bytes(min(length, 128)), length, type_id)
        for fmt, csid, stamp_ms, length, type_id in headers
    )
    assert outcome([memoryview(data)]) == outcome(list(cuts(data, seed)))


def outcome(pieces: list[memoryview]) -> tuple[list[object], str]:
    reader = ChunkReader()
    messages: list[object] = []
    try:
        for piece in pieces:
            messages += reader.feed(piece)
    except RemoteProtocolError as error:
        return messages + error.before, str(error)
    return messages, ""


@given(
    st.lists(st.tuples(st.sampled_from([8, 9, 18]), st.integers(0, 0xFEFFFFFF), st.integers(0, 700)), max_size=10),
    st.sampled_from([1, 7, 128, 65536]),
    st.booleans(),
)
def test_what_the_writer_writes_the_reader_reads(
    plan: list[tuple[int, int, int]], chunk_size: int, repeat_extended: bool
) -> None:
    writer, reader = ChunkWriter(repeat_extended=repeat_extended), ChunkReader()
    got = reader.feed(writer.set_chunk_size(chunk_size))
    sent = [Message(type_id, stamp_ms, bytearray(b"\xff" * size), 1) for type_id, stamp_ms, size in plan]
    for one in sent:
        got += reader.feed(writer.write(4, one))
    as_sent = [(one.type_id, one.timestamp_ms % 2**32, bytes(one.body), one.stream_id) for one in got]
    assert as_sent == [tuple(one) for one in sent]


@pytest.mark.parametrize("fmt", [None, 0, 1])
def test_the_writer_uses_the_shortest_header(fmt: int | None) -> None:
    writer = ChunkWriter()
    sent = [Message(8, 20 * n, bytearray(P), 1) for n in range(4)]
    sizes = [len(writer.write(4, one, fmt if one.timestamp_ms else None)) - len(P) for one in sent]
    assert sizes == {None: [12, 4, 1, 1], 0: [12, 12, 12, 12], 1: [12, 8, 8, 8]}[fmt]
