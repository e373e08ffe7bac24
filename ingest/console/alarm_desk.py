"""The alarms' pages: what stands now, for whom, and who has acknowledged it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from http import HTTPStatus

from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import BaseRoute

from core import audit
from core.broadcasts.lifecycle import AT_THE_CHANNEL
from core.database import transaction
from core.staff.permissions import Act, Scope, may, scope
from core.tables import AlarmAcknowledgement, Broadcast, Channel
from core.web.site import Page, Site, View
from ingest.console import Studio, Told
from ingest.console.alarms import DUE_SOON, OVERDUE, Alarm, Held, OfArchive, Plan, in_order
from ingest.console.health_words import words_of
from ingest.console.unseen import unseen

KEY_PATTERN = re.compile(r"[A-Za-z0-9._-]{1,200}")
LASTS = timedelta(days=2)
"""How long an acknowledgement is looked for; an alarm that stands longer calls anew."""


@dataclass(frozen=True, slots=True)
class Shown:
    """An alarm as a page has it. `acknowledged` is by whom and when."""

    held: Held
    acknowledged: AlarmAcknowledgement | None


def routes(site: Site, studio: Studio) -> list[BaseRoute]:
    return [
        *site.staff_pages("/console/alarms", partial(_list, studio)),
        *site.staff_pages("/console/alarms/acknowledge", partial(_acknowledge, studio), ("POST",)),
    ]


def facts(studio: Studio, view: View, channel: str | None = None) -> dict[str, object]:
    """For a page that has alarms on it: of one channel, or of all that the person may see; the machine's always.

    `stranger_at`: when an encoder came whose key is nobody's. It is told across institutions, and meant to be: whose it
    is can't be known, and who misses an encoder finds a wrong key by it minutes before a speech. So it is bounded: the
    time of the newest knock of the last two minutes, beside the alarm of an encoder that is missed (since before that
    knock, where it was there once), and nothing else.
    No address, key or program (media keeps none of it), and no number of knocks. All that another institution learns is
    that someone, somewhere, sent with a wrong key at that second; no alarm begins or ends by it.
    """
    archive = studio.archive(view.visit.now)
    with transaction(studio.engine) as session:
        found = look(studio, session, studio.media.feeds(), archive, view.visit.now)
    visible = scope(view.staff.memberships, Act.HEALTH_READ)
    kept = scope(view.staff.memberships, Act.RECORDING_READ)
    mine = [one for one in found if _concerns(one.held.alarm, channel, visible, kept)]
    causes = {
        one.held.alarm.key: words_of(one.held.alarm.issue, view.language).cause for one in mine if one.held.alarm.issue
    }
    strangers = [datetime.fromisoformat(one["at"]) for one in studio.media.refused() if not one["channel"]]
    return {
        "alarms": mine, "alarm_causes": causes, "alarm_channel": channel, "alarm_back": view.path,
        "stranger_at": max(strangers, default=None),
    }  # fmt: skip


def _concerns(alarm: Alarm, channel: str | None, visible: Scope, kept: Scope) -> bool:
    """`visible`: whose health the person may see; `kept`: whose recordings."""
    if alarm.of is None:
        return True
    if alarm.archive is not None and not kept.covers(alarm.archive.institution_id):
        return False
    return visible.covers(alarm.of.institution_id) and channel in (None, alarm.channel)


def look(
    studio: Studio, session: Session, feeds: Sequence[Told], archive: Sequence[OfArchive], now: datetime
) -> list[Shown]:
    """Every alarm that stands now. `archive`: what it calls for, asked before the session begins: it may want a
    connection of its own, and whoever waits for a second one while he has the first holds up all pages."""
    machine, refused = studio.media.troubles(), studio.media.refused()
    held = studio.alarms.look(plans(session, now), feeds, machine, now, archive, refused)
    seen = acknowledgements(session, now)
    held = in_order([*held, *unseen(session, seen, now)])
    return [Shown(one, _of(one, seen)) for one in held]


def _of(held: Held, seen: Sequence[AlarmAcknowledgement]) -> AlarmAcknowledgement | None:
    """The first since it began: of one before, nobody knew of this."""
    return next((one for one in seen if one.alarm == held.alarm.key and one.at >= held.since), None)


def words(studio: Studio, feeds: Sequence[Told]) -> Mapping[str, str]:
    """For the pulse: by channel ("": the machine) what stands, as one comparable word. Raises DatabaseAway."""
    now = datetime.now(UTC)
    archive = studio.archive(now)
    with transaction(studio.engine) as session:
        found = look(studio, session, feeds, archive, now)
    told: dict[str, str] = {}
    for one in found:
        alarm = one.held.alarm
        more = ".over" if alarm.ended is not None and alarm.ended.at is not None else ""
        more += "" if one.acknowledged is None else ".seen"
        told[alarm.channel] = f"{told.get(alarm.channel, '')} {alarm.key}{more}"
    return told


def plans(session: Session, now: datetime) -> list[Plan]:
    """What has a channel, or will soon; of two on one channel what has it, planned ones before automatic."""
    due = (Broadcast.state == "scheduled") & Broadcast.planned_start_at.between(now - OVERDUE, now + DUE_SOON)
    found = session.execute(
        select(
            Channel.slug, Channel.institution_id, Channel.name_sw, Channel.name_en, Broadcast.id, Broadcast.state,
            Broadcast.started_at, Broadcast.ends_at, Broadcast.planned_start_at,
        )
        .join(Channel, Channel.id == Broadcast.channel_id)
        .where(Broadcast.state.in_(AT_THE_CHANNEL) | due, ~Broadcast.is_test)
        .order_by(Broadcast.state.in_(AT_THE_CHANNEL), Broadcast.created_by.is_not(None), Broadcast.id)
    )  # fmt: skip
    by_channel = {
        slug: Plan(slug, owner, name_sw, name_en, identity, state == "live", begun is not None, ends is not None, start)
        for slug, owner, name_sw, name_en, identity, state, begun, ends, start in found
    }
    return list(by_channel.values())


def acknowledgements(session: Session, now: datetime) -> Sequence[AlarmAcknowledgement]:
    recent = select(AlarmAcknowledgement).where(AlarmAcknowledgement.at > now - LASTS)
    return session.scalars(recent.order_by(AlarmAcknowledgement.id)).all()


def _list(studio: Studio, view: View) -> Page:
    """The list alone, which a page puts in its place."""
    if not view.may_anywhere(Act.HEALTH_READ):
        raise HTTPException(HTTPStatus.FORBIDDEN)
    return Page("ingest/console/alarm_list.html", facts(studio, view, view.request.query_params.get("channel")))


def _acknowledge(studio: Studio, view: View) -> Response:
    """The first who does is told to everyone; the second changes nothing, and neither does one who is too late."""
    key, back = view.field("alarm"), view.field("back")
    if not KEY_PATTERN.fullmatch(key):
        raise HTTPException(HTTPStatus.NOT_FOUND)
    archive = studio.archive(view.visit.now)
    with transaction(studio.engine) as session:
        found = look(studio, session, studio.media.feeds(), archive, view.visit.now)
        one = next((one for one in found if one.held.alarm.key == key), None)
        if one is not None:
            of = one.held.alarm.of
            owner = of.institution_id if of else None
            if not may(view.staff.memberships, Act.ALARM_ACKNOWLEDGE, owner):
                raise HTTPException(HTTPStatus.FORBIDDEN)
            if one.acknowledged is None:
                _note(session, view, one.held, owner)
    return view.to(back if back.startswith("/console") and "//" not in back else "/console")


def _note(session: Session, view: View, held: Held, owner: int | None) -> None:
    now = view.visit.now
    session.add(AlarmAcknowledgement(institution_id=owner, alarm=held.alarm.key, at=now, actor=view.staff.name))
    audit.append(
        session, view.actor, Act.ALARM_ACKNOWLEDGE, f"alarm:{held.alarm.key}", now=now, institution_id=owner,
        after={"since": held.since.isoformat(timespec="seconds")},
    )  # fmt: skip
