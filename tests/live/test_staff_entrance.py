"""Attacks on the staff's way in: planted sessions, forged forms, guessing, redirects, letters, links."""

import re

import pytest
from sqlalchemy import func, select

from core.database import transaction
from core.staff.tables import LoginFailure, StaffSession
from tests.live.pages_kit import MOVING, ROOT, Pages, outline
from tests.live.staff_kit import NEW_PASSWORD, PASSWORD

CHANGING = re.compile(r'value="[0-9a-f]{48}"')


def test_session_fixation_a_planted_cookie_is_worth_nothing(pages: Pages) -> None:
    browser = pages.browser()
    browser.client.cookies.set("session", "planted", domain="testserver.local")
    browser.log_in(ROOT)
    assert browser.session not in ("planted", "")
    stranger = pages.browser()
    stranger.client.cookies.set("session", "planted")
    assert stranger.get("/sw/staff/account").status_code == 303


def test_session_fixation_the_attackers_own_session_ends_with_the_victims_log_in(pages: Pages) -> None:
    attacker = pages.signed_in(pages.world.b.admin)
    victim = pages.browser()
    victim.client.cookies.set("session", attacker.session, domain="testserver.local")
    victim.log_in(ROOT)
    assert victim.session != attacker.session
    assert attacker.get("/sw/staff/account").status_code == 303


def test_session_fixation_the_token_changes_at_the_second_factor(pages: Pages) -> None:
    browser = pages.signed_in(ROOT)
    before = browser.session
    phone, codes = browser.set_up_second_factor()
    assert len(codes) == 10 and browser.session != before, "setting it up is a step up too"
    pages.clock.forward(minutes=5)
    other = pages.browser()
    assert other.log_in(ROOT).headers["location"].startswith("/sw/staff/second-factor")
    half_open = other.session
    assert other.get("/sw/staff/account").status_code == 303, "half open is not in"
    assert other.post("/sw/staff/second-factor", {"code": phone.at(pages.clock.now)}).status_code == 303
    assert other.session not in (half_open, "")
    assert other.get("/sw/staff/account").status_code == 200
    thief = pages.browser()
    thief.client.cookies.set("session", half_open)
    assert thief.get("/sw/staff/account").status_code == 303


def test_cookies_are_for_the_server_alone(pages: Pages) -> None:
    browser = pages.browser()
    for answer in (browser.get("/sw/staff/login"), browser.log_in(ROOT)):
        for cookie in answer.headers.get_list("set-cookie"):
            assert {"httponly", "samesite=lax", "path=/"} <= set(cookie.lower().split("; ")), cookie


@pytest.mark.parametrize("taken", ["none", "garbage", "of another visitor", "of before log-in"])
def test_csrf(pages: Pages, taken: str) -> None:
    browser = pages.browser()
    early = browser.token()
    browser.log_in(ROOT)
    tokens = {"garbage": "0" * 48, "of another visitor": pages.signed_in(ROOT).token(), "of before log-in": early}
    data = {"csrf": tokens[taken]} if taken in tokens else {}
    before = pages.rows("staff_session")
    for route in pages.posted:
        path = re.sub(r"{[^}]+}", "1", route.path)
        answer = browser.client.post(path, data={**outline(), **data})
        refused = 400 if path.endswith("/verify") else 403  # it changes nothing, for whoever sends it
        assert answer.status_code == refused and "csrf" not in answer.text, path
    assert pages.rows("staff_session") == before
    assert browser.get("/sw/staff/account").status_code == 200, "still logged in"


def test_csrf_log_in_with_another_visitors_token(pages: Pages) -> None:
    browser, attacker = pages.browser(), pages.browser()
    browser.get("/sw/staff/login")
    data = {"csrf": attacker.token(), "email": ROOT, "password": PASSWORD}
    assert browser.client.post("/sw/staff/login", data=data).status_code == 403
    assert browser.session == ""


def test_log_out_ends_the_session_on_the_server(pages: Pages) -> None:
    browser, thief = pages.signed_in(ROOT), pages.browser()
    thief.client.cookies.set("session", browser.session)
    assert thief.get("/sw/staff/account").status_code == 200
    assert browser.get("/sw/staff/logout").status_code == 405, "no picture's address logs anyone out"
    browser.post("/sw/staff/logout")
    assert browser.session == ""
    assert thief.get("/sw/staff/account").status_code == 303
    with transaction(pages.engine) as session:
        assert session.scalar(select(func.count()).select_from(StaffSession)) == 0


@pytest.mark.parametrize(
    ("minutes", "is_in"), [([119], True), ([120], False), ([100] * 7, True), ([100] * 7 + [20], False)]
)
def test_token_reuse_after_expiry(pages: Pages, minutes: list[float], is_in: bool) -> None:
    """Idle for two hours, or twelve hours old."""
    browser = pages.signed_in(ROOT)
    statuses = []
    for wait in minutes:
        pages.clock.forward(minutes=wait)
        statuses.append(browser.get("/sw/staff/account").status_code)
    assert statuses == [200] * (len(minutes) - 1) + [200 if is_in else 303]
    before = pages.rows(*MOVING)
    browser.post("/sw/staff/institutions/new", outline())
    assert (pages.rows(*MOVING) != before) is is_in


