"""The web process: the rooms' pages, /healthz and /metrics, on uvicorn behind the edge."""

import asyncio
import gc
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
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
from starlette.routing import BaseRoute, Mount, Route

import archive
import ingest
import player
import portal
from archive.exports import pages as export_pages
from archive.exports.pages import Desk
from archive.imports import pages as import_pages
from archive.imports.uploads import Depot
from archive.pages import Archive, genuine, resolve, retention, rules
from archive.pages import desk as archive_desk
from archive.pages import statement as statement_pages
from archive.pages import watch as watch_pages
from archive.recordings import closures, rows
from core.broadcasts.queries import next_public
from core.channels import ChannelName, channel_name, channels_on_air
from core.database import DatabaseAway, open_engine, transaction
from core.keys import derived_key
from core.staff import sessions
from core.staff.mail import open_mailer
from core.staff.sessions import SignedIn, Visit
from core.web import brand
from core.web.addresses import Addresses
from core.web.assets import Assets
from core.web.headers import SECURITY_HEADERS, SecurityHeaders
from core.web.i18n import Language
from core.web.site import LiveNow, Site
from core.web.staff import Office, account, audit_log, emblem, entrance, institutions, people, sign_on, webhooks
from ingest.console import Studio, alarm_desk, broadcast, calendar, channel, dry_run, previews, stills, wall
from mbashara import logs
from mbashara.api import app as api
from mbashara.api import uploads
from mbashara.archive_calls import ArchiveCalls
from mbashara.archive_pages import open_archive
from mbashara.health import Health
from mbashara.levels import LevelsRead
from mbashara.load import LoadMeter
from mbashara.media_processes import MediaProcesses
from mbashara.places import SaidPlaces
from mbashara.settings import Settings
from mbashara.sign_on import open_provider
from mbashara.web_metrics import metrics_text
from player import pages as player_pages
from player.files import read_state
from portal import home

ROOMS = {
    "archive": Path(archive.__file__).parent,
    "ingest": Path(ingest.__file__).parent,
    "player": Path(player.__file__).parent,
    "portal": Path(portal.__file__).parent,
}
LIVE_NOW_KEPT_S = 3.0
TICK_S = 0.5

log: structlog.stdlib.BoundLogger = structlog.get_logger("mbashara.web")


@dataclass(frozen=True, slots=True)
class PageQueries:
    """What the player's pages ask of the database, each in a transaction of its own."""

    engine: Engine
    live: Path

    def channel(self, slug: str) -> ChannelName | None:
        with transaction(self.engine) as session:
            return channel_name(session, slug)

    def air(self, slug: str, since: datetime) -> player_pages.Air:
        state = read_state(self.live / slug)
        with transaction(self.engine) as session:
            planned = next_public(session, slug, since)
            planned_at = None if planned is None else planned.planned_start_at
        return player_pages.Air(state["state"], state["recording"], planned_at)

    def recording(self, recording_id: str) -> player_pages.RecordingNames | player_pages.Closed | None:
        with transaction(self.engine) as session:
            found = rows.find_recording(session, recording_id)
            closed = closures.closure_of(session, recording_id)
        if found is None:
            return None
        if closed is not None:
            return player_pages.Closed(closed.status, closed.said(Language.SW), closed.said(Language.EN))
        recording, broadcast, _channel = found
        return player_pages.RecordingNames(recording.id, broadcast.title_sw, broadcast.title_en, recording.started_at)


