"""The stills process: every few seconds a picture of each feed, made of its newest keyframe, at a low priority;
while no staff look at the wall, one a minute. Beside it, in a thread, how loud each feed is (levels.py).

It asks the media processes as the console does and is in nobody's way: without it feeds go on and pages have no
pictures. Staff's pictures lie in RUN/stills, CHANNEL.ROLE.jpg; that of a feed on the air also beside the channel's
playlists, where the edge gives it to everyone. Media takes that one away when the broadcast ends.
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from urllib.parse import urlencode

import imageio_ffmpeg
import structlog

from core.media.files import replace_file
from ingest.console import Answer, Told
from mbashara import feeds, fence, logs
from mbashara.levels import ROUND_S as LEVELS_ROUND_S
from mbashara.levels import Levels, is_looked_at
from mbashara.media_processes import MediaProcesses
from mbashara.settings import Settings
from mbashara.step_back import step_back
from player.files import STILL_NAME
from transcode.levels.measure import measure
from transcode.stills.decode import decode

ROUND_S, RESTING_S = 5.0, 60.0
OLD_S = 30.0
"""A picture that nobody answers for is taken away when it is this old."""
NICENESS = 10
"""A tenth of a busy processor: on a full machine too an engineer hears of silence within seconds."""
FeedName = tuple[str, str]
"""Channel and role."""

log: structlog.stdlib.BoundLogger = structlog.get_logger("mbashara.stills")


class Stills:
    """One decoder at a time, whatever there is to do: on a full machine pictures are only older."""

    def __init__(self, settings: Settings, media: MediaProcesses, make: Callable[[bytes], bytes | None]) -> None:
        self._settings, self._media, self._make = settings, media, make
        self._made: dict[FeedName, str] = {}
        """The keyframe that each feed's picture was made of."""
        self._asked_s: dict[FeedName, float] = {}

    def round(self, stopping: threading.Event) -> None:
        told, _ = self._media.feeds_told()
        names = {(feed["channel"], feed["role"]): bool(feed["on_air"]) for feed in told if _has_picture(feed)}
        is_looked = is_looked_at(self._settings)
        for name in [name for name, on_air in names.items() if is_looked or self._is_due(name, on_air)]:
            if stopping.is_set():
                return
            with suppress(OSError):  # the memory folder is full, or goes away: there is no picture then
                self._take(name)
        self._made = {name: self._made[name] for name in names if name in self._made}
        self._asked_s = {name: self._asked_s[name] for name in names if name in self._asked_s}
        self._tidy(*self._media.feeds_told())  # a round may take long: what went on the air since stays

    def _is_due(self, name: FeedName, on_air: bool) -> bool:
        """Though nobody looks: it has no picture yet, or went on the air just now, or its picture is old."""
        is_old = time.monotonic() - self._asked_s.get(name, -RESTING_S) >= RESTING_S
        return is_old or name not in self._made or (on_air and not os.path.exists(self._public(name[0])))

    def _take(self, name: FeedName) -> None:
        keyframe = self._keyframe(name)
        self._asked_s[name] = time.monotonic()
        if keyframe.status != 200:
            return
        picture = self._make(keyframe.body)
        self._made[name] = keyframe.headers["etag"]
        if picture is None:
            log.info("no picture of a keyframe", channel=name[0], role=name[1], bytes=len(keyframe.body))
            return
        replace_file(str(self._settings.stills / f"{name[0]}.{name[1]}.jpg"), picture)
        if _is_on_air(keyframe):
            public = self._public(name[0])
            replace_file(str(public), picture)
            # Media takes it away when the broadcast ends: an end before it lay there is seen now, a later one does.
            if not _is_on_air(self._keyframe(name)):
                public.unlink(missing_ok=True)

    def _keyframe(self, name: FeedName) -> Answer:
        """304 where it is the one that the last picture was made of."""
        channel, role = name
        asked = urlencode({"channel": channel, "role": role, "known": self._made.get(name, "")})
        return self._media.ask(channel, "GET", f"{feeds.KEYFRAME_PATH}?{asked}", b"")

    def _public(self, channel: str) -> Path:
        return self._settings.live / channel / STILL_NAME

    def _tidy(self, told: Sequence[Told], is_complete: bool) -> None:
        """Pictures of feeds that have gone. Where a media process was silent only what is old goes."""
        connected = {f"{feed['channel']}.{feed['role']}" for feed in told}
        airing = {feed["channel"] for feed in told if feed["on_air"]}
        gone = [path for path in self._settings.stills.glob("*.jpg") if path.stem not in connected]
        gone += [path for path in self._settings.live.glob(f"*/{STILL_NAME}") if path.parent.name not in airing]
        for path in gone:
            if is_complete or _is_old(path):
                with suppress(OSError):  # it is tried again
                    path.unlink()


def _is_on_air(keyframe: Answer) -> bool:
    return keyframe.headers.get("x-on-air") == "1"


def _has_picture(feed: Told) -> bool:
    return any(track["kind"] == "video" for track in feed["tracks"])


def _is_old(path: Path) -> bool:
    with suppress(OSError):
        return time.time() - path.stat().st_mtime > OLD_S
    return False


def rounds(stopping: threading.Event, pace_s: float = ROUND_S) -> Iterator[None]:
    """One every `pace_s`; after a long one as much rest as work, so that idle cores stay half idle."""
    while not stopping.is_set():
        began_s = time.monotonic()
        yield
        worked_s = time.monotonic() - began_s
        stopping.wait(max(pace_s - worked_s, worked_s))


def main() -> int:
    settings = Settings()
    logs.configure("stills", settings.log_level)
    fence.close(settings, [settings.stills, settings.live])
    step_back(NICENESS)
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    executable, media = str(imageio_ffmpeg.get_ffmpeg_exe()), MediaProcesses(settings)
    stills = Stills(settings, media, partial(decode, executable))
    levels = Levels(settings, media, partial(measure, executable))
    measuring = threading.Thread(target=_measure, args=(levels, stopping), name="levels")
    measuring.start()
    try:
        for _ in rounds(stopping):
            stills.round(stopping)
    finally:
        stopping.set()
        measuring.join()
    return 0


def _measure(levels: Levels, stopping: threading.Event) -> None:
    """The thread. Where it fails the process ends, and begins anew."""
    try:
        for _ in rounds(stopping, LEVELS_ROUND_S):
            levels.round(stopping)
    finally:
        stopping.set()


if __name__ == "__main__":
    raise SystemExit(main())
