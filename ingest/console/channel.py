"""A channel's pages: its feeds now, where encoders publish, its keys, its settings, what it had and what it expects."""

from functools import partial
from http import HTTPStatus
from typing import Literal

import segno
from sqlalchemy.orm import Session
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute

from core import audit, channels, institutions
from core.brand import brand_of
from core.channels import ChannelError
from core.database import transaction
from core.staff.permissions import Act, scope
from core.tables import Channel, Institution
from core.web.forms import Form
from core.web.site import Page, Site, View
from ingest.console import Studio, alarm_desk, queries
from ingest.console.health_words import of_channel, troubles
from ingest.console.said import said

ROLES: tuple[Literal["primary", "backup"], ...] = ("primary", "backup")
STEPS_S = (1, 10)


def routes(site: Site, studio: Studio) -> list[BaseRoute]:
    base, post = "/console/channels", ("POST",)
    return [
        *site.staff_pages(f"{base}/new", partial(_new, studio), ("GET", "POST")),
        *site.staff_pages(f"{base}/{{slug}}", partial(_channel, studio)),
        *site.staff_pages(f"{base}/{{slug}}/series/{{role}}", partial(_series, studio)),
        *site.staff_pages(f"{base}/{{slug}}/settings", partial(_settings, studio), post),
        *site.staff_pages(f"{base}/{{slug}}/keys/{{role}}/rotate", partial(_rotate, studio), post),
        *site.staff_pages(f"{base}/{{slug}}/keys/{{role}}/revoke", partial(_revoke, studio), post),
        *site.staff_pages(f"{base}/{{slug}}/keys/{{role}}/addresses", partial(_addresses, studio), post),
    ]


def find(session: Session, view: View, act: Act) -> tuple[Channel, Institution]:
    """The channel of the path, if the person may do this there."""
    found = queries.find_channel(session, view.request.path_params["slug"])
    if found is None:
        raise HTTPException(HTTPStatus.NOT_FOUND)
    view.require(act, found[0].institution_id)
    return found[0], found[1]


def _channel(studio: Studio, view: View) -> Page:
    return _page(studio, view, Form())


def _page(studio: Studio, view: View, form: Form) -> Page:
    with transaction(studio.engine) as session:
        channel, institution = find(session, view, Act.HEALTH_READ)
        facts = {
            "channel": channel,
            "brand": brand_of(institution),
            "broadcast": queries.now_on(session, channel.id),
            "planned": queries.planned(session, channel.id, view.visit.now),
            "past": queries.past(session, channel.id),
            "keys": queries.keys_in_use(session, channel.id),
        }
    status = HTTPStatus.UNPROCESSABLE_ENTITY if form.problems else HTTPStatus.OK
    return Page("ingest/console/channel.html", {**facts, **feeds_of(studio, view, channel.slug), "form": form}, status)


def feeds_of(studio: Studio, view: View, slug: str) -> dict[str, object]:
    feeds = of_channel(studio.media.feeds(), slug)
    return {
        "feeds": feeds,
        "viewers": studio.media.viewers(),
        "troubles": {role: troubles(feed, view.language) for role, feed in feeds.items()},
        "roles": ROLES,
        "rtmp_url": studio.rtmp_url,
        **alarm_desk.facts(studio, view, slug),
    }


def _series(studio: Studio, view: View) -> Response:
    """For the graphs: the last five minutes by the second, or the whole broadcast."""
    step = view.request.query_params.get("step", "")
    step_s = int(step) if step in {str(one) for one in STEPS_S} else STEPS_S[0]
    with transaction(studio.engine) as session:
        channel, _ = find(session, view, Act.HEALTH_READ)
    series = studio.media.series(channel.slug, _role(view), step_s)
    nothing = {"step_s": step_s, "at_s": [], "columns": {"received_bps": []}}
    return JSONResponse(series or nothing, headers={"cache-control": "no-store"})


def _new(studio: Studio, view: View) -> Page | Response:
    if not view.may_anywhere(Act.CHANNEL_ADD):
        raise HTTPException(HTTPStatus.FORBIDDEN)
    if view.form is None:
        return _new_page(studio, view, Form())
    slug, place = view.field("slug"), view.field("institution_id")
    values = {name: view.field(name) for name in ("slug", "name_sw", "name_en", "institution_id")}
    if not (place.isascii() and place.isdigit() and len(place) < 10):
        raise HTTPException(HTTPStatus.BAD_REQUEST)
    view.require(Act.CHANNEL_ADD, int(place))
    if not (values["name_sw"] and values["name_en"]):
        words = view.words.gettext("Enter the name in both languages.")
        return _new_page(studio, view, Form(values, {"name_sw": words}))
    try:
        with transaction(studio.engine) as session:
            institution = session.get(Institution, int(place))
            if institution is None:
                raise HTTPException(HTTPStatus.NOT_FOUND)
            made = channels.add_channel(
                session, slug, name_sw=values["name_sw"][:200], name_en=values["name_en"][:200], pepper=studio.pepper,
                now=view.visit.now, institution=institution.slug,
            )  # fmt: skip
            _note(session, view, Act.CHANNEL_ADD, institution.id, slug, after={"name_sw": values["name_sw"]})
    except ChannelError as error:
        return _new_page(studio, view, Form(values, {"slug": said(view, error)}))
    studio.media.refresh(slug)
    return _keys_page(studio, slug, {"primary": made.primary_key, "backup": made.backup_key})


