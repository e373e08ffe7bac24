"""The viewer's player in Chromium on a real feed: states, delay, keys, languages, accessibility, no scripts."""

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from tests.conformance import encoder
from tests.up import Up, until

AXE = Path(__file__).parents[2] / "node_modules" / "axe-core" / "axe.min.js"
AXE_RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
# no flag for autoplay: the player must do with what a viewer's browser allows
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
STATE_TIMEOUT_MS = 25_000
SETTLE_S = 20.0  # the engine steers a delay of 1 s more away at 1.1 times the speed in 10 s
KEEPS_FOR_S = 4.0
DELAY_ABOVE_HOLD_BACK_S = 0.5
PHONE = {"width": 360, "height": 740}
numbers = count(1)


@dataclass
class Viewer:
    """A page with the player; `complaints` are console errors and uncaught exceptions (a broken policy is one)."""

    page: Page
    complaints: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.complaints.append(message.text)

    def fact(self, name: str) -> str:
        return self.page.locator("mb-player").get_attribute(f"data-{name}") or ""

    def wait(self, **facts: str) -> None:
        for name, value in facts.items():
            attribute = f"data-{name.replace('_', '-')}"
            expect(self.page.locator("mb-player")).to_have_attribute(attribute, value, timeout=STATE_TIMEOUT_MS)

    def press_main(self) -> None:
        self.page.locator("[data-panel=button]").click()

    def watch(self, url: str) -> None:
        self.page.goto(url)
        self.wait(state="ready")
        self.press_main()
        self.wait(state="playing")

    def video(self, expression: str) -> object:
        return self.page.evaluate(f"(() => {{ const video = document.querySelector('video'); return {expression} }})()")

    def played_s(self) -> float:
        return float(str(self.video("video.currentTime")))


NewViewer = Callable[..., Viewer]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=ARGUMENTS)
        yield opened
        opened.close()


@pytest.fixture
def new_viewer(browser: Browser) -> Iterator[NewViewer]:
    contexts = []

    def new(**options: object) -> Viewer:
        context = browser.new_context(**{"viewport": PHONE, **options})  # type: ignore[arg-type]
        contexts.append(context)
        return Viewer(context.new_page())

    yield new
    for context in contexts:
        context.close()


@dataclass
class Channel:
    slug: str
    page_url: str  # with {language}
    address: str

    def page(self, language: str = "sw") -> str:
        return self.page_url.format(language=language)


def add_channel(up: Up) -> Channel:
    slug = f"kicheza-{next(numbers)}"
    key = up.channel_add(slug).primary_key
    return Channel(slug, f"{up.http_url}/{{language}}/live/{slug}", f"{up.rtmp_url}/{key}")


@pytest.fixture(scope="module")
def on_air(mbashara_up: Up) -> Iterator[Channel]:
    """A channel that is on the air for as long as this module's tests run."""
    channel = add_channel(mbashara_up)
    with encoder.publishing(channel.address):
        yield channel


@contextmanager
def feed(channel: Channel) -> Iterator[None]:
    with encoder.publishing(channel.address):
        yield


def axe_violations(page: Page) -> list[str]:
    page.evaluate(AXE.read_text())
    rules = {"runOnly": AXE_RULES}
    result = page.evaluate("rules => axe.run(document, rules)", rules)
    return [f"{found['id']}: {found['nodes'][0]['html']}" for found in result["violations"]]


def test_plays_near_live_and_shows_the_delay(on_air: Channel, new_viewer: NewViewer) -> None:
    viewer = new_viewer()
    viewer.watch(on_air.page())
    assert viewer.fact("with") == "hls" and viewer.fact("low-latency") == "on"
    hold_back_s = viewer.page.evaluate(
        "slug => fetch(`/live/${slug}/state.json`).then(answer => answer.json())", on_air.slug
    )["part_hold_back_s"]
    near_s = hold_back_s + DELAY_ABOVE_HOLD_BACK_S
    until(lambda: float(viewer.fact("latency") or 99) <= near_s, f"delay stays over {near_s} s", SETTLE_S)
    keep_until_s = time.monotonic() + KEEPS_FOR_S
    while time.monotonic() < keep_until_s:
        assert float(viewer.fact("latency")) <= near_s
        viewer.page.wait_for_timeout(250)
    assert viewer.fact("at-live") == "yes"
    expect(viewer.page.locator("[data-delay]")).to_contain_text("Kuchelewa: sek.")
    assert viewer.complaints == []


