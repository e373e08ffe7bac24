"""The archive's pages in Chromium, with a real encoder's recordings: one with a gap, one damaged in both its places.

What someone has is checked with scripts (only its hash leaves the browser) and without them. Pages are accessible, fit
a phone and breach no policy.
"""

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from mbashara.data import account
from tests.browser.axe import axe_violations
from tests.browser.test_staff import add_person, log_in
from tests.conformance.engines import ARGUMENTS, CHROMIUM
from tests.live import media_files
from tests.live.rtmp_kit import playlist, state
from tests.up import COMMAND_TIMEOUT_S, Up, command, data_folder, running, until

PHONE, DESKTOP = {"width": 360, "height": 740}, {"width": 1280, "height": 900}
SHOTS = os.environ.get("SHOTS")
"""A folder: pictures of each page for people."""


@dataclass(frozen=True, slots=True)
class Archived:
    """`gap` was taken up again after a lost feed, `damaged` has a changed byte wherever it is."""

    up: Up
    gap: str
    damaged: str


@pytest.fixture(scope="module")
def archived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archived]:
    feed = media_files.make_flv(tmp_path_factory.mktemp("feed") / "feed.flv", 8)
    with data_folder() as data:
        there = data.parent / "dodoma"
        there.mkdir()
        places = data.parent / "locations.toml"
        names = 'title_sw = "Dodoma, ghorofa ya pili"\ntitle_en = "Dodoma, second floor"'
        places.write_text(f'[[location]]\nname = "dodoma"\nkind = "folder"\npath = "{there}"\n{names}\n')
        places.chmod(0o600)
        owner = account()
        if owner is not None:
            for path in (there, places):
                os.chown(path, owner.user_id, owner.group_id)
        with running(data, locations_file=places, ladder=False, reconnect_window_s=120) as up:
            keys = {slug: up.channel_add(slug).primary_key for slug in ("bunge", "ikulu")}
            whole = media_files.publish(feed, f"{up.rtmp_url}/{keys['ikulu']}")
            cut = media_files.publish(feed, f"{up.rtmp_url}/{keys['bunge']}", is_endless=True)
            until(lambda: playlist(up, "bunge").count("#EXTINF") >= 2, "never on the air")
            cut.kill()
            cut.wait()
            until(lambda: state(up, "bunge").get("state") == "lost", "nobody missed it")
            time.sleep(1)  # of nothing
            again = media_files.publish(feed, f"{up.rtmp_url}/{keys['bunge']}")
            assert [one.wait(120) for one in (whole, again)] == [0, 0]
            until(lambda: _whole(up) == 2, "never closed", timeout_s=COMMAND_TIMEOUT_S)
            ids = {one["channel"]: one["id"] for one in up.recordings()}
            for folder in (up.data / "recordings", there):
                _damage(folder / ids["ikulu"], there)
            yield Archived(up, ids["bunge"], ids["ikulu"])


def _whole(up: Up) -> int:
    """Recordings that lie in both places with signed papers."""
    there = up.data.parent / "dodoma"
    ended = [one for one, state in up.recording_states().items() if state == "complete"]
    return sum((there / one / "signatures.jsonl").exists() for one in ended)


def _damage(folder: Path, there: Path) -> None:
    path = next(folder.glob("*/1.m4s"))
    until(path.exists, "not copied")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1 if there in path.parents else 2
    path.write_bytes(data)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield opened
        opened.close()


@contextmanager
def opened(browser: Browser, **options: object) -> Iterator[Page]:
    page = browser.new_context(**{"viewport": DESKTOP, **options}).new_page()  # type: ignore[arg-type]
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda said: complaints.append(said.text) if "Security Policy" in said.text else None)
    yield page
    page.context.close()
    assert complaints == []


def look(page: Page, name: str) -> None:
    assert axe_violations(page) == [], name
    width = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert width[0] <= width[1], f"{name} scrolls sideways"
    if SHOTS:
        size = page.viewport_size or DESKTOP
        page.screenshot(path=f"{SHOTS}/{name}-{size['width']}.png", full_page=True)


