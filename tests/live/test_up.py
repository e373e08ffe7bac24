"""`mbashara up` as an operator meets it: starts, says what it can't do, survives its children, ends clean."""

import json
import os
import signal
import socket
from collections.abc import Iterator

import psutil
import pytest

from tests.up import Up, command, data_folder, get, running, until

CHILDREN = ("postgres", "media-0", "web", "work", "edge")


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
    until(lambda: "postgres" in other_up.health()["degraded"], "the lost database was not noticed")
    assert [name for name in other_up.health()["degraded"] if name != "postgres"] == []
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
            assert alive(processes) == []
        with running(data) as up:
            assert [entry["slug"] for entry in json.loads(command(data, "channel", "list", "--json").stdout)] == [
                "bunge"
            ]


def test_a_killed_supervisor_takes_its_children_along_and_can_start_again() -> None:
    with data_folder() as data:
        with running(data) as up:
            processes = family(up)
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
    assert "is of version 99, this program of version 1" in told.stderr


def test_a_folder_of_other_things_is_refused_and_left_alone() -> None:
    with data_folder() as data:
        data.mkdir()
        (data / "letter.txt").write_text("not ours")
        told = command(data, "up")
        assert [path.name for path in data.iterdir()] == ["letter.txt"]
    assert "not a data folder" in told.stderr


def test_commands_work_without_up() -> None:
    with data_folder() as data:
        added = command(data, "channel", "add", "ikulu", "--name-sw", "Ikulu", "--name-en", "State House", "--json")
        assert set(json.loads(added.stdout)) >= {"primary_key", "backup_key"}, added.stderr
        again = command(data, "channel", "add", "ikulu", "--name-sw", "Ikulu", "--name-en", "State House")
        assert (again.returncode, again.stderr.count("\n")) == (2, 1)
        assert "exists already / " in again.stderr
        rotated = command(data, "channel", "rotate-key", "ikulu", "--json")
        assert json.loads(rotated.stdout)["primary_key"] != json.loads(added.stdout)["primary_key"]
        listed = json.loads(command(data, "channel", "list", "--json").stdout)
    assert listed == [{"slug": "ikulu", "name_sw": "Ikulu", "name_en": "State House", "institution": "ega"}]


def test_a_taken_over_key_and_an_institution(mbashara_up: Up) -> None:
    keys = mbashara_up.channel_add("inec", "--institution", "tume", "--key", "ufunguo-wa-zamani-1")
    assert keys.primary_key == "ufunguo-wa-zamani-1"
    assert len(keys.backup_key) >= 26
    twice = command(mbashara_up.data, "channel", "add", "x", "--name-sw=X", "--name-en=X", f"--key={keys.primary_key}")
    assert twice.returncode == 2
    assert "another channel's" in twice.stderr


def test_no_key_is_stored_or_logged(mbashara_up: Up) -> None:
    keys = mbashara_up.channel_add("siri")
    found = [
        path
        for path in mbashara_up.data.rglob("*")
        if path.is_file() and keys.primary_key.encode() in path.read_bytes()
    ]
    assert found == []
    assert keys.primary_key not in mbashara_up.log.read_text()
