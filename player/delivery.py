"""Delivery of what must wait (RFC 8216bis 6.2.5): blocking playlist reloads, hinted parts, segments not yet on disk.

A handler on the media process's own loop: the edge serves every file that exists and never comes here.
Of 200 viewers who wait for one part each gets the same bytes; they are rendered and compressed once.
"""

import asyncio
import contextlib
import gzip
import os
import re
from collections.abc import Callable
from pathlib import Path

from core.media.hub import Hub
from core.media.window import LiveWindow, Segment, Storage
from core.web.http import Request, response
from player.playlist import MediaPlaylist
from player.reload import Answer, DirectiveError, Directives, decide, parse_directives

_ADDRESS = re.compile(
    r"/live/(?P<channel>[a-z0-9-]{1,40})/(?P<broadcast>[0-9a-z]{26})/(?P<rendition>[a-z0-9-]{1,40})/"
    r"(?:(?P<playlist>index\.m3u8)|(?P<msn>\d{1,15})(?:\.(?P<part>\d{1,6}))?\.m4s)"
)
_CORS = [("access-control-allow-origin", "*"), ("access-control-expose-headers", "Age, Date, Content-Length")]
_STORED_POLL_S = 0.005
_REFUSED_POLL_S, _REFUSED_POLLS = 0.04, 10
_STATUS = {Answer.READY: 200, Answer.BAD_REQUEST: 400}


class _Rendered:
    """A window's playlists as whole responses, for one version of it."""

    def __init__(self, playlist: MediaPlaylist) -> None:
        self._playlist = playlist
        self._version = -1
        self._responses: dict[tuple[bool, bool, int], bytes] = {}

    def response(self, window: LiveWindow, skip: bool, gzipped: bool, age_s: int) -> bytes:
        if self._version != window.version:
            self._version = window.version
            self._responses.clear()
        wanted = (skip, gzipped, age_s)
        if wanted not in self._responses:
            self._responses[wanted] = self._make(skip, gzipped, age_s)
        return self._responses[wanted]

    def _make(self, skip: bool, gzipped: bool, age_s: int) -> bytes:
        body = ((self._playlist.delta() if skip else None) or self._playlist.full()).encode()
        headers = [
            ("content-type", "application/vnd.apple.mpegurl"), ("cache-control", f"public, max-age={age_s}"),
            ("vary", "Accept-Encoding"), *_CORS,
        ]  # fmt: skip
        if gzipped:
            headers.append(("content-encoding", "gzip"))
            body = gzip.compress(body, 5, mtime=0)
        return response(200, headers, body)


