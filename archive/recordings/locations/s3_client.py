"""boto3's client for one location: its own credentials and limits, and nothing of the machine's AWS configuration."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

from archive.recordings.locations.config import S3Location
from archive.recordings.locations.errors import (
    Conflict,
    Damaged,
    Full,
    Locked,
    Missing,
    Refused,
    StoreError,
    Unreachable,
    Unsupported,
)
from archive.recordings.locations.s3_patience import bound_answers

if TYPE_CHECKING:
    from botocore.awsrequest import AWSPreparedRequest
    from mypy_boto3_s3 import S3Client

MAX_DETAIL = 200
MAX_AT_ONCE_BYTES = 4 << 20
BLOCK_BYTES = 256 << 10
"""Sent at once. A slow line must take one in `connect_timeout_s`, which is boto's while it sends: not a whole body."""
_KINDS: dict[str, type[StoreError]] = {
    "NoSuchKey": Missing, "NoSuchVersion": Missing, "NoSuchUpload": Missing, "NoSuchBucket": Unreachable,
    "BadDigest": Damaged, "InvalidDigest": Damaged, "XAmzContentSHA256Mismatch": Damaged,
    "XAmzContentChecksumMismatch": Damaged, "IncompleteBody": Damaged,
    "InsufficientStorage": Full, "InsufficientCapacity": Full, "QuotaExceeded": Full, "StorageFull": Full,
    "XMinioStorageFull": Full, "XMinioAdminBucketQuotaExceeded": Full, "ServiceQuotaExceeded": Full,
    "ObjectLocked": Locked,
    "PreconditionFailed": Conflict, "ConditionalRequestConflict": Conflict,
    "NotImplemented": Unsupported, "ObjectLockConfigurationNotFoundError": Unsupported,
    "InvalidBucketState": Unsupported,
    "RequestTimeTooSkewed": Refused, "InvalidAccessKeyId": Refused, "SignatureDoesNotMatch": Refused,
    "AuthorizationHeaderMalformed": Refused, "SlowDown": Unreachable,
}  # fmt: skip
_BY_STATUS: dict[int, type[StoreError]] = {
    401: Refused, 403: Refused, 404: Missing, 412: Conflict, 429: Unreachable, 501: Unsupported, 507: Full,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Limits:
    """`attempts` counts the first. A request takes attempts * (connect + read) seconds at most, and what boto waits
    between them. `connections`: how many threads may ask at once."""

    connect_timeout_s: float = 5
    read_timeout_s: float = 60
    attempts: int = 3
    connections: int = 16
    page_keys: int = 1000  # in an answer to a listing
    multipart_bytes: int = 16 << 20  # files larger than this go in parts of this size
    parts: int = 8  # in memory and on their way at once, of all files


def make_client(location: S3Location, limits: Limits, sign_bodies: bool = True) -> "S3Client":
    """Asks nothing of the server yet. `sign_bodies` False hashes each body once less, here and there: for a server that
    checks the SHA-256 in the headers, which are signed."""
    bound_answers()
    nowhere = dict.fromkeys(("profile", "config_file", "credentials_file"), (None, None, None, None))
    alone = botocore.session.Session({**nowhere, "ignore_configured_endpoint_urls": (None, None, True, None)})
    config = Config(
        connect_timeout=limits.connect_timeout_s,
        read_timeout=limits.read_timeout_s,
        retries={"mode": "standard", "total_max_attempts": limits.attempts},
        max_pool_connections=limits.connections,
        tcp_keepalive=True,
        # We give a SHA-256 with each body; another checksum beside it costs time and proves less.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={
            "addressing_style": "path" if location.endpoint_url else "auto",
            **({} if sign_bodies else {"payload_signing_enabled": False}),
        },
    )
    client = boto3.Session(botocore_session=alone).client(
        "s3",
        region_name=location.region,
        endpoint_url=location.endpoint_url,
        aws_access_key_id=location.credentials.access_key_id.get_secret_value(),
        aws_secret_access_key=location.credentials.secret_access_key.get_secret_value(),
        verify=str(location.ca_file) if location.ca_file else None,
        config=config,
    )
    client.meta.events.register("before-call.s3", _send_at_once)
    client.meta.events.register("before-send.s3", _send_in_blocks)
    return client


def _send_at_once(params: dict[str, Any], **_: object) -> None:
    """boto waits for "100 Continue" before each body: a round trip more, worth it only where a refusal would find much
    on its way."""
    body = params["body"]
    if isinstance(body, BytesIO) and body.getbuffer().nbytes <= MAX_AT_ONCE_BYTES:
        params["headers"].pop("Expect", None)


class _InBlocks(BytesIO):
    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(BLOCK_BYTES if size is not None and 0 < size < BLOCK_BYTES else size)


def _send_in_blocks(request: "AWSPreparedRequest", **_: object) -> None:
    """In place of 16 KiB at a time, with a turn of the other threads between each and the next: of a part of 16 MiB
    that is a thousand."""
    if isinstance(request.body, BytesIO):
        request.body = _InBlocks(request.body.getvalue())


@contextmanager
def told(location: str, key: str) -> Iterator[None]:
    """Turns what boto raises into ours."""
    try:
        yield
    except ParamValidationError:
        raise
    except ClientError as error:
        raise _from_answer(location, key, error) from error
    except BotoCoreError as error:
        raise Unreachable(location, _line(f"{key}: {_cause(error)}{error}")) from error


def _cause(error: BotoCoreError) -> str:
    """What the system says, which boto leaves out where it can't connect."""
    why: BaseException | None = error.kwargs.get("error")
    while isinstance(why, Exception):
        if isinstance(why, OSError) and why.strerror:
            return "" if why.strerror in str(error) else f"{why.strerror}: "
        why = why.__cause__ or why.__context__
    return ""


def _from_answer(location: str, key: str, error: ClientError) -> StoreError:
    status = error.response["ResponseMetadata"]["HTTPStatusCode"]
    code = error.response["Error"].get("Code", "")
    message = error.response["Error"].get("Message", "")
    kind = _KINDS.get(code) or _BY_STATUS.get(status) or (Unreachable if status >= 500 else StoreError)
    what = str(status) if code == str(status) else f"{status} {code}"
    return kind(location, _line(f"{key}: {error.operation_name}: {what}: {message}"))


def _line(text: str) -> str:
    return " ".join(text.split())[:MAX_DETAIL]
