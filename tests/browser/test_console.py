"""An evening at the console, driven in Chromium with a real encoder: from the first key to the recording.

Everything is done on pages: the invitation, the channel, the plan, the rehearsal, going live, a lost feed, a message,
the end. What viewers see is looked at beside it.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.conformance import encoder
from tests.conformance.engines import CHROMIUM
from tests.up import Up, command, get, until

AXE = (Path(__file__).parents[2] / "node_modules" / "axe-core" / "axe.min.js").read_text()
AXE_RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"], "resultTypes": ["violations"]}
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--autoplay-policy=no-user-gesture-required"]
DESKTOP, PHONE = {"width": 1280, "height": 800}, {"width": 360, "height": 740}
PASSWORD = "maembe saba mezani kwetu"
SOON_MS = 120_000
NOTE_ERRORS = """
const Source = EventSource;
self.EventSource = class extends Source {
  constructor(...given) {
    super(...given);
    this.addEventListener('error', () => (self.hasPolled = true));
  }
};
"""
"""A page whose pulse fails asks for itself every three seconds."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield opened
        opened.close()


def invited(up: Up, email: str) -> str:
    told = command(up.data, "user", "add", email, "--name", "Neema Mushi")
    assert told.returncode == 0, told.stderr
    found = re.search(r"https?://\S+", told.stdout)
    assert found
    return re.sub(r"^https?://[^/]+", up.http_url, found[0])


@contextmanager
def engineer(browser: Browser, up: Up, email: str, **options: object) -> Iterator[Page]:
    """Comes in by the link of the invitation, sets a password and logs in with it."""
    context: BrowserContext = browser.new_context(viewport=DESKTOP, **options)  # type: ignore[arg-type]
    page = context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda said: complaints.append(said.text) if "Content Security Policy" in said.text else None)
    page.goto(invited(up, email).replace("/sw/", "/en/"))
    page.fill("#password", PASSWORD)
    page.get_by_role("button", name="Save").click()
    page.fill("#email", email)
    page.fill("#password", PASSWORD)
    page.get_by_role("main").get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Channels")
    yield page
    context.close()
    assert complaints == []


def press(page: Page, act: str) -> None:
    """Both steps of an act."""
    page.locator(".steps").get_by_role("button", name=act).click()
    page.get_by_role("main").get_by_role("button", name=act).click()


def says(page: Page, words: str, timeout_ms: int = SOON_MS) -> None:
    expect(page.locator("#now")).to_contain_text(words, timeout=timeout_ms)


def kill(sender: Popen[bytes]) -> None:
    """As a venue's power cut does."""
    sender.kill()
    sender.wait()


