"""One channel of a media worker: its feeds, which of them is on the air, and its broadcast."""

import asyncio
from dataclasses import dataclass, field

from core.broadcasts.dry_runs import is_test_path
from core.broadcasts.plan import Plan
from core.keys import ChannelEntry
from core.media.window import LiveWindow
from ingest.feed import Feed
from ingest.health.series import Series
from mbashara.broadcast import Broadcast
from mbashara.channel_state import ChannelState
from mbashara.refused import Refused, RefusedEncoders
from player.files import MemoryFolder
from player.playlist import MediaPlaylist


@dataclass(slots=True)
class Channel:
    """A channel with at most one feed a role, and at most one broadcast. Feeds that are not on the air are held.

    `eager` are the identities of feeds that may begin a broadcast by themselves; `rests` once people have ended one:
    an encoder that goes on, or comes back within the reconnect window, does not begin another.
    """

    slug: str
    channel_id: int
    institution_id: int
    folder: MemoryFolder
    feeds: dict[str, Feed] = field(default_factory=dict)
    eager: set[str] = field(default_factory=set)
    goodbyes: set[str] = field(default_factory=set)  # roles whose last feed took leave
    rests: bool = False
    empty_since_s: float = 0.0
    on_air: Feed | None = None
    broadcast: Broadcast | None = None
    plan_id: str | None = None
    last: Broadcast | None = None
    lost_since_s: float | None = None
    ending: asyncio.Task[None] | None = None
    to_withdraw: bool = False
    failing: set[str] = field(default_factory=set)
    refused: RefusedEncoders = field(default_factory=RefusedEncoders)
    series: dict[str, Series] = field(default_factory=dict)  # by role, of the broadcast
    state: ChannelState = field(init=False)

    def __post_init__(self) -> None:
        self.state = ChannelState(self.folder)

    def put_on_air(self) -> None:
        """The primary feed where there is one. It is seen from its next keyframe on."""
        assert self.broadcast is not None
        feed = self.feeds.get("primary") or next(iter(self.feeds.values()))
        self.on_air, self.lost_since_s = feed, None
        self.broadcast.attach(feed)
        feed.on_item = self.broadcast.take

    def take_off_air(self) -> None:
        """Its feed goes on, and is held again."""
        if self.on_air is not None:
            self.on_air.on_item = None
            self.on_air = None

    def other(self, feed: Feed) -> Feed | None:
        """The backup of a primary, the primary of a backup."""
        return next((one for one in self.feeds.values() if one is not feed), None)

    def look_at_spare(self) -> None:
        """While one of its feeds is on the air."""
        if self.broadcast is not None and self.on_air is not None:
            self.broadcast.note_feeds(self.feeds, self.on_air.role, self.goodbyes)

    def note_refused(self, refused: Refused) -> None:
        """For engineers; and for the record of its broadcast."""
        self.refused.note(refused)
        if self.broadcast is not None:
            self.broadcast.note_refused(refused)

    @property
    def is_refused(self) -> bool:
        """The memory folder does not take what viewers are to get."""
        return self.folder.refuses or (self.broadcast is not None and self.broadcast.is_refused)

    def entry_without_book(self) -> ChannelEntry:
        """Where the book knows nothing of the channel (no database and no saved book), a planned broadcast is left as
        it is."""
        plan = None  # a dry run that it doesn't know is over
        if self.plan_id is not None and not is_test_path(self.slug) and self.broadcast is not None:
            plan = Plan(self.plan_id, self.broadcast.identity, "live")
        return ChannelEntry(self.slug, self.channel_id, self.institution_id, plan=plan)

    def tell(self, entry: ChannelEntry, now_s: float, unix_ms: float) -> None:
        self.state.tell(entry, self.broadcast, self.last, now_s, unix_ms)

    def sample(self, now_s: float, unix_s: float) -> None:
        for feed in self.feeds.values():
            feed.sample(now_s, self.other(feed))
            self.series.setdefault(feed.role, Series()).add(unix_s, feed.health.measures.row())

    def playlist_of(self, window: LiveWindow) -> MediaPlaylist | None:
        for broadcast in (self.broadcast, self.last):
            rendition = broadcast.renditions.get(window.name) if broadcast is not None else None
            if rendition is not None and rendition.window is window:
                return rendition.files.playlist
        return None
