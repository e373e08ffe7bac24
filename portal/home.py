"""The first page of Tovuti Kuu: what is on the air now, and the latest recordings."""

from collections.abc import Sequence

from sqlalchemy import Engine, Row, select
from sqlalchemy.orm import Session
from starlette.routing import BaseRoute

from core.database import transaction
from core.tables import Broadcast, Channel, Institution, Recording
from core.web.site import Page, Site, View

KEPT_S = 5
MAX_LIVE = 50
MAX_RECORDINGS = 12


def routes(site: Site, engine: Engine) -> list[BaseRoute]:
    def home(_view: View) -> Page:
        with transaction(engine) as session:
            facts = {"live": live(session), "recordings": recordings(session)}
        return Page("portal/home.html", facts, kept_s=KEPT_S)

    return site.pages("/", home)


def live(session: Session) -> Sequence[Row[Broadcast, Channel, Institution]]:
    """What is on the air, the longest first."""
    query = (
        select(Broadcast, Channel, Institution)
        .join(Channel, Channel.id == Broadcast.channel_id)
        .join(Institution, Institution.id == Broadcast.institution_id)
    )
    on_air = query.where(Broadcast.state == "live").order_by(Broadcast.started_at).limit(MAX_LIVE)
    return session.execute(on_air).all()


def recordings(session: Session) -> Sequence[Row[Recording, Broadcast, Channel]]:
    """The latest that are whole, newest first."""
    query = (
        select(Recording, Broadcast, Channel)
        .join(Broadcast, Broadcast.id == Recording.id)
        .join(Channel, Channel.id == Broadcast.channel_id)
    )
    ended = query.where(Recording.state != "recording").order_by(Recording.started_at.desc()).limit(MAX_RECORDINGS)
    return session.execute(ended).all()
