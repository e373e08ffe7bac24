"""The renditions of a broadcast: which one leads, which follow it, and what those say of themselves that have nothing.

Who leads is settled once for a broadcast: its cuts are everyone's.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from archive.recordings.recorder import Recording
from archive.recordings.recover import RestoredRecording
from core.media.hub import OnAir
from core.media.packet import Kind, Track
from mbashara.listing import SOURCE_NAMES
from mbashara.rendition import Rendition
from transcode.timeline import KEPT_CUTS, Timeline

RUNG_LAG_MS = 2500
SOURCE_LAG_MS = 1000
QUIET_TICKS = 3
FAR_CUTS = KEPT_CUTS // 2
_RESTORE_ORDER = ("source", "source-audio", "360p", "144p", "low-audio")


class Renditions:
    """Made with the recording. `by_name` is whoever's it is given by."""

    def __init__(
        self, by_name: dict[str, Rendition], on_air: OnAir, folder: Path, recording: Recording, timeline: Timeline,
        unix_ms: Callable[[], float],
    ) -> None:  # fmt: skip
        """`unix_ms` is the broadcast's own clock, which is never set."""
        self.by_name, self.timeline = by_name, timeline
        self.leader: Rendition | None = None
        self._on_air, self._folder, self._recording, self._unix_ms = on_air, folder, recording, unix_ms
        self._quiet: dict[str, tuple[int, int]] = {}

    # Those of a feed, and its rungs.

    def add_sources(self, tracks: Mapping[Kind, Track], leads: Kind | None) -> None:
        """Renditions for the feed's tracks; the one of the leading kind decides where the timeline is cut."""
        for kind in sorted(tracks, key=lambda one: one is not leads):
            name = SOURCE_NAMES[kind]
            rendition = self.by_name.get(name) or self._add(name, kind)
            if kind is leads:
                self._lead(rendition)
            _configure(rendition, tracks[kind])

    def configure_rung(self, name: str, track: Track) -> None:
        """The first of it makes the rendition."""
        rendition = self.by_name.get(name)
        if rendition is None:
            rendition = self._add(name, track.kind)
        elif rendition.packager.track is not None and rendition.packager.track.config != track.config:
            # Another configuration than its last: every rendition breaks where this one must.
            self.timeline.break_wanted |= not self._breaks_ahead(rendition)
        _configure(rendition, track)

    def _breaks_ahead(self, rendition: Rendition) -> bool:
        newest = self.timeline.newest
        known = rendition.window.open or (rendition.window.segments[-1] if rendition.window.segments else None)
        return newest is not None and known is not None and newest.discontinuities > known.discontinuities

    def _lead(self, rendition: Rendition) -> None:
        if self.leader is None:
            rendition.packager.leads = True
            self.leader = rendition
        self._note_followers()

    def _note_followers(self) -> None:
        """Only a source rendition holds packets: rungs lag behind what they follow."""
        if self.leader is not None:
            names = SOURCE_NAMES.values()
            self.leader.followers = tuple(one.packager for one in self.others() if one.name in names)

    def _add(self, name: str, kind: Kind, **restored: Any) -> Rendition:
        leader = None if self.leader is None else self.leader.name
        folder = self._folder / name
        sound = self.by_name.get(SOURCE_NAMES[Kind.AUDIO])
        rendition = Rendition(
            name, kind, self.timeline, self._recording, folder, self._on_air.windows, leader, self._unix_ms,
            made_of=sound.packager if sound is not None else None, **restored,
        )  # fmt: skip
        self.by_name[name] = rendition
        self._on_air.windows[name] = rendition.window
        self._note_followers()
        return rendition

    def others(self) -> list[Rendition]:
        return [one for one in self.by_name.values() if one is not self.leader]

    # What they say where there is nothing.

    def fill_far(self, until_ms: float, *, in_gap: bool, has_feed: bool) -> None:
        """Nearly until then, in steps that the followers go along with: a process may have been away for hours, and the
        timeline keeps a few minutes' cuts. Who missed one would never find his segments again."""
        assert self.leader is not None
        packager = self.leader.packager
        while until_ms - packager.end_ms > self.far_ms:
            packager.fill_gap(packager.end_ms + self.far_ms)
            self.fill_followers(in_gap=in_gap, has_feed=has_feed)

    @property
    def far_ms(self) -> float:
        return FAR_CUTS * self._recording.cadence.target_duration_s * 1000

    def fill_followers(self, *, in_gap: bool, has_feed: bool) -> None:
        """A rendition that has nothing says so, once it is certain that nothing comes: a rung lags behind by nature."""
        newest = self.timeline.newest
        if newest is None:
            return
        for rendition in self.others():
            open_msn = rendition.window.open.msn if rendition.window.open else rendition.window.next_msn
            source_lag_ms = SOURCE_LAG_MS if has_feed else 0
            lag_ms = source_lag_ms if rendition.name in SOURCE_NAMES.values() else RUNG_LAG_MS
            if in_gap:
                rendition.packager.fill_gap(self.timeline.watermark_ms - lag_ms)
            elif open_msn < newest.msn - 1:
                rendition.packager.fill_gap(min(newest.start_ms, self.timeline.watermark_ms - lag_ms))

    def refresh_reports(self) -> None:
        """A rendition that makes no parts for now says in time how far the others are (4.4.5.4)."""
        for rendition in self.others():
            version, ticks = self._quiet.get(rendition.name, (-1, 0))
            ticks = ticks + 1 if version == rendition.window.version else 0
            if ticks >= QUIET_TICKS and rendition.window.has_media:
                rendition.window.commit()
                ticks = 0
            self._quiet[rendition.name] = (rendition.window.version, ticks)

    # The end, and after a restart.

    def flush(self) -> None:
        """Cuts what is pending into parts."""
        for rendition in self.by_name.values():
            rendition.packager.flush()

    def end(self) -> None:
        assert self.leader is not None
        self.leader.packager.end()
        for rendition in self.others():
            rendition.packager.fill_behind(self.leader.packager.end_ms)
            rendition.packager.end()

    def restore(self, restored: RestoredRecording, window_s: float) -> None:
        names = sorted(
            restored.renditions, key=lambda name: list(_RESTORE_ORDER).index(name) if name in _RESTORE_ORDER else 9
        )
        for name in names:
            self._restore(name, restored, window_s)

    def _restore(self, name: str, restored: RestoredRecording, window_s: float) -> None:
        one = restored.renditions[name]
        is_audio = name.endswith("audio")
        kept = one.segments[-max(8, int(window_s)) :]
        rendition = self._add(name, Kind.AUDIO if is_audio else Kind.VIDEO, restored=kept, inits=one.inits)
        rendition.window.track = one.track
        rendition.announced = True
        rendition.packager.restore(one.track, restored.end_ms)
        if self.leader is None:
            self.leader = rendition
        else:
            rendition.packager.follow_from(restored.next_msn)
        rendition.window.commit()


def _configure(rendition: Rendition, track: Track) -> None:
    known = rendition.packager.track
    if known is None or known.config != track.config:
        rendition.packager.configure(track)