def test_nothing_is_downloaded_before_play_on_a_slow_network(on_air: Channel, new_viewer: NewViewer) -> None:
    viewer = new_viewer()
    viewer.page.add_init_script(
        "Object.defineProperty(navigator, 'connection', {value: {effectiveType: '3g', downlink: 0.7}})"
    )
    asked: list[str] = []
    viewer.page.on("request", lambda request: asked.append(request.url))
    viewer.page.goto(on_air.page())
    viewer.wait(state="ready", low_latency="off")
    viewer.page.wait_for_timeout(6000)  # longer than the idle preload of a fast network waits
    assert [url for url in asked if "engine-" in url or ".m3u8" in url or ".m4s" in url] == []
    viewer.press_main()
    viewer.wait(state="playing")
    viewer.page.wait_for_timeout(3000)
    assert any("engine-" in url for url in asked)
    assert not any(".m4s" in url and url.rsplit("/", 1)[1].count(".") > 1 for url in asked), "parts were loaded"


def test_keys(on_air: Channel, new_viewer: NewViewer) -> None:
    viewer = new_viewer()
    viewer.watch(on_air.page())
    viewer.page.wait_for_timeout(1000)
    press = viewer.page.keyboard.press
    press("k")
    viewer.wait(state="paused")
    press("k")
    viewer.wait(state="playing")
    press("m")
    assert viewer.video("video.muted") is True
    expect(viewer.page.locator("[data-do=mute]")).to_have_attribute("aria-label", "Washa sauti")
    press("m")
    before_s = viewer.played_s()
    press("Home")
    until(lambda: viewer.played_s() < before_s, "Home did not go back")
    press("End")
    viewer.wait(at_live="yes", state="playing")
    press("Shift+?")
    expect(viewer.page.get_by_role("dialog")).to_be_visible()
    press("Escape")
    expect(viewer.page.get_by_role("dialog")).to_be_hidden()
    press("f")
    until(lambda: viewer.page.evaluate("!!document.fullscreenElement"), "no full screen")
    assert viewer.complaints == []


def test_keys_outside_the_player_do_nothing(on_air: Channel, new_viewer: NewViewer) -> None:
    viewer = new_viewer()
    viewer.watch(on_air.page())
    viewer.page.locator("a.language").focus()
    viewer.page.keyboard.press("k")
    viewer.page.wait_for_timeout(500)
    assert viewer.fact("state") == "playing"


def test_sound_only_and_back(on_air: Channel, new_viewer: NewViewer) -> None:
    viewer = new_viewer()
    viewer.watch(on_air.page())
    asked: list[str] = []
    viewer.page.on("request", lambda request: asked.append(request.url))
    viewer.page.get_by_role("button", name="Sauti pekee").click()
    viewer.wait(sound_only="on", state="playing")
    until(lambda: viewer.video("video.videoWidth") == 0 and viewer.played_s() > 0, "still a picture")
    assert any(url.endswith("/audio.m3u8") for url in asked)
    viewer.page.get_by_role("button", name="Onyesha picha").click()
    viewer.wait(sound_only="off", state="playing")
    until(lambda: viewer.video("video.videoWidth") != 0, "no picture again")


def test_quality_can_be_chosen_and_says_its_data(on_air: Channel, new_viewer: NewViewer) -> None:
    viewer = new_viewer()
    viewer.watch(on_air.page("en"))
    viewer.page.get_by_role("button", name="Settings").click()
    choices = viewer.page.locator("[data-qualities] label")
    until(lambda: choices.count() > 1, "no rung to choose")
    expect(choices.last).to_contain_text("MB an hour")
    choices.last.click()
    expect(viewer.page.locator("[data-qualities] input").last).to_be_checked()


