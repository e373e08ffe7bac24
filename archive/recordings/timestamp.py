"""Time stamps of a third party (RFC 3161): proof that a signature existed at a moment, by a clock that is not ours.

`stamp` asks a time-stamp authority (TSA) over HTTP, waits for a bounded time and reads a bounded answer; `check` reads
an answer kept since, off line. What is kept is the whole TimeStampResp, which `openssl ts -verify -in` takes too.
"""

import hashlib
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path

import httpx
from cryptography.x509 import Certificate, load_pem_x509_certificates
from rfc3161_client import (
    HashAlgorithm,
    PKIStatus,
    TimeStampRequest,
    TimestampRequestBuilder,
    TimeStampResponse,
    VerificationError,
    VerifierBuilder,
    decode_timestamp_response,
)

from archive.words import N_, translate
from core.web.i18n import Language

MAX_ANSWER_BYTES = 1 << 15
SHA256 = "2.16.840.1.101.3.4.2.1"
MAX_APART = timedelta(minutes=5)
"""A clock that is further from the authority's is wrong, ours or theirs, and a person is told."""
FIRST_WAIT_S = 0.5


class Fault(StrEnum):
    """`{detail}` is what the other side said of it."""

    AWAY = N_("The time-stamp authority does not answer: {detail}")
    REFUSED = N_("The time-stamp authority refuses: {detail}")
    GARBAGE = N_("What the time-stamp authority answers is no time stamp: {detail}")
    ANOTHER = N_("The time stamp is of another request or signature: {detail}")
    UNTRUSTED = N_(
        "The time stamp does not hold by the certificates in MBASHARA_TIMESTAMP_CA_FILE ({detail}): "
        "those of every authority that ever stamped belong there"
    )
    SETTING = N_("The certificates of the time-stamp authority can't be read: {detail}")


class TimestampError(Exception):
    """There is no time stamp. `is_lasting`: asking again won't help."""

    def __init__(self, fault: Fault, detail: object) -> None:
        self.fault, self.detail = fault, " ".join(str(detail).split())[:200]
        super().__init__(fault.value.format(detail=self.detail))

    @property
    def is_lasting(self) -> bool:
        return self.fault is not Fault.AWAY

    def text(self, language: Language) -> str:
        return translate(self.fault.value, language).format(detail=self.detail)


@dataclass(frozen=True, slots=True)
class Authority:
    """A TSA and how long it may take: `timeout_s` for one try, all of it, and `tries`. Without `roots` (certificates
    that its own leads to) a stamp is taken on trust."""

    url: str
    roots: tuple[Certificate, ...] = ()
    user: str = ""
    password: str = field(default="", repr=False)
    timeout_s: float = 10.0
    tries: int = 3


@dataclass(frozen=True, slots=True)
class Stamp:
    """`response` is the TimeStampResp to keep (DER). `is_trusted`: its signature leads to a root that was given.
    `apart` is how far the authority's clock is from ours."""

    response: bytes
    at: datetime
    serial: int
    is_trusted: bool
    apart: timedelta = timedelta()

    @property
    def is_clock_doubtful(self) -> bool:
        return abs(self.apart) > MAX_APART


def read_roots(path: Path) -> tuple[Certificate, ...]:
    try:
        return tuple(load_pem_x509_certificates(path.read_bytes()))
    except (OSError, ValueError) as error:
        raise TimestampError(Fault.SETTING, error) from error


def stamp(
    authority: Authority, signature: bytes, now: Callable[[], datetime] = lambda: datetime.now(UTC),
    clock_s: Callable[[], float] = time.monotonic, wait: Callable[[float], None] = time.sleep,
) -> Stamp:  # fmt: skip
    """A time stamp of a signature's bytes. Blocks, at most tries x timeout_s and the waits between; for a worker's
    thread. Raises TimestampError."""
    request = TimestampRequestBuilder().data(signature).hash_algorithm(HashAlgorithm.SHA256).cert_request(
        cert_request=True
    ).nonce(nonce=True).build()  # fmt: skip
    with httpx.Client(timeout=authority.timeout_s, trust_env=False, follow_redirects=False) as client:
        for left in reversed(range(authority.tries)):
            sent = now()
            try:
                answer = _ask(client, authority, request, clock_s)
                break
            except TimestampError as error:
                if error.is_lasting or not left:
                    raise
                wait(FIRST_WAIT_S * 2 ** (authority.tries - 1 - left))
    found = _check(answer, signature, authority.roots, request)
    middle = sent + (now() - sent) / 2
    return Stamp(found.response, found.at, found.serial, found.is_trusted, found.at - middle)


