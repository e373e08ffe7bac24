"""`mbashara up` as an operator meets it: starts, says what it can't do, survives its children, ends clean."""

import json
import os
import re
import signal
import socket
from collections.abc import Iterator
from contextlib import closing, suppress
from http.client import HTTPConnection
from pathlib import Path

import psutil
import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families

from core.workers import channel_worker
from mbashara.data import prepare
from mbashara.settings import Settings
from tests.live import media_files
from tests.unit.test_cage import HAS_LANDLOCK
from tests.up import Up, command, data_folder, get, running, started, until

CHILDREN = ("postgres", "media-0", "web", "work", "stills", "edge")


@pytest.fixture
def other_up() -> Iterator[Up]:
    with data_folder() as data, running(data) as up:
        yield up


def alive(processes: list[psutil.Process]) -> list[str]:
    return [str(process) for process in processes if is_alive(process)]


def is_alive(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def family(up: Up) -> list[psutil.Process]:
    supervisor = psutil.Process(up.process.pid)
    return [supervisor, *supervisor.children(recursive=True)]


def test_all_parts_answer(mbashara_up: Up) -> None:
    assert mbashara_up.health() == {
        "state": "ok",
        "degraded": [],
        "parts": dict.fromkeys(sorted(CHILDREN), "ok"),
    }


def test_what_is_on_the_air_goes_before_all_else(mbashara_up: Up) -> None:
    """Where the kernel lets who starts it (CAP_SYS_NICE); elsewhere all start alike, and others step back."""
    capabilities = int(re.findall(r"CapEff:\s*(\w+)", Path("/proc/self/status").read_text())[0], 16)
    own, first = psutil.Process(mbashara_up.process.pid).nice(), -10 if capabilities & 1 << 23 else 0
    wanted = {"edge": first, "media-0": first, "web": 0, "work": 0, "postgres": 0}
    assert {name: psutil.Process(mbashara_up.process_id(name)).nice() - own for name in wanted} == wanted


@pytest.mark.parametrize("name", CHILDREN)
def test_a_killed_child_comes_back_alone(mbashara_up: Up, name: str) -> None:
    before = {child: mbashara_up.process_id(child) for child in CHILDREN}
    restarts = mbashara_up.children()[name]["restarts"]
    mbashara_up.wait_restarted(name, mbashara_up.kill(name))
    mbashara_up.wait_healthy()
    after = {child: mbashara_up.process_id(child) for child in CHILDREN}
    assert [child for child in CHILDREN if after[child] != before[child]] == [name]
    assert mbashara_up.children()[name]["restarts"] == restarts + 1
    assert f'"child": "{name}"' in mbashara_up.log.read_text()


@pytest.mark.skipif(not HAS_LANDLOCK, reason="this kernel has no Landlock of version 6")
def test_the_keys_are_out_of_reach_of_who_meets_strangers_first(mbashara_up: Up) -> None:
    said = [json.loads(line) for line in mbashara_up.log.read_text().splitlines() if "keys are out of reach" in line]
    assert {one["process"] for one in said} == {"media-0", "stills", "postgres"}
    with psycopg.connect(mbashara_up.database_url()) as server:
        for path in (mbashara_up.data / "secrets" / "pepper", *mbashara_up.data.glob("secrets/signing/*.pem")):
            with server.transaction(), pytest.raises(psycopg.errors.InsufficientPrivilege):
                server.execute("select pg_read_binary_file(%s)", [str(path)])


def test_metrics_tell_restarts_and_workers(mbashara_up: Up) -> None:
    status, body, _ = get(f"{mbashara_up.http_url}/metrics")
    assert status == 200
    assert 'mbashara_child_running{child="edge"} 1.0' in body.decode()
    assert 'mbashara_restarts_total{child="web"}' in body.decode()
    assert 'worker="media-0"' in body.decode()


def test_without_a_database_the_rest_goes_on(other_up: Up) -> None:
    """The cluster's folder is hidden, so that PostgreSQL stays away until it is put back."""
    cluster, hidden = other_up.data / "postgres", other_up.data / "hidden"
    before = {child: other_up.process_id(child) for child in CHILDREN}
    cluster.rename(hidden)
    other_up.kill("postgres")
    until(lambda: other_up.health()["degraded"] == ["postgres"], "the lost database alone was not noticed")
    hidden.rename(cluster)
    other_up.wait_healthy()
    assert [name for name in CHILDREN if other_up.process_id(name) != before[name]] == ["postgres"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_leaves_no_process_and_keeps_the_data(number: signal.Signals) -> None:
    with data_folder() as data:
        with running(data) as up:
            up.channel_add("bunge")
            processes = family(up)
            assert up.stop(number) == 0
            until(lambda: alive(processes) == [], "some outlived it")  # whom a kill took may need a moment to be gone
        assert [one["slug"] for one in json.loads(command(data, "channel", "list", "--json").stdout)] == ["bunge"]


def test_a_killed_supervisor_takes_its_children_along_and_can_start_again() -> None:
    with data_folder() as data:
        with started(data) as up:
            processes = family(up)
            os.kill(up.process_id("stills"), signal.SIGSTOP)  # as where others leave it no time at all
            os.kill(up.process.pid, signal.SIGKILL)
            up.process.wait()
            until(lambda: alive(processes) == [], "children outlived the supervisor")
        with running(data) as up:
            assert up.health()["state"] == "ok"


def refused(*arguments: str, up: Up | None = None, **settings: object) -> str:
    """The one line with which `up` declines."""
    with data_folder() as own_data:
        told = command(up.data if up else own_data, "up", *arguments, **settings)
    assert told.returncode == 2
    assert told.stdout == ""
    lines = [line for line in told.stderr.splitlines() if not line.startswith("{")]
    assert len(lines) == 1, told.stderr
    return lines[0]


def test_a_second_up_on_the_same_data_is_refused(mbashara_up: Up) -> None:
    assert "another mbashara runs on" in refused(up=mbashara_up)


@pytest.mark.parametrize("part", ["http", "rtmp"])
def test_a_port_in_use_is_refused(part: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        addresses = {
            "http": "127.0.0.1:0",
            "rtmp": "127.0.0.1:0",
            part: f"127.0.0.1:{taken.getsockname()[1]}",
        }
        line = refused("--http", addresses["http"], "--rtmp", addresses["rtmp"])
    assert f"{part.upper()} cannot listen on {addresses[part]}: Address already in use" in line


def test_too_little_space_is_refused() -> None:
    assert "MB free in" in refused(min_free_mb=1 << 40)


def test_data_of_another_version_is_refused() -> None:
    with data_folder() as data:
        data.mkdir()
        (data / "VERSION").write_text("99\n")
        told = command(data, "up")
    assert told.returncode == 2
    assert "is of version 99, this program of version 2" in told.stderr


def test_a_folder_of_other_things_is_refused_and_left_alone() -> None:
    with data_folder() as data:
        data.mkdir()
        (data / "letter.txt").write_text("not ours")
        told = command(data, "up")
        assert [path.name for path in data.iterdir()] == ["letter.txt"]
    assert "not a data folder" in told.stderr


def test_commands_work_without_up() -> None:
    with data_folder() as data:
        prepare(Settings(data=data))  # as an `up` of before has
        added = command(data, "channel", "add", "ikulu", "--name-sw", "Ikulu", "--name-en", "State House", "--json")
        assert set(json.loads(added.stdout)) >= {"primary_key", "backup_key"}, added.stderr
        again = command(data, "channel", "add", "ikulu", "--name-sw", "Ikulu", "--name-en", "State House")
        assert (again.returncode, again.stderr.count("\n")) == (2, 1)
        assert " / channel ikulu exists already" in again.stderr
        rotated = command(data, "channel", "rotate-key", "ikulu", "--json")
        assert json.loads(rotated.stdout)["primary_key"] != json.loads(added.stdout)["primary_key"]
        listed = json.loads(command(data, "channel", "list", "--json").stdout)
    assert listed == [{"slug": "ikulu", "name_sw": "Ikulu", "name_en": "State House", "institution": "ega"}]


def test_a_taken_over_key_and_an_institution(mbashara_up: Up) -> None:
    keys = mbashara_up.channel_add_by_command("inec", "--institution", "tume", "--key", "ufunguo-wa-zamani-1")
    assert keys.primary_key == "ufunguo-wa-zamani-1"
    assert len(keys.backup_key) >= 26
    twice = command(mbashara_up.data, "channel", "add", "x", "--name-sw=X", "--name-en=X", f"--key={keys.primary_key}")
    assert twice.returncode == 2
    assert "another channel's" in twice.stderr


def test_a_feed_becomes_a_recording_of_which_rows_tell(mbashara_up: Up, tmp_path: Path) -> None:
    feed = media_files.make_flv(tmp_path / "feed.flv", 6)
    encoder = media_files.publish(feed, f"{mbashara_up.rtmp_url}/{mbashara_up.channel_add('sauti').primary_key}")
    assert encoder.wait(60) == 0
    until(
        lambda: [*mbashara_up.recording_states("sauti").values()] == ["complete"], "no recording, or it was not closed"
    )
    (told,) = [one for one in mbashara_up.recordings() if one["channel"] == "sauti"]
    assert told["gaps"] == []
    assert told["duration_ms"] == pytest.approx(6000, abs=150)
    folder = mbashara_up.data / "recordings" / told["id"]
    assert told["size_bytes"] == sum(path.stat().st_size for path in folder.glob("*/*.m[4p]*"))
    assert b"#EXT-X-ENDLIST" in get(f"{mbashara_up.http_url}/recordings/{told['id']}/source/index.m3u8")[1]
    assert get(f"{mbashara_up.http_url}/en/recordings/{told['id']}")[0] == 200


def refuses(up: Up, key: str, feed: Path) -> bool:
    """It is let in otherwise, and sends its four seconds to the end."""
    encoder = media_files.publish(feed, f"{up.rtmp_url}/{key}")
    try:
        return encoder.wait(60) != 0
    finally:
        encoder.kill()
        encoder.wait()


def test_a_rotated_key_lets_nobody_in_and_the_new_one_does(mbashara_up: Up, tmp_path: Path) -> None:
    feed = media_files.make_flv(tmp_path / "feed.flv", 4)
    old = mbashara_up.channel_add("zamu")
    new = json.loads(command(mbashara_up.data, "channel", "rotate-key", "zamu", "--json").stdout)
    until(lambda: refuses(mbashara_up, old.primary_key, feed), "the revoked key still lets in")
    assert refuses(mbashara_up, old.backup_key, feed)
    assert media_files.publish(feed, f"{mbashara_up.rtmp_url}/{new['primary_key']}").wait(60) == 0


@pytest.fixture(scope="module")
def two_workers() -> Iterator[Up]:
    with data_folder() as data, running(data, "--media-workers", "2", ladder=False, log_level="debug") as up:
        yield up


@pytest.fixture(scope="module")
def on_two_workers(two_workers: Up, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Two channels of each worker on the air; slugs with their keys."""
    feed = media_files.make_flv(tmp_path_factory.mktemp("two") / "feed.flv", 10)
    keys = {slug: two_workers.channel_add(slug).primary_key for slug in ("ikulu", "bunge", "mfano", "ajira")}
    assert sorted(channel_worker(slug, 2) for slug in keys) == [0, 0, 1, 1]
    encoders = [media_files.publish(feed, f"{two_workers.rtmp_url}/{key}", is_endless=True) for key in keys.values()]
    yield keys
    for encoder in encoders:
        encoder.kill()
        encoder.wait()


def test_a_blocking_reload_reaches_the_worker_of_its_channel(two_workers: Up, on_two_workers: dict[str, str]) -> None:
    for slug in on_two_workers:
        until(lambda slug=slug: live_playlist(two_workers, slug).count("#EXTINF") >= 2, f"{slug} is not on the air")  # type: ignore[misc]
        told = live_playlist(two_workers, slug)
        wanted = int(told.partition("#EXT-X-MEDIA-SEQUENCE:")[2].split()[0]) + told.count("#EXTINF")
        status, body, _ = get(f"{two_workers.http_url}{source_url(two_workers, slug)}?_HLS_msn={wanted}")
        assert status == 200
        assert f"{wanted}.m4s" in body.decode()


def source_url(up: Up, slug: str) -> str:
    broadcast = json.loads(get(f"{up.http_url}/live/{slug}/state.json")[1] or b"{}").get("broadcast")
    return f"/live/{slug}/{broadcast}/source/index.m3u8"


def live_playlist(up: Up, slug: str) -> str:
    status, body, _ = get(f"{up.http_url}{source_url(up, slug)}")
    return body.decode() if status == 200 else ""


def test_metrics_tell_each_feed_and_its_worker(two_workers: Up, on_two_workers: dict[str, str]) -> None:
    for slug in on_two_workers:
        assert_told(two_workers, slug)


def assert_told(up: Up, slug: str) -> None:
    def rate() -> float:
        return metric(up, "feed_frames_per_second", slug)[0]

    until(lambda: metric(up, "feed_keyframe_interval_seconds", slug)[0] == 2.0, "keyframes")
    connected, worker = metric(up, "feed_connected", slug)
    assert (connected, worker) == (1.0, f"media-{channel_worker(slug, 2)}")
    until(lambda: rate() == pytest.approx(25, abs=3), "what a busy machine sends late comes in another second")
    bitrate_bps = metric(up, "feed_bitrate_bps", slug)[0]
    received = metric(up, "feed_received_bytes_total", slug)[0]
    assert 50_000 < bitrate_bps < 5_000_000 and received > bitrate_bps / 8
    assert metric(up, "broadcast_on_air", slug)[0] == 1.0


def metric(up: Up, name: str, slug: str) -> tuple[float, str]:
    """A channel's sample and the worker that told it."""
    text = get(f"{up.http_url}/metrics")[1].decode()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == f"mbashara_{name}" and sample.labels.get("channel") == slug:
                return sample.value, sample.labels["worker"]
    return 0.0, ""


def test_metrics_are_this_machines_alone(mbashara_up: Up) -> None:
    """Another loopback address stands for a stranger's: only 127.0.0.1 and ::1 are let in."""
    host, port = mbashara_up.http_url.removeprefix("http://").split(":")
    stranger = HTTPConnection(host, int(port), timeout=60, source_address=("127.0.0.2", 0))
    with closing(stranger):
        stranger.request("GET", "/metrics", headers={"X-Forwarded-For": "127.0.0.1"})
        assert stranger.getresponse().status == 403


def test_no_key_is_stored_or_logged_even_in_debug(
    two_workers: Up, on_two_workers: dict[str, str], tmp_path: Path
) -> None:
    """Of channels that were published on; nor a wrong key, which may be the right one of another place."""
    wrong = "ufunguo-usio-sahihi"
    assert refuses(two_workers, wrong, media_files.make_flv(tmp_path / "feed.flv", 4))
    files = [path for folder in (two_workers.data, two_workers.run) for path in folder.rglob("*") if path.is_file()]
    for path in [*files, two_workers.log]:
        with suppress(FileNotFoundError):  # a part that left the window
            content = path.read_bytes()
            assert [key for key in (wrong, *on_two_workers.values()) if key.encode() in content] == [], path
