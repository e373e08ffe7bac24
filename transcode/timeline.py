"""The timeline that all renditions of a broadcast share: where feeds are placed on it, where it is cut into segments.

Times are milliseconds since the broadcast's origin, so PROGRAM-DATE-TIME is origin plus time in every rendition,
across reconnects and restarts.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

from core.media.packet import Kind, Track

KEPT_CUTS = 64


class Cut(NamedTuple):
    """The start of a segment in every rendition. `discontinuities` counts them up to and with this one; `gap` says
    that the leader has nothing there."""

    msn: int
    start_ms: float
    discontinuity: bool
    discontinuities: int
    gap: bool = False


class Timeline:
    """The leading rendition cuts, the others follow. All cuts at or before `watermark_ms` are known."""

    def __init__(self, next_msn: int = 0, discontinuities: int = 0, kept_cuts: int | None = KEPT_CUTS) -> None:
        """`kept_cuts`: how many a follower may be late; None: any."""
        self.watermark_ms: float = 0
        self.break_wanted = False
        self.discontinuities = discontinuities
        self._next_msn = next_msn
        self._cuts: dict[int, Cut] = {}
        self._sound_ends: dict[int, float] = {}
        self._kept_cuts = kept_cuts

    def cut(self, start_ms: float, gap: bool = False) -> Cut:
        """Begins the next segment; with a discontinuity where one is wanted, never before a gap."""
        is_break = self.break_wanted and not gap
        self.discontinuities += is_break
        self.break_wanted &= gap
        cut = Cut(self._next_msn, start_ms, is_break, self.discontinuities, gap)
        self._next_msn += 1
        self._cuts[cut.msn] = cut
        if self._kept_cuts is not None:
            self._cuts.pop(cut.msn - self._kept_cuts, None)
            self._sound_ends.pop(cut.msn - self._kept_cuts, None)
        self.watermark_ms = max(self.watermark_ms, start_ms)
        return cut

    def get(self, msn: int) -> Cut | None:
        return self._cuts.get(msn)

    def note_sound(self, cut: Cut, end_ms: float) -> None:
        """The source's sound ended a little before or after the leader's gap began."""
        self._sound_ends[cut.msn] = end_ms

    def sound_end_ms(self, cut: Cut) -> float:
        """Where the source's sound ended at that gap."""
        return self._sound_ends.get(cut.msn, cut.start_ms)

    def at(self, time_ms: float) -> Cut | None:
        """The newest cut at or before a time."""
        return next((cut for cut in reversed(self._cuts.values()) if cut.start_ms <= time_ms), None)

    @property
    def newest(self) -> Cut | None:
        return next(reversed(self._cuts.values()), None)


class Placed(NamedTuple):
    """Where a packet falls. `broke`: its feed's clock jumped, or this is its first packet."""

    time_ms: int
    broke: bool


class FeedClock:
    """Places one feed's timestamps on the timeline, and finds the jumps in them.

    A step back of more than `back_ms` (audio and video interleave within that), or a step forward of more than
    the time that really passed plus `ahead_ms`, is a jump: the feed is anchored anew at `now_ms`, the
    broadcast's clock on the timeline.
    """

    def __init__(self, back_ms: int = 1500, ahead_ms: int = 4000) -> None:
        self._back_ms, self._ahead_ms = back_ms, ahead_ms
        self._offset_ms: int | None = None
        self._last_dts_ms = 0
        self._last_now_ms = 0.0

    def steady(self, dts_ms: int, now_ms: float) -> int | None:
        """Where a packet falls that follows the last one closely, which is nearly all of them; None: ask `place`."""
        step_ms = dts_ms - self._last_dts_ms
        if self._offset_ms is None or not -self._back_ms <= step_ms <= self._ahead_ms:
            return None
        if step_ms > 0:
            self._last_dts_ms, self._last_now_ms = dts_ms, now_ms
        return dts_ms + self._offset_ms

    def place(self, dts_ms: int, now_ms: float, end_ms: float, after_gap: bool) -> Placed:
        """`end_ms` is the end of what viewers were told. After a gap a packet that belongs before that end is anchored
        anew behind it: nothing that was received is thrown away."""
        if self._jumps(dts_ms, now_ms) or (after_gap and dts_ms + (self._offset_ms or 0) < end_ms):
            self._offset_ms = math.ceil(max(now_ms, end_ms)) - dts_ms
            self._last_dts_ms, self._last_now_ms = dts_ms, now_ms
            return Placed(dts_ms + self._offset_ms, True)
        if dts_ms > self._last_dts_ms:
            self._last_dts_ms, self._last_now_ms = dts_ms, now_ms
        assert self._offset_ms is not None
        return Placed(dts_ms + self._offset_ms, False)

    def _jumps(self, dts_ms: int, now_ms: float) -> bool:
        if self._offset_ms is None:
            return True
        step_ms = dts_ms - self._last_dts_ms
        passed_ms = now_ms - self._last_now_ms
        return step_ms < -self._back_ms or step_ms > passed_ms + self._ahead_ms


def part_target_of(wanted_s: float, tracks: Mapping[Kind, Track]) -> float:
    """The part target of what has these tracks. The picture leads."""
    frames_s = [tracks[kind].frame_s for kind in sorted(tracks, reverse=True)]
    return choose_part_target(wanted_s, [one_s for one_s in frames_s if one_s])


def choose_part_target(wanted_s: float, frame_durations_s: list[float]) -> float:
    """The part target from `wanted_s` up, in whole milliseconds, that frames of these durations fill. Found once,
    before a broadcast begins; the first duration is the leader's.

    Draft 4.4.4.9 asks for 85 % and allows no part above the target; one millisecond is left to timestamps that are
    rounded to milliseconds. Up to a tenth more is taken where that spares the usual GOP of two seconds a last part of a
    frame or two: each part is a request, and hls.js 1.7 may miss one that comes right after another.
    """
    filled = [ms / 1000 for ms in range(round(wanted_s * 1000), 6000) if _is_filled(ms / 1000, frame_durations_s)]
    even = [one_s for one_s in filled if one_s <= wanted_s * 1.1 and _is_even(one_s, frame_durations_s[:1])]
    return next(iter([*even[:1], *filled]), wanted_s)


def _frames(target_s: float, frame_s: float) -> int:
    return int((target_s - 0.001) / frame_s)


def _is_filled(target_s: float, frame_durations_s: list[float]) -> bool:
    return all(_frames(target_s, one_s) * one_s - 0.001 >= 0.85 * target_s for one_s in frame_durations_s)


def _is_even(target_s: float, frame_durations_s: list[float]) -> bool:
    for frame_s in frame_durations_s:
        left = round(2 / frame_s) % _frames(target_s, frame_s)
        if 0 < left < _frames(target_s, frame_s) / 2:
            return False
    return True
