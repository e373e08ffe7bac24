"""A channel's dry runs: begun and stopped by engineers, and what each found, in words."""

import secrets
from datetime import timedelta
from functools import partial
from http import HTTPStatus

from sqlalchemy.orm import Session
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import BaseRoute

from core import audit
from core.broadcasts import dry_runs
from core.broadcasts.dry_runs import DryRunRefused, Limits, Reason
from core.broadcasts.lifecycle import State
from core.broadcasts.rights import DRY_RUN
from core.database import transaction
from core.ids import RANDOM_BYTES
from core.staff.permissions import Act
from core.tables import Broadcast, Channel, DryRun
from core.web.site import Page, Site, View
from ingest.console import Studio
from ingest.console.channel import find as find_channel
from ingest.console.said import said

PATH = "/console/channels/{slug}/dry-run"


def routes(site: Site, studio: Studio) -> list[BaseRoute]:
    return [
        *site.staff_pages(PATH, partial(_dry_runs, studio), ("GET", "POST")),
        *site.staff_pages(f"{PATH}/stop", partial(_stop, studio), ("POST",)),
    ]


def _dry_runs(studio: Studio, view: View) -> Page | Response:
    if view.form is None:
        return _page(studio, view, view.request.query_params.get("broadcast", ""), "")
    planned_id = view.field("broadcast")
    try:
        slug = _begin(studio, view, planned_id)
    except DryRunRefused as error:
        return _page(studio, view, planned_id, said(view, error))
    return view.to(f"/console/channels/{slug}/dry-run")


def _begin(studio: Studio, view: View, planned_id: str) -> str:
    limits = Limits(studio.dry_runs, timedelta(minutes=studio.dry_run_minutes))
    with transaction(studio.engine) as session:
        channel, _ = find_channel(session, view, DRY_RUN)
        planned = _planned(session, channel, planned_id)
        has_feed = any(feed["channel"] == channel.slug for feed in studio.media.feeds())
        made = dry_runs.begin(
            session, channel, None if planned is None else planned.id, limits, has_feed=has_feed, actor=view.staff.name,
            now=view.visit.now, randomness=secrets.token_bytes(RANDOM_BYTES),
        )  # fmt: skip
        _note(session, view, "broadcast.dry_run", channel, made)
    return channel.slug


def _stop(studio: Studio, view: View) -> Response:
    with transaction(studio.engine) as session:
        channel, _ = find_channel(session, view, DRY_RUN)
        run = dry_runs.under_way(session, channel.id)
        if run is not None and dry_runs.end(session, run.broadcast_id, Reason.STOPPED, view.visit.now, view.staff.name):
            _note(session, view, "broadcast.dry_run_stop", channel, run)
    if run is not None and run.path is not None:
        studio.media.refresh(run.path)
    return view.to(f"/console/channels/{channel.slug}/dry-run")


def _page(studio: Studio, view: View, planned_id: str, trouble: str) -> Page:
    with transaction(studio.engine) as session:
        channel, _ = find_channel(session, view, Act.HEALTH_READ)
        planned = _planned(session, channel, planned_id)
        runs = dry_runs.latest(session, channel.id)
    facts = {
        "channel": channel,
        "planned": planned,
        "runs": runs,
        "is_under_way": bool(runs) and runs[0].state != "ended",
        "is_judged": [_is_judged(run, view) for run in runs],
        "steps": list(dry_runs.Step),
        "may_run": view.may(DRY_RUN, channel.institution_id) and studio.dry_runs > 0,
        "minutes": f"{studio.dry_run_minutes:g}",
        "trouble": trouble,
    }
    return Page("ingest/console/dry_run.html", facts, HTTPStatus.CONFLICT if trouble else HTTPStatus.OK)


def _is_judged(run: DryRun, view: View) -> bool:
    """Whether a step that was not seen good yet counts as not good."""
    return run.state == "ended" or view.visit.now >= run.began_at + dry_runs.JUDGED_AFTER


def _planned(session: Session, channel: Channel, planned_id: str) -> Broadcast | None:
    """The plan that a dry run is for, if it is for one. 404 for what is no plan of this channel."""
    if not planned_id:
        return None
    found = session.get(Broadcast, planned_id)
    if found is None or found.channel_id != channel.id or found.is_test:
        raise HTTPException(HTTPStatus.NOT_FOUND)
    return found if found.state == State.SCHEDULED else None


def _note(session: Session, view: View, act: str, channel: Channel, run: DryRun) -> None:
    audit.append(
        session, view.actor, act, f"channel:{channel.slug}", now=view.visit.now,
        institution_id=channel.institution_id, after={"dry_run": run.broadcast_id, "planned": run.planned_id},
    )  # fmt: skip
