"""Follows a live channel as a strict client would: every rendition, every part, by blocking reload, delta and plain.

`watch` only collects; `judge` runs the rule checker over what was collected, so that checking cannot slow the polling.
"""

import asyncio
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from urllib.parse import urljoin

import httpx

from player import conformance
from player.conformance import Violation

# Loaded one after the other, playlists differ by what was published meanwhile: their reports are checked over time.
_ANY_PARTS = 1_000_000


@dataclass(slots=True)
class Load:
    """One playlist as it came, and when (monotonic seconds)."""

    at_s: float
    text: str


@dataclass(slots=True)
class Rendition:
    url: str
    is_video: bool
    reloads: list[Load] = field(default_factory=list)  # full playlists by blocking reload, in order
    deltas: list[tuple[str, str, str]] = field(default_factory=list)  # last full one, delta, full one of the instant
    files: dict[str, bytes] = field(default_factory=dict)  # inits, parts, segments by URI
    refused: list[str] = field(default_factory=list)  # answers that were no playlist or no media


@dataclass(slots=True)
class Watched:
    multivariant: str = ""
    renditions: dict[str, Rendition] = field(default_factory=dict)
    together: list[dict[str, str]] = field(default_factory=list)  # plain loads of all renditions at one moment
    ended: bool = False

    @property
    def texts(self) -> list[str]:
        """Every distinct playlist that was seen, deltas too."""
        full = [load.text for rendition in self.renditions.values() for load in rendition.reloads]
        deltas = [delta for rendition in self.renditions.values() for _, delta, _ in rendition.deltas]
        plain = [text for texts in self.together for text in texts.values()]
        return list(dict.fromkeys([self.multivariant, *full, *deltas, *plain]))


def rendition_urls(multivariant_url: str, text: str) -> dict[str, tuple[str, bool]]:
    """Name to (URL, is video) of every rendition that the multivariant playlist names."""
    found = {}
    for uri in re.findall(r'^#EXT-X-MEDIA:.*?URI="([^"]+)"', text, re.M):
        found[uri.split("/")[-2]] = (urljoin(multivariant_url, uri), False)
    for line, uri in re.findall(r"^#EXT-X-STREAM-INF:(.*)\n([^#\n].*)$", text, re.M):
        found[uri.split("/")[-2]] = (urljoin(multivariant_url, uri), "RESOLUTION" in line)
    return found


async def watch(multivariant_url: str, seconds: float, is_over: Callable[[], bool] = lambda: False) -> Watched:
    """Collect for `seconds`, or until it is over or the broadcast ends."""
    seen = Watched()
    async with httpx.AsyncClient(timeout=60, limits=httpx.Limits(max_connections=None)) as client:
        seen.multivariant = (await client.get(multivariant_url)).raise_for_status().text
        for name, (url, is_video) in rendition_urls(multivariant_url, seen.multivariant).items():
            seen.renditions[name] = Rendition(url, is_video)
        until_s = time.monotonic() + seconds

        def goes_on() -> bool:
            return time.monotonic() < until_s and not is_over()

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_load_together(client, seen, goes_on))
            for rendition in seen.renditions.values():
                tasks.create_task(_follow(client, rendition, goes_on))
    return seen


async def _follow(client: httpx.AsyncClient, rendition: Rendition, goes_on: Callable[[], bool]) -> None:
    text = (await client.get(rendition.url)).raise_for_status().text
    rendition.reloads.append(Load(time.monotonic(), text))
    async with asyncio.TaskGroup() as fetches:
        while goes_on() and not conformance.parse(text).is_ended:
            fetches.create_task(_fetch_news(client, rendition, conformance.parse(text)))
            text = await _reload(client, rendition, text)
        fetches.create_task(_fetch_news(client, rendition, conformance.parse(text)))


async def _reload(client: httpx.AsyncClient, rendition: Rendition, text: str) -> str:
    """One blocking reload for the next part, full and delta at once; the answer is the newest full playlist."""
    now = conformance.parse(text)
    msn, part = now.last_part if now.open.parts else (now.open.msn, -1)
    wanted = {"_HLS_msn": str(msn), "_HLS_part": str(part + 1)}
    full, delta = await asyncio.gather(
        client.get(rendition.url, params=wanted),
        client.get(rendition.url, params={**wanted, "_HLS_skip": "YES"}),
    )
    if full.status_code != 200 or delta.status_code != 200:
        rendition.refused.append(f"{wanted}: {full.status_code}, as a delta {delta.status_code}")
        await asyncio.sleep(0.5)
        return text
    rendition.reloads.append(Load(time.monotonic(), full.text))
    if conformance.parse(delta.text).last_part == conformance.parse(full.text).last_part:
        rendition.deltas.append((text, delta.text, full.text))
    return full.text


