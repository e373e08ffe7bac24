"""One publisher's feed: message bodies of whatever protocol to packets, and what an engineer wants to know of them."""

from collections.abc import Callable

from core.media import flv
from core.media.packet import Kind, MediaError, Packet, Track
from core.media.stream import Item
from ingest.rtmp.door import FeedEnd
from ingest.rtmp.errors import FeedError

NO_TRACK_AFTER_MS = 10_000
_NO_TRACK = "Mbashara takes H.264 video and AAC audio; this feed brought neither in its first seconds."


class Feed:
    """A FeedSink. Once set, `on_item` gets packets, and tracks when they change; `on_end` is called once."""

    def __init__(self, identity: str, role: str, on_end: Callable[["Feed", FeedEnd], None]) -> None:
        self.identity, self.role = identity, role
        self.on_item: Callable[[Feed, Item], None] | None = None
        self.channel = ""
        self.tracks: dict[Kind, Track] = {}
        self.bytes_in = self.frames = self.skipped = 0
        self.key_interval_ms = 0
        self.bitrate_bps = self.frames_per_s = 0.0
        self._sampled = (0, 0, 0.0)
        self._on_end = on_end
        self._first_ms: int | None = None
        self._last_key_ms: int | None = None

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
                self.frames += 1
                if item.is_key:
                    self._note_key(timestamp_ms)
            if self.on_item is not None:
                self.on_item(self, item)
        elif item is None or isinstance(item, Packet):
            self._skip(timestamp_ms)
        else:
            self._take_track(item)

    def on_end(self, end: FeedEnd) -> None:
        self._on_end(self, end)

    def sample(self, now_s: float) -> None:
        """Rates since the last sample."""
        bytes_in, frames, at_s = self._sampled
        passed_s = now_s - at_s
        if at_s and passed_s > 0:
            self.bitrate_bps = (self.bytes_in - bytes_in) * 8 / passed_s
            self.frames_per_s = (self.frames - frames) / passed_s
        self._sampled = (self.bytes_in, self.frames, now_s)

    def _note_key(self, timestamp_ms: int) -> None:
        if self._last_key_ms is not None:
            self.key_interval_ms = timestamp_ms - self._last_key_ms
        self._last_key_ms = timestamp_ms

    def _take_track(self, track: Track) -> None:
        """Encoders repeat their sequence headers; only another one is news."""
        known = self.tracks.get(track.kind)
        if known is None or known.config != track.config:
            self.tracks[track.kind] = track
            if self.on_item is not None:
                self.on_item(self, track)

    def _skip(self, timestamp_ms: int) -> None:
        self.skipped += 1
        if self._first_ms is None:
            self._first_ms = timestamp_ms
        if not self.tracks and timestamp_ms - self._first_ms > NO_TRACK_AFTER_MS:
            raise FeedError(_NO_TRACK)
