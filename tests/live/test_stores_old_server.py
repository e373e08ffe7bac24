"""An S3 store on a server of the old kind, and on one that fails."""

import base64
import dataclasses
import hashlib
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import Literal

import pytest

from archive.recordings.locations.errors import Conflict, Damaged, Full, Refused, StoreError, Unreachable
from archive.recordings.locations.s3 import LEARN_AFTER, S3Store
from archive.recordings.locations.s3_client import Limits
from archive.recordings.locations.store import Proof
from core.ids import ulid
from tests.live.store_kit import ADMIN, BIG, PART, Answer, Asked, OldServer, credentials, old_server, refusal, sha256

TWICE = Limits(connect_timeout_s=30, read_timeout_s=30, attempts=2)
IMPATIENT = dataclasses.replace(TWICE, read_timeout_s=0.2)


@pytest.fixture
def old() -> Iterator[OldServer]:
    with old_server() as server:
        yield server


def test_what_a_put_says_to_the_server(old: OldServer) -> None:
    now = datetime(2026, 11, 28, tzinfo=UTC)
    with closing(S3Store(old.location(lock_days=10, lock_mode="compliance"), now=lambda: now)) as store:
        store.put_bytes("rec/0.m4s", b"segment")
    (put,) = old.of("PUT")
    assert (put.path, put.body) == ("/kumbukumbu/rec/0.m4s", b"segment")
    told = {name: put.headers[name] for name in put.headers if name.startswith(("x-amz-checksum", "x-amz-obj", "if-"))}
    assert told == {
        "x-amz-checksum-sha256": base64.b64encode(hashlib.sha256(b"segment").digest()).decode(),
        "x-amz-object-lock-mode": "COMPLIANCE",
        "x-amz-object-lock-retain-until-date": "2026-12-08T00:00:00Z",
        "if-none-match": "*",
    }
    assert put.headers["x-amz-meta-sha256"] == sha256(b"segment")
    assert "expect" not in put.headers and credentials(ADMIN).secret_access_key.get_secret_value() not in str(put)


def test_a_server_without_checksums_and_conditions_is_read_back(old: OldServer) -> None:
    old.fault = lambda asked: refusal(501, "NotImplemented") if "if-none-match" in asked.headers else False
    with closing(S3Store(old.location())) as store:
        for number in range(LEARN_AFTER + 2):
            assert store.put_bytes(f"rec/{number}", b"segment").proof is Proof.READ_BACK
        assert store.put_bytes("rec/1", b"segment").was_there
        with pytest.raises(Conflict):
            store.put_bytes("rec/1", b"segmenT")
        assert [one.path for one in old.of("PUT")].count("/kumbukumbu/rec/1") == 1, "501 was learned with the first"
        old.fault = lambda _: False
        assert not store.facilities().checksums and not store.facilities().conditional_puts


def test_a_body_that_arrives_damaged_is_told_and_removed(old: OldServer) -> None:
    def spoil(asked: Asked) -> Answer | Literal[False] | None:
        if asked.method != "PUT":
            return False
        old.objects[asked.path] = asked.body[:-1] + b"?"
        return Answer(headers={"ETag": '"x"'})

    old.fault = spoil
    with closing(S3Store(old.location())) as store, pytest.raises(Damaged, match=r"rec/0\.m4s: not what was sent"):
        store.put_bytes("rec/0.m4s", b"segment")
    assert old.objects == {}


def test_an_answer_that_is_lost_makes_no_conflict(old: OldServer) -> None:
    """The first try was taken, its answer lost; the second finds what is there already."""

    def lose(asked: Asked) -> Answer | Literal[False] | None:
        if asked.method != "PUT":
            return False
        if asked.path in old.objects:
            return refusal(412, "PreconditionFailed")
        old.objects[asked.path] = asked.body
        return None

    old.fault = lose
    with closing(S3Store(old.location())) as store:
        assert store.put_bytes("rec/0.m4s", b"segment").size_bytes == 7
    assert len(old.of("PUT")) == 2


HANGS_S = 20


def _hang(old: OldServer) -> Answer:
    old.closing.wait(HANGS_S)
    return Answer(500)


