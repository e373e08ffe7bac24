"""An object put in parts (S3 multipart upload): each part goes with its SHA-256."""

import base64
import contextlib
import hashlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

MAX_PARTS = 10_000  # S3's own limit


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
    parts: Iterable[memoryview],
    about: Mapping[str, Any],
    guard: Mapping[str, Any],
) -> tuple[str | None, str]:
    """The version's id, where there are versions, and the composite checksum. `about` goes with the beginning, `guard`
    with the end. Whatever it raises, boto's or of `parts`, no upload is left behind; if the server is gone, `tidy` does
    that."""
    begun = client.create_multipart_upload(**at, ChecksumAlgorithm="SHA256", **about)
    upload: dict[str, Any] = {**at, "UploadId": begun["UploadId"]}
    try:
        sent: list[Any] = []
        for number, part in enumerate(parts, 1):
            numbered: dict[str, Any] = {"PartNumber": number, "ChecksumSHA256": checksum_of(part)}
            answer = client.upload_part(**upload, Body=bytes(part), **numbered)
            sent.append({**numbered, "ETag": answer["ETag"]})
        ended = client.complete_multipart_upload(**upload, MultipartUpload={"Parts": sent}, **guard)
    except BaseException:
        with contextlib.suppress(ClientError, BotoCoreError):
            client.abort_multipart_upload(**upload)
        raise
    return ended.get("VersionId"), composite_of([part["ChecksumSHA256"] for part in sent])
