"""boto3's client against a server that reads slowly, as behind a thin line."""

import hashlib
import socket
import threading
import time

from pydantic import SecretStr

from archive.recordings.locations.config import Credentials, S3Location
from archive.recordings.locations.s3_client import Limits, make_client
from archive.recordings.locations.s3_parts import checksum_of

BYTES_PER_S = 5_000_000
SECRET = SecretStr("siri")


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
        location = S3Location(
            name="mbali", kind="s3", bucket="kumbukumbu", endpoint_url=f"http://127.0.0.1:{door.getsockname()[1]}",
            credentials=Credentials(access_key_id=SECRET, secret_access_key=SECRET),
        )  # fmt: skip
        client = make_client(location, Limits(connect_timeout_s=0.4, attempts=1))
        client.put_object(Bucket=location.bucket, Key="k", Body=body, ChecksumSHA256=checksum_of(body))
        client.close()
    assert taken == [hashlib.sha256(body).hexdigest()]
