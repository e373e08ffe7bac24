"""Plays a stream in Chromium with an engine that is not ours: stock hls.js or Shaka Player, both from npm."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import psutil
from playwright.sync_api import Page, sync_playwright

_MODULES = Path(__file__).parents[2] / "node_modules"
_PAGE = "http://viewer.test/"  # never leaves the browser: the route below answers
CHROMIUM = Path(__file__).with_name("chromium") if shutil.which("chromium") else None
ARGUMENTS = [
    "--disable-features=LocalNetworkAccessChecks",
    "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--autoplay-policy=no-user-gesture-required",
]  # fmt: skip


class Engine(Enum):
    HLS_JS = _MODULES / "hls.js/dist/hls.min.js"
    SHAKA = _MODULES / "shaka-player/dist/shaka-player.hls.js"


@dataclass(slots=True, frozen=True)
class Playback:
    engine: str
    start_ms: float | None
    stalls_s: list[float]  # when, from the start
    stalled_ms: float
    latency_s: float  # median over the time played, from PROGRAM-DATE-TIME
    target_s: float | None  # what the engine aims at
    fatal: list[str]
    played_s: float


@contextmanager
def chromium() -> Iterator[Callable[[], Page]]:
    """A headless browser; the call opens a page of its own."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        try:
            yield lambda: browser.new_context().new_page()
        finally:
            browser.close()


def browsers() -> list[int]:
    """Process ids of the browsers that these tests have started, and of what those have."""
    found = []
    for one in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if one.name().startswith("chrom"):
                found.append(one.pid)
    return found


def open_player(page: Page, engine: Engine, url: str, options: dict[str, Any] | None = None) -> None:
    page.route(f"{_PAGE}**", lambda route: route.fulfill(body="<!doctype html><video muted></video>",
                                                         content_type="text/html"))  # fmt: skip
    page.goto(_PAGE)
    page.add_script_tag(path=engine.value)
    page.add_script_tag(path=Path(__file__).with_name("engines.js"))
    play = "playHls" if engine is Engine.HLS_JS else "playShaka"
    page.evaluate(
        f"([url, options]) => {{ {play}(document.querySelector('video'), url, options); }}",
        [url, options or {}],
    )


def playback(page: Page, settle_s: float = 4.0) -> Playback:
    """What was seen so far; the latency leaves out the first `settle_s` seconds, in which an engine catches up."""
    report = page.evaluate("({...window.report, fatal: window.report.fatal()})")
    latencies = sorted(report["latenciesS"][int(settle_s * 20) :]) or [float("inf")]
    return Playback(
        report["engine"],
        report["startMs"],
        report["stallsS"],
        report["stalledMs"],
        latencies[len(latencies) // 2],
        report["targetS"],
        report["fatal"],
        page.evaluate("document.querySelector('video').currentTime"),
    )
