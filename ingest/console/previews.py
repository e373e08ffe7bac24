"""Previews for those who may see a channel: WHEP offers and leaves passed on to the media process that has the feed."""

from functools import partial
from http import HTTPStatus
from urllib.parse import urlencode

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from core.database import transaction
from core.staff.permissions import Act, may
from core.web.site import Site
from ingest.console import Studio, queries

BASE = "/console/previews/{slug}"
MAX_OFFER_BYTES = 1 << 16
PASSED_ON = frozenset({"content-type", "retry-after"})


def routes(site: Site, studio: Studio) -> list[BaseRoute]:
    return [
        Route(f"{BASE}/{{role}}", partial(_offer, site, studio), methods=["POST"]),
        Route(f"{BASE}/{{role}}/levels", partial(_levels, site, studio), methods=["GET"]),
        Route(f"{BASE}/sessions/{{id}}", partial(_leave, site, studio), methods=["DELETE"]),
    ]


async def _offer(site: Site, studio: Studio, request: Request) -> Response:
    if int(request.headers.get("content-length") or 0) > MAX_OFFER_BYTES:
        raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    offer = await request.body()
    slug, role = request.path_params["slug"], request.path_params["role"]
    asked = f"/preview?{urlencode({'channel': slug, 'role': role})}"
    return await run_in_threadpool(_pass_on, site, studio, request, "POST", asked, offer)


async def _levels(site: Site, studio: Studio, request: Request) -> Response:
    slug, role = request.path_params["slug"], request.path_params["role"]
    asked = f"/preview/meters?{urlencode({'channel': slug, 'role': role})}"
    return await run_in_threadpool(_pass_on, site, studio, request, "GET", asked, b"")


async def _leave(site: Site, studio: Studio, request: Request) -> Response:
    slug, identity = request.path_params["slug"], request.path_params["id"]
    if not identity.isalnum():
        raise HTTPException(HTTPStatus.NOT_FOUND)
    asked = f"/preview/{identity}?{urlencode({'channel': slug})}"
    return await run_in_threadpool(_pass_on, site, studio, request, "DELETE", asked, b"")


def _pass_on(site: Site, studio: Studio, request: Request, method: str, asked: str, body: bytes) -> Response:
    slug = request.path_params["slug"]
    _check(site, studio, request, slug, changes=method != "GET")
    answer = studio.media.ask(slug, method, asked, body)
    headers = {name: value for name, value in answer.headers.items() if name in PASSED_ON}
    if "location" in answer.headers:
        identity = answer.headers["location"].removeprefix("/preview/").partition("?")[0]
        headers["location"] = f"{BASE.format(slug=slug)}/sessions/{identity}"
    return Response(answer.body, answer.status, {**headers, "cache-control": "no-store"})


def _check(site: Site, studio: Studio, request: Request, slug: str, *, changes: bool) -> None:
    """What is foreign is not found. What changes something bears the page's token in a header."""
    person = site.signed_in(request)
    if person is None or (changes and not site.is_proven(request)):
        raise HTTPException(HTTPStatus.FORBIDDEN)
    with transaction(studio.engine) as session:
        found = queries.find_channel(session, slug)
    if found is None or not may(person.memberships, Act.HEALTH_READ, found[0].institution_id):
        raise HTTPException(HTTPStatus.NOT_FOUND)
