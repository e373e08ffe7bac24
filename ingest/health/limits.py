"""Where a feed stops being good: YouTube's advice for encoders, and what our packager and players need."""

from dataclasses import dataclass

HIGH_FRAME_RATE = 35
HIGH_FRAME_RATE_FACTOR = 1.5


@dataclass(frozen=True, slots=True)
class Limits:
    """`video_ladder` has (short side, lowest, highest bit/s), largest first; above 35 frames/s the highest is half
    as much again. `gop_over_s` is the target duration of a segment: one without a keyframe can't be cut there.
    `pace` is media seconds per second. The mismatch limits compare primary and backup."""

    min_window_s: float = 4.0
    silent_s: float = 3.0
    video_ladder: tuple[tuple[int, int, int], ...] = (
        (1080, 3_000_000, 9_000_000),
        (720, 1_500_000, 6_000_000),
        (480, 500_000, 4_000_000),
        (360, 250_000, 2_000_000),
        (0, 60_000, 1_000_000),
    )
    audio_low_bps: float = 40_000
    audio_high_bps: float = 220_000
    audio_rates_hz: tuple[int, ...] = (44_100, 48_000)
    audio_channels: int = 2
    frame_rate_low: float = 23.0
    frame_rate_high: float = 60.5
    frames_kept: float = 0.95
    told_frame_rate_max: float = 120.0
    gop_short_s: float = 0.9
    gop_long_s: float = 3.0
    gop_over_s: float = 4.0
    reorder_s: float = 0.25
    video_level: int = 42
    max_long_side: int = 1920
    max_short_side: int = 1088
    min_short_side: int = 360
    aspect_tolerance: float = 0.02
    pace_low: float = 0.95
    pace_high: float = 1.05
    lead_s: float = 1.0
    av_offset_s: float = 0.5
    drift_ppm: float = 300.0
    mismatch_bitrate_ratio: float = 1.5
    mismatch_frame_rate: float = 0.5
    mismatch_gop_s: float = 0.25

    def video_bps(self, short_side: int, frame_rate: float) -> tuple[int, float]:
        """The lowest and highest bit/s for a picture."""
        _, low_bps, high_bps = next(step for step in self.video_ladder if short_side >= step[0])
        return low_bps, high_bps * (HIGH_FRAME_RATE_FACTOR if frame_rate > HIGH_FRAME_RATE else 1)
