"""A media process: ingest, transcode, recorder and delivery on one uvloop. It runs without a database too."""

import asyncio
import gc
import os
import signal
import socket
import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any

import structlog
import uvloop
from sqlalchemy.exc import DBAPIError

from archive.recordings.recorder import Recorder
from archive.recordings.segment_digests import Hasher
from core.database import DatabaseAway, open_engine, transaction
from core.keys import KeyBook
from core.media.hub import Hub
from core.media.window import LiveWindow
from core.web.http import Request, response, serve_http
from ingest.rtmp.server import RtmpServer
from mbashara import feeds, fence, logs, media_role, previews, probe
from mbashara.broadcast import Parameters
from mbashara.channels import Channels
from mbashara.data import keep_lock
from mbashara.metrics import MediaMetrics
from mbashara.previews import PreviewDoor
from mbashara.settings import Settings
from mbashara.steady_clock import steady_ms
from player.delivery import Delivery
from player.playlist import MediaPlaylist

KEYS_REFRESH_S = 2.0
SAMPLE_S = 1.0
STARTS_S = 10.0
"""A database that starts beside us is not away yet."""
PARAMETERS_FROM_SETTINGS = ("part_target_s", "target_duration_s", "window_s", "stall_timeout_s")

log = structlog.get_logger("mbashara.media")


class Keys:
    """The key book and its thread: a lost database is only older news."""

    def __init__(self, settings: Settings) -> None:
        pepper = settings.pepper_file.read_bytes()
        self.book = KeyBook(pepper, settings.keys_file)
        self.book.load()
        engine = open_engine(settings.media_url(media_role.password(pepper)), pool_size=1)
        # The mark is of the very book that is read: what was changed, and back behind it, would stay as it was between.
        self._engine = engine.execution_options(isolation_level="REPEATABLE READ")
        self._away = self._told_away = self._told_unsaved = False
        self._patient_until_s = time.monotonic() + STARTS_S
        self._seen = ""
        self._refreshing: asyncio.Task[None] | None = None

    @property
    def is_shut_out(self) -> bool:
        """The database does not let this process read: orders, plans and new keys don't reach it."""
        return self._told_away

    async def refresh(self) -> None:
        """Those who ask while a refresh is under way share it."""
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = asyncio.create_task(asyncio.to_thread(self._refresh))
        await asyncio.shield(self._refreshing)

    async def refresh_anew(self) -> bool:
        """What was committed before this call is in force when it returns; False: the database is away."""
        if self._refreshing is not None and not self._refreshing.done():
            await asyncio.shield(self._refreshing)  # it may have read before that
        await self.refresh()
        return not self._away

    def _refresh(self) -> None:
        try:
            with transaction(self._engine) as session:
                seen = KeyBook.mark(session)
                if seen != self._seen or not self.book.saved_at.exists():
                    self._seen = ""  # if it can't be saved, it is read again whatever comes
                    self.book.refresh(session)
            self._seen = seen
        except OSError as error:
            self._away = False  # what was read is in force; it is read again until it is saved
            if not self._told_unsaved:
                log.error("the keys in force can't be saved", reason=str(error))
                self._told_unsaved = True
            return
        except (DatabaseAway, DBAPIError) as error:
            self._away = True
            if not self._told_away and time.monotonic() > self._patient_until_s:
                log.warning("the database is away; known keys are honoured", reason=str(error))
                self._told_away = True
            return
        if self._told_away:
            log.info("the database is back")
        self._away = self._told_away = self._told_unsaved = False
        self._patient_until_s = 0.0


class Application:
    """What the process answers over HTTP: its health, its feeds', its metrics, previews, and what must wait."""

    def __init__(
        self,
        delivery: Delivery,
        metrics: MediaMetrics,
        recorder: Recorder,
        channels: Channels,
        obey: Callable[[], Awaitable[bool]],
        preview: PreviewDoor,
        is_shut_out: Callable[[], bool],
    ) -> None:
        self._delivery, self._metrics, self._recorder = delivery, metrics, recorder
        self._channels, self._obey, self._preview, self._is_shut_out = channels, obey, preview, is_shut_out

    async def __call__(self, request: Request) -> bytes:
        if request.path == "/metrics":
            kind = ("content-type", "text/plain; version=0.0.4; charset=utf-8")
            return response(200, [kind], self._metrics.render())
        if request.path == "/healthz":
            status, body = self._health()
            return response(status, [("content-type", "text/plain")], body)
        if request.path in feeds.PATHS:
            return feeds.answer(self._channels, request)
        if request.path == "/refresh":  # nothing outside reaches this: the edge passes on /live/ alone
            return response(204 if await self._obey() else 503, [])
        if request.path == previews.PATH or request.path.startswith(f"{previews.PATH}/"):
            return await self._preview(request)
        return await self._delivery(request)

    def _health(self) -> tuple[int, bytes]:
        """Each trouble is an alarm of its own (media_processes.py). Without the database what is on the air goes on, so
        that is no illness."""
        found = {
            probe.DISK_REFUSES: (self._recorder.failing, HTTPStatus.SERVICE_UNAVAILABLE),
            probe.MEMORY_REFUSES: (self._channels.is_refused, HTTPStatus.INSUFFICIENT_STORAGE),
            probe.SHUT_OUT: (self._is_shut_out(), HTTPStatus.OK),
        }
        told = {words: status for words, (is_so, status) in found.items() if is_so}
        return next(iter(told.values()), HTTPStatus.OK), b"; ".join(told) or b"ok"