async def _fetch_news(client: httpx.AsyncClient, rendition: Rendition, now: conformance.MediaPlaylist) -> None:
    """Fetch parts, segments and maps that are listed and not yet here; gaps have nothing to fetch."""
    recent = now.listed[-4:]
    wanted = [part.uri for segment in recent for part in segment.parts if not part.is_gap]
    wanted += [segment.uri for segment in recent if segment.uri and not segment.is_gap]
    wanted += [segment.map_uri for segment in recent if segment.map_uri]
    for uri in dict.fromkeys(wanted):
        if uri not in rendition.files:
            rendition.files[uri] = b""
            answer = await client.get(urljoin(rendition.url, uri))
            rendition.files[uri] = answer.content
            if answer.status_code != 200:
                rendition.refused.append(f"{uri}: {answer.status_code}")


async def _load_together(client: httpx.AsyncClient, seen: Watched, goes_on: Callable[[], bool]) -> None:
    while goes_on():
        names = list(seen.renditions)
        answers = await asyncio.gather(*(client.get(seen.renditions[name].url) for name in names))
        seen.together.append({name: a.text for name, a in zip(names, answers, strict=True) if a.status_code == 200})
        await asyncio.sleep(0.9)


def judge(seen: Watched, slack_s: float = 1.0) -> list[str]:
    """Everything that our checker has against what was seen, one line each."""
    found = [f"multivariant: {v}" for v in conformance.check_multivariant(seen.multivariant)]
    for name, rendition in seen.renditions.items():
        found += [f"{name}: refused {reason}" for reason in rendition.refused]
        found += [f"{name}: {line}" for line in _judge_reloads(rendition, slack_s)]
        found += [f"{name}: delta: {v}" for base, delta, full in rendition.deltas
                  for v in conformance.check_delta(base, delta, full)]  # fmt: skip
        found += [f"{name}: bytes: {v}" for v in judge_bytes(rendition)]
    for texts in seen.together:
        found += [f"together: {v}" for v in conformance.check_renditions(texts, report_slack_parts=_ANY_PARTS)]
    for first, before, now, after in zip(*(seen.together[shift:] for shift in range(4)), strict=False):
        # A playlist is as old as its own last change, and its reports with it.
        fresh = {name: text for name, text in now.items() if text != before.get(name, text)}
        found += [f"reports: {v}" for v in conformance.check_reports_between(first, fresh, after)]
    return list(dict.fromkeys(found))


def _judge_reloads(rendition: Rendition, slack_s: float) -> list[str]:
    found = [str(v) for load in rendition.reloads for v in conformance.check_media_playlist(load.text)]
    segment_seen = rendition.reloads[0]
    for before, after in pairwise(rendition.reloads):
        for violation in conformance.check_reload(before.text, after.text, after.at_s - before.at_s, slack_s):
            found.append(str(violation))
        if _last_msn(after.text) != _last_msn(segment_seen.text):
            segment_seen = after
        # A segment's lateness only shows against the load in which the last one was new.
        late = conformance.check_reload(segment_seen.text, after.text, after.at_s - segment_seen.at_s, slack_s)
        found += [str(violation) for violation in late if violation.rule == "6.2.2-segment-late"]
    return found


def _last_msn(text: str) -> int:
    return conformance.parse(text).open.msn


def judge_bytes(rendition: Rendition) -> list[Violation]:
    """Initialization segments, parts and whole segments that were fetched, against the lines that named them."""
    segments = {s.msn: s for load in rendition.reloads for s in conformance.parse(load.text).segments if s.parts}
    found: list[Violation] = []
    clock: conformance.Clock | None = None
    before: conformance.Segment | None = None
    for msn, segment in sorted(segments.items()):
        data = rendition.files.get(segment.uri, b"")
        init = rendition.files.get(segment.map_uri or "", b"")
        if not data or not init:
            clock = None
            continue
        fresh = before is None or before.msn != msn - 1 or segment.follows_discontinuity
        if before is None or before.map_uri != segment.map_uri:
            found += conformance.check_init(init)
        if clock is None or fresh:
            clock = conformance.Clock(timescale(init))
        violations, clock = conformance.check_segment(segment, data, rendition.files, clock, rendition.is_video)
        found += violations
        before = segment
    return found


def timescale(init: bytes) -> int:
    """Ticks per second of the only track: mdhd, version 0 or 1 (ISO 14496-12, 8.4.2)."""
    at = init.index(b"mdhd") + 4
    return int.from_bytes(init[at + 12 : at + 16] if init[at] == 0 else init[at + 20 : at + 24], "big")
