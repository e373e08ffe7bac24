"""Audio meters: sample peak of each channel, momentary and short-term loudness (ITU-R BS.1770-5, EBU Tech 3341).

libav's ebur128 and astats do the sums in C; every 100 ms of sound one frame comes out of them that says its levels.
"""

import math
from collections import deque
from fractions import Fraction

import av
from av.filter import Graph

from ingest.preview.sound import FLOOR_DB, Levels

PEAK_FRAMES = 4
"""A peak is shown for as long as the momentary loudness's window, 400 ms."""


class LevelMeter:
    """For decoded sound of one sample format, rate and layout; another needs a new meter."""

    def __init__(self, like: av.AudioFrame) -> None:
        self.levels: Levels | None = None
        self._shape = _shape(like)
        self._peaks: deque[tuple[float, ...]] = deque(maxlen=PEAK_FRAMES)
        self._graph = Graph()
        self._graph.threads = 1
        source = self._graph.add_abuffer(
            sample_rate=like.sample_rate, format=like.format.name, layout=like.layout.name,
            time_base=Fraction(1, like.sample_rate),
        )  # fmt: skip
        loudness = self._graph.add("ebur128", "metadata=1")
        peaks = self._graph.add("astats", "metadata=1:reset=1:measure_perchannel=Peak_level:measure_overall=none")
        sink = self._graph.add("abuffersink")
        for one, next_one in ((source, loudness), (loudness, peaks), (peaks, sink)):
            one.link_to(next_one)
        self._graph.configure()
        self._source, self._sink = source, sink

    def fits(self, frame: av.AudioFrame) -> bool:
        return _shape(frame) == self._shape

    def take(self, frame: av.AudioFrame) -> None:
        self._source.push(frame)
        while (measured := self._pull()) is not None:
            said = measured.metadata
            self._peaks.append(tuple(_db(said[f"lavfi.astats.{n + 1}.Peak_level"]) for n in range(self._shape[2])))
            self.levels = Levels(
                tuple(max(channel) for channel in zip(*self._peaks, strict=True)),
                _db(said["lavfi.r128.M"]), _db(said["lavfi.r128.S"]),
            )  # fmt: skip

    def _pull(self) -> av.AudioFrame | None:
        try:
            frame = self._sink.pull()
        except BlockingIOError:  # libav's word for: more is needed first
            return None
        assert isinstance(frame, av.AudioFrame)
        return frame


def _shape(frame: av.AudioFrame) -> tuple[str, int, int, str]:
    return frame.format.name, frame.sample_rate, frame.layout.nb_channels, frame.layout.name


def _db(text: str) -> float:
    value = float(text)
    return FLOOR_DB if math.isnan(value) else round(max(FLOOR_DB, value), 1)
