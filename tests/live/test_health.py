"""Every type of issue, provoked by a real bad feed that ffmpeg made, and cleared by a good one."""

import json
import socket
import subprocess
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from core.media import flv
from ingest.health.issues import IssueType as Type
from ingest.health.issues import Level, State
from mbashara.settings import Settings
from tests.live.health_kit import (
    Film,
    Films,
    Room,
    Turn,
    annex_b,
    he_aac,
    jumping,
    kinds,
    late_sound,
    told_of,
    without,
)
from tests.live.media_files import FFMPEG
from tests.up import Up, get, until

GOOD = Film()
GOOD_LONG = Film(seconds=24)
CALM = Film(picture="testsrc2=size=160x90:rate=25", seconds=240, video="-b:v 80k")


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Films:
    return Films(tmp_path_factory.mktemp("films"))


def test_a_good_feed_is_good(films: Films) -> None:
    room = Room()
    feed = room.enter()
    assert feed.health.state == "noData"
    assert room.play((feed, films.tags(GOOD_LONG))) == set()
    assert feed.health.state == "good"
    measures = feed.health.measures
    assert measures.frame_rate == pytest.approx(25, abs=0.1)
    assert measures.gop_s == measures.gop_max_s == 2.0
    assert measures.pace == pytest.approx(1, abs=0.02)
    assert measures.audio_bps == pytest.approx(128_000, rel=0.1)
    assert measures.video_bps == pytest.approx(800_000, rel=0.25)
    assert measures.av_offset_s == pytest.approx(0, abs=0.1)


