"""A bucket of an S3 server as a store (Amazon's, MinIO, Ceph, SeaweedFS).

What a put proves. Each body goes with its SHA-256, so a server that knows checksums refuses one that was damaged on its
way. Afterwards the object is asked for. Where the server states the SHA-256 that it worked out itself, and size and
SHA-256 are ours, the bytes arrived and were taken whole (Proof.CHECKSUM); that they still lie there well is for fixity
to read. Where it states none, all of it is read again and hashed (Proof.READ_BACK). In parts, the same holds of each
part's SHA-256 and of the one over them.

Once a server was seen to state the same afterwards (LEARN_AFTER), what it states in its answer to a put is proof
enough, and a body's own signature is left out: that of the headers, which name its SHA-256, binds it as well. `stat`
asks again, for whoever is about to remove the last other copy.
"""

import base64
import contextlib
import hashlib
import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from archive.recordings.locations.config import S3Location
from archive.recordings.locations.errors import (
    Conflict,
    Damaged,
    Locked,
    Missing,
    Refused,
    StoreError,
    Unreachable,
    Unsupported,
)
from archive.recordings.locations.s3_client import Limits, make_client, told
from archive.recordings.locations.s3_parts import checksum_of, composite_of, part_bytes, put_parts
from archive.recordings.locations.source import hashed, pieces, size_of
from archive.recordings.locations.store import (
    CHUNK_BYTES,
    PROBES,
    Digest,
    Facilities,
    Proof,
    Put,
    Stored,
    check_key,
    check_sha256,
)
from core.ids import is_id

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import HeadObjectOutputTypeDef as Head
    from mypy_boto3_s3.type_defs import PutObjectOutputTypeDef

