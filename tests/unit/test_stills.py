"""Pictures of keyframes: what a real encoder sends becomes a JPEG, garbage becomes nothing, and neither takes long."""

import os
import subprocess
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from core.database import open_engine
from core.media import flv
from core.media.packet import Packet, VideoTrack
from core.web.i18n import Language
from ingest.console import OLD_STILL_S, Answer, Still, Studio, still_of
from ingest.console.cards import Facts, FeedFacts
from ingest.console.load import Load
from ingest.console.queries import OnWall
from mbashara.media_processes import MediaProcesses
from mbashara.settings import Settings
from mbashara.step_back import step_back
from mbashara.stills import NICENESS, RESTING_S, ROUND_S, Stills
from tests.unit.encoded_kit import FFMPEG, children_cpu_s
from tests.unit.site_kit import make_site
from transcode.stills.decode import HEIGHT, WIDTH, decode
from transcode.stills.keyframe import keyframe_file


@pytest.fixture(scope="module")
def encoded() -> tuple[VideoTrack, Packet]:
    """A configuration and a keyframe of x264, 4:3 as an old camera has it."""
    line = "-v error -f lavfi -i testsrc2=size=640x480:rate=25 -frames:v 3 -c:v libx264 -bf 2 -pix_fmt yuv420p -f flv -"
    made = subprocess.run([FFMPEG, *line.split()], capture_output=True, check=True, timeout=300)
    items = list(flv.TagReader().feed(made.stdout))
    track = next(item for item in items if isinstance(item, VideoTrack))
    return track, next(item for item in items if isinstance(item, Packet) and item.is_key)


def size_of(jpeg: bytes) -> tuple[int, int]:
    """Width and height from its start-of-frame marker (ITU-T T.81, B.2.2)."""
    at = 2
    while jpeg[at + 1] not in (0xC0, 0xC1, 0xC2):
        at += 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
    return int.from_bytes(jpeg[at + 7 : at + 9], "big"), int.from_bytes(jpeg[at + 5 : at + 7], "big")


def test_a_keyframe_becomes_a_small_picture(encoded: tuple[VideoTrack, Packet]) -> None:
    picture = decode(FFMPEG, keyframe_file(*encoded))
    assert picture is not None and size_of(picture) == (WIDTH, HEIGHT)
    assert 1_000 < len(picture) < 30_000


def test_garbage_becomes_no_picture_and_takes_no_time(encoded: tuple[VideoTrack, Packet]) -> None:
    track, packet = encoded
    before_s = children_cpu_s()
    for payload in (b"", bytes(range(256)) * 400, b"\xff\xff\xff\xff" * 9):
        garbage = decode(FFMPEG, keyframe_file(track, packet._replace(payload=payload)))
        assert garbage is None or size_of(garbage) == (WIDTH, HEIGHT)  # a decoder may conceal what it can't read
    assert decode(FFMPEG, b"no FLV at all") is None
    assert decode("/bin/false", keyframe_file(track, packet)) is None
    assert children_cpu_s() - before_s < 10


class OneFeed:
    """Media processes with one feed that has one keyframe; each time it is asked for, `on_air` tells the next."""

    def __init__(self, on_air: list[bool]) -> None:
        self.on_air, self.keyframe = on_air, "keyframe"

    def feeds_told(self) -> tuple[list[dict[str, Any]], bool]:
        return [{"channel": "ikulu", "role": "primary", "on_air": self.on_air[0], "tracks": [{"kind": "video"}]}], True

    def ask(self, slug: str, method: str, target: str, body: bytes) -> Answer:
        on_air = self.on_air.pop(0) if len(self.on_air) > 1 else self.on_air[0]
        headers = {"etag": self.keyframe, "x-on-air": str(int(on_air))}
        return (
            Answer(304, headers, b"")
            if f"known={self.keyframe}" in target
            else Answer(200, headers, self.keyframe.encode())
        )


@pytest.mark.parametrize(
    ("on_air", "is_public"),
    [([True], True), ([False], False), ([True, False], False)],  # the last: it ends while the picture is made
)
def test_only_what_is_on_the_air_is_shown_to_everyone(tmp_path: Path, on_air: list[bool], is_public: bool) -> None:
    settings = Settings(data=tmp_path, run_dir=tmp_path)
    public = settings.live / "ikulu" / "still.jpg"
    public.parent.mkdir(parents=True)
    settings.stills.mkdir()
    (settings.stills / "bunge.backup.jpg").write_bytes(b"of a feed that has gone")
    made: list[bytes] = []
    stills = Stills(settings, OneFeed(on_air), lambda keyframe: made.append(keyframe) or keyframe)  # type: ignore[arg-type,func-returns-value]
    for _ in range(2):
        stills.round(threading.Event())
    assert made == [b"keyframe"], "the same keyframe is decoded once"
    assert [path.name for path in settings.stills.iterdir()] == ["ikulu.primary.jpg"]
    assert public.exists() is is_public


