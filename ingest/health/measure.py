"""What one feed's packets told in the last ten seconds, worked out once a second from the meters."""

from collections import deque
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple

from core.media.packet import Kind
from ingest.health.drift import ClockDrift, Drift
from ingest.health.foreign import Foreign
from ingest.health.meter import Meter, PictureMeter

WINDOW_SAMPLES = 10
MAX_FOREIGN = 8


@dataclass(frozen=True, slots=True)
class Measures:
    """None is what the window can't tell. Rates are of media time but for `received_bps`, which is of the last
    sample's wall time. `pace` is media seconds received per second; `lead_s` how far media ran ahead of the clock
    since the feed began; `av_offset_s` how far the sound's timestamps are ahead of the picture's."""

    window_s: float = 0.0
    received_bps: float = 0.0
    video_bps: float | None = None
    audio_bps: float | None = None
    frame_rate: float | None = None
    gop_s: float | None = None
    gop_min_s: float | None = None
    gop_max_s: float | None = None
    gop_mean_s: float | None = None
    reorder_s: float = 0.0
    open_keys: int = 0
    torn_keys: int = 0
    pace: float | None = None
    lead_s: float = 0.0
    av_offset_s: float | None = None
    drift: Drift | None = None
    jumps: int = 0
    video_silent_s: float = 0.0
    audio_silent_s: float = 0.0
    foreign: frozenset[Foreign] = frozenset()

    def row(self) -> tuple[float | None, ...]:
        """For a series, in the order of its columns."""
        return (
            self.received_bps, self.video_bps, self.audio_bps, self.frame_rate, self.gop_s, self.av_offset_s, self.pace,
        )  # fmt: skip

    @property
    def silent_s(self) -> float:
        return min(self.video_silent_s, self.audio_silent_s)


class Tally(NamedTuple):
    """A meter's counts at a moment."""

    bytes: int
    frames: int
    media_ms: int
    jumps: int


class Sample(NamedTuple):
    """The counts at a moment, and what the second before it brought."""

    at_s: float
    video: Tally
    audio: Tally
    open_keys: int
    torn_keys: int
    gops_ms: list[int]
    reorder_ms: int
    av_offset_ms: int | None
    foreign: frozenset[Foreign]