def test_anyone_checks_a_file(archived: Archived, browser: Browser, tmp_path: Path) -> None:
    up, segment = archived.up, next((archived.up.data / "recordings" / archived.gap).glob("*/0.m4s"))
    changed = tmp_path / "0.m4s"
    changed.write_bytes(segment.read_bytes()[:-1] + b"?")
    sent: list[str] = []
    with opened(browser) as page:
        page.on("request", lambda request: sent.append(request.method))
        page.goto(f"{up.http_url}/en/recordings/{archived.gap}/verify")
        look(page, "proof-en")
        expect(page.locator("table").first).to_contain_text("the feed from the encoder was lost")
        for path, kind, words in ((segment, "segment", "segment 0"), (changed, "unknown", "WhatsApp")):
            page.locator("#file").set_input_files(path)
            page.get_by_role("button", name="Check the file").click()
            expect(page.locator(f"[data-answer={kind}]")).to_contain_text(words)
            look(page, f"answer-{kind}-en")
            expect(page.locator("details")).to_have_count(0 if kind == "segment" else 1)
            expect(page.locator("details[open]")).to_have_count(0)
        page.locator("#file").set_input_files({"name": "a.MP4", "mimeType": "video/mp4", "buffer": b"changed"})
        page.get_by_role("button", name="Check the file").click()
        expect(page.locator("details[open]")).to_contain_text("Read its credentials")
        look(page, "answer-mp4-en")
        assert set(sent) == {"GET"}, "the file stayed in the browser"
    with opened(browser, viewport=PHONE, java_script_enabled=False) as page:
        page.goto(f"{up.http_url}/sw/recordings/{archived.gap}/verify")
        page.locator("#file").set_input_files(segment)
        page.get_by_role("button", name="Kagua faili").click()
        expect(page.locator("[data-answer=segment]")).to_contain_text("kipande cha 0")


@pytest.mark.parametrize(("language", "viewport"), [("sw", PHONE), ("en", DESKTOP)], ids=["sw", "en"])
def test_every_page_is_accessible_and_fits(
    archived: Archived, browser: Browser, language: str, viewport: dict[str, int]
) -> None:
    base, staff = f"{archived.up.http_url}/{language}", f"archive-{language}@ega.go.tz"
    with opened(browser, viewport=viewport) as page:
        for name, path in (
            ("check", "/verify"), ("unknown", f"/verify?sha256={'0' * 64}"), ("keys", "/keys"),
            ("proof", f"/recordings/{archived.gap}/verify"), ("statement", f"/recordings/{archived.gap}/statement"),
        ):  # fmt: skip
            page.goto(base + path)
            look(page, f"{name}-{language}")
        log_in(page, archived.up, add_person(archived.up, staff), language, "/staff/archive")
        page.wait_for_url(f"{base}/staff/archive")
        page.goto(f"{base}/staff/recordings/{archived.damaged}")
        page.locator("form[action$=check] button").first.click()
        expect(page.locator(".govuk-notification-banner")).to_be_visible()
        look(page, f"asked-{language}")
        faulty = page.locator(".marks .faulty, .marks .held").first
        for _ in range(240):
            if faulty.count():
                break
            page.wait_for_timeout(500)
            page.reload()
        expect(faulty).to_be_visible()
        look(page, f"damaged-{language}")
        for name, path in (
            ("overview", "/staff/archive"), ("recordings", "/staff/recordings"),
            ("recording", f"/staff/recordings/{archived.gap}"),
            ("staff-statement", f"/staff/recordings/{archived.gap}/statement"),
            ("retention", "/staff/retention"), ("retention-set", "/staff/retention/set?keep=years&years=2"),
        ):  # fmt: skip
            page.goto(base + path)
            look(page, f"{name}-{language}")
        page.goto(f"{base}/staff/retention/set?keep=years&years=0")
        page.locator("form[action$=set] button").click()
        expect(page.locator(".govuk-error-summary a")).to_have_count(2)
        look(page, f"retention-wrong-{language}")
        page.locator("#of").select_option(index=1)
        page.locator("#years").fill("5")
        page.locator("form[action$=set] button").click()
        expect(page.locator("[data-due='0']")).to_be_visible()
        look(page, f"retention-sure-{language}")
        page.goto(f"{base}/staff/archive")
        expect(page.locator(".alarms li.severe").first).to_contain_text(re.compile("kasoro|faulty|Hakuna|Nothing"))
        page.goto(f"{base}/console")
        expect(page.locator(".alarm.severe [href*=staff]").first).to_be_visible()
        look(page, f"wall-{language}")
        page.goto(f"{base}/staff/recordings/{archived.damaged}/copies/local")
        resolve(page, f"{base}/staff/recordings/{archived.damaged}/copies/local", language)