def test_an_evening_at_the_console(browser: Browser, mbashara_up: Up) -> None:
    up = mbashara_up
    with engineer(browser, up, "neema@tbc.example") as page:
        page.get_by_role("link", name="Institutions").click()
        page.get_by_role("link", name="Add an institution").click()
        for field, words in {"name_sw": "Ikulu", "name_en": "State House", "slug": "ikulu-jioni"}.items():
            page.fill(f"#{field}", words)
        page.get_by_role("button", name="Save").click()

        # A channel of ours: its feeds wait until an engineer goes live.
        page.get_by_role("link", name="Console").click()
        page.get_by_role("link", name="Add a channel").click()
        page.select_option("#institution_id", label="State House")
        page.fill("#name_sw", "Ikulu jioni")
        page.fill("#name_en", "State House tonight")
        page.fill("#slug", "jioni")
        page.get_by_role("button", name="Add").click()
        key = page.locator("#key-primary").inner_text()
        page.get_by_role("link", name="I have kept them").click()
        page.select_option("#auto_live", "no")
        page.get_by_role("button", name="Save", exact=True).last.click()
        assert key not in page.content()

        page.get_by_role("link", name="Plan a broadcast").click()
        page.fill("#title_sw", "Hotuba ya mwaka")
        page.fill("#title_en", "Speech of the year")
        page.get_by_role("button", name="Save").click()
        broadcast = page.url.rpartition("/")[2]
        says(page, "Scheduled")
        assert "Speech of the year" in get(f"{up.http_url}/en/")[1].decode()
        press(page, "Begin the rehearsal")
        says(page, "Rehearsal")

        sender = encoder.start(f"{up.rtmp_url}/{key}")
        try:
            # The feed is there, seen and heard by the staff, and by nobody else.
            says(page, "Held: nobody outside sees it.")
            expect(page.locator("section.feed.good")).to_contain_text("Primary feed: good", timeout=SOON_MS)
            page.get_by_role("button", name="Look and listen Primary feed").click()
            video = page.locator("[data-preview=primary] video")
            until(lambda: int(video.evaluate("v => v.currentTime > 1 ? v.videoWidth : 0")) == 640, "no preview")
            expect(page.locator("[data-says=peak]").first).to_contain_text("-", timeout=SOON_MS)
            page.locator("[data-preview=primary] [data-look]").click()
            assert get(f"{up.http_url}/live/jioni/index.m3u8")[0] == 404

            press(page, "Go live")
            says(page, "On air")
            says(page, "This feed is on air.")
            until(lambda: get(f"{up.http_url}/live/jioni/index.m3u8")[0] == 200, "not on the air")
            viewer = page.context.new_page()
            viewer.goto(f"{up.http_url}/en/live/jioni")
            expect(viewer.locator("mb-player")).to_have_attribute("data-state", "ready", timeout=SOON_MS)
            viewer.locator("[data-panel=button]").click()
            says(page, "Viewers now: 1")

            # The feed is lost and comes back: the broadcast is the same one.
            kill(sender)
            says(page, "Primary feed: not connected")
            sender = encoder.start(f"{up.rtmp_url}/{key}")
            says(page, "This feed is on air.")
            expect(page.locator("#log")).to_contain_text("feed back", timeout=SOON_MS)

            expect(viewer.locator("mb-player")).to_have_attribute("data-state", "playing", timeout=SOON_MS)
            page.fill("#message_sw", "Hotuba itaanza saa nne")
            page.fill("#message_en", "The speech begins at ten")
            page.get_by_role("button", name="Send to every player").click()
            expect(viewer.locator("[data-message]")).to_have_text("The speech begins at ten", timeout=SOON_MS)

            # An end by mistake is undone and nothing was lost; then the real one, though the encoder goes on.
            press(page, "End the broadcast")
            page.get_by_role("button", name="Undo: stay on air").click()
            says(page, "On air since")
            page.get_by_role("button", name="Look and listen Primary feed").click()
            until(lambda: int(video.evaluate("v => v.currentTime > 1 ? v.videoWidth : 0")) == 640, "no preview")
            press(page, "End the broadcast")
            says(page, "This feed is on air until the broadcast ends, in a moment.")
            page.get_by_role("button", name="Look and listen Primary feed").click()
            page.evaluate("self.watched = document.querySelector('[data-preview=primary] video')")
            expect(page.locator(".now")).to_contain_text("Ended", timeout=SOON_MS)
            says(page, "An encoder of this channel still sends; nobody outside sees it")
            expect(page.locator("[data-previews]")).to_have_count(0)
            assert page.evaluate("self.watched.srcObject === null"), "nothing plays on unseen"
        finally:
            kill(sender)
        until(lambda: get(f"{up.http_url}/recordings/{broadcast}/index.m3u8")[0] == 200, "no recording")
        log = page.locator("#log").inner_text()
        for words in ("went live", "feed lost", "feed back", "message", "end undone", "ended"):
            assert words in log, words

        page.goto(f"{up.http_url}/en/staff/audit?subject=broadcast:{broadcast}")
        acts = page.locator(".log").inner_text()
        for act in (
            "broadcast.rehearse",
            "broadcast.go_live",
            "broadcast.message",
            "broadcast.end",
            "broadcast.undo_end",
        ):
            assert act in acts, act
        page.goto(f"{up.http_url}/en/staff/audit?check=1")
        expect(page.get_by_role("main")).to_contain_text("Every entry fits the chain")


