"""The staff's pages in Chromium: coming in with a second factor, inviting, editing; accessibility, phones, no scripts.

Every test also fails on a script error, a breach of the page's policy and a request to another host.
"""

import re
import time
from collections.abc import Callable, Iterator
from email import message_from_bytes, policy
from urllib.parse import urlsplit

import pyotp
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.browser.axe import axe_violations
from tests.conformance.engines import ARGUMENTS, CHROMIUM
from tests.up import Up

PASSWORD = "maembe saba mezani"
PHONE, DESKTOP = {"width": 360, "height": 740}, {"width": 1280, "height": 900}
OPEN = ("login", "second-factor", "forgotten", "invitation/forged", "reset/forged")
OWN = ("account", "account/password", "people", "people/invite", "institutions", "institutions/new", "audit?check=1")
NewPage = Callable[..., Page]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield opened
        opened.close()


@pytest.fixture
def new_page(browser: Browser) -> Iterator[NewPage]:
    """Each page is a browser of its own."""
    opened: list[Page] = []
    complaints: list[str] = []
    asked: list[str] = []

    def new(**options: object) -> Page:
        page = browser.new_context(**{"viewport": DESKTOP, **options}).new_page()  # type: ignore[arg-type]
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda said: complaints.append(said.text) if "Security Policy" in said.text else None)
        page.on("request", lambda request: asked.append(urlsplit(request.url).netloc))
        opened.append(page)
        return page

    yield new
    hosts = {urlsplit(page.url).netloc for page in opened}
    for page in opened:
        page.context.close()
    assert (complaints, set(asked) - hosts - {""}) == ([], set())


@pytest.fixture(scope="module")
def institution(mbashara_up: Up) -> None:
    """The one that every channel of the command line belongs to."""
    mbashara_up.channel_add("wafanyakazi")


def add_person(up: Up, email: str) -> str:
    """An admin of the platform with the password; returns the address."""
    up.person_add(email, PASSWORD)
    return email


def log_in(page: Page, up: Up, email: str, language: str = "sw", next_path: str = "/staff/account") -> None:
    page.goto(f"{up.http_url}/{language}/staff/login?next={next_path}")
    page.locator("#email").fill(email)
    page.locator("#password").fill(PASSWORD)
    page.locator("form button[type=submit]").click()


def submit(page: Page) -> None:
    page.locator("main form button[type=submit]").first.click()


def letter_to(up: Up, email: str) -> str:
    """The link in the newest letter; its host is the settings', its path is what counts."""
    for path in sorted((up.data / "mail").glob("*.eml"), reverse=True):
        message = message_from_bytes(path.read_bytes(), policy=policy.default)
        body = message.get_body()
        if message["to"] == email and body is not None:
            found = re.search(r"/sw/staff/\S+", body.get_content())
            assert found is not None
            return found[0]
    raise AssertionError(f"no letter to {email}")


def test_a_persons_first_day(mbashara_up: Up, new_page: NewPage) -> None:
    """In, a second factor, recovery codes, out, in again with a code, and in with a recovery code."""
    email = add_person(mbashara_up, "siku1@ega.go.tz")
    page = new_page()
    log_in(page, mbashara_up, email)
    page.locator("a[href$='/staff/account/second-factor']").click()
    secret = page.locator("main code").inner_text()
    page.locator("#code").fill("000000")
    submit(page)
    expect(page.locator(".govuk-error-summary")).to_be_visible()
    assert page.locator("main code").inner_text() == secret, "the phone has it already"
    expect(page.locator("img.qr")).to_be_visible()
    phone = pyotp.TOTP(secret)
    for _ in range(3):  # it grows too old on the way, if a half-minute ends then
        page.locator("#code").fill(phone.at(time.time() - 30))
        with page.expect_navigation():
            submit(page)
        if page.locator(".codes").count():
            break
    codes = page.locator(".codes code").all_inner_texts()
    assert len(codes) == 10
    assert axe_violations(page) == []
    page.locator("main a").click()
    expect(page.locator(".govuk-tag--green")).to_be_visible()
    for code in (phone.now(), codes[0]):
        page.locator("form[action$=logout] button").click()
        log_in(page, mbashara_up, email)
        expect(page.locator("#code")).to_be_visible()
        page.locator("#code").fill(code)
        submit(page)
        expect(page.locator("form[action$=logout]")).to_be_visible()


