"""The site: what turns a room's endpoint and template into a page in both languages.

A page is a route, a query function and a template. An endpoint takes a View (who asks, in which language) and returns a
Page (template and facts) or a Response; it is no coroutine, so it runs in a thread and its queries may block.

Pages of the staff are asked for with `staff_pages`: who is not logged in is sent to log in first. What a person may do
there is asked by the endpoint, with the institution of the very row: `view.require(act, row.institution_id)`.
"""

import re
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from gettext import NullTranslations
from http import HTTPStatus
from pathlib import Path
from typing import Any, Protocol, TypeVar
from urllib.parse import quote

from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.convertors import Convertor, register_url_convertor
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import Message

from core.audit import Actor
from core.staff.permissions import Act, may, scope
from core.staff.sessions import SignedIn, Visit
from core.web import visitors
from core.web.assets import Assets
from core.web.i18n import Language, catalogue
from core.web.templating import HERE, Templates
from core.web.visitors import CSRF_FIELD, Visitor

MAX_FIELDS = 200
MAX_FIELD_BYTES = 1 << 16
MAX_FORM_BYTES = 1 << 20
"""Of a whole form, but for a LargeForm."""
STALE_S = 10
"""So long after its time a kept page may be handed out while the edge fetches it anew. Without an end, the first who
comes after a quiet hour would see what was on the air an hour ago."""
LOG_IN = "/staff/login"
UNSTORABLE = re.compile("[\0\ud800-\udfff]")
"""NUL and halves of characters (a form in utf-7 can hold them): PostgreSQL keeps neither."""


class RowId(Convertor[int]):
    """What `{id:int}` takes in every path. Starlette's own takes more digits than a row's id has, or Python reads."""

    regex = "[0-9]{1,9}"

    def convert(self, value: str) -> int:
        return int(value)

    def to_string(self, value: int) -> str:
        return str(value)


register_url_convertor("int", RowId())


@dataclass(frozen=True, slots=True)
class LiveNow:
    """A channel that is on the air, as the header of every page names it."""

    slug: str
    name_sw: str
    name_en: str


class Door(Protocol):
    """What a site asks of the world, in threads: whose session a token is, and what is on the air."""

    def signed_in(self, token: str, visit: Visit) -> SignedIn | None: ...
    def live_now(self) -> Sequence[LiveNow]: ...


@dataclass(frozen=True, slots=True)
class View:
    """What an endpoint knows of the one who asks. `form` is what was sent, already checked against forgery."""

    request: Request
    language: Language
    words: NullTranslations
    visitor: Visitor
    visit: Visit
    csrf_token: str
    form: FormData | None = None
    person: SignedIn | None = None

    @property
    def path(self) -> str:
        """The page's path without its language: "/live/ikulu"."""
        return self.request.url.path.removeprefix(f"/{self.language}")

    def pick(self, swahili: str, english: str) -> str:
        return swahili if self.language is Language.SW else english

    def field(self, name: str) -> str:
        """A field of the form as text without spaces around it; empty where it was not sent."""
        value = "" if self.form is None else self.form.get(name, "")
        return value.strip() if isinstance(value, str) else ""

    @property
    def staff(self) -> SignedIn:
        assert self.person is not None, "a page of the staff"
        return self.person

    @property
    def actor(self) -> Actor:
        return Actor(self.staff.user_id, self.staff.name, self.visit.address)

    def may(self, act: Act, institution_id: int | None = None) -> bool:
        return self.person is not None and may(self.person.memberships, act, institution_id)

    def may_anywhere(self, act: Act) -> bool:
        """Whether there is any institution where the person may do it: for links and lists."""
        return _may_anywhere(self.staff, act)

    def require(self, act: Act, institution_id: int | None) -> None:
        """404 for what belongs to an institution where the person has no role at all: its very existence is not ours to
        tell. 403 where the role does not reach."""
        if self.may(act, institution_id):
            return
        belongs = scope(self.staff.memberships).covers(institution_id)
        raise HTTPException(HTTPStatus.FORBIDDEN if belongs else HTTPStatus.NOT_FOUND)

    def to(self, path: str) -> Response:
        """On to another page of ours, in the same language, after a form."""
        return RedirectResponse(f"/{self.language}{path}", HTTPStatus.SEE_OTHER)


