"""The engineers' preview in Chromium on real feeds: how late it is, what viewers cost, limits, and every way to end."""

import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from core.media import flv
from core.media.packet import VideoTrack
from ingest.preview.opus import Converter
from tests.conformance.engines import CHROMIUM
from tests.live.media_files import FFMPEG, make_flv, publish
from tests.live.preview_kit import ask_media, clock_feed, meters, page_server
from tests.live.test_health import feed_of
from tests.up import Up, get, until

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
MAX_DELAY_MS = 1000
FRAMES = 150
ATTEMPTS = 3  # what we do too late is late in each of them, a busy machine in one


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def site(mbashara_up: Up) -> Iterator[str]:
    with page_server(mbashara_up) as url:
        yield url


@pytest.fixture
def page(browser: Browser, site: str) -> Iterator[Page]:
    opened = browser.new_page()
    opened.goto(site)
    opened.wait_for_function("window.ready")
    yield opened
    opened.close()


def watch(page: Page, slug: str, role: str = "primary", **options: object) -> Any:
    """None, or why not."""
    return page.evaluate("([url, options]) => watch(url, options)", [f"/preview?channel={slug}&role={role}", options])


def wait_frames(page: Page, count: int, viewer: int = 0) -> None:
    page.wait_for_function(f"viewers[{viewer}].frames >= {count}", timeout=60_000)


def wait_ended(page: Page, viewer: int = 0) -> None:
    page.wait_for_function(f"viewers[{viewer}].states.at(-1) === 'ended'", timeout=20_000)


def timed_meters(up: Up, slug: str) -> tuple[dict[str, Any], float, float]:
    """And between which moments they were read."""
    early_s = time.monotonic()
    return meters(up, slug), early_s, time.monotonic()


def new_feed(up: Up, slug: str) -> tuple[str, str]:
    keys = up.channel_add(slug)
    return f"{up.rtmp_url}/{keys.primary_key}", f"{up.rtmp_url}/{keys.backup_key}"


def wait_feed(up: Up, slug: str) -> None:
    until(lambda: len(feed_of(up, slug).get("tracks", ())) == 2, "no feed")


def test_the_preview_is_under_a_second_late(mbashara_up: Up, page: Page, capsys: pytest.CaptureFixture[str]) -> None:
    with clock_feed(new_feed(mbashara_up, "saa")[0]):
        wait_feed(mbashara_up, "saa")
        for number in range(ATTEMPTS):
            assert watch(page, "saa") is None
            wait_frames(page, FRAMES + 25, number)
            viewer = page.evaluate(f"viewers[{number}]")
            delays = sorted(viewer["delays"][25:])
            p50, p95 = statistics.median(delays), delays[int(len(delays) * 0.95)]
            with capsys.disabled():
                print(f"\npreview: {p50:.0f} ms p50, {p95} ms p95, first picture after {viewer['firstMs']} ms")
            if p95 < MAX_DELAY_MS:
                break
            page.evaluate("([number]) => viewers[number].stop()", [number])
        assert p95 < MAX_DELAY_MS
        assert viewer["states"][:2] == ["connecting", "playing"]


def test_viewers_share_one_encode_and_the_meters(mbashara_up: Up, page: Page) -> None:
    with clock_feed(new_feed(mbashara_up, "mbili")[0]):
        wait_feed(mbashara_up, "mbili")
        assert meters(mbashara_up, "mbili") == {}
        assert watch(page, "mbili") is None and watch(page, "mbili") is None
        wait_frames(page, 50, viewer=0)
        before, early_s, began_s = timed_meters(mbashara_up, "mbili")
        wait_frames(page, 125, viewer=1)
        after, ended_s, late_s = timed_meters(mbashara_up, "mbili")
        assert after["viewers"] == 2
        packets = after["opus_packets"] - before["opus_packets"]
        assert 50 * 0.75 * (ended_s - began_s) <= packets <= 50 * 1.25 * (late_s - early_s), "fifty a second, once"
        assert after["levels"]["peak_dbfs"] == [pytest.approx(-21, abs=1)] * 2
        assert after["levels"]["momentary_lufs"] == pytest.approx(after["levels"]["short_term_lufs"], abs=0.5)
        page.evaluate("viewers.forEach((viewer) => viewer.stop())")
        until(lambda: meters(mbashara_up, "mbili") == {}, "still decoding for nobody")


def test_a_feed_that_is_held_is_seen_too(mbashara_up: Up, page: Page) -> None:
    primary, backup = new_feed(mbashara_up, "akiba")
    with clock_feed(primary):
        wait_feed(mbashara_up, "akiba")
        with clock_feed(backup):
            until(lambda: watch(page, "akiba", "backup") is None, "no backup")
            page.wait_for_function("viewers.at(-1).frames >= 50", timeout=60_000)
            assert feed_of(mbashara_up, "akiba")["role"] == "primary"