BAD = {
    Type.AUDIO_BITRATE_HIGH: (Film(sound="aevalsrc=random(0)|random(1):s=48000", audio="-b:a 480k"), Level.INFO),
    Type.AUDIO_BITRATE_LOW: (Film(sound="anullsrc=sample_rate=48000"), Level.WARNING),
    Type.AUDIO_CODEC: (Film(audio="-c:a libmp3lame -ar 44100"), Level.ERROR),
    Type.AUDIO_SAMPLE_RATE: (Film(audio="-ar 22050 -b:a 64k"), Level.WARNING),
    Type.AUDIO_TOO_MANY_CHANNELS: (Film(audio="-ac 6 -b:a 300k"), Level.WARNING),
    Type.BITRATE_HIGH: (Film(video="-vf noise=alls=60:allf=t -b:v 5M"), Level.WARNING),
    Type.BITRATE_LOW: (Film(picture="color=gray:size=640x360:rate=25"), Level.WARNING),
    Type.FRAME_RATE_HIGH: (Film(picture="testsrc2=size=640x360:rate=100", video="-g 200"), Level.WARNING),
    Type.FRAME_RATE_LOW: (Film(picture="testsrc2=size=640x360:rate=10", video="-g 20"), Level.WARNING),
    Type.FRAMES_MISSING: (Film(video=r"-bsf:v noise=drop=not(key)*eq(mod(n\,10)\,3)"), Level.WARNING),
    Type.GOP_SIZE_LONG: (Film(video="-g 90"), Level.WARNING),
    Type.GOP_SIZE_OVER: (Film(video="-g 1000"), Level.ERROR),
    Type.GOP_SIZE_SHORT: (Film(video="-g 10"), Level.INFO),
    Type.OPEN_GOP: (Film(video="-bf 2 -x264-params open-gop=1"), Level.WARNING),
    Type.B_FRAMES: (Film(video="-bf 12 -b_strategy 0"), Level.INFO),
    Type.INTERLACED_VIDEO: (Film(video="-flags +ildct+ilme"), Level.WARNING),
    Type.VIDEO_CODEC: (Film(video="-c:v flv"), Level.ERROR),
    Type.VIDEO_LEVEL: (Film(video="-level 5.2"), Level.WARNING),
    Type.VIDEO_PROFILE: (Film(video="-pix_fmt yuv444p"), Level.ERROR),
    Type.VIDEO_RESOLUTION_SUBOPTIMAL: (Film(picture="testsrc2=size=640x480:rate=25"), Level.INFO),
    Type.VIDEO_RESOLUTION_UNSUPPORTED: (Film(picture="color=gray:size=2560x1440:rate=25", seconds=8), Level.ERROR),
    Type.MULTIPLE_AUDIO_STREAMS: (Film(tracks="-map 0:v -map 1:a -map 1:a"), Level.WARNING),
    Type.MULTIPLE_VIDEO_STREAMS: (Film(tracks="-map 0:v -map 0:v -map 1:a"), Level.WARNING),
    Type.NO_AUDIO_STREAM: (Film(tracks="-map 0:v"), Level.WARNING),
    Type.NO_VIDEO_STREAM: (Film(tracks="-map 1:a"), Level.WARNING),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_setting_is_told_and_cleared(films: Films, kind: Type) -> None:
    film, level = BAD[kind]
    room = Room()
    feed = room.enter()
    room.play((feed, films.tags(film)))
    assert told_of(feed, kind).level is level
    room.play((feed, films.tags(GOOD_LONG)))
    assert (kinds(feed), feed.health.state) == (set(), State.GOOD)


FAULTS = [
    (Type.BAD_CONTAINER, annex_b, Level.ERROR),
    (Type.AUDIO_PROFILE, he_aac, Level.WARNING),
    (Type.AV_OFFSET, late_sound, Level.WARNING),
    (Type.TIMESTAMP_JUMP, jumping, Level.WARNING),
    (Type.NO_AUDIO_STREAM, without(flv.AUDIO, after_ms=5000), Level.ERROR),
    (Type.NO_VIDEO_STREAM, without(flv.VIDEO, after_ms=5000), Level.ERROR),
]


@pytest.mark.parametrize(("kind", "damage", "level"), FAULTS)
def test_a_fault_of_the_encoder_is_told_and_cleared(films: Films, kind: Type, damage: Turn, level: Level) -> None:
    room = Room()
    feed = room.enter()
    room.play((feed, damage(films.tags(GOOD))))
    assert told_of(feed, kind).level is level
    room.play((feed, films.tags(GOOD_LONG)))
    assert (kinds(feed), feed.health.state) == (set(), State.GOOD)


SPEEDS = [
    (Type.VIDEO_INGESTION_STARVED, 0.8, State.BAD),
    (Type.VIDEO_INGESTION_FASTER_THAN_REALTIME, 1.3, State.OK),
]


@pytest.mark.parametrize(("kind", "speed", "state"), SPEEDS)
def test_a_wrong_speed_is_told_and_cleared(films: Films, kind: Type, speed: float, state: State) -> None:
    room = Room()
    feed = room.enter()
    assert room.play((feed, films.tags(GOOD)), speed=speed) == {kind}
    assert feed.health.state is state
    room.play((feed, films.tags(GOOD_LONG)))
    assert (kinds(feed), feed.health.state) == (set(), State.GOOD)


def test_what_a_stall_held_back_may_come_at_any_speed(films: Films) -> None:
    room = Room()
    feed = room.enter()
    room.play((feed, films.tags(GOOD)))
    room.wait(4)
    assert feed.health.state == "noData"
    told = room.play((feed, films.tags(GOOD)), speed=1.4)
    assert Type.VIDEO_INGESTION_FASTER_THAN_REALTIME not in told
    room.play((feed, films.tags(GOOD_LONG)))
    assert feed.health.state == "good"


def test_a_clock_that_drifts_is_told_and_cleared(films: Films) -> None:
    room = Room()
    feed = room.enter()
    sent = films.tags(CALM)
    assert Type.CLOCK_DRIFT in room.play((feed, sent), speed=1.002)
    value = told_of(feed, Type.CLOCK_DRIFT).value
    assert isinstance(value, int) and value == pytest.approx(2000, abs=100)
    for _ in range(4):
        room.play((feed, sent))
    assert Type.CLOCK_DRIFT not in kinds(feed)
    drift = feed.health.measures.drift
    assert drift is not None and abs(drift.ppm) < 100


def test_a_clock_of_life_does_not_drift(films: Films) -> None:
    room = Room()
    feed = room.enter()
    assert Type.CLOCK_DRIFT not in room.play((feed, films.tags(CALM)), speed=1.0001)
    drift = feed.health.measures.drift
    assert drift is not None and abs(drift.ppm - 100) <= drift.error_ppm + 20


MISMATCHES = {
    Type.AUDIO_BITRATE_MISMATCH: Film(audio="-b:a 64k"),
    Type.AUDIO_CODEC_MISMATCH: Film(audio="-c:a libmp3lame -ar 44100"),
    Type.AUDIO_SAMPLE_RATE_MISMATCH: Film(audio="-ar 44100"),
    Type.AUDIO_STEREO_MISMATCH: Film(audio="-ac 1"),
    Type.FRAME_RATE_MISMATCH: Film(picture="testsrc2=size=640x360:rate=30", video="-g 60"),
    Type.GOP_MISMATCH: Film(video="-g 75"),
    Type.RESOLUTION_MISMATCH: Film(picture="testsrc2=size=854x480:rate=25"),
    Type.VIDEO_BITRATE_MISMATCH: Film(video="-vf noise=alls=20:allf=t -b:v 1600k"),
    Type.VIDEO_CODEC_MISMATCH: Film(video="-c:v flv"),
    Type.VIDEO_INTERLACE_MISMATCH: Film(video="-flags +ildct+ilme"),
    Type.VIDEO_PROFILE_MISMATCH: Film(video="-preset superfast"),
}


@pytest.mark.parametrize("kind", MISMATCHES)
def test_a_backup_that_differs_is_told_and_cleared(films: Films, kind: Type) -> None:
    room = Room()
    primary, backup = room.enter(), room.enter("backup")
    room.play((primary, films.tags(GOOD)), (backup, films.tags(MISMATCHES[kind])))
    assert kind in kinds(primary) & kinds(backup)
    room.play((primary, films.tags(GOOD_LONG)), (backup, films.tags(GOOD_LONG)))
    assert kinds(primary) == kinds(backup) == set()


def test_every_type_is_provoked() -> None:
    provoked = {*BAD, *MISMATCHES, *(kind for kind, *_ in [*FAULTS, *SPEEDS]), Type.CLOCK_DRIFT}
    assert provoked == set(Type)


# The whole program.


def ask(up: Up, path: str) -> Any:
    """Of the media process itself, on its unix socket: the edge doesn't pass it on."""
    connection = HTTPConnection("media")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(Settings(data=up.data).socket("media-0")))
    try:
        connection.request("GET", path)
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()


