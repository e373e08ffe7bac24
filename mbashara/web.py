"""The web process: the rooms' pages, /healthz and /metrics, on uvicorn behind the edge."""

import asyncio
import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape
from http import HTTPStatus
from pathlib import Path

import structlog
import uvicorn
from prometheus_client import REGISTRY, Metric, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample
from sqlalchemy import Engine
from starlette.applications import Starlette
from starlette.exceptions import HTTPException as StarletteError
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import player
from archive.recordings import rows
from core.channels import ChannelName, channel_name
from core.database import DatabaseAway, answers, open_engine, transaction
from mbashara import logs, probe
from mbashara.settings import Settings
from player.pages import RecordingNames
from player.pages import routes as player_routes

STATIC_DIR = Path(player.__file__).parent / "static"
HEALTH_KEPT_S = 1.0
"""A health answer is reused this long, so that nobody can make us ask the database for every request."""
HEARTBEAT_LATE_S = 10.0

SECURITY_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data:; media-src 'self' blob:; connect-src 'self'; worker-src 'self' blob:; "
    "font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'self'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}
"""No third party in any page (design section 6); blob: is what Media Source Extensions need."""

ERRORS = {
    404: ("Ukurasa haukupatikana", "Page not found"),
    405: ("Ombi hili haliruhusiwi", "This request is not allowed"),
    500: ("Hitilafu imetokea; tunaishughulikia", "Something went wrong; we are on it"),
    503: ("Huduma haipatikani kwa sasa; jaribu tena", "The service is away for the moment; try again"),
}

log: structlog.stdlib.BoundLogger = structlog.get_logger("mbashara.web")


class SecurityHeaders:
    """Adds SECURITY_HEADERS where a page has not said its own."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                said = {name for name, _ in message["headers"]}
                missing = ((name.encode(), value.encode()) for name, value in SECURITY_HEADERS.items())
                message["headers"] = [*message["headers"], *(pair for pair in missing if pair[0] not in said)]
            await send(message)

        await self.app(scope, receive, send_with_headers if scope["type"] == "http" else send)


@dataclass(slots=True)
class Health:
    """Asks every part whether it answers."""

    settings: Settings
    engine: Engine
    _parts: dict[str, str] = field(default_factory=dict)
    _asked_s: float = -HEALTH_KEPT_S
    _asking: asyncio.Lock = field(default_factory=asyncio.Lock)
    _database: asyncio.Task[bool] | None = None

    async def parts(self) -> dict[str, str]:
        """Each part's state: `ok`, or what is wrong with it."""
        async with self._asking:
            if time.monotonic() - self._asked_s >= HEALTH_KEPT_S:
                self._parts = await self._ask()
                self._asked_s = time.monotonic()
            return self._parts

    async def _ask(self) -> dict[str, str]:
        workers = media_names(self.settings)
        database, *media = await asyncio.gather(
            self._database_answers(),
            *(_answers(self.settings.socket(name)) for name in workers),
        )
        answering = {
            "postgres": database,
            "web": True,
            "work": self._work_beats(),
            **dict(zip(workers, media, strict=True)),
        }
        parts = {name: "ok" if ok else "no answer" for name, ok in answering.items()}
        for name, child in read_children(self.settings).items():
            if child["state"] != "running":
                parts[name] = str(child["state"])
            parts.setdefault(name, "ok")
        return dict(sorted(parts.items()))

    async def _database_answers(self) -> bool:
        """A server that hangs holds one thread of ours, not one for each who asks."""
        if self._database is None or self._database.done():
            self._database = asyncio.create_task(asyncio.to_thread(answers, self.engine))
        await asyncio.wait([self._database], timeout=probe.TIMEOUT_S)
        return self._database.done() and self._database.result()

    def _work_beats(self) -> bool:
        try:
            return time.time() - self.settings.heartbeat_file.stat().st_mtime < HEARTBEAT_LATE_S
        except OSError:
            return False


def media_names(settings: Settings) -> list[str]:
    return [f"media-{worker}" for worker in range(settings.media_workers)]


def read_children(settings: Settings) -> dict[str, dict[str, str | int | float]]:
    """What the supervisor last wrote; empty where each process is run by something else (containers)."""
    try:
        children: dict[str, dict[str, str | int | float]] = json.loads(settings.supervisor_file.read_text())["children"]
    except (OSError, ValueError):
        return {}
    return children


async def _answers(path: Path) -> bool:
    return await asyncio.to_thread(probe.get, path, "/healthz") is not None


