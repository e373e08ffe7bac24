"""One feed to its viewers: each picture becomes a packet once, each sound is encoded once, however many watch."""

from collections.abc import Callable
from fractions import Fraction

import av

from core.media.packet import AudioTrack, Kind, Packet, VideoTrack
from core.media.stream import Item
from ingest.feed import Feed
from ingest.preview.bridge import SoundBridge
from ingest.preview.forward import Forward
from ingest.preview.h264 import annex_b, parameter_sets
from ingest.preview.refusals import Reason
from ingest.preview.sound import Levels, Sound
from ingest.preview.track import Encoded, EncodedTrack

VIDEO_TIME_BASE, SOUND_TIME_BASE = Fraction(1, 90_000), Fraction(1, 48_000)
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

    def __init__(self, feed: Feed, on_end: Callable[[Feed, Reason | None], None]) -> None:
        self.feed = feed
        self.levels: Levels | None = None
        self.opus_packets = 0
        self._report_end = on_end
        self._pictures: tuple[EncodedTrack, ...] = ()
        self._sounds: tuple[EncodedTrack, ...] = ()
        self._bridge = SoundBridge(self._on_sound)
        self._forward = Forward()
        self._sets = self._key = b""
        self._cts_ms: int | None = None
        feed.add_tap(self)

    async def close(self) -> None:
        self.feed.remove_tap(self)
        await self._bridge.close()

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
        return _encoded(self._key, self._forward.at_ms * 90, VIDEO_TIME_BASE) if self._key else None

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
            picture = _encoded(data, at_ms * 90, VIDEO_TIME_BASE)
            for track in self._pictures:
                track.put(picture, packet.is_key)

    def _is_reordered(self, packet: Packet) -> bool:
        if self._cts_ms is None:
            self._cts_ms = packet.cts_ms
        return abs(packet.cts_ms - self._cts_ms) > REORDER_S * 1000

    def _on_sound(self, sound: Sound) -> None:
        self.levels = sound.levels or self.levels
        self.opus_packets += len(sound.packets)
        for one in sound.packets:
            packet = _encoded(one.data, one.pts, SOUND_TIME_BASE)
            for track in self._sounds:
                track.put(packet)


def _encoded(data: bytes, pts: int, time_base: Fraction) -> Encoded:
    packet = av.Packet(data)
    packet.pts, packet.time_base = pts, time_base
    return packet
