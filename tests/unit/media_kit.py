"""Synthetic packets and a sink that remembers: what unit tests of the packager and the playlists stand on."""

from dataclasses import dataclass, field

from core.media.codecs import audio_track
from core.media.packet import AudioTrack, Kind, Packet, Track, VideoTrack
from core.media.window import Part, Segment

SPS_360P30 = bytes.fromhex("674d401eda0280bfe5c044000003000400000300f23c58ba80")
PPS = bytes.fromhex("68ef3c80")
AVCC = b"\x01\x4d\x40\x1e\xff\xe1" + len(SPS_360P30).to_bytes(2, "big") + SPS_360P30 + b"\x01\x00\x04" + PPS


def video_track(frame_rate: float | None = 25.0, config: bytes = AVCC) -> VideoTrack:
    return VideoTrack(config, "avc1.4D401E", 640, 360, frame_rate)


def aac_48k() -> AudioTrack:
    return audio_track(b"\x11\x90")


def aac_44k() -> AudioTrack:
    return audio_track(b"\x12\x10")


def picture(dts_ms: int, key: bool = False, cts_ms: int = 0) -> Packet:
    return Packet(Kind.VIDEO, dts_ms, cts_ms, key, b"\0\0\0\1\x65" if key else b"\0\0\0\1\x41")


def sound(dts_ms: int) -> Packet:
    return Packet(Kind.AUDIO, dts_ms, 0, True, b"aac")


@dataclass
class Sink:
    """A RenditionSink in memory."""

    segments: list[Segment] = field(default_factory=list)
    parts: list[tuple[int, Part]] = field(default_factory=list)
    data: bytearray = field(default_factory=bytearray)
    inits: list[Track] = field(default_factory=list)
    commits: int = 0
    ended: bool = False

    def on_init(self, number: int, track: Track, data: bytes) -> None:
        assert number == len(self.inits)
        self.inits.append(track)

    def on_part(self, segment: Segment, part: Part, data: bytes) -> None:
        assert part.size == len(data)
        assert part.gap == (not data)
        self.parts.append((segment.msn, part))
        self.data += data

    def on_complete(self, segment: Segment) -> None:
        self.segments.append(segment)

    def on_end(self) -> None:
        self.ended = True

    def commit(self) -> None:
        self.commits += 1
