"""The viewer's player in Chromium on a real feed: states, delay, keys, languages, accessibility, no scripts.

Every test also fails on a script error, a breach of the page's policy and a request to another host (new_viewer).
"""

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, Route, expect, sync_playwright

from core.web.dates import clock
from core.web.i18n import Language
from tests.browser.axe import axe_violations
from tests.conformance import encoder
from tests.conformance.engines import CHROMIUM, browsers
from tests.up import Up, command, get, hurry, until

# no flag for autoplay: the player must do with what a viewer's browser allows
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
STATE_TIMEOUT_MS = 120_000
SETTLE_S = 45.0  # the engine steers a delay of up to 4 s more away at 1.1 times the speed; of more it jumps
KEEPS_FOR_S = 4.0
DELAY_ABOVE_HOLD_BACK_S = 0.5
PHONE = {"width": 360, "height": 740}
numbers = count(1)


@dataclass
class Viewer:
    """A page with the player. `complaints`: uncaught exceptions and breaches of the policy; `asked`: every address."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", self._note)

    def _hear(self, message: ConsoleMessage) -> None:
        if "Content Security Policy" in message.text:  # a 404 or 502 is an error too, and no fault of the page
            self.complaints.append(message.text)

    def _note(self, request: Request) -> None:
        self.asked.append(request.url)

    def strangers(self) -> set[str]:
        """Hosts other than ours that were asked for anything."""
        return {urlsplit(url).netloc for url in self.asked} - {urlsplit(self.page.url).netloc, ""}

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
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield opened
        opened.close()


@pytest.fixture
def new_viewer(browser: Browser) -> Iterator[NewViewer]:
    viewers: list[Viewer] = []

    def new(**options: object) -> Viewer:
        context = browser.new_context(**{"viewport": PHONE, **options})  # type: ignore[arg-type]
        viewers.append(Viewer(context.new_page()))
        return viewers[-1]

    yield new
    complaints = [complaint for viewer in viewers for complaint in viewer.complaints]
    strangers = [stranger for viewer in viewers for stranger in viewer.strangers()]
    for viewer in viewers:
        viewer.page.context.close()
    assert (complaints, strangers) == ([], [])


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
    """A channel that is on the air for as long as this module's tests run, with all rungs that they ask for."""
    channel = add_channel(mbashara_up)
    with encoder.publishing(channel.address) as sender, mbashara_up.airing_first(lambda: [sender.pid]):
        state = f"{mbashara_up.http_url}/live/{channel.slug}/state.json"
        until(lambda: b'"live"' in get(state)[1], "not on the air")
        yield channel


@contextmanager
def feed(channel: Channel) -> Iterator[None]:
    with encoder.publishing(channel.address):
        yield


@pytest.fixture
def first_browsers(mbashara_up: Up) -> Iterator[None]:
    """Go before all else that tests do on this machine for as long: the clock is looked at."""
    with mbashara_up.airing_first(browsers):
        yield
    for process_id in browsers():
        hurry(process_id, 0)


@pytest.mark.usefixtures("first_browsers")
def test_plays_near_live_and_shows_the_delay(on_air: Channel, new_viewer: NewViewer) -> None:
    viewer = new_viewer()
    viewer.watch(on_air.page())
    assert viewer.fact("with") == "hls" and viewer.fact("low-latency") == "on"
    hold_back_s = viewer.page.evaluate(
        "slug => fetch(`/live/${slug}/state.json`).then(answer => answer.json())", on_air.slug
    )["part_hold_back_s"]
    near_s = hold_back_s + DELAY_ABOVE_HOLD_BACK_S
    near_since_s = settle_s = time.monotonic()
    while time.monotonic() < near_since_s + KEEPS_FOR_S:
        if float(viewer.fact("latency") or 99) > near_s:
            near_since_s = time.monotonic()
            assert near_since_s < settle_s + SETTLE_S, f"the delay does not stay at {near_s} s"
        viewer.page.wait_for_timeout(250)
    assert viewer.fact("at-live") == "yes"
    expect(viewer.page.locator("[data-delay]")).to_contain_text("Kuchelewa: sek.")


