"""Delivery of what must wait (RFC 8216bis 6.2.5): blocking playlist reloads, hinted parts, segments not yet on disk.

A plain ASGI application on the media process's own loop: the edge serves every file that exists and never comes here.
Of 200 viewers who wait for one part each gets the same bytes; they are rendered and compressed once.
"""

import asyncio
import gzip
import re
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any, NamedTuple

from core.media.hub import Hub
from core.media.window import LiveWindow, Segment, Storage
from player.playlist import MediaPlaylist
from player.reload import Answer, DirectiveError, Directives, decide, parse_directives

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
Receive = Callable[[], Awaitable[Message]]
Headers = list[tuple[bytes, bytes]]

_ADDRESS = re.compile(
    r"/live/(?P<channel>[a-z0-9-]{1,40})/(?P<broadcast>[0-9a-z]{26})/(?P<rendition>[a-z0-9-]{1,40})/"
    r"(?:(?P<playlist>index\.m3u8)|(?P<msn>\d{1,15})(?:\.(?P<part>\d{1,6}))?\.m4s)"
)
_CORS: Headers = [
    (b"access-control-allow-origin", b"*"),
    (b"access-control-expose-headers", b"Age, Date, Content-Length"),
]
_PLAYLIST_TYPE = (b"content-type", b"application/vnd.apple.mpegurl")
_STORED_POLL_S = 0.005
_STATUS = {Answer.READY: 200, Answer.BAD_REQUEST: 400}


class _Body(NamedTuple):
    plain: bytes
    gzipped: bytes


class _Rendered:
    """A window's playlists as bytes, for one version of it."""

    def __init__(self, playlist: MediaPlaylist) -> None:
        self._playlist = playlist
        self._version = -1
        self._bodies: dict[bool, _Body] = {}

    def body(self, window: LiveWindow, skip: bool) -> _Body:
        if self._version != window.version:
            self._version = window.version
            self._bodies.clear()
        if skip not in self._bodies:
            text = (self._playlist.delta() if skip else None) or self._playlist.full()
            plain = text.encode()
            self._bodies[skip] = _Body(plain, gzip.compress(plain, 5, mtime=0))
        return self._bodies[skip]


