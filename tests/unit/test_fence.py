"""What a process that strangers' bytes reach first may still do to the data folder and what lies around it."""

import ctypes
import os
import struct
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from core import cage
from mbashara import DATA_VERSION, data, fence, postgres
from mbashara.settings import Settings
from tests.unit.test_cage import HAS_LANDLOCK

TRIES = """
import os, subprocess, threading
from core import cage
from mbashara import fence, logs
from mbashara.settings import Settings
settings = Settings()
logs.configure("media-0", "info")
data, memory = settings.data, f"/proc/{os.getppid()}/mem"
fence.close(settings, [settings.recordings, settings.keys_file.parent, settings.live])
def tried(act):
    try:
        act()
    except OSError as error:
        return type(error).__name__
reads = ("secrets/pepper", "secrets/signing/a.pem", "postgres/rows", "locations.toml", "link/signing/a.pem")
print("read", *(tried((data / name).read_bytes) for name in reads))
print("around", tried((data.parent / "link/pepper").read_bytes), tried(lambda: open(memory)))
writes = (data / "secrets/new", data / "public/new", data.parent / "new")
print("write", *(tried(path.touch) for path in writes))
print("remove", tried((data / "secrets/pepper").unlink), tried(lambda: (data / "secrets").rename(data / "state/s")))
print("own", *(tried(path.touch) for path in (settings.recordings / "a", settings.keys_file, settings.live / "a")))
print("moved", tried(lambda: (settings.recordings / "a").rename(settings.recordings / "b")))
lure, pepper = settings.recordings / "lure", data / "secrets/pepper"
lures = (lambda: lure.symlink_to(pepper), lambda: os.mkfifo(lure), lambda: lure.hardlink_to(pepper))
print("lures", *(tried(act) for act in lures))
print("other", tried((data.parent / "beside").read_bytes), tried(lambda: __import__("wave")))
line = [*cage.entrance(cage.Limits(1 << 30, 10)), "/bin/sh", "-c", "cat %s; echo works" % settings.keys_file]
print("child", subprocess.run(line, capture_output=True, text=True).stdout.strip())
threading.Thread(target=lambda: print("thread", tried((data / "secrets/pepper").read_bytes))).start()
"""


@pytest.mark.skipif(not HAS_LANDLOCK, reason="this kernel has no Landlock of version 6")
def test_what_is_not_its_own_is_out_of_reach(tmp_path: Path) -> None:
    """Links in and out of the folder, and what others hold in memory, too; cages stand within the fence."""
    settings = Settings(data=tmp_path / "data", run_dir=tmp_path / "run")
    data.prepare(settings)
    for name in ("secrets/signing/a.pem", "postgres/rows", "locations.toml", "../beside"):
        (settings.data / name).write_text("x")
    for folder in (settings.data, tmp_path):
        (folder / "link").symlink_to(settings.data / "secrets")
    owned = {**os.environ, **settings.environment(), "PYTHONPATH": os.getcwd()}
    child = subprocess.run([sys.executable, "-c", TRIES], env=owned, capture_output=True, text=True)
    no = "PermissionError"
    assert child.stdout.splitlines() == [
        f"read {no} {no} {no} {no} {no}", f"around {no} {no}", f"write {no} {no} {no}", f"remove {no} {no}",
        "own None None None", "moved None",
        f"lures {no} {no} OSError", "other None None", "child works", f"thread {no}",
    ], child.stderr  # fmt: skip
    assert child.stderr.count("the keys are out of reach") == 1


@pytest.mark.skipif(not HAS_LANDLOCK, reason="this kernel has no Landlock of version 6")
def test_keys_that_lie_elsewhere_are_out_of_reach_too(tmp_path: Path) -> None:
    """The folder of the keys is a link to one beside the data's."""
    settings = Settings(data=tmp_path / "data", run_dir=tmp_path / "run")
    (tmp_path / "keys/of ours").mkdir(parents=True)
    (tmp_path / "keys/of others").write_text("x")
    settings.data.mkdir()
    (settings.data / "secrets").symlink_to(tmp_path / "keys/of ours")
    (settings.data / "VERSION").write_text(f"{DATA_VERSION}\n")
    data.prepare(settings)
    words = [*fence.entrance([settings.recordings]), "/bin/cat", str(tmp_path / "keys/of others")]
    owned = {**os.environ, **settings.environment(), "PYTHONPATH": os.getcwd()}
    told = subprocess.run([*words, str(tmp_path / "keys/of ours/pepper")], env=owned, capture_output=True, text=True)
    assert told.stdout == "x" and told.stderr.count("Permission denied") == 1, told.stderr


@pytest.mark.skipif(not HAS_LANDLOCK, reason="this kernel has no Landlock of version 6")
def test_a_database_that_runs_for_one_command_is_fenced(tmp_path: Path) -> None:
    """Its superuser has it start programs, which write to nobody's memory and read no keys."""
    settings = Settings(data=tmp_path / "data", run_dir=tmp_path / "run")
    tries = f"cat {settings.pepper_file}; touch /dev/shm/{tmp_path.name} {settings.run}/nginx/x; echo tried"
    with postgres.running(settings):
        postgres.wait_until_up(settings)
        with psycopg.connect(settings.sqlalchemy_url) as connection:
            connection.execute("create temp table told (line text)")
            connection.execute(f"copy told from program '({tries}) 2>&1'")
            told = [line for (line,) in connection.execute("select line from told")]
    assert [line.rpartition(": ")[2] for line in told] == [*["Permission denied"] * 3, "tried"]


def test_a_kernel_that_has_none_is_told_of_and_no_hindrance(tmp_path: Path) -> None:
    """Under a filter of calls that knows no Landlock, as old kernels and some containers have it."""
    settings = Settings(data=tmp_path / "data", run_dir=tmp_path / "run")
    data.prepare(settings)
    words = [*fence.entrance([settings.recordings]), "/bin/cat", str(settings.pepper_file)]
    line = "import ctypes, os, sys\nfrom tests.unit.test_fence import without_landlock\nwithout_landlock()\n"
    line += "os.execv(sys.argv[1], sys.argv[1:])"
    owned = {**os.environ, **settings.environment(), "PYTHONPATH": os.getcwd()}
    told = subprocess.run([sys.executable, "-c", line, *words], env=owned, capture_output=True)
    assert told.stdout == settings.pepper_file.read_bytes(), told.stderr
    assert told.stderr.count(b"no Landlock") == 1


def without_landlock() -> None:
    """This process and what it becomes: the call is not there (ENOSYS)."""
    lines = [(0x20, 0, 0, 0), (0x15, 0, 1, cage.LANDLOCK_CREATE_RULESET), (6, 0, 0, 0x00050026), (6, 0, 0, 0x7FFF0000)]
    program = cage._Program(len(lines), b"".join(struct.pack("=HBBI", *line) for line in lines))
    libc = ctypes.CDLL(None)
    libc.prctl(cage.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    assert libc.prctl(cage.PR_SET_SECCOMP, 2, ctypes.byref(program), 0, 0) == 0
