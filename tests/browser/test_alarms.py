"""An evening heard and led by keyboard: a real encoder, two engineers, and what a screen reader and the ear are told.

Chromium here keeps sound back until someone presses a key, as an engineer's does.
"""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.browser.axe import axe_violations
from tests.browser.test_console import engineer, kill
from tests.conformance import encoder
from tests.conformance.engines import CHROMIUM
from tests.up import Up, until

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--no-first-run"]
LISTEN = """
window.heard = []; window.spoken = []; window.noticed = [];
const start = AudioScheduledSourceNode.prototype.start;
AudioScheduledSourceNode.prototype.start = function (at) {
  heard.push(`${this.type} ${this.frequency.value}`);
  start.call(this, at);
};
window.Notification = class { static permission = 'granted'; constructor(title, { body }) { noticed.push(body); } };
addEventListener('DOMContentLoaded', () => new MutationObserver((all) => {
  for (const { target } of all) {
    const region = (target.closest ? target : target.parentElement)?.closest('[aria-live=assertive], [role=status]');
    if (region?.textContent) spoken.push(`${region.getAttribute('role') ?? 'alert'}: ${region.textContent.trim()}`);
  }
}).observe(document.body, { subtree: true, childList: true, characterData: true }));
"""
BROADCAST = re.compile(r"/broadcasts/\w{26}(#state)?$")
SEVERE, MILD = "square 880", "sine 440"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield opened
        opened.close()


def press(page: Page, name: str) -> None:
    """The button or link of that name, reached by Tab alone and seen to be there."""
    for _ in range(80):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent.replace(/\\s+/g, ' ').trim()").startswith(name):
            assert (
                page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
                or page.evaluate("getComputedStyle(document.activeElement).boxShadow") != "none"
            ), f"{name}: the focus is not seen"
            page.keyboard.press("Enter")
            return
    raise AssertionError(f"{name} is not reached by Tab")


def act(page: Page, name: str) -> None:
    """Both steps."""
    page.wait_for_url(BROADCAST)
    press(page, name)
    page.wait_for_url("**/acts/*")
    press(page, name)
    page.wait_for_url(BROADCAST)


def heard(page: Page, tone: str) -> bool:
    return tone in page.evaluate("heard")


def spoken(page: Page) -> list[str]:
    found: list[str] = page.evaluate("spoken")
    return found


def test_an_evening_by_keyboard_and_ear(browser: Browser, mbashara_up: Up) -> None:
    up = mbashara_up
    key = up.channel_add("sikio").primary_key
    with engineer(browser, up, "sikia@tbc.example") as page, engineer(browser, up, "pili@tbc.example") as second:
        for one in (page, second):
            one.context.add_init_script(LISTEN)
        page.goto(f"{up.http_url}/en/console/channels/sikio/broadcasts/new")
        page.fill("#title_sw", "Hotuba")
        page.fill("#title_en", "Speech")
        page.keyboard.press("Enter")
        second.goto(f"{up.http_url}/en/console")
        act(page, "Begin the rehearsal")
        sender = encoder.start(f"{up.rtmp_url}/{key}")
        try:
            until(lambda: "status: Primary feed: " in " ".join(spoken(page)), "a feed that comes is not told")
            act(page, "Go live")
            page.keyboard.press("Tab")  # a screen reader begins at the state, and ten seconds are short
            expect(page.get_by_role("button", name="Undo: back to rehearsal")).to_be_focused()
            expect(page.locator("#now")).to_contain_text("This feed is on air.")
            until(lambda: any("Channel sikio: On air" in one for one in spoken(second)), "going live is not told")

            # The other engineer's page was not touched: it says so instead of being silent, and a key lets it sound.
            expect(second.locator("[data-blocked]")).to_be_visible()
            press(second, "Test the sound")
            expect(second.locator("[data-blocked]")).to_be_hidden()
            until(lambda: heard(second, SEVERE) and heard(second, MILD), "the test makes no sound")

            # One makes this browser silent; the alarm is spoken there all the same, and sounds at the other's.
            press(page, "Silent for 10 minutes")
            expect(page.locator("[data-muted]")).to_be_visible()

            # The feed is lost while one types and the other has a card chosen: both keep their place.
            second.get_by_role("link", name="Channel sikio", exact=True).focus()
            second.evaluate("document.activeElement.isTheSame = true")
            page.locator("#message_sw").focus()
            page.keyboard.type("Subirini")
            second.evaluate("heard.length = 0")
            page.evaluate("spoken.length = heard.length = 0")
            kill(sender)
            alarm = page.get_by_role("listitem").filter(has_text="✖ Alarm: Channel sikio: the feed is lost")
            expect(alarm).to_be_visible()
            until(lambda: heard(second, SEVERE), "a lost feed makes no sound")
            assert page.evaluate("heard") == []
            assert [one.title().split(" · ")[0] for one in (page, second)] == ["✖ 1", "✖ 1"]
            assert page.evaluate("[document.activeElement.id, document.activeElement.value]") == [
                "message_sw",
                "Subirini",
            ]
            expect(second.locator(".card").filter(has_text="Channel sikio")).to_contain_text(
                "Primary feed: not connected"
            )
            assert second.evaluate("document.activeElement.isTheSame"), "the card was made anew under the keyboard"
            said = spoken(page)
            assert said.count("alert: ✖ Alarm: Channel sikio: the feed is lost") == 1, said
            assert any(re.match("status: .*Primary feed: not connected", one) for one in said), said
            assert page.evaluate("noticed") == ["✖ Alarm: Channel sikio: the feed is lost"]
            assert axe_violations(page) == []
            expect(page.locator("#alarms")).to_match_aria_snapshot(
                """
                - region "Alarms":
                  - heading "Alarms" [level=2]
                  - list:
                    - listitem:
                      - paragraph: "✖ Alarm: Channel sikio: the feed is lost"
                      - paragraph: /Since/
                      - button "I have seen it"
                """
            )

            # The button alone says what it is of, and what was spoken is not met again by who reads on.
            seen = page.get_by_role("button", name="I have seen it")
            expect(seen).to_have_accessible_description("✖ Alarm: Channel sikio: the feed is lost")
            for said_once in page.locator("[data-alarm-says], [data-says-changes]").all():
                expect(said_once).to_be_empty()

            # Seen by one, known to both; it sounds no more.
            press(page, "I have seen it")
            expect(second.locator("#alarm-list")).to_contain_text("Seen by Neema Mushi")
            expect(second.get_by_role("button", name="I have seen it")).to_have_count(0)
            until(lambda: not second.title().startswith("✖"), "the title keeps its mark")
            second.evaluate("heard.length = spoken.length = 0")
            sender = encoder.start(f"{up.rtmp_url}/{key}")
            expect(alarm).to_have_count(0)
            page.evaluate("heard.length = spoken.length = 0")
            act(page, "End the broadcast")
            expect(page.locator(".now")).to_contain_text("Ended")
            until(lambda: any("Ended" in one for one in spoken(page)), "the end is not told")
            for one in (page, second):  # a busy machine may starve the feed, and then an alarm is right
                assert "the feed is lost" not in " ".join(spoken(one)), "it calls for what was seen or asked for"
                assert not heard(one, SEVERE) or "alert: ✖" in " ".join(spoken(one)), "it sounds without saying why"
        finally:
            kill(sender)
