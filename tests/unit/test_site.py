"""The foundation of every page: languages, dates, catalogues, weights, errors; a new page takes three things."""

import asyncio
import gzip
import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po
from starlette.applications import Starlette
from starlette.testclient import TestClient
from starlette.types import Message

from core.audit import COMMAND_LINE
from core.channels import ChannelName
from core.staff.permissions import Act, Grant, Role
from core.staff.sessions import SignedIn
from core.tables import Institution
from core.web import dates
from core.web.i18n import Language
from core.web.site import LargeForm, LiveNow, Page, View
from core.web.templating import HERE
from mbashara.web import ROOMS, error_pages
from player import pages
from tests.unit.site_kit import StandingDoor, make_site

WORDY = {"core": HERE, **ROOMS}
IKULU = LiveNow("ikulu", "Ikulu", "State House")
BUNGE = LiveNow("bunge", "Bunge", "Parliament")


def make_client(tmp_path: Path, *live_now: LiveNow, public_url: str = "") -> TestClient:
    """A room of one page, as a newcomer would add it: a route, a function and a template."""
    (tmp_path / "templates").mkdir()
    (tmp_path / "locale").mkdir()
    (tmp_path / "locale" / "sw.po").write_text('msgid ""\nmsgstr ""\n\nmsgid "Bills"\nmsgstr "Miswada"\n')
    (tmp_path / "templates" / "bills.html").write_text(
        '{% extends "core/layout.html" %}{% block title %}{{ _("Bills") }}{% endblock %}'
        "{% block main %}{% for bill in bills %}<p>{{ bill }}</p>{% endfor %}{% endblock %}"
    )
    site = make_site({"bills": tmp_path}, door=StandingDoor(live_now), public_url=public_url)

    def bills(_view: View) -> Page:
        return Page("bills/bills.html", {"bills": ["<Finance>"]}, kept_s=30)

    def broken(_view: View) -> Page:
        raise RuntimeError("a fault of ours")

    routes = [*site.pages("/bills", bills), *site.pages("/broken", broken)]
    return TestClient(Starlette(routes=routes, exception_handlers=error_pages(site)), raise_server_exceptions=False)


@pytest.mark.parametrize(("path", "title"), [("/sw/bills", "Miswada"), ("/en/bills", "Bills")])
def test_a_page_takes_a_route_a_function_and_a_template(tmp_path: Path, path: str, title: str) -> None:
    answer = make_client(tmp_path).get(path)
    assert f"<title>{title} · Mbashara</title>" in answer.text
    assert "<p>&lt;Finance&gt;</p>" in answer.text
    assert answer.headers["cache-control"] == "public, max-age=30, stale-while-revalidate=10"


def test_what_both_languages_share_says_no_word_of_the_other(tmp_path: Path) -> None:
    """A constant is not put into the first one's words when its template is compiled."""
    for folder in ("templates", "locale"):
        (tmp_path / folder).mkdir()
    (tmp_path / "locale" / "sw.po").write_text('msgid ""\nmsgstr ""\n')
    (tmp_path / "templates" / "act.html").write_text(f"{{{{ '{COMMAND_LINE} (root)'|actor }}}}")
    site = make_site({"acts": tmp_path})
    client = TestClient(Starlette(routes=site.pages("/act", lambda _view: Page("acts/act.html", {}))))
    told = [client.get(f"/{language}/act").text for language in Language]
    assert told == ["mstari wa amri (root)", "command line (root)"]


def test_the_other_language_is_named_by_its_full_address(tmp_path: Path) -> None:
    text = make_client(tmp_path, public_url="https://mbashara.example").get("/sw/bills").text
    for language in ("sw", "en"):
        assert f'hreflang="{language}" href="https://mbashara.example/{language}/bills"' in text


@pytest.mark.parametrize(
    ("live_now", "path", "words", "link"),
    [
        ((IKULU,), "/sw/bills", "Hewani: Ikulu", "/sw/live/ikulu"),
        ((IKULU,), "/en/bills", "On air: State House", "/en/live/ikulu"),
        ((IKULU, BUNGE), "/sw/bills", "Chaneli 2 ziko hewani", "/sw/#live"),
    ],
)
def test_the_header_says_what_is_on_air(
    tmp_path: Path, live_now: tuple[LiveNow, ...], path: str, words: str, link: str
) -> None:
    text = make_client(tmp_path, *live_now).get(path).text
    assert words in text and f'class="on-air" href="{link}"' in text