class SiteDoor:
    """What every page asks: whose session this is, and what is on the air. The latter is asked for seldom, and a lost
    database only makes it old."""

    def __init__(self, engine: Engine, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._engine, self._clock_s = engine, clock_s
        self._live_now: Sequence[LiveNow] = ()
        self._asked_s = -LIVE_NOW_KEPT_S

    def signed_in(self, token: str, visit: Visit) -> SignedIn | None:
        with transaction(self._engine) as session:
            found = sessions.find(session, token, visit.now)
            if found is not None:
                sessions.touch(session, found.session_id, visit.now)
        return found

    def live_now(self) -> Sequence[LiveNow]:
        now_s = self._clock_s()
        if now_s - self._asked_s >= LIVE_NOW_KEPT_S:
            self._asked_s = now_s
            self._ask_what_is_live()
        return self._live_now

    def _ask_what_is_live(self) -> None:
        try:
            with transaction(self._engine) as session:
                found = channels_on_air(session)
        except DatabaseAway:
            return
        self._live_now = [LiveNow(channel.slug, channel.name_sw, channel.name_en) for channel in found]


def application(settings: Settings) -> Starlette:
    engine = open_engine(settings.sqlalchemy_url)
    health = Health(settings, engine)
    pepper = settings.pepper_file.read_bytes()
    mailer = open_mailer(settings.smtp_url, settings.mail_from, settings.mail_folder)
    site = Site(
        ROOMS, Assets(), SiteDoor(engine), lambda: datetime.now(UTC), derived_key(pepper, b"csrf"), settings.public_url
    )
    rtmp_url = settings.public_rtmp_url or f"rtmp://{settings.rtmp_address.reachable}/live"
    media = MediaProcesses(settings, levels=LevelsRead(settings).read)
    load = LoadMeter(settings, media)
    studio = Studio(
        engine, media, pepper, rtmp_url, settings.stills, settings.live, load.read, settings.dry_runs,
        settings.dry_run_minutes, ArchiveCalls(engine, SaidPlaces(settings).names),
    )  # fmt: skip
    office = Office(
        engine, pepper, mailer, settings.base_url, settings.emblems, open_provider(settings), settings.webhook_insecure
    )

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
    desk = Desk(settings.recordings, settings.exports_folder)
    kept = open_archive(settings, engine)
    programs = api.application(
        engine, pepper, media, desk=desk, papers=kept.papers, insecure_webhooks=settings.webhook_insecure
    )
    depot = uploads.depot(settings)
    return Starlette(
        routes=[
            *uploads.routes(uploads.API_PATH, engine, depot, uploads.with_token(programs.state.api)),
            *uploads.routes(uploads.STAFF_PATH, engine, depot, uploads.with_session(site)),
            Mount(api.PATH, programs),
            *own,
            *page_routes(site, engine, office, studio, depot, desk, kept),
        ],
        middleware=[Middleware(SecurityHeaders), Middleware(Addresses)],
        exception_handlers=error_pages(site),
    )


def page_routes(
    site: Site, engine: Engine, office: Office, studio: Studio, depot: Depot, desk: Desk, kept: Archive
) -> list[BaseRoute]:
    """Every page there is."""
    return [
        site.assets.route(),
        *brand.routes(),
        *home.routes(site, engine, studio.has_public_still),
        *player_pages.routes(site, PageQueries(engine, studio.live), studio.has_public_still),
        *entrance.routes(site, office),
        *sign_on.routes(site, office),
        *account.routes(site, office),
        *people.routes(site, office),
        *institutions.routes(site, office),
        *emblem.routes(site, office),
        *webhooks.routes(site, office),
        *audit_log.routes(site, office),
        *import_pages.routes(site, engine, depot),
        *export_pages.routes(site, engine, desk),
        *genuine.routes(site, kept),
        *statement_pages.routes(site, kept),
        *archive_desk.routes(site, kept),
        *watch_pages.routes(site, kept),
        *rules.routes(site, kept),
        *resolve.routes(site, kept),
        *retention.routes(site, kept),
        *wall.routes(site, studio),
        *alarm_desk.routes(site, studio),
        *channel.routes(site, studio),
        *broadcast.routes(site, studio),
        *previews.routes(site, studio),
        *calendar.routes(site, studio),
        *dry_run.routes(site, studio),
        *stills.routes(site, studio),
    ]


def error_pages(site: Site) -> dict[int | type[Exception], Callable[..., Response]]:
    """What a reader sees of an error, in one place."""

    def on_http_error(request: Request, error: HTTPException) -> Response:
        if error.status_code < 400:
            return Response(status_code=error.status_code, headers=error.headers)
        closed = error.closure.said if isinstance(error, genuine.NotOpen) else None
        response = site.error(request, error.status_code, closed)
        response.headers.update(error.headers or {})
        return response

    def on_database_away(request: Request, _error: DatabaseAway) -> Response:
        return site.error(request, 503)

    def on_error(request: Request, error: Exception) -> Response:
        log.error("request failed", path=request.url.path, exc_info=error)
        response = site.error(request, 500)
        response.headers.update(SECURITY_HEADERS)  # Starlette answers this outside of the middleware
        return response

    return {HTTPException: on_http_error, DatabaseAway: on_database_away, 500: on_error}


class Server(uvicorn.Server):
    """Wakes twice a second where nobody asks for anything, not ten times."""

    async def main_loop(self) -> None:
        while not await self.on_tick(0):  # noqa: ASYNC110 it is told by a flag; 0: it renews the date, too
            await asyncio.sleep(TICK_S)


def main() -> int:
    settings = Settings()
    logs.configure("web", settings.log_level)
    served = application(settings)
    gc.freeze()  # or each full collection walks all modules and templates too: a tenth of a second, in someone's page
    gc.set_threshold(50_000, 20, 50)
    config = uvicorn.Config(
        served,
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
    server = Server(config)
    with suppress(KeyboardInterrupt):
        server.run()
    return 0 if server.started else 1


if __name__ == "__main__":
    raise SystemExit(main())
