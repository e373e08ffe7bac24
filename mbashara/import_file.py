"""Makes a recording of a file: `python -m mbashara.import_file`, a process of its own at the lowest priority.

It is looked into, hashed, and played through a broadcast's packagers, recorder and ledger (imported_broadcast.py); all
ffmpegs are caged (core/cage.py). The recording is made under RECORDINGS/.imports, where nobody looks; imports.py gives
it its place when it is whole: whatever kills this process, it begins anew from the file. The order
(import_order.py) comes as JSON on standard input, what becomes of it goes out as lines of JSON.
"""

import asyncio
import errno
import hashlib
import json
import os
import re
import shutil
import sys
import threading
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import imageio_ffmpeg

from archive.imports.kept import ORIGINAL, STAGING
from archive.recordings.recorder import Recorder
from core import cage
from core.media.files import sync_file_system
from mbashara.import_order import Failed, Order, fail, has_space, tell
from mbashara.imported_broadcast import ImportedBroadcast
from mbashara.step_back import step_back
from transcode.files.facts import Refused, Trouble, decide
from transcode.files.look import look

WATCH_S = 0.5
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
ENDING = re.compile("[a-z0-9]{1,10}")
SERVED = ("m3u8", "m4s")


def safe_name(name: str) -> str:
    """What the original is called: never as a file that players ask for. The ledger has the name that it came with."""
    ending = name.rpartition(".")[2].lower() if "." in name else ""
    return f"file.{ending}" if ENDING.fullmatch(ending) and ending not in SERVED else "file"


class _Digest(threading.Thread):
    """The hash, made while the file is looked into: it is read from the disk once."""

    def __init__(self, file: Path) -> None:
        super().__init__(daemon=True)
        self._file, self._hash = file, ""

    def run(self) -> None:
        with suppress(OSError), self._file.open("rb") as file:
            self._hash = hashlib.file_digest(file, "sha256").hexdigest()

    def result(self) -> str:
        while self.is_alive():
            tell(progress=0.0)
            self.join(WATCH_S)
        return self._hash


def make(order: Order, executable: str) -> dict[str, Any]:
    """What became of it. Raises Failed."""
    place = Path(order.recordings, STAGING, order.id)
    shutil.rmtree(place, ignore_errors=True)
    if not has_space(order):
        raise fail(Trouble.DISK_FULL)
    file = Path(order.file)
    try:
        digest = _Digest(file)
        digest.start()
        found = look(file, while_waiting=lambda: tell(progress=0.0))
        sha256 = digest.result()
        if not sha256 or file.stat().st_size != order.size or order.sha256 not in (None, sha256):
            raise fail(Trouble.CHANGED)
    except FileNotFoundError as error:
        raise fail(Trouble.GONE) from error
    if isinstance(found, Refused):
        raise Failed(found)
    making = decide(
        found, takes_short=order.takes_short, longest_ms=order.longest_ms, target_duration_s=order.target_duration_s
    )
    if isinstance(making, Refused):
        raise Failed(making)
    try:
        kept = _keep_original(file, place, order.name)
        original = {"name": order.name, "file": kept, "size": order.size, "sha256": sha256}
        told: dict[str, Any] = {
            "original": original, "title_sw": order.title_sw, "title_en": order.title_en, "by": order.by,
            "container": found.container, "read_ms": found.read_ms, "is_copied": making.copies_picture,
        }  # fmt: skip
        if order.embargo is not None:
            told["embargo"] = order.embargo
        origin_ms = order.at_ms if order.at_ms is not None else _said_ms(found.created, order.now_ms)
        started = {"recording": order.id, "broadcast": order.id, **order.channel, "import": told}
        recorder = Recorder(place.parent)
        recorder.start()
        try:
            length_ms = asyncio.run(ImportedBroadcast(order, making, recorder, executable).run(origin_ms, started))
        finally:
            recorder.stop()
        if recorder.failing:
            raise fail(Trouble.DISK_FULL)
        sync_file_system(place)
    except OSError as error:
        if error.errno not in FULL:
            raise  # it begins again, and the log says why
        raise fail(Trouble.DISK_FULL) from error
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise
    return {"sha256": sha256, "length_ms": length_ms}


def _said_ms(created: str | None, now_ms: int) -> int:
    return round(datetime.fromisoformat(created).timestamp() * 1000) if created else now_ms


def _keep_original(file: Path, place: Path, name: str) -> str:
    """As a file of the recording: the very same one where that is the same disk. Its path in the recording's folder."""
    folder = place / ORIGINAL
    folder.mkdir(parents=True)
    kept = folder / safe_name(name)
    try:
        os.link(file, kept)
    except OSError:
        shutil.copyfile(file, kept)
    return f"{ORIGINAL}/{kept.name}"


def main() -> int:
    step_back()
    cage.die_with_parent(os.getppid())
    order = Order(**json.load(sys.stdin))
    try:
        tell(made=make(order, str(imageio_ffmpeg.get_ffmpeg_exe())))
    except Failed as failed:
        refused = failed.refused
        tell(failed={"trouble": refused.trouble, "read_ms": refused.read_ms, "told_ms": refused.told_ms})
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