def test_two_engineers_see_each_others_acts(browser: Browser, mbashara_up: Up) -> None:
    up = mbashara_up
    up.channel_add("wawili")
    with engineer(browser, up, "asha@tbc.example") as first, engineer(browser, up, "juma@tbc.example") as second:
        second.add_init_script(NOTE_ERRORS)
        first.goto(f"{up.http_url}/en/console/channels/wawili/broadcasts/new")
        first.fill("#title_sw", "Kikao")
        first.fill("#title_en", "Sitting")
        first.get_by_role("button", name="Save").click()
        address = first.url
        second.goto(address)
        press(first, "Begin the rehearsal")
        says(second, "Rehearsal")
        assert not second.evaluate("self.hasPolled"), "it was not told, it asked"
        # The second presses what the first has overtaken: told so, and nothing is done twice.
        second.goto(f"{address}/acts/go_live")
        press(first, "End the rehearsal")
        second.get_by_role("main").get_by_role("button", name="Go live").click()
        expect(second.get_by_role("alert")).to_contain_text("somebody else has changed this broadcast")
        says(second, "Scheduled")


def test_a_card_comes_to_the_wall_by_itself(browser: Browser, mbashara_up: Up) -> None:
    """Pushed as HTML, not fetched; the keyboard stays on it while it moves from the quiet to the cards and back."""
    up = mbashara_up
    up.channel_add("ukuta")
    with engineer(browser, up, "salma@tbc.example") as wall:
        fetched: list[str] = []
        own = f"{up.http_url}/en/console"
        wall.on("request", lambda request: fetched.append(request.url) if request.url == own else None)
        wall.reload()
        wall.locator("#card-ukuta a").focus()
        other = wall.context.new_page()
        other.goto(f"{own}/channels/ukuta/broadcasts/new")
        other.fill("#title_sw", "Kikao cha ukutani")
        other.fill("#title_en", "Sitting on the wall")
        other.get_by_role("button", name="Save").click()
        press(other, "Begin the rehearsal")
        card = wall.locator("[data-cards=active] #card-ukuta")
        expect(card).to_contain_text("Rehearsal", timeout=SOON_MS)
        expect(card).to_contain_text("Sitting on the wall")
        expect(card.get_by_role("link")).to_be_focused()
        expect(card).to_match_aria_snapshot(  # by heading, then on: whose it is comes before how it is
            """
            - listitem:
              - heading "Channel ukuta" [level=2]
              - strong: Rehearsal
              - paragraph: /Sitting on the wall/
              - list
            """
        )
        wall.evaluate("document.querySelector('#load td').textContent = 'read'")
        wall.evaluate("document.querySelector('#load table').isTheSame = true")
        press(other, "Cancel the broadcast")
        expect(wall.locator("[data-cards=quiet] #card-ukuta a")).to_be_focused(timeout=SOON_MS)
        expect(wall.locator("#load")).to_contain_text("media-0")
        expect(wall.locator("#load td").first).not_to_have_text("read", timeout=SOON_MS)
        assert wall.evaluate("document.querySelector('#load table').isTheSame"), "its reader is thrown to the beginning"
        assert fetched == [own], "the page as it was opened, and never again"


PAGES = (
    "/console", "/console/channels/wawili", "/console/channels/new", "/console/channels/wawili/broadcasts/new",
    "/console/calendar", "/console/channels/wawili/dry-run",
)  # fmt: skip


@pytest.mark.parametrize("viewport", [PHONE, DESKTOP])
def test_the_console_is_accessible(browser: Browser, mbashara_up: Up, viewport: dict[str, int]) -> None:
    email = f"fatma{viewport['width']}@tbc.example"
    with engineer(browser, mbashara_up, email, bypass_csp=True) as page:
        page.set_viewport_size(viewport)  # type: ignore[arg-type]
        for language in ("sw", "en"):
            for path in PAGES:
                page.goto(f"{mbashara_up.http_url}/{language}{path}")
                page.evaluate(AXE)
                found = page.evaluate("rules => axe.run(document, rules).then(r => r.violations)", AXE_RULES)
                assert [(one["id"], [node["target"] for node in one["nodes"]]) for one in found] == [], (language, path)
                assert page.evaluate("document.documentElement.scrollWidth") == viewport["width"], (language, path)