def test_a_closed_recording_is_watched_at_the_desk(archived: Archived, browser: Browser) -> None:
    up, email = archived.up, "tazama@ega.go.tz"
    add_person(up, email)
    assert command(up.data, "recording", "embargo", archived.gap, "--reason", "bado").returncode == 0
    with opened(browser, viewport=PHONE) as page:
        asked: list[str] = []
        page.on("request", lambda request: asked.append(urlsplit(request.url).path))
        log_in(page, up, email, "sw", f"/staff/recordings/{archived.gap}")
        page.wait_for_url(f"**/staff/recordings/{archived.gap}")
        look(page, "closed-sw")
        player = page.locator("mb-player")
        player.locator("[data-panel=button]").click()
        expect(player).to_have_attribute("data-state", "playing")
        expect(player.locator("[data-time]")).to_contain_text("0:02")
        media = [path for path in asked if path.endswith(".m4s")]
        assert media and all(path.startswith("/sw/staff/recordings/") for path in media), media
        look(page, "watched-sw")
        page.context.clear_cookies()
        page.reload()
        assert "/staff/login" in page.url
    with opened(browser) as page:
        log_in(page, up, email, "en", f"/staff/recordings/{archived.gap}")
        page.wait_for_url(f"**/staff/recordings/{archived.gap}")
        look(page, "closed-en")
    assert command(up.data, "recording", "publish", archived.gap, "--reason", "tayari").returncode == 0


def test_a_file_with_a_mistyped_year_is_sent_again(archived: Archived, browser: Browser, tmp_path: Path) -> None:
    """What was said of a sending that is over leaves no bar of its progress behind."""
    up, file = archived.up, tmp_path / "barua.mp4"
    file.write_bytes(b"a letter")
    with opened(browser) as page:
        log_in(page, up, add_person(up, "sender@example.go.tz"), "en", "/staff/imports")
        sending = page.locator("form[data-upload]")
        for year, says in (("2062", "This time is still to come."), ("2019", "The file is here.")):
            sending.locator("#file").set_input_files(file)
            sending.locator("[name=at]").fill(f"{year}-06-12T10:00")
            sending.get_by_role("button", name="Send").click()
            expect(sending.get_by_role("status")).to_contain_text(says)
            expect(sending.locator("progress")).to_be_hidden()
            page.wait_for_timeout(1100)  # two presses within a second are one
        expect(page.locator("[data-imports]")).to_contain_text("This is no video or sound file")
        tag, again = (page.locator(f".side {one}").first.bounding_box() for one in (".govuk-tag", ".govuk-button"))
        assert tag and again and tag["height"] < again["height"], "the tag is as high as its words"
        look(page, "imports-en")