class Delivery:
    """The ASGI application. `playlists` gives a window's renderer; `recordings` is
    the folder of recordings; of more than `max_waiting` requests that wait at once one gets 503."""

    def __init__(
        self,
        hub: Hub,
        playlist_of: Callable[[LiveWindow], MediaPlaylist | None],
        recordings: Path,
        max_waiting: int = 20_000,
    ) -> None:
        self.waiting = 0
        self._hub, self._playlist_of, self._recordings, self._max_waiting = hub, playlist_of, recordings, max_waiting
        self._rendered: dict[LiveWindow, _Rendered] = {}

    def forget(self, window: LiveWindow) -> None:
        self._rendered.pop(window, None)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        address = _ADDRESS.fullmatch(scope["path"])
        window = self._hub.window(address["channel"], address["broadcast"], address["rendition"]) if address else None
        if address is None or window is None:
            await _refuse(send, 404, 1)
        elif self.waiting >= self._max_waiting:
            await _refuse(send, 503, None)
        elif address["playlist"]:
            await self._answer_playlist(scope, send, window)
        else:
            part = int(address["part"]) if address["part"] else None
            await self._answer_file(send, window, int(address["msn"]), part, scope["path"])

    # Playlists.

    async def _answer_playlist(self, scope: Scope, send: Send, window: LiveWindow) -> None:
        try:
            wanted = parse_directives(scope["query_string"].decode("latin-1"))
        except DirectiveError:
            await _refuse(send, 400, 1)
            return
        status = await self._wait(window, wanted)
        if status != 200:
            # A refusal may be cached a little, so that a wrong player does not reach us each time (appendix B).
            await _refuse(send, status, 1 if status == 400 else None)
            return
        body = self._rendering(window).body(window, wanted.skip)
        accepts_gzip = any(name == b"accept-encoding" and b"gzip" in value for name, value in scope["headers"])
        data = body.gzipped if accepts_gzip else body.plain
        age_s = 6 * window.cadence.target_duration_s if wanted.msn is not None and not window.ended else 1
        headers = [
            _PLAYLIST_TYPE, (b"cache-control", b"public, max-age=%d" % age_s), (b"vary", b"Accept-Encoding"),
            (b"content-length", b"%d" % len(data)), *_CORS,
        ]  # fmt: skip
        if accepts_gzip:
            headers.append((b"content-encoding", b"gzip"))
        await _respond(send, 200, headers, data)

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

    def _rendering(self, window: LiveWindow) -> _Rendered:
        rendered = self._rendered.get(window)
        if rendered is None:
            playlist = self._playlist_of(window)
            assert playlist is not None
            rendered = self._rendered[window] = _Rendered(playlist)
        return rendered

    # Files.

    async def _answer_file(self, send: Send, window: LiveWindow, msn: int, part: int | None, path: str) -> None:
        if part is not None and self._is_hinted(window, msn, part):
            await self._wait(window, Directives(msn, part))
        segment = window.find(msn)
        if segment is None or segment.gap:
            await _refuse(send, 404, 1)
        elif part is None:
            await self._answer_segment(send, window, segment, path)
        elif part >= len(segment.parts) or segment.parts[part].gap:
            await _refuse(send, 404, 1)
        else:
            await self._answer_part(send, window, segment, part, path)

    @staticmethod
    def _is_hinted(window: LiveWindow, msn: int, part: int) -> bool:
        if window.ended:
            return False
        if window.open is not None:
            return msn == window.open.msn and part == len(window.open.parts)
        return msn == window.next_msn and part == 0

    async def _answer_part(self, send: Send, window: LiveWindow, segment: Segment, part: int, path: str) -> None:
        """The edge's while it is a file; then a slice of the segment's file, for as long as the window holds that."""
        listed_s = window.cadence.parts_listed_s
        edge_ms = (window.open or window.segments[-1]).start_ms
        if segment.storage is not Storage.RECORDED or edge_ms - segment.start_ms < listed_s * 1000:
            await _to_edge(send, f"/_files{path}")
            return
        place = segment.parts[part]
        folder = self._folder_of(path)
        data = await asyncio.to_thread(_read_slice, folder / f"{segment.msn}.m4s", place.offset, place.size)
        await _respond(send, 200, [*_media_headers(), (b"content-length", b"%d" % len(data))], data)

    async def _answer_segment(self, send: Send, window: LiveWindow, segment: Segment, path: str) -> None:
        """The playlist may name a segment some milliseconds before the recorder has renamed its file."""
        if segment is window.open:
            await _refuse(send, 404, 1)
            return
        waited_s = 0.0
        while segment.storage is Storage.PENDING and waited_s < window.cadence.target_duration_s:
            await asyncio.sleep(_STORED_POLL_S)
            waited_s += _STORED_POLL_S
        if segment.storage is Storage.RECORDED:
            await _to_edge(send, "/_files/recordings/" + path.split("/", 3)[3])
        elif segment.storage is Storage.IN_MEMORY:
            await _to_edge(send, f"/_files{path}")
        else:
            await _refuse(send, 404 if segment.storage is Storage.NOWHERE else 503, 1)

    def _folder_of(self, path: str) -> Path:
        _, _, _, broadcast, rendition, _ = path.split("/")
        return self._recordings / broadcast / rendition


def _read_slice(path: Path, offset: int, size: int) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(size)


def _media_headers() -> Headers:
    return [(b"content-type", b"video/mp4"), (b"cache-control", b"public, max-age=31536000, immutable"), *_CORS]


async def _to_edge(send: Send, internal_path: str) -> None:
    """Python decides, the edge carries."""
    await _respond(send, 200, [(b"x-accel-redirect", internal_path.encode()), (b"content-length", b"0")], b"")


async def _refuse(send: Send, status: int, max_age_s: int | None) -> None:
    cache = b"no-store" if max_age_s is None else b"public, max-age=%d" % max_age_s
    await _respond(send, status, [(b"cache-control", cache), (b"content-length", b"0"), *_CORS], b"")


async def _respond(send: Send, status: int, headers: Headers, body: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
