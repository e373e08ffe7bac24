"""A recording, or a stretch of it, as one MP4 or M4A for people to keep: the very samples that viewers got, in another
container, nothing encoded anew.

A picture begins at the keyframe at or before the asked moment. Where neither picture nor sound was recorded, the file
goes on with what comes next, and the gap is told; so its duration is what it holds. Where only one of the two is
lacking, the other goes on. Where an encoder came back with another size or sampling rate, a new file begins: players
that show one file with two configurations are few.

Everything is planned from the heads of fragments (`plan`), so size and duration are known before a byte is written, and
the header goes first. Memory: some 11 MB for each hour (measured: 7 h, 2.3 GB in 10 s, 87 MB more).
"""

import hashlib
import itertools
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from dataclasses import replace as replace_fields
from pathlib import Path
from typing import BinaryIO

from archive.recordings.export_plan import (
    WHOLE,
    Destroyed,
    ExportError,
    NothingThere,
    Piece,
    Planned,
    Range,
    Stop,
    choose,
    head,
    order,
    plan,
    why,
)
from archive.recordings.samples import HOLE_MS, Absence, Recorded, Rendition, Stopped, read_recorded
from archive.recordings.verify import CUSTODY_NAME, hash_file, is_disposed, read_chain
from core.media import hls

PARTIAL = ".partial"
ROOM_LEFT_BYTES = 256 << 20
MAX_SEGMENT_BYTES = 1 << 30

Progress = Callable[[float], None]
Written = Callable[[int], None]
Seal = Callable[[Path, "Exported", Stop, Written], None]
"""Changes a file for good that is whole, but not in its place yet: puts credentials in. Gets its path, what it will be
(one file), and tells how many bytes it has written."""


class NoRoom(ExportError):
    """The disk has less than the file would take."""

    def __init__(self, needed: int, free: int) -> None:
        super().__init__(f"{needed} bytes are needed, {free} are free")
        self.needed, self.free = needed, free


class AlreadyThere(ExportError):
    """A file of that name exists."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self.path = path


class TimeUp(ExportError):
    """It took longer than it may."""


class Damaged(ExportError):
    """A file of the recording is not what it should be; `name` is its path in the recording's folder."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"{name}: {why}")
        self.name = name


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file of the recording that went into an export, with the SHA-256 it has now."""

    name: str
    sha256: str


@dataclass(frozen=True, slots=True)
class ExportedFile:
    """`duration_ms` is how long it plays."""

    path: Path
    size: int
    duration_ms: int
    pieces: tuple[Piece, ...]
    sources: tuple[SourceFile, ...]

    @property
    def from_ms(self) -> int:
        return self.pieces[0].from_ms

    @property
    def to_ms(self) -> int:
        return self.pieces[-1].to_ms


@dataclass(frozen=True, slots=True)
class Exported:
    """What became of it. Wall clock (Unix, ms) is `origin_ms` plus a time of the timeline; `gaps` are what the files
    lack of the stretch from the first's beginning to the last's end."""

    recording: str
    origin_ms: int
    asked: Range
    video: str | None
    sound: str | None
    files: tuple[ExportedFile, ...]
    gaps: tuple[Absence, ...]

    @property
    def got(self) -> Range:
        return Range(self.files[0].from_ms, self.files[-1].to_ms)


def export(
    folder: Path, path: Path, *, asked: Range = WHOLE, rendition: str | None = None, only_sound: bool = False,
    progress: Progress = lambda _: None, stop: Stop = lambda: False, seal: Seal | None = None,
    replace: bool = False, limit_s: float | None = None, clock_s: Callable[[], float] = time.monotonic,
) -> Exported:  # fmt: skip
    """Writes the file, or files: `path` and, where a new one has to begin, NAME-2.mp4 and so on. Blocks.

    `progress` is told the part done, 0 to 1, about twice a second of media; `stop` is asked as often. `seal` changes
    each file before it gets its name. Starting again begins anew; what is in the way is replaced only if `replace`.
    It takes no longer than `limit_s`. Raises UnknownRecording, ExportError, Stopped, OSError.
    """
    if limit_s is not None:
        ends_s, asked_to_stop = clock_s() + limit_s, stop
        try:
            return export(
                folder, path, asked=asked, rendition=rendition, only_sound=only_sound, progress=progress, seal=seal,
                replace=replace, stop=lambda: asked_to_stop() or clock_s() > ends_s,
            )  # fmt: skip
        except Stopped as error:
            if clock_s() > ends_s and not asked_to_stop():
                raise TimeUp from error
            raise
    recorded = read_recorded(folder)
    _check_playlists(recorded)
    video, sound = choose(recorded, rendition, only_sound)
    names = (None if video is None else video.name, None if sound is None else sound.name)
    try:
        planned = plan(recorded, video, sound, asked, stop)
    except NothingThere as error:
        if is_disposed(read_chain(folder / CUSTODY_NAME)):
            raise Destroyed(folder.name) from error
        raise
    targets = [path, *(path.with_name(f"{path.stem}-{n}{path.suffix}") for n in range(2, len(planned) + 1))]
    if not replace and (taken := next((one for one in targets if one.exists()), None)):
        raise AlreadyThere(taken)
    _check_room(path.parent, [one.size for one in planned], is_sealed=seal is not None)
    passes = 1 if seal is None else 2
    total, done = sum(one.size for one in planned) * passes, 0
    files: list[ExportedFile] = []

    def tell(written: int) -> None:
        progress(min(1.0, (done + written) / total))

    try:
        for one, target in zip(planned, targets, strict=True):
            partial = target.with_name(target.name + PARTIAL)
            try:
                sources = _write(recorded, one, partial, tell, stop)
                made = ExportedFile(target, one.size, one.duration_ms, one.pieces, sources)
                done += one.size
                if seal is not None:
                    seal(
                        partial, Exported(folder.name, recorded.origin_ms, asked, *names, (made,), one.gaps), stop, tell
                    )
                    done += one.size
                files.append(replace_fields(made, size=_settle(partial, target)))
            finally:
                partial.unlink(missing_ok=True)
    except BaseException:
        for made in files:
            made.path.unlink(missing_ok=True)
        raise
    progress(1.0)
    between = [
        Absence(one.to_ms, after.from_ms, why(recorded, one.to_ms, after.from_ms))
        for one, after in itertools.pairwise(files) if after.from_ms - one.to_ms > HOLE_MS
    ]  # fmt: skip
    gaps = sorted([*between, *(gap for one in planned for gap in one.gaps)], key=lambda gap: gap.from_ms)
    return Exported(folder.name, recorded.origin_ms, asked, *names, tuple(files), tuple(gaps))


def _settle(partial: Path, target: Path) -> int:
    """Onto the disk, and then to its name. Returns its size."""
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    partial.rename(target)
    return target.stat().st_size


def _check_room(folder: Path, sizes: Sequence[int], *, is_sealed: bool) -> None:
    """Sealing takes another copy beside the file, and up to two in the system's temporary folder."""
    largest = max(sizes) if is_sealed else 0
    wanted = {folder: sum(sizes) + largest, Path(tempfile.gettempdir()): 2 * largest}
    devices: dict[int, int] = {}
    for place, size in wanted.items():
        device = place.stat().st_dev
        needed = devices[device] = devices.get(device, ROOM_LEFT_BYTES) + size
        free = shutil.disk_usage(place).free
        if size and free < needed:
            raise NoRoom(needed, free)