EMBARGO = {
    "sw": (
        "Imefungwa kwa umma", "Tuma", "Andika wakati ambao bado haujafika", "Faili limefika.",
        "Ina kizuizi cha muda tangu mwanzo, hadi",
    ),
    "en": (
        "Closed to the public", "Send", "Write a time that is still to come", "The file is here.",
        "Under embargo from the start, until",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("language", "viewport"), [("sw", PHONE), ("en", DESKTOP)], ids=["sw", "en"])
def test_a_file_is_sent_under_embargo(
    archived: Archived, browser: Browser, tmp_path: Path, language: str, viewport: dict[str, int]
) -> None:
    """What is wrong is told before a byte is sent, and nothing that was written is lost."""
    up, (closed, send, wrong, here, told) = archived.up, EMBARGO[language]
    (tmp_path / "siri.mp4").write_bytes(b"a letter")
    with opened(browser, viewport=viewport) as page:
        log_in(page, up, add_person(up, f"closed-{language}@ega.go.tz"), language, "/staff/imports")
        for size in (DESKTOP if viewport == PHONE else PHONE, viewport):
            page.set_viewport_size(size)  # type: ignore[arg-type]
            expect(page.locator("#embargo_reason")).to_be_hidden()
            look(page, f"imports-open-{language}")
            page.get_by_label(closed).check()
            expect(page.locator("#embargo_reason")).to_be_visible()
            look(page, f"imports-closed-{language}")
            page.get_by_label(closed).uncheck()
        page.get_by_label(closed).check()
        page.locator("#file").set_input_files(tmp_path / "siri.mp4")
        page.locator("#embargo_reason").fill("bado haijatangazwa")
        for until_, says in (("2020-01-01T10:00", wrong), ("2099-01-01T10:00", here)):
            page.locator("#embargo_until").fill(until_)
            page.get_by_role("button", name=send).click()
            expect(page.locator("[data-upload-says]")).to_contain_text(says)
            page.wait_for_timeout(1100)  # two presses within a second are one
        expect(page.locator("[data-imports] li").first).to_contain_text("bado haijatangazwa")
        expect(page.locator("[data-imports] li").first).to_contain_text(told)
        look(page, f"imports-sent-{language}")
        tag = page.locator(".side .govuk-tag").first
        tag.evaluate("(tag) => { tag.textContent = 'linatengenezwa, asilimia 100'; }")
        assert (tag.bounding_box() or {"height": 99})["height"] < 40, "a word is broken in two"
        cookies = page.context.cookies()
    with opened(browser, viewport=viewport, java_script_enabled=False) as page:
        page.context.add_cookies(cookies)  # type: ignore[arg-type]
        page.goto(f"{up.http_url}/{language}/staff/imports")
        page.get_by_label(closed).check()
        page.locator("#file").set_input_files(tmp_path / "siri.mp4")
        page.locator("#embargo_reason").fill("bado haijatangazwa")
        page.get_by_label(closed).uncheck()
        page.get_by_role("button", name=send).click()
        expect(page.locator(".govuk-error-summary a[href='#embargo']")).to_be_visible()
        expect(page.locator("#embargo_reason")).to_have_value("bado haijatangazwa")
        page.screenshot(path=f"{SHOTS}/imports-wrong-{language}.png", full_page=True) if SHOTS else None


def test_what_was_begun_in_the_open_does_not_go_on_under_embargo(
    archived: Archived, browser: Browser, tmp_path: Path
) -> None:
    """Nor in the open what was begun under embargo: the same file is chosen again, after a break."""
    up, file = archived.up, tmp_path / "siri.mp4"
    file.write_bytes(b"a letter")

    def sent(page: Page, is_closed: bool) -> None:
        page.goto(f"{up.http_url}/en/staff/imports")
        page.locator("#file").set_input_files(file)
        if is_closed:
            page.get_by_label("Closed to the public").check()
            page.locator("#embargo_reason").fill("bado")
        page.get_by_role("button", name="Send").click()

    with opened(browser) as page:
        log_in(page, up, add_person(up, "begun@ega.go.tz"), "en", "/staff/imports")
        page.wait_for_url("**/en/staff/imports")
        pieces = re.compile(r"/staff/uploads/\w+$")
        page.route(pieces, lambda route: route.abort())
        for is_closed in (False, True):
            sent(page, is_closed)
            expect(page.locator("[data-upload-says]")).to_contain_text("The line is broken")
        page.unroute(pieces)
        sent(page, is_closed=False)
        expect(page.locator("[data-upload-says]")).to_contain_text("The file is here.")
        expect(page.locator("[data-imports] li").first).to_contain_text(
            "Under embargo from the start, until it is lifted: bado"
        )


def resolve(page: Page, address: str, language: str) -> None:
    """What is lost in both places is shown; in English it is put on record too, and then both copies are whole."""
    page.locator("form[action$=plan] button").click()
    wait_for(page, "form[action$=order]", address)
    expect(page.locator("#lost + p + ul li")).to_have_count(1)
    look(page, f"plan-{language}")
    if language == "sw":
        return
    page.get_by_role("button", name="Order exactly this").click()
    expect(page.locator(".govuk-error-summary")).to_be_visible()
    look(page, f"plan-error-{language}")
    page.locator("#reason").fill("seen by two people")
    page.get_by_role("button", name="Order exactly this").click()
    wait_for(page, "text=Lost: a gap", address)
    look(page, f"done-{language}")
    whole = address.partition("/copies")[0]
    wait_for(page, ".marks .whole >> nth=1", whole)
    expect(page.locator(".log")).to_contain_text("loss put on record")
    look(page, f"resolved-{language}")


def wait_for(page: Page, selector: str, address: str) -> None:
    for _ in range(240):
        if page.locator(selector).count():
            break
        page.wait_for_timeout(500)
        page.goto(address)
    expect(page.locator(selector).first).to_be_visible()
