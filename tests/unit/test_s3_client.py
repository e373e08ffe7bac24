"""boto3's client against a server that reads slowly, as behind a thin line, and one that never ends its answer."""

import hashlib
import socket
import threading
import time
from contextlib import suppress

import pytest
from pydantic import SecretStr

from archive.recordings.locations import s3_patience
from archive.recordings.locations.config import Credentials, S3Location
from archive.recordings.locations.errors import Unreachable
from archive.recordings.locations.s3_client import Limits, make_client, told
from archive.recordings.locations.s3_parts import checksum_of

BYTES_PER_S = 1_000_000
SECRET = SecretStr("siri")


def at(door: socket.socket) -> S3Location:
    return S3Location(
        name="mbali", kind="s3", bucket="kumbukumbu", endpoint_url=f"http://127.0.0.1:{door.getsockname()[1]}",
        credentials=Credentials(access_key_id=SECRET, secret_access_key=SECRET),
    )  # fmt: skip


def take_slowly(door: socket.socket, taken: list[str]) -> None:
    """One request: what its body hashes to."""
    peer, _ = door.accept()
    with peer, peer.makefile("rb") as file:
        length = 0
        while (line := file.readline().lower().strip()) != b"":
            length = int(line.split(b":")[1]) if line.startswith(b"content-length:") else length
            if line.startswith(b"expect:"):
                peer.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        digest = hashlib.sha256()
        while length and (data := file.read1(min(length, 1 << 16))):
            digest.update(data)
            length -= len(data)
            time.sleep(len(data) / BYTES_PER_S)
        taken.append(digest.hexdigest())
        peer.sendall(b'HTTP/1.1 200 OK\r\nETag: "e"\r\nContent-Length: 0\r\n\r\n')


def test_a_line_that_is_slow_takes_a_part_that_is_large() -> None:
    """What is sent in one call, boto ends after `connect_timeout_s`. The kernel takes some megabytes at once."""
    body, taken = bytes(range(256)) * (8 << 12), list[str]()
    with socket.socket() as door:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        door.bind(("127.0.0.1", 0))
        door.listen()
        threading.Thread(target=take_slowly, args=(door, taken), daemon=True).start()
        client = make_client(at(door), Limits(connect_timeout_s=3, attempts=1))
        client.put_object(Bucket="kumbukumbu", Key="k", Body=body, ChecksumSHA256=checksum_of(body))
        client.close()
    assert taken == [hashlib.sha256(body).hexdigest()]


def dribble(door: socket.socket, answer: bytes, more: bytes) -> None:
    """One request: the beginning of an answer, and then a little of it again and again."""
    peer, _ = door.accept()
    with peer, suppress(OSError):  # whoever asked has had enough
        peer.recv(1 << 16)
        peer.sendall(answer)
        while True:
            peer.sendall(more)
            time.sleep(0.05)


@pytest.mark.parametrize(
    ("answer", "more"),
    [(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"), (b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n", b"x")],
)
def test_an_answer_that_never_ends_is_waited_for_no_longer_than_another(
    answer: bytes, more: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_patience, "WAIT_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as door:
        threading.Thread(target=dribble, args=(door, answer, more), daemon=True).start()
        client = make_client(at(door), Limits(read_timeout_s=1, attempts=1))
        with pytest.raises(Unreachable, match=r"[Tt]imeout"), told("mbali", "k"):
            client.get_object(Bucket="kumbukumbu", Key="k")["Body"].read()
        client.close()
