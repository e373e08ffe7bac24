"""What the edge hands out of a recording under embargo, and of one that was destroyed: nothing, from the act on; and
that it is destroyed though the process that does it is killed. With the program itself, by its command line."""

import json
import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import httpx
import psycopg
import pytest

from archive.recordings import verify
from mbashara.data import account
from tests.live.policy_kit import lay, new_id
from tests.live.staff_kit import PASSWORD
from tests.up import WAIT_TIMEOUT_S, Up, command, get, tell, until

SEGMENT = "source/1.m4s"
PEOPLE = ("asha@zuio.go.tz", "juma@zuio.go.tz")


@pytest.fixture(scope="module")
def recording(mbashara_up: Up) -> str:
    """Closed and signed by the work process. It was on the air in 2020, and is kept for a year."""
    assert mbashara_up.channel_add("zuio", "zuio")
    assert command(mbashara_up.data, "retention", "set", "zuio", "1").returncode == 0
    with psycopg.connect(mbashara_up.database_url()) as server:
        (ids,) = server.execute("select id, institution_id from channel where slug = 'zuio'").fetchall()
    made = lay(mbashara_up.data / "laid", new_id(), *ids, slug="zuio")
    (made / "index.m3u8").write_text("#EXTM3U\n")
    _give(made.parent)
    made.rename(mbashara_up.data / "recordings" / made.name)
    until(lambda: _row(mbashara_up, made.name) == ("complete", True), "never closed and signed")
    return made.name


@pytest.fixture(scope="module")
def people(mbashara_up: Up, recording: str) -> None:
    """Two accounts of its institution."""
    for email in PEOPLE:
        mbashara_up.person_add(email, PASSWORD, "--role", "admin", "--institution", "zuio", name=email)


def _give(folder: Path) -> None:
    owner = account()
    for path in (folder, *folder.rglob("*")) if owner is not None else ():
        os.chown(path, owner.user_id, owner.group_id)  # type: ignore[union-attr]


def _row(up: Up, recording: str) -> tuple[object, ...]:
    with psycopg.connect(up.database_url()) as server:
        query = "select state, signed_custody_bytes = custody_bytes and custody_bytes > 0 from recording where id = %s"
        return server.execute(query, [recording]).fetchone() or ()


def fetched(up: Up, recording: str) -> dict[str, int]:
    """The status of everything of it that the public might ask for."""
    paths = (
        f"/recordings/{recording}/index.m3u8", f"/recordings/{recording}/{SEGMENT}",
        f"/live/zuio/{recording}/{SEGMENT}", f"/sw/recordings/{recording}",
    )  # fmt: skip
    return {path: get(up.http_url + path)[0] for path in paths}


def kept_pages(up: Up, recording: str) -> list[int]:
    """The status of what the edge keeps for a while."""
    pages = ("verify", "statement", "statement/statement.json")
    return [get(f"{up.http_url}/sw/recordings/{recording}/{page}")[0] for page in pages]


@contextmanager
def signed_in(up: Up, email: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=up.http_url, timeout=60, trust_env=False) as client:
        found = re.search(r'name="csrf" value="([0-9a-f]+)"', client.get("/sw/staff/login").text)
        assert found
        entered = client.post("/sw/staff/login", data={"csrf": found[1], "email": email, "password": PASSWORD})
        assert entered.status_code == 303
        yield client


def test_an_embargo_is_obeyed_by_the_edge_from_the_act_to_its_end(mbashara_up: Up, recording: str) -> None:
    up = mbashara_up
    assert set(fetched(up, recording).values()) == {200}, fetched(up, recording)
    assert kept_pages(up, recording) == [200, 200, 200]
    placed = command(up.data, "recording", "embargo", recording, "--reason", "bado", "--until", "2099-01-01T10:00")
    assert placed.returncode == 0, placed.stderr
    assert set(fetched(up, recording).values()) == {403}, fetched(up, recording)
    assert kept_pages(up, recording) == [403, 403, 403], "though the edge keeps pages of a moment ago"
    _, body, headers = get(f"{up.http_url}/recordings/{recording}/{SEGMENT}")
    assert headers["content-type"].startswith("text/html") and headers["cache-control"] == "no-store"
    assert "haijafunguliwa kwa umma hadi 2099-01-01 10:00:00" in body.decode() and b"not open to the public" in body
    page = get(f"{up.http_url}/sw/recordings/{recording}")[1].decode()
    assert "haijafunguliwa kwa umma hadi 2099-01-01 10:00:00" in page and "data-engine" not in page
    assert recording not in get(f"{up.http_url}/sw/?{recording}")[1].decode()
    for ahead_s in (4, 8, 16, 64):  # longer than the command and the asking take, however busy the machine
        soon = datetime.now().astimezone().timestamp() + ahead_s
        command(up.data, "recording", "embargo", recording, "--reason", "bado", "--until",
                datetime.fromtimestamp(soon).astimezone().isoformat())  # fmt: skip
        found = set(fetched(up, recording).values())
        if datetime.now().astimezone().timestamp() < soon:
            break
    assert found == {403}
    closed = up.data / "public/closed"
    until(lambda: not (closed / recording).exists(), "still closed", ahead_s + WAIT_TIMEOUT_S)
    assert closed.stat().st_mtime - soon < 10, "the clock ends it, to seconds"
    until(lambda: set(fetched(up, recording).values()) == {200}, "the edge does not know")