def feed_of(up: Up, slug: str) -> dict[str, Any]:
    return next((feed for feed in ask(up, "/feeds") if feed["channel"] == slug), {})


def levels_of(feed: dict[str, Any]) -> dict[str, float]:
    """How many issues there are of each level."""
    told = [issue["level"] for issue in feed["issues"]]
    return {level.value: float(told.count(level.value)) for level in Level}


def levels_in_metrics(up: Up, slug: str) -> dict[str, float]:
    metrics = get(f"{up.http_url}/metrics")[1].decode().splitlines()
    lines = [line for line in metrics if line.startswith("mbashara_feed_issues{") and f'"{slug}"' in line]
    return {level.value: float(line.split()[-1]) for level in Level for line in lines if f'"{level.value}"' in line}


def test_the_program_tells_of_a_bad_feed(mbashara_up: Up, tmp_path: Path) -> None:
    path = tmp_path / "short.flv"
    Film(video="-g 10", seconds=10).make(path)
    url = f"{mbashara_up.rtmp_url}/{mbashara_up.channel_add('afya').primary_key}"
    line = [FFMPEG, "-v", "error", "-re", "-stream_loop", "-1", "-i", str(path), "-c", "copy", "-f", "flv", url]
    encoder = subprocess.Popen(line, stdin=subprocess.DEVNULL)
    try:
        short = {"type": "gopSizeShort", "level": "info", "value": 0.4, "limit": 0.9}
        until(lambda: short in feed_of(mbashara_up, "afya").get("issues", ()), "no issue")
        feed = feed_of(mbashara_up, "afya")
        assert (feed["role"], feed["on_air"], feed["address"].startswith("127.0.0.1:")) == ("primary", True, True)
        assert [track["kind"] for track in feed["tracks"]] == ["audio", "video"]
        until(lambda: levels_in_metrics(mbashara_up, "afya") == levels_of(feed_of(mbashara_up, "afya")), "metrics")
        series = ask(mbashara_up, "/feeds/series?channel=afya&role=primary")
        assert series["columns"]["gop_s"][-1] == pytest.approx([0.4] * 3)
        assert ask(mbashara_up, "/feeds/series?channel=afya&role=backup") == {"error": "no such series"}
        assert b"127.0.0.1" not in get(f"{mbashara_up.http_url}/feeds")[1]
    finally:
        encoder.terminate()
        encoder.wait(60)