def test_the_header_is_quiet_when_nothing_is_on_air(tmp_path: Path) -> None:
    assert 'class="on-air"' not in make_client(tmp_path).get("/sw/bills").text


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/sw/hakuna", 404, "Ukurasa haukupatikana"),
        ("/en/none", 404, "Page not found"),
        ("/", 404, "Ukurasa haukupatikana"),
        ("/en/broken", 500, "The fault is ours"),
        ("/sw/broken", 500, "Kosa ni letu"),
    ],
)
def test_errors_help_in_the_language_of_the_address(tmp_path: Path, path: str, status: int, words: str) -> None:
    answer = make_client(tmp_path).get(path)
    assert answer.status_code == status
    assert words in answer.text
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("room", WORDY)
def test_every_message_is_in_swahili(room: str) -> None:
    methods = [("**.py", "python"), ("templates/**.html", "jinja2")]
    options = {"templates/**.html": {"newstyle_gettext": "true"}}
    found = {message for _, _, message, _, _ in extract_from_dir(WORDY[room], methods, options)}
    known = _catalogue(WORDY[room])
    translated = {message.id for message in known if message.id and _whole(message.string) and not message.fuzzy}
    assert found and found == translated
    for message in known:
        ids, strings = _texts(message.id), _texts(message.string)
        assert {name for text in ids for name in _placeholders(text)} == {n for t in strings for n in _placeholders(t)}


def test_rooms_do_not_say_the_same_words_differently() -> None:
    said: dict[object, object] = {}
    for folder in WORDY.values():
        for message in _catalogue(folder):
            if message.id:
                assert said.setdefault(message.id, message.string) == message.string


def _catalogue(folder: Path) -> Catalog:
    with (folder / "locale" / "sw.po").open("rb") as po_file:
        return read_po(po_file, locale="sw")


def _texts(text: object) -> tuple[str, ...]:
    return text if isinstance(text, tuple) else (str(text),)


def _whole(text: object) -> bool:
    return all(_texts(text))


def _placeholders(text: str) -> set[str]:
    return set(re.findall(r"\{\w+\}|%\(\w+\)s", text))


@pytest.mark.parametrize(
    ("utc", "swahili"),
    [
        ("2026-11-24T21:30", "saa 6:30 usiku (00:30)"),
        ("2026-11-24T01:05", "saa 10:05 alfajiri (04:05)"),
        ("2026-11-24T03:00", "saa 12:00 asubuhi (06:00)"),
        ("2026-11-24T04:00", "saa 1:00 asubuhi (07:00)"),
        ("2026-11-24T09:00", "saa 6:00 mchana (12:00)"),
        ("2026-11-24T13:59", "saa 10:59 jioni (16:59)"),
        ("2026-11-24T16:00", "saa 1:00 usiku (19:00)"),
    ],
)
def test_the_swahili_clock_counts_from_sunrise(utc: str, swahili: str) -> None:
    assert dates.clock(datetime.fromisoformat(utc + "+00:00"), Language.SW) == swahili


def test_dates_are_those_of_tanzania() -> None:
    late = datetime.fromisoformat("2026-11-24T22:30+00:00")
    assert dates.moment(late, Language.EN) == "25 November 2026, 01:30 EAT"
    assert dates.moment(late, Language.SW) == "25 Novemba 2026, saa 7:30 usiku (01:30)"
    assert dates.zoned_moment(late, Language.EN) == "25 November 2026, 01:30 EAT"
    assert dates.zoned_moment(late, Language.SW) == "25 Novemba 2026, saa 7:30 usiku (01:30), saa za Afrika Mashariki"
    within = late + timedelta(seconds=9, milliseconds=999)
    assert dates.exact_moment(within, Language.EN) == "25 November 2026, 01:30:09 EAT"
    assert dates.exact_moment(within, Language.SW) == "25 Novemba 2026, saa 7:30 usiku (01:30:09)"
    assert dates.weekday(late, Language.SW) == "Jumatano, 25 Novemba"
    assert [dates.duration(ms) for ms in (999, 65_000, 3_723_000)] == ["0:01", "1:05", "1:02:03"]


