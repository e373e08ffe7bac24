"""The site: what turns a room's endpoint and template into a page in both languages.

A page is a route, a query function and a template. An endpoint takes a View (who asks, in which language) and returns a
Page (template and facts) or a Response; it is no coroutine, so it runs in a thread and its queries may block.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from gettext import NullTranslations
from http import HTTPStatus
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, Environment, FileSystemLoader, PackageLoader, PrefixLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Route

from core.web import dates
from core.web.assets import Assets
from core.web.i18n import Language, catalogue

HERE = Path(__file__).parent
COMPONENTS = "govuk_frontend_jinja"


@dataclass(frozen=True, slots=True)
class LiveNow:
    """A channel that is on the air, as the header of every page names it."""

    slug: str
    name_sw: str
    name_en: str


@dataclass(frozen=True, slots=True)
class View:
    """What an endpoint knows of the one who asks."""

    request: Request
    language: Language
    words: NullTranslations

    @property
    def path(self) -> str:
        """The page's path without its language: "/live/ikulu"."""
        return self.request.url.path.removeprefix(f"/{self.language}")

    def pick(self, swahili: str, english: str) -> str:
        return swahili if self.language is Language.SW else english


@dataclass(frozen=True, slots=True)
class Page:
    """What an endpoint answers. `kept_s` is how long anyone may keep it; 0 for pages that are one person's."""

    template: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    status: HTTPStatus = HTTPStatus.OK
    kept_s: int = 0


Endpoint = Callable[[View], Page | Response]


class Site:
    """Templates and catalogues of the rooms, read once per process.

    `rooms` maps a template's first folder ("portal/home.html") to the room's own folder, which has `templates/` and
    `locale/`. `live_now` is asked for each page and must be quick.
    """

    def __init__(
        self,
        rooms: Mapping[str, Path],
        assets: Assets,
        live_now: Callable[[], Sequence[LiveNow]] = tuple,
        public_url: str = "",
    ) -> None:
        """`public_url` makes the addresses of the other language absolute, as search engines want them."""
        self.assets = assets
        self._live_now, self._public_url = live_now, public_url
        folders = [HERE, *rooms.values()]
        self._words = {language: catalogue(folders, language) for language in Language}
        loader = _loader({"core": HERE, **rooms})
        self._templates = {language: self._environment(loader, language) for language in Language}

    def pages(self, path: str, endpoint: Endpoint, methods: Sequence[str] = ("GET",)) -> list[BaseRoute]:
        """The page's route in each language: `path` begins behind the language."""
        return [
            Route(f"/{language}{path}", partial(self._answer, language, endpoint), methods=list(methods))
            for language in Language
        ]

    def error(self, request: Request, status: int) -> Response:
        """A helpful page for an error, in the language of the address."""
        view = self._view(request, Language.of_path(request.url.path))
        known = status if status in _EXPLAINED else HTTPStatus.INTERNAL_SERVER_ERROR
        return self.render(view, Page("core/error.html", {"status": int(known)}, HTTPStatus(status)))

    def render(self, view: View, page: Page) -> Response:
        shown = {"view": view, "live_now": self._live_now(), **page.facts}
        html = self._templates[view.language].get_template(page.template).render(shown)
        kept = f"public, max-age={page.kept_s}" if page.kept_s else "no-store"
        return HTMLResponse(html, page.status, {"cache-control": kept, "content-language": view.language.value})

    def _answer(self, language: Language, endpoint: Endpoint, request: Request) -> Response:
        view = self._view(request, language)
        answer = endpoint(view)
        return self.render(view, answer) if isinstance(answer, Page) else answer

    def _view(self, request: Request, language: Language) -> View:
        return View(request, language, self._words[language])

    def _environment(self, loader: PrefixLoader, language: Language) -> Environment:
        made = Environment(
            loader=loader,
            autoescape=True,
            undefined=StrictUndefined,
            extensions=["jinja2.ext.i18n"],
            trim_blocks=True,
            lstrip_blocks=True,
        )
        install: Callable[..., None] = getattr(made, "install_gettext_translations")  # noqa: B009 (added by the extension)
        install(self._words[language], newstyle=True)
        made.globals |= {
            "asset": self.assets.address,
            "language": language.value,
            "languages": list(Language),
            "public_url": self._public_url,
        }
        made.filters |= {
            "day": partial(dates.day, language=language),
            "weekday": partial(dates.weekday, language=language),
            "clock": partial(dates.clock, language=language),
            "moment": partial(dates.moment, language=language),
            "duration": dates.duration,
        }
        return made


_EXPLAINED = {403, 404, 405, 429, 500, 503}


def _loader(folders: Mapping[str, Path]) -> PrefixLoader:
    ours = {name: FileSystemLoader(folder / "templates") for name, folder in folders.items()}
    components = ChoiceLoader([PackageLoader(COMPONENTS)])
    return PrefixLoader({**ours, COMPONENTS: components})
