"""Files of every kind become recordings like a broadcast's: by command, through kills; what can't is told in words."""

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from time import sleep
from typing import Any
from urllib.parse import urlsplit

import m3u8
import psutil
import psycopg
import pytest
from tusclient.client import TusClient

from archive.recordings import ledger, verify
from archive.recordings.inventory import check_files
from tests.live import import_kit
from tests.live.import_kit import KINDS, SECONDS
from tests.live.media_files import FFMPEG
from tests.up import COMMAND_TIMEOUT_S, ROOT, Up, command, environment, get, until


def imported(up: Up, *words: str) -> list[dict[str, Any]]:
    done = command(up.data, "recording", "import", *words, "--wait", "--json")
    assert done.stdout.startswith("["), done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def facts_of(up: Up, recording_id: str) -> list[ledger.Fact]:
    return list(ledger.read_facts(up.data / "recordings" / recording_id))


def job_of(up: Up, job_id: str) -> dict[str, Any]:
    with psycopg.connect(up.database_url()) as server:
        found = server.execute("select to_jsonb(import_job) from import_job where id = %s", (job_id,)).fetchone()
    assert found is not None
    return dict(found[0])


def frames(playlist: Path) -> int:
    line = [FFMPEG, "-v", "error", "-i", str(playlist), "-map", "0:0", "-f", "framecrc", "-"]
    done = subprocess.run(line, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and not done.stderr, done.stderr
    return sum(not line.startswith("#") for line in done.stdout.splitlines())


@pytest.fixture(autouse=True)
def hurried(mbashara_up: Up) -> Iterator[None]:
    with mbashara_up.hurrying("mbashara.import_file"):
        yield


@pytest.fixture(scope="module")
def channel(mbashara_up: Up) -> Iterator[str]:
    mbashara_up.channel_add("kumbukumbu", "bunge")
    yield "kumbukumbu"


def test_five_kinds_become_recordings(mbashara_up: Up, channel: str, tmp_path: Path) -> None:
    files = {name: import_kit.make(tmp_path / name, options) for name, options in KINDS.items()}
    jobs = imported(mbashara_up, str(tmp_path), "--channel", channel)
    assert {job["name"]: job["state"] for job in jobs} == dict.fromkeys(KINDS, "done")
    ids = {job["id"] for job in jobs}

    def are_complete() -> bool:
        states = mbashara_up.recording_states()
        return {states.get(one) for one in ids} == {"complete"}

    until(are_complete, "never complete")
    rows = {one["id"]: one for one in mbashara_up.recordings()}
    for job in jobs:
        name, folder = job["name"], mbashara_up.data / "recordings" / job["id"]
        checked = check_files(folder)
        assert not checked.missing and abs(checked.duration_ms - SECONDS * 1000) <= 100, name
        row = rows[job["id"]]
        assert abs(row["duration_ms"] - SECONDS * 1000) <= 100 and not row["gaps"], name
        for index in folder.glob("*/index.m3u8"):
            playlist = m3u8.load(str(index))
            assert playlist.is_endlist and abs(sum(one.duration for one in playlist.segments) - SECONDS) <= 0.1, index
        has_picture = name != "hotuba.mp3"
        wanted = {"source", "360p", "144p"} if has_picture else set()
        assert {path.parent.name for path in folder.glob("*/index.m3u8")} == wanted | {"source-audio", "low-audio"}
        for rendition in wanted:
            assert abs(frames(folder / rendition / "index.m3u8") - SECONDS * 25) <= 1, (name, rendition)
        started, *_, ended = facts_of(mbashara_up, job["id"])
        original = started["import"]["original"]
        digest = hashlib.sha256(files[name].read_bytes()).hexdigest()
        assert (original["name"], original["size"], original["sha256"]) == (name, files[name].stat().st_size, digest)
        assert hashlib.sha256((folder / original["file"]).read_bytes()).hexdigest() == digest
        assert ended["reason"] == "imported" and started["import"]["is_copied"] == (name == "kikao.mp4")
        assert {one.kind for one in verify.verify(folder).findings} <= {"unsigned"}, name
        status, page, _ = get(f"{mbashara_up.http_url}/en/recordings/{job['id']}")
        assert status == 200 and Path(name).stem in page.decode()
        assert get(f"{mbashara_up.http_url}/recordings/{job['id']}/index.m3u8")[0] == 200
        assert get(f"{mbashara_up.http_url}/recordings/{job['id']}/original/{name}")[0] == 404
    parliament = next(job for job in jobs if job["name"] == "kikao.mp4")
    assert rows[parliament["id"]]["started_at"] == "2019-05-01T08:00:00+00:00", "as the file says"
    assert not list((mbashara_up.data / "imports").iterdir()), "the recording has the file now"


def test_what_is_none_is_told_in_words(mbashara_up: Up, channel: str, tmp_path: Path) -> None:
    expected = import_kit.make_bad(tmp_path / "mbaya")
    before = set(mbashara_up.recording_states())
    done = command(mbashara_up.data, "recording", "import", str(tmp_path / "mbaya"), "--channel", channel, "--wait")
    assert done.returncode == 1 and "0:00:02 of 0:00:04" in done.stdout and "Faili hili si zima" in done.stdout
    with psycopg.connect(mbashara_up.database_url()) as server:
        rows = server.execute("select name, trouble from import_job where state = 'failed'").fetchall()
    assert dict(rows) == expected
    assert set(mbashara_up.recording_states()) == before
    assert not list((mbashara_up.data / "recordings").glob(".imports/*"))
    lines = mbashara_up.log.read_text()
    assert "root:x:" not in lines


def makers(job_id: str) -> list[psutil.Process]:
    """The makers' processes, and what they started."""
    found = [one for one in psutil.process_iter(["cmdline"]) if "mbashara.import_file" in (one.info["cmdline"] or [])]
    return [*found, *(child for one in found for child in one.children(recursive=True))]


def test_killed_again_and_again_it_is_made_once(mbashara_up: Up, channel: str, tmp_path: Path) -> None:
    file = import_kit.make(tmp_path / "ndefu.avi", "-c:v mpeg4 -q:v 5 -c:a mp3", 20)
    line = [sys.executable, "-m", "mbashara", "recording", "import", str(file), "--channel", channel, "--json"]
    job_id = json.loads(
        subprocess.run(
            [*line, "--data", str(mbashara_up.data)], env=environment(), capture_output=True, cwd=ROOT
        ).stdout
    )[0]["id"]
    staging = mbashara_up.data / "recordings" / ".imports" / job_id
    part = staging / "source" / "1.m4s"
    until(part.exists, "never begun")
    os.kill(makers(job_id)[0].pid, signal.SIGKILL)
    until(lambda: not part.exists(), "the killed one goes on", step_s=0.01)
    until(part.exists, "not begun anew")
    assert job_id not in mbashara_up.recording_states(), "nobody sees a half one"
    mine = makers(job_id)
    old = mbashara_up.kill("work")
    until(lambda: not any(one.is_running() for one in mine), "its children outlive it")
    mbashara_up.wait_restarted("work", old)
    until(lambda: job_of(mbashara_up, job_id)["state"] == "done", "never made", timeout_s=COMMAND_TIMEOUT_S)
    until(lambda: mbashara_up.recording_states().get(job_id) == "complete", "never complete")
    checked = check_files(mbashara_up.data / "recordings" / job_id)
    assert not checked.missing and abs(checked.duration_ms - 20_000) <= 100
    assert [fact["fact"] for fact in facts_of(mbashara_up, job_id)].count("started") == 1
    assert not staging.exists()
    mbashara_up.wait_healthy()


def test_under_embargo_nothing_of_it_is_open_for_a_moment(mbashara_up: Up, channel: str, tmp_path: Path) -> None:
    """Though work is killed on the way, once it is made and once it is in its place."""
    up, file = mbashara_up, import_kit.make(tmp_path / "siri.avi", "-c:v mpeg4 -q:v 5 -c:a mp3", 6)
    told = ("--embargo", "bado haijatangazwa", "--until", "2099-01-01T10:00")
    done = command(up.data, "recording", "import", str(file), "--channel", channel, "--json", *told)
    job_id = json.loads(done.stdout)[0]["id"]
    paths = (
        f"/recordings/{job_id}/index.m3u8", f"/recordings/{job_id}/source/index.m3u8",
        f"/recordings/{job_id}/source/0.m4s", f"/live/{channel}/{job_id}/source/0.m4s", f"/sw/recordings/{job_id}",
    )  # fmt: skip
    urls = [up.http_url + path for path in paths]
    with import_kit.watched(*urls) as statuses:
        for when in ((up.data / "recordings" / ".imports" / job_id), (up.data / "recordings" / job_id)):
            until(when.exists, f"never at {when}", timeout_s=COMMAND_TIMEOUT_S, step_s=0.01)
            up.wait_restarted("work", up.kill("work"))
        until(lambda: up.recording_states().get(job_id) == "complete", "never complete", COMMAND_TIMEOUT_S)
        assert "siri" not in get(f"{up.http_url}/sw/?{job_id}")[1].decode()
        assert [get(url)[0] for url in urls] == [403] * 5
    assert not statuses.keys() & {200, 206} and statuses[404] and statuses[403], statuses
    shown = json.loads(command(up.data, "recording", "show", job_id, "--json").stdout)
    assert shown["embargo"] == {"until": "2099-01-01T07:00:00+00:00", "reason": "bado haijatangazwa"}
    assert [one["kind"] for one in shown["events"]].count("embargo") == 1
    assert command(up.data, "recording", "publish", job_id, "--reason", "tayari").returncode == 0
    ledger = (up.data / "recordings" / job_id / "ledger.jsonl").read_text()
    assert '"embargo"' in ledger and "bado haijatangazwa" not in ledger, "it is handed out to everyone now"
    assert [get(url)[0] for url in urls] == [200] * 5


def cut_off(url: str, token: str, at: int, data: bytes) -> None:
    """A PATCH whose line breaks after some of its bytes."""
    parts = urlsplit(url)
    head = (
        f"PATCH {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nAuthorization: Bearer {token}\r\n"
        f"Tus-Resumable: 1.0.0\r\nContent-Type: application/offset+octet-stream\r\nUpload-Offset: {at}\r\n"
        f"Content-Length: {2 * len(data)}\r\n\r\n"
    )
    with socket.create_connection((parts.hostname or "", parts.port or 80), timeout=60) as line:
        line.sendall(head.encode() + data)
        sleep(0.5)


def test_an_upload_goes_on_after_breaks_and_a_killed_server(mbashara_up: Up, channel: str, tmp_path: Path) -> None:
    """By a client that is not ours."""
    file = import_kit.make(tmp_path / "kikao.mkv", "-c:v libx264 -preset ultrafast -g 50 -pix_fmt yuv420p -c:a aac", 6)
    size = file.stat().st_size
    scope = ["--scope", "recording.import", "--institution", "bunge", "--days", "1", "--json"]
    token = json.loads(command(mbashara_up.data, "token", "add", "kumbukumbu", *scope).stdout)["token"]
    client = TusClient(f"{mbashara_up.http_url}/api/v1/uploads", headers={"Authorization": f"Bearer {token}"})
    told = {"channel": channel, "filename": file.name, "title_sw": "Kikao", "title_en": "Sitting"}
    chunk = size // 3
    uploader = client.uploader(str(file), chunk_size=chunk, metadata=told, upload_checksum=True, retries=0)
    uploader.upload_chunk()  # type: ignore[no-untyped-call]
    assert uploader.offset == chunk
    cut_off(str(uploader.url), token, chunk, file.read_bytes()[chunk : chunk + chunk // 2])
    until(
        lambda: client.uploader(str(file), url=uploader.url).get_offset() == chunk + chunk // 2, "not kept", step_s=0.5
    )
    mbashara_up.wait_restarted("web", mbashara_up.kill("web"))
    mbashara_up.wait_healthy()
    resumed = client.uploader(str(file), url=uploader.url, chunk_size=chunk, upload_checksum=True, retries=0)
    assert resumed.offset == chunk + chunk // 2
    resumed.upload()
    job_id = str(uploader.url).rpartition("/")[2]
    until(lambda: job_of(mbashara_up, job_id)["state"] == "done", "never made", timeout_s=COMMAND_TIMEOUT_S)
    until(lambda: mbashara_up.recording_states().get(job_id) == "complete", "never complete")
    original = facts_of(mbashara_up, job_id)[0]["import"]["original"]
    assert original["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