def test_a_statement_is_one_page_to_the_edge_whatever_is_asked_with_it(mbashara_up: Up, recording: str) -> None:
    path = f"{mbashara_up.http_url}/en/recordings/{recording}/statement/statement.pdf"
    kept = get(path)
    web = mbashara_up.kill("web", signal.SIGSTOP)
    try:
        assert get(f"{path}?anew=1")[:2] == kept[:2] and kept[0] == 200
    finally:
        os.kill(web, signal.SIGCONT)


def test_staff_watch_what_is_closed_and_nobody_else(mbashara_up: Up, recording: str, people: None) -> None:
    up, media = mbashara_up, f"/sw/staff/recordings/{recording}/media"
    command(up.data, "recording", "embargo", recording, "--reason", "bado")
    segment = (up.data / "recordings" / recording / SEGMENT).read_bytes()
    with signed_in(up, PEOPLE[0]) as asha:
        page = asha.get(f"/sw/staff/recordings/{recording}").text
        assert f'data-src="{media}/index.m3u8"' in page and "huandikwa kwenye kumbukumbu" in page
        assert asha.get(f"{media}/index.m3u8").headers["content-type"] == "application/vnd.apple.mpegurl"
        got = asha.get(f"{media}/{SEGMENT}")
        assert (got.status_code, got.content, got.headers["cache-control"]) == (200, segment, "private, no-store")
        part = asha.get(f"{media}/{SEGMENT}", headers={"range": "bytes=2-3"})
        assert (part.status_code, part.content) == (206, segment[2:4])
        for name in (
            "ledger.jsonl",
            "original/1.m4s",
            "source/1.m4s.partial",
            "../../secrets/pepper",
            "%2e%2e/VERSION",
        ):
            assert asha.get(f"{media}/{name}").status_code == 404, name
        cookies = dict(asha.cookies)
        asha.post("/sw/staff/logout", data={"csrf": re.findall(r'name="csrf" value="([0-9a-f]+)"', page)[0]})
    for stranger in ({}, cookies):
        told = httpx.get(up.http_url + f"{media}/{SEGMENT}", cookies=stranger, trust_env=False, timeout=60)
        assert (told.status_code, told.content) == (303, b""), "logged out"
    assert get(f"{up.http_url}/_recordings/{recording}/{SEGMENT}")[0] == 404
    with psycopg.connect(up.database_url()) as server:
        found = server.execute("select actor, subject from audit_entry where act = 'recording.watch'").fetchall()
    assert found == [(PEOPLE[0], f"recording:{recording}")], "once, not for each file"


def test_it_is_destroyed_by_two_accounts_though_the_worker_is_killed(
    mbashara_up: Up, recording: str, people: None
) -> None:
    up = mbashara_up
    dispose = ("recording", "dispose", recording, "--password-stdin", "--json")
    wrong = tell("si hili", up.data, *dispose, "--reason", "x", "--as", "asha@zuio.go.tz")
    assert wrong.returncode == 2 and "is not right" in wrong.stderr
    asked = tell(PASSWORD, up.data, *dispose, "--reason", "imekwisha", "--as", "asha@zuio.go.tz")
    assert asked.returncode == 0, asked.stderr
    refused = tell(PASSWORD, up.data, *dispose, "--approve", "--as", "asha@zuio.go.tz")
    assert refused.returncode == 2 and "anatakiwa mtu mwingine" in refused.stderr
    approved = tell(PASSWORD, up.data, *dispose, "--approve", "--as", "juma@zuio.go.tz")
    assert approved.returncode == 0, approved.stderr
    old = up.kill("work")
    up.wait_restarted("work", old)
    until(lambda: json.loads(tell("", up.data, *dispose).stdout)["state"] == "done", "never destroyed", step_s=1)
    until(lambda: _row(up, recording) == ("complete", True), "not signed")
    assert set(fetched(up, recording).values()) == {410}, fetched(up, recording)
    with signed_in(up, PEOPLE[0]) as asha:
        assert asha.get(f"/sw/staff/recordings/{recording}/media/{SEGMENT}").status_code == 410
        page = asha.get(f"/sw/staff/recordings/{recording}").text
        assert "iliteketezwa kwa amri" in page and "data-engine" not in page
        assert "uteketezaji uliombwa" in page and "uteketezaji uliidhinishwa" in page
    assert "iliteketezwa kwa amri" in get(f"{up.http_url}/sw/recordings/{recording}")[1].decode()
    report = verify.verify(up.data / "recordings" / recording)
    assert report.is_whole and report.disposed is not None and report.disposed["approved"] == "juma@zuio.go.tz"
    assert {path.name for path in (up.data / "recordings" / recording).iterdir()} == verify.MADE_LATER
