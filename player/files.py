"""The live window as files in the memory folder, where the edge reads them: parts, playlists, a channel's state."""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import structlog

from core.media.files import replace_file
from core.media.hls import PLAYLIST_NAME, init_name, mark_name, part_name, segment_name
from core.media.packet import Track
from core.media.window import LiveWindow, Part, Segment
from player.playlist import MediaPlaylist

STILL_NAME = "still.jpg"
"""Beside a channel's playlists: a picture of what is on the air, some seconds old."""
STATE_NAME = "state.json"
MULTIVARIANT_NAMES = ("index.m3u8", "audio.m3u8")

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class MemoryFolder:
    """A folder of the live window. What it refuses (no space, no right) is told once and raises nothing, for the air
    and the recording go on without it; the next write tries again. Where it was taken away it is made again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._name = str(path)
        self._refused: set[str] = set()
        self._is_told_of_removal = False

    @property
    def refuses(self) -> bool:
        return bool(self._refused)

    def has(self, name: str) -> bool:
        return os.path.exists(f"{self._name}/{name}")

    def write(self, name: str, data: bytes, what: str = "") -> bool:
        """False: refused. `what` stands for files that come and go, so that the next one makes good for this one."""
        return self._try(what or name, lambda: self._write(name, data))

    def remove(self, name: str) -> bool:
        """False: it may be there still."""
        try:
            os.unlink(f"{self._name}/{name}")
        except (FileNotFoundError, NotADirectoryError):
            return True
        except OSError as error:
            if not self._is_told_of_removal:
                log.error("the memory folder keeps what is old", folder=self._name, name=name, error=str(error))
            self._is_told_of_removal = True
            return False
        return True

    def _write(self, name: str, data: bytes) -> None:
        try:
            replace_file(f"{self._name}/{name}", data)
        except FileNotFoundError:
            self.path.mkdir(parents=True, exist_ok=True)
            replace_file(f"{self._name}/{name}", data)

    def _try(self, what: str, act: Callable[[], None]) -> bool:
        try:
            act()
        except OSError as error:
            if not self._refused:
                log.error("the memory folder refuses", folder=self._name, what=what, error=str(error))
            self._refused.add(what)
            return False
        self.forgive(what)
        return True

    def forgive(self, what: str) -> None:
        """It was taken, or nothing of that kind comes for now that could be."""
        if what in self._refused:
            self._refused.discard(what)
            if not self._refused:
                log.warning("the memory folder takes files again", folder=self._name)


class RenditionFiles:
    """A rendition's folder. As a sink it writes each part; as the window's listener, the playlist.

    A part is a file while the playlist lists it. Later requests for it are answered from its segment's file, so a
    stream keeps some seconds in memory, not its window. So are those for a part that the folder refused.
    """

    def __init__(self, folder: Path, window: LiveWindow, siblings: Mapping[str, LiveWindow]) -> None:
        self.playlist = MediaPlaylist(window, siblings)
        self.folder = MemoryFolder(folder)
        self._window = window
        self._path = str(folder)
        self._with_parts: list[Segment] = []
        self._marked = (-1, -1)
        self._unwritten_inits: dict[str, bytes] = {}
        window.on_change.append(self._write_playlist)

    def on_init(self, number: int, track: Track, data: bytes) -> None:
        """Beside the recording's: for viewers where the disk refuses it, and for whoever restores a killed process's
        recording, for it is here before any part that needs it."""
        self._unwritten_inits[init_name(number)] = data
        self._write_inits()

    def _write_inits(self) -> None:
        """With those that the folder refused before."""
        for name, data in list(self._unwritten_inits.items()):
            if self.folder.write(name, data, "initialization"):
                del self._unwritten_inits[name]

    def on_part(self, segment: Segment, part: Part, data: bytes) -> None:
        in_force = segment.init, segment.discontinuities
        if in_force != self._marked and self.folder.write(mark_name(segment.msn, *in_force), b"", "marks"):
            self._marked = in_force
        if self._unwritten_inits:
            self._write_inits()
        if part.gap:
            self.folder.forgive("parts")
            return
        # Nobody asks for a part before the playlist or a hint names it, and hints wait for the window.
        name = part_name(segment.msn, part.number)
        if not self.folder.write(name, data, "parts"):
            segment.is_refused = True
            self.folder.remove(name)  # a killed process's, which viewers and the ledger would take for this one

    def on_complete(self, segment: Segment) -> None:
        self._with_parts.append(segment)
        kept_s = sum(one.duration_s for one in self._with_parts[1:])
        while kept_s > self._window.cadence.parts_listed_s + self._window.cadence.target_duration_s:
            self._forget(self._with_parts.pop(0))
            kept_s -= self._with_parts[0].duration_s

    def on_end(self) -> None: ...

    def commit(self) -> None: ...

    def read_parts(self, segment: Segment) -> bytes:
        """A whole segment from its parts: for the recorder when the disk can't take it. Raises OSError."""
        if segment.is_refused:
            raise FileNotFoundError(self._path)
        names = [part_name(segment.msn, part.number) for part in segment.parts if not part.gap]
        return b"".join(Path(self._path, name).read_bytes() for name in names)

    def keep_in_memory(self, segment: Segment, data: bytes) -> None:
        """On the recorder's thread. Raises OSError."""
        replace_file(f"{self._path}/{segment_name(segment.msn)}", data)

    def drop_segment(self, segment: Segment) -> None:
        """The segment left the window: so does its copy in memory, if it had one."""
        self.folder.remove(segment_name(segment.msn))

    def _forget(self, segment: Segment) -> None:
        for part in segment.parts:
            if not part.gap:
                self.folder.remove(part_name(segment.msn, part.number))

    def _write_playlist(self, window: LiveWindow) -> None:
        """Where the file can't be new there is none: the edge asks media for it then."""
        if not self.folder.write(PLAYLIST_NAME, self.playlist.full().encode()):
            self.folder.remove(PLAYLIST_NAME)


def write_state(folder: MemoryFolder, state: Mapping[str, Any]) -> bool:
    """A channel's state.json, which players poll while nothing is on the air. False: the folder refused it."""
    return folder.write(STATE_NAME, json.dumps(state, separators=(",", ":")).encode())


def read_state(folder: Path) -> dict[str, Any]:
    """As it was written last; offline where it never was."""
    try:
        state: dict[str, Any] = json.loads((folder / STATE_NAME).read_text())
    except (OSError, ValueError):
        return {"state": "offline", "recording": None}
    return state


def withdraw(folder: MemoryFolder) -> bool:
    """Takes a channel's multivariant playlists away: there is nothing to watch, and nothing of before. False:
    the folder refused."""
    return False not in [folder.remove(name) for name in MULTIVARIANT_NAMES]
