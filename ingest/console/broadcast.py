"""A broadcast's pages: planned, changed, led through its life by acts of two steps, its message and its log."""

import secrets
from datetime import datetime, timedelta
from functools import partial
from http import HTTPStatus
from typing import Any

from sqlalchemy.orm import Session
from starlette.exceptions import HTTPException
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute

from core import audit
from core.brand import Brand, brand_of
from core.broadcasts import acts, events, lifecycle, viewers
from core.broadcasts import queries as broadcasts
from core.broadcasts.errors import BroadcastError
from core.broadcasts.lifecycle import Act as Step
from core.broadcasts.lifecycle import State
from core.broadcasts.plan import Message
from core.broadcasts.queries import Outline
from core.broadcasts.rights import MESSAGE, RIGHT_OF, audited
from core.database import transaction
from core.ids import RANDOM_BYTES
from core.staff.permissions import Act
from core.tables import Broadcast, Channel, Institution
from core.web.dates import EAST_AFRICA_TIME
from core.web.forms import Form
from core.web.site import Page, Site, View
from ingest.console import Studio, queries
from ingest.console.calendar import read_day
from ingest.console.channel import feeds_of
from ingest.console.channel import find as find_channel
from ingest.console.over import over
from ingest.console.said import said

FIELDS = ("title_sw", "title_en", "starts", "ends", "visibility", "description_sw", "description_en")
SHOWN_EVENTS = 100
MORNING = "10:00"
YEARS = range(2000, 2100)
"""Of plans. The years 1 and 9999 are not in every time zone: a row with one could not be read again."""


def routes(site: Site, studio: Studio) -> list[BaseRoute]:
    base, both, post = "/console/broadcasts", ("GET", "POST"), ("POST",)
    return [
        *site.staff_pages("/console/channels/{slug}/broadcasts/new", partial(_new, studio), both),
        *site.staff_pages(f"{base}/{{id}}", partial(_broadcast, studio)),
        *site.staff_pages(f"{base}/{{id}}/edit", partial(_edit, studio), both),
        *site.staff_pages(f"{base}/{{id}}/clone", partial(_clone, studio), post),
        *site.staff_pages(f"{base}/{{id}}/acts/{{act}}", partial(_act, studio), both),
        *site.staff_pages(f"{base}/{{id}}/message", partial(_message, studio), post),
        *site.staff_pages(f"{base}/{{id}}/log.csv", partial(_log, studio)),
    ]


def _find(session: Session, view: View, act: Act) -> tuple[Broadcast, Channel]:
    broadcast = session.get(Broadcast, view.request.path_params["id"])
    if broadcast is None or broadcast.is_test:
        raise HTTPException(HTTPStatus.NOT_FOUND)
    view.require(act, broadcast.institution_id)
    return broadcast, session.get_one(Channel, broadcast.channel_id)


def _brand(session: Session, channel: Channel) -> Brand:
    return brand_of(session.get_one(Institution, channel.institution_id))


def _broadcast(studio: Studio, view: View) -> Page:
    return _page(studio, view, Form(), "")


def _page(studio: Studio, view: View, form: Form, trouble: str) -> Page:
    with transaction(studio.engine) as session:
        broadcast, channel = _find(session, view, Act.HEALTH_READ)
        brand = _brand(session, channel)
        log = events.list_events(session, broadcast.institution_id, broadcast.id, limit=SHOWN_EVENTS)
        peak, ended = viewers.peak(session, broadcast.id), over(session, broadcast)
        other = _other(session, broadcast)
    state = State(broadcast.state)
    possible = [
        step for step in lifecycle.possible_acts(state)
        if step in RIGHT_OF and view.may(RIGHT_OF[step], broadcast.institution_id)
    ]  # fmt: skip
    undo = acts.undo_until(broadcast)
    facts = {
        "broadcast": broadcast,
        "channel": channel,
        "brand": brand,
        "log": list(reversed(log)),
        "peak": peak,
        "over": ended,
        "other": other,
        "steps": _offered(possible, broadcast),
        "undo": undo if undo and undo[1] > view.visit.now and undo[0] in possible else None,
        "may_edit": view.may(Act.BROADCAST_EDIT, broadcast.institution_id),
        "may_message": (state, Step.MESSAGE) in lifecycle.TABLE
        and view.may(Act.BROADCAST_EDIT, broadcast.institution_id),
        "form": form,
        "trouble": trouble,
    }
    status = HTTPStatus.CONFLICT if trouble else HTTPStatus.OK
    return Page("ingest/console/broadcast.html", {**facts, **feeds_of(studio, view, channel.slug)}, status)


