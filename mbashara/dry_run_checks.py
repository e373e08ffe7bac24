"""What a dry run sees of a feed's way: the feed as media tells it, then playlists and files as a viewer gets them.

Each check returns what was found, `is_good` among it, or None while there is nothing to look at yet.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import m3u8

from core.broadcasts.dry_runs import Step
from mbashara.demo import FRAMES_PER_S
from transcode.ladder import RUNGS

Found = dict[str, Any]
Fetch = Callable[[str], bytes | None]
"""A path of the edge to what it answers; None for anything but 200."""
SOURCES = frozenset({"source", "source-audio"})
LATE_S = 20.0
"""Behind what is captured: five target durations of 4 s would be a viewer's delay at its worst."""


@dataclass(slots=True)
class Checks:
    """`path` stands in the channel's place. Steps that were good once are not looked at again, but for playlists and
    the edge where more renditions are offered than were: rungs come after their source, on a slow machine long after.
    """

    path: str
    fetch: Fetch
    has_ladder: bool
    good: set[Step] = field(default_factory=set)
    _playlists: dict[str, bytes] = field(default_factory=dict)
    _grown: set[str] = field(default_factory=set)
    _offered_before: int = 0

    def look(self, feed: Mapping[str, Any] | None, is_recorded: bool, now: datetime) -> dict[Step, Found]:
        """Blocks: for a thread."""
        found: dict[Step, Found | None] = {Step.FEED: None if feed is None else self._feed(feed)}
        if is_recorded:
            found[Step.RECORDING] = {"is_good": True}
        if not self.good >= {Step.LADDER, Step.PLAYLISTS, Step.EDGE}:
            names = self._offered()
            if names:
                if len(names) > self._offered_before:
                    self._offered_before = len(names)
                    self.good -= {Step.PLAYLISTS, Step.EDGE}
                found[Step.LADDER] = self._ladder(names)
                playlists = self._read(names)
                found[Step.PLAYLISTS] = {"is_good": self._grown >= set(names), "grown": len(self._grown)}
                found[Step.EDGE] = self._edge(playlists, now)
        told = {step: one for step, one in found.items() if one is not None and step not in self.good}
        self.good |= {step for step, one in told.items() if one["is_good"]}
        return told

    def _feed(self, feed: Mapping[str, Any]) -> Found:
        measures, tracks = feed["measures"], {track["kind"] for track in feed["tracks"]}
        rate = measures["frame_rate"] or 0
        is_whole = tracks == {"video", "audio"} and abs(rate - FRAMES_PER_S) < FRAMES_PER_S / 5
        errors = [issue["type"] for issue in feed["issues"] if issue["level"] == "error"]
        return {
            "is_good": is_whole and not errors, "kbits": round((measures["received_bps"] or 0) / 1000),
            "fps": round(rate), "errors": len(errors),
        }  # fmt: skip

    def _offered(self) -> list[str]:
        """Renditions by name, as the multivariant playlists list them."""
        names: set[str] = set()
        for one in ("index", "audio"):
            text = self.fetch(f"/live/{self.path}/{one}.m3u8")
            listed = m3u8.loads(text.decode()) if text else m3u8.M3U8()
            uris = [variant.uri for variant in listed.playlists] + [media.uri for media in listed.media if media.uri]
            names.update(uri.removesuffix("/index.m3u8") for uri in uris)
        return sorted(names)

    def _ladder(self, names: list[str]) -> Found:
        """Names are BROADCAST/RENDITION."""
        wanted = SOURCES | ({rung.name for rung in RUNGS} if self.has_ladder else set())
        there = {name.rpartition("/")[2] for name in names} & wanted
        missing = ", ".join(sorted(wanted - there))
        return {"is_good": not missing, "found": len(there), "wanted": len(wanted), "missing": missing}

    def _read(self, names: list[str]) -> dict[str, m3u8.M3U8]:
        """Media playlists. One has grown when it was another at the look before, and has a whole segment."""
        found = {}
        for name in names:
            text = self.fetch(f"/live/{self.path}/{name}/index.m3u8") or b""
            playlist = m3u8.loads(text.decode())
            if any(segment.uri for segment in playlist.segments):
                found[name] = playlist
                if self._playlists.get(name, text) != text:
                    self._grown.add(name)
            self._playlists[name] = text
        return found

    def _edge(self, playlists: dict[str, m3u8.M3U8], now: datetime) -> Found | None:
        """The newest segment of each rendition, fetched as a viewer does."""
        if len(playlists) < len(self._playlists):
            return None
        sizes, delays_s = [], []
        for name, playlist in playlists.items():
            newest = [segment for segment in playlist.segments if segment.uri][-1]  # behind it lie parts of the next
            uris = [newest.uri, *([newest.init_section.uri] if newest.init_section else [])]
            sizes += [len(self.fetch(f"/live/{self.path}/{name}/{uri}") or b"") for uri in uris]
            ends_at = newest.program_date_time.astimezone(UTC).timestamp() + newest.duration
            delays_s.append(now.timestamp() - ends_at)
        return {
            "is_good": all(sizes) and max(delays_s) < LATE_S, "files": len(sizes), "lost": sizes.count(0),
            "delay_s": round(max(delays_s)),
        }  # fmt: skip
