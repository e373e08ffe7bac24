"""The console's pulse: media is asked twice a second for all who watch, and each is told what concerns them.

Server-sent events. `numbers` is what changes all the time. A wall is told `cards`: the HTML of each card that is
another one now. Any other page is told `changed`, that words of its channel are other ones: it fetches itself anew.
`alarms` says that its alarms are other ones. What is told is made once for all who watch the same channels in the same
language.

An event's id is the beat that it brought. Who comes back with it, or with the one that its page was made at, is told
all cards since; who comes with one of another process fetches the page anew.
"""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

import structlog

from core.broadcasts.viewers import NOBODY, Viewers
from core.database import DatabaseAway
from core.web.i18n import Language
from ingest.console import Media, Told
from ingest.console.cards import Card, Cards, StillOf, facts
from ingest.console.health_words import numbers
from ingest.console.levels import level_numbers
from ingest.console.load import Load
from ingest.console.queries import OnWall

log: structlog.stdlib.BoundLogger = structlog.get_logger("mbashara.console")

BEAT_S = 0.5
MAX_WATCHERS = 1000
LASTS_BEATS = 600
"""A stream ends after five minutes and the browser asks for another: a right taken away is soon gone here too."""
MACHINE = ""
"""Whose alarms concern everyone, in the place of a channel."""
QUIET_BEATS = 20
"""A stream says that it is still here once in so many: a page that hears nothing at all opens another."""
STILL_HERE = b"event: beat\ndata: 1\n\n"
FULL_BEATS = 60
"""Once in so many every channel is read: new ones, new names, plans of another day."""
Versions = Mapping[str, str]
"""By a channel's slug: what stands in the database of its broadcast, as one comparable word."""


@dataclass(frozen=True, slots=True)
class Watch:
    """What a page watches. `language` is a wall's, None on any other page; `has_load`: the platform's staff's."""

    slugs: frozenset[str]
    language: Language | None = None
    has_load: bool = False


@dataclass(frozen=True, slots=True)
class Beat:
    """What was seen at one moment, by the channel's slug."""

    numbers: Mapping[str, str] = field(default_factory=dict)
    words: Mapping[str, str] = field(default_factory=dict)
    number: int = 0
    cards: Mapping[str, Card] = field(default_factory=dict)
    load: Load | None = None
    alarms: Mapping[str, str] = field(default_factory=dict)
    told: dict[tuple[Watch, int, int], bytes] = field(default_factory=dict)
    """What was made for watchers of this beat, by what they watch and the beat they knew."""

    def told_after(self, last: "Beat", slugs: Collection[str]) -> str:
        """The events for someone who watches these channels and knows the last beat."""
        changed = [slug for slug in slugs if self.words.get(slug) != last.words.get(slug)]
        told = f"event: changed\ndata: {json.dumps(changed)}\n\n" if changed else ""
        return self.alarms_after(last, slugs) + told + self.numbers_after(last, slugs)

    def alarms_after(self, last: "Beat", slugs: Collection[str]) -> str:
        is_other = any(self.alarms.get(slug) != last.alarms.get(slug) for slug in (*slugs, MACHINE))
        return "event: alarms\ndata: 1\n\n" if is_other else ""

    def numbers_after(self, last: "Beat", slugs: Collection[str]) -> str:
        moved = [now for slug, now in self.numbers.items() if slug in slugs and now != last.numbers.get(slug)]
        return f"event: numbers\ndata: [{','.join(moved)}]\n\n" if moved else ""

    def cards_after(self, number: int, slugs: Collection[str]) -> list[Card]:
        return [card for slug, card in self.cards.items() if card.beat > number and slug in slugs]


def beat(feeds: Collection[Told], versions: Versions, viewers: Mapping[str, Viewers] | None = None) -> Beat:
    of = by_slug(feeds)
    words = {slug: versions.get(slug, "") + "".join(map(_words, of.get(slug, ()))) for slug in {*of, *versions}}
    watched = dict.fromkeys((*of, *versions) if viewers is not None else of)
    return Beat({slug: _numbers(slug, of.get(slug, []), viewers) for slug in watched}, words)


def by_slug(feeds: Collection[Told]) -> dict[str, list[Told]]:
    found: dict[str, list[Told]] = {}
    for feed in feeds:
        found.setdefault(feed["channel"], []).append(feed)
    return found


def _numbers(slug: str, feeds: list[Told], viewers: Mapping[str, Viewers] | None) -> str:
    shown: dict[str, object] = {feed["role"]: {**numbers(feed), **level_numbers(feed)} for feed in feeds}
    if viewers is not None:
        shown["viewers"] = {"now": str(viewers.get(slug, NOBODY))}
    return json.dumps({"channel": slug, **shown}, separators=(",", ":"))


def _words(feed: Told) -> str:
    """All that the page says in words of a feed."""
    issues = [issue["type"] for issue in feed["issues"]]
    return json.dumps([feed["feed"], feed["role"], feed["on_air"], feed["state"], issues, feed["tracks"]])


