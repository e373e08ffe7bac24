"""The live window of one rendition: its parts and segments, as RFC 8216 and its second edition draft name them.

A packager owns the Segment objects and appends to them; sinks are told in order. LiveWindow is the last sink:
what it holds is what viewers may be told. All of it runs on one event loop.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import NamedTuple, Protocol

from core.media.packet import Kind, Track

WAKE_S = 1.0


class Part(NamedTuple):
    """Partial segment `number` of its parent. `offset` and `size` are its place in the parent's file, in bytes."""

    number: int
    duration_s: float
    independent: bool
    gap: bool
    offset: int
    size: int


class Storage(Enum):
    """Where the file of a complete segment is. Set by the recorder's thread, read by the loop."""

    PENDING = auto()
    RECORDED = auto()
    IN_MEMORY = auto()
    NOWHERE = auto()


@dataclass(slots=True)
class Segment:
    """One media segment, open while parts are still added. `start_ms` counts from the broadcast's origin.

    `discontinuities` counts those of the broadcast up to and with this segment; `init` numbers the initialization
    segment that it needs; `gap` is EXT-X-GAP: nothing of it exists; `is_refused` tells that the memory folder did not
    take each part of it, so that what lies there under a part's name may be another's.
    """

    msn: int
    start_ms: float
    discontinuity: bool
    discontinuities: int
    init: int
    parts: list[Part] = field(default_factory=list)
    duration_s: float = 0.0
    size: int = 0
    gap: bool = False
    storage: Storage = Storage.PENDING
    is_refused: bool = False

    @property
    def content_s(self) -> float:
        """The sum of its parts so far, in seconds."""
        return sum(part.duration_s for part in self.parts)


class RenditionSink(Protocol):
    """What a packager tells. Called on the loop, in this order; must not block.

    `on_part` gives the part's bytes (none for a gap), already counted in `segment`. After a group of calls
    that belong together comes one `commit`, the moment at which viewers may see them.
    """

    def on_init(self, number: int, track: Track, data: bytes) -> None: ...
    def on_part(self, segment: Segment, part: Part, data: bytes) -> None: ...
    def on_complete(self, segment: Segment) -> None: ...
    def on_end(self) -> None: ...
    def commit(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Cadence:
    """What never changes during a broadcast (draft 6.2.1; CoreMedia ends playback where it does). Seconds."""

    target_duration_s: int = 4
    part_target_s: float = 0.5
    window_s: float = 900.0

    @property
    def part_hold_back_s(self) -> float:
        """Apple's authoring rule 14.3 asks for three part targets where the draft asks for two."""
        return round(3 * self.part_target_s + 0.001, 3)

    @property
    def hold_back_s(self) -> int:
        return 3 * self.target_duration_s

    @property
    def skip_until_s(self) -> int:
        return 6 * self.target_duration_s

    @property
    def parts_listed_s(self) -> int:
        """How far from the edge EXT-X-PART tags stay (draft 4.4.4.9)."""
        return 3 * self.target_duration_s


class Edge(NamedTuple):
    """The newest part of a window: LAST-MSN and LAST-PART of a rendition report."""

    msn: int
    part: int


class LiveWindow:
    """What the viewers of one rendition may know now. `version` grows with each published change."""

    def __init__(
        self,
        name: str,
        kind: Kind,
        cadence: Cadence,
        origin_ms: int,
        segments: Sequence[Segment] = (),
    ) -> None:
        """`origin_ms` is the wall clock (Unix, ms) at which the broadcast's timeline is 0; `segments` restores a
        window after a restart."""
        self.name, self.kind, self.cadence, self.origin_ms = name, kind, cadence, origin_ms
        self.track: Track | None = None
        self.segments: deque[Segment] = deque(segments)
        self.open: Segment | None = None
        self.next_msn = self.segments[-1].msn + 1 if self.segments else 0
        self.duration_s = sum(segment.duration_s for segment in self.segments)
        self.window_s = cadence.window_s
        self.version = 0
        self.ended = False
        self.on_change: list[Callable[[LiveWindow], None]] = []
        self.on_dropped: Callable[[Segment], None] | None = None
        self._waiters: list[asyncio.Future[None]] = []
        self._timer: asyncio.TimerHandle | None = None

    @property
    def media_sequence(self) -> int:
        if self.segments:
            return self.segments[0].msn
        return self.open.msn if self.open is not None else self.next_msn

    @property
    def discontinuity_sequence(self) -> int:
        """How many discontinuity tags stood before the first segment (draft 4.4.3.3)."""
        first = self.segments[0] if self.segments else self.open
        return first.discontinuities - first.discontinuity if first else 0

    @property
    def edge(self) -> Edge | None:
        """None before the first part."""
        if self.open is not None and self.open.parts:
            return Edge(self.open.msn, len(self.open.parts) - 1)
        if self.segments:
            return Edge(self.segments[-1].msn, max(0, len(self.segments[-1].parts) - 1))
        return None

    @property
    def has_media(self) -> bool:
        return self.edge is not None

    def find(self, msn: int) -> Segment | None:
        """The segment with that media sequence number, open or complete, while the window holds it."""
        if self.open is not None and self.open.msn == msn:
            return self.open
        place = msn - self.media_sequence
        return self.segments[place] if 0 <= place < len(self.segments) else None

    def changed(self) -> asyncio.Future[None]:
        """Done at the next published change, or after `WAKE_S`. All who wait share one timer."""
        loop = asyncio.get_running_loop()
        waiter = loop.create_future()
        self._waiters.append(waiter)
        if self._timer is None:
            self._timer = loop.call_later(WAKE_S, self._wake)
        return waiter

    # As a RenditionSink.

    def on_init(self, number: int, track: Track, data: bytes) -> None:
        self.track = track

    def on_part(self, segment: Segment, part: Part, data: bytes) -> None:
        self.open = segment

    def on_complete(self, segment: Segment) -> None:
        self.open = None
        self.segments.append(segment)
        self.next_msn = segment.msn + 1
        self.duration_s += segment.duration_s
        self._drop_old()

    def on_end(self) -> None:
        self.ended = True

    def commit(self) -> None:
        self.version += 1
        for listener in self.on_change:
            listener(self)
        self._wake()

    def _wake(self) -> None:
        if self._timer is None:
            return
        self._timer.cancel()
        self._timer = None
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():  # who left has cancelled it
                waiter.set_result(None)

    def _drop_old(self) -> None:
        """Never below the window that was promised, nor below three target durations (draft 6.2.2)."""
        shortest_s = max(self.window_s, self.cadence.hold_back_s + self.cadence.target_duration_s)
        while self.duration_s - self.segments[0].duration_s > shortest_s:
            old = self.segments.popleft()
            self.duration_s -= old.duration_s
            if self.on_dropped is not None:
                self.on_dropped(old)