def _write(recorded: Recorded, planned: Planned, path: Path, tell: Written, stop: Stop) -> tuple[SourceFile, ...]:
    with path.open("wb") as file:
        return _copy(recorded, planned, file, tell, stop)


def _copy(recorded: Recorded, planned: Planned, file: BinaryIO, tell: Written, stop: Stop) -> tuple[SourceFile, ...]:
    tracks = planned.tracks
    sources = _Sources(recorded)
    for track in tracks:
        sources.read(track.rendition, hls.init_name(track.init))
    media = sum(sum(track.sizes) for track in tracks)
    written = file.write(head(recorded, tracks, planned.pieces, media))
    open_msns, data = [-1] * len(tracks), [b""] * len(tracks)
    for number, chunk in order(tracks):
        track = tracks[number]
        if open_msns[number] != track.msns[chunk]:
            if stop():
                raise Stopped
            open_msns[number] = track.msns[chunk]
            data[number] = sources.read(track.rendition, hls.segment_name(open_msns[number]))
            tell(written)
        place, size = track.places[chunk], track.sizes[chunk]
        if place + size > len(data[number]):
            raise Damaged(f"{track.rendition.name}/{hls.segment_name(open_msns[number])}", "it is too short")
        written += file.write(memoryview(data[number])[place : place + size])
    tell(written)
    return tuple(sources.read_so_far)


def _check_playlists(recorded: Recorded) -> None:
    """Once they are on record, they say which segments there are: one that was cut from them would be left out."""
    for name in recorded.renditions:
        full_name = f"{name}/{hls.PLAYLIST_NAME}"
        wanted, path = recorded.hashes.get(full_name), recorded.folder / full_name
        if wanted is not None and path.exists() and hash_file(path) != wanted:
            raise Damaged(full_name, "it is not what the ledger says")


class _Sources:
    """Reads files of the recording whole and holds them against the ledger: what goes out is what was recorded."""

    def __init__(self, recorded: Recorded) -> None:
        self._recorded = recorded
        self.read_so_far: list[SourceFile] = []

    def read(self, rendition: Rendition, name: str) -> bytes:
        path = rendition.folder / name
        full_name = f"{rendition.name}/{name}"
        if path.stat().st_size > MAX_SEGMENT_BYTES:
            raise Damaged(full_name, "it is too large")
        data = path.read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        if self._recorded.hashes.get(full_name) != digest:
            raise Damaged(full_name, "it is not what the ledger says")
        self.read_so_far.append(SourceFile(full_name, digest))
        return data
