"""The viewer's pages: a channel live and a recording, in Swahili and English, with the player in them."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from gettext import NullTranslations
from http import HTTPStatus
from pathlib import Path
from typing import Protocol

from babel.dates import format_datetime
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Route

from core.web.i18n import Language, catalogue
from player.assets import Assets
from player.words import key_help, shell_words

HERE = Path(__file__).parent
EAST_AFRICA_TIME = timezone(timedelta(hours=3), "EAT")  # no summer time, so no time zone data needed
PAGE_MAX_AGE_S = 60

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "media-src 'self' blob:",  # Media Source Extensions hand the media element a blob: address
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
SECURITY_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",  # for browsers older than frame-ancestors
}


class ChannelNames(Protocol):
    """What a page says of a channel (core.channels.ChannelName is one)."""

    @property
    def slug(self) -> str: ...
    @property
    def name_sw(self) -> str: ...
    @property
    def name_en(self) -> str: ...


@dataclass(frozen=True, slots=True)
class RecordingNames:
    """What a page says of a recording: its channel's names, and when it began (aware; None if unknown)."""

    id: str
    name_sw: str
    name_en: str
    began_at: datetime | None


class ChannelQuery(Protocol):
    """The door to the database. Called in a thread, so it may block; None: there is no such thing."""

    def channel(self, slug: str) -> ChannelNames | None: ...
    def recording(self, recording_id: str) -> RecordingNames | None: ...


@dataclass(frozen=True, slots=True)
class Subject:
    """What a page shows, before it has a language."""

    kind: str  # "live" | "recording"
    base: str  # path of the media: "/live/ikulu"
    name_sw: str
    name_en: str
    began_at: datetime | None = None

    def name(self, language: Language) -> str:
        return self.name_sw if language is Language.SW else self.name_en


Find = Callable[[Request], Subject | None]


def routes(channels: ChannelQuery, static_dir: Path) -> list[BaseRoute]:
    """The pages and their assets, to be mounted at the root of the web process."""
    pages = Pages(channels, Assets(static_dir))
    found: list[BaseRoute] = [pages.assets.route()]
    for language in Language:
        found.append(Route(f"/{language}/live/{{slug}}", pages.page(language, pages.find_live)))
        found.append(Route(f"/{language}/recordings/{{id}}", pages.page(language, pages.find_recording)))
    return found


class Pages:
    """Renders the pages. Templates and catalogues are read once per process."""

    def __init__(self, channels: ChannelQuery, assets: Assets) -> None:
        self.assets = assets
        self._channels = channels
        self._templates = {language: _environment(language, assets) for language in Language}

    def find_live(self, request: Request) -> Subject | None:
        slug = request.path_params["slug"]
        names = self._channels.channel(slug)
        if names is None:
            return None
        return Subject("live", f"/live/{names.slug}", names.name_sw, names.name_en)

    def find_recording(self, request: Request) -> Subject | None:
        names = self._channels.recording(request.path_params["id"])
        if names is None:
            return None
        base = f"/recordings/{names.id}"
        return Subject("recording", base, names.name_sw, names.name_en, names.began_at)

    def page(self, language: Language, find: Find) -> Callable[[Request], Response]:
        """The endpoint of a page. No coroutine, so Starlette runs it in a thread: its query may block."""

        def endpoint(request: Request) -> Response:
            subject = find(request)
            page_path = request.url.path.removeprefix(f"/{language}")
            if subject is None:
                return self._render(language, "not_found.html", HTTPStatus.NOT_FOUND, page_path=page_path)
            facts = self._facts(subject, language)
            return self._render(language, "watch.html", HTTPStatus.OK, page_path=page_path, **facts)

        return endpoint

    def _facts(self, subject: Subject, language: Language) -> dict[str, object]:
        gettext = catalogue(HERE / "locale", language).gettext
        name = subject.name(language)
        kicker = gettext("Live broadcast") if subject.kind == "live" else gettext("Recording")
        return {
            "kind": subject.kind,
            "base": subject.base,
            "name": name,
            "other_name": subject.name(language.other),
            "other_language": language.other.value,
            "kicker": kicker,
            "title": f"{name}: {kicker}",
            "began": subject.began_at and _date(subject.began_at, language),
            "words": shell_words(gettext),
            "key_help": key_help(gettext),
        }

    def _render(self, language: Language, template: str, status: HTTPStatus, **facts: object) -> Response:
        html = self._templates[language].get_template(template).render(facts)
        age = f"public, max-age={PAGE_MAX_AGE_S}" if status is HTTPStatus.OK else "no-store"
        headers = SECURITY_HEADERS | {"Cache-Control": age, "Content-Language": language.value}
        return HTMLResponse(html, status, headers)


def _environment(language: Language, assets: Assets) -> Environment:
    found = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        extensions=["jinja2.ext.i18n"],
        trim_blocks=True,
        lstrip_blocks=True,
    )
    _install(found, catalogue(HERE / "locale", language))
    found.globals["asset"] = assets.address
    found.globals["language"] = language.value
    found.globals["languages"] = [each.value for each in Language]
    found.globals["language_names"] = {each.value: each.own_name for each in Language}
    return found


def _install(environment: Environment, translations: NullTranslations) -> None:
    install: Callable[..., None] = getattr(environment, "install_gettext_translations")  # noqa: B009 (added by the extension)
    install(translations, newstyle=True)


def _date(began_at: datetime, language: Language) -> str:
    """The day and hour in Tanzania, wherever the viewer is."""
    return format_datetime(began_at, "d MMMM y, HH:mm 'EAT'", EAST_AFRICA_TIME, locale=language.value)
