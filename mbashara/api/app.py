"""The API as an application of its own, mounted by the web process."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from sqlalchemy import Engine
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from archive.exports.pages import Desk
from archive.pages.papers import Papers
from core.web.limits import Buckets, Rate
from mbashara import __version__
from mbashara.api import (
    acts,
    broadcasts,
    channels,
    exports,
    feeds,
    institutions,
    keys,
    problems,
    recordings,
    tokens,
    viewers,
    webhooks,
)  # fmt: skip
from mbashara.api.caller import Api, Media

PATH = "/api/v1"
RESOURCES = (institutions, channels, keys, broadcasts, acts, feeds, recordings, exports, webhooks, tokens, viewers)
TOKEN_RATE = Rate(burst=60, per_s=10)
WRONG_TOKEN_RATE = Rate(burst=20, per_s=0.2)


class ApiHeaders:
    """Nobody on the way keeps an answer; each tells what is left of the caller's rate."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        state: dict[str, Any] = scope.setdefault("state", {})

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["cache-control"] = "private, no-store"
                headers.update(state["allowance"].headers() if "allowance" in state else {})
            await send(message)

        await self.app(scope, receive, send_with_headers)


def application(
    engine: Engine,
    pepper: bytes,
    media: Media,
    *,
    desk: Desk,
    papers: Papers | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    clock_s: Callable[[], float] = time.monotonic,
    token_rate: Rate = TOKEN_RATE,
    wrong_token_rate: Rate = WRONG_TOKEN_RATE,
    insecure_webhooks: bool = False,
) -> FastAPI:
    app = FastAPI(
        title="Mbashara", version=__version__, docs_url=None, redoc_url=None, middleware=[Middleware(ApiHeaders)],
        exception_handlers=problems.handlers(), servers=[{"url": PATH}], root_path_in_servers=False,
        redirect_slashes=False,
    )  # fmt: skip
    app.state.api = Api(
        engine,
        pepper,
        media,
        now,
        Buckets(token_rate, clock_s),
        Buckets(wrong_token_rate, clock_s),
        desk,
        papers or Papers(),
        insecure_webhooks,
    )
    for resource in RESOURCES:
        app.include_router(resource.router)
    app.openapi = lambda: contract(app)  # type: ignore[method-assign]
    return app


def contract(app: FastAPI) -> dict[str, Any]:
    """FastAPI's, with what it can't know: errors are application/problem+json, and a GET may be answered by 304."""
    if app.openapi_schema is None:
        made = get_openapi(title=app.title, version=app.version, routes=app.routes, servers=app.servers)
        for methods in made["paths"].values():
            for method, operation in methods.items():
                _complete(method, operation["responses"])
        app.openapi_schema = made
    return app.openapi_schema


def _complete(method: str, responses: dict[str, Any]) -> None:
    for status, response in responses.items():
        if int(status) >= 400:
            response["content"] = {problems.MEDIA_TYPE: response["content"].pop("application/json")}
    if method == "get":
        responses["304"] = {"description": "It is still what the ETag in If-None-Match stands for."}
