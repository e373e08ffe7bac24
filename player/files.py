"""The live window as files in the memory folder, where the edge reads them: parts, playlists, a channel's state."""

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.media.files import write_all
from core.media.hls import PLAYLIST_NAME, part_name, segment_name
from core.media.packet import Track
from core.media.window import LiveWindow, Part, Segment
from player.playlist import MediaPlaylist

STILL_NAME = "still.jpg"
"""Beside a channel's playlists: a picture of what is on the air, some seconds old."""


def replace_file(path: str, data: bytes) -> None:
    """Writes a small file at once or not at all: whoever opens it sees the old or the new one."""
    fresh = path + ".new"
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        write_all(descriptor, data)
    finally:
        os.close(descriptor)
    os.rename(fresh, path)


class RenditionFiles:
    """A rendition's folder. As a sink it writes each part; as the window's listener, the playlist.

    A part is a file while the playlist lists it. Later requests for it are answered from its segment's file, so a
    stream keeps some seconds in memory, not its window.
    """

    def __init__(self, folder: Path, window: LiveWindow, siblings: Mapping[str, LiveWindow]) -> None:
        self.playlist = MediaPlaylist(window, siblings)
        self._window = window
        self._folder = str(folder)
        self._with_parts: list[Segment] = []
        folder.mkdir(parents=True, exist_ok=True)
        window.on_change.append(self._write_playlist)

    def on_init(self, number: int, track: Track, data: bytes) -> None:
        """Initialization segments are files of the recording."""

    def on_part(self, segment: Segment, part: Part, data: bytes) -> None:
        if not part.gap:
            # Nobody asks for a part before the playlist or a hint names it, and hints wait for the window.
            replace_file(f"{self._folder}/{part_name(segment.msn, part.number)}", data)

    def on_complete(self, segment: Segment) -> None:
        self._with_parts.append(segment)
        kept_s = sum(one.duration_s for one in self._with_parts[1:])
        while kept_s > self._window.cadence.parts_listed_s + self._window.cadence.target_duration_s:
            self._forget(self._with_parts.pop(0))
            kept_s -= self._with_parts[0].duration_s

    def on_end(self) -> None: ...

    def commit(self) -> None: ...

    def read_parts(self, segment: Segment) -> bytes:
        """A whole segment from its parts: for the recorder when the disk can't take it."""
        names = [part_name(segment.msn, part.number) for part in segment.parts if not part.gap]
        return b"".join(Path(self._folder, name).read_bytes() for name in names)

    def keep_in_memory(self, segment: Segment, data: bytes) -> None:
        replace_file(f"{self._folder}/{segment_name(segment.msn)}", data)

    def drop_segment(self, segment: Segment) -> None:
        """The segment left the window: so does its copy in memory, if it had one."""
        Path(self._folder, segment_name(segment.msn)).unlink(missing_ok=True)

    def _forget(self, segment: Segment) -> None:
        for part in segment.parts:
            if not part.gap:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(f"{self._folder}/{part_name(segment.msn, part.number)}")

    def _write_playlist(self, window: LiveWindow) -> None:
        replace_file(f"{self._folder}/{PLAYLIST_NAME}", self.playlist.full().encode())


def write_state(folder: Path, state: Mapping[str, Any]) -> None:
    """A channel's state.json, which players poll while nothing is on the air."""
    folder.mkdir(parents=True, exist_ok=True)
    replace_file(str(folder / "state.json"), json.dumps(state, separators=(",", ":")).encode())


def read_state(folder: Path) -> dict[str, Any]:
    """As it was written last; offline where it never was."""
    try:
        state: dict[str, Any] = json.loads((folder / "state.json").read_text())
    except (OSError, ValueError):
        return {"state": "offline", "recording": None}
    return state


def withdraw(folder: Path) -> None:
    """Takes a channel's multivariant playlists away: there is nothing to watch, and nothing of before."""
    for name in ("index.m3u8", "audio.m3u8"):
        (folder / name).unlink(missing_ok=True)
