"""A child that reads strangers' bytes: what it may still do to what is around it."""

import ctypes
import os
import socket
import subprocess
import sys
from pathlib import Path

import imageio_ffmpeg
import pytest

from core import cage
from transcode.files.facts import FileFacts
from transcode.files.look import look

TRIES = """
import os, socket, sys
key, folder, parent = sys.argv[1:]
def tried(act):
    try:
        act()
    except OSError as error:
        return type(error).__name__
def connect():
    socket.socket(socket.AF_UNIX).connect(folder + "/sock")
print("write", tried(lambda: os.unlink(key)), tried(lambda: os.rename(key, key + "2")), tried(lambda: open(key, "r+")))
print("make", tried(lambda: os.mkdir(key + "d")), tried(lambda: os.kill(os.getppid(), 0)))
print("read", tried(lambda: open(key)), tried(lambda: os.listdir(folder)), tried(lambda: open(parent)), tried(connect))
print("own", tried(lambda: open("/dev/null")), tried(lambda: open("/dev/urandom")), tried(lambda: __import__("wave")))
print("open", os.read(0, 9), tried(lambda: open("/proc/self/fd/0")))
from core import cage
cage.shut()
print("shut", tried(lambda: open(cage.__file__)), tried(lambda: os.listdir(".")), tried(lambda: __import__("colorsys")))
"""
HAS_LANDLOCK = sys.platform == "linux" and ctypes.CDLL(None).syscall(cage.LANDLOCK_CREATE_RULESET, None, 0, 1) >= 6
ROOMY = cage.Limits(1 << 30, 10)


@pytest.mark.skipif(not HAS_LANDLOCK, reason="this kernel has no Landlock of version 6")
def test_what_is_around_is_out_of_reach(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text("x")
    words = [sys.executable, "-c", TRIES, str(tmp_path / "key.pem"), str(tmp_path), f"/proc/{os.getpid()}/environ"]
    read, write = os.pipe()
    os.write(write, b"piped")
    os.close(write)
    with socket.socket(socket.AF_UNIX) as database, open(read, "rb") as pipe:
        database.bind(str(tmp_path / "sock"))
        database.listen()
        child = subprocess.run(
            words, preexec_fn=cage.enter(ROOMY, sys.executable), stdin=pipe, capture_output=True, text=True,
            env=cage.environment() | {"PYTHONPATH": os.getcwd()},
        )  # fmt: skip
    no = "PermissionError"
    assert child.stdout.splitlines() == [
        f"write {no} {no} {no}", f"make {no} {no}", f"read {no} {no} {no} {no}", "own None None None",
        "open b'piped' None", f"shut {no} {no} None",
    ], child.stderr  # fmt: skip
    assert sorted(path.name for path in tmp_path.iterdir()) == ["key.pem", "sock"]


def test_it_goes_first_where_memory_is_short() -> None:
    score = subprocess.Popen(["sleep", "10"], preexec_fn=cage.enter(ROOMY, "sleep"))
    try:
        assert Path(f"/proc/{score.pid}/oom_score_adj").read_text().strip() == "1000"
    finally:
        score.kill()
        score.wait()


@pytest.mark.parametrize("way", ["enter", "entrance"])
def test_it_steps_back_as_far_as_it_is_told(way: str) -> None:
    limits, own = ROOMY._replace(niceness=4), os.nice(0)
    lock, entrance = (cage.enter(limits, "nice"), []) if way == "enter" else (None, cage.entrance(limits))
    told = subprocess.run([*entrance, "/usr/bin/nice"], capture_output=True, preexec_fn=lock, check=True).stdout
    assert int(told) == min(own + 4, 19)


@pytest.mark.parametrize("way", ["enter", "entrance"])
def test_an_ffmpeg_reads_no_file_by_its_name(way: str, tmp_path: Path) -> None:
    """It works, on what it is given."""
    ffmpeg, other = imageio_ffmpeg.get_ffmpeg_exe(), tmp_path / "other.wav"
    made = [ffmpeg, "-v", "error", "-f", "lavfi", "-i", "sine=d=1"]
    sound = subprocess.run([*made, "-f", "wav", "pipe:1"], stdin=subprocess.DEVNULL, capture_output=True).stdout
    other.write_bytes(sound)

    def run(source: str) -> "subprocess.CompletedProcess[bytes]":
        words = [ffmpeg, "-v", "error", "-i", source, "-f", "null", "-"]
        lock, entrance = (cage.enter(ROOMY, ffmpeg), []) if way == "enter" else (None, cage.entrance(ROOMY))
        return subprocess.run([*entrance, *words], input=sound, capture_output=True, preexec_fn=lock)

    assert run("pipe:0").returncode == 0
    assert run(str(other)).returncode != 0 or not HAS_LANDLOCK


@pytest.mark.parametrize("name", ["a.mp4", "a.mp3"])
def test_files_are_looked_into_from_there(name: str, tmp_path: Path) -> None:
    sources = ["-f", "lavfi", "-i", "testsrc=s=320x180:r=25", "-f", "lavfi", "-i", "sine"]
    words = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *sources, "-t", "1", str(tmp_path / name)]
    subprocess.run(words, check=True, stdin=subprocess.DEVNULL)
    found = look(tmp_path / name)
    assert isinstance(found, FileFacts) and found.sound is not None and (found.picture is not None) == (name != "a.mp3")
