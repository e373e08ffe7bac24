"""Exports made by the work process: whole and once though it is killed in the middle, fetched with ranges, proven."""

import hashlib
import http.client
import json
import subprocess
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from tests.unit.encoded_kit import encode, ffmpeg, record
from tests.up import COMMAND_TIMEOUT_S, Up, command, get, is_over, until

ID = "01jdx00000000000000000000j"
BASE = f"/api/v1/recordings/{ID}/exports"


@pytest.fixture(scope="module")
def token(mbashara_up: Up, tmp_path_factory: pytest.TempPathFactory) -> str:
    """For a recording of ten seconds, which the work process makes rows of."""
    mbashara_up.channel_add("jobs")
    found = query(mbashara_up, "select id, institution_id from channel where slug = 'jobs'")[0]
    folder = tmp_path_factory.mktemp("jobs")
    made = record(folder, [(encode(folder / "sent.flv", 10), 0)], ID, *found)
    kept = mbashara_up.data / "recordings" / ID
    subprocess.run(["cp", "-r", made, kept.with_name(".coming-jobs")], check=True)
    subprocess.run(["chown", "-R", f"--reference={kept.parent}", kept.with_name(".coming-jobs")], check=True)
    kept.with_name(".coming-jobs").rename(kept)
    until(lambda: mbashara_up.recording_states().get(ID) == "complete", "no rows")
    scopes = ("--scope", "recording.read", "--scope", "recording.export")
    told = command(mbashara_up.data, "token", "add", "jobs", *scopes, "--days", "1", "--json")
    return str(json.loads(told.stdout)["token"])


def query(up: Up, sql: str) -> list[Any]:
    with psycopg.connect(up.database_url()) as server:
        return server.execute(sql).fetchall()


def ask(up: Up, token: str, path: str = BASE, body: dict[str, object] | None = None) -> dict[str, Any]:
    headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(urllib.request.Request(up.http_url + path, data, headers), timeout=60) as answer:
        found: dict[str, Any] = json.load(answer)
        return found


def done(up: Up, token: str, job: str) -> dict[str, Any]:
    with up.hurrying("mbashara.export_file"):
        until(
            lambda: ask(up, token, f"{BASE}/{job}")["state"] not in ("waiting", "running"),
            "never over",
            COMMAND_TIMEOUT_S,
        )
    return ask(up, token, f"{BASE}/{job}")


def makers(up: Up) -> list[psutil.Process]:
    work = psutil.Process(up.process_id("work"))
    found = []
    for one in work.children():
        with suppress(psutil.Error):  # it was just killed
            if "mbashara.export_file" in one.cmdline():
                found.append(one)
    return found


def verified(up: Up, file: Path) -> tuple[int, str]:
    told = command(up.data, "recording", "verify", ID, str(file), "--no-media", "--lang", "en")
    return told.returncode, told.stdout + told.stderr


def test_one_result_though_all_who_made_it_were_killed(mbashara_up: Up, token: str, tmp_path: Path) -> None:
    up, exports = mbashara_up, mbashara_up.data / "exports"
    job = ask(up, token, body={"from_ms": 3000, "to_ms": 7000})["id"]
    until(lambda: bool(makers(up)), "no child", step_s=0.01)
    first = makers(up)[0]
    until(lambda: first.nice() == 19, "not at the lowest priority", step_s=0.01)
    first.kill()
    others: list[psutil.Process] = []

    def is_followed() -> bool:
        others[:] = [one for one in makers(up) if one.pid != first.pid]
        return bool(others)

    until(is_followed, "no other child", step_s=0.01)
    assert (exports / f"{job}.making").exists()
    (second,) = others
    old = up.kill("work")
    until(lambda: is_over(second), "it outlived work")
    up.wait_restarted("work", old)
    made = done(up, token, job)
    (file,) = made["files"]
    assert (made["state"], made["percent"], made["rendition"]) == ("done", 100, "source")
    assert [one.name for one in exports.iterdir()] == [job]
    assert [one.name for one in (exports / job).iterdir()] == [file["name"]]
    events = query(up, f"select line from preservation_event where recording_id = '{ID}' and kind = 'export'")
    assert [json.loads(line)["sha256"] for (line,) in events] == [file["sha256"]]
    acts = query(up, f"select 1 from audit_entry where act = 'recording.export' and subject = 'recording:{ID}'")
    assert len(acts) == 1
    _fetch_and_prove(up, token, file, tmp_path)


