"""AAC to Opus (RFC 7587) and its levels, in a process of its own that sits in the cage: what it decodes is anyone's.

python -m ingest.preview.opus       FLV tags on standard input; on standard output what sound.py writes
"""

import os
import sys
from collections.abc import Sequence
from fractions import Fraction

import av

from core import cage
from core.media import flv
from core.media.packet import AudioTrack, Packet
from ingest.preview.meters import LevelMeter
from ingest.preview.sound import OpusPacket, Sound, write_sound

RATE_HZ = 48_000
FRAME_SAMPLES = 960
BITRATE_BPS = 96_000
TIME_BASE = Fraction(1, RATE_HZ)
MAX_LAG_SAMPLES = RATE_HZ // 10
READ_BYTES = 1 << 16
LIMITS = cage.Limits(memory_bytes=2 << 30, cpu_s=3600, niceness=10)
"""Of addresses, for stacks: libav's resampler has up to sixteen threads, by the processors. In memory it takes 41 MB.
An hour of a processor is more than a day of sound."""

SoundItem = Packet | AudioTrack


class Converter:
    """AAC that can't be decoded is left out and counted. The feed's times only go forward."""

    def __init__(self) -> None:
        self.broken = 0
        self._decoder: av.AudioCodecContext | None = None
        self._meter: LevelMeter | None = None
        self._position = 0
        self._resampler = _resampler()
        self._encoder = _encoder()

    def convert(self, items: Sequence[SoundItem]) -> Sound:
        packets = [packet for item in items for packet in self._take(item)]
        return Sound(packets, self._meter.levels if self._meter is not None else None)

    def _take(self, item: SoundItem) -> list[OpusPacket]:
        if isinstance(item, AudioTrack):
            self._decoder = _decoder(item)
            return []
        self._follow(item.dts_ms)
        return [packet for frame in self._decode(item) for packet in self._encode(frame)]

    def _follow(self, dts_ms: int) -> None:
        """RTP's timestamps count samples; where sound is missing they go on with the feed's."""
        expected = dts_ms * RATE_HZ // 1000
        if expected - self._position > MAX_LAG_SAMPLES:
            self._position = expected

    def _decode(self, packet: Packet) -> list[av.AudioFrame]:
        if self._decoder is None:
            return []
        try:
            return self._decoder.decode(av.Packet(bytes(packet.payload)))
        except av.FFmpegError:
            self.broken += 1
            return []

    def _encode(self, frame: av.AudioFrame) -> list[OpusPacket]:
        frame.pts = None  # the resampler and the encoder count on their own
        if self._meter is None or not self._meter.fits(frame):
            self._meter, self._resampler = LevelMeter(frame), _resampler()
        self._meter.take(frame)
        encoded = [packet for even in self._resampler.resample(frame) for packet in self._encoder.encode(even)]
        made = []
        for packet in encoded:
            made.append(OpusPacket(self._position, bytes(packet)))
            self._position += FRAME_SAMPLES
        return made


def _decoder(track: AudioTrack) -> av.AudioCodecContext:
    decoder = av.CodecContext.create("aac", "r")
    assert isinstance(decoder, av.AudioCodecContext)
    decoder.extradata = track.config
    return decoder


def _resampler() -> av.AudioResampler:
    return av.AudioResampler(format="s16", layout="stereo", rate=RATE_HZ, frame_size=FRAME_SAMPLES)


def _encoder() -> av.AudioCodecContext:
    encoder = av.CodecContext.create("libopus", "w")
    assert isinstance(encoder, av.AudioCodecContext)
    encoder.format, encoder.layout, encoder.sample_rate = "s16", "stereo", RATE_HZ
    encoder.bit_rate, encoder.time_base = BITRATE_BPS, TIME_BASE
    return encoder


def main() -> None:
    cage.die_with_parent(os.getppid())
    converter, tags = Converter(), flv.TagReader()
    cage.go_in(LIMITS)
    while data := os.read(0, READ_BYTES):
        items = [item for item in tags.feed(data) if isinstance(item, AudioTrack | Packet)]
        sys.stdout.buffer.write(write_sound(converter.convert(items)))
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
