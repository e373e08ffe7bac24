"""Single sign-on against a real OpenID Connect provider: who gets in, who doesn't, and what an attacker may try."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest
from structlog.testing import capture_logs

from core.database import transaction
from core.staff import accounts
from core.staff.oidc.http import Limits
from core.staff.oidc.provider import Keeping, Provider
from core.staff.tables import UserAccount
from tests.live import pages_kit
from tests.live.conftest import FILLED
from tests.live.pages_kit import BASE_URL, ROOT, Browser, Pages, World
from tests.live.staff_kit import ADMIN, BY, PEPPER
from tests.oidc import idp as idps
from tests.oidc.idp import SECRET, Idp, Person
from tests.up import Up

CALLBACK = "/sw/staff/sign-on/callback"
MKUU, FUNDI = Person("mkuu-0001", ROOT), Person("fundi-0002", "fundi@alfa.go.tz")
LIMITS = Limits(step_s=60, whole_s=60, max_bytes=50_000)
IMPATIENT = Limits(step_s=2, whole_s=2)
AT_ONCE = Keeping(rests_s=0, renewed_after_s=0)


@pytest.fixture(scope="module")
def idp() -> Iterator[Idp]:
    with idps.running(BASE_URL + CALLBACK) as idp:
        yield idp


@pytest.fixture
def pages(mbashara_up: Up, world: World, tmp_path: Path, idp: Idp) -> Iterator[Pages]:
    idp.misbehave()
    with with_provider(mbashara_up, world, tmp_path, idp) as pages:
        yield pages


@contextmanager
def with_provider(up: Up, world: World, folder: Path, idp: Idp, limits: Limits = LIMITS) -> Iterator[Pages]:
    with pages_kit.pages(up, FILLED, world, folder, Provider(idp.registration, limits, AT_ONCE)) as pages:
        pages.clock.now = datetime.now(UTC)
        yield pages


def begin(browser: Browser, language: str = "sw", going_to: str = "") -> str:
    """Where the button sends the browser."""
    sent = browser.get(f"/{language}/staff/sign-on", params={"next": going_to})
    assert (sent.status_code, sent.headers["cache-control"]) == (303, "no-store")
    return sent.headers["location"]


def back(browser: Browser, url: str) -> httpx.Response:
    return browser.get(url.removeprefix(BASE_URL))


def sign_on(browser: Browser, idp: Idp, person: Person = MKUU, **begun: str) -> httpx.Response:
    return back(browser, idp.answer(begin(browser, **begun), person))


def refusal(answer: httpx.Response) -> str:
    """Why nobody got in, as the address says it."""
    found = re.fullmatch(r"/(sw|en)/staff/login\?sign-on=([a-z]+)&next=[a-z/-]*", answer.headers["location"])
    assert answer.status_code == 303 and found is not None, answer.headers["location"]
    return found[2]


def is_in(browser: Browser) -> bool:
    return browser.get("/sw/staff/account").status_code == 200


def test_the_first_sign_on_links_and_later_ones_know_the_person(pages: Pages, idp: Idp) -> None:
    before = pages.newest_entry()
    browser = pages.browser()
    shown = browser.get("/en/staff/login?next=/staff/people").text
    assert "Log in by SSO" in shown and "/en/staff/sign-on?next=/staff/people" in shown
    assert sign_on(browser, idp, language="en", going_to="/staff/people").headers["location"] == "/en/staff/people"
    assert pages.acts(before) == ["user.sign_on_link", "user.sign_on", "user.log_in"]
    account = browser.get("/sw/staff/account").text
    assert idp.issuer in account and MKUU.login in account and "sign-on" not in browser.client.cookies
    moved = Person(MKUU.login, "mpya@kwingine.example", "false")
    again = pages.browser()
    assert sign_on(again, idp, moved).headers["location"] == "/sw/console" and is_in(again)
    address = re.findall(r'action="(/sw/staff/account/sign-on/\d+/unlink)"', account)[0]
    assert pages.signed_in(pages.world.a.admin).post(address).status_code == 404, "another's is nobody's"
    assert browser.post(address).headers["location"] == "/sw/staff/account?told=unlinked"
    assert refusal(sign_on(pages.browser(), idp, moved)) == "unverified"
    assert pages.acts(before)[-2:] == ["user.sign_on_unlink", "user.sign_on_refused"]


def test_who_was_invited_needs_no_password(pages: Pages, idp: Idp) -> None:
    with transaction(pages.engine) as session:
        accounts.invite(session, "mgeni@ega.go.tz", "Mgeni", ADMIN, by=BY, pepper=PEPPER, now=pages.clock.now)
    browser = pages.browser()
    sign_on(browser, idp, Person("mgeni-1", "Mgeni@eGA.go.tz"))
    assert is_in(browser)


def test_who_is_refused(pages: Pages, idp: Idp) -> None:
    for person in (MKUU, FUNDI):
        assert sign_on(pages.browser(), idp, person).headers["location"] == "/sw/console"
    with transaction(pages.engine) as session:
        accounts.invite(session, "karani@ega.go.tz", "Karani", ADMIN, by=BY, pepper=PEPPER, now=pages.clock.now)
        count = session.query(UserAccount).count()
        for email in (pages.world.a.admin, pages.world.a.engineer):
            account = accounts.find(session, email)
            assert account is not None
            accounts.disable(session, account, by=BY, now=pages.clock.now)
    engineer = pages.world.b.engineer
    cases = [
        (Person("a", engineer, "false"), "unverified"),
        (Person("b", engineer, "null"), "unverified"),
        (Person("c", engineer, '"true"'), "unverified"),
        (Person("d", "mtu@kwingine.example"), "unknown"),
        (Person("e", ""), "unknown"),
        (Person("f", "\N{KELVIN SIGN}arani@ega.go.tz"), "unknown"),  # its small form is k, but it is no k of ours
        (Person("g", ROOT), "unknown"),  # linked to another person: the address changed hands
        (Person("h", pages.world.a.admin), "unknown"),
        (FUNDI, "unknown"),
        (Person("", engineer), "cancelled"),
    ]
    browser = pages.browser()
    assert [refusal(sign_on(browser, idp, person)) for person, _ in cases] == [why for _, why in cases]
    assert browser.session == ""
    for language, words in (("sw", "Hakuna akaunti hapa"), ("en", "No account here")):
        assert words in browser.get(f"/{language}/staff/login?sign-on=unknown").text
    with transaction(pages.engine) as session:
        assert session.query(UserAccount).count() == count, "nobody is made by the provider"
    assert browser.log_in(ROOT).status_code == 303, "such refusals lock nobody's address"


@pytest.mark.parametrize("amr", ["", "pwd", "otp", "pwd pin"])
def test_our_second_factor_is_still_asked(pages: Pages, idp: Idp, amr: str) -> None:
    phone, _ = pages.signed_in(ROOT).set_up_second_factor()
    pages.clock.forward(minutes=1)
    browser = pages.browser()
    answer = sign_on(browser, idp, Person(MKUU.login, ROOT, amr=amr), going_to="/staff/people")
    assert answer.headers["location"] == "/sw/staff/second-factor?next=/staff/people"
    half_open = browser.session
    assert half_open and not is_in(browser)
    done = browser.post("/sw/staff/second-factor", {"code": phone.at(pages.clock.now), "next": "/staff/people"})
    assert done.headers["location"] == "/sw/staff/people" and is_in(browser) and browser.session != half_open


@pytest.mark.parametrize("amr", ["mfa", "pwd otp"])
def test_the_providers_second_factor_counts(pages: Pages, idp: Idp, amr: str) -> None:
    pages.signed_in(ROOT).set_up_second_factor()
    browser = pages.browser()
    assert sign_on(browser, idp, Person(MKUU.login, ROOT, amr=amr)).headers["location"] == "/sw/console"
    assert is_in(browser)


def test_what_the_provider_answers_must_hold(pages: Pages, idp: Idp) -> None:
    """Each from an address of its own, so that no lock-out answers instead."""
    wrong: list[tuple[str, dict[str, object]]] = [
        ("'nonce'", {"claims": {"nonce": "of another try"}}), ("'nonce'", {"claims": {"nonce": None}}),
        ("'aud'", {"claims": {"aud": "another"}}), ("'azp'", {"claims": {"aud": ["mbashara", "another"]}}),
        ("'azp'", {"claims": {"azp": "another"}}), ("'iss'", {"claims": {"iss": "https://idp.example"}}),
        ("expired", {"claims": {"exp": 1}}), ("'exp'", {"claims": {"exp": None}}),
        ("in the future", {"claims": {"iat": 9_999_999_999}}), ("'sub'", {"claims": {"sub": ""}}),
        ("subject", {"claims": {"sub": "x" * 256}}), ("userinfo", {"claims": {"sub": "another"}}),
        ("'at_hash'", {"claims": {"at_hash": "of-another-token"}}), ("'none'", {"key": "none"}),
        ("'HS256'", {"key": "secret"}), ("bad_signature", {"key": "foreign"}),
        ("invalid_key_id", {"header": {"kid": "unknown"}}), ("too large", {"large": 60_000}),
    ]  # fmt: skip
    before = pages.newest_entry()
    with capture_logs() as logged:
        for number, (_, how) in enumerate(wrong):
            idp.misbehave(**how)
            browser = pages.browser(f"197.250.3.{number}")
            assert refusal(sign_on(browser, idp)) == "untrusted", how
            assert browser.session == "" and not is_in(browser), how
    assert pages.acts(before) == ["user.sign_on_refused"] * len(wrong)
    reasons = [str(line["reason"]) for line in logged if line["event"] == "sign-on failed"]
    assert [word in reason for (word, _), reason in zip(wrong, reasons, strict=True)] == [True] * len(wrong), reasons
    assert not any("eyJ" in line or SECRET in line for line in map(str, logged)), "neither tokens nor our secret"
    idp.misbehave()
    assert sign_on(pages.browser(), idp).headers["location"] == "/sw/console", "and else it does"


def test_an_answer_is_good_once_for_one_browser_and_ten_minutes(pages: Pages, idp: Idp) -> None:
    browser, before = pages.browser(), pages.newest_entry()
    url = idp.answer(begin(browser), MKUU)
    cookie = browser.client.cookies["sign-on"]
    begin(other := pages.browser())
    cookies = {"without the cookie": "", "forged": cookie[:-1], "of another try": other.client.cookies["sign-on"]}
    for which, taken in cookies.items():
        assert refusal(back(_with_ticket(pages, taken), url)) == "stale", which
    assert back(browser, url).headers["location"] == "/sw/console"
    assert refusal(back(browser, url)) == "stale", "again"
    assert refusal(back(_with_ticket(pages, cookie), url)) == "stale", "with the very same cookie"
    assert pages.acts(before) == ["user.sign_on_link", "user.sign_on", "user.log_in"], "and nobody fills the audit log"
    code, thief = parse_qs(urlsplit(url).query)["code"][0], pages.browser()
    assert refusal(back(thief, _with(idp.answer(begin(thief), MKUU), code=code))) == "untrusted", "the code alone"
    late = idp.answer(begin(browser), MKUU)
    pages.clock.forward(minutes=10)
    assert refusal(back(browser, late)) == "stale"


def _with_ticket(pages: Pages, cookie: str) -> Browser:
    browser = pages.browser()
    browser.client.cookies.set("sign-on", cookie)
    return browser


def test_a_code_and_a_nonce_belong_to_one_try(pages: Pages, idp: Idp) -> None:
    for number, name in enumerate(("nonce", "code_challenge")):
        browser, other = pages.browser(f"197.250.4.{number}"), pages.browser()
        foreign = parse_qs(urlsplit(begin(other)).query)[name][0]
        url = idp.answer(_with(begin(browser), **{name: foreign}), MKUU)
        assert refusal(back(browser, url)) == "untrusted", name


def test_an_answer_of_another_provider_is_not_shown_to_this_one(pages: Pages, idp: Idp) -> None:
    for number, sender in enumerate(("https://idp.example", None)):
        browser = pages.browser(f"197.250.5.{number}")
        assert refusal(back(browser, _with(idp.answer(begin(browser), MKUU), iss=sender))) == "untrusted"


def _with(url: str, **changed: str | None) -> str:
    query = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()} | changed
    return f"{url.partition('?')[0]}?{urlencode({name: value for name, value in query.items() if value is not None})}"


def test_the_session_is_new_and_the_old_one_ends(pages: Pages, idp: Idp) -> None:
    attacker, victim = pages.signed_in(pages.world.b.admin), pages.browser()
    victim.client.cookies.set("session", attacker.session, domain="testserver.local")
    sign_on(victim, idp)
    assert victim.session not in ("", attacker.session) and is_in(victim) and not is_in(attacker)


@pytest.mark.parametrize("address", ["//evil.example", "https://evil.example", "/\\evil.example", "/a\r\nx: y", "///"])
def test_it_leads_to_pages_of_ours_alone(pages: Pages, idp: Idp, address: str) -> None:
    assert sign_on(pages.browser(), idp, going_to=address).headers["location"] == "/sw/console"


def test_answers_that_do_not_hold_lock_the_address(pages: Pages, idp: Idp) -> None:
    guesser = pages.browser("203.0.113.9")
    for _ in range(6):
        assert refusal(guesser.get(f"{CALLBACK}?code=x&state=y")) == "stale", "a stranger's link counts for nothing"
    tries = [refusal(back(guesser, f"{CALLBACK}?{_made_up(begin(guesser))}")) for _ in range(6)]
    assert tries == ["untrusted"] * 5 + ["locked"]
    assert guesser.log_in(ROOT).status_code == 200, "the password neither"
    assert sign_on(pages.browser("203.0.113.10"), idp).headers["location"] == "/sw/console"
    pages.clock.forward(seconds=31)
    assert sign_on(guesser, idp).headers["location"] == "/sw/console"


def _made_up(url: str) -> str:
    return urlencode({"code": "made up", "state": parse_qs(urlsplit(url).query)["state"][0]})


def test_new_keys_are_fetched_when_they_are_needed(pages: Pages, idp: Idp) -> None:
    assert sign_on(pages.browser(), idp).headers["location"] == "/sw/console"
    idp.rotate()
    assert sign_on(pages.browser(), idp).headers["location"] == "/sw/console"


@pytest.mark.parametrize("how", [{"delay_ms": 2500}, {"status": 503}])
def test_a_provider_that_hangs_or_fails_is_nobodys_fault(
    mbashara_up: Up, world: World, tmp_path: Path, idp: Idp, how: dict[str, object]
) -> None:
    idp.misbehave(**how)
    with with_provider(mbashara_up, world, tmp_path, idp, IMPATIENT) as pages:
        browser, before = pages.browser(), pages.newest_entry()
        assert refusal(sign_on(browser, idp)) == "away"
        assert pages.acts(before) == [] and browser.log_in(ROOT).status_code == 303


def test_without_the_provider_passwords_go_on(pages: Pages, mbashara_up: Up, world: World, tmp_path: Path) -> None:
    with idps.running(BASE_URL + CALLBACK) as gone:
        gone.stop()
    with pages_kit.pages(mbashara_up, FILLED, world, tmp_path, Provider(gone.registration)) as alone:
        browser = alone.browser()
        for _ in range(2):
            answer = browser.get("/en/staff/sign-on?next=/staff/people")
            assert refusal(answer) == "away"
        shown = browser.get(answer.headers["location"]).text
        assert "The sign-on service does not answer" in shown and 'value="/staff/people"' in shown
        assert "Huduma ya kuingia haijibu" in browser.get("/sw/staff/login?sign-on=away").text
        assert browser.log_in(ROOT).status_code == 303
    with pages_kit.pages(mbashara_up, FILLED, world, tmp_path) as off:
        browser = off.browser()
        assert "sign-on" not in browser.get("/sw/staff/login?sign-on=away").text
        assert [browser.get(path).status_code for path in ("/sw/staff/sign-on", CALLBACK)] == [404, 404]
