"""The console's pulse: media is asked once a second for all who watch, and each is told what concerns them.

Server-sent events. `numbers` is what changes all the time, the same bytes for everyone; `changed` says that words of a
channel are other ones now: the page fetches itself anew. `alarms` says the same of its alarms.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from core.broadcasts.viewers import NOBODY, Viewers
from ingest.console import Media, Told
from ingest.console.health_words import numbers

BEAT_S = 0.5
MAX_WATCHERS = 1000
LASTS_BEATS = 600
"""A stream ends after five minutes and the browser asks for another: a right taken away is soon gone here too."""
MACHINE = ""
"""Whose alarms concern everyone, in the place of a channel."""
Versions = Mapping[str, str]
"""By a channel's slug: what stands in the database of its broadcast, as one comparable word."""


@dataclass(frozen=True, slots=True)
class Beat:
    """What was seen at one moment, by the channel's slug."""

    numbers: Mapping[str, str] = field(default_factory=dict)
    words: Mapping[str, str] = field(default_factory=dict)
    alarms: Mapping[str, str] = field(default_factory=dict)

    def told_after(self, last: "Beat", slugs: Collection[str]) -> str:
        """The events for someone who watches these channels and knows the last beat."""
        changed = [slug for slug in slugs if self.words.get(slug) != last.words.get(slug)]
        moved = [now for slug in slugs if (now := self.numbers.get(slug)) and now != last.numbers.get(slug)]
        alarmed = any(self.alarms.get(slug) != last.alarms.get(slug) for slug in (*slugs, MACHINE))
        called = "event: alarms\ndata: 1\n\n" if alarmed else ""
        told = f"event: changed\ndata: {json.dumps(changed)}\n\n" if changed else ""
        return called + told + (f"event: numbers\ndata: [{','.join(moved)}]\n\n" if moved else "")


def beat(feeds: Collection[Told], versions: Versions, viewers: Mapping[str, Viewers] | None = None) -> Beat:
    by_slug: dict[str, list[Told]] = {}
    for feed in feeds:
        by_slug.setdefault(feed["channel"], []).append(feed)
    words = {
        slug: versions.get(slug, "") + "".join(map(_words, by_slug.get(slug, ()))) for slug in {*by_slug, *versions}
    }
    watched = {*by_slug, *versions} if viewers is not None else set(by_slug)
    return Beat({slug: _numbers(slug, by_slug.get(slug, []), viewers) for slug in watched}, words)


def _numbers(slug: str, feeds: list[Told], viewers: Mapping[str, Viewers] | None) -> str:
    shown: dict[str, object] = {feed["role"]: numbers(feed) for feed in feeds}
    if viewers is not None:
        shown["viewers"] = {"now": str(viewers.get(slug, NOBODY))}
    return json.dumps({"channel": slug, **shown}, separators=(",", ":"))


def _words(feed: Told) -> str:
    """All that the page says in words of a feed."""
    issues = [issue["type"] for issue in feed["issues"]]
    return json.dumps([feed["feed"], feed["role"], feed["on_air"], feed["state"], issues, feed["tracks"]])


class Pulse:
    """Beats while someone watches. `read_versions` asks the database, in a thread."""

    def __init__(
        self, media: Media, read_versions: Callable[[], Versions], read_alarms: Callable[[Sequence[Told]], Versions]
    ) -> None:
        self._media, self._read_versions, self._read_alarms = media, read_versions, read_alarms
        self._beat = Beat()
        self._watchers = 0
        self._next = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def watch(self, slugs: Collection[str]) -> AsyncIterator[str]:
        """Events for one page, until it goes away. The first beat tells everything."""
        if self._watchers >= MAX_WATCHERS:
            return
        self._watchers += 1
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
        try:
            known = self._beat
            yield "retry: 500\n\n"
            for _ in range(LASTS_BEATS):
                await self._next.wait()
                now = self._beat
                yield now.told_after(known, slugs) or ": still here\n\n"
                known = now
        finally:
            self._watchers -= 1

    async def _run(self) -> None:
        while self._watchers:
            self._beat = await asyncio.to_thread(self._look)
            ring, self._next = self._next, asyncio.Event()
            ring.set()
            await asyncio.sleep(BEAT_S)

    def _look(self) -> Beat:
        feeds = self._media.feeds()
        seen = beat(feeds, self._read_versions(), self._media.viewers())
        return replace(seen, alarms=self._read_alarms(feeds))