def test_a_breach_of_the_policy_would_be_noticed(on_air: Channel, new_viewer: NewViewer) -> None:
    viewer = new_viewer()
    viewer.page.goto(on_air.page())
    viewer.page.evaluate(
        "document.head.append(Object.assign(document.createElement('script'), {textContent: 'self.isBroken = true'}))"
    )
    until(lambda: viewer.page.evaluate("self.isBroken === undefined") and bool(viewer.complaints), "nobody complained")
    viewer.complaints.clear()


@pytest.mark.parametrize(
    ("connection", "low_latency"),
    [
        ("{effectiveType: '4g'}", "on"),
        ("{effectiveType: '3g'}", "off"),
        ("{effectiveType: '4g', saveData: true}", "off"),
    ],
    ids=["4g", "3g", "save-data"],
)
def test_spends_no_data_before_play_and_few_on_a_slow_network(
    on_air: Channel, new_viewer: NewViewer, connection: str, low_latency: str
) -> None:
    viewer = new_viewer()
    viewer.page.add_init_script(f"Object.defineProperty(navigator, 'connection', {{value: {connection}}})")
    viewer.page.goto(on_air.page())
    viewer.wait(state="ready", low_latency=low_latency)
    viewer.page.wait_for_timeout(1500)
    assert [url for url in viewer.asked if "engine-" in url or ".m3u8" in url or ".m4s" in url] == []
    viewer.press_main()
    viewer.wait(state="playing", low_latency=low_latency)
    fast = viewer.page.locator("[name=mode][value=low]")
    viewer.page.locator("[data-do=settings]").click()
    until(lambda: fast.is_enabled() is (low_latency == "on"), "the fast mode is offered or barred wrongly")
    until(lambda: viewer.played_s() > 1, "it does not play")
    parts = [url for url in viewer.asked if re.search(r"/\d+\.\d+\.m4s$", url)]
    assert bool(parts) is (low_latency == "on")


def test_a_first_picture_that_comes_late_is_of_now(on_air: Channel, new_viewer: NewViewer) -> None:
    """Media did not come for half a minute: the player loads anew, and not the moment at which it was stuck."""
    viewer, held = new_viewer(), list[Route]()
    viewer.page.route(re.compile(r"\.m4s$"), lambda route: held.append(route))
    viewer.page.goto(on_air.page())
    viewer.wait(state="ready")
    with viewer.page.expect_request(re.compile(r"\.m4s$")):
        viewer.press_main()
    viewer.wait(state="starting")
    viewer.page.evaluate("document.querySelector('mb-player').engine.isFirst = true")
    until_s = time.monotonic() + STATE_TIMEOUT_MS / 1000
    while viewer.page.evaluate("document.querySelector('mb-player').engine?.isFirst"):
        assert time.monotonic() < until_s, "it does not load anew"
        viewer.page.wait_for_timeout(250)
    viewer.page.unroute_all(behavior="ignoreErrors")
    viewer.wait(state="playing", at_live="yes")


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


def test_seeks_back_in_the_window_and_jumps_to_live(on_air: Channel, new_viewer: NewViewer) -> None:
    viewer = new_viewer()
    viewer.watch(on_air.page())
    seek, to_live = viewer.page.locator("[data-seek]"), viewer.page.get_by_role("button", name="Ruka hadi sasa")
    expect(seek).to_have_attribute("aria-valuetext", re.compile(r"^Mubashara, \d\d:\d\d:\d\d$"))
    expect(to_live).to_be_hidden()
    before_s = viewer.played_s()
    viewer.page.keyboard.press("j")
    until(lambda: viewer.played_s() < before_s - 5, "J did not go back")
    viewer.wait(at_live="no")
    behind = re.compile(r"^\d+:\d\d nyuma ya mubashara, \d\d:\d\d:\d\d$")
    expect(seek).to_have_attribute("aria-valuetext", behind)
    seek.focus()
    viewer.page.keyboard.press("ArrowLeft")
    expect(seek).to_have_attribute("aria-valuetext", behind)
    to_live.click()
    viewer.wait(at_live="yes", state="playing")
    expect(to_live).to_be_hidden()


