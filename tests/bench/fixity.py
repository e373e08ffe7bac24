"""How fast one worker reads a copy again, beside `openssl speed sha256` in blocks of 16 KiB on one core.

Ours looks each file up, opens it, reads it (from memory: the files were just written) and hashes it; openssl hashes
what it has already. Then as fixity does it, from the disk and past the memory, four workers at once.
"""

import random
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from archive.recordings.fixity import WORKERS, examine
from archive.recordings.locations.folder import FolderStore
from archive.recordings.verify import Line, hash_file
from tests.bench.servers import Missing

_ID = "0" * 26
_SEGMENT_BYTES, _SOUND_BYTES = (700_000, 2_000_000), (20_000, 60_000)


def run(segments: int, rounds: int) -> tuple[list[str], float]:
    """Lines to print, and our best rate to the best of openssl."""
    openssl = shutil.which("openssl")
    if openssl is None:
        raise Missing("there is no openssl")
    with tempfile.TemporaryDirectory(prefix="mbashara-bench-") as folder:
        files = _make_files(Path(folder) / _ID, segments)
        store = FolderStore("local", Path(folder), past_cache=False)
        _ours(store, files)
        ours, theirs = list[float](), list[float]()
        for _ in range(rounds):  # in turns: what else the machine does meets both
            theirs.append(_openssl(openssl))
            ours.append(_ours(store, files))
        disk = max(_ours(FolderStore("local", Path(folder)), files, WORKERS) for _ in range(rounds))
    size_mb = sum(int(line["size"]) for line in files.values()) / 1e6
    return [
        f"sha256 of one core: openssl {max(theirs):.0f} MB/s",
        f"fixity of {len(files)} files, {size_mb:.0f} MB, one worker: mbashara {max(ours):.0f} MB/s",
        f"the same from the disk, {WORKERS} workers: {disk:.0f} MB/s",
    ], max(ours) / max(theirs)


def _make_files(folder: Path, segments: int) -> dict[str, Line]:
    rng, files = random.Random(1), dict[str, Line]()
    for rendition, sizes in (("source", _SEGMENT_BYTES), ("source-audio", _SOUND_BYTES)):
        (folder / rendition).mkdir(parents=True)
        for msn in range(segments):
            name = f"{rendition}/{msn}.m4s"
            (folder / name).write_bytes(rng.randbytes(rng.randint(*sizes)))
            files[name] = {"size": (folder / name).stat().st_size, "sha256": hash_file(folder / name)}
    return files


def _openssl(program: str) -> float:
    """Megabytes a second."""
    command = [program, "speed", "-seconds", "1", "-bytes", "16384", "-mr", "sha256"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"^\+F:\d+:sha256:([\d.]+)", told, re.MULTILINE)
    assert found is not None, told
    return float(found[1]) / 1e6


def _ours(store: FolderStore, files: dict[str, Line], workers: int = 1) -> float:
    start = time.perf_counter()
    found = examine(store, _ID, files, workers=workers)
    took_s = time.perf_counter() - start
    assert found.is_whole and found.files_read == len(files)
    return found.bytes_read / 1e6 / took_s