def test_while_nobody_looks_a_picture_is_made_at_first_and_when_the_feed_goes_on_the_air(tmp_path: Path) -> None:
    settings, feed, made = Settings(data=tmp_path, run_dir=tmp_path), OneFeed([False]), list[bytes]()
    (settings.live / "ikulu").mkdir(parents=True)
    settings.stills.mkdir()

    def round_after(keyframe: str) -> None:
        feed.keyframe = keyframe
        stills.round(threading.Event())

    stills = Stills(settings, feed, lambda keyframe: made.append(keyframe) or keyframe)  # type: ignore[arg-type,func-returns-value]
    round_after("k1")
    round_after("k2")
    assert made == [b"k1"]
    feed.on_air = [True]
    round_after("k3")
    round_after("k4")
    assert made == [b"k1", b"k3"] and (settings.live / "ikulu" / "still.jpg").read_bytes() == b"k3"
    settings.levels_looked_file.touch()
    round_after("k5")
    assert made == [b"k1", b"k3", b"k5"]


@pytest.mark.parametrize(("age_s", "still"), [(None, Still.NONE), (1, Still.FRESH), (OLD_STILL_S + 5, Still.OLD)])
def test_a_picture_that_stands_still_is_told_as_old(tmp_path: Path, age_s: float | None, still: Still) -> None:
    file = tmp_path / "ikulu.primary.jpg"
    if age_s is not None:
        file.touch()
        os.utime(file, (made_s := time.time() - age_s, made_s))
    assert still_of(file) is still
    site = make_site()
    card = Facts(
        OnWall("ikulu", "Ikulu", "State House", None), (FeedFacts("primary", "good", True, still, 1.0),), False
    )
    html = site.macro(Language.SW, "ingest/console/card.html", "card")(card)
    assert ("<img" in html, "Picha ya zamani" in html) == (still is not Still.NONE, still is Still.OLD)


def test_viewers_have_a_picture_also_while_no_staff_look(tmp_path: Path) -> None:
    """It is made once a minute then: one that is almost due is still shown, one that is long due is not."""
    engine, media = open_engine("postgresql:///nothing"), MediaProcesses(Settings(data=tmp_path))
    studio = Studio(engine, media, b"", "", tmp_path, tmp_path, lambda: Load((), 0, 0, 0, 0, 0))
    file = tmp_path / "ikulu" / "still.jpg"
    file.parent.mkdir()
    assert not studio.has_public_still("ikulu")
    for age_s, is_shown in ((1, True), (RESTING_S + 2 * ROUND_S, True), (3 * RESTING_S, False)):
        file.touch()
        os.utime(file, (made_s := time.time() - age_s, made_s))
        assert studio.has_public_still("ikulu") == is_shown


def stepped_back(how: Callable[[], None]) -> tuple[str, list[str]]:
    """The group and the numbers of proc(5), stat, that a process has then."""
    words = ["cat", "/proc/self/autogroup", "/proc/self/stat"]
    told = subprocess.run(words, preexec_fn=how, capture_output=True, text=True).stdout
    group, stat = told.splitlines()
    return group, stat.split()


@pytest.mark.skipif(not Path("/proc/self/autogroup").exists(), reason="this kernel does not weigh sessions")
def test_who_steps_back_is_a_session_of_the_least_weight() -> None:
    group, stat = stepped_back(step_back)
    assert group != Path("/proc/self/autogroup").read_text().strip() and group.endswith("nice 19")
    assert stat[40] == str(os.SCHED_IDLE)


@pytest.mark.skipif(not Path("/proc/self/autogroup").exists(), reason="this kernel does not weigh sessions")
def test_stills_have_their_small_share_of_a_full_machine_whatever_the_kernel_weighs() -> None:
    group, stat = stepped_back(partial(step_back, NICENESS))
    assert group.endswith(f"nice {NICENESS}")
    assert (stat[18], stat[40]) == (str(min(19, os.nice(0) + NICENESS)), str(os.SCHED_OTHER))
