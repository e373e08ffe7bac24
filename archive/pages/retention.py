"""The rules of retention: how long recordings of an institution, or a channel, are kept. A change is stored only when a
person has seen in words what may be destroyed by it.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Any

from sqlalchemy.orm import Session
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import BaseRoute

from archive.pages import Archive
from archive.recordings import policy, retention
from archive.recordings.policy_errors import BadYears, PolicyError
from archive.recordings.retention import Change, Effect
from archive.words import N_
from core import channels, institutions
from core.database import transaction
from core.staff.permissions import Act, scope
from core.tables import Channel, Institution
from core.web.forms import Form
from core.web.site import Page, Site, View

PATH = "/staff/retention"
SET = f"{PATH}/set"
FIELDS = ("of", "keep", "years", "shorten")
YEARS, EVER, END = "years", "ever", "end"
MAX_CHANNELS = 2000
CHOOSE_OF, CHOOSE_KEEP = N_("Choose an institution or a channel."), N_("Choose how long they are kept.")


@dataclass(frozen=True, slots=True)
class Place:
    """Whose recordings a rule is for."""

    institution: Institution
    channel: Channel | None

    @property
    def slug(self) -> str:
        """As forms and addresses name it: "bunge", "bunge/bunge-1"."""
        return self.institution.slug if self.channel is None else f"{self.institution.slug}/{self.channel.slug}"

    def name(self, view: View) -> str:
        name = view.pick(self.institution.name_sw, self.institution.name_en) or self.institution.slug
        if self.channel is None:
            return name
        return f"{name}: {view.pick(self.channel.name_sw, self.channel.name_en)}"


def routes(site: Site, archive: Archive) -> list[BaseRoute]:
    return [
        *site.staff_pages(PATH, partial(_list, archive)),
        *site.staff_pages(SET, partial(_set, archive), ("GET", "POST")),
    ]


def _list(archive: Archive, view: View) -> Page:
    if not view.may_anywhere(Act.RECORDING_READ):
        raise HTTPException(HTTPStatus.FORBIDDEN)
    visible, mine = (scope(view.staff.memberships, act) for act in (Act.RECORDING_READ, Act.RETENTION_EDIT))
    with transaction(archive.engine) as session:
        found = policy.rules(session, visible)
    rules = [(rule, Place(institution, channel), mine.covers(institution.id)) for rule, institution, channel in found]
    facts = {
        "rules": [(rule, place.name(view), place.slug, may) for rule, place, may in rules],
        "may_add": view.may_anywhere(Act.RETENTION_EDIT),
        "told": view.request.query_params.get("told", ""),
    }
    return Page("archive/pages/retention.html", facts)


def _set(archive: Archive, view: View) -> Page | Response:
    """The form; what would come of it, in words; and, with what was said in `sure`, the change itself."""
    if not view.may_anywhere(Act.RETENTION_EDIT):
        raise HTTPException(HTTPStatus.FORBIDDEN)
    with transaction(archive.engine) as session:
        if view.form is None:
            return _form(session, view, Form(_asked(session, view)))
        place, change, problems = _change(session, view)
        if place is None or change is None:
            return _form(session, view, _sent(view, problems))
        try:
            retention.lock(session, change.institution_id)
            before = retention.rules_of(session, change.institution_id)
            effect = retention.effect(session, change, view.visit.now)
            if view.field("sure") == _said(before, effect):
                retention.carry_out(session, change, by=view.actor, now=view.visit.now)
                return view.to(f"{PATH}?told={END if change.ends else 'set'}")
        except PolicyError as error:
            return _form(session, view, _sent(view, {"keep": error.said(view.language)}))
        return _confirm(view, place, change, before, effect)


def _sent(view: View, problems: Mapping[str, str]) -> Form:
    return Form({name: view.field(name) for name in FIELDS}, problems)


def _asked(session: Session, view: View) -> dict[str, str]:
    """The form as the address fills it in: with the rule that stands, where there is one."""
    asked = {name: view.request.query_params.get(name, "")[:100] for name in FIELDS}
    if asked["of"] and not asked["keep"]:
        place = _place(session, view, asked["of"])
        rules = {} if place is None else retention.rules_of(session, place.institution.id)
        channel_id = None if place is None or place.channel is None else place.channel.id
        if channel_id in rules:
            years = rules[channel_id]
            asked |= {"keep": EVER if years is None else YEARS, "years": str(years or "")}
    return asked


def _place(session: Session, view: View, of: str) -> Place | None:
    """None where nothing is named. Whose rules this person may not change is not found (404, 403)."""
    if not of:
        return None
    slug, _, channel_slug = of.partition("/")
    institution = institutions.find(session, slug)
    if institution is None:
        raise HTTPException(HTTPStatus.NOT_FOUND)
    view.require(Act.RETENTION_EDIT, institution.id)
    channel = channels.find_channel(session, channel_slug) if channel_slug else None
    if channel_slug and (channel is None or channel.institution_id != institution.id):
        raise HTTPException(HTTPStatus.NOT_FOUND)
    return Place(institution, channel)


def _change(session: Session, view: View) -> tuple[Place | None, Change | None, Mapping[str, str]]:
    """What the form asks for, or what is wrong with its fields."""
    place, keep, problems = _place(session, view, view.field("of")), view.field("keep"), dict[str, str]()
    if place is None:
        problems["of"] = view.words.gettext(CHOOSE_OF)
    if keep not in (YEARS, EVER, END):
        problems["keep"] = view.words.gettext(CHOOSE_KEEP)
    text = view.field("years")
    is_number = text.isascii() and text.isdigit() and len(text) < 6
    if keep == YEARS and not (is_number and 0 < int(text) <= policy.MAX_YEARS):
        problems["years"] = BadYears().said(view.language)
    if problems or place is None:
        return place, None, problems
    shortens = bool(view.field("shorten")) and keep == YEARS
    if shortens:
        view.require(Act.RETENTION_EDIT, None)
    channel_id = None if place.channel is None else place.channel.id
    years = int(text) if keep == YEARS else None
    return place, Change(place.institution.id, channel_id, years, keep == END, shortens), {}


def _said(before: retention.Rules, effect: Effect) -> str:
    """What the person was told; if it is told otherwise when he is sure, he is asked again."""
    rules = ",".join(f"{channel_id}:{years}" for channel_id, years in sorted(before.items(), key=str))
    return "/".join([rules, *(str(number) for number in dataclasses.astuple(effect))])


def _form(session: Session, view: View, form: Form) -> Page:
    mine = scope(view.staff.memberships, Act.RETENTION_EDIT)
    own = [Place(one, None) for one in institutions.list_institutions(session, mine)]
    found = channels.page_of_channels(session, mine, limit=MAX_CHANNELS)
    places = [*own, *(Place(institution, channel) for channel, institution in found)]
    facts = {
        "form": form,
        "places": sorted(((one.slug, one.name(view)) for one in places), key=lambda one: one[1].casefold()),
        "may_shorten": view.may(Act.RETENTION_EDIT, None),
    }
    status = HTTPStatus.UNPROCESSABLE_ENTITY if form.problems else HTTPStatus.OK
    return Page("archive/pages/retention_set.html", facts, status)


def _confirm(view: View, place: Place, change: Change, before: retention.Rules, effect: Effect) -> Page:
    has_rule = change.channel_id in before
    facts: dict[str, Any] = {
        "name": place.name(view),
        "change": change,
        "was": before.get(change.channel_id),
        "has_rule": has_rule,
        "otherwise": before.get(None) if change.channel_id is not None else None,
        "effect": effect,
        "sent": {name: view.field(name) for name in FIELDS},
        "sure": _said(before, effect),
        "is_changed": bool(view.field("sure")),
    }
    return Page("archive/pages/retention_sure.html", facts)