@pytest.mark.parametrize(
    ("answer", "kind", "told"),
    [
        (lambda _: refusal(500, "InternalError"), Unreachable, "500 InternalError"),
        (lambda _: refusal(503, "SlowDown"), Unreachable, "503 SlowDown"),
        (lambda _: None, Unreachable, "."),
        (_hang, Unreachable, "timeout"),
        (lambda _: refusal(507, "InsufficientStorage"), Full, "it is full / imejaa"),
        (lambda _: refusal(507, "XMinioStorageFull"), Full, "it is full / imejaa"),
        (lambda _: refusal(403, "QuotaExceeded"), Full, "it is full / imejaa"),
        (lambda _: refusal(403, "RequestTimeTooSkewed", "clocks differ"), Refused, "clocks differ"),
        (lambda _: refusal(400, "BadDigest"), Damaged, "400 BadDigest"),
        (lambda _: refusal(400, "MalformedXML", "line\nbreak"), StoreError, "the store refuses .* line break"),
    ],
)  # fmt: skip
def test_a_put_to_a_server_that_fails_ends_soon_with_a_clear_line(
    old: OldServer, answer: Callable[[OldServer], Answer | None], kind: type[StoreError], told: str
) -> None:
    old.fault = lambda asked: answer(old) if asked.method == "PUT" else False
    began, limits = time.monotonic(), IMPATIENT if answer is _hang else TWICE
    with closing(S3Store(old.location(), limits)) as store, pytest.raises(kind, match=told) as failed:
        store.put_bytes("rec/0.m4s", b"segment")
    assert type(failed.value) is kind and "\n" not in str(failed.value)
    assert len(old.of("PUT")) <= TWICE.attempts
    assert time.monotonic() - began < HANGS_S


def test_nobody_at_the_address(old: OldServer) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        location = old.location(endpoint_url=f"http://127.0.0.1:{nobody.getsockname()[1]}")
        with closing(S3Store(location, TWICE)) as store, pytest.raises(Unreachable, match="location zamani"):
            store.put_bytes("a", b"x")


UPLOADED = b"<CompleteMultipartUploadResult><ETag>x</ETag></CompleteMultipartUploadResult>"


@pytest.mark.parametrize(
    ("ended", "told"),
    [
        (b"\n <Error><Code>InternalError</Code></Error>", "CompleteMultipartUpload: 500 InternalError"),
        (b"  ", "CompleteMultipartUpload: 500"),
        (UPLOADED, r"rec/0\.mp4: it is not there, though it was taken"),
    ],
    ids=["an error", "nothing", "a lie"],
)  # fmt: skip
def test_an_upload_that_ends_with_200_is_not_believed(old: OldServer, ended: bytes, told: str) -> None:
    def answer(asked: Asked) -> Answer | Literal[False]:
        if asked.method == "POST":
            begun = b"<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>"
            return Answer(body=begun if asked.query == "uploads" else ended)
        return Answer(headers={"ETag": '"x"'}) if "uploadId" in asked.query else False

    old.fault = answer
    limits = dataclasses.replace(TWICE, multipart_bytes=PART)
    with closing(S3Store(old.location(), limits)) as store, pytest.raises(Unreachable, match=told):
        store.put_bytes("rec/0.mp4", BIG)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (Answer(body=b"seg", length=7), "rec"),
        (Answer(body=b"<html>", headers={"content-type": "text/html"}), "rec"),
    ],
    ids=["breaks off", "no S3 at all"],
)  # fmt: skip
def test_reading_from_a_server_that_fails(old: OldServer, answer: Answer, told: str) -> None:
    old.fault = lambda _: answer
    with closing(S3Store(old.location(), TWICE)) as store, pytest.raises(Unreachable, match=told):
        print(store.digest("rec/0") if answer.length else list(store.list("rec")))


def test_uploads_of_others_in_the_same_bucket_are_let_be(old: OldServer) -> None:
    """A location needs no prefix of its own."""
    ours, others = f"{ulid(0, bytes(10))}/source/0.m4s", ("backup.tar", "rec/0.m4s")
    long_ago = "<Initiated>2020-01-01T00:00:00.000Z</Initiated>"
    told = "".join(f"<Upload><Key>{key}</Key><UploadId>u</UploadId>{long_ago}</Upload>" for key in (ours, *others))
    listed = f"<ListMultipartUploadsResult>{told}</ListMultipartUploadsResult>".encode()

    def answer(asked: Asked) -> Answer:
        return Answer(body=listed) if asked.method == "GET" else Answer(204)

    old.fault = answer
    with closing(S3Store(old.location(), TWICE)) as store:
        assert store.tidy(datetime.now(UTC)) == 1
    assert [one.path for one in old.of("DELETE")] == [f"/kumbukumbu/{ours}"]
