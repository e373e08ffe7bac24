"""Attacks through what is typed into the staff's forms and addresses."""

import pytest
from sqlalchemy import select

from core.database import transaction
from core.staff.tables import UserAccount
from core.tables import Institution
from tests.live.crossing_kit import fields_of_b
from tests.live.pages_kit import MOVING, ROOT, Pages, outline
from tests.live.staff_kit import NEW_PASSWORD, PASSWORD

LANGUAGES = ("sw", "en")
SCRIPT = "<script>alert(1)</script>\"'&"
ESCAPED = "&lt;script&gt;alert(1)&lt;/script&gt;"


def test_mass_assignment(pages: Pages) -> None:
    a = pages.world.a
    admin = pages.signed_in(a.admin)
    more = {"id": "77", "user_id": "77", "disabled_at": "2026-01-01", "password_hash": "x", "totp_secret": "x"}
    own = {"email": "neema@alfa.go.tz", "name": "Neema", "role": "editor", "institution_id": str(a.institution_id)}
    assert admin.post("/sw/staff/people/invite", {**own, **more}).status_code == 303
    with transaction(pages.engine) as session:
        made = session.scalars(select(UserAccount).where(UserAccount.email == own["email"])).one()
    assert (made.id != 77, made.disabled_at, made.password_hash, made.totp_secret) == (True, None, None, None)
    before = pages.rows(*MOVING, "institution")
    fields = outline(slug="alfa", id=str(pages.world.b.institution_id), role="admin", disabled_at="x")
    assert admin.post(f"/sw/staff/institutions/{a.institution_id}", fields).status_code == 303
    assert pages.rows(*MOVING, "institution") == before
    assert pages.institution(pages.world.b.institution_id).name_sw == "beta"
    password = {"old_password": PASSWORD, "password": NEW_PASSWORD, "email": "x@y.tz", "name": "X", "role": "admin"}
    admin.post("/sw/staff/account/password", password)
    with transaction(pages.engine) as session:
        account = session.get_one(UserAccount, a.admin_id)
    assert (account.email, account.name) == (a.admin, "Asha Juma")


def test_xss_through_every_stored_text(pages: Pages) -> None:
    root = pages.signed_in(ROOT)
    texts = outline(slug="hatari", name_sw=f"SW{SCRIPT}", name_en=f"EN{SCRIPT}", acronym="<b>&\"'</b>")
    assert root.post("/sw/staff/institutions/new", texts).status_code == 303
    person = {"email": "a'&|`@hatari.go.tz", "name": f"Neema {SCRIPT}", "role": "admin", "institution_id": "all"}
    assert root.post("/sw/staff/people/invite", person).status_code == 303
    with transaction(pages.engine) as session:
        made = session.scalars(select(UserAccount).where(UserAccount.email == person["email"])).one()
        institution_id = session.scalars(select(Institution.id).where(Institution.slug == "hatari")).one()
    for language in LANGUAGES:
        shown = {
            path: root.get(f"/{language}/staff/{path}").text
            for path in (
                "institutions", f"institutions/{institution_id}", "people", "people/invite", f"people/{made.id}",
                "audit",
            )
        }  # fmt: skip
        assert all("<script>alert" not in text and "<b>&" not in text for text in shown.values())
        assert {path for path, text in shown.items() if ESCAPED in text} == set(shown)
        assert "a&#39;&amp;|`@hatari.go.tz" in shown["people"]
        assert "&lt;b&gt;&amp;&#34;&#39;&lt;/b&gt;" in shown["institutions"]


def test_xss_through_every_field_that_is_shown_again(pages: Pages) -> None:
    """Refused values are shown in the form; none is stored."""
    root = pages.signed_in(ROOT)
    bad = f"\"'>{SCRIPT}\n"
    fields = dict.fromkeys((*outline(), "acronym", "region", "site_origins", "brand_colour", "parent_id"), bad)
    invitation = dict.fromkeys(("email", "name"), bad) | {"role": "admin", "institution_id": "all"}
    before = pages.rows(*MOVING)
    for language in LANGUAGES:
        for path, sent in (("institutions/new", fields), ("people/invite", invitation), ("people/invite", fields)):
            refused = root.post(f"/{language}/staff/{path}", sent)
            assert refused.status_code == 422 and "<script>alert" not in refused.text, path
        stranger = pages.browser()
        for path in ("login", "second-factor", "forgotten"):
            sent = dict.fromkeys(("email", "password", "code", "next"), bad)
            assert "<script>alert" not in stranger.post(f"/{language}/staff/{path}", sent).text
    assert pages.rows(*MOVING) == before


@pytest.mark.parametrize("told", [SCRIPT, "items", "clear", "__class__", "get"])
def test_words_in_addresses_say_nothing_of_their_own(pages: Pages, told: str) -> None:
    root = pages.signed_in(ROOT)
    for path in ("people", "institutions", "account"):
        text = root.get(f"/en/staff/{path}", params={"told": told}).text
        assert "<script>alert" not in text and "object at 0x" not in text and "notification-banner" not in text
    text = root.get("/en/staff/audit", params={"act": told, "subject": told}).text
    assert "<script>alert" not in text


def test_header_injection_through_names(pages: Pages) -> None:
    root = pages.signed_in(ROOT)
    place = {"role": "admin", "institution_id": "all"}
    before = pages.rows(*MOVING)
    for name, email in (
        ("N\r\nBcc: x@y.tz", "n@ega.go.tz"),
        ("N", "n@ega.go.tz\r\nBcc: x@y.tz"),
        ("N", "n@e.tz,x@y.tz"),
    ):
        refused = root.post("/sw/staff/people/invite", {"name": name, "email": email, **place})
        assert refused.status_code == 422
    assert (pages.rows(*MOVING), pages.letters()) == (before, [])
    log = root.get(f"/sw/console/broadcasts/{pages.world.a.broadcast_id}/log.csv")
    name = f"alfa-1-{pages.world.a.broadcast_id}.csv"
    assert log.headers["content-disposition"] == f'attachment; filename="{name}"'


