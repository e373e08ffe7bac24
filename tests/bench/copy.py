"""How fast a recording is copied to S3, beside the aws client with the same files and the same server (SeaweedFS).

Ours puts a file only where nothing else lies, hashes it, and has the server say what arrived; aws does none of this.
What aws takes to start is not counted against it, nor against us that a client is made: the work process has one for
each place.
"""

import hashlib
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from archive.recordings.locations.errors import StoreError
from archive.recordings.locations.many import File, put_many
from archive.recordings.locations.s3 import S3Store
from tests.bench.servers import Missing
from tests.live.store_kit import ADMIN, Weed, weed

_BUCKET = "kumbukumbu"
_SEGMENT_BYTES, _SMALL_BYTES = (700_000, 2_000_000), (300, 30_000)


@dataclass(frozen=True, slots=True)
class Files:
    """A recording's folder: segments, and as many small files (sound, initialisations, indexes)."""

    folder: Path
    files: tuple[File, ...]
    size_bytes: int


def run(segments: int, rounds: int) -> tuple[list[str], float]:
    """Lines to print, and our rate to that of aws."""
    aws = Path(sys.executable).parent / "aws"
    if not aws.exists():
        raise Missing("the aws client is not installed (pip install awscli)")
    with tempfile.TemporaryDirectory(prefix="mbashara-bench-") as folder, weed(Path(folder) / "weed") as server:
        server.make_bucket(_BUCKET)
        files = _make_files(Path(folder) / "recording", segments)
        start_s = _best_s(lambda to: _aws(aws, server, files.folder / "0.small", to), "start", 5)
        ours, theirs = list[float](), list[float]()
        for number in range(rounds):  # in turns: what else the machine does meets both
            theirs.append(_best_s(lambda to: _aws(aws, server, files.folder, to), f"aws-{number}", 1) - start_s)
            ours.append(_ours_s(server, files, f"ours-{number}"))
    ratio = min(theirs) / min(ours)
    megabytes = files.size_bytes / 1e6
    what = f"{len(files.files)} files, {megabytes:.0f} MB"
    return [
        f"copy of {what} to S3: aws {megabytes / min(theirs):.0f} MB/s (without its start of {start_s:.1f} s)",
        f"copy of {what} to S3: mbashara {megabytes / min(ours):.0f} MB/s",
    ], ratio


def run_large(megabytes: int, rounds: int) -> tuple[list[str], float]:
    """The same of one file that goes in parts."""
    aws = Path(sys.executable).parent / "aws"
    if not aws.exists():
        raise Missing("the aws client is not installed (pip install awscli)")
    with tempfile.TemporaryDirectory(prefix="mbashara-bench-") as folder, weed(Path(folder) / "weed") as server:
        server.make_bucket(_BUCKET)
        data = random.Random(1).randbytes(1 << 20) * megabytes
        (small := Path(folder) / "small").write_bytes(b"small")
        (path := Path(folder) / "large.mxf").write_bytes(data)
        files = Files(Path(folder), (File(path.name, path, hashlib.sha256(data).hexdigest()),), len(data))
        start_s = _best_s(lambda to: _aws(aws, server, small, to), "start", 5)
        ours, theirs = list[float](), list[float]()
        for number in range(rounds):
            theirs.append(_best_s(lambda to: _aws(aws, server, path, to), f"aws-large-{number}", 1) - start_s)
            ours.append(_ours_s(server, files, f"ours-large-{number}"))
    ratio = min(theirs) / min(ours)
    what = f"one file of {len(data) / 1e6:.0f} MB"
    rates = f"aws {len(data) / 1e6 / min(theirs):.0f} MB/s, mbashara {len(data) / 1e6 / min(ours):.0f} MB/s"
    return [f"copy of {what} to S3: {rates}"], ratio


def _make_files(folder: Path, segments: int) -> Files:
    folder.mkdir()
    rng, files, total = random.Random(1), list[File](), 0
    for number in range(segments):
        for kind, size in (("m4s", rng.randint(*_SEGMENT_BYTES)), ("small", rng.randint(*_SMALL_BYTES))):
            data = rng.randbytes(size)
            path = folder / f"{number}.{kind}"
            path.write_bytes(data)
            files.append(File(path.name, path, hashlib.sha256(data).hexdigest()))
            total += size
    return Files(folder, tuple(files), total)


def _best_s(copy: Callable[[str], None], to: str, rounds: int) -> float:
    times = []
    for number in range(rounds):
        start = time.perf_counter()
        copy(f"{to}-{number}")
        times.append(time.perf_counter() - start)
    return min(times)


def _aws(aws: Path, server: Weed, source: Path, to: str) -> None:
    held = server.location(_BUCKET).credentials
    environment = {
        **os.environ,
        "AWS_ACCESS_KEY_ID": held.access_key_id.get_secret_value(),
        "AWS_SECRET_ACCESS_KEY": held.secret_access_key.get_secret_value(),
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": os.devnull,
    }
    recursive = ["--recursive"] if source.is_dir() else []
    command = [str(aws), "s3", "cp", "--only-show-errors", "--endpoint-url", server.endpoint_url, *recursive]
    subprocess.run([*command, str(source), f"s3://{_BUCKET}/{to}/"], env=environment, check=True)


def _ours_s(server: Weed, files: Files, to: str) -> float:
    with closing(S3Store(server.location(_BUCKET, ADMIN, prefix=to))) as store:
        start = time.perf_counter()
        for _file, put in put_many(store, files.files):
            if isinstance(put, StoreError):
                raise put
        return time.perf_counter() - start