class Measurer:
    """One feed's meters and its last samples."""

    def __init__(self) -> None:
        self.video, self.audio = PictureMeter(), Meter()
        self._samples: deque[Sample] = deque(maxlen=WINDOW_SAMPLES + 1)
        self._foreign: set[Foreign] = set()
        self._drift = ClockDrift()
        self._anchor_s = 0.0
        self._clock: tuple[int, bool] | None = None
        self._flowed_s = {Kind.VIDEO: 0.0, Kind.AUDIO: 0.0}

    def note_foreign(self, foreign: Foreign) -> None:
        if len(self._foreign) < MAX_FOREIGN:
            self._foreign.add(foreign)

    def sample(self, now_s: float) -> Measures:
        """The window up to now. It begins with the first packet: an encoder may take its time before that."""
        if not self._samples and not (self.video.frames or self.audio.frames or self._foreign):
            return Measures()
        newest = self._take_sample(now_s)
        self._samples.append(newest)
        self._follow_clock(newest)
        return self._measure()

    def _take_sample(self, now_s: float) -> Sample:
        video, audio = self.video, self.audio
        last = self._samples[-1] if self._samples else None
        flows = self._note_flow(Kind.VIDEO, video, now_s), self._note_flow(Kind.AUDIO, audio, now_s)
        if last is not None and now_s <= last.at_s:
            now_s = last.at_s + 1e-3
        sample = Sample(
            now_s, _tally(video), _tally(audio), video.open_keys, video.torn_keys, video.gops_lately_ms,
            video.reorder_ms,
            audio.dts_ms - video.dts_ms if all(flows) else None, frozenset(self._foreign),
        )  # fmt: skip
        video.turn()
        self._foreign.clear()
        return sample

    def _note_flow(self, kind: Kind, meter: Meter, now_s: float) -> bool:
        """Whether packets of a kind came since the last sample; before the first sample there is no silence."""
        last = self._samples[-1] if self._samples else None
        known = 0 if last is None else (last.video if kind is Kind.VIDEO else last.audio).frames
        flows = meter.frames != known
        if flows or last is None:
            self._flowed_s[kind] = now_s
        return flows

    def _follow_clock(self, newest: Sample) -> None:
        """Sound ticks more finely than pictures do, so it is the clock where there is some."""
        clock = newest.video.jumps + newest.audio.jumps, newest.audio.frames > 0
        if clock != self._clock:
            self._clock, self._drift = clock, ClockDrift()
            self._anchor_s = newest.at_s - self._media_s(newest)
        self._drift.note(newest.at_s, self._lead_s(newest))

    def _media_s(self, sample: Sample) -> float:
        return (sample.audio if sample.audio.frames else sample.video).media_ms / 1000

    def _lead_s(self, sample: Sample) -> float:
        return self._media_s(sample) - (sample.at_s - self._anchor_s)

    def _measure(self) -> Measures:
        samples = self._samples
        oldest, newest = samples[0], samples[-1]
        lately = list(samples)[1:] or list(samples)
        before = samples[-2] if len(samples) > 1 else newest
        window_s = newest.at_s - oldest.at_s
        gop_min_s, gop_mean_s, gop_max_s = self._gops_s(lately)
        offsets_ms = [one.av_offset_ms for one in lately if one.av_offset_ms is not None]
        return Measures(
            window_s=window_s,
            received_bps=_received_bps(before, newest),
            video_bps=_per_media_s(oldest.video, newest.video, (newest.video.bytes - oldest.video.bytes) * 8),
            audio_bps=_per_media_s(oldest.audio, newest.audio, (newest.audio.bytes - oldest.audio.bytes) * 8),
            frame_rate=_per_media_s(oldest.video, newest.video, newest.video.frames - oldest.video.frames),
            gop_s=_seconds(self.video.gop_ms),
            gop_min_s=gop_min_s,
            gop_max_s=gop_max_s,
            gop_mean_s=gop_mean_s,
            reorder_s=max(one.reorder_ms for one in lately) / 1000,
            open_keys=newest.open_keys - oldest.open_keys,
            torn_keys=newest.torn_keys - oldest.torn_keys,
            pace=_pace(oldest, newest),
            lead_s=self._lead_s(newest),
            av_offset_s=_seconds(median(offsets_ms)) if offsets_ms else None,
            drift=self._drift.drift,
            jumps=newest.video.jumps - oldest.video.jumps + newest.audio.jumps - oldest.audio.jumps,
            video_silent_s=newest.at_s - self._flowed_s[Kind.VIDEO],
            audio_silent_s=newest.at_s - self._flowed_s[Kind.AUDIO],
            foreign=frozenset().union(*(one.foreign for one in lately)),
        )

    def _gops_s(self, lately: list[Sample]) -> tuple[float | None, float | None, float | None]:
        """The least, the mean, the most. One that hasn't ended counts in the most; where none ended, the last does."""
        video = self.video
        ended_ms = [gop_ms for sample in lately for gop_ms in sample.gops_ms] or [video.gop_ms or 0]
        longest_s = max(video.since_key_ms, *ended_ms) / 1000 if video.frames else None
        if video.gop_ms is None:
            return None, None, longest_s
        return min(ended_ms) / 1000, sum(ended_ms) / len(ended_ms) / 1000, longest_s


def _tally(meter: Meter) -> Tally:
    return Tally(meter.bytes, meter.frames, meter.media_ms, meter.jumps)


def _received_bps(before: Sample, newest: Sample) -> float:
    passed_s = newest.at_s - before.at_s
    received = newest.video.bytes + newest.audio.bytes - before.video.bytes - before.audio.bytes
    return received * 8 / passed_s if passed_s else 0.0


def _per_media_s(oldest: Tally, newest: Tally, amount: int) -> float | None:
    media_ms = newest.media_ms - oldest.media_ms
    return amount * 1000 / media_ms if media_ms > 0 else None


def _pace(oldest: Sample, newest: Sample) -> float | None:
    """Of the kind that came further: a stalled connection stalls both, a missing kind is another issue."""
    passed_s = newest.at_s - oldest.at_s
    media_ms = max(
        newest.video.media_ms - oldest.video.media_ms, newest.audio.media_ms - oldest.audio.media_ms
    )  # fmt: skip
    return media_ms / 1000 / passed_s if passed_s else None


def _seconds(value_ms: float | None) -> float | None:
    return None if value_ms is None else value_ms / 1000