@pytest.mark.parametrize(
    "address",
    [
        "//evil.example", "https://evil.example", "\\\\evil.example", "/\\evil.example", "%2f%2fevil.example",
        "/%2fevil.example", "/%5cevil.example", "javascript:alert(1)", "/\tevil", "/a\r\nSet-Cookie: x=1", "\x01//evil",
        "////evil.example", "/ /evil", "/.evil@evil.example", "https:/evil", "///", "/a\n", "\u2028//evil",
    ],
)  # fmt: skip
def test_open_redirect_and_header_injection_through_next(pages: Pages, address: str) -> None:
    for in_query in (False, True):
        browser = pages.browser()
        fields = {"email": ROOT, "password": PASSWORD, "csrf": browser.token()}
        fields |= {} if in_query else {"next": address}
        params = {"next": address} if in_query else {}
        answer = browser.client.post("/sw/staff/login", data=fields, params=params)
        assert answer.status_code == 303 and "x" not in answer.cookies
        assert re.fullmatch(r"/sw/[a-z][a-z/]*", answer.headers["location"]), answer.headers["location"]
        shown = pages.browser().get("/en/staff/login", params={"next": address})
        assert re.search(r'name="next" value="(/[a-z]*)?"', shown.text)


def test_next_leads_back_to_where_one_came_from(pages: Pages) -> None:
    browser = pages.browser()
    sent = browser.get("/en/staff/people").headers["location"]
    assert sent == "/en/staff/login?next=/staff/people"
    data = {"email": ROOT, "password": PASSWORD, "next": "/staff/people"}
    assert browser.post("/en/staff/login", data).headers["location"] == "/en/staff/people"


@pytest.mark.parametrize(("language", "words"), [("sw", "dakika"), ("en", "minute")])
def test_password_spraying_meets_the_lock(pages: Pages, language: str, words: str) -> None:
    sprayer = pages.browser("203.0.113.9")
    refusals = [sprayer.log_in(f"mtu{number}@ega.go.tz", "Karibu2026!!", language).text for number in range(6)]
    assert [words in text for text in refusals] == [False] * 5 + [True]
    locked = sprayer.log_in(ROOT, language=language)
    assert locked.status_code == 200 and words in locked.text and sprayer.session == "", "the right one neither"
    assert pages.browser("197.250.1.8").log_in(ROOT).status_code == 303, "others are free"
    pages.clock.forward(seconds=31)
    assert sprayer.log_in(ROOT).status_code == 303


def test_refusals_do_not_tell_who_has_an_account(pages: Pages) -> None:
    texts = []
    for email in (ROOT, "hakuna@ega.go.tz"):
        browser = pages.browser(f"197.250.2.{len(email)}")
        text = browser.log_in(email, "si hili kabisa").text
        texts.append(CHANGING.sub("", text).replace(email, ""))
    assert texts[0] == texts[1]


def test_the_forgotten_password_page_says_the_same_to_everyone(pages: Pages) -> None:
    emails = (ROOT, "hakuna@ega.go.tz", "si anwani", "")
    said = {pages.browser(f"197.250.1.{number}").ask_letter(email) for number, email in enumerate(emails)}
    assert len(said) == 1 and "barua" in said.pop()
    assert len(pages.letters()) == 1


@pytest.mark.parametrize(
    ("address", "email"), [("197.250.1.{}", ROOT), ("197.250.1.7", "mtu{}@ega.go.tz"), ("2001:db8::{}", "m{}@e.tz")]
)
def test_letters_are_limited_for_an_account_and_for_an_address(pages: Pages, address: str, email: str) -> None:
    said = []
    for one in range(7):
        said.append(pages.browser(address.format(one)).ask_letter(email.format(one), "en"))
        pages.clock.forward(seconds=1)
    assert ["Try again in 1 minute." in text for text in said] == [False] * 5 + [True] * 2
    assert len(pages.letters()) == (5 if email == ROOT else 0)
    pages.clock.forward(seconds=31)
    assert "Try again" not in pages.browser(address.format(8)).ask_letter(email.format(8), "en")


def test_asking_for_letters_locks_nobody_out(pages: Pages) -> None:
    browser = pages.browser()
    for _ in range(7):
        browser.ask_letter(ROOT)
    assert browser.log_in(ROOT).status_code == 303
    with transaction(pages.engine) as session:
        assert session.scalar(select(func.count()).select_from(LoginFailure)) == 5, "a log-in takes none back"


def test_a_link_is_good_once_and_for_an_hour(pages: Pages) -> None:
    browser = pages.browser()
    browser.ask_letter(ROOT)
    pages.clock.forward(seconds=1)
    browser.ask_letter(pages.world.a.admin)
    link, stale = pages.letters()
    assert browser.post(link, {"password": "fupi"}).status_code == 200
    assert browser.post(link, {"password": NEW_PASSWORD}).headers["location"] == "/sw/staff/login?set"
    assert "Kiungo hiki hakitumiki tena" in browser.get(link).text
    assert browser.post(link, {"password": PASSWORD}).status_code == 200
    assert browser.log_in(ROOT, PASSWORD).status_code == 200 and browser.log_in(ROOT, NEW_PASSWORD).status_code == 303
    pages.clock.forward(hours=1)
    assert browser.post(stale, {"password": NEW_PASSWORD}).status_code == 200
    assert pages.browser("197.250.1.9").log_in(pages.world.a.admin).status_code == 303


def test_a_wrong_code_keeps_the_key_and_a_fresh_page_begins_anew(pages: Pages) -> None:
    browser = pages.signed_in(ROOT)
    address = "/sw/staff/account/second-factor"
    first = key_on(browser.get(address).text)
    again = browser.post(address, {"code": "000000"})
    assert "Namba si sahihi" in again.text and key_on(again.text) == first
    assert key_on(browser.get(address).text) != first
    phone, codes = browser.set_up_second_factor()
    assert len(codes) == 10 and phone.secret != first
    assert browser.post(address, {"code": "000000"}).headers["location"] == "/sw/staff/account"


def key_on(text: str) -> str:
    found = re.search(r"<code>([A-Z2-7]{32})</code>", text)
    assert found is not None
    return found[1]
