"""What holds for every page of the staff: headers, methods, an entry in the audit log for each change."""

import itertools
import json
import re

import pytest
from sqlalchemy import select
from starlette.routing import Route

from core import audit
from core.audit import Actor
from core.database import transaction
from core.staff.tables import AuditEntry
from core.web.dates import moment
from core.web.headers import SECURITY_HEADERS
from core.web.i18n import Language
from tests.live.crossing_kit import PUBLIC, addresses, session_of
from tests.live.pages_kit import ROOT, Pages, outline
from tests.live.staff_kit import NEW_PASSWORD, PASSWORD


def test_clickjacking_headers_on_every_route(pages: Pages) -> None:
    root, stranger = pages.signed_in(ROOT), pages.browser()
    session_id = session_of(pages, pages.world.root_id)
    for route in pages.routes:
        if "/events" in route.path or route.path.startswith(PUBLIC):
            continue
        for address in addresses(route, pages, session_id):
            for browser, method in itertools.product((root, stranger), ("GET", "POST", "DELETE")):
                answer = browser.client.request(method, address)
                is_away = "/previews/" in address and answer.status_code == 503  # no media process runs here
                assert is_away or answer.status_code < 500, (method, address)
                assert_guarded(dict(answer.headers), address)


def assert_guarded(headers: dict[str, str], address: str) -> None:
    assert {name: headers.get(name) for name in SECURITY_HEADERS} == SECURITY_HEADERS, address
    assert "frame-ancestors 'none'" in headers["content-security-policy"]


def test_clickjacking_headers_on_a_fault_of_ours(pages: Pages) -> None:
    def broken(_view: object) -> None:
        raise RuntimeError("a fault of ours")

    route = next(route for route in pages.routes if route.path == "/sw/staff/login")
    route.app = Route("/x", broken).app
    answer = pages.browser().get("/sw/staff/login")
    assert answer.status_code == 500 and "Kosa ni letu" in answer.text
    assert_guarded(dict(answer.headers), "500")


def test_pages_of_the_staff_are_kept_by_nobody(pages: Pages) -> None:
    root = pages.signed_in(ROOT)
    for route in pages.routes:
        if "/staff/" in route.path and "{" not in route.path and "GET" in (route.methods or ()):
            of_one = f"?recording={pages.world.a.recording_id}" if route.path.endswith("/exports/new") else ""
            answer = root.get(route.path + of_one)
            assert answer.status_code == 200 and answer.headers["cache-control"] == "no-store", route.path


@pytest.mark.parametrize(("language", "words"), [("sw", "Ukurasa huu hauwezi kufanya hivyo"), ("en", "This page can")])
def test_methods_that_a_page_has_not(pages: Pages, language: str, words: str) -> None:
    root = pages.signed_in(ROOT)
    for method, path in (
        ("PUT", "login"),
        ("DELETE", "account"),
        ("PATCH", "people"),
        ("GET", "logout"),
        ("POST", "audit"),
    ):
        answer = root.client.request(method, f"/{language}/staff/{path}")
        assert answer.status_code == 405 and words in answer.text, path
        assert answer.headers["allow"]


def test_every_change_has_its_entry(pages: Pages) -> None:
    a, root = pages.world.a, pages.signed_in(ROOT)
    person = f"/sw/staff/people/{a.engineer_id}"
    place = {"role": "editor", "institution_id": str(a.institution_id)}
    engineer = {**place, "role": "engineer"}
    steps: list[tuple[str, dict[str, str], str]] = [
        ("/sw/staff/institutions/new", outline(), "institution.add"),
        (f"/sw/staff/institutions/{a.institution_id}", outline(slug="alfa"), "institution.edit"),
        ("/sw/staff/people/invite", {"email": "n@e.tz", "name": "N", **place}, "user.grant"),
        (f"{person}/withdraw", engineer, "user.withdraw"),
        (f"{person}/disable", {}, "user.disable"),
        (f"{person}/enable", {}, "user.enable"),
        (f"{person}/second-factor", {}, "second_factor.remove"),
        ("/sw/staff/account/password", {"old_password": PASSWORD, "password": NEW_PASSWORD}, "password.change"),
        ("/sw/staff/logout", {}, "user.log_out"),
    ]
    for path, fields, act in steps:
        newest, before = pages.newest_entry(), pages.rows("audit_entry")
        assert root.post(path, fields).status_code == 303, path
        assert pages.acts(newest) == [act]
        assert pages.rows("audit_entry") != before or act == "second_factor.remove"
    with transaction(pages.engine) as session:
        entry = session.scalars(select(AuditEntry).where(AuditEntry.act == "user.disable")).one()
    assert (entry.user_id, entry.address) == (pages.world.root_id, "197.250.1.7")