def test_changes_the_language_on_the_same_page(on_air: Channel, new_viewer: NewViewer) -> None:
    viewer = new_viewer()
    viewer.page.goto(on_air.page("sw"))
    expect(viewer.page.locator("html")).to_have_attribute("lang", "sw")
    expect(viewer.page.get_by_role("button", name="Tazama mubashara")).to_be_visible()
    viewer.page.get_by_role("link", name="English").click()
    assert viewer.page.url == on_air.page("en")
    expect(viewer.page.locator("html")).to_have_attribute("lang", "en")
    expect(viewer.page.get_by_role("button", name="Watch live")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("language", ["sw", "en"])
def test_no_violation_of_accessibility(on_air: Channel, new_viewer: NewViewer, language: str, scheme: str) -> None:
    viewer = new_viewer(bypass_csp=True, color_scheme=scheme)  # axe is put in from outside
    viewer.page.goto(on_air.page(language))
    viewer.wait(state="ready")
    assert axe_violations(viewer.page) == []
    viewer.press_main()
    viewer.wait(state="playing")
    viewer.page.locator("[data-do=settings]").click()
    assert axe_violations(viewer.page) == []
    viewer.page.keyboard.press("Shift+?")
    assert axe_violations(viewer.page) == []


def test_a_channel_from_before_its_start_to_after_its_end(mbashara_up: Up, new_viewer: NewViewer) -> None:
    """One evening of a viewer: too early, armed, on air, feed lost and back, ended, recording."""
    channel = add_channel(mbashara_up)
    viewer = new_viewer()
    viewer.page.goto(channel.page())
    viewer.wait(state="before", armed="no")
    expect(viewer.page.get_by_role("status")).to_contain_text("Matangazo bado hayajaanza")
    viewer.press_main()
    viewer.wait(state="before", armed="yes")
    first = encoder.start(channel.address)
    viewer.wait(state="playing")
    viewer.page.wait_for_timeout(6000)
    first.kill()
    first.wait()
    viewer.wait(state="lost")
    expect(viewer.page.get_by_role("status")).to_contain_text("Matangazo yamekatika kwa muda")
    with feed(channel):
        viewer.wait(state="playing")
        before_s = viewer.played_s()
        until(lambda: viewer.played_s() > before_s + 5, "it does not play on")
    viewer.wait(state="ended", feed="ended")
    recording = viewer.page.get_by_role("link", name="Ukurasa wa rekodi")
    expect(recording).to_be_visible()
    viewer.page.get_by_role("button", name="Cheza rekodi").click()
    viewer.wait(state="playing")
    until(lambda: viewer.played_s() > 1, "the recording does not play in place")


def test_native_playback_without_media_source(on_air: Channel, new_viewer: NewViewer) -> None:
    viewer = new_viewer()
    viewer.page.add_init_script("delete window.MediaSource; delete window.ManagedMediaSource")
    viewer.watch(on_air.page())
    assert viewer.fact("with") == "native"
    viewer.page.keyboard.press("k")
    viewer.wait(state="paused")


def test_sound_without_scripts(on_air: Channel, new_viewer: NewViewer) -> None:
    viewer = new_viewer(java_script_enabled=False)
    viewer.page.goto(on_air.page())
    expect(viewer.page.locator("audio[controls]")).to_be_visible()
    expect(viewer.page.locator(".bar")).to_be_hidden()
    address = viewer.page.locator("audio").get_attribute("src")
    assert address == f"/live/{on_air.slug}/audio.m3u8"


def test_an_unknown_channel_says_so(mbashara_up: Up, new_viewer: NewViewer) -> None:
    viewer = new_viewer(bypass_csp=True)
    answer = viewer.page.goto(f"{mbashara_up.http_url}/sw/live/hakuna")
    assert answer is not None and answer.status == 404
    expect(viewer.page.get_by_role("heading", level=1)).to_have_text("Ukurasa haukupatikana")
    assert axe_violations(viewer.page) == []


def test_plays_again_after_media_was_killed(mbashara_up: Up, new_viewer: NewViewer) -> None:
    """Last in this file: the shared feed goes down with the process."""
    channel = add_channel(mbashara_up)
    with feed(channel):
        viewer = new_viewer()
        viewer.watch(channel.page())
        mbashara_up.wait_restarted("media-0", mbashara_up.kill("media-0"))
    with feed(channel):
        mbashara_up.wait_healthy()
        viewer.wait(state="playing", feed="live")
        before_s = viewer.played_s()
        until(lambda: viewer.played_s() > before_s + 3, "it does not play on", 60)
