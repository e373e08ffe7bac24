"""What the processes of the machine are given."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mbashara import supervisor
from mbashara.children import Child, ChildSpec, as_account, orphans
from mbashara.data import account, open_lock, try_lock
from mbashara.plain import DataError
from mbashara.settings import Settings
from mbashara.supervisor import Held, _await_writers, _write_state, specs
from tests.up import data_folder

SECRETS = {
    "MBASHARA_SMTP_URL": "smtp://mtuma:siri-ya-barua@barua.example:587",
    "MBASHARA_OIDC_ISSUER": "https://kitambulisho.example",
    "MBASHARA_OIDC_CLIENT_ID": "mbashara",
    "MBASHARA_OIDC_CLIENT_SECRET": "siri-ya-kuingia",
    "MBASHARA_TIMESTAMP_PASSWORD": "siri-ya-muda",
}


def test_who_meets_strangers_first_is_given_no_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    children = specs(Settings(data=tmp_path), Held(0, 0, 0), with_demo=True)
    # What a child gets: this process's own environment, and the spec's over it (children.py).
    given = {one.name: {**SECRETS, **one.environment} for one in children}
    told = {name: "siri" in " ".join(variables.values()) for name, variables in given.items()}
    assert told == {
        "postgres": False, "media-0": False, "web": True, "work": True, "stills": False, "edge": False, "demo": False,
    }  # fmt: skip
    for name, variables in given.items():
        if name not in ("postgres", "edge"):
            with monkeypatch.context() as child:
                for variable, value in variables.items():
                    child.setenv(variable, value)
                assert Settings().data == tmp_path


def test_media_asks_an_outside_server_as_whoever_it_is_told_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    owner, reader = "postgresql://mbashara:siri@db.example/a", "postgresql://media:msomaji@db.example/a"
    monkeypatch.setenv("MBASHARA_DATABASE_URL", owner)
    monkeypatch.setenv("MBASHARA_MEDIA_DATABASE_URL", reader)
    given = {one.name: one.environment for one in specs(Settings(data=tmp_path), Held(0, 0, 0), with_demo=False)}
    asked = {name: variables["MBASHARA_DATABASE_URL"] for name, variables in given.items()}
    assert asked == {"media-0": reader, "web": owner, "work": owner, "stills": "", "edge": ""}
    assert [name for name in ("media-0", "stills", "edge") if "siri" in " ".join(given[name].values())] == []


def test_children_run_on_where_their_state_cannot_be_told(tmp_path: Path) -> None:
    async def scenario() -> None:
        children: list[Child] = []
        twice = asyncio.Event()

        def on_change() -> None:
            _write_state(tmp_path / "away" / "up.json", children)
            if child.restarts >= 2:
                twice.set()

        child = Child(ChildSpec("one", ["true"], {}), on_change)
        children.append(child)
        running = asyncio.create_task(child.keep_running())
        await twice.wait()
        await child.stop()
        await running

    asyncio.run(asyncio.wait_for(scenario(), 60))


HOLD = "import fcntl, sys, time; file = open(sys.argv[2]); fcntl.flock(file, 2); print(flush=True); time.sleep(60)"
LEAD = """
import fcntl, os, subprocess, sys
with open(sys.argv[2]) as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    command = [sys.executable, "-c", "print(flush=True); input()", "mbashara.media"]
    sys.exit(subprocess.run(command, pass_fds=[file.fileno()]).returncode)
"""


@pytest.mark.parametrize("module", ["mbashara.media", "mbashara.work"])
@pytest.mark.parametrize("hangs", [False, True])
def test_a_writer_of_which_no_supervisor_knows_is_ended_before_another_begins(
    place: Path, module: str, hangs: bool
) -> None:
    with open_lock(Settings(data=place), "writing.lock") as lock, holding(module, place) as left:
        if hangs:
            left.send_signal(signal.SIGSTOP)
        _await_writers(Settings(data=place), lock, wait_s=0.5 if hangs else 60)
        assert left.wait(60) == -(signal.SIGKILL if hangs else signal.SIGTERM)
        with open_lock(Settings(data=place), "writing.lock") as second:
            assert not try_lock(second), "it is ours now"


def test_a_writer_that_hangs_is_killed_though_it_takes_long_to_find_it(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a full machine."""

    def find_late(*asked: Any) -> list[int]:
        time.sleep(0.8)
        return orphans(*asked)

    monkeypatch.setattr(supervisor, "orphans", find_late)
    with open_lock(Settings(data=place), "writing.lock") as lock, holding("mbashara.media", place) as left:
        left.send_signal(signal.SIGSTOP)
        _await_writers(Settings(data=place), lock, wait_s=0.3)
        assert left.wait(60) == -signal.SIGKILL


def test_a_media_process_that_another_supervisor_leads_is_let_be(place: Path) -> None:
    """Whoever removed `lock` beneath a running program does not get it ended by a second."""
    with open_lock(Settings(data=place), "writing.lock") as lock, holding("up", place, LEAD) as leader:
        with pytest.raises(DataError, match="still writes to"):
            _await_writers(Settings(data=place), lock, wait_s=0.2)
        assert leader.communicate("\n", timeout=60) and leader.returncode == 0, "it lived until it was told"


def test_nothing_begins_while_somebody_else_holds_the_recordings(place: Path) -> None:
    with open_lock(Settings(data=place), "writing.lock") as lock, holding("tar", place) as stranger:
        with pytest.raises(DataError, match="still writes to"):
            _await_writers(Settings(data=place), lock, wait_s=0.1)
        assert stranger.poll() is None


@pytest.fixture
def place() -> Iterator[Path]:
    """Where the account may go: pytest's own are root's alone."""
    with data_folder() as data:
        yield data.parent


@contextmanager
def holding(module: str, folder: Path, program: str = HOLD) -> Iterator["subprocess.Popen[str]"]:
    """A process of the account's that holds the lock of whoever writes recordings."""
    command, pipe = [sys.executable, "-c", program, module, str(folder / "writing.lock")], subprocess.PIPE
    owner = as_account(account())
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd="/", **owner) as process:
        try:
            assert process.stdout is not None and process.stdout.readline() == "\n"
            yield process
        finally:
            process.kill()


def test_what_a_child_has_started_by_then_goes_along_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """nginx has its workers before a busy supervisor hears that it was started."""
    told, spawn = tmp_path / "told", Child._spawn

    async def slowly(child: Child) -> asyncio.subprocess.Process:
        process = await spawn(child)
        for _ in range(5000):
            if told.exists() and told.read_text().strip():
                break
            await asyncio.sleep(0.01)
        return process

    async def scenario() -> list[int]:
        words = f"sleep 60 & echo $! >{told}; wait"
        is_running = asyncio.Event()
        spec = ChildSpec("one", ["sh", "-c", words], {}, niceness=3)
        child = Child(spec, lambda: is_running.set() if child.state == "running" else None)
        running = asyncio.create_task(child.keep_running())
        await is_running.wait()
        assert child.process is not None
        found = [os.getpriority(os.PRIO_PROCESS, one) for one in (child.process.pid, int(told.read_text()))]
        await child.stop()
        await running
        return found

    monkeypatch.setattr(Child, "_spawn", slowly)
    assert asyncio.run(asyncio.wait_for(scenario(), 60)) == [min(os.nice(0) + 3, 19)] * 2
