"""The words of tus 1.0.0 (https://tus.io/protocols/resumable-upload): headers to values, or what is wrong with them.

No IO. Extensions: creation, expiration, checksum, termination.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime
from enum import StrEnum

VERSION = "1.0.0"
EXTENSIONS = "creation,expiration,checksum,termination"
ALGORITHMS = ("sha1", "sha256", "md5")
BODY_TYPE = "application/offset+octet-stream"
MAX_METADATA = 16_384
NUMBER = re.compile(r"[0-9]{1,18}")


class Wrong(StrEnum):
    """What a request can do wrong."""

    VERSION = "version"
    HEADER = "header"
    BODY_TYPE = "body_type"
    LENGTH = "length"
    OFFSET = "offset"
    CHECKSUM = "checksum"


class TusError(Exception):
    """A request that is not as the protocol says. `header` is the one that is not right."""

    def __init__(self, wrong: Wrong, header: str = "") -> None:
        super().__init__(wrong, header)
        self.wrong, self.header = wrong, header


@dataclass(frozen=True, slots=True)
class Checksum:
    """Of one request's body."""

    algorithm: str
    digest: bytes

    def fits(self, data: "hashlib._Hash") -> bool:
        return data.digest() == self.digest

    def begin(self) -> "hashlib._Hash":
        return hashlib.new(self.algorithm, usedforsecurity=False)


@dataclass(frozen=True, slots=True)
class Patch:
    """A PATCH's head: where its bytes belong, how many it says they are (None: it doesn't), what they add up to."""

    offset: int
    length: int | None
    checksum: Checksum | None


def check_version(headers: Mapping[str, str]) -> None:
    if headers.get("tus-resumable") != VERSION:
        raise TusError(Wrong.VERSION, "Tus-Resumable")


def read_length(headers: Mapping[str, str], max_bytes: int) -> int:
    """Of a creation. A length that is told later (Upload-Defer-Length) is not taken."""
    length = _number(headers, "Upload-Length")
    if length == 0:
        raise TusError(Wrong.HEADER, "Upload-Length")
    if length > max_bytes:
        raise TusError(Wrong.LENGTH, "Upload-Length")
    return length


def read_metadata(headers: Mapping[str, str]) -> dict[str, str]:
    """Keys and values of Upload-Metadata; values are base64 of UTF-8, or empty."""
    text = headers.get("upload-metadata", "")
    if len(text) > MAX_METADATA:
        raise TusError(Wrong.HEADER, "Upload-Metadata")
    found: dict[str, str] = {}
    for pair in filter(None, (one.strip() for one in text.split(","))):
        name, _, value = pair.partition(" ")
        if name in found:
            raise TusError(Wrong.HEADER, "Upload-Metadata")
        try:
            found[name] = base64.b64decode(value.strip(), validate=True).decode()
        except (binascii.Error, ValueError) as error:
            raise TusError(Wrong.HEADER, "Upload-Metadata") from error
    return found


def write_metadata(values: Mapping[str, str]) -> str:
    return ",".join(f"{name} {base64.b64encode(value.encode()).decode()}" for name, value in values.items())


def read_patch(headers: Mapping[str, str]) -> Patch:
    if headers.get("content-type", "").partition(";")[0].strip() != BODY_TYPE:
        raise TusError(Wrong.BODY_TYPE, "Content-Type")
    length = _number(headers, "Content-Length") if "content-length" in headers else None
    return Patch(_number(headers, "Upload-Offset"), length, _checksum(headers.get("upload-checksum")))


def check_patch(patch: Patch, received_bytes: int, size_bytes: int) -> None:
    """Whether it goes on where what was received ends, and no farther than the file."""
    if patch.offset != received_bytes:
        raise TusError(Wrong.OFFSET, "Upload-Offset")
    if patch.offset + (patch.length or 0) > size_bytes:
        raise TusError(Wrong.LENGTH, "Content-Length")


def http_date(at: datetime) -> str:
    """For Upload-Expires (RFC 9110, 5.6.7)."""
    return format_datetime(at, usegmt=True)


def method_of(method: str, headers: Mapping[str, str]) -> str:
    """Where something on the way lets no PATCH or DELETE through, a POST says which it is."""
    return headers.get("x-http-method-override", method).upper() if method == "POST" else method


def _checksum(text: str | None) -> Checksum | None:
    if text is None:
        return None
    algorithm, _, digest = text.partition(" ")
    if algorithm not in ALGORITHMS:
        raise TusError(Wrong.HEADER, "Upload-Checksum")
    try:
        return Checksum(algorithm, base64.b64decode(digest.strip(), validate=True))
    except binascii.Error as error:
        raise TusError(Wrong.HEADER, "Upload-Checksum") from error


def _number(headers: Mapping[str, str], name: str) -> int:
    text = headers.get(name.lower(), "")
    if not NUMBER.fullmatch(text):
        raise TusError(Wrong.HEADER, name)
    return int(text)
