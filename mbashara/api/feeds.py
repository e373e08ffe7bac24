"""Feeds that are connected, and their health: as media tells them, of the caller's institution, in its language."""

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query
from pydantic import BaseModel
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.responses import Response

from core.database import transaction
from core.keys import Role
from core.media.levels import Level as SoundLevel
from core.staff.permissions import Act
from core.tables import Channel
from ingest.health.issues import Issue, IssueType, Level, State
from ingest.health.series import TIERS
from ingest.health.texts import explain
from mbashara.api.answers import IfNoneMatch, read
from mbashara.api.caller import Caller, Json, holding
from mbashara.api.channels import find
from mbashara.api.fields import ChannelPath
from mbashara.api.problems import Kind, Refused, documented

router = APIRouter(tags=["feeds"])
Reader = Annotated[Caller, Depends(holding(Act.HEALTH_READ))]


class IssueShown(BaseModel):
    """`cause` and `remedy` are in the caller's language."""

    type: IssueType
    level: Level
    cause: str
    remedy: str


class HealthShown(BaseModel):
    channel: str
    role: Role
    on_air: bool
    state: State
    issues: list[IssueShown]


class LevelsShown(BaseModel):
    """In dBFS over about a second of sound: one side, or left and right; -99 is silence."""

    measured_at: datetime
    sides: list[SoundLevel]


class FeedShown(HealthShown):
    """`levels` is null where there is no sound, or none was measured yet."""

    feed: str
    since: str
    address: str
    encoder: str | None
    tracks: list[dict[str, Any]]
    measures: dict[str, Any]
    levels: LevelsShown | None


class Feeds(BaseModel):
    """`complete` is false while a media process does not answer."""

    items: list[FeedShown]
    complete: bool


class Health(BaseModel):
    items: list[HealthShown]
    complete: bool


class SeriesShown(BaseModel):
    """Columns of [least, mean, most] beside their times."""

    step_s: int
    at_s: list[float]
    columns: dict[str, list[list[float | None]]]


@router.get("/feeds", response_model=Feeds, responses=documented())
def list_feeds(caller: Reader, if_none_match: IfNoneMatch = None) -> Response:
    found, complete = _own_feeds(caller)
    return read(
        caller,
        Feeds(
            items=[FeedShown.model_validate({**one, **_said(caller, one), "levels": _levels(one)}) for one in found],
            complete=complete,
        ),
    )


@router.get("/health", response_model=Health, responses=documented())
def list_health(caller: Reader, if_none_match: IfNoneMatch = None) -> Response:
    """Each connected feed's issues, with cause and remedy."""
    found, complete = _own_feeds(caller)
    return read(
        caller,
        Health(items=[HealthShown.model_validate({**one, **_said(caller, one)}) for one in found], complete=complete),
    )


@router.get("/feeds/{slug}/{role}/series", response_model=SeriesShown, responses=documented(404))
def get_series(
    caller: Reader,
    slug: ChannelPath,
    role: Annotated[Role, Path()],
    step_s: Annotated[int, Query(ge=1, description=f"One of {', '.join(str(tier.step_s) for tier in TIERS)}.")] = 1,
    from_s: Annotated[float, Query(ge=0, allow_inf_nan=False, description="Unix time.")] = 0,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """What was measured of a role in the last broadcast, at most 400 rows."""
    with transaction(caller.api.engine) as session:
        find(session, caller, slug)
    series = caller.api.media.series(slug, role, step_s, from_s)
    if series is None:
        raise Refused(Kind.NOT_FOUND)
    return read(caller, SeriesShown.model_validate(series))


def _own_feeds(caller: Caller) -> tuple[list[Json], bool]:
    found, complete = caller.api.media.feeds_told()
    with transaction(caller.api.engine) as session:
        own = _own_slugs(session, caller, {str(one["channel"]) for one in found})
    return [one for one in found if one["channel"] in own], complete


def _own_slugs(session: Session, caller: Caller, slugs: set[str]) -> set[str]:
    mine = caller.bearer.place.where(Channel.institution_id)
    return set(session.scalars(select(Channel.slug).where(Channel.slug.in_(slugs), mine)))


def _said(caller: Caller, feed: Json) -> Json:
    return {
        "issues": [
            _issue(caller, Issue(IssueType(one["type"]), Level(one["level"]), one["value"], one["limit"]))
            for one in feed["issues"]
        ]
    }


def _levels(feed: Json) -> Json | None:
    measured = feed.get("levels")
    return measured and {"measured_at": datetime.fromtimestamp(measured["at_s"], UTC), "sides": measured["sides"]}


def _issue(caller: Caller, issue: Issue) -> IssueShown:
    said = explain(issue, caller.language)
    return IssueShown(type=issue.type, level=issue.level, cause=said.cause, remedy=said.remedy)
