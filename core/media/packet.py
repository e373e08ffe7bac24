"""One encoded access unit and the tracks it belongs to: what every way in produces and every way out consumes."""

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

Buffer = bytes | bytearray | memoryview


class Kind(IntEnum):
    """Media kind, valued as the RTMP message type and FLV tag type (FLV 10.1, E.4.1)."""

    AUDIO = 8
    VIDEO = 9


class Packet(NamedTuple):
    """One coded frame. A tuple rather than a dataclass: some hundred thousand are made per second and core.

    `dts_ms` is the decoding time in the writer's own timeline, any integer; `cts_ms` is presentation minus
    decoding time and may be negative. `payload` is what an MP4 sample holds: length-prefixed NAL units for
    H.264, one raw access unit for AAC. The packet owns its bytes: nobody changes them afterwards.
    """

    kind: Kind
    dts_ms: int
    cts_ms: int
    is_key: bool
    payload: Buffer


@dataclass(frozen=True, slots=True)
class VideoTrack:
    """An H.264 configuration. `config` is the AVCDecoderConfigurationRecord (ISO 14496-15, 5.3.3.1).

    `frame_rate` is frames per second from the VUI timing of the SPS, None where the SPS does not say. `interlaced`:
    pictures may be fields; `chroma_format` is chroma_format_idc, 1 for 4:2:0; `bit_depth` is that of the luma.
    """

    config: bytes
    codecs: str
    width: int
    height: int
    frame_rate: float | None = None
    kind: Kind = Kind.VIDEO
    timescale: int = 1000
    interlaced: bool = False
    chroma_format: int = 1
    bit_depth: int = 8

    @property
    def profile(self) -> int:
        """AVCProfileIndication: 66 Baseline, 77 Main, 100 High."""
        return self.config[1]

    @property
    def level(self) -> int:
        """AVCLevelIndication: ten times the level, 31 for 3.1."""
        return self.config[3]

    @property
    def frame_s(self) -> float:
        """How long one frame lasts, 0 where that is unknown."""
        return 1 / self.frame_rate if self.frame_rate else 0.0


@dataclass(frozen=True, slots=True)
class AudioTrack:
    """An AAC configuration. `config` is the AudioSpecificConfig (ISO 14496-3, 1.6.2.1).

    `timescale` is the core sample rate in Hz, in which a frame always lasts `frame_samples`.
    """

    config: bytes
    codecs: str
    timescale: int
    channels: int
    frame_samples: int = 1024
    kind: Kind = Kind.AUDIO

    @property
    def frame_s(self) -> float:
        return self.frame_samples / self.timescale


Track = VideoTrack | AudioTrack


class MediaError(Exception):
    """Root of what this room raises: bytes that are not the media they claim to be."""
