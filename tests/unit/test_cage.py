"""A child that reads strangers' bytes: what it may still do to what is around it."""

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import imageio_ffmpeg
import pytest

from core import cage
from transcode.files.facts import FileFacts
from transcode.files.look import look

TRIES = """
import os, sys
key, file = sys.argv[1:]
print(open("/proc/self/oom_score_adj").read().strip())
def tried(act):
    try:
        act()
    except OSError as error:
        return type(error).__name__
print(tried(lambda: os.unlink(file)), tried(lambda: os.rename(file, key)), tried(lambda: open(file, "r+")))
print(tried(lambda: os.mkdir(file + "d")), tried(lambda: os.kill(os.getppid(), 0)))
"""
HAS_LANDLOCK = sys.platform == "linux" and ctypes.CDLL(None).syscall(cage.LANDLOCK_CREATE_RULESET, None, 0, 1) >= 6


@pytest.mark.skipif(not HAS_LANDLOCK, reason="this kernel has no Landlock of version 6")
def test_what_is_around_is_out_of_reach(tmp_path: Path) -> None:
    for name in ("key.pem", "1.m4s"):
        (tmp_path / name).write_text("x")
    words = [sys.executable, "-c", TRIES, str(tmp_path / "key.pem"), str(tmp_path / "1.m4s")]
    child = subprocess.run(
        words, preexec_fn=cage.enter(cage.Limits(1 << 30, 10)), env=cage.environment() | {"PYTHONPATH": os.getcwd()},
        capture_output=True, text=True,
    )  # fmt: skip
    no = "PermissionError"
    assert child.stdout.splitlines() == ["1000", f"{no} {no} {no}", f"{no} {no}"], child.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.m4s", "key.pem"]


@pytest.mark.parametrize("name", ["a.mp4", "a.mp3"])
def test_files_are_looked_into_from_there(name: str, tmp_path: Path) -> None:
    sources = ["-f", "lavfi", "-i", "testsrc=s=320x180:r=25", "-f", "lavfi", "-i", "sine"]
    words = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *sources, "-t", "1", str(tmp_path / name)]
    subprocess.run(words, check=True, stdin=subprocess.DEVNULL)
    found = look(tmp_path / name)
    assert isinstance(found, FileFacts) and found.sound is not None and (found.picture is not None) == (name != "a.mp3")