class Rows:
    """The database as the pulse asks it, in a thread. What it said last stands while it is away."""

    def __init__(
        self,
        read_versions: Callable[[], Versions],
        read_wall: Callable[[Collection[str] | None], Sequence[OnWall]],
        read_alarms: Callable[[Sequence[Told]], Versions],
    ) -> None:
        self._read_versions, self._read_wall, self._read_alarms = read_versions, read_wall, read_alarms
        self._versions: Versions = {}
        self._alarms: Versions = {}
        self._known: dict[str, OnWall] = {}

    def versions(self) -> Versions:
        with suppress(DatabaseAway):
            self._versions = self._read_versions()
        return self._versions

    def alarms(self, feeds: Sequence[Told]) -> Versions:
        with suppress(DatabaseAway):
            self._alarms = self._read_alarms(feeds)
        return self._alarms

    def read(self, slugs: Collection[str] | None) -> bool:
        """None: of all channels. False: the database is away."""
        try:
            self._known.update((row.slug, row) for row in self._read_wall(slugs))
        except DatabaseAway:
            return False
        return True

    def known(self, slugs: Collection[str] | None) -> list[OnWall]:
        return [self._known[slug] for slug in (self._known if slugs is None else slugs) if slug in self._known]


@dataclass(slots=True)
class LoadTold:
    """What the machine has to do, rendered once for all who see it."""

    read: Callable[[], Load]
    render: Callable[[Language, Load], str]
    _made: dict[Language, tuple[Load, str]] = field(default_factory=dict)

    def html(self, language: Language, load: Load) -> str:
        known = self._made.get(language)
        if known is None or known[0] is not load:
            known = self._made[language] = load, self.render(language, load)
        return known[1]

    def told_after(self, last: Load | None, now: Load | None, language: Language) -> str:
        return "" if now is None or now is last else f"event: load\ndata: {json.dumps(self.html(language, now))}\n\n"


class Pulse:
    """Beats while someone watches."""

    def __init__(self, media: Media, rows: Rows, cards: Cards, still_of: StillOf, load: LoadTold) -> None:
        self._media, self._rows, self._cards, self._still_of, self.load = media, rows, cards, still_of, load
        self._process = secrets.token_hex(4)
        self._beat = Beat()
        self._unread: set[str] = set()
        self._watching: dict[Watch, int] = {}
        self._next = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def mark(self) -> str:
        """The beat that a page made now is as new as."""
        return self._mark(self._beat.number)

    async def watch(self, watch: Watch, since: str = "") -> AsyncIterator[bytes]:
        """Events for one page, until it goes away. `since` is the mark that a wall knows."""
        if sum(self._watching.values()) >= MAX_WATCHERS:
            return
        self._watching[watch] = self._watching.get(watch, 0) + 1
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
        try:
            known, number = self._beat, self._number(since)
            yield b"retry: 500\n\n"
            if watch.language is not None and number is None:
                yield f"event: changed\nid: {self.mark}\ndata: []\n\n".encode()
            number = known.number if number is None else number
            for count in range(LASTS_BEATS):
                await self._next.wait()
                now = self._beat
                told = self._told(now, known, number, watch) + (STILL_HERE if count % QUIET_BEATS == 0 else b"")
                if told:
                    yield told
                known, number = now, now.number
        finally:
            self._watching[watch] -= 1
            if not self._watching[watch]:
                del self._watching[watch]

    def _mark(self, number: int) -> str:
        return f"{self._process}.{number}"

    def _number(self, mark: str) -> int | None:
        """None: it is not of this process."""
        process, _, number = mark.partition(".")
        return int(number) if process == self._process and number.isdecimal() and len(number) < 16 else None

    def _told(self, now: Beat, known: Beat, number: int, watch: Watch) -> bytes:
        """Every watcher who kept up knows the same beat: one makes it, the others take it."""
        key = (watch, number, known.number)
        if key not in now.told:
            is_wall = watch.language is not None
            text = self._of_wall(now, known, number, watch) if is_wall else now.told_after(known, watch.slugs)
            now.told[key] = text.encode()
        return now.told[key]

    def _of_wall(self, now: Beat, known: Beat, number: int, watch: Watch) -> str:
        assert watch.language is not None
        cards = [card.told(watch.language, self._cards.render) for card in now.cards_after(number, watch.slugs)]
        told = f"event: cards\nid: {self._mark(now.number)}\ndata: [{','.join(cards)}]\n\n" if cards else ""
        if watch.has_load:
            told += self.load.told_after(known.load, now.load, watch.language)
        return now.alarms_after(known, watch.slugs) + told + now.numbers_after(known, watch.slugs)

    async def _run(self) -> None:
        while self._watching:
            languages = {watch.language for watch in self._watching if watch.language is not None}
            try:
                self._beat = await asyncio.to_thread(self._look, languages)
            except Exception:  # the top of this task: the next beat may do better
                log.exception("the pulse missed a beat")
            ring, self._next = self._next, asyncio.Event()
            ring.set()
            await asyncio.sleep(BEAT_S)

    def _look(self, languages: Collection[Language]) -> Beat:
        """Only what may be another card now is read; it is rendered here, not in the loop that all wait for."""
        last, feeds, now = self._beat, self._media.feeds(), datetime.now(UTC)
        viewers = self._media.viewers()
        seen, of, number = beat(feeds, self._rows.versions(), viewers), by_slug(feeds), last.number + 1
        changed = {slug for slug in {*seen.words, *last.words} if seen.words.get(slug) != last.words.get(slug)}
        changed |= self._unread
        is_full = number % FULL_BEATS == 1
        if changed or is_full:
            self._unread = set() if self._rows.read(None if is_full else changed) else changed
        rows = self._rows.known(None if is_full else {*changed, *of})  # a feed's first picture comes without a word
        found = [facts(row, of.get(row.slug, ()), now, self._still_of, viewers) for row in rows]
        fresh = self._cards.take(found, number)
        for card in fresh:
            for language in languages:
                card.told(language, self._cards.render)
        alarms = self._rows.alarms(feeds)
        return Beat(seen.numbers, seen.words, number, self._cards.by_slug, self.load.read(), alarms)
