"""A feed as its broadcast sees it: from its first packet until it can be put on the air, and its clock from then on."""

import math
from collections import deque
from dataclasses import dataclass, field

from core.media.packet import Kind, Packet
from ingest.feed import Feed
from transcode.timeline import FeedClock

WAIT_FOR_SECOND_TRACK_MS = 1200
WAIT_FOR_BURST_MS = 250
AT_PACE_MS = 60
JUMP_MS = 4000
MAX_EARLY_PACKETS = 2000


@dataclass(slots=True)
class Intake:
    """A feed's clock, and what came before it could be put on the air. `changed`: its tracks are other than those that
    the renditions know.

    Encoders begin with a burst (ffmpeg -re sends half a second at once), which a busy machine or a thin line lets
    through slowly: it is over with a packet that is not late, once for WAIT_FOR_BURST_MS none came sooner than those
    before it, by AT_PACE_MS, or later by so long. The one that came soonest was not held up, and the first is anchored
    `lead_ms` ago by it, or PROGRAM-DATE-TIME would run ahead of the clock for hours. Clocks drift, and timestamps jump:
    what came long before the first, or before a jump, says nothing of that.
    """

    feed: Feed
    since_ms: float = 0.0
    lead_ms: int = 0
    clock: FeedClock = field(default_factory=FeedClock)
    early: list[Packet] = field(default_factory=list)
    on_air: bool = False
    shift_ms: int = 0
    changed: bool = False
    _came: deque[float] = field(default_factory=lambda: deque(maxlen=MAX_EARLY_PACKETS))
    _paces: dict[Kind, float] = field(default_factory=dict)
    _at_pace_since_ms: float = 0.0

    def keep(self, packet: Packet, now_ms: float) -> bool:
        """True once there is nothing more to wait for: its tracks are known, as far as they are to be."""
        self.since_ms = self.since_ms or now_ms
        self.early.append(packet)
        pace_ms = now_ms - packet.dts_ms
        ahead_ms = self._paces.get(packet.kind, math.inf) - pace_ms
        if JUMP_MS < abs(ahead_ms) < math.inf:
            self._came.clear()
        self._came.append(pace_ms)
        if ahead_ms > AT_PACE_MS or ahead_ms < -JUMP_MS:
            self._paces[packet.kind] = pace_ms
        if not -WAIT_FOR_BURST_MS <= ahead_ms <= AT_PACE_MS:
            self._at_pace_since_ms = now_ms
        is_over = ahead_ms >= -AT_PACE_MS and now_ms - self._at_pace_since_ms >= WAIT_FOR_BURST_MS
        waited_ms = packet.dts_ms - self.early[0].dts_ms
        is_whole = len(self.feed.tracks) == 2 and is_over
        return is_whole or not 0 <= waited_ms < WAIT_FOR_SECOND_TRACK_MS or len(self.early) >= MAX_EARLY_PACKETS

    def begin(self, now_ms: float) -> list[Packet]:
        """On the air with what came, from the first keyframe on: what comes before it shows nothing, and a running
        encoder sends such. Empty: there is none yet."""
        if Kind.VIDEO in self.feed.tracks:
            first = next((n for n, one in enumerate(self.early) if one.kind is Kind.VIDEO and one.is_key), None)
            if first is None:
                del self.early[: -MAX_EARLY_PACKETS // 2]
                return []
            del self.early[:first]
        if not self.early:
            return []
        early, self.early, self.on_air, self.changed = self.early, [], True, True
        self.shift_ms = max(0, early[0].cts_ms)
        self.lead_ms = max(0, round(now_ms - min(self._came)) - early[0].dts_ms)
        return early

    def silent_until_ms(self, now_ms: float) -> float:
        """A feed that has just begun is on the air in a moment: its place is not told as a gap."""
        is_coming = not self.on_air and now_ms - self.since_ms < WAIT_FOR_SECOND_TRACK_MS
        return self.since_ms if is_coming else now_ms
