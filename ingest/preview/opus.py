"""AAC to Opus (RFC 7587) and its levels: once a feed, in the previews' one thread, while the feed has viewers."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from fractions import Fraction

import av
import structlog

from core.media.packet import AudioTrack, Packet
from ingest.preview.meters import LevelMeter, Levels
from ingest.preview.track import Encoded, Forward

RATE_HZ = 48_000
FRAME_SAMPLES = 960
BITRATE_BPS = 96_000
TIME_BASE = Fraction(1, RATE_HZ)
MAX_PENDING = 100
"""AAC frames that wait for the thread: two seconds."""
MAX_LAG_SAMPLES = RATE_HZ // 10

SoundItem = Packet | AudioTrack

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Sound:
    """What a batch became."""

    packets: Sequence[Encoded]
    levels: Levels | None


class Converter:
    """Used by one thread at a time. AAC that can't be decoded is left out and counted."""

    def __init__(self) -> None:
        self.broken = 0
        self._decoder: av.AudioCodecContext | None = None
        self._meter: LevelMeter | None = None
        self._forward = Forward()
        self._position = 0
        self._resampler = _resampler()
        self._encoder = _encoder()

    def convert(self, items: Sequence[SoundItem]) -> Sound:
        packets = [packet for item in items for packet in self._take(item)]
        return Sound(packets, self._meter.levels if self._meter is not None else None)

    def _take(self, item: SoundItem) -> list[Encoded]:
        if isinstance(item, AudioTrack):
            self._decoder = _decoder(item)
            return []
        self._follow(item.dts_ms)
        return [packet for frame in self._decode(item) for packet in self._encode(frame)]

    def _follow(self, dts_ms: int) -> None:
        """RTP's timestamps count samples; where sound is missing they go on with the feed's."""
        expected = self._forward.of(dts_ms) * RATE_HZ // 1000
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

    def _encode(self, frame: av.AudioFrame) -> list[Encoded]:
        frame.pts = None  # the resampler and the encoder count on their own
        if self._meter is None or not self._meter.fits(frame):
            self._meter, self._resampler = LevelMeter(frame), _resampler()
        self._meter.take(frame)
        encoded = [packet for even in self._resampler.resample(frame) for packet in self._encoder.encode(even)]
        for packet in encoded:
            packet.pts, packet.time_base = self._position, TIME_BASE
            self._position += FRAME_SAMPLES
        return encoded


class SoundBridge:
    """From the loop to the thread and back. Each batch is what came while the last one was worked on."""

    def __init__(self, executor: Executor, on_sound: Callable[[Sound], None]) -> None:
        self.dropped = 0
        self._executor, self._on_sound = executor, on_sound
        self._converter = Converter()
        self._pending: deque[SoundItem] = deque()
        self._working: asyncio.Task[None] | None = None

    def take(self, item: SoundItem) -> None:
        if len(self._pending) >= MAX_PENDING:
            self.dropped += len(self._pending)
            self._pending = deque(one for one in self._pending if isinstance(one, AudioTrack))
        self._pending.append(item)
        if self._working is None:
            self._working = asyncio.get_running_loop().create_task(self._work())

    def close(self) -> None:
        self._pending.clear()
        if self._working is not None:
            self._working.cancel()

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._pending:
                batch, self._pending = tuple(self._pending), deque()
                self._on_sound(await loop.run_in_executor(self._executor, self._converter.convert, batch))
        except Exception:  # the top of this task: silent until the next configuration, and the picture goes on
            log.exception("preview without sound")
            self._converter = Converter()
        finally:
            self._working = None


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
