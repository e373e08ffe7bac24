"""A feed's health from second to second: measured, judged, and held so that an issue doesn't flicker."""

from collections.abc import Iterable, Mapping

from core.media.packet import Kind, Track
from ingest.health import issues
from ingest.health.compare import compare
from ingest.health.issues import Issue, IssueType, State
from ingest.health.judge import Seen, judge
from ingest.health.limits import Limits
from ingest.health.measure import Measurer, Measures


class Held:
    """Tells an issue once it was found for `appear_s` without a break, and until it was not found for `clear_s`."""

    def __init__(self, appear_s: float = 3.0, clear_s: float = 5.0) -> None:
        self._appear_s, self._clear_s = appear_s, clear_s
        self._since_s: dict[IssueType, float] = {}
        self._told: dict[IssueType, tuple[float, Issue]] = {}

    def update(self, now_s: float, found: Iterable[Issue]) -> tuple[Issue, ...]:
        current = {one.type: one for one in found}
        self._since_s = {kind: self._since_s.get(kind, now_s) for kind in current}
        for kind, one in current.items():
            if kind in self._told or now_s - self._since_s[kind] >= self._appear_s:
                self._told[kind] = (now_s, one)
        self._told = {kind: told for kind, told in self._told.items() if now_s - told[0] < self._clear_s}
        return tuple(one for _, one in self._told.values())


class FeedHealth:
    """`measurer` is told of every packet; `sample` is called once a second."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.measurer = Measurer()
        self.measures = Measures()
        self.issues: tuple[Issue, ...] = ()
        self.state = State.NO_DATA
        self._limits = limits or Limits()
        self._held = Held()
        self._seen = Seen(self.measures, {})

    def sample(self, now_s: float, tracks: Mapping[Kind, Track], other: "FeedHealth | None" = None) -> None:
        """`other` is the channel's other feed, as of its last sample."""
        self.measures = self.measurer.sample(now_s)
        self._seen = seen = Seen(self.measures, tracks)
        found = judge(seen, self._limits)
        if other is not None:
            found += compare(seen, other._seen, self._limits)
        self.issues = self._held.update(now_s, found)
        self.state = issues.state(self.issues, seen.has_data(self._limits))
