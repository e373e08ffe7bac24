"""The wall: every channel that a person may see, with its picture, its feeds' health and what it has or expects."""

from functools import partial

from sqlalchemy import func, select
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from core.broadcasts.lifecycle import AT_THE_CHANNEL
from core.database import DatabaseAway, transaction
from core.staff.permissions import Act, Scope, scope
from core.tables import Broadcast, BroadcastEvent, Channel
from core.web.site import Page, Site, View
from ingest.console import Studio, alarm_desk, queries
from ingest.console.health_words import of_channel
from ingest.console.pulse import Pulse, Versions

EVENTS = "/console/events"


def routes(site: Site, studio: Studio) -> list[BaseRoute]:
    pulse = Pulse(studio.media, partial(_read_versions, studio), partial(alarm_desk.words, studio))
    return [
        *site.staff_pages("/console", partial(_wall, studio)),
        Route(EVENTS, partial(_events, site, studio, pulse)),
    ]


def _wall(studio: Studio, view: View) -> Page:
    visible = scope(view.staff.memberships, Act.HEALTH_READ)
    with transaction(studio.engine) as session:
        channels = queries.wall(session, visible, view.visit.now)
    feeds = studio.media.feeds()
    shown = [(one, of_channel(feeds, one.channel.slug)) for one in channels]
    shown_facts = {
        "channels": shown, "may_add": view.may_anywhere(Act.CHANNEL_ADD), "viewers": studio.media.viewers(),
    }  # fmt: skip
    return Page("ingest/console/wall.html", {**shown_facts, **alarm_desk.facts(studio, view)})


async def _events(site: Site, studio: Studio, pulse: Pulse, request: Request) -> Response:
    """Of one channel (`?channel=`), or of all that the person may see."""
    person = await run_in_threadpool(site.signed_in, request)
    if person is None:
        return Response(status_code=403)
    visible = scope(person.memberships, Act.HEALTH_READ)
    slugs = await run_in_threadpool(_slugs, studio, visible, request.query_params.get("channel"))
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    return StreamingResponse(pulse.watch(slugs), media_type="text/event-stream", headers=headers)


def _slugs(studio: Studio, visible: Scope, wanted: str | None) -> frozenset[str]:
    query = select(Channel.slug).where(visible.where(Channel.institution_id))
    with transaction(studio.engine) as session:
        return frozenset(session.scalars(query if wanted is None else query.where(Channel.slug == wanted)))


def _read_versions(studio: Studio) -> Versions:
    """With the database away pages can't be fetched anew either."""
    try:
        with transaction(studio.engine) as session:
            return versions(session)
    except DatabaseAway:
        return {}


def versions(session: Session) -> Versions:
    """The broadcasts that have a channel, with the newest line of their log: whatever is done writes one."""
    newest = select(func.max(BroadcastEvent.id)).where(BroadcastEvent.broadcast_id == Broadcast.id).scalar_subquery()
    query = select(Channel.slug, Broadcast.id, newest).join(Channel, Channel.id == Broadcast.channel_id)
    found = session.execute(query.where(Broadcast.state.in_(AT_THE_CHANNEL)).order_by(Broadcast.id))
    told: dict[str, str] = {}
    for slug, identity, event_id in found:
        told[slug] = f"{told.get(slug, '')} {identity}.{event_id}"
    return told