def test_keys_outside_the_player_do_nothing(on_air: Channel, new_viewer: NewViewer) -> None:
    viewer = new_viewer()
    viewer.watch(on_air.page())
    viewer.page.locator("a.language").focus()
    viewer.page.keyboard.press("k")
    viewer.page.wait_for_timeout(500)
    assert viewer.video("video.paused") is False and viewer.fact("state") != "paused"


def test_sound_only_and_back(on_air: Channel, new_viewer: NewViewer) -> None:
    viewer = new_viewer()
    viewer.watch(on_air.page())
    viewer.page.get_by_role("button", name="Sauti pekee").click()
    viewer.wait(sound_only="on", state="playing")
    until(lambda: viewer.video("video.videoWidth") == 0 and viewer.played_s() > 0, "still a picture")
    assert any("/audio.m3u8?w=" in url for url in viewer.asked)
    viewer.page.get_by_role("button", name="Onyesha picha").click()
    viewer.wait(sound_only="off", state="playing")
    until(lambda: viewer.video("video.videoWidth") != 0, "no picture again")


def test_quality_can_be_chosen_and_says_its_data(on_air: Channel, new_viewer: NewViewer) -> None:
    viewer = new_viewer()
    viewer.watch(on_air.page("en"))
    viewer.page.get_by_role("button", name="Settings").click()
    choices = viewer.page.locator("[data-qualities] label")
    until(lambda: choices.count() == 3, "not: automatic, the source, 144p")
    expect(choices.last).to_contain_text("MB an hour")
    choices.last.click()
    expect(viewer.page.locator("[data-qualities] input").last).to_be_checked()
    until(lambda: viewer.video("video.videoHeight") == 144, "the picture stays as it was")
    choices.nth(1).click()
    until(lambda: viewer.video("video.videoHeight") == 360, "the picture stays small")


def test_changes_the_language_on_the_same_page(on_air: Channel, new_viewer: NewViewer) -> None:
    viewer = new_viewer()
    viewer.page.goto(on_air.page("sw"))
    expect(viewer.page.locator("html")).to_have_attribute("lang", "sw")
    expect(viewer.page.get_by_role("button", name="Tazama mubashara")).to_be_visible()
    viewer.page.get_by_role("link", name="English").click()
    assert viewer.page.url == on_air.page("en")
    expect(viewer.page.locator("html")).to_have_attribute("lang", "en")
    expect(viewer.page.get_by_role("button", name="Watch live")).to_be_visible()


@pytest.mark.parametrize(("language", "scheme"), [("sw", "light"), ("en", "dark")])
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
    """One evening: too early, on air, network gone and back, feed lost and back, ended, recording, a new broadcast.

    Two viewers, one in each language; after their first press they touch nothing but the recording's button.
    """
    channel = add_channel(mbashara_up)
    viewers = [new_viewer(bypass_csp=True), new_viewer(bypass_csp=True)]
    swahili, english = viewers
    swahili.page.goto(channel.page("sw"))
    english.page.goto(channel.page("en"))
    see(viewers, "before", "Matangazo bado hayajaanza", "The broadcast has not started yet")
    plain = new_viewer(java_script_enabled=False)
    plain.page.goto(channel.page("sw"))
    expect(plain.page.locator("[data-plain]")).to_contain_text("hautambui yanapoanza")
    expect(plain.page.locator("audio")).to_have_count(0)
    for viewer in viewers:
        viewer.press_main()
        viewer.wait(state="before", armed="yes")
    first = encoder.start(channel.address)
    play_on(viewers)
    english.page.context.set_offline(True)
    see([english], "retrying", "", "No connection")
    english.page.context.set_offline(False)
    play_on(viewers)
    rename(mbashara_up, channel.slug, "Kicheza kipya", "New player")
    first.kill()
    first.wait()
    for viewer, name in ((swahili, "Kicheza kipya"), (english, "New player")):
        expect(viewer.page.locator("h1")).to_have_text(name, timeout=STATE_TIMEOUT_MS)
        assert viewer.page.title().startswith(f"{name}: ")
    see(viewers, "lost", "Matangazo yamekatika kwa muda", "The feed is interrupted")
    with feed(channel):
        play_on(viewers, for_s=5)
    see(viewers, "ended", "Matangazo yamekwisha", "The broadcast has ended")
    plain.page.reload()
    expect(plain.page.locator("h1")).to_have_text("Kicheza kipya")
    plain.page.get_by_role("link", name="Cheza rekodi").click()
    expect(plain.page.locator("audio[src^='/recordings/']")).to_be_visible()
    for viewer in viewers:
        expect(viewer.page.locator("[data-panel=link]")).to_be_visible(timeout=STATE_TIMEOUT_MS)
        viewer.page.locator("[data-panel=recording]").click()
        viewer.wait(state="playing")
        until(lambda viewer=viewer: viewer.played_s() > 1, "the recording does not play in place")  # type: ignore[misc]
        viewer.video("video.currentTime = video.duration - 0.5")
        viewer.wait(state="ended")
    with feed(channel):
        play_on(viewers)


