"""The maker of one export, a process of its own: it gets its order as JSON, and tells how far it is and what it made as
lines of JSON. It has neither a database nor a network; it runs at the lowest priority, so the air is never hurt.

What is half made lies in the order's folder and goes with it. It is stopped by SIGTERM, between two segments.
"""

import hashlib
import json
import os
import resource
import shutil
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from archive.recordings import bag, bag_stream, certificates, verify
from archive.recordings.about import About
from archive.recordings.bag_errors import BagError
from archive.recordings.bag_stream import PARTS, PLAN
from archive.recordings.export import Damaged, NoRoom, TimeUp, export
from archive.recordings.export_credentials import CredentialsError, Described, sealing
from archive.recordings.export_plan import Destroyed, ExportError, NothingThere, Range
from archive.recordings.premis import write_premis
from archive.recordings.samples import Stopped, UnknownRecording
from core import cage
from core.media.packet import MediaError
from core.web.i18n import Language
from mbashara import __version__
from mbashara.step_back import step_back

MEMORY_BYTES = 4 << 30
LOOK_S = 0.5


@dataclass(frozen=True, slots=True)
class Order:
    """`recording` is its folder, `target` an empty one for the files, on the disk that has room; `secrets` is
    DATA/secrets/c2pa; `described` and `about` are facts of the catalogue; `keys` is keys.json for a bag."""

    recording: str
    target: str
    name: str
    format: str
    from_ms: int | None
    to_ms: int | None
    rendition: str | None
    described: dict[str, str]
    about: dict[str, str]
    keys: str
    secrets: str
    limit_s: float
    min_free_bytes: int

    def as_json(self) -> str:
        return json.dumps(asdict(self))


class Failed(Exception):
    """`trouble` is a key of archive.exports.words.TROUBLES."""

    def __init__(self, trouble: str, detail: str = "") -> None:
        super().__init__(trouble, detail)
        self.trouble, self.detail = trouble, detail


class Watch:
    """When to stop: asked for, or the disk fills up under the air."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._looked_s = 0.0
        self.is_asked = False
        self.is_full = False

    def __call__(self) -> bool:
        now_s = time.monotonic()
        if now_s - self._looked_s >= LOOK_S:
            self._looked_s = now_s
            self.is_full |= shutil.disk_usage(self._order.target).free < self._order.min_free_bytes
        return self.is_asked or self.is_full


def make(order: Order, watch: Watch, progress: Callable[[float], None]) -> dict[str, Any]:
    """The files, and the rendition that they are of. Raises Failed, Stopped."""
    try:
        if order.format == "bag":
            return {"files": [_make_bag(order, watch, progress)], "rendition": ""}
        return _make_media(order, watch, progress)
    except Stopped as error:
        if watch.is_full:
            raise Failed("no_room") from error
        raise
    except Destroyed as error:
        raise Failed("destroyed") from error
    except NothingThere as error:
        raise Failed("nothing") from error
    except NoRoom as error:
        raise Failed("no_room") from error
    except TimeUp as error:
        raise Failed("too_long") from error
    except Damaged as error:
        raise Failed("damaged", error.name) from error
    except MediaError as error:
        raise Failed("damaged", str(error)) from error
    except (UnknownRecording, FileNotFoundError) as error:
        raise Failed("rendition" if order.rendition else "gone") from error
    except CredentialsError as error:
        raise Failed("credentials", str(error)) from error
    except BagError as error:
        raise Failed("package", error.text(Language.SW)) from error
    except (ExportError, OSError) as error:
        raise Failed("no_room" if isinstance(error, OSError) and error.errno == 28 else "fault", str(error)) from error


def _make_media(order: Order, watch: Watch, progress: Callable[[float], None]) -> dict[str, Any]:
    now, described = datetime.now(UTC), Described(**order.described)
    by = certificates.identity(Path(order.secrets), described.institution, described.institution_name, now)
    made = export(
        Path(order.recording), Path(order.target) / order.name, asked=Range(order.from_ms, order.to_ms),
        rendition=order.rendition, only_sound=order.format == "m4a", progress=progress, stop=watch,
        seal=sealing(described, by, now, __version__), replace=True, limit_s=order.limit_s,
    )  # fmt: skip
    files = [
        {**_file(one.path), "from_ms": one.from_ms, "to_ms": one.to_ms, "duration_ms": one.duration_ms}
        for one in made.files
    ]
    return {"files": files, "rendition": made.video or made.sound or ""}


def _make_bag(order: Order, watch: Watch, progress: Callable[[float], None]) -> dict[str, Any]:
    """Not the tar itself, which is put together as it is fetched: only what the recording has not got."""
    folder, target, about = Path(order.recording), Path(order.target), About(**order.about)
    size = sum(one.stat().st_size for one in folder.rglob("*") if one.is_file())
    premis = target / ".premis.xml"
    with premis.open("wb") as file:
        write_premis(folder, file, about, __version__)
    tags: dict[str, bag.Tag] = {
        "metadata/keys.json": order.keys.encode(),
        "metadata/premis.xml": premis,
        "metadata/verify.py": Path(verify.__file__),
    }
    with (target / f"{order.name}{PARTS}").open("wb") as parts:
        passing = _Passing(
            watch, time.monotonic() + order.limit_s, lambda done: progress(min(1.0, done / max(1, size)))
        )
        plan = bag_stream.plan_tar(folder, parts, about, tags, datetime.now(UTC), passing)
        parts.flush()
        os.fsync(parts.fileno())
    premis.unlink()
    (target / f"{order.name}{PLAN}").write_text(plan.as_json())
    return {"name": order.name, "size": plan.size, "sha256": plan.sha256}


class _Passing:
    """Sees the bytes of a tar, which may be stopped between two of them."""

    def __init__(self, stop: Watch, deadline_s: float, done: Callable[[int], None]) -> None:
        self._stop, self._deadline_s, self._done, self._count = stop, deadline_s, done, 0

    def __call__(self, data: bytes) -> None:
        if self._stop():
            raise Stopped
        if time.monotonic() > self._deadline_s:
            raise TimeUp
        self._count += len(data)
        self._done(self._count)


def _file(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return {
            "name": path.name,
            "size": path.stat().st_size,
            "sha256": hashlib.file_digest(file, "sha256").hexdigest(),
        }


class _Teller:
    """Lines of JSON on standard output, progress at most twice a second."""

    def __init__(self) -> None:
        self._told_s = 0.0

    def progress(self, part: float) -> None:
        now_s = time.monotonic()
        if now_s - self._told_s >= LOOK_S:
            self._told_s = now_s
            self.tell(progress=part)

    def tell(self, **told: Any) -> None:
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()


def main() -> int:
    step_back()
    with suppress(psutil.Error, OSError, AttributeError):
        psutil.Process().ionice(psutil.IOPRIO_CLASS_IDLE)
    cage.die_with_parent(os.getppid())
    for limit, most in ((resource.RLIMIT_AS, MEMORY_BYTES), (resource.RLIMIT_CORE, 0)):
        with suppress(ValueError, OSError):
            resource.setrlimit(limit, (most, most))
    order = Order(**json.load(sys.stdin))
    watch, teller = Watch(order), _Teller()
    signal.signal(signal.SIGTERM, lambda *_: setattr(watch, "is_asked", True))
    try:
        teller.tell(made=make(order, watch, teller.progress))
    except Failed as failed:
        teller.tell(failed={"trouble": failed.trouble, "detail": failed.detail})
    except Stopped:
        teller.tell(stopped=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
