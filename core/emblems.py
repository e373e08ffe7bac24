"""Emblems (nembo) of institutions: a picture that someone sent is decoded and drawn anew; no byte of it is kept.

Decoders of pictures are large and old, and what comes in is anyone's. So it is done in a process of its own, in the
cage (`python -m core.emblems`: the picture on standard input, ours on standard output), two at most at once. What is
kept is a PNG under the hash of its bytes, which the edge serves as a file that never changes.
"""

import hashlib
import os
import re
import subprocess
import sys
import tempfile
from io import BytesIO
from pathlib import Path
from threading import BoundedSemaphore

from core import cage
from core.problems import Message

MAX_BYTES = 2 << 20
MAX_SIDE = 4096
"""Pixels; told by the picture's header before any of it is decoded. A square of it takes 64 MB."""
MIN_SIDE = 64
DRAWN_SIDE = 256
MAX_MEMORY_BYTES = 640 << 20
MAX_CPU_S = 8
MAX_WALL_S = 15
WAIT_S = 10
AT_ONCE = 2
REFUSED = 3
"""The worker's exit code where its output is the name of a Message."""
KINDS = {"PNG": b"\x89PNG\r\n\x1a\n", "JPEG": b"\xff\xd8\xff", "WEBP": b"RIFF"}
JPEG_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7]")
"""The next one in entropy-coded data, which stuffs zeros and has restart markers (ITU-T T.81, B.1.1.5)."""

_places = BoundedSemaphore(AT_ONCE)


NO_SECRETS = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH") if name in os.environ}
"""What the worker that decodes strangers' bytes knows of our environment."""


def draw(data: bytes) -> bytes | Message:
    """The picture as we keep it, a PNG of at most DRAWN_SIDE pixels, or what is wrong with it. Blocks."""
    problem = check(data)
    if problem is not None:
        return problem
    if not _places.acquire(timeout=WAIT_S):
        return Message.EMBLEM_BUSY
    try:
        command = [sys.executable, "-m", "core.emblems"]
        done = subprocess.run(command, input=data, capture_output=True, timeout=MAX_WALL_S, env=NO_SECRETS)
    except subprocess.TimeoutExpired:  # what is hard to draw is ended much sooner, by what it takes of a processor
        return Message.EMBLEM_BUSY
    finally:
        _places.release()
    if done.returncode == REFUSED:
        return Message[done.stdout.decode()]
    return Message.EMBLEM_BROKEN if done.returncode else done.stdout


def check(data: bytes) -> Message | None:
    """What is wrong as far as the file's outline tells: nothing is decoded."""
    if not data:
        return Message.EMBLEM_NONE
    if len(data) > MAX_BYTES:
        return Message.EMBLEM_LARGE
    kind = kind_of(data)
    if kind is None:
        return Message.EMBLEM_SVG if b"<svg" in data[:4096].lower() else Message.EMBLEM_KIND
    end = _ENDS[kind](data)
    if end is None or end > len(data):
        return Message.EMBLEM_BROKEN
    return None if end == len(data) else Message.EMBLEM_MORE


def kind_of(data: bytes) -> str | None:
    """By the file's first bytes: what it is called says nothing."""
    kind = next((kind for kind, start in KINDS.items() if data.startswith(start)), None)
    return None if kind == "WEBP" and data[8:12] != b"WEBP" else kind


def keep(folder: Path, institution_id: int, picture: bytes) -> str:
    """Writes it under its hash, whole or not at all, where a file of that name is not there already; the name."""
    name = f"{institution_id}-{hashlib.sha256(picture).hexdigest()[:16]}.png"
    with tempfile.NamedTemporaryFile(dir=folder, delete=False) as file:
        file.write(picture)
    os.chmod(file.name, 0o644)  # the edge is another user
    os.replace(file.name, folder / name)
    return name


def clear(folder: Path, institution_id: int, *kept: str | None) -> None:
    """Removes the institution's others. Pages that were kept a moment ago still name the one before: keep that too."""
    for path in folder.glob(f"{institution_id}-*.png"):
        if path.name not in kept:
            path.unlink(missing_ok=True)


def _png_end(data: bytes) -> int | None:
    """Behind the chunk IEND (PNG 3rd edition, 5.3)."""
    at = 8
    while at + 12 <= len(data):
        name, at = data[at + 4 : at + 8], at + 12 + int.from_bytes(data[at : at + 4])
        if name == b"IEND":
            return at
    return None


def _jpeg_end(data: bytes) -> int | None:
    """Behind the marker EOI (ITU-T T.81, B.1.1)."""
    at = 2
    while at + 2 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xD9:
            return at + 2
        if marker == 0xFF:  # filling
            at += 1
            continue
        at += 2 + int.from_bytes(data[at + 2 : at + 4])
        if marker == 0xDA:
            found = JPEG_MARKER.search(data, at)
            if found is None:
                return None
            at = found.start()
    return None


def _webp_end(data: bytes) -> int | None:
    """Behind what the RIFF header counts (RFC 9649, 2.4)."""
    return 8 + int.from_bytes(data[4:8], "little")


_ENDS = {"PNG": _png_end, "JPEG": _jpeg_end, "WEBP": _webp_end}


def redraw(data: bytes) -> bytes | Message:
    """The worker's part: decodes a picture that `check` found nothing wrong with. Any exception: it is broken."""
    from PIL import Image, ImageOps  # only the worker loads decoders

    Image.MAX_IMAGE_PIXELS = None  # ours is below, and told in words
    with Image.open(BytesIO(data), formats=[kind_of(data) or ""]) as sent:
        if max(sent.size) > MAX_SIDE:
            return Message.EMBLEM_PIXELS
        if min(sent.size) < MIN_SIDE:
            return Message.EMBLEM_SMALL
        sent.draft("RGB", (2 * DRAWN_SIDE, 2 * DRAWN_SIDE))
        upright = ImageOps.exif_transpose(sent).convert("RGBA")
    upright.thumbnail((DRAWN_SIDE, DRAWN_SIDE))
    clean = Image.new("RGBA", upright.size)  # a new one has no metadata to be written out again
    clean.paste(upright)
    drawn = BytesIO()
    clean.save(drawn, "PNG", optimize=True)
    return drawn.getvalue()


def _work() -> int:
    cage.go_in(cage.Limits(MAX_MEMORY_BYTES, MAX_CPU_S))
    answer = redraw(sys.stdin.buffer.read(MAX_BYTES))
    if isinstance(answer, Message):
        sys.stdout.write(answer.name)
        return REFUSED
    sys.stdout.buffer.write(answer)
    return 0


if __name__ == "__main__":
    raise SystemExit(_work())