def test_before_a_planned_start_the_panel_says_when(mbashara_up: Up, new_viewer: NewViewer) -> None:
    channel, viewer, start_at = (
        add_channel(mbashara_up),
        new_viewer(bypass_csp=True),
        datetime(2040, 11, 30, 7, tzinfo=UTC),
    )
    titles = {"title_sw": "Hotuba", "title_en": "Address"}
    planned = {"channel": channel.slug, "planned_start_at": start_at.isoformat(), **titles}
    headers = bearer(mbashara_up, "broadcast.create")
    httpx.post(f"{mbashara_up.http_url}/api/v1/broadcasts", json=planned, headers=headers).raise_for_status()
    viewer.page.goto(channel.page())
    see([viewer], "before", f"{clock(start_at, Language.SW)}.", "")


def rename(up: Up, slug: str, name_sw: str, name_en: str) -> None:
    """And gives an encoder that is away as long as a slow machine takes to look at every page meanwhile."""
    headers = bearer(up, "channel.edit") | {"If-Match": "*"}
    names = {"name_sw": name_sw, "name_en": name_en, "reconnect_window_s": 300.0}
    changed = httpx.patch(f"{up.http_url}/api/v1/channels/{slug}", json=names, headers=headers, timeout=60)
    changed.raise_for_status()


def bearer(up: Up, scope: str) -> dict[str, str]:
    told = command(up.data, "token", "add", f"player-{next(numbers)}", "--scope", scope, "--days", "1", "--json").stdout
    return {"Authorization": f"Bearer {json.loads(told)['token']}"}


def see(viewers: list[Viewer], state: str, swahili: str, english: str) -> None:
    """Waits until the viewers are told so, each in his language, on a page without barriers."""
    for viewer in viewers:
        viewer.wait(state=state)
        language = viewer.page.locator("html").get_attribute("lang")
        expect(viewer.page.get_by_role("status")).to_contain_text(swahili if language == "sw" else english)
        assert axe_violations(viewer.page) == [], f"{state}, {language}"


def play_on(viewers: list[Viewer], for_s: float = 1) -> None:
    for viewer in viewers:
        viewer.wait(state="playing")
        before_s = viewer.played_s()
        until(lambda viewer=viewer, at_s=before_s: viewer.played_s() > at_s + for_s, "it does not play on")  # type: ignore[misc]


def test_native_playback_without_media_source(on_air: Channel, new_viewer: NewViewer) -> None:
    viewer = new_viewer()
    viewer.page.add_init_script("delete window.MediaSource; delete window.ManagedMediaSource")
    viewer.watch(on_air.page())
    assert viewer.fact("with") == "native"
    viewer.page.keyboard.press("k")
    viewer.wait(state="paused")


def test_sound_without_scripts(on_air: Channel, new_viewer: NewViewer) -> None:
    """Chromium plays HLS by itself since version 142."""
    viewer = new_viewer(java_script_enabled=False)
    viewer.page.goto(on_air.page())
    audio = viewer.page.locator("audio[controls]")
    expect(audio).to_be_visible()
    expect(viewer.page.locator(".bar")).to_be_hidden()
    assert audio.get_attribute("src") == f"/live/{on_air.slug}/audio.m3u8"
    audio.focus()
    viewer.page.keyboard.press("Space")
    until(lambda: audio.evaluate("audio => audio.currentTime") > 1, "no sound without scripts")


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
        until(lambda: viewer.played_s() > before_s + 3, "it does not play on")
