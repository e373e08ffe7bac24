"""Pictures of feeds for those who may see a channel; the edge carries the file (X-Accel-Redirect).

200 walls ask for many pictures: whose they may see, and whose channels are, is asked of the database once in a while.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus

from sqlalchemy import select
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from core.database import transaction
from core.staff.permissions import Act, Scope, scope
from core.tables import Channel
from core.web.site import Site
from ingest.console import Still, Studio

PATH = "/console/stills/{slug}/{role}.jpg"
ROLES = frozenset({"primary", "backup"})
KEPT_S = 20.0
"""A right taken away is gone after so long."""
UNKNOWN_S = 1.0
"""A channel that is not known may be a new one: asked for again after so long."""
MAX_KEPT = 2000
HEADERS = {"content-type": "image/jpeg", "cache-control": "private, max-age=4"}


@dataclass(slots=True)
class Rights:
    """What browsers may see, by the cookies they sent. Read in the loop, filled in a thread."""

    site: Site
    studio: Studio
    clock_s: Callable[[], float] = time.monotonic
    _scopes: dict[str, tuple[float, Scope | None]] = field(default_factory=dict)
    _owners: dict[str, int] = field(default_factory=dict)
    _owners_s: float = -KEPT_S

    async def allow(self, request: Request, slug: str) -> bool:
        """What is foreign is not found. Raises 403 for those who are not logged in."""
        cookies, now_s = ";".join(request.headers.getlist("cookie")), self.clock_s()
        asked_s, place = self._scopes.get(cookies, (-KEPT_S, None))
        if now_s - asked_s >= KEPT_S:
            place = await run_in_threadpool(self._read_scope, request)
            if len(self._scopes) >= MAX_KEPT:
                self._scopes.clear()
            self._scopes[cookies] = (now_s, place)
        if place is None:
            raise HTTPException(HTTPStatus.FORBIDDEN)
        if now_s - self._owners_s >= (KEPT_S if slug in self._owners else UNKNOWN_S):
            self._owners = await run_in_threadpool(self._read_owners)
            self._owners_s = now_s
        return slug in self._owners and place.covers(self._owners[slug])

    def _read_scope(self, request: Request) -> Scope | None:
        person = self.site.signed_in(request)
        return None if person is None else scope(person.memberships, Act.HEALTH_READ)

    def _read_owners(self) -> dict[str, int]:
        with transaction(self.studio.engine) as session:
            return {
                one.slug: one.institution_id for one in session.execute(select(Channel.slug, Channel.institution_id))
            }


def routes(site: Site, studio: Studio) -> list[BaseRoute]:
    return [Route(PATH, partial(_still, studio, Rights(site, studio)), methods=["GET"])]


async def _still(studio: Studio, rights: Rights, request: Request) -> Response:
    slug, role = request.path_params["slug"], request.path_params["role"]
    is_found = await rights.allow(request, slug) and role in ROLES and studio.still(slug, role) is not Still.NONE
    if not is_found:
        raise HTTPException(HTTPStatus.NOT_FOUND)
    return Response(headers={**HEADERS, "x-accel-redirect": f"/_stills/{slug}.{role}.jpg"})