@dataclass(frozen=True, slots=True)
class Page:
    """What an endpoint answers. `kept_s` is how long anyone may keep it; 0 for pages that are one person's.
    `afterwards` is done when the answer has gone out, in a thread: its time tells the asker nothing."""

    template: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    status: HTTPStatus = HTTPStatus.OK
    kept_s: int = 0
    afterwards: Callable[[], object] | None = None


@dataclass(frozen=True, slots=True)
class LargeForm:
    """What a page takes from those who may do `act` somewhere; from all others no more than of any form."""

    act: Act
    max_bytes: int


Endpoint = Callable[[View], Page | Response]
T = TypeVar("T")
Answer = Callable[[Request], Coroutine[Any, Any, Response]]
Clock = Callable[[], datetime]


class Site:
    """Templates and catalogues of the rooms, read once per process.

    `rooms` maps a template's first folder ("portal/home.html") to the room's own folder, which has `templates/` and
    `locale/`. `csrf_key` has 16 to 64 bytes. `public_url` makes the addresses of the other language absolute, as search
    engines want them, and its https cookies secure.
    """

    def __init__(
        self, rooms: Mapping[str, Path], assets: Assets, door: Door, now: Clock, csrf_key: bytes, public_url: str = ""
    ) -> None:
        self.assets = assets
        self.secure = public_url.startswith("https:")
        self._door, self._now, self._csrf_key = door, now, csrf_key
        folders = [folder / "locale" for folder in (HERE, HERE.parent, *rooms.values())]
        self._words = {language: catalogue(language, *folders) for language in Language}
        self._templates = {
            language: Templates(rooms, language, self._words[language], assets, public_url) for language in Language
        }

    def pages(self, path: str, endpoint: Endpoint, methods: Sequence[str] = ("GET",)) -> list[BaseRoute]:
        """The page's route in each language: `path` begins behind the language."""
        return self._routes(path, endpoint, methods, for_staff=False)

    def staff_pages(
        self, path: str, endpoint: Endpoint, methods: Sequence[str] = ("GET",), large: LargeForm | None = None
    ) -> list[BaseRoute]:
        """The same for those who are logged in. Nothing of a form is read before it is known who sends it."""
        return self._routes(path, endpoint, methods, for_staff=True, large=large)

    def sent_pages(
        self, path: str, receive: Callable[[Request], Awaitable[T]], endpoint: Callable[[View, T], Page | Response]
    ) -> list[BaseRoute]:
        """A page that something large is sent to: `receive` reads the request as it comes, and the endpoint gets what
        it made of it. Nothing is asked against forgery: for what changes nothing."""

        def answer(language: Language) -> Answer:
            async def respond(request: Request) -> Response:
                got = await receive(request)
                return await run_in_threadpool(
                    self._respond, language, lambda view: endpoint(view, got), False, request, None
                )

            return respond

        return [Route(f"/{language}{path}", answer(language), methods=["POST"]) for language in Language]

    def signed_in(self, request: Request) -> SignedIn | None:
        """Who asks, for what is no page. Blocks: for a thread."""
        return self._view(request, Language.SW, None, for_staff=True).person

    def is_proven(self, request: Request) -> bool:
        """Whether a request of a script of ours bears its page's token, in the header X-CSRF."""
        visitor = visitors.read_visitor(request, secure=self.secure)
        return visitor.proves(request.headers.get("x-csrf", ""), self._csrf_key)

    def error(self, request: Request, status: int, closed: Callable[[Language], str] | None = None) -> Response:
        """A helpful page for an error, in the language of the address. `closed` says why something is not open to the
        public: no account would help."""
        view = self._view(request, Language.of_path(request.url.path), None)
        known = status if status in _EXPLAINED else HTTPStatus.INTERNAL_SERVER_ERROR
        facts = {"status": int(known), "closed": closed(view.language) if closed else ""}
        return self.render(view, Page("core/error.html", facts, HTTPStatus(status)))

    def render(self, view: View, page: Page) -> Response:
        shown = {"view": view, "live_now": self._door.live_now(), **page.facts}
        html = self._templates[view.language].render(page.template, shown)
        kept = f"public, max-age={page.kept_s}, stale-while-revalidate={STALE_S}" if page.kept_s else "no-store"
        headers = {"cache-control": kept, "content-language": view.language.value}
        task = None if page.afterwards is None else BackgroundTask(page.afterwards)
        response = HTMLResponse(html, page.status, headers, background=task)
        if view.visitor.is_new and not page.kept_s:
            visitors.remember_visitor(response, view.visitor, secure=self.secure)
        return response

    def macro(self, language: Language, template: str, name: str) -> Callable[..., str]:
        """Renders a piece of a page that is told on its own."""
        return self._templates[language].macro(template, name)

    def _routes(
        self, path: str, endpoint: Endpoint, methods: Sequence[str], *, for_staff: bool, large: LargeForm | None = None
    ) -> list[BaseRoute]:
        return [
            Route(f"/{language}{path}", self._answer(language, endpoint, for_staff, large), methods=list(methods))
            for language in Language
        ]

    def _answer(self, language: Language, endpoint: Endpoint, for_staff: bool, large: LargeForm | None) -> Answer:
        async def answer(request: Request) -> Response:
            if request.method != "POST":
                return await run_in_threadpool(self._respond, language, endpoint, for_staff, request, None)
            max_bytes = MAX_FORM_BYTES
            if for_staff:
                person = await run_in_threadpool(self.signed_in, request)
                if person is None:
                    return _to_log_in(language)
                if large is not None and _may_anywhere(person, large.act):
                    max_bytes = large.max_bytes
            async with _bounded(request, max_bytes).form(
                max_files=1, max_fields=MAX_FIELDS, max_part_size=MAX_FIELD_BYTES
            ) as form:
                return await run_in_threadpool(self._respond, language, endpoint, for_staff, request, form)

        return answer

    def _respond(
        self, language: Language, endpoint: Endpoint, for_staff: bool, request: Request, form: FormData | None
    ) -> Response:
        if not _is_storable(request, form):
            raise HTTPException(HTTPStatus.BAD_REQUEST)
        view = self._view(request, language, form, for_staff)
        if for_staff and view.person is None:
            return _to_log_in(language, quote(view.path) if request.method == "GET" else "")
        if form is not None and not view.visitor.proves(form.get(CSRF_FIELD), self._csrf_key):
            return self.render(view, Page("core/forged.html", status=HTTPStatus.FORBIDDEN))
        answer = endpoint(view)
        return self.render(view, answer) if isinstance(answer, Page) else answer

    def _view(self, request: Request, language: Language, form: FormData | None, for_staff: bool = False) -> View:
        visitor = visitors.read_visitor(request, secure=self.secure)
        host = request.client.host if request.client else ""
        visit = Visit(self._now(), host, request.headers.get("user-agent", ""))
        person = self._door.signed_in(visitor.session_token, visit) if for_staff and visitor.session_token else None
        token = visitor.csrf_token(self._csrf_key)
        return View(request, language, self._words[language], visitor, visit, token, form, person)


def _to_log_in(language: Language, back: str = "") -> Response:
    return RedirectResponse(f"/{language}{LOG_IN}?next={back}", HTTPStatus.SEE_OTHER)


def _may_anywhere(person: SignedIn, act: Act) -> bool:
    place = scope(person.memberships, act)
    return place.everything or bool(place.institution_ids)


def _bounded(request: Request, max_bytes: int) -> Request:
    """The same request; reading more than `max_bytes` of its body raises 413."""
    left = max_bytes

    async def receive() -> Message:
        nonlocal left
        message = await request.receive()
        left -= len(message.get("body", b""))
        if left < 0:
            raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        return message

    return Request(request.scope, receive)


def _is_storable(request: Request, form: FormData | None) -> bool:
    sent = [*request.path_params.values(), *request.query_params.values()]
    sent += [] if form is None else [value for _, value in form.multi_items()]
    return not any(isinstance(value, str) and UNSTORABLE.search(value) for value in sent)


_EXPLAINED = {400, 403, 404, 405, 413, 429, 500, 503}