class Names:
    """The door of the player's pages with one channel."""

    def channel(self, slug: str) -> ChannelName | None:
        owner = Institution(name_sw="Ikulu", name_en="State House", brand_colour="#1e5945", emblem="1-0a.png")
        return ChannelName(slug, IKULU.name_sw, IKULU.name_en, owner) if slug == "ikulu" else None

    def air(self, slug: str, since: datetime) -> pages.Air:
        return pages.Air("live")

    def recording(self, recording_id: str) -> None:
        return None


# bytes of a page and of all that it loads before anyone presses play; the edge's brotli is smaller than this gzip
@pytest.mark.parametrize(("path", "budget"), [("/sw/live/ikulu", 22_000), ("/sw/hakuna", 5_000)])
def test_pages_stay_within_their_weight(path: str, budget: int) -> None:
    site = make_site()
    routes = [site.assets.route(), *pages.routes(site, Names(), lambda slug: False)]
    client = TestClient(Starlette(routes=routes, exception_handlers=error_pages(site)))
    html = client.get(path).text
    linked = re.findall(r'(?:href|src)="(/static/[^"]+)"', html)
    assert linked
    weight = len(gzip.compress(html.encode())) + sum(_carried(client, address) for address in linked)
    assert weight <= budget


def _carried(client: TestClient, address: str) -> int:
    with client.stream("GET", address, headers={"accept-encoding": "gzip"}) as answer:
        assert answer.headers["content-encoding"] == "gzip"
        return sum(map(len, answer.iter_raw()))


def test_what_is_done_afterwards_is_done_when_the_answer_has_gone_out(tmp_path: Path) -> None:
    order: list[str] = []
    make_client(tmp_path)
    (tmp_path / "templates" / "sent.html").write_text("sent")
    site = make_site({"letters": tmp_path})
    page = Page("letters/sent.html", afterwards=lambda: order.append("letter"))
    app = Starlette(routes=site.pages("/letters", lambda _view: page))

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body" and not message.get("more_body"):
            order.append("answer")

    asyncio.run(app(_scope("/sw/letters"), _receive, send))
    assert order == ["answer", "letter"]


def _scope(path: str) -> dict[str, Any]:
    return {"type": "http", "method": "GET", "path": path, "headers": [], "query_string": b"", "scheme": "http"}


async def _receive() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


@pytest.mark.parametrize(("scheme", "name"), [("https", "__Host-visitor"), ("http", "visitor")])
def test_over_https_no_other_host_can_plant_a_cookie(tmp_path: Path, scheme: str, name: str) -> None:
    client = make_client(tmp_path, public_url=f"{scheme}://mbashara.example")
    planted = "a" * 22
    answer = client.get("/sw/broken", headers={"cookie": f"visitor={planted}; session=planted"})
    made = answer.headers.get("set-cookie", "")
    assert (f"{name}=" in made and "Secure" in made) if scheme == "https" else made == ""


@pytest.mark.parametrize(
    ("cookie", "large", "status", "most_bytes"),
    [
        ("", LargeForm(Act.RECORDING_IMPORT, 4 << 20), 303, 0),
        ("session=asha", None, 413, 1 << 20),
        ("session=asha", LargeForm(Act.INSTITUTION_EDIT, 4 << 20), 413, 1 << 20),
        ("session=asha", LargeForm(Act.RECORDING_IMPORT, 4 << 20), 413, 4 << 20),
    ],
)
def test_a_form_is_read_when_it_is_known_who_sends_it_and_no_further_than_he_may(
    cookie: str, large: LargeForm | None, status: int, most_bytes: int
) -> None:
    grants = (Grant(Role.ARCHIVIST, 1),)
    site = make_site(door=StandingDoor(people={"asha": SignedIn(1, 1, "asha@tz", "Asha", False, grants)}))
    app = Starlette(routes=site.staff_pages("/take", lambda view: view.to("/"), ("POST",), large))
    part = b'--B\r\ncontent-disposition: form-data; name="file"; filename="x"\r\n\r\n'
    read, told = [0], list[Message]()

    async def receive() -> Message:
        data = part if not read[0] else bytes(1 << 18)
        read[0] += len(data)
        return {"type": "http.request", "body": data, "more_body": True}

    async def send(message: Message) -> None:
        told.append(message)

    headers = [(b"content-type", b"multipart/form-data; boundary=B"), (b"cookie", cookie.encode())]
    asyncio.run(app({**_scope("/sw/take"), "method": "POST", "headers": headers}, receive, send))
    assert told[0]["status"] == status
    assert read[0] <= most_bytes + (1 << 18) and read[0] >= most_bytes