class Delivery:
    """The handler. `playlist_of` gives a window's renderer; `recordings` is
    the folder of recordings, `live` the live window's; of more than `max_waiting` requests that wait at once one gets
    503."""

    def __init__(
        self,
        hub: Hub,
        playlist_of: Callable[[LiveWindow], MediaPlaylist | None],
        recordings: Path,
        live: Path,
        max_waiting: int = 20_000,
    ) -> None:
        self.waiting = 0
        self._hub, self._playlist_of, self._max_waiting = hub, playlist_of, max_waiting
        self._recordings, self._live = recordings, str(live)
        self._rendered: dict[LiveWindow, _Rendered] = {}

    async def __call__(self, request: Request) -> bytes:
        address = _ADDRESS.fullmatch(request.path)
        window = self._hub.window(address["channel"], address["broadcast"], address["rendition"]) if address else None
        if address is None or window is None:
            return _refusal(404, 1)
        if self.waiting >= self._max_waiting:
            return _refusal(503, None)
        if address["playlist"]:
            return await self._answer_playlist(request, window)
        part = int(address["part"]) if address["part"] else None
        return await self._answer_file(window, int(address["msn"]), part, request.path)

    # Playlists.

    async def _answer_playlist(self, request: Request, window: LiveWindow) -> bytes:
        try:
            wanted = parse_directives(request.query)
        except DirectiveError:
            return _refusal(400, 1)
        status = await self._wait(window, wanted)
        if status != 200:
            # A refusal may be cached a little, so that a wrong player does not reach us each time (appendix B).
            return _refusal(status, 1 if status == 400 else None)
        age_s = 6 * window.cadence.target_duration_s if wanted.msn is not None and not window.ended else 1
        rendered = self._rendering(window)
        return rendered.response(window, wanted.skip, request.accepts_gzip, age_s) if rendered else _refusal(404, 1)

    async def _wait(self, window: LiveWindow, wanted: Directives) -> int:
        """200 when the window has what is wanted, 400, or 503 where three target durations bring nothing (6.2.5.2)."""
        answer = decide(window, wanted)
        if answer is not Answer.WAIT:
            return _STATUS[answer]
        clock = asyncio.get_running_loop().time
        deadline_s = clock() + window.cadence.hold_back_s
        self.waiting += 1
        try:
            while answer is Answer.WAIT:
                if clock() >= deadline_s:
                    return 503
                await window.changed()
                answer = decide(window, wanted)
        finally:
            self.waiting -= 1
        return _STATUS[answer]

    def _rendering(self, window: LiveWindow) -> _Rendered | None:
        """None for a window whose broadcast is over for so long that nobody renders it any more."""
        rendered = self._rendered.get(window)
        playlist = self._playlist_of(window) if rendered is None else None
        if playlist is not None:
            on_air = {one for each in self._hub.all() for one in each.windows.values()}
            self._rendered = {known: kept for known, kept in self._rendered.items() if known in on_air}
            rendered = self._rendered[window] = _Rendered(playlist)
        return rendered

    # Files.

    async def _answer_file(self, window: LiveWindow, msn: int, part: int | None, path: str) -> bytes:
        if part is not None and self._is_hinted(window, msn, part):
            await self._wait(window, Directives(msn, part))
        segment = window.find(msn)
        if segment is None or segment.gap:
            return _refusal(404, 1)
        if part is None:
            return await self._answer_segment(window, segment, path)
        if part >= len(segment.parts) or segment.parts[part].gap:
            return _refusal(404, 1)
        return await self._answer_part(window, segment, part, path)

    @staticmethod
    def _is_hinted(window: LiveWindow, msn: int, part: int) -> bool:
        if window.ended:
            return False
        if window.open is not None:
            return msn == window.open.msn and part == len(window.open.parts)
        return msn == window.next_msn and part == 0

    async def _answer_part(self, window: LiveWindow, segment: Segment, part: int, path: str) -> bytes:
        """The edge's while it is a file; then a slice of the segment's file, for as long as the window holds that. So
        is one that the memory folder refused, as soon as the recorder has it."""
        listed_s = window.cadence.parts_listed_s
        edge_ms = (window.open or window.segments[-1]).start_ms
        is_old = segment.storage is Storage.RECORDED and edge_ms - segment.start_ms >= listed_s * 1000
        if not is_old and self._is_file(path):
            return _to_edge(f"/_files{path}")
        place, file = segment.parts[part], self._folder_of(path) / f"{segment.msn}.m4s"
        for _ in range(_REFUSED_POLLS):
            data = await asyncio.to_thread(_read_slice, file, place.offset, place.size)
            if data is not None:
                kept = ("cache-control", "public, max-age=31536000, immutable")
                return response(200, [("content-type", "video/mp4"), kept, *_CORS], data)
            await asyncio.sleep(_REFUSED_POLL_S)
        return _refusal(404, 1)

    async def _answer_segment(self, window: LiveWindow, segment: Segment, path: str) -> bytes:
        """The playlist may name a segment some milliseconds before the recorder has renamed its file."""
        if segment is window.open:
            return _refusal(404, 1)
        waited_s = 0.0
        while segment.storage is Storage.PENDING and waited_s < window.cadence.target_duration_s:
            await asyncio.sleep(_STORED_POLL_S)
            waited_s += _STORED_POLL_S
        if segment.storage is Storage.RECORDED:
            return _to_edge("/_files/recordings/" + path.split("/", 3)[3])
        if segment.storage is Storage.IN_MEMORY:
            return _to_edge(f"/_files{path}")
        return _refusal(404 if segment.storage is Storage.NOWHERE else 503, 1)

    def _is_file(self, path: str) -> bool:
        return os.path.exists(self._live + path.removeprefix("/live"))

    def _folder_of(self, path: str) -> Path:
        _, _, _, broadcast, rendition, _ = path.split("/")
        return self._recordings / broadcast / rendition


def _read_slice(path: Path, offset: int, size: int) -> bytes | None:
    """Of a segment's file, whole or in the making; None where it doesn't reach so far (yet)."""
    for one in (path, path.with_name(f"{path.name}.partial")):
        with contextlib.suppress(OSError), one.open("rb") as file:
            file.seek(offset)
            data = file.read(size)
            if len(data) == size:
                return data
    return None


def _to_edge(internal_path: str) -> bytes:
    """Python decides, the edge carries."""
    return response(200, [("x-accel-redirect", internal_path)])


def _refusal(status: int, max_age_s: int | None) -> bytes:
    cache = "no-store" if max_age_s is None else f"public, max-age={max_age_s}"
    return response(status, [("cache-control", cache), *_CORS])
