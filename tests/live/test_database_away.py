"""PostgreSQL lost during a broadcast, dead or hung: feed, viewers and recording go on, and rows are caught up after."""

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from core.channels import ChannelKeys
from tests.live import media_files
from tests.up import Up, get, until


@pytest.fixture(scope="module")
def feed_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return media_files.make_flv(tmp_path_factory.mktemp("away") / "feed.flv", 90)


@contextmanager
def dead(up: Up) -> Iterator[None]:
    """Killed, and its folder hidden, so that it can't come back before we say so."""
    cluster, hidden = up.data / "postgres", up.data / "hidden"
    cluster.rename(hidden)
    up.kill("postgres")
    try:
        yield
    finally:
        hidden.rename(cluster)


@contextmanager
def hung(up: Up) -> Iterator[None]:
    """Every process of the server is stopped: connections stay open and nothing answers on them."""
    server = psutil.Process(up.process_id("postgres"))
    family = [server, *server.children()]
    for process in family:
        process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGCONT)


@contextmanager
def publishing(path: Path, up: Up, key: str) -> Iterator["subprocess.Popen[bytes]"]:
    encoder = media_files.publish(path, f"{up.rtmp_url}/{key}", is_endless=True)
    try:
        yield encoder
    finally:
        encoder.terminate()
        encoder.wait(60)


def state(up: Up, slug: str) -> dict[str, str]:
    status, body, _ = get(f"{up.http_url}/live/{slug}/state.json")
    return dict(json.loads(body)) if status == 200 else {"state": "unknown"}


def wait_for(up: Up, slug: str, wanted: str) -> str:
    until(lambda: state(up, slug)["state"] == wanted, f"{slug} never {wanted}")
    return state(up, slug)["broadcast"]


def segments(up: Up, path: str) -> list[str]:
    text = get(f"{up.http_url}{path}/index.m3u8")[1].decode()
    return [line for line in text.splitlines() if line.endswith(".m4s") and not line.startswith("#")]


def channels(up: Up, *slugs: str) -> dict[str, ChannelKeys]:
    keys = {slug: up.channel_add(slug) for slug in slugs}
    for slug in slugs:
        wait_for(up, slug, "offline")  # media knows its keys
    return keys


@pytest.mark.parametrize("away", [dead, hung])
def test_nothing_on_the_air_waits_for_the_database(mbashara_up: Up, feed_file: Path, away: type) -> None:
    up, first, second = mbashara_up, f"away-1-{away.__name__}", f"away-2-{away.__name__}"
    keys = channels(up, first, second)
    children = {name: up.process_id(name) for name in up.children()}
    with publishing(feed_file, up, keys[first].primary_key) as encoder:
        broadcast = wait_for(up, first, "live")
        live, kept = f"/live/{first}/{broadcast}/source", f"/recordings/{broadcast}/source"
        until(lambda: len(segments(up, live)) >= 1, "no segment")
        with away(up):
            until(lambda: "postgres" in up.health()["degraded"], "nobody noticed")
            before = len(segments(up, live)), len(segments(up, kept))
            with publishing(feed_file, up, keys[second].backup_key):
                other = wait_for(up, second, "live")
                until(lambda: len(segments(up, live)) >= before[0] + 2, "viewers get nothing new")
                until(lambda: len(segments(up, kept)) >= before[1] + 2, "the recording stands still")
                assert get(f"{up.http_url}{live}/{segments(up, live)[-1]}")[0] == 200
            wait_for(up, second, "ended")
            ended = f"{up.http_url}/recordings/{other}/source/index.m3u8"
            until(lambda: b"#EXT-X-ENDLIST" in get(ended)[1], "the recording does not end")
            assert encoder.poll() is None, "the feed went on"
        up.wait_healthy()
        until(lambda: recorded(up, other) == "complete", "rows were not caught up")
        until(lambda: recorded(up, broadcast) == "recording", "the row of what is on the air is another")
    until(lambda: recorded(up, broadcast) == "complete", "the feed's own end is not in the rows")
    assert [one["gaps"] for one in up.recordings() if one["id"] in (broadcast, other)] == [[], []]
    now = {name: up.process_id(name) for name in up.children()}
    assert [name for name in now if now[name] != children[name]] == (["postgres"] if away is dead else [])


def recorded(up: Up, broadcast: str) -> str | None:
    return up.recording_states().get(broadcast)


def test_a_strange_key_is_refused_while_the_database_hangs(mbashara_up: Up, feed_file: Path) -> None:
    """It may be a new one, so the database is asked, but not for ever."""
    with hung(mbashara_up), publishing(feed_file, mbashara_up, "nobody-knows-this-key") as encoder:
        assert encoder.wait(60) != 0
    mbashara_up.wait_healthy()
