"""Which bytes of a package are asked for, as RFC 9110 (14) has ranges."""

import pytest
from starlette.datastructures import Headers

from archive.exports.stream import wanted_range

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
