"""One feed to its viewers: each picture becomes a packet once, each sound is encoded once, however many watch."""

from collections.abc import Callable
from concurrent.futures import Executor
from fractions import Fraction

import av

from core.media.packet import AudioTrack, Kind, Packet, VideoTrack
from core.media.stream import Item
from ingest.feed import Feed
from ingest.preview.h264 import annex_b, parameter_sets
from ingest.preview.meters import Levels
from ingest.preview.opus import Sound, SoundBridge
from ingest.preview.refusals import Reason
from ingest.preview.track import Encoded, EncodedTrack, Forward

VIDEO_TIME_BASE = Fraction(1, 90_000)
REORDER_S = 0.005
"""Composition times that differ by more than rounding are B-frames, which WebRTC has no place for."""


def unplayable(feed: Feed) -> Reason | None:
    """Why browsers could not play the feed's picture by WebRTC, as far as is known."""
    track = feed.tracks.get(Kind.VIDEO)
    if isinstance(track, VideoTrack) and (track.chroma_format, track.bit_depth) != (1, 8):
        return Reason.PICTURE_FORMAT
    return Reason.B_FRAMES if feed.health.measures.reorder_s > REORDER_S else None


class Relay:
    """A feed's tap while it has viewers; nobody watching costs nothing. `on_end` hears when the feed is over, or why
    its picture can't go on."""

    def __init__(self, feed: Feed, executor: Executor, on_end: Callable[[Feed, Reason | None], None]) -> None:
        self.feed = feed
        self.levels: Levels | None = None
        self.opus_packets = 0
        self._report_end = on_end
        self._pictures: tuple[EncodedTrack, ...] = ()
        self._sounds: tuple[EncodedTrack, ...] = ()
        self._bridge = SoundBridge(executor, self._on_sound)
        self._forward = Forward()
        self._sets = self._key = b""
        self._cts_ms: int | None = None
        feed.add_tap(self)

    def close(self) -> None:
        self.feed.remove_tap(self)
        self._bridge.close()

    def add(self, track: EncodedTrack) -> None:
        if track.kind == "video":
            self._pictures += (track,)
        else:
            self._sounds += (track,)

    def remove(self, track: EncodedTrack) -> None:
        self._pictures = tuple(kept for kept in self._pictures if kept is not track)
        self._sounds = tuple(kept for kept in self._sounds if kept is not track)

    def still(self) -> Encoded | None:
        """The last keyframe as of now: dated when it came, a browser would play all that follows as late."""
        return self._picture(self._key, self._forward.at_ms) if self._key else None

    def on_item(self, item: Item) -> None:
        if isinstance(item, VideoTrack):
            self._sets = parameter_sets(item.config)
        elif isinstance(item, AudioTrack) or item.kind is Kind.AUDIO:
            self._bridge.take(item)
        else:
            self._take_picture(item)

    def on_end(self) -> None:
        self._report_end(self.feed, None)

    def _take_picture(self, packet: Packet) -> None:
        if self._is_reordered(packet) and self._pictures:
            self._report_end(self.feed, Reason.B_FRAMES)
            return
        at_ms = self._forward.of(packet.dts_ms)
        data = annex_b(packet.payload, self._sets if packet.is_key else b"")
        if packet.is_key:
            self._key = data
        if data and self._pictures:
            picture = self._picture(data, at_ms)
            for track in self._pictures:
                track.put(picture, packet.is_key)

    def _is_reordered(self, packet: Packet) -> bool:
        if self._cts_ms is None:
            self._cts_ms = packet.cts_ms
        return abs(packet.cts_ms - self._cts_ms) > REORDER_S * 1000

    def _picture(self, data: bytes, at_ms: int) -> Encoded:
        picture = av.Packet(data)
        picture.pts, picture.time_base = at_ms * 90, VIDEO_TIME_BASE
        return picture

    def _on_sound(self, sound: Sound) -> None:
        self.levels = sound.levels
        self.opus_packets += len(sound.packets)
        for packet in sound.packets:
            for track in self._sounds:
                track.put(packet)