def _other(session: Session, broadcast: Broadcast) -> Broadcast | None:
    """What has the channel in the place of one that is to come."""
    found = queries.now_on(session, broadcast.channel_id) if broadcast.state == State.SCHEDULED else None
    return None if found is None or found.id == broadcast.id else found


def _offered(possible: list[Step], broadcast: Broadcast) -> list[Step]:
    """Undoing is shown on its own; what is already on its way to its end isn't ended again."""
    undoing = {Step.UNDO_GO_LIVE, Step.UNDO_END}
    ending = {Step.END} if broadcast.ends_at is not None else set()
    return [step for step in possible if step not in undoing | ending]


def _new(studio: Studio, view: View) -> Page | Response:
    with transaction(studio.engine) as session:
        channel, _ = find_channel(session, view, Act.BROADCAST_CREATE)
        if view.form is None:
            soon = view.visit.now.astimezone(EAST_AFRICA_TIME) + timedelta(minutes=30)
            day = read_day(view.request.query_params.get("day", ""))
            starts = f"{soon:%Y-%m-%dT%H:%M}" if day in (None, soon.date()) else f"{day}T{MORNING}"
            form = Form({"starts": starts, "visibility": "public"})
            return _outline_page(channel, None, form)
        try:
            made = broadcasts.schedule(
                session, channel, _outline(view), actor=view.staff.name, now=view.visit.now,
                randomness=secrets.token_bytes(RANDOM_BYTES),
            )  # fmt: skip
        except BroadcastError as error:
            return _outline_page(channel, None, _refused(view, said(view, error)))
        except ValueError:
            return _outline_page(channel, None, _refused(view, _bad_time(view)))
        _note(session, view, Act.BROADCAST_CREATE, made, after={"title_sw": made.title_sw})
    return view.to(f"/console/broadcasts/{made.id}")


def _edit(studio: Studio, view: View) -> Page | Response:
    with transaction(studio.engine) as session:
        broadcast, channel = _find(session, view, Act.BROADCAST_EDIT)
        if view.form is None:
            return _outline_page(channel, broadcast, Form(_values(broadcast)))
        version = view.field("version")
        try:
            broadcasts.edit(
                session, broadcast.institution_id, broadcast.id, _outline(view),
                int(version) if version.isascii() and version.isdigit() and len(version) < 9 else 0,
                actor=view.staff.name, now=view.visit.now,
            )  # fmt: skip
        except BroadcastError as error:
            return _outline_page(channel, broadcast, _refused(view, said(view, error)))
        except ValueError:
            return _outline_page(channel, broadcast, _refused(view, _bad_time(view)))
        _note(session, view, Act.BROADCAST_EDIT, broadcast, after={"title_sw": broadcast.title_sw})
    return view.to(f"/console/broadcasts/{broadcast.id}")


def _clone(studio: Studio, view: View) -> Response:
    """For a week later, to be changed at once."""
    with transaction(studio.engine) as session:
        broadcast, _ = _find(session, view, Act.BROADCAST_CREATE)
        begins = max(broadcasts.begins_at(broadcast) + timedelta(days=7), view.visit.now)
        made = broadcasts.clone(
            session, broadcast.institution_id, broadcast.id, begins, actor=view.staff.name, now=view.visit.now,
            randomness=secrets.token_bytes(RANDOM_BYTES),
        )  # fmt: skip
        _note(session, view, Act.BROADCAST_CREATE, made, after={"cloned_from": broadcast.id})
    return view.to(f"/console/broadcasts/{made.id}/edit")


