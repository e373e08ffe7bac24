"""A file that someone sends to have it checked: hashed as it comes, never written anywhere.

Its beginning is kept in memory while it may be an MP4 that is small enough to have its content credentials read.
"""

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.exceptions import HTTPException
from starlette.requests import Request

MAX_BYTES = 1 << 30
KEPT_BYTES = 32 << 20
AT_ONCE = 4
LONGEST_S = 600
FIELD = "file"
MP4_TYPE = slice(4, 8)  # ISO/IEC 14496-12, 4.3: the first box is `ftyp`


@dataclass(frozen=True, slots=True)
class Sent:
    """`data` None: too large to be read as a whole, or no MP4. Without a file `size_bytes` is 0."""

    name: str
    size_bytes: int
    sha256: str
    data: bytes | None


class Receiver:
    """At most `at_once` files in this process."""

    def __init__(self, max_bytes: int = MAX_BYTES, kept_bytes: int = KEPT_BYTES, at_once: int = AT_ONCE) -> None:
        self._max_bytes, self._kept_bytes, self._free = max_bytes, kept_bytes, at_once

    async def receive(self, request: Request) -> Sent:
        """Raises HTTPException: 400 for what is no form with a file, 413, 503 with too many at once."""
        declared = request.headers.get("content-length", "")
        if declared.isdigit() and int(declared) > self._max_bytes:
            raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        if not self._free:
            raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, headers={"retry-after": "30"})
        self._free -= 1
        try:
            async with asyncio.timeout(LONGEST_S):
                return await self._read(request)
        except TimeoutError as error:
            raise HTTPException(HTTPStatus.REQUEST_TIMEOUT) from error
        finally:
            self._free += 1

    async def _read(self, request: Request) -> Sent:
        kind, options = parse_options_header(request.headers.get("content-type", ""))
        if kind != b"multipart/form-data" or b"boundary" not in options:
            raise HTTPException(HTTPStatus.BAD_REQUEST)
        hearer = _Hearer(self._kept_bytes)
        try:
            parser = MultipartParser(options[b"boundary"], hearer.callbacks)
            size = 0
            async for chunk in request.stream():
                size += len(chunk)
                if size > self._max_bytes:
                    raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
                parser.write(chunk)
        except ValueError as error:  # python_multipart's own are ValueErrors
            raise HTTPException(HTTPStatus.BAD_REQUEST) from error
        return hearer.sent()


class _Hearer:
    """What the parser tells of, of the one field that counts."""

    def __init__(self, kept_bytes: int) -> None:
        self._kept_bytes = kept_bytes
        self._name = self._header = self._value = b""
        self._is_it, self._size = False, 0
        self._digest, self._kept = hashlib.sha256(), bytearray()

    @property
    def callbacks(self) -> Any:
        return {
            "on_part_begin": self.begin, "on_part_data": self.data, "on_header_field": self.header,
            "on_header_value": self.value, "on_header_end": self.header_end,
        }  # fmt: skip

    def begin(self) -> None:
        self._is_it, self._header, self._value = False, b"", b""

    def header(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            options: Mapping[bytes, bytes] = parse_options_header(self._value)[1]
            self._is_it = options.get(b"name") == FIELD.encode() and not self._size
            if self._is_it:
                self._name = options.get(b"filename", b"")
        self._header = self._value = b""

    def data(self, data: bytes, start: int, end: int) -> None:
        if not self._is_it:
            return
        piece = memoryview(data)[start:end]
        self._digest.update(piece)
        self._size += len(piece)
        if self._size <= self._kept_bytes:
            self._kept += piece
        else:
            self._kept.clear()

    def sent(self) -> Sent:
        is_mp4 = self._size <= self._kept_bytes and bytes(self._kept[MP4_TYPE]) == b"ftyp"
        name = self._name.decode(errors="replace")[:200]
        return Sent(name, self._size, self._digest.hexdigest(), bytes(self._kept) if is_mp4 else None)
