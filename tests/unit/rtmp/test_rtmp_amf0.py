"""AMF0 against bytes, each with its truncated twins; bombs; anything at all."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.rtmp.amf0 import UNDEFINED, Date, EcmaArray, decode, encode
from ingest.rtmp.errors import AmfError

END = b"\0\0\x09"
VALUES: list[tuple[str, bytes, Any]] = [
    ("number", b"\x00\x3f\xf0" + bytes(6), 1.0),
    ("true", b"\x01\x01", True),
    ("false", b"\x01\x00", False),
    ("string", b"\x02\x00\x04live", "live"),
    ("empty string", b"\x02\x00\x00", ""),
    ("string in Swahili", b"\x02\x00\x05" + "tan\u0101".encode(), "tan\u0101"),
    ("object", b"\x03\x00\x03app\x02\x00\x04live" + END, {"app": "live"}),
    ("object in object", b"\x03\x00\x01a\x03" + END + END, {"a": {}}),
    ("null", b"\x05", None),
    ("undefined", b"\x06", UNDEFINED),
    ("ECMA array", b"\x08\0\0\0\x01\x00\x01w\x00\x40\x84" + bytes(6) + END, EcmaArray(w=640.0)),
    ("strict array", b"\x0a\0\0\0\x02\x05\x01\x01", [None, True]),
    ("date", b"\x0b\x40\x8f\x40" + bytes(5) + b"\xff\x4c", Date(1000.0, -180)),
    ("long string", b"\x0c\0\0\0\x02hi", "hi"),
]
ODDITIES: list[tuple[str, bytes, Any]] = [
    ("ECMA array that lies about its count", b"\x08\0\0\0\x63\x00\x01w\x05" + END, {"w": None}),
    ("Latin-1 title", b"\x02\x00\x02\xe9t", "\ufffdt"),
    ("unsupported", b"\x0d", UNDEFINED),
    ("XML", b"\x0f\0\0\0\x04<a/>", "<a/>"),
    ("typed object", b"\x10\x00\x01C\x00\x01a\x05" + END, {"a": None}),
    ("boolean of 7", b"\x01\x07", True),
]


@pytest.mark.parametrize(("data", "value"), [case[1:] for case in VALUES + ODDITIES],
                         ids=[case[0] for case in VALUES + ODDITIES])  # fmt: skip
def test_decodes(data: bytes, value: Any) -> None:
    (got,) = decode(data)
    assert got == value and isinstance(got, type(value))


@pytest.mark.parametrize(("data", "value"), [case[1:] for case in VALUES[:-1]], ids=[case[0] for case in VALUES[:-1]])
def test_encodes(data: bytes, value: Any) -> None:
    assert encode(value) == data


def test_an_ecma_array_is_told_from_an_object() -> None:
    (array, plain) = decode(encode(EcmaArray(a=1.0), {"a": 1.0}))
    assert type(array) is EcmaArray and type(plain) is dict


@pytest.mark.parametrize("data", [case[1] for case in VALUES + ODDITIES], ids=[case[0] for case in VALUES + ODDITIES])
def test_truncated_twins_are_errors(data: bytes) -> None:
    for size in range(1, len(data)):
        with pytest.raises(AmfError):
            decode(data[:size])


BOMBS = [
    ("nested objects", b"\x03\x00\x01a" * 5000, "nested too deep"),
    ("nested arrays", b"\x0a\0\0\0\x01" * 5000, "nested too deep"),
    ("array of four billion", b"\x0a\xff\xff\xff\xff" + b"\x05" * 60000, "too many"),
    ("many values", b"\x05" * 3000, "too many"),
    ("string of four billion", b"\x0c\xff\xff\xff\xff" + b"x" * 100, "cut short"),
    ("too many bytes", b"\x02" * 70000, "the limit is 65536"),
    ("reference", b"\x07\x00\x00", "0x07"),
    ("AMF3", b"\x11\x01", "0x11"),
    ("end without object", b"\x09", "0x09"),
]


@pytest.mark.parametrize(("data", "reason"), [case[1:] for case in BOMBS], ids=[case[0] for case in BOMBS])
def test_bombs_and_what_we_do_not_read(data: bytes, reason: str) -> None:
    with pytest.raises(AmfError, match=reason):
        decode(data)


@pytest.mark.parametrize("value", [object(), b"bytes", {"x" * 70000: 1.0}], ids=["object", "bytes", "long name"])
def test_what_amf0_cannot_say(value: Any) -> None:
    with pytest.raises(AmfError):
        encode(value)


def test_a_string_of_more_than_64_kib_is_a_long_string() -> None:
    data = encode("x" * 65536)
    assert data[0] == 0x0C and decode(data, max_bytes=1 << 20) == ["x" * 65536]


@given(st.binary(max_size=300))
def test_any_bytes_decode_or_are_an_amf_error(data: bytes) -> None:
    try:
        values = decode(data)
    except AmfError:
        return
    assert len(values) <= len(data)


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
TREES = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | TEXT | st.just(UNDEFINED),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


@given(st.lists(TREES, max_size=4))
def test_what_is_encoded_is_decoded(values: list[Any]) -> None:
    assert decode(encode(*values), max_depth=30) == values
