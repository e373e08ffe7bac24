"""Which bytes of a package are asked for, as RFC 9110 (14) has ranges, and how they go out."""

import asyncio
from pathlib import Path

import pytest
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import StreamingResponse

from archive.exports.stream import AT_ONCE, answer, wanted_range
from archive.recordings.bag import READ_BYTES
from archive.recordings.bag_stream import PARTS, PLAN, Plan, Stretch

ETAG = '"abc"'


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        ({}, (0, 1000)),
        ({"range": "bytes=0-99"}, (0, 100)),
        ({"range": "bytes=900-"}, (900, 1000)),
        ({"range": "bytes=900-5000"}, (900, 1000)),
        ({"range": "bytes=-10"}, (990, 1000)),
        ({"range": "bytes=-5000"}, (0, 1000)),
        ({"range": "bytes=1000-"}, None),
        ({"range": "bytes=-0"}, None),
        ({"range": "bytes=5-4"}, None),
        ({"range": "bytes=0-1,5-6"}, (0, 1000)),
        ({"range": "bytes=-"}, (0, 1000)),
        ({"range": "lines=0-1"}, (0, 1000)),
        ({"range": "bytes=5-9", "if-range": ETAG}, (5, 10)),
        ({"range": "bytes=5-9", "if-range": '"another"'}, (0, 1000)),
    ],
)
def test_ranges(asked: dict[str, str], wanted: tuple[int, int] | None) -> None:
    assert wanted_range(Headers(asked), 1000, ETAG) == wanted


def test_who_takes_nothing_more_keeps_nobody_waiting(tmp_path: Path) -> None:
    size = 2 * READ_BYTES
    (tmp_path / f"a.tar{PARTS}").write_bytes(bytes(size))
    (tmp_path / f"a.tar{PLAN}").write_text(Plan(size, "00", [Stretch(size)]).as_json())

    async def scenario() -> None:
        begun = []
        for _ in range(AT_ONCE + 1):
            found = answer(Request({"type": "http", "method": "GET", "headers": []}), tmp_path, "a.tar", tmp_path, {})
            assert isinstance(found, StreamingResponse)
            begun.append(aiter(found.body_iterator))
            assert len(await asyncio.wait_for(anext(begun[-1]), 2)) == READ_BYTES

    asyncio.run(scenario())