UTF_7 = (
    b'--x\r\ncontent-disposition: form-data; name="csrf"\r\n\r\n+2AA-\r\n'
    b'--x\r\ncontent-disposition: form-data; name="email"\r\n\r\n+2AA-\r\n--x--\r\n'
)
ABSURD: dict[str, tuple[str, bytes]] = {
    "10,000 fields": ("application/x-www-form-urlencoded", b"&".join(b"f%d=1" % one for one in range(10_000))),
    "a value of 1 MB": ("application/x-www-form-urlencoded", b"email=" + b"a" * (1 << 20)),
    "a name of 1 MB": ("application/x-www-form-urlencoded", b"a" * (1 << 20) + b"=1"),
    "a part of 1 MB": (
        "multipart/form-data; boundary=x",
        b'--x\r\ncontent-disposition: form-data; name="email"\r\n\r\n' + b"a" * (1 << 20) + b"\r\n--x--\r\n",
    ),
    "garbage": ("application/x-www-form-urlencoded", bytes(range(256)) * 40),
    "garbage in parts": ("multipart/form-data; boundary=x", bytes(range(256)) * 40),
    "no boundary": ("multipart/form-data", b"--x\r\n"),
    "cut off": ("multipart/form-data; boundary=x", b'--x\r\ncontent-disposition: form-data; name="email"\r\n\r\nabc'),
    "halves of characters": ("multipart/form-data; boundary=x; charset=utf-7", UTF_7),
    "json": ("application/json", b'{"email": "a"}'),
    "xml": ("text/xml", b"<a/>"),
    "no type": ("", b"email=a"),
    "a file": (
        "multipart/form-data; boundary=x",
        b'--x\r\ncontent-disposition: form-data; name="csrf"; filename="a"\r\n\r\nabc\r\n--x--\r\n',
    ),
    "two files": (
        "multipart/form-data; boundary=x",
        b'--x\r\ncontent-disposition: form-data; name="a"; filename="a"\r\n\r\nabc\r\n' * 2 + b"--x--\r\n",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ABSURD)
def test_absurd_forms(pages: Pages, name: str) -> None:
    kind, body = ABSURD[name]
    root = pages.signed_in(ROOT)
    before = pages.rows("staff_session")
    for path in (
        "staff/login",
        "staff/forgotten",
        "staff/people/invite",
        "staff/institutions/new",
        "staff/account/password",
    ):
        answer = root.client.post(f"/sw/{path}", content=body, headers={"content-type": kind} if kind else {})
        assert 400 <= answer.status_code < 500, path
        assert "Mbashara" in answer.text, "a page of ours"
    assert pages.rows("staff_session") == before


@pytest.mark.parametrize("value", ["\0", "a\0b", "\ud800", "\uffff", "\u202e", "\r\n", "a" * 60_000, "🙂" * 201])
def test_absurd_values_behind_a_good_token(pages: Pages, value: str) -> None:
    root = pages.signed_in(ROOT)
    root.get("/sw/staff/account/second-factor")  # its key stays through wrong codes
    before = pages.rows(*MOVING)
    fields = dict.fromkeys(
        (*fields_of_b(pages), "region", "site_origins", "brand_colour", "acronym", "code", "password"), value
    )
    for route in pages.posted:
        if "{" in route.path or route.path.endswith(("/logout", "/end-others")):
            continue
        body = {"csrf": root.token(), **fields}
        parts = {key: (None, text.encode(errors="surrogatepass")) for key, text in body.items()}
        answer = root.client.post(route.path, files=parts, headers={})
        assert answer.status_code < 500 and answer.status_code != 303, route.path
    assert pages.rows(*MOVING) == before
    if "\ud800" not in value:
        for path in ("staff/audit", "staff/people", "staff/institutions", "staff/login"):
            asked = dict.fromkeys(("act", "subject", "before", "told", "next", "check"), value[:2000])
            assert root.get(f"/sw/{path}", params=asked).status_code in (200, 400), path


def test_a_file_where_text_is_expected(pages: Pages) -> None:
    root = pages.signed_in(ROOT)
    before = pages.rows(*MOVING)
    for path, name in (
        ("institutions/new", "name_sw"),
        ("people/invite", "email"),
        ("account/password", "old_password"),
    ):
        files = {name: ("a.txt", b"Gama")}
        answer = root.client.post(
            f"/sw/staff/{path}", data={"csrf": root.token(), **outline(), "name_sw": ""}, files=files
        )
        assert answer.status_code in (200, 422), path
    assert pages.rows(*MOVING) == before


@pytest.mark.parametrize("starts", ["0001-01-01T00:00", "9999-12-31T23:59", "1999-12-31T23:59", "2026-13-01T00:00", ""])
def test_plans_out_of_all_time(pages: Pages, starts: str) -> None:
    root = pages.signed_in(ROOT)
    before = pages.rows(*MOVING)
    for path in (f"channels/{pages.world.a.channel}/broadcasts/new", f"broadcasts/{pages.world.a.broadcast_id}/edit"):
        fields = {"title_sw": "Bunge", "title_en": "Parliament", "starts": starts, "version": "1"}
        assert root.post(f"/sw/console/{path}", fields).status_code == 422, path
    assert pages.rows(*MOVING) == before
