"""The wall: every channel that a person may see, with its picture, its feeds' health and what it has or expects."""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from urllib.parse import urlencode

from markupsafe import Markup
from sqlalchemy import func, select
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from core.broadcasts.lifecycle import AT_THE_CHANNEL
from core.database import transaction
from core.staff.permissions import Act, Scope, scope
from core.tables import Broadcast, BroadcastEvent, Channel
from core.web.i18n import Language
from core.web.site import Page, Site, View
from ingest.console import Studio, alarm_desk, queries
from ingest.console.cards import DUE, Cards, Facts, facts
from ingest.console.load import Load
from ingest.console.pulse import LoadTold, Pulse, Rows, Versions, Watch, by_slug

EVENTS = "/console/events"
CARD, LOAD = "ingest/console/card.html", "ingest/console/load.html"
Macros = Mapping[Language, Callable[..., str]]
EVERYTHING = Scope(True, frozenset())


def routes(site: Site, studio: Studio) -> list[BaseRoute]:
    cards = Cards(partial(_render, _macros(site, CARD, "card")))
    rows = Rows(partial(_read_versions, studio), partial(_read_wall, studio), partial(alarm_desk.words, studio))
    load = LoadTold(studio.read_load, partial(_render, _macros(site, LOAD, "load")))
    pulse = Pulse(studio.media, rows, cards, studio.still, load)
    return [
        *site.staff_pages("/console", partial(_wall, studio, cards, pulse)),
        Route(EVENTS, partial(_events, site, studio, pulse)),
    ]


def _macros(site: Site, template: str, name: str) -> Macros:
    return {language: site.macro(language, template, name) for language in Language}


def _render(macros: Macros, language: Language, one: Facts | Load) -> str:
    return macros[language](one).strip()


def _wall(studio: Studio, cards: Cards, pulse: Pulse, view: View) -> Page:
    visible, mark = scope(view.staff.memberships, Act.HEALTH_READ), pulse.mark
    with transaction(studio.engine) as session:
        rows = queries.wall(session, visible, view.visit.now)
    feeds, viewers = by_slug(studio.media.feeds()), studio.media.viewers()
    found = [facts(row, feeds.get(row.slug, ()), view.visit.now, studio.still, viewers) for row in rows]
    found.sort(key=lambda one: one.order)
    shown = {
        "active": [Markup(cards.html(view.language, one)) for one in found if one.is_active],
        "quiet": [Markup(cards.html(view.language, one)) for one in found if not one.is_active],
        "events": f"{EVENTS}?{urlencode({'wall': view.language, 'since': mark})}",
        "load": Markup(pulse.load.html(view.language, studio.read_load())) if visible.everything else "",
        "may_add": view.may_anywhere(Act.CHANNEL_ADD),
    }
    return Page("ingest/console/wall.html", {**shown, **alarm_desk.facts(studio, view)})


async def _events(site: Site, studio: Studio, pulse: Pulse, request: Request) -> Response:
    """Of one channel (`?channel=`), or of all that the person may see; with `?wall=LANGUAGE` as cards."""
    person = await run_in_threadpool(site.signed_in, request)
    if person is None:
        return Response(status_code=403)
    visible = scope(person.memberships, Act.HEALTH_READ)
    asked = request.query_params
    slugs = await run_in_threadpool(_slugs, studio, visible, asked.get("channel"))
    language = next((one for one in Language if one == asked.get("wall")), None)
    since = request.headers.get("last-event-id") or asked.get("since", "")
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    return StreamingResponse(
        pulse.watch(Watch(slugs, language, visible.everything), since), media_type="text/event-stream", headers=headers
    )


def _slugs(studio: Studio, visible: Scope, wanted: str | None) -> frozenset[str]:
    query = select(Channel.slug).where(visible.where(Channel.institution_id))
    with transaction(studio.engine) as session:
        return frozenset(session.scalars(query if wanted is None else query.where(Channel.slug == wanted)))


def _read_versions(studio: Studio) -> Versions:
    with transaction(studio.engine) as session:
        return versions(session, datetime.now(UTC))


def _read_wall(studio: Studio, slugs: Collection[str] | None) -> Sequence[queries.OnWall]:
    with transaction(studio.engine) as session:
        return queries.wall(session, EVERYTHING, datetime.now(UTC), slugs)


def versions(session: Session, now: datetime) -> Versions:
    """The broadcasts that have a channel or soon will, with the newest line of their log: whatever is done writes
    one."""
    newest = select(func.max(BroadcastEvent.id)).where(BroadcastEvent.broadcast_id == Broadcast.id).scalar_subquery()
    query = select(Channel.slug, Broadcast.id, newest).join(Channel, Channel.id == Broadcast.channel_id)
    is_due = queries.coming(now) & (Broadcast.planned_start_at <= now + DUE)
    found = session.execute(query.where(Broadcast.state.in_(AT_THE_CHANNEL) | is_due).order_by(Broadcast.id))
    told: dict[str, str] = {}
    for slug, identity, event_id in found:
        told[slug] = f"{told.get(slug, '')} {identity}.{event_id}"
    return told
