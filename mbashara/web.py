"""The web process: the rooms' pages, /healthz and /metrics, on uvicorn behind the edge."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog
import uvicorn
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from sqlalchemy import Engine
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

import player
import portal
from archive.recordings import rows
from core.channels import ChannelName, channel_name, channels_on_air
from core.database import DatabaseAway, open_engine, transaction
from core.web.assets import Assets
from core.web.headers import SecurityHeaders
from core.web.site import LiveNow, Site
from mbashara import logs
from mbashara.health import Health
from mbashara.settings import Settings
from mbashara.web_metrics import metrics_text
from player import pages as player_pages
from portal import home

ROOMS = {"player": Path(player.__file__).parent, "portal": Path(portal.__file__).parent}
LIVE_NOW_KEPT_S = 3.0

log: structlog.stdlib.BoundLogger = structlog.get_logger("mbashara.web")


@dataclass(frozen=True, slots=True)
class PageQueries:
    """What the player's pages ask of the database, each in a transaction of its own."""

    engine: Engine

    def channel(self, slug: str) -> ChannelName | None:
        with transaction(self.engine) as session:
            return channel_name(session, slug)

    def recording(self, recording_id: str) -> player_pages.RecordingNames | None:
        with transaction(self.engine) as session:
            found = rows.find_recording(session, recording_id)
        if found is None:
            return None
        recording, broadcast, _channel = found
        return player_pages.RecordingNames(recording.id, broadcast.title_sw, broadcast.title_en, recording.started_at)


class LiveIndicator:
    """The channels on air for the header of every page: asked for seldom, and a lost database only makes it old."""

    def __init__(self, engine: Engine, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._engine, self._clock_s = engine, clock_s
        self._known: Sequence[LiveNow] = ()
        self._asked_s = -LIVE_NOW_KEPT_S

    def __call__(self) -> Sequence[LiveNow]:
        now_s = self._clock_s()
        if now_s - self._asked_s >= LIVE_NOW_KEPT_S:
            self._asked_s = now_s
            self._ask()
        return self._known

    def _ask(self) -> None:
        try:
            with transaction(self._engine) as session:
                found = channels_on_air(session)
        except DatabaseAway:
            return
        self._known = [LiveNow(channel.slug, channel.name_sw, channel.name_en) for channel in found]


def application(settings: Settings) -> Starlette:
    engine = open_engine(settings.sqlalchemy_url)
    health = Health(settings, engine)
    site = Site(ROOMS, Assets(), LiveIndicator(engine))

    async def healthz(_request: Request) -> Response:
        parts = await health.parts()
        degraded = [name for name, state in parts.items() if state != "ok"]
        answer = {"state": "degraded" if degraded else "ok", "degraded": degraded, "parts": parts}
        return JSONResponse(answer, 503 if degraded else 200, headers={"cache-control": "no-store"})

    async def metrics(_request: Request) -> Response:
        return Response(await metrics_text(settings), media_type=CONTENT_TYPE_LATEST)

    async def first(_request: Request) -> Response:
        return RedirectResponse("/sw/", 302)

    own: list[BaseRoute] = [Route("/healthz", healthz), Route("/metrics", metrics), Route("/", first)]
    return Starlette(
        routes=[
            *own,
            site.assets.route(),
            *home.routes(site, engine),
            *player_pages.routes(site, PageQueries(engine)),
        ],
        middleware=[Middleware(SecurityHeaders)],
        exception_handlers=error_pages(site),
    )


def error_pages(site: Site) -> dict[int | type[Exception], Callable[..., Response]]:
    """What a reader sees of an error, in one place."""

    def on_http_error(request: Request, error: HTTPException) -> Response:
        if error.status_code < 400:
            return Response(status_code=error.status_code, headers=error.headers)
        return site.error(request, error.status_code)

    def on_database_away(request: Request, _error: DatabaseAway) -> Response:
        return site.error(request, 503)

    def on_error(request: Request, error: Exception) -> Response:
        log.error("request failed", path=request.url.path, exc_info=error)
        return site.error(request, 500)

    return {HTTPException: on_http_error, DatabaseAway: on_database_away, 500: on_error}


def main() -> int:
    settings = Settings()
    logs.configure("web", settings.log_level)
    uvicorn.run(
        application(settings),
        uds=str(settings.socket("web")),
        loop="uvloop",
        http="httptools",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=True,
        forwarded_allow_ips="*",  # only the edge can reach the socket
        timeout_graceful_shutdown=1,
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