def unix_ms() -> float:
    return time.time() * 1000


def find_ffmpeg() -> str:
    import imageio_ffmpeg

    return str(imageio_ffmpeg.get_ffmpeg_exe())


async def serve(settings: Settings, keys: Keys, worker: int, rtmp: socket.socket) -> None:
    """Until SIGTERM or SIGINT. Broadcasts are left as they are: the next process takes them up."""
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    recorder = Recorder(settings.recordings, hasher=Hasher())
    recorder.start()
    hub = Hub()
    parameters = Parameters(
        settings.live, recorder, unix_ms, steady_ms, ffmpeg=find_ffmpeg() if settings.ladder else None,
        **{name: getattr(settings, name) for name in PARAMETERS_FROM_SETTINGS},
    )  # fmt: skip
    channels = Channels(
        parameters, hub, keys.book, keys.refresh, worker, settings.media_workers, settings.reconnect_window_s,
        settings.planned_wait_s,
    )  # fmt: skip
    channels.restore(settings.recordings)
    delivery = Delivery(hub, _playlists(channels), settings.recordings, settings.live)
    preview = PreviewDoor(channels)

    async def obey() -> bool:
        is_fresh = await keys.refresh_anew()
        channels.know()
        return is_fresh

    metrics = MediaMetrics(channels, delivery, recorder)
    application = Application(delivery, metrics, recorder, channels, obey, preview, lambda: keys.is_shut_out)
    rtmp_server = RtmpServer(channels.admit, handoff_path=lambda other: _handoff_path(settings, other))
    tasks: list[asyncio.Task[Any]] = [
        asyncio.create_task(work)
        for work in (
            rtmp_server.serve(rtmp),
            rtmp_server.serve_handoffs(_unix_socket(_handoff_path(settings, worker), 0o600)),
            serve_http(application, _unix_socket(settings.socket(f"media-{worker}"), 0o666)),
            channels.run(),
            _repeat(KEYS_REFRESH_S, keys.refresh, channels.know),
            _repeat(SAMPLE_S, _nothing, channels.sample),
        )
    ]
    stop: asyncio.Task[Any] = asyncio.create_task(stopping.wait())
    done, _ = await asyncio.wait([stop, *tasks], return_when=asyncio.FIRST_COMPLETED)
    channels.pause()
    await preview.close()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.to_thread(recorder.stop)
    for task in done - {stop}:
        task.result()


def _playlists(channels: Channels) -> Callable[[LiveWindow], MediaPlaylist | None]:
    return channels.playlist_of


async def _repeat(interval_s: float, work: Callable[[], Awaitable[None]], then: Callable[[], None]) -> None:
    while True:
        await work()
        then()
        await asyncio.sleep(interval_s)


async def _nothing() -> None: ...


def _handoff_path(settings: Settings, worker: int) -> Path:
    return settings.run / "sock" / f"media-{worker}.handoff"


def _unix_socket(path: Path, mode: int) -> socket.socket:
    """For the edge, which may be another account, or for other workers, which are our own."""
    path.unlink(missing_ok=True)
    door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    door.bind(str(path))
    path.chmod(mode)
    door.listen(4096)
    return door


def main() -> None:
    settings = Settings()
    worker = int(os.environ["MBASHARA_WORKER"])
    logs.configure(f"media-{worker}", settings.log_level)
    rtmp = socket.socket(fileno=int(os.environ["MBASHARA_RTMP_FD"]))
    rtmp.setblocking(False)
    rtmp.set_inheritable(False)  # the ladder's ffmpeg must not hold the port when this process is gone
    keep_lock()
    keys = Keys(settings)
    fence.close(settings, [settings.recordings, settings.keys_file.parent, settings.live, settings.run / "sock"])
    # What was imported is never garbage, and packets are freed by count: the collector need not look so often.
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    uvloop.run(serve(settings, keys, worker, rtmp))


if __name__ == "__main__":
    main()