def test_inviting_someone(mbashara_up: Up, new_page: NewPage) -> None:
    email = add_person(mbashara_up, "mkuu@ega.go.tz")
    page, guest = new_page(), new_page(viewport=PHONE)
    log_in(page, mbashara_up, email, next_path="/staff/people/invite")
    page.locator("#name").fill("Neema Salum")
    page.locator("#email").fill("neema@ega.go.tz")
    page.locator("#role").select_option("editor")
    submit(page)
    expect(page.locator(".govuk-notification-banner")).to_contain_text("Mwaliko")
    guest.goto(f"{mbashara_up.http_url}{letter_to(mbashara_up, 'neema@ega.go.tz')}")
    assert axe_violations(guest) == []
    guest.locator("#password").fill("fupi")
    submit(guest)
    expect(guest.locator(".govuk-error-summary")).to_be_visible()
    guest.locator("#password").fill(PASSWORD)
    submit(guest)
    guest.locator("#email").fill("neema@ega.go.tz")
    guest.locator("#password").fill(PASSWORD)
    submit(guest)
    guest.goto(f"{mbashara_up.http_url}/sw/staff/account")
    expect(guest.locator("main")).to_contain_text("Neema Salum")
    expect(guest.locator("a[href$='/staff/people']")).to_have_count(0)


@pytest.mark.usefixtures("institution")
@pytest.mark.parametrize("viewport", [PHONE, DESKTOP], ids=["phone", "desktop"])
@pytest.mark.parametrize("language", ["sw", "en"])
def test_every_page_is_accessible_and_fits(
    mbashara_up: Up, new_page: NewPage, language: str, viewport: dict[str, int]
) -> None:
    page = new_page(viewport=viewport)
    base = f"{mbashara_up.http_url}/{language}/staff"
    for path in OPEN:
        check_page(page, f"{base}/{path}")
    log_in(page, mbashara_up, add_person(mbashara_up, f"kila-{language}-{viewport['width']}@ega.go.tz"), language)
    page.wait_for_url(f"{base}/account")
    paths = [*OWN, "account/second-factor", *(first_of(page, base, name) for name in ("people", "institutions"))]
    for path in paths:
        check_page(page, f"{base}/{path}")
    for path in ("people/invite", "institutions/new", "account/password"):
        page.goto(f"{base}/{path}")
        submit(page)
        expect(page.locator(".govuk-error-summary")).to_be_visible()
        check_shown(page, f"{path}, refused")


def first_of(page: Page, base: str, name: str) -> str:
    page.goto(f"{base}/{name}")
    address = page.locator(f"main a[href*='/staff/{name}/']:not([href$=new]):not([href$=invite])").first
    return str(address.get_attribute("href")).partition("/staff/")[2]


def check_page(page: Page, url: str) -> None:
    page.goto(url)
    check_shown(page, url)


def check_shown(page: Page, name: str) -> None:
    assert axe_violations(page) == [], name
    width = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert width[0] <= width[1], f"{name} scrolls sideways"


def test_logging_in_by_keyboard_alone(mbashara_up: Up, new_page: NewPage) -> None:
    email = add_person(mbashara_up, "kibodi@ega.go.tz")
    page = new_page()
    page.goto(f"{mbashara_up.http_url}/sw/staff/login?next=/staff/account")
    tab_to(page, "email")
    page.keyboard.type(email)
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    expect(page.locator("#password")).to_have_attribute("type", "text")
    expect(page.locator("main [aria-controls=password]")).to_have_text("Ficha")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("form[action$=logout]")).to_be_visible()


def tab_to(page: Page, name: str) -> None:
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == name:
            return
    raise AssertionError(f"{name} is not reached by Tab")


def test_without_scripts(mbashara_up: Up, new_page: NewPage) -> None:
    email = add_person(mbashara_up, "bila-js@ega.go.tz")
    page = new_page(java_script_enabled=False, viewport=PHONE)
    log_in(page, mbashara_up, email, next_path="/staff/institutions/new")
    page.locator("#name_sw").fill("Taasisi ya Majaribio")
    page.locator("#name_en").fill("Institute of Trials")
    page.locator("#slug").fill("majaribio")
    submit(page)
    page.locator("main a", has_text="Taasisi ya Majaribio").click()
    page.locator("#brand_colour").fill("#ffffff")
    submit(page)
    expect(page.locator(".govuk-error-summary")).to_be_visible()
    page.locator("#brand_colour").fill("#1e5945")
    submit(page)
    expect(page.locator(".govuk-notification-banner")).to_be_visible()
    page.locator("main a", has_text="Taasisi ya Majaribio").click()
    expect(page.locator("#brand_colour")).to_have_value("#1e5945")
