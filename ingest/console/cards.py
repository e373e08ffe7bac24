"""The wall's cards: what each channel's says, rendered once a change and language however many consoles watch.

A channel that has a broadcast, a feed, or a broadcast within two hours is a full card; a quiet one is a line.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from core.broadcasts.lifecycle import AT_THE_CHANNEL
from core.broadcasts.viewers import NOBODY, Viewers
from core.web.i18n import Language
from ingest.console import Still, Told
from ingest.console.health_words import numbers
from ingest.console.levels import UNHEARD, Sound, sound_of
from ingest.console.queries import OnWall

DUE = timedelta(hours=2)


@dataclass(frozen=True, slots=True)
class FeedFacts:
    """`kbits` changes all the time and is told as a number: another one makes no other card."""

    role: str
    state: str
    on_air: bool
    still: Still
    kbits: float = field(compare=False)
    sound: Sound = UNHEARD


@dataclass(frozen=True, slots=True)
class Facts:
    """All that a card says."""

    row: OnWall
    feeds: tuple[FeedFacts, ...]
    is_due: bool
    viewers: Viewers | None = field(default=None, compare=False)

    @property
    def slug(self) -> str:
        return self.row.slug

    @property
    def is_active(self) -> bool:
        return self.is_due or bool(self.feeds) or self.has_channel

    @property
    def has_channel(self) -> bool:
        return self.row.broadcast is not None and self.row.broadcast.state in AT_THE_CHANNEL

    @property
    def order(self) -> str:
        """What is on comes first, then feeds, then what is due; letters alike in Python and in a browser."""
        rank = 0 if self.has_channel else 1 if self.feeds else 2 if self.is_due else 3
        return f"{rank} {self.slug}"

    @property
    def has_old_still(self) -> bool:
        return any(feed.still is Still.OLD for feed in self.feeds)

    def feed(self, role: str) -> FeedFacts | None:
        return next((one for one in self.feeds if one.role == role), None)


StillOf = Callable[[str, str], Still]
"""The picture of the channel's feed of that role."""


def facts(
    row: OnWall, feeds: Sequence[Told], now: datetime, still_of: StillOf, viewers: Mapping[str, Viewers] | None = None
) -> Facts:
    """`feeds` are the channel's own, `viewers` of all channels (None: not known)."""
    watching = None if viewers is None else viewers.get(row.slug, NOBODY)
    plan = row.broadcast
    is_due = plan is not None and plan.planned_start_at is not None and plan.planned_start_at - now <= DUE
    return Facts(row, tuple(_feed(feed, still_of, now) for feed in sorted(feeds, key=_by_role)), is_due, watching)


def _by_role(feed: Told) -> bool:
    return bool(feed["role"] != "primary")


def _feed(feed: Told, still_of: StillOf, now: datetime) -> FeedFacts:
    role, kbits, sound = feed["role"], numbers(feed)["kbits"], sound_of(feed, now.timestamp())
    return FeedFacts(role, feed["state"], feed["on_air"], still_of(feed["channel"], role), kbits, sound)


Render = Callable[[Language, Facts], str]


@dataclass(slots=True)
class Card:
    """`beat` is the number of the one that brought it."""

    facts: Facts
    beat: int
    _html: dict[Language, str] = field(default_factory=dict)
    _told: dict[Language, str] = field(default_factory=dict)

    def html(self, language: Language, render: Render) -> str:
        if language not in self._html:
            self._html[language] = render(language, self.facts)
        return self._html[language]

    def told(self, language: Language, render: Render) -> str:
        """As an event brings it to a console."""
        if language not in self._told:
            told = {
                "id": f"card-{self.facts.slug}", "active": self.facts.is_active, "order": self.facts.order,
                "html": self.html(language, render),
            }  # fmt: skip
            self._told[language] = json.dumps(told, ensure_ascii=False, separators=(",", ":"))
        return self._told[language]


class Cards:
    """The newest card of each channel that anybody has looked at. Pages read it while the pulse writes: it is replaced,
    never changed in place."""

    def __init__(self, render: Render) -> None:
        self.render = render
        self.by_slug: Mapping[str, Card] = {}

    def take(self, found: Iterable[Facts], beat: int) -> list[Card]:
        """Those that are other ones now."""
        fresh = [Card(one, beat) for one in found if self._known(one) is None]
        if fresh:
            self.by_slug = {**self.by_slug, **{card.facts.slug: card for card in fresh}}
        return fresh

    def html(self, language: Language, one: Facts) -> str:
        """For a page: numbers of feeds are this moment's, what has no feed is as it was rendered last."""
        card = None if one.feeds else self._known(one)
        return self.render(language, one) if card is None else card.html(language, self.render)

    def _known(self, one: Facts) -> Card | None:
        card = self.by_slug.get(one.slug)
        return card if card is not None and card.facts == one else None