def check(response: bytes, signature: bytes, roots: tuple[Certificate, ...]) -> Stamp:
    """A stamp kept since. Certificates count as they were at the moment of the stamp. Raises TimestampError."""
    return _check(response, signature, roots, None)


def _ask(client: httpx.Client, authority: Authority, request: TimeStampRequest, clock_s: Callable[[], float]) -> bytes:
    """RFC 3161, 3.4. One that sends a byte now and then is as good as away."""
    end_s = clock_s() + authority.timeout_s
    headers = {"Content-Type": "application/timestamp-query", "Accept": "application/timestamp-reply"}
    auth = httpx.BasicAuth(authority.user, authority.password) if authority.user else None
    answer = bytearray()
    try:
        with client.stream("POST", authority.url, content=request.as_bytes(), headers=headers, auth=auth) as got:
            if got.status_code >= 500 or got.status_code == 429:
                raise TimestampError(Fault.AWAY, f"HTTP {got.status_code}")
            if got.status_code != 200:
                raise TimestampError(Fault.REFUSED, f"HTTP {got.status_code}")
            for piece in got.iter_raw():
                answer += piece
                if len(answer) > MAX_ANSWER_BYTES:
                    raise TimestampError(Fault.GARBAGE, f"> {MAX_ANSWER_BYTES} B")
                if clock_s() > end_s:
                    raise TimestampError(Fault.AWAY, f"> {authority.timeout_s} s")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise TimestampError(Fault.AWAY, str(error) or type(error).__name__) from error
    return bytes(answer)


def _check(
    response: bytes, signature: bytes, roots: tuple[Certificate, ...], request: TimeStampRequest | None
) -> Stamp:
    found = _decode(response)
    if found.status not in (PKIStatus.GRANTED, PKIStatus.GRANTED_WITH_MODS):
        raise TimestampError(Fault.REFUSED, ", ".join(found.status_string) or PKIStatus(found.status).name)
    try:
        told = found.tst_info
        imprint, at, serial, nonce = told.message_imprint, told.gen_time, told.serial_number, told.nonce
    except ValueError as error:
        raise TimestampError(Fault.GARBAGE, error) from error
    if (imprint.hash_algorithm.dotted_string, imprint.message) != (SHA256, hashlib.sha256(signature).digest()):
        raise TimestampError(Fault.ANOTHER, "messageImprint")
    if request is not None and nonce != request.nonce:
        raise TimestampError(Fault.ANOTHER, "nonce")
    if roots:
        _check_signed(found, signature, roots)
    return Stamp(response, at, serial, bool(roots))


def _decode(response: bytes) -> TimeStampResponse:
    try:
        return decode_timestamp_response(_with_sorted_certificates(response))
    except ValueError as error:
        raise TimestampError(Fault.GARBAGE, error) from error


def _with_sorted_certificates(response: bytes) -> bytes:
    """DER sorts a SET; OpenSSL, and so most authorities, sends the certificates as they come, and the parser refuses
    that. No signature covers their order. Anything odd is left to the parser."""
    try:
        content_info = _children(response, _children(response, (0, 0, len(response)))[0])[1]
        signed_data = _children(response, _children(response, content_info)[1])[0]
        place = next(one for one in _children(response, signed_data) if response[one[0]] == 0xA0)
        certificates = [response[begin:end] for begin, _, end in _children(response, place)]
    except (IndexError, StopIteration):
        return response
    return response[: place[1]] + b"".join(sorted(certificates)) + response[place[2] :]


def _children(data: bytes, parent: tuple[int, int, int]) -> list[tuple[int, int, int]]:
    """The elements in an element: where each begins, where its content begins, where it ends. Raises IndexError."""
    found, at = [], parent[1]
    while at < parent[2]:
        content, size = at + 2, data[at + 1]
        if size & 0x80:
            content += size & 0x7F
            size = int.from_bytes(data[at + 2 : content])
        if content + size > parent[2]:
            raise IndexError("longer than what it is in")
        found.append((at, content, content + size))
        at = content + size
    return found


def _check_signed(found: TimeStampResponse, signature: bytes, roots: tuple[Certificate, ...]) -> None:
    builder = VerifierBuilder()
    for root in roots:
        builder = builder.add_root_certificate(root)
    try:
        builder.build().verify_message(found, signature)
    except (VerificationError, ValueError) as error:
        why = re.search(r'"Verify error: ?([^"]+)"', str(error))  # of OpenSSL, behind all that it came by
        raise TimestampError(Fault.UNTRUSTED, why[1] if why else error) from error
