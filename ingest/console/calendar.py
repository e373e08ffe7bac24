"""The calendar: a month of the broadcasts that a person may see, and where a new one begins from a day."""

from datetime import date, datetime, timedelta
from functools import partial
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import BaseRoute

from core import channels, institutions
from core.broadcasts.calendar import YEARS, Month, read_month
from core.database import transaction
from core.staff.permissions import Act, Scope, scope
from core.web.dates import EAST_AFRICA_TIME, noon
from core.web.site import Page, Site, View
from ingest.console import Studio, ics

PATH = "/console/calendar"
MAX_CHANNELS = 1000
PLACE = "institution"


def routes(site: Site, studio: Studio) -> list[BaseRoute]:
    return [
        *site.staff_pages(PATH, partial(_calendar, studio)),
        *site.staff_pages(f"{PATH}.ics", partial(_file, studio)),
        *site.staff_pages(f"{PATH}/new", partial(_new, studio)),
    ]


def _calendar(studio: Studio, view: View) -> Page:
    today = view.visit.now.astimezone(EAST_AFRICA_TIME).date()
    month, visible = _month(view, today), scope(view.staff.memberships, Act.HEALTH_READ)
    wanted = _wanted(view, visible)
    with transaction(studio.engine) as session:
        days, is_whole = read_month(session, wanted, month, EAST_AFRICA_TIME)
        places = institutions.list_institutions(session, visible)
    facts = {
        "month": month,
        "week": [month.first + timedelta(days=n - month.first.weekday()) for n in range(7)],
        "noon": noon,
        "days": days,
        "is_whole": is_whole,
        "today": today,
        "places": places,
        "place": view.request.query_params.get(PLACE, ""),
        "may_plan": view.may_anywhere(Act.BROADCAST_CREATE),
    }
    return Page("ingest/console/calendar.html", facts)


def _file(studio: Studio, view: View) -> Response:
    """The month for a calendar program, downloaded: those can't log in to ask for it themselves."""
    month = _month(view, view.visit.now.astimezone(EAST_AFRICA_TIME).date())
    wanted = _wanted(view, scope(view.staff.memberships, Act.HEALTH_READ))
    with transaction(studio.engine) as session:
        days, _ = read_month(session, wanted, month, EAST_AFRICA_TIME)
    rows = [(broadcast, channel) for day in days for broadcast, channel in day.broadcasts]
    disposition = f'attachment; filename="mbashara-{month}.ics"'
    headers = {"content-disposition": disposition, "cache-control": "no-store"}
    return Response(ics.calendar(rows, view.pick, view.visit.now), media_type=ics.MEDIA_TYPE, headers=headers)


def _new(studio: Studio, view: View) -> Page | Response:
    """On which channel? Not asked where there is one."""
    day = read_day(view.request.query_params.get("day", ""))
    if not view.may_anywhere(Act.BROADCAST_CREATE):
        raise HTTPException(HTTPStatus.FORBIDDEN)
    mine = scope(view.staff.memberships, Act.BROADCAST_CREATE)
    with transaction(studio.engine) as session:
        found = channels.page_of_channels(session, mine, limit=MAX_CHANNELS)
    query = f"?day={day}" if day else ""
    if len(found) == 1:
        return view.to(f"/console/channels/{found[0][0].slug}/broadcasts/new{query}")
    return Page("ingest/console/which_channel.html", {"channels": found, "query": query, "day": day and noon(day)})


def read_day(text: str) -> date | None:
    """ "2026-11-24"; None for what is no day that a plan can be of."""
    try:
        day = datetime.strptime(text, "%Y-%m-%d").date()
    except ValueError:
        return None
    return day if day.year in YEARS else None


def _month(view: View, today: date) -> Month:
    text = view.request.query_params.get("month", "")
    try:
        return Month.read(text) if text else Month.of(today)
    except ValueError as error:
        raise HTTPException(HTTPStatus.NOT_FOUND) from error


def _wanted(view: View, visible: Scope) -> Scope:
    """All that the person may see, or one institution of it."""
    text = view.request.query_params.get(PLACE, "")
    if not text:
        return visible
    if not (text.isascii() and text.isdigit() and len(text) < 10 and visible.covers(int(text))):
        raise HTTPException(HTTPStatus.NOT_FOUND)
    return Scope(False, frozenset({int(text)}))