def test_the_second_factors_entries(pages: Pages) -> None:
    root, newest = pages.signed_in(ROOT), pages.newest_entry()
    phone, _ = root.set_up_second_factor()
    for path in ("codes", "remove"):
        pages.clock.forward(seconds=30)
        root.post(f"/sw/staff/account/second-factor/{path}", {"code": phone.at(pages.clock.now)})
    assert pages.acts(newest) == ["second_factor.set", "second_factor.new_codes", "second_factor.remove"]


def test_what_an_act_changed_is_told_in_words(pages: Pages) -> None:
    root, actor = pages.signed_in(ROOT), Actor(None, "jaribio")
    before = {"origins": ["https://a.tz", "https://b.tz"], "parent": None, "open": True, "at": pages.clock.now}
    after = {"origins": [], "kept": {"days": 30, "place": None}, "files": [{"name": "<a>", "size": 1}, {"name": "b"}]}
    with transaction(pages.engine) as session:
        audit.append(session, actor, "words.test", "test:1", now=pages.clock.now, before=before, after=after)
    for language, yes, (files, name, size) in (
        (Language.SW, "ndiyo", ("mafaili", "jina", "baiti")), (Language.EN, "yes", ("files", "name", "bytes")),
    ):  # fmt: skip
        text = root.get(f"/{language}/staff/audit?act=words.test").text
        shown = dict(re.findall(r"<dt>(\w+)</dt><dd>(.*?)</dd>", text))
        assert shown == {
            "origins": "<del>https://a.tz, https://b.tz</del> <ins>–</ins>", "parent": "<del>–</del> ",
            "open": f"<del>{yes}</del> ", "at": f"<del>{moment(pages.clock.now, language)}</del> ",
            "kept": "<ins>days: 30; place: –</ins>", files: f"<ins>{name}: &lt;a&gt;; {size}: 1; {name}: b</ins>",
        }  # fmt: skip


def test_the_export_is_streamed_and_complete(pages: Pages) -> None:
    root = pages.signed_in(ROOT)
    for number in range(120):
        root.post(f"/sw/staff/institutions/{pages.world.a.institution_id}", outline(slug="alfa", acronym=str(number)))
    with root.client.stream("GET", "/sw/staff/audit.jsonl") as answer:
        assert "content-length" not in answer.headers, "streamed"
        assert answer.headers["content-disposition"] == 'attachment; filename="audit.jsonl"'
        lines = [json.loads(line) for line in answer.iter_lines()]
    with transaction(pages.engine) as session:
        stored = session.execute(select(AuditEntry.id, AuditEntry.hash).order_by(AuditEntry.id)).all()
    assert [(line["id"], line["hash"]) for line in lines] == [tuple(row) for row in stored] and len(lines) > 120
    seen: list[str] = []
    address: str | None = "/en/staff/audit"
    while address:
        text = root.get(address).text
        seen += re.findall(r'<p class="when">', text)
        older = re.search(r'href="(\?before=\d+)" rel="next"', text)
        address = f"/en/staff/audit{older[1]}" if older else None
    assert len(seen) == len(stored)


def test_the_export_of_an_institutions_admin_is_the_institutions(pages: Pages) -> None:
    pages.signed_in(ROOT)
    admin = pages.signed_in(pages.world.a.admin)
    lines = [json.loads(line) for line in admin.get("/sw/staff/audit.jsonl").text.splitlines()]
    assert lines and {line["institution_id"] for line in lines} == {pages.world.a.institution_id}


def test_no_secret_is_in_the_log(pages: Pages) -> None:
    root = pages.signed_in(ROOT)
    phone, codes = root.set_up_second_factor()
    root.post("/sw/staff/account/password", {"old_password": PASSWORD, "password": NEW_PASSWORD})
    root.ask_letter(ROOT)
    token = pages.letters()[0].rpartition("/")[2]
    text = root.get("/sw/staff/audit.jsonl").text
    for secret in (PASSWORD, NEW_PASSWORD, phone.secret, *codes, root.session, token):
        assert secret not in text


def test_a_role_for_someone_who_can_log_in_needs_no_letter(pages: Pages) -> None:
    root = pages.signed_in(ROOT)
    place = {"name": "A", "role": "editor", "institution_id": str(pages.world.a.institution_id)}
    told = [
        root.post("/sw/staff/people/invite", {"email": email, **place}).headers["location"].rpartition("=")[2]
        for email in ("mpya@ega.go.tz", pages.world.b.admin)
    ]
    assert told == ["invited", "given"] and len(pages.letters()) == 1
    assert "Hakuna barua iliyotumwa" in root.get("/sw/staff/people?told=given").text
