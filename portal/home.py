"""The first page of Tovuti Kuu: what is on the air now, what comes soon, and the latest recordings."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Engine, Row, Select, select
from sqlalchemy.orm import Session
from starlette.routing import BaseRoute

from core.brand import brand_of
from core.database import transaction
from core.tables import Broadcast, Channel, Institution, Recording
from core.web.site import Page, Site, View

KEPT_S = 5
MAX_LIVE = 50
MAX_SOON = 20
MAX_RECORDINGS = 12
LATE = timedelta(hours=2)
"""How long a broadcast that is late to begin stays among those to come."""


def routes(site: Site, engine: Engine, has_still: Callable[[str], bool]) -> list[BaseRoute]:
    """`has_still`: whether there is a picture of what is on the channel's air."""

    def home(view: View) -> Page:
        with transaction(engine) as session:
            facts: dict[str, Any] = {
                "live": live(session), "soon": soon(session, view.visit.now), "recordings": recordings(session),
                "has_still": has_still,
            }  # fmt: skip
        facts["brands"] = {owner.id: brand_of(owner) for _, _, owner in [*facts["live"], *facts["soon"]]}
        return Page("portal/home.html", facts, kept_s=KEPT_S)

    return site.pages("/", home)


def live(session: Session) -> Sequence[Row[Broadcast, Channel, Institution]]:
    """What is on the air, the longest first."""
    on_air = _public().where(Broadcast.state == "live", Broadcast.started_at.is_not(None))
    return session.execute(on_air.order_by(Broadcast.started_at).limit(MAX_LIVE)).all()


def soon(session: Session, now: datetime) -> Sequence[Row[Broadcast, Channel, Institution]]:
    """What is planned, the next first; what is in rehearsal is planned to everyone but the staff."""
    planned = _public().where(Broadcast.state.in_(("scheduled", "rehearsal")), Broadcast.planned_start_at > now - LATE)
    return session.execute(planned.order_by(Broadcast.planned_start_at).limit(MAX_SOON)).all()


def recordings(session: Session) -> Sequence[Row[Recording, Broadcast]]:
    """The latest that are whole, newest first."""
    query = select(Recording, Broadcast).join(Broadcast, Broadcast.id == Recording.broadcast_id)
    ended = query.where(Recording.state != "recording", Broadcast.visibility == "public", ~Broadcast.is_test)
    ended = ended.where(~Recording.is_embargoed, Recording.disposed_at.is_(None))
    return session.execute(ended.order_by(Recording.started_at.desc()).limit(MAX_RECORDINGS)).all()


def _public() -> Select[Broadcast, Channel, Institution]:
    return (
        select(Broadcast, Channel, Institution)
        .join(Channel, Channel.id == Broadcast.channel_id)
        .join(Institution, Institution.id == Broadcast.institution_id)
        .where(Broadcast.visibility == "public", ~Broadcast.is_test)
    )
