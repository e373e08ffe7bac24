"""How many watch: a channel now, a broadcast now and in its course. Apart from those resources, whose ETags would
change with every viewer."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel
from starlette.responses import Response

from core.broadcasts import viewers
from core.broadcasts.viewers import NOBODY, SAMPLE_S, Viewers
from core.database import transaction
from core.staff.tokens import Read
from core.tables import Channel, ViewersSample
from mbashara.api import broadcasts, channels
from mbashara.api.answers import IfNoneMatch, read
from mbashara.api.caller import Caller, holding
from mbashara.api.fields import ChannelPath, UlidPath
from mbashara.api.problems import documented

router = APIRouter(tags=["viewers"])
OfChannel = Annotated[Caller, Depends(holding(Read.CHANNEL))]
OfBroadcast = Annotated[Caller, Depends(holding(Read.BROADCAST))]


class ViewersShown(BaseModel):
    """`sound_only` are among the `viewers`. `is_least`: there are more than can be counted."""

    viewers: int
    sound_only: int
    is_least: bool


class SampleShown(ViewersShown):
    at: datetime


class ChannelViewers(BaseModel):
    """`now` is null while the counter does not answer. Viewers whom a cache in front answers are not among them."""

    now: ViewersShown | None


class BroadcastViewers(ChannelViewers):
    """`now` is null for a broadcast that is not live. `series` has the most of every `step_s` seconds in which someone
    watched, the newest 10,000."""

    peak: SampleShown | None
    step_s: int
    series: list[SampleShown]


@router.get("/channels/{slug}/viewers", response_model=ChannelViewers, responses=documented(404))
def get_channel_viewers(caller: OfChannel, slug: ChannelPath, if_none_match: IfNoneMatch = None) -> Response:
    with transaction(caller.api.engine) as session:
        channels.find(session, caller, slug)
    return read(caller, ChannelViewers(now=_now(caller, slug)))


@router.get("/broadcasts/{id}/viewers", response_model=BroadcastViewers, responses=documented(404))
def get_broadcast_viewers(caller: OfBroadcast, id: UlidPath, if_none_match: IfNoneMatch = None) -> Response:
    with transaction(caller.api.engine) as session:
        broadcast = broadcasts.find(session, caller, id)
        slug = session.get_one(Channel, broadcast.channel_id).slug
        peak, series = viewers.peak(session, id), viewers.series(session, id)
    now = _now(caller, slug) if broadcast.state == "live" else None
    shown = BroadcastViewers(now=now, peak=peak and _sample(peak), step_s=SAMPLE_S, series=[*map(_sample, series)])
    return read(caller, shown)


def _now(caller: Caller, slug: str) -> ViewersShown | None:
    found = caller.api.media.viewers()
    return None if found is None else _shown(found.get(slug, NOBODY))


def _shown(found: Viewers) -> ViewersShown:
    return ViewersShown.model_validate(found, from_attributes=True)


def _sample(found: ViewersSample) -> SampleShown:
    return SampleShown.model_validate(found, from_attributes=True)
