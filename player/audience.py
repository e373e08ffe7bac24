"""How many watch each channel now: distinct watchers among the requests for playlists. Pure; time is passed in.

The edge tells of requests for live media playlists (docker/edge/nginx.conf.j2), so Python sees no viewer's request.
A watcher is a salted hash of address, user agent and, where our own player asks, a number that its page drew; who has
asked within `WINDOW_S` watches, because a player asks once in a target duration (10 s at most). Neither address nor
hash is kept: both are gone with the window, and the salt with the day.

What it can't tell: people behind one address with the same program, other than our player, count as one. Viewers whom
a cache in front (a CDN, Varnish) answers are not seen here at all: they are counted there.
"""

from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import takewhile

from core.broadcasts.viewers import Viewers

WINDOW_S = 15.0
MAX_WATCHERS = 100_000
"""Of all channels together: some 30 MB. Of more it is said that there are at least so many."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A request for a playlist. `who` holds an address: not to be kept."""

    channel: str
    is_sound: bool
    who: bytes


def read_datagram(data: bytes) -> Seen | None:
    """`<190>Nov 28 10:00:00 viewers: CHANNEL RENDITION ADDRESS NUMBER AGENT` of nginx; None for anything else."""
    words = data.partition(b" viewers: ")[2].split(b" ", 2)
    if len(words) != 3:
        return None
    channel, rendition, who = words
    return Seen(channel.decode(errors="replace"), rendition.endswith(b"audio"), who)


@dataclass(slots=True)
class _Watchers:
    """Of one channel: by hash, the last time that each was seen, oldest first; of pictures once more."""

    seen: dict[int, float] = field(default_factory=dict)
    pictures: dict[int, float] = field(default_factory=dict)
    refused_s: float = float("-inf")


class Audience:
    def __init__(self, salt: bytes, max_watchers: int = MAX_WATCHERS, window_s: float = WINDOW_S) -> None:
        self._salt, self._max_watchers, self._window_s = salt, max_watchers, window_s
        self._channels: dict[str, _Watchers] = {}
        self._known = 0

    def see(self, request: Seen, now_s: float) -> None:
        watcher = int.from_bytes(blake2b(request.who, key=self._salt, digest_size=8).digest())
        channel = self._channels.setdefault(request.channel, _Watchers())
        if channel.seen.pop(watcher, None) is None:
            if self._known >= self._max_watchers:
                channel.refused_s = now_s
                return
            self._known += 1
        channel.seen[watcher] = now_s
        if not request.is_sound:
            channel.pictures.pop(watcher, None)
            channel.pictures[watcher] = now_s

    def count(self, now_s: float) -> dict[str, Viewers]:
        """By channel, those that someone watches. Forgets who has left."""
        since_s = now_s - self._window_s
        for slug, channel in list(self._channels.items()):
            self._known -= _forget(channel.seen, since_s)
            _forget(channel.pictures, since_s)
            if not channel.seen and channel.refused_s < since_s:
                del self._channels[slug]
        return {
            slug: Viewers(len(one.seen), len(one.seen) - len(one.pictures), one.refused_s >= since_s)
            for slug, one in self._channels.items()
        }


def _forget(seen: dict[int, float], before_s: float) -> int:
    gone = [watcher for watcher, _ in takewhile(lambda one: one[1] < before_s, seen.items())]
    for watcher in gone:
        del seen[watcher]
    return len(gone)
