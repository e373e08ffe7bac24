"""Feeds made by ffmpeg, good and bad, and a room where they arrive by a simulated clock."""

import heapq
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from core.media import flv
from ingest.feed import Feed
from ingest.health.issues import Issue, IssueType
from tests.live.media_files import FFMPEG
from tests.live.rtmp_kit import Tag, is_head, tags

START_S = 1000.0
FRAME_MS = 40


@dataclass(frozen=True)
class Film:
    """What ffmpeg encodes. As it stands it is a feed without fault; `video` and `audio` are options added to it."""

    picture: str = "testsrc2=size=640x360:rate=25"
    sound: str = "anoisesrc=sample_rate=48000:amplitude=0.2"
    video: str = ""
    audio: str = ""
    tracks: str = "-map 0:v -map 1:a"
    seconds: int = 14

    def make(self, path: Path) -> list[Tag]:
        inputs = [f"-f lavfi -t {self.seconds} -i {source}" for source in (self.picture, self.sound)]
        video = f"-c:v libx264 -preset ultrafast -g 50 -sc_threshold 0 -pix_fmt yuv420p -b:v 800k {self.video}"
        audio = f"-c:a aac -ac 2 -b:a 128k {self.audio}"
        line = f"{FFMPEG} -v error -y {' '.join(inputs)} {self.tracks} {video} {audio} -f flv {path}"
        subprocess.run(line.split(), check=True, timeout=120)
        return [tag for tag in tags(path) if tag[0] != flv.SCRIPT]


class Films:
    """Each film is made once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0
        self.tags = cache(self._make)

    def _make(self, film: Film) -> list[Tag]:
        self._count += 1
        return film.make(self._folder / f"{self._count}.flv")


Turn = Callable[[list[Tag]], list[Tag]]


@dataclass
class Room:
    """Feeds of one channel. Each `play` goes on where the last ended, in wall clock and in timestamps."""

    now_s: float = START_S
    sample_s: float = START_S + 1
    feeds: list[Feed] = field(default_factory=list)
    ends_ms: dict[str, int] = field(default_factory=dict)

    def enter(self, role: str = "primary") -> Feed:
        feed = Feed(role, role, lambda *_: None)
        self.feeds.append(feed)
        return feed

    def play(self, *lanes: tuple[Feed, list[Tag]], speed: float = 1.0) -> set[IssueType]:
        """At `speed` seconds of media a second. Returns all that was told of the last lane's feed."""
        told: set[IssueType] = set()
        watched, begin_s = lanes[-1][0], self.now_s
        for at_s, _, feed, tag in heapq.merge(*(self._arrivals(n, *lane, speed) for n, lane in enumerate(lanes))):
            while at_s >= self.sample_s:
                self._sample()
                told |= kinds(watched)
            feed.on_message(tag[0], tag[1], bytearray(tag[2]))
        self.now_s = begin_s + max(at_ms + FRAME_MS for _, sent in lanes for _, at_ms, _ in sent) / 1000 / speed
        return told

    def wait(self, seconds: int) -> None:
        self.now_s += seconds
        while self.sample_s <= self.now_s:
            self._sample()

    def _sample(self) -> None:
        for feed in self.feeds:
            feed.sample(self.sample_s, next((one for one in self.feeds if one is not feed), None))
        self.sample_s += 1

    def _arrivals(
        self, lane: int, feed: Feed, sent: list[Tag], speed: float
    ) -> Iterator[tuple[float, tuple[int, int], Feed, Tag]]:
        """Lanes and tags are numbered, so that what arrives at once is never compared."""
        shift_ms = self.ends_ms.get(feed.identity, 0)
        begin_s, last_s = self.now_s, self.now_s
        for number, (type_id, at_ms, body) in enumerate(sent):
            last_s = max(last_s, begin_s + at_ms / 1000 / speed)
            yield last_s, (lane, number), feed, (type_id, at_ms + shift_ms, body)
        self.ends_ms[feed.identity] = shift_ms + max(at_ms for _, at_ms, _ in sent) + FRAME_MS


def kinds(feed: Feed) -> set[IssueType]:
    return {issue.type for issue in feed.health.issues}


def told_of(feed: Feed, kind: IssueType) -> Issue:
    return next(issue for issue in feed.health.issues if issue.type is kind)


# What no ffmpeg writes: its films, damaged.


def annex_b(sent: list[Tag]) -> list[Tag]:
    """Start codes where FLV has lengths, as some hardware encoders send."""
    return [
        tag if tag[0] != flv.VIDEO or is_head(tag) else (tag[0], tag[1], tag[2][:5] + b"\0\0\0\1" + tag[2][9:])
        for tag in sent
    ]


def he_aac(sent: list[Tag]) -> list[Tag]:
    """The header announces SBR over a core of 24 kHz."""
    return [(8, at_ms, b"\xaf\0\x2b\x11\x88\0") if (kind, body[1]) == (8, 0) else (kind, at_ms, body)
            for kind, at_ms, body in sent]  # fmt: skip


def late_sound(sent: list[Tag]) -> list[Tag]:
    """Its timestamps are two seconds behind those of the pictures that it arrives with."""
    return [
        (kind, at_ms, body) if kind != flv.AUDIO else (kind, max(0, at_ms - 2000), body) for kind, at_ms, body in sent
    ]


def jumping(sent: list[Tag]) -> list[Tag]:
    """After four seconds the timestamps are five seconds older."""
    return [(kind, at_ms - 5000 if at_ms > 4000 else at_ms, body) for kind, at_ms, body in sent]


def without(type_id: int, after_ms: int = -1) -> Turn:
    return lambda sent: [tag for tag in sent if tag[0] != type_id or is_head(tag) or tag[1] <= after_ms]