def _fetch_and_prove(up: Up, token: str, file: dict[str, Any], folder: Path) -> None:
    url, bearer = up.http_url + file["path"], {"authorization": f"Bearer {token}"}
    status, body, headers = get(url, bearer)
    assert (status, hashlib.sha256(body).hexdigest(), len(body)) == (200, file["sha256"], file["size"])
    assert headers["content-type"] == "video/mp4" and "no-store" in headers["cache-control"]
    part = get(url, {**bearer, "range": "bytes=100-199"})
    assert (part[0], part[1]) == (206, body[100:200])
    assert get(url)[0] == 401
    direct = f"{up.http_url}/_exports/{file['path'].split('/')[-3]}/{file['name']}"
    assert get(direct)[0] == 404, "not without being asked who one is"
    (folder / "clip.mp4").write_bytes(body)
    until(lambda: "GENUINE, to the last byte" in verified(up, folder / "clip.mp4")[1], "not found by its hash")
    ffmpeg("-i", folder / "clip.mp4", "-c", "copy", folder / "copy.mkv")
    code, said = verified(up, folder / "copy.mkv")
    assert (code, "GENUINE: all of it is in the recording" in said) == (0, True), said
    assert "is from 2026-09-21 17:13:2" in said
    ffmpeg("-i", folder / "clip.mp4", "-c:v", "libx264", "-c:a", "aac", "-ac", "2", folder / "anew.mp4")
    code, said = verified(up, folder / "anew.mp4")
    assert (code, "NOT PROVEN" in said, "there are none" in said) == (1, True, True), said


def test_a_package_is_put_together_as_it_is_fetched(mbashara_up: Up, token: str, tmp_path: Path) -> None:
    up, bearer = mbashara_up, {"authorization": f"Bearer {token}"}
    made = done(up, token, ask(up, token, body={"format": "bag"})["id"])
    assert made["state"] == "done", made
    (file,) = made["files"]
    url, stored = up.http_url + file["path"], list((up.data / "exports" / made["id"]).iterdir())
    assert sum(one.stat().st_size for one in stored) < file["size"] / 2, "media are not stored again"
    status, body, headers = get(url, bearer)
    assert (status, len(body), hashlib.sha256(body).hexdigest()) == (200, file["size"], file["sha256"])
    assert headers["content-type"] == "application/x-tar" and file["name"] in headers["content-disposition"]
    part = get(url, {**bearer, "range": "bytes=100000-199999"})
    assert (part[0], part[1]) == (206, body[100_000:200_000])
    assert part[2]["content-range"] == f"bytes 100000-199999/{len(body)}"
    assert get(url, {**bearer, "range": f"bytes={len(body)}-"})[0] == 416 and get(url)[0] == 401
    (tmp_path / "bag.tar").write_bytes(body)
    listed = subprocess.run(["tar", "tf", tmp_path / "bag.tar"], capture_output=True, text=True, check=True).stdout
    assert f"mbashara-{ID}/metadata/keys.json" in listed and "/data/ledger.jsonl" in listed
    moved = up.data / "recordings" / ID / "source" / "1.m4s"
    moved.rename(moved.with_suffix(".away"))
    try:
        assert get(url, {**bearer, "range": "bytes=0-99"})[0] == 206
        with pytest.raises(http.client.IncompleteRead):
            get(url, bearer)
    finally:
        moved.with_suffix(".away").rename(moved)


def test_one_that_is_cancelled_leaves_nothing(mbashara_up: Up, token: str) -> None:
    job = ask(mbashara_up, token, body={})["id"]
    until(lambda: bool(makers(mbashara_up)), "no child", step_s=0.01)
    assert ask(mbashara_up, token, f"{BASE}/{job}/cancel", {})["state"] == "cancelled"
    until(lambda: not makers(mbashara_up), "it went on")
    until(lambda: not list((mbashara_up.data / "exports").glob(f"{job}*")), "files are left")
    assert ask(mbashara_up, token, f"{BASE}/{job}")["state"] == "cancelled"


def test_nothing_goes_out_of_what_is_damaged(mbashara_up: Up, token: str) -> None:
    path = mbashara_up.data / "recordings" / ID / "source-audio/1.m4s"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    made = done(mbashara_up, token, ask(mbashara_up, token, body={"format": "m4a"})["id"])
    assert (made["state"], made["trouble"], made["detail"]) == ("failed", "damaged", "source-audio/1.m4s")
    assert made["files"] == [] and not (mbashara_up.data / "exports" / made["id"]).exists()
