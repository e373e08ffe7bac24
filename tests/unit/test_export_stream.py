"""Which bytes of a package are asked for, as RFC 9110 (14) has ranges, and how they go out."""

import asyncio
import gc
import os
from pathlib import Path

import pytest
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.types import Message

from archive.exports.stream import AT_ONCE, answer, plan_of, wanted_range
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
    lay(tmp_path)

    async def scenario() -> None:
        begun = []
        for _ in range(AT_ONCE + 1):
            begun.append(aiter(fetched(tmp_path).body_iterator))
            assert len(await asyncio.wait_for(anext(begun[-1]), 60)) == READ_BYTES

    asyncio.run(scenario())


def test_a_plan_is_read_once_for_all_its_ranges_and_again_when_it_is_another(tmp_path: Path) -> None:
    lay(tmp_path)
    path = tmp_path / f"a.tar{PLAN}"
    assert plan_of(path) is plan_of(path)
    path.write_text(Plan(1, "11", [Stretch(1)]).as_json())
    assert plan_of(path).sha256 == "11"


def test_whoever_breaks_off_leaves_no_file_open(tmp_path: Path) -> None:
    """Not until a collection of garbage either, which may be long in coming."""
    lay(tmp_path)
    sent = asyncio.Event()

    async def receive() -> Message:
        await sent.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            assert open_files(tmp_path)
            sent.set()
            await asyncio.Event().wait()

    async def scenario() -> None:
        await fetched(tmp_path)({"type": "http", "asgi": {"spec_version": "2.3"}}, receive, send)
        while open_files(tmp_path):  # noqa: ASYNC110 - a thread closes it; the time limit below bounds this
            await asyncio.sleep(0.01)

    gc.disable()
    try:
        asyncio.run(asyncio.wait_for(scenario(), 60))
    finally:
        gc.enable()


def lay(folder: Path) -> None:
    """A package of two pieces."""
    (folder / f"a.tar{PARTS}").write_bytes(bytes(2 * READ_BYTES))
    (folder / f"a.tar{PLAN}").write_text(Plan(2 * READ_BYTES, "00", [Stretch(2 * READ_BYTES)]).as_json())


def fetched(folder: Path) -> StreamingResponse:
    found = answer(Request({"type": "http", "method": "GET", "headers": []}), folder, "a.tar", folder, {})
    assert isinstance(found, StreamingResponse)
    return found


def open_files(folder: Path) -> list[Path]:
    targets = [Path(os.path.realpath(one)) for one in Path("/proc/self/fd").iterdir()]
    return [one for one in targets if one.is_relative_to(folder.resolve())]