def labelled(families: Iterable[Metric], worker: str) -> list[Metric]:
    """The same metrics with one more label, so that those of several processes can stand in one page."""
    for family in families:
        family.samples = [sample._replace(labels={**sample.labels, "worker": worker}) for sample in family.samples]
    return list(families)


def merged(families: Iterable[Metric]) -> Sequence[Metric]:
    """One family a name: the text format forbids a second HELP or TYPE."""
    by_name: dict[str, Metric] = {}
    for family in families:
        samples: list[Sample] = by_name.setdefault(family.name, family).samples
        if samples is not family.samples:
            samples.extend(family.samples)
    return list(by_name.values())


def supervisor_metrics(settings: Settings) -> Iterable[Metric]:
    restarts = CounterMetricFamily(
        "mbashara_restarts", "Times a child process died and was started again.", labels=["child"]
    )
    running = GaugeMetricFamily("mbashara_child_running", "1 while the child process runs.", labels=["child"])
    for name, child in read_children(settings).items():
        restarts.add_metric([name], float(child["restarts"]))
        running.add_metric([name], float(child["state"] == "running"))
    return [restarts, running]


@dataclass(frozen=True, slots=True)
class Collected:
    """Families that prometheus_client can write out."""

    families: Sequence[Metric]

    def collect(self) -> Sequence[Metric]:
        return self.families


async def metrics_text(settings: Settings) -> bytes:
    families = labelled(list(REGISTRY.collect()), "web")
    for name in media_names(settings):
        text = await asyncio.to_thread(probe.get, settings.socket(name), "/metrics")
        if text is not None:  # its absence shows in mbashara_child_running
            families += labelled(list(text_string_to_metric_families(text)), name)
    families += supervisor_metrics(settings)
    return generate_latest(Collected(merged(families)))


def error_page(request: Request, status: int) -> HTMLResponse:
    """Both languages, the reader's first."""
    swahili, english = ERRORS.get(status, ERRORS[500])
    lines = [("sw", swahili), ("en", english)]
    if request.url.path.startswith("/en"):
        lines.reverse()
    body = "".join(f'<p lang="{language}">{escape(line)}.</p>' for language, line in lines)
    title = escape(lines[0][1])
    head = f'<meta name="viewport" content="width=device-width"><title>{title}</title>'
    page = f'<!doctype html><html lang="{lines[0][0]}">{head}{body}</html>'
    return HTMLResponse(page, status, headers={"cache-control": "no-store"})


async def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, StarletteError)
    if error.status_code < HTTPStatus.BAD_REQUEST:
        return Response(status_code=error.status_code, headers=error.headers)
    return error_page(request, error.status_code)


async def _on_database_away(request: Request, _error: Exception) -> Response:
    return error_page(request, 503)


async def _on_error(request: Request, error: Exception) -> Response:
    log.error("request failed", path=request.url.path, exc_info=error)
    return error_page(request, 500)


@dataclass(frozen=True, slots=True)
class PageQueries:
    """What the player's pages ask of the database, each in a transaction of its own."""

    engine: Engine

    def channel(self, slug: str) -> ChannelName | None:
        with transaction(self.engine) as session:
            return channel_name(session, slug)

    def recording(self, recording_id: str) -> RecordingNames | None:
        with transaction(self.engine) as session:
            found = rows.find_recording(session, recording_id)
        if found is None:
            return None
        recording, broadcast, _channel = found
        return RecordingNames(recording.id, broadcast.title_sw, broadcast.title_en, recording.started_at)


def application(settings: Settings) -> Starlette:
    engine = open_engine(settings.sqlalchemy_url)
    health = Health(settings, engine)

    async def healthz(_request: Request) -> Response:
        parts = await health.parts()
        degraded = [name for name, state in parts.items() if state != "ok"]
        answer = {"state": "degraded" if degraded else "ok", "degraded": degraded, "parts": parts}
        return JSONResponse(answer, 503 if degraded else 200, headers={"cache-control": "no-store"})

    async def metrics(_request: Request) -> Response:
        return Response(await metrics_text(settings), media_type=CONTENT_TYPE_LATEST)

    async def home(_request: Request) -> Response:
        return RedirectResponse("/sw/", 302)

    own: list[BaseRoute] = [Route("/healthz", healthz), Route("/metrics", metrics), Route("/", home)]
    return Starlette(
        routes=[*own, *player_routes(PageQueries(engine), STATIC_DIR)],
        middleware=[Middleware(SecurityHeaders)],
        exception_handlers={StarletteError: _on_http_error, DatabaseAway: _on_database_away, 500: _on_error},
    )


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
