"""What the edge hands out of a recording under embargo, and of one that was destroyed: nothing, from the act on; and
that it is destroyed though the process that does it is killed. With the program itself, by its command line."""

import json
import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import psycopg
import pytest

from archive.recordings import verify
from mbashara.data import account
from tests.live.policy_kit import lay, new_id
from tests.live.staff_kit import PASSWORD
from tests.up import Up, command, environment, get, until

SEGMENT = "source/1.m4s"


@pytest.fixture(scope="module")
def recording(mbashara_up: Up) -> str:
    """Closed and signed by the work process. It was on the air in 2020, and is kept for a year."""
    assert mbashara_up.channel_add("zuio", "--institution", "zuio")
    assert command(mbashara_up.data, "retention", "set", "zuio", "1").returncode == 0
    with psycopg.connect(host=str(mbashara_up.run / "postgres"), user="postgres", dbname="mbashara") as server:
        (ids,) = server.execute("select id, institution_id from channel where slug = 'zuio'").fetchall()
    made = lay(mbashara_up.data / "laid", new_id(), *ids, slug="zuio")
    (made / "index.m3u8").write_text("#EXTM3U\n")
    _give(made.parent)
    made.rename(mbashara_up.data / "recordings" / made.name)
    until(lambda: _row(mbashara_up, made.name) == ("complete", True), "never closed and signed")
    return made.name


def _give(folder: Path) -> None:
    owner = account()
    for path in (folder, *folder.rglob("*")) if owner is not None else ():
        os.chown(path, owner.user_id, owner.group_id)  # type: ignore[union-attr]


def _row(up: Up, recording: str) -> tuple[object, ...]:
    with psycopg.connect(host=str(up.run / "postgres"), user="postgres", dbname="mbashara") as server:
        query = "select state, signed_custody_bytes = custody_bytes and custody_bytes > 0 from recording where id = %s"
        return server.execute(query, [recording]).fetchone() or ()


def fetched(up: Up, recording: str) -> dict[str, int]:
    """The status of everything of it that the public might ask for."""
    paths = (
        f"/recordings/{recording}/index.m3u8", f"/recordings/{recording}/{SEGMENT}",
        f"/live/zuio/{recording}/{SEGMENT}", f"/sw/recordings/{recording}",
    )  # fmt: skip
    return {path: get(up.http_url + path)[0] for path in paths}


def test_an_embargo_is_obeyed_by_the_edge_from_the_act_to_its_end(mbashara_up: Up, recording: str) -> None:
    up = mbashara_up
    assert set(fetched(up, recording).values()) == {200}, fetched(up, recording)
    placed = command(up.data, "recording", "embargo", recording, "--reason", "bado", "--until", "2099-01-01T10:00")
    assert placed.returncode == 0, placed.stderr
    assert set(fetched(up, recording).values()) == {403}, fetched(up, recording)
    _, body, headers = get(f"{up.http_url}/recordings/{recording}/{SEGMENT}")
    assert headers["content-type"].startswith("text/html") and headers["cache-control"] == "no-store"
    assert "haijafunguliwa kwa umma hadi 2099-01-01 10:00:00" in body.decode() and b"not open to the public" in body
    page = get(f"{up.http_url}/sw/recordings/{recording}")[1].decode()
    assert "haijafunguliwa kwa umma hadi 2099-01-01 10:00:00" in page and "data-engine" not in page
    assert recording not in get(f"{up.http_url}/sw/?{recording}")[1].decode()
    soon = datetime.now().astimezone().timestamp() + 4
    command(up.data, "recording", "embargo", recording, "--reason", "bado", "--until",
            datetime.fromtimestamp(soon).astimezone().isoformat())  # fmt: skip
    assert set(fetched(up, recording).values()) == {403}
    until(lambda: set(fetched(up, recording).values()) == {200}, "still closed", 15)
    assert datetime.now().astimezone().timestamp() - soon < 3, "the clock ends it, to seconds"


def test_it_is_destroyed_by_two_accounts_though_the_worker_is_killed(mbashara_up: Up, recording: str) -> None:
    up = mbashara_up
    for email, role in (("asha@zuio.go.tz", "admin"), ("juma@zuio.go.tz", "admin")):
        made = _say(up, PASSWORD, "user", "add", email, "--name", email, "--role", role, "--institution", "zuio",
                    "--password-stdin")  # fmt: skip
        assert made.returncode == 0, made.stderr
    dispose = ("recording", "dispose", recording, "--password-stdin", "--json")
    wrong = _say(up, "si hili", *dispose, "--reason", "x", "--as", "asha@zuio.go.tz")
    assert wrong.returncode == 2 and "is not right" in wrong.stderr
    asked = _say(up, PASSWORD, *dispose, "--reason", "imekwisha", "--as", "asha@zuio.go.tz")
    assert asked.returncode == 0, asked.stderr
    refused = _say(up, PASSWORD, *dispose, "--approve", "--as", "asha@zuio.go.tz")
    assert refused.returncode == 2 and "anatakiwa mtu mwingine" in refused.stderr
    approved = _say(up, PASSWORD, *dispose, "--approve", "--as", "juma@zuio.go.tz")
    assert approved.returncode == 0, approved.stderr
    old = up.kill("work")
    up.wait_restarted("work", old)
    until(lambda: json.loads(_say(up, "", *dispose).stdout)["state"] == "done", "never destroyed")
    until(lambda: _row(up, recording) == ("complete", True), "not signed")
    assert set(fetched(up, recording).values()) == {410}, fetched(up, recording)
    assert "iliteketezwa kwa amri" in get(f"{up.http_url}/sw/recordings/{recording}")[1].decode()
    report = verify.verify(up.data / "recordings" / recording)
    assert report.is_whole and report.disposed is not None and report.disposed["approved"] == "juma@zuio.go.tz"
    assert {path.name for path in (up.data / "recordings" / recording).iterdir()} == verify.MADE_LATER


def _say(up: Up, line: str, *words: str) -> "subprocess.CompletedProcess[str]":
    arguments = [sys.executable, "-m", "mbashara", *words, "--data", str(up.data)]
    return subprocess.run(arguments, input=f"{line}\n", capture_output=True, text=True, env=environment())
