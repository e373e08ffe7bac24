"""An object put in parts (S3 multipart upload): each part goes with its SHA-256, several at a time."""

import base64
import contextlib
import hashlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event, Semaphore
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

MAX_PARTS = 10_000  # S3's own limit
PARTS_AT_ONCE = 4


def part_bytes(size: int, wanted: int) -> int:
    return max(wanted, -(-size // MAX_PARTS))


def checksum_of(body: bytes | memoryview) -> str:
    """SHA-256 as S3 writes it."""
    return base64.b64encode(hashlib.sha256(body).digest()).decode()


def composite_of(checksums: list[str]) -> str:
    """What S3 says of an object in parts: the checksum of the parts' checksums, and how many."""
    return f"{checksum_of(b''.join(map(base64.b64decode, checksums)))}-{len(checksums)}"


def put_parts(
    client: "S3Client",
    at: Mapping[str, Any],
    parts: Iterator[memoryview],
    about: Mapping[str, Any],
    guard: Mapping[str, Any],
    room: Semaphore,
) -> tuple[str | None, str]:
    """The version's id, where there are versions, and the composite checksum. `about` goes with the beginning, `guard`
    with the end. `room`: how many parts may be in memory, of all puts that share it. Whatever it raises, boto's or of
    `parts`, no upload is left behind; if the server is gone, `tidy` does that."""
    begun = client.create_multipart_upload(**at, ChecksumAlgorithm="SHA256", **about)
    upload: dict[str, Any] = {**at, "UploadId": begun["UploadId"]}

    def send(number: int, part: memoryview) -> dict[str, Any]:
        numbered: dict[str, Any] = {"PartNumber": number, "ChecksumSHA256": checksum_of(part)}
        answer = client.upload_part(**upload, Body=_bytes_of(part), **numbered)
        return {**numbered, "ETag": answer["ETag"]}

    try:
        sent = _each(parts, send, room)
        ended = client.complete_multipart_upload(**upload, MultipartUpload={"Parts": sent}, **guard)
    except BaseException:
        with contextlib.suppress(ClientError, BotoCoreError):
            client.abort_multipart_upload(**upload)
        raise
    return ended.get("VersionId"), composite_of([part["ChecksumSHA256"] for part in sent])


def _bytes_of(part: memoryview) -> bytes:
    """Not copied where they are all that was read."""
    read = part.obj
    return read if isinstance(read, bytes) and len(read) == part.nbytes else bytes(part)


def _each(parts: Iterator[memoryview], send: Callable[[int, memoryview], dict[str, Any]], room: Semaphore) -> list[Any]:
    """What `send` says of each, in order. A part is read when there is room for it. After an error no more are read,
    and those on their way are waited for."""
    sending: list[Future[dict[str, Any]]] = []
    failed = Event()

    def end(sent: "Future[dict[str, Any]]") -> None:
        room.release()
        if sent.exception() is not None:
            failed.set()

    with ThreadPoolExecutor(PARTS_AT_ONCE, "part") as pool:
        while not failed.is_set():
            room.acquire()
            try:
                part = next(parts, None)
            except BaseException:
                room.release()
                raise
            if part is None:
                room.release()
                break
            sending.append(pool.submit(send, len(sending) + 1, part))
            sending[-1].add_done_callback(end)
    return [one.result() for one in sending]