def test_one_viewer_too_many_is_refused_in_words(mbashara_up: Up, page: Page) -> None:
    with clock_feed(new_feed(mbashara_up, "wengi")[0]):
        wait_feed(mbashara_up, "wengi")
        assert [watch(page, "wengi") for _ in range(4)] == [None] * 4
        refused = watch(page, "wengi")
        assert (refused["status"], refused["reason"]) == (503, "feedFull")
        assert refused["text"]["en"].startswith("This feed has as many previews")
        assert refused["text"]["sw"].startswith("Mlisho huu")
        page.evaluate("viewers[0].stop()")
        until(lambda: watch(page, "wengi") is None, "the place of one that left is not free")


def test_a_feed_that_ends_ends_its_previews(mbashara_up: Up, page: Page) -> None:
    with clock_feed(new_feed(mbashara_up, "onyesho-mwisho")[0]) as feed:
        wait_feed(mbashara_up, "onyesho-mwisho")
        assert watch(page, "onyesho-mwisho") is None
        wait_frames(page, 25)
        feed.stop()
        wait_ended(page)
        assert watch(page, "onyesho-mwisho")["reason"] == "noFeed"


def test_a_browser_that_is_closed_is_cleaned_up(mbashara_up: Up, browser: Browser, site: str) -> None:
    with clock_feed(new_feed(mbashara_up, "funga")[0]):
        wait_feed(mbashara_up, "funga")
        page = browser.new_page()
        page.goto(site)
        page.wait_for_function("window.ready")
        assert watch(page, "funga") is None
        wait_frames(page, 25)
        assert meters(mbashara_up, "funga")["viewers"] == 1
        page.close()
        until(lambda: meters(mbashara_up, "funga") == {}, "the session outlives its browser")


def test_b_frames_are_told_and_their_sound_is_heard(mbashara_up: Up, page: Page, tmp_path: Path) -> None:
    encoder = publish(make_flv(tmp_path / "b.flv", 40, b_frames=2), new_feed(mbashara_up, "fremu")[0], is_endless=True)
    try:
        wait_feed(mbashara_up, "fremu")
        until(lambda: feed_of(mbashara_up, "fremu")["measures"]["reorder_s"] > 0, "no B-frames")
        refused = watch(page, "fremu")
        assert (refused["status"], refused["reason"]) == (409, "bFrames")
        assert watch(page, "fremu", picture=False) is None
        until(lambda: bool(meters(mbashara_up, "fremu").get("levels")), "no sound")
    finally:
        encoder.terminate()
        encoder.wait(60)


def test_the_public_edge_knows_no_previews(mbashara_up: Up) -> None:
    assert get(f"{mbashara_up.http_url}/preview/meters?channel=saa&role=primary")[0] == 404
    assert ask_media(mbashara_up, "POST", "/preview?channel=nobody&role=primary", b"v=0")[0] == 404
    assert ask_media(mbashara_up, "DELETE", "/preview/nobody?channel=saa")[0] == 404


def test_meters_agree_with_ffmpeg(tmp_path: Path) -> None:
    """On the same AAC, of noise and a tone that differ by channel."""
    path = tmp_path / "sound.flv"
    source = "aevalsrc=0.3*sin(2*PI*440*t)|0.1*random(0):s=44100:d=8"
    encode = f"{FFMPEG} -v error -f lavfi -i {source} -c:a aac -b:a 128k {path}"
    subprocess.run(encode.split(), check=True, timeout=60)
    items = flv.TagReader().feed(path.read_bytes())
    ours = Converter().convert([item for item in items if not isinstance(item, VideoTrack)]).levels
    listen = f"{FFMPEG} -hide_banner -nostats -i {path} -af ebur128=framelog=info -f null -"
    said = subprocess.run(listen.split(), check=True, timeout=60, capture_output=True, text=True).stderr
    theirs = re.findall(r"M: *(-[0-9.]+) *S: *(-[0-9.]+)", said)[-1]
    assert ours is not None
    assert ours.momentary_lufs == pytest.approx(float(theirs[0]), abs=0.2)
    assert ours.short_term_lufs == pytest.approx(float(theirs[1]), abs=0.2)
    assert ours.peak_dbfs[0] == pytest.approx(-10.5, abs=0.5) and ours.peak_dbfs[0] > ours.peak_dbfs[1]


def test_a_process_without_previews_loads_none_of_it() -> None:
    line = "import sys, mbashara.media; sys.exit(bool({'aiortc', 'av', 'babel'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", line], timeout=60).returncode == 0