def _act(studio: Studio, view: View) -> Page | Response:
    """First the question, then the act: `expected` is the state that the person saw."""
    name = view.request.path_params["act"]
    if name not in set(RIGHT_OF):
        raise HTTPException(HTTPStatus.NOT_FOUND)
    step = Step(name)
    if view.form is None:
        with transaction(studio.engine) as session:
            broadcast, channel = _find(session, view, RIGHT_OF[step])
            brand, other = _brand(session, channel), _other(session, broadcast)
        facts = {"broadcast": broadcast, "channel": channel, "brand": brand, "step": step, "other": other}
        facts |= feeds_of(studio, view, channel.slug)
        return Page("ingest/console/act.html", facts)
    expected = view.field("expected")
    if expected not in set(State):
        raise HTTPException(HTTPStatus.BAD_REQUEST)
    try:
        with transaction(studio.engine) as session:
            broadcast, channel = _find(session, view, RIGHT_OF[step])
            acts.act(
                session, broadcast.institution_id, broadcast.id, step, view.visit.now, State(expected),
                actor=view.staff.name, randomness=secrets.token_bytes(RANDOM_BYTES),
            )  # fmt: skip
            _note(
                session,
                view,
                audited(step),
                broadcast,
                before={"state": expected},
                after={"state": broadcast.state},
            )
    except BroadcastError as error:
        return _page(studio, view, Form(), said(view, error))
    studio.media.refresh(channel.slug)
    return view.to(f"/console/broadcasts/{broadcast.id}#state")  # what is heard next, and the undo is one Tab away


def _message(studio: Studio, view: View) -> Page | Response:
    swahili, english = view.field("message_sw"), view.field("message_en")
    message = None
    if "withdraw" not in (view.form or {}):
        message = Message(swahili, english, "warning" if view.field("level") == "warning" else "info")
    try:
        with transaction(studio.engine) as session:
            broadcast, channel = _find(session, view, Act.BROADCAST_EDIT)
            acts.send_message(
                session, broadcast.institution_id, broadcast.id, message, actor=view.staff.name, now=view.visit.now
            )
            told = {"sw": message.sw, "en": message.en, "level": message.level} if message else {}
            _note(session, view, MESSAGE, broadcast, after=told)
    except BroadcastError as error:
        return _page(studio, view, Form({"message_sw": swahili, "message_en": english}), said(view, error))
    studio.media.refresh(channel.slug)
    return view.to(f"/console/broadcasts/{broadcast.id}")


def _log(studio: Studio, view: View) -> Response:
    with transaction(studio.engine) as session:
        broadcast, channel = _find(session, view, Act.HEALTH_READ)
        lines = list(events.csv_lines(events.all_events(session, broadcast.institution_id, broadcast.id)))
    headers = {
        "content-disposition": f'attachment; filename="{channel.slug}-{broadcast.id}.csv"',
        "cache-control": "no-store",
    }
    return StreamingResponse(iter(lines), media_type="text/csv; charset=utf-8", headers=headers)


def _outline_page(channel: Channel, broadcast: Broadcast | None, form: Form) -> Page:
    status = HTTPStatus.UNPROCESSABLE_ENTITY if form.problems else HTTPStatus.OK
    facts = {"channel": channel, "broadcast": broadcast, "form": form}
    return Page("ingest/console/outline.html", facts, status)


def _outline(view: View) -> Outline:
    """Raises ValueError for a time that can't be read."""
    ends = view.field("ends")
    return Outline(
        view.field("title_sw"), view.field("title_en"), _time(view.field("starts")), _time(ends) if ends else None,
        "unlisted" if view.field("visibility") == "unlisted" else "public",
        view.field("description_sw"), view.field("description_en"),
    )  # fmt: skip


def _time(text: str) -> datetime:
    """What the form's field holds is East Africa Time."""
    when = datetime.strptime(text, "%Y-%m-%dT%H:%M").replace(tzinfo=EAST_AFRICA_TIME)
    if when.year not in YEARS:
        raise ValueError(text)
    return when


def _bad_time(view: View) -> str:
    return view.words.gettext("Enter the day and hour, such as 2026-11-24T10:30.")


def _refused(view: View, why: str) -> Form:
    return Form({name: view.field(name) for name in FIELDS}, {"title_sw": why})


def _values(broadcast: Broadcast) -> dict[str, str]:
    def local(when: datetime | None) -> str:
        return "" if when is None else f"{when.astimezone(EAST_AFRICA_TIME):%Y-%m-%dT%H:%M}"

    values: dict[str, Any] = {name: getattr(broadcast, name, "") for name in FIELDS}
    return values | {"starts": local(broadcast.planned_start_at), "ends": local(broadcast.planned_end_at)}


def _note(
    session: Session, view: View, act: str, broadcast: Broadcast,
    before: audit.Facts | None = None, after: audit.Facts | None = None,
) -> None:  # fmt: skip
    audit.append(
        session, view.actor, act, f"broadcast:{broadcast.id}", now=view.visit.now,
        institution_id=broadcast.institution_id, before=before, after=after,
    )  # fmt: skip
