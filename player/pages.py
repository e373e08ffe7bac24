"""The viewer's pages: a channel live and a recording, in Swahili and English, with the player in them."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from http import HTTPStatus
from typing import Protocol

from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute

from core.brand import Brand, brand_of
from core.tables import Institution
from core.web.site import Page, Site, View
from player.files import STILL_NAME
from player.words import key_help, shell_words

KEPT_S = 60
LIVE_KEPT_S = 5
"""It says whether the channel is on the air, to who has no scripts, and the channel may get a new name."""
LATE = timedelta(hours=2)
"""How long a broadcast that is late to begin is still told."""


class ChannelNames(Protocol):
    """What a page says of a channel (core.channels.ChannelName is one)."""

    @property
    def slug(self) -> str: ...
    @property
    def name_sw(self) -> str: ...
    @property
    def name_en(self) -> str: ...
    @property
    def institution(self) -> Institution | None: ...


@dataclass(frozen=True, slots=True)
class RecordingNames:
    """What a page says of a recording: its channel's names, and when it began (aware; None if unknown)."""

    id: str
    name_sw: str
    name_en: str
    began_at: datetime | None


@dataclass(frozen=True, slots=True)
class Closed:
    """A recording that this visitor may not see (403), or that is no more (410), and the words for it."""

    status: HTTPStatus
    sw: str
    en: str


@dataclass(frozen=True, slots=True)
class Air:
    """What goes on on a channel: state.json's state, the recording's path once it has ended, and for when the next
    broadcast is planned."""

    state: str  # "offline" | "live" | "lost" | "ended"
    recording: str | None = None  # "/recordings/ID/index.m3u8"
    planned_at: datetime | None = None

    @property
    def is_on(self) -> bool:
        return self.state in ("live", "lost")

    @property
    def recording_page(self) -> str:
        """Without its language; empty while there is none."""
        return f"/recordings/{self.recording.split('/')[2]}" if self.recording else ""


class ChannelQuery(Protocol):
    """The door to the database. Called in a thread, so it may block; None: there is no such thing."""

    def channel(self, slug: str) -> ChannelNames | None: ...
    def air(self, slug: str, since: datetime) -> Air: ...  # what is planned from then on
    def recording(self, recording_id: str) -> RecordingNames | Closed | None: ...


@dataclass(frozen=True, slots=True)
class Subject:
    """What a page shows, before it has a language."""

    kind: str  # "live" | "recording"
    base: str  # path of the media: "/live/ikulu"
    name_sw: str
    name_en: str
    began_at: datetime | None = None
    brand: Brand | None = None
    poster: str = ""
    air: Air | None = None  # None: a recording


Find = Callable[[View], Subject | Closed | None]


def routes(site: Site, channels: ChannelQuery, has_still: Callable[[str], bool]) -> list[BaseRoute]:
    """`has_still`: whether there is a picture of what is on the channel's air."""

    def find_live(view: View) -> Subject | None:
        names = channels.channel(view.request.path_params["slug"])
        if names is None:
            return None
        base, brand = f"/live/{names.slug}", None if names.institution is None else brand_of(names.institution)
        poster = f"{base}/{STILL_NAME}" if has_still(names.slug) else ""
        air = channels.air(names.slug, view.visit.now - LATE)
        return Subject("live", base, names.name_sw, names.name_en, brand=brand, poster=poster, air=air)

    def find_recording(view: View) -> Subject | Closed | None:
        names = channels.recording(view.request.path_params["id"])
        if names is None or isinstance(names, Closed):
            return names
        return Subject("recording", f"/recordings/{names.id}", names.name_sw, names.name_en, names.began_at)

    return [
        *site.pages("/live/{slug}", partial(_watch, find_live)),
        *site.pages("/recordings/{id}", partial(_watch, find_recording)),
    ]


def _watch(find: Find, view: View) -> Page:
    subject = find(view)
    if subject is None:
        raise HTTPException(HTTPStatus.NOT_FOUND)
    gettext = view.words.gettext
    if isinstance(subject, Closed):
        is_gone = subject.status is HTTPStatus.GONE
        title = gettext("This recording was destroyed") if is_gone else gettext("Not open to the public")
        closed = {"title": title, "said": view.pick(subject.sw, subject.en)}
        return Page("player/closed.html", closed, subject.status)
    name = view.pick(subject.name_sw, subject.name_en)
    kicker = gettext("Live broadcast") if subject.kind == "live" else gettext("Recording")
    facts = {
        "kind": subject.kind,
        "base": subject.base,
        "poster": subject.poster,
        "air": subject.air,
        "name": name,
        "other_name": view.pick(subject.name_en, subject.name_sw),
        "kicker": kicker,
        "title": f"{name}: {kicker}",
        "began_at": subject.began_at,
        "brand": subject.brand,
        "words": shell_words(gettext),
        "key_help": key_help(gettext),
    }
    return Page("player/watch.html", facts, kept_s=KEPT_S if subject.air is None else LIVE_KEPT_S)