LEARN_AFTER = 8
"""Puts after which it pays to find out whether the server itself keeps us from writing over what is there."""
_PART_BYTES = "part-bytes"
_DEFAULT = Limits()


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What is to be at a key. `lock`: the arguments that lock it."""

    key: str
    source: Path | bytes
    size: int
    sha256: str
    replace: bool
    lock: dict[str, Any]


class _Version(NamedTuple):
    """Of an object in a bucket that keeps versions; a delete marker has no body."""

    id: str
    modified: datetime
    is_latest: bool
    has_body: bool


class S3Store:
    """Keeps no file open and nothing on disk. `now` is what retention counts from."""

    def __init__(
        self, location: S3Location, limits: Limits = _DEFAULT, now: Callable[[], datetime] = _utc_now
    ) -> None:  # fmt: skip
        self._location, self._limits, self._now = location, limits, now
        self._client = make_client(location, limits)
        self._puts_with = self._client  # another one, once the server is known to check bodies itself
        self._bucket = location.bucket
        self._prefix = f"{location.prefix}/" if location.prefix else ""
        self._guards: bool | None = None  # whether the server obeys If-None-Match; None: not known
        self._puts = 0
        self._learning = threading.Lock()
        self._room = threading.Semaphore(limits.parts)
        self._versioned: bool | None = None

    @property
    def name(self) -> str:
        return self._location.name

    def put_file(self, key: str, path: Path, sha256: str, *, replace: bool = False, lock: bool = True) -> Put:
        return self._put(self._wanted(key, path, check_sha256(sha256), replace, lock))

    def put_bytes(self, key: str, data: bytes, *, replace: bool = False, lock: bool = True) -> Put:
        return self._put(self._wanted(key, data, hashlib.sha256(data).hexdigest(), replace, lock))

    def stat(self, key: str) -> Stored:
        head = self._head(key)
        checksum = _checksum(head)
        sha256 = None if checksum is None or "-" in checksum else checksum
        return Stored(
            key, head["ContentLength"], head["LastModified"].astimezone(UTC), sha256, head["Metadata"].get("sha256")
        )

    def open(self, key: str) -> Iterator[bytes]:
        return self._read(key)

    def _read(self, key: str, **of_version: Any) -> Iterator[bytes]:
        with self._told(key):
            answer = self._client.get_object(**self._at(key), **of_version)
            with contextlib.closing(answer["Body"]) as body:
                yield from body.iter_chunks(CHUNK_BYTES)  # boto raises where it is shorter than announced

    def digest(self, key: str) -> Digest:
        return _hashed(self.open(key))

    def former(self, key: str) -> tuple[Digest, ...]:
        if not self._has_versions():
            return ()
        older = [one for one in self._versions(key) if one.has_body and not one.is_latest]
        return tuple(_hashed(self._read(key, VersionId=one.id)) for one in older)

    def digests(self, keys: Sequence[str]) -> list[Digest | StoreError]:
        return [self._digest_or_error(key) for key in keys]

    def _digest_or_error(self, key: str) -> Digest | StoreError:
        try:
            return self.digest(key)
        except StoreError as error:
            return error

    def list(self, prefix: str = "") -> Iterator[Stored]:
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=self._prefix + prefix, PaginationConfig={"PageSize": self._limits.page_keys}
        )
        with self._told(prefix):
            for page in pages:
                for found in page.get("Contents", []):
                    modified = found["LastModified"].astimezone(UTC)
                    yield Stored(found["Key"].removeprefix(self._prefix), found["Size"], modified)

    def keys(self, prefix: str) -> set[str]:
        if not self._has_versions():
            return {one.key for one in self.list(prefix)}
        return {key for key, _ in self._all_versions(prefix)}

    def delete(self, key: str) -> None:
        """Oldest version first: where one is locked, what is seen stays as it was. A server that marks it as deleted
        keeps versions, since it was asked for that or without telling us: they go too."""
        if not self._has_versions():
            with self._told(key):
                answer = self._client.delete_object(**self._at(key))
            if "VersionId" not in answer and not answer.get("DeleteMarker"):
                return
            self._versioned = True
        for version in reversed(self._versions(key)):
            try:
                with self._told(key):
                    self._client.delete_object(**self._at(key), VersionId=version.id)
            except Refused:
                if self._is_locked(key, version.id):
                    raise Locked(self.name, key) from None
                raise

    def set_hold(self, key: str, on: bool) -> None:
        self._head(key)  # not every server says Missing below
        with self._told_lock(key):
            self._client.put_object_legal_hold(**self._at(key), LegalHold={"Status": "ON" if on else "OFF"})

    def is_held(self, key: str) -> bool:
        return self._head(key).get("ObjectLockLegalHoldStatus") == "ON"

    def retain(self, key: str, until: datetime) -> None:
        self._head(key)
        with self._told_lock(key):
            self._client.put_object_retention(
                **self._at(key), Retention={"Mode": self._lock_mode(), "RetainUntilDate": until.astimezone(UTC)}
            )

    def retained_until(self, key: str) -> datetime | None:
        return self._head(key).get("ObjectLockRetainUntilDate")

    def tidy(self, before: datetime) -> int:
        pages = self._client.get_paginator("list_multipart_uploads").paginate(Bucket=self._bucket, Prefix=self._prefix)
        with self._told("uploads"):
            uploads = [
                one
                for page in pages
                for one in page.get("Uploads", [])
                if one["Initiated"] < before and self._is_ours(one["Key"])
            ]
            for upload in uploads:
                self._client.abort_multipart_upload(Bucket=self._bucket, Key=upload["Key"], UploadId=upload["UploadId"])
        return len(uploads)

    def _is_ours(self, key: str) -> bool:
        """A bucket may be others' too, and a location without a prefix: what is in parts is a recording's."""
        return is_id(key.removeprefix(self._prefix).partition("/")[0])

    def facilities(self) -> Facilities:
        body = secrets.token_bytes(16)
        probe = self._wanted(f"{PROBES}/{body.hex()}", body, hashlib.sha256(body).hexdigest(), False, False)
        try:
            refuses = self._refuses_damage(probe)
            self._send(probe, body, guarded=False)
            keeps = self.stat(probe.key).sha256 is not None
            guards = self._refuses_a_second(probe, body)
        finally:
            with contextlib.suppress(StoreError):  # where the bucket gives a retention to all; or what went wrong above
                self.delete(probe.key)
        return Facilities(self._can_lock(), self._has_versions(), refuses and keeps, guards, None)

    def close(self) -> None:
        self._client.close()
        self._puts_with.close()

    # A put: look unless the server guards, send, and ask what arrived.

    def _wanted(self, key: str, source: Path | bytes, sha256: str, replace: bool, lock: bool) -> _Wanted:
        check_key(key)
        days = self._location.lock_days if lock else 0
        until = self._now() + timedelta(days=days)
        lock_arguments = {"ObjectLockMode": self._lock_mode(), "ObjectLockRetainUntilDate": until} if days else {}
        return _Wanted(key, source, size_of(self.name, key, source), sha256, replace, lock_arguments)

    def _put(self, wanted: _Wanted) -> Put:
        whole = wanted.size <= self._limits.multipart_bytes
        if wanted.replace or not whole or not self._guards:
            there = self._find(wanted.key)
            if there is not None and (put := self._already(wanted, there)):
                return put
            if there is not None and not wanted.replace:
                raise Conflict(self.name, wanted.key)
        try:
            return self._put_whole(wanted) if whole else self._put_parts(wanted)
        except (Conflict, Missing):  # somebody was quicker; or it was us, and the answer to the first try was lost
            there = self._find(wanted.key)
            if there is None:
                raise Unreachable(self.name, f"{wanted.key}: it is not there, though it was taken") from None
            if put := self._already(wanted, there):
                return put
            raise Conflict(self.name, wanted.key) from None

    def _already(self, wanted: _Wanted, there: "Head") -> Put | None:
        checksum = _checksum(there) or ""
        composite = ""
        if "-" in checksum and there["ContentLength"] == wanted.size and _PART_BYTES in there["Metadata"]:
            parts = pieces(self.name, wanted.key, wanted.source, int(there["Metadata"][_PART_BYTES]))
            composite = composite_of([checksum_of(part) for part in parts])
        proof = self._proof(wanted, there, composite)
        return None if proof is None else Put(wanted.key, wanted.size, True, proof)

    def _put_whole(self, wanted: _Wanted) -> Put:
        chunks = pieces(self.name, wanted.key, wanted.source, max(wanted.size, 1))
        body = b"".join(hashed(self.name, wanted.key, chunks, wanted.sha256))
        guarded = not wanted.replace and self._guards is not False
        try:
            version, stated = self._send(wanted, body, guarded)
        except Unsupported:
            if not guarded:
                raise
            self._guards, guarded = False, False
            version, stated = self._send(wanted, body, guarded)
        if self._puts_with is not self._client and stated == wanted.sha256:
            return Put(wanted.key, wanted.size, False, Proof.CHECKSUM)
        put = self._proven(wanted, version, "")
        self._puts += 1
        if put.proof is Proof.CHECKSUM and self._puts >= LEARN_AFTER:
            self._leave_bodies_unsigned()
        if guarded and self._guards is None and self._puts >= LEARN_AFTER:
            with self._learning:
                self._guards = self._refuses_a_second(wanted, body) if self._guards is None else self._guards
        return put

    def _leave_bodies_unsigned(self) -> None:
        with self._learning:
            if self._puts_with is self._client:
                self._puts_with = make_client(self._location, self._limits, sign_bodies=False)

    def _send(self, wanted: _Wanted, body: bytes, guarded: bool) -> tuple[str | None, str | None]:
        """The version's id, where there are versions, and the SHA-256 that the server says it took."""
        checksum = base64.b64encode(bytes.fromhex(wanted.sha256)).decode()
        guard: dict[str, Any] = {"IfNoneMatch": "*"} if guarded else {}
        about = self._about(wanted)
        with self._told_lock(wanted.key) if wanted.lock else self._told(wanted.key):
            answer = self._puts_with.put_object(
                **self._at(wanted.key), Body=body, ChecksumSHA256=checksum, **about, **guard
            )
        return answer.get("VersionId"), _checksum(answer)

    def _put_parts(self, wanted: _Wanted) -> Put:
        each = part_bytes(wanted.size, self._limits.multipart_bytes)
        parts = hashed(self.name, wanted.key, pieces(self.name, wanted.key, wanted.source, each), wanted.sha256)
        about = self._about(wanted)
        about["Metadata"] = {**about["Metadata"], _PART_BYTES: str(each)}
        guard = {} if wanted.replace or self._guards is False else {"IfNoneMatch": "*"}
        with self._told_lock(wanted.key) if wanted.lock else self._told(wanted.key):
            version, composite = put_parts(self._puts_with, self._at(wanted.key), parts, about, guard, self._room)
        return self._proven(wanted, version, composite)

    def _proven(self, wanted: _Wanted, version: str | None, composite: str) -> Put:
        """What is not ours is removed again, so that another put finds its place free."""
        proof = self._proof(wanted, self._head(wanted.key), composite)
        if proof is not None:
            return Put(wanted.key, wanted.size, False, proof)
        of_version: dict[str, Any] = {"VersionId": version} if version else {}
        with contextlib.suppress(StoreError), self._told(wanted.key):
            self._client.delete_object(**self._at(wanted.key), **of_version)
        raise Damaged(self.name, f"{wanted.key}: not what was sent")

    def _proof(self, wanted: _Wanted, there: "Head", composite: str) -> Proof | None:
        """Whether it is what is wanted, and how we know."""
        if there["ContentLength"] != wanted.size:
            return None
        checksum = _checksum(there)
        if checksum is None or ("-" in checksum and not composite):
            return Proof.READ_BACK if self.digest(wanted.key).sha256 == wanted.sha256 else None
        return Proof.CHECKSUM if checksum in (wanted.sha256, composite) else None

    def _about(self, wanted: _Wanted) -> dict[str, Any]:
        return {"Metadata": {"sha256": wanted.sha256}, **wanted.lock}

    # Asking.

    def _at(self, key: str) -> dict[str, Any]:
        check_key(key)
        return {"Bucket": self._bucket, "Key": self._prefix + key}

    def _head(self, key: str) -> "Head":
        try:
            with self._told(key):
                return self._client.head_object(**self._at(key), ChecksumMode="ENABLED")
        except Missing:
            self._check_bucket()  # an answer to HEAD has no body that could tell which of the two is missing
            raise

    def _find(self, key: str) -> "Head | None":
        """Without asking after the bucket: the put that follows is told."""
        with contextlib.suppress(Missing), self._told(key):
            return self._client.head_object(**self._at(key), ChecksumMode="ENABLED")
        return None

    def _check_bucket(self) -> None:
        try:
            with self._told(self._bucket):
                self._client.head_bucket(Bucket=self._bucket)
        except Missing:
            raise Unreachable(self.name, f"there is no bucket {self._bucket}") from None

    def _has_versions(self) -> bool:
        if self._versioned is None:
            with contextlib.suppress(Unsupported, Refused), self._told(self._bucket):
                self._versioned = bool(self._client.get_bucket_versioning(Bucket=self._bucket).get("Status"))
        return bool(self._versioned)

    def _versions(self, key: str) -> tuple[_Version, ...]:
        """Newest first."""
        check_key(key)
        found = {its.id: its for its_key, its in self._all_versions(key) if its_key == key}
        return tuple(sorted(found.values(), key=lambda one: (one.is_latest, one.modified), reverse=True))

    def _all_versions(self, prefix: str) -> Iterator[tuple[str, _Version]]:
        """With the keys that they are of."""
        pages = self._client.get_paginator("list_object_versions").paginate(
            Bucket=self._bucket, Prefix=self._prefix + prefix
        )
        with self._told(prefix):
            for page in pages:
                kept, gone = page.get("Versions", []), page.get("DeleteMarkers", [])
                for one, has_body in (*((one, True) for one in kept), *((one, False) for one in gone)):
                    its = _Version(one["VersionId"], one["LastModified"], one["IsLatest"], has_body)
                    yield one["Key"].removeprefix(self._prefix), its

    def _is_locked(self, key: str, version: str) -> bool:
        with contextlib.suppress(StoreError), self._told(key):
            head = self._client.head_object(**self._at(key), VersionId=version)
            return head.get("ObjectLockLegalHoldStatus") == "ON" or "ObjectLockRetainUntilDate" in head
        return False

    def _can_lock(self) -> bool:
        with contextlib.suppress(Unsupported, Refused, Missing), self._told(self._bucket):
            found = self._client.get_object_lock_configuration(Bucket=self._bucket)
            return found["ObjectLockConfiguration"].get("ObjectLockEnabled") == "Enabled"
        return False

    def _refuses_damage(self, probe: _Wanted) -> bool:
        try:
            self._send(probe, b"damaged", guarded=False)
        except Damaged:
            return True
        return False

    def _refuses_a_second(self, wanted: _Wanted, body: bytes) -> bool:
        try:
            self._send(wanted, body, guarded=True)
        except (Conflict, Unsupported) as error:
            return isinstance(error, Conflict)
        return False

    def _lock_mode(self) -> Literal["COMPLIANCE", "GOVERNANCE"]:
        return "COMPLIANCE" if self._location.lock_mode == "compliance" else "GOVERNANCE"

    def _told(self, key: str) -> contextlib.AbstractContextManager[None]:
        return told(self.name, key)

    @contextmanager
    def _told_lock(self, key: str) -> Iterator[None]:
        """S3 says no more than InvalidRequest where the bucket has no object lock."""
        try:
            with self._told(key):
                yield
        except StoreError as error:
            if "InvalidRequest" in error.detail:
                raise Unsupported(self.name, f"{key}: the bucket {self._bucket} has no object lock") from error
            raise


def _hashed(chunks: Iterator[bytes]) -> Digest:
    hasher, size = hashlib.sha256(), 0
    for chunk in chunks:
        hasher.update(chunk)
        size += len(chunk)
    return Digest(size, hasher.hexdigest())


def _checksum(head: "Head | PutObjectOutputTypeDef") -> str | None:
    """SHA-256 in hex of the whole; for an object in parts, what S3 says of the parts, BASE64-COUNT."""
    stated = head.get("ChecksumSHA256")
    return stated if stated is None or "-" in stated else base64.b64decode(stated).hex()