def _new_page(studio: Studio, view: View, form: Form) -> Page:
    with transaction(studio.engine) as session:
        found = institutions.list_institutions(session, scope(view.staff.memberships, Act.CHANNEL_ADD))
    places = [(str(one.id), view.pick(one.name_sw, one.name_en)) for one in found]
    status = HTTPStatus.UNPROCESSABLE_ENTITY if form.problems else HTTPStatus.OK
    return Page("ingest/console/new_channel.html", {"form": form, "places": places}, status)


def _settings(studio: Studio, view: View) -> Page | Response:
    window = view.field("reconnect_window_s")
    if window and not (window.isascii() and window.isdigit() and len(window) < 6):
        words = view.words.gettext("Enter whole seconds.")
        return _page(studio, view, Form({"reconnect_window_s": window}, {"reconnect_window_s": words}))
    auto_live = view.field("auto_live") == "yes"
    with transaction(studio.engine) as session:
        channel, _ = find(session, view, Act.CHANNEL_EDIT)
        before = {"auto_live": channel.auto_live, "reconnect_window_s": str(channel.reconnect_window_s)}
        wanted_s = float(window) if window else None
        channels.set_life(session, channel.slug, auto_live=auto_live, reconnect_window_s=wanted_s)
        after = {"auto_live": auto_live, "reconnect_window_s": str(wanted_s)}
        _note(session, view, Act.CHANNEL_EDIT, channel.institution_id, channel.slug, *audit.difference(before, after))
    return _done(studio, view, channel.slug)


def _rotate(studio: Studio, view: View) -> Page:
    role = _role(view)
    with transaction(studio.engine) as session:
        channel, _ = find(session, view, Act.KEY_ROTATE)
        act = channels.act_of_new_key(session, channel.id, role)
        key = channels.rotate_key(session, channel.slug, role, pepper=studio.pepper, now=view.visit.now)
        _note(session, view, act, channel.institution_id, channel.slug, after={"role": role})
    return _keys_page(studio, channel.slug, {role: key}, is_late=not studio.media.refresh(channel.slug))


def _revoke(studio: Studio, view: View) -> Response:
    role = _role(view)
    with transaction(studio.engine) as session:
        channel, _ = find(session, view, Act.KEY_ROTATE)
        channels.revoke_key(session, channel.slug, role, now=view.visit.now)
        _note(session, view, "key.revoke", channel.institution_id, channel.slug, after={"role": role})
    return _done(studio, view, channel.slug)


def _addresses(studio: Studio, view: View) -> Page | Response:
    role, wanted = _role(view), view.field("addresses").split()
    try:
        with transaction(studio.engine) as session:
            channel, _ = find(session, view, Act.KEY_ROTATE)
            channels.limit_key(session, channel.slug, role, wanted)
            told = {"role": role, "addresses": wanted}
            _note(session, view, "key.limit", channel.institution_id, channel.slug, after=told)
    except ChannelError as error:
        name = f"addresses_{role}"
        return _page(studio, view, Form({name: view.field("addresses")}, {name: said(view, error)}))
    return _done(studio, view, channel.slug)


def _keys_page(studio: Studio, slug: str, keys: dict[str, str], *, is_late: bool = False) -> Page:
    """The one time that keys are seen. `is_late`: media could not be told, and lets in whom it let in before."""
    shown = [
        (role, key, segno.make(f"{studio.rtmp_url}/{key}").svg_data_uri(scale=4, light="#fff"))
        for role, key in keys.items()
    ]
    return Page(
        "ingest/console/keys.html", {"slug": slug, "keys": shown, "rtmp_url": studio.rtmp_url, "is_late": is_late}
    )


def _done(studio: Studio, view: View, slug: str) -> Response:
    told = "saved" if studio.media.refresh(slug) else "late"
    return view.to(f"/console/channels/{slug}?told={told}")


def _role(view: View) -> Literal["primary", "backup"]:
    match view.request.path_params["role"]:
        case "primary":
            return "primary"
        case "backup":
            return "backup"
    raise HTTPException(HTTPStatus.NOT_FOUND)


def _note(
    session: Session, view: View, act: str, institution_id: int, slug: str,
    before: audit.Facts | None = None, after: audit.Facts | None = None,
) -> None:  # fmt: skip
    audit.append(
        session, view.actor, act, f"channel:{slug}", now=view.visit.now, institution_id=institution_id,
        before=before, after=after,
    )  # fmt: skip
