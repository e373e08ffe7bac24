"""One publisher's feed: message bodies of whatever protocol to packets, and what an engineer wants to know of them."""

from collections import deque
from collections.abc import Callable
from typing import Protocol

from core.media import flv
from core.media.packet import Kind, MediaError, Packet, Track
from core.media.stream import Item, Reader
from ingest.health.feed_health import FeedHealth
from ingest.health.foreign import read_foreign
from ingest.health.limits import Limits
from ingest.rtmp.door import FeedEnd
from ingest.rtmp.errors import FeedError

NO_TRACK_AFTER_MS = 10_000
SOUND_PACKETS = 48
"""About a second of AAC at 48 kHz."""
MAX_SOUND_BYTES = 8192
"""An AAC frame has at most 768 bytes a channel (ISO 14496-3, 4.5.3): a larger one is not kept."""
_NO_TRACK = "Mbashara takes H.264 video and AAC audio; this feed brought neither in its first seconds."


class Tap(Reader, Protocol):
    """Reads a feed whether it is on the air or not: the preview."""

    def on_end(self) -> None: ...


class Feed:
    """A FeedSink. Once set, `on_item` gets packets, and tracks when they change; `on_end` is called once.

    `peer`, `encoder` and `since_ms` (Unix) are who publishes, from where, since when."""

    def __init__(
        self, identity: str, role: str, on_end: Callable[["Feed", FeedEnd], None], limits: Limits | None = None
    ) -> None:
        self.identity, self.role = identity, role
        self.on_item: Callable[[Feed, Item], None] | None = None
        self.channel = self.peer = self.encoder = ""
        self.since_ms = 0.0
        self.tracks: dict[Kind, Track] = {}
        self.bytes_in = self.skipped = 0
        self.health = FeedHealth(limits)
        self.newest_key: Packet | None = None  # only referred to: its picture is others' to make
        self.was_newest_key_aired = False
        self.newest_sound: deque[Packet] = deque(maxlen=SOUND_PACKETS)  # only referred to, as the keyframe
        self._on_end = on_end
        self._taps: tuple[Tap, ...] = ()
        self._first_ms: int | None = None
        self._take_picture = self.health.measurer.video.take_picture
        self._take_sound = self.health.measurer.audio.take
        self._keep_sound = self.newest_sound.append

    def on_message(self, type_id: int, timestamp_ms: int, body: bytearray) -> None:
        self.bytes_in += len(body)
        try:
            item = (
                flv.read_video(body, timestamp_ms) if type_id == flv.VIDEO
                else flv.read_audio(body, timestamp_ms) if type_id == flv.AUDIO else None
            )  # fmt: skip
        except MediaError as error:
            raise FeedError(f"The codec configuration can't be read: {error}.") from error
        if type(item) is Packet and item.kind in self.tracks:
            if type_id == flv.VIDEO:
                self._take_picture(item)
                if item.is_key:
                    self.newest_key, self.was_newest_key_aired = item, self.on_item is not None
            else:
                size = len(item.payload)
                self._take_sound(timestamp_ms, size)
                if size <= MAX_SOUND_BYTES:
                    self._keep_sound(item)
            if self.on_item is not None:
                self.on_item(self, item)
            for tap in self._taps:
                tap.on_item(item)
        elif item is None or isinstance(item, Packet):
            self._skip(type_id, timestamp_ms, body)
        else:
            self._take_track(item)

    def on_end(self, end: FeedEnd) -> None:
        self._on_end(self, end)
        for tap in self._taps:
            tap.on_end()

    def add_tap(self, tap: Tap) -> None:
        """One that comes late is first told the tracks that are in force."""
        for track in self.tracks.values():
            tap.on_item(track)
        self._taps += (tap,)

    def remove_tap(self, tap: Tap) -> None:
        self._taps = tuple(kept for kept in self._taps if kept is not tap)

    def sample(self, now_s: float, other: "Feed | None" = None) -> None:
        """Once a second: what was measured since, and what is wrong with it beside the channel's other feed."""
        self.health.sample(now_s, self.tracks, other.health if other is not None else None)

    def _take_track(self, track: Track) -> None:
        """Encoders repeat their sequence headers; only another one is news."""
        known = self.tracks.get(track.kind)
        if known is None or known.config != track.config:
            self.tracks[track.kind] = track
            if track.kind is Kind.AUDIO:
                self.newest_sound.clear()  # what came before is of another configuration
            if self.on_item is not None:
                self.on_item(self, track)
            for tap in self._taps:
                tap.on_item(track)

    def _skip(self, type_id: int, timestamp_ms: int, body: bytearray) -> None:
        self.skipped += 1
        foreign = read_foreign(type_id, body)
        if foreign is not None:
            self.health.measurer.note_foreign(foreign)
        if self._first_ms is None:
            self._first_ms = timestamp_ms
        if not self.tracks and timestamp_ms - self._first_ms > NO_TRACK_AFTER_MS:
            raise FeedError(_NO_TRACK)
