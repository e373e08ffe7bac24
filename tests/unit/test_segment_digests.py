"""SHA-256 of segments by a real child: right, and told all the same where the child is killed, stands still, or a part
is not in memory any more."""

import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from subprocess import PIPE
from typing import Any

import psutil
import pytest

from archive.recordings import segment_digests
from archive.recordings.recorder import MAX_QUEUED_BYTES, Recorder, Recording, RenditionRecorder
from archive.recordings.segment_digests import BEHIND_S, FromMemory, Hasher
from core.media import hls
from core.media.packet import Kind, VideoTrack
from core.media.window import Cadence, LiveWindow, Part, Segment
from player.files import RenditionFiles

PARTS = [os.urandom(size) for size in (1, 70_000, 1 << 20, (1 << 20) + 1)]
WHOLE = b"".join(PARTS)
DEBUGGER = """
import ctypes, sys
print(ctypes.CDLL(None).ptrace(16, int(sys.argv[1]), 0, 0), flush=True)  # PTRACE_ATTACH
sys.stdin.read()
"""
EXPECTED = hashlib.sha256(WHOLE).hexdigest()


@pytest.fixture
def hasher(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hasher]:
    """However full the machine is: one that is slow is not one that stands still, nor one that can't die."""
    monkeypatch.setattr(segment_digests, "PATIENCE_S", 60.0)
    monkeypatch.setattr(segment_digests, "DIES_IN_S", 60.0)
    one = Hasher()
    yield one
    one.stop()


def segment_in(folder: Path, msn: int = 0) -> Segment:
    segment, offset = Segment(msn, 0.0, False, 0, 0), 0
    for number, data in enumerate(PARTS):
        (folder / hls.part_name(msn, number)).write_bytes(data)
        segment.parts.append(Part(number, 0.2, True, False, offset, len(data)))
        offset += len(data)
    segment.duration_s, segment.size = 0.8, offset
    segment.parts.append(Part(len(PARTS), 0.2, False, True, offset, 0))  # a gap has no file
    return segment


def child_of(hasher: Hasher) -> psutil.Process:
    found = [one for one in psutil.Process().children() if "hasher.py" in " ".join(one.cmdline())]
    assert len(found) == 1
    return found[0]


def impatient(hasher: Hasher) -> psutil.Process:
    """Its child; from now on it is waited for a moment only."""
    assert hasher._door is not None
    hasher._door.settimeout(0.2)
    return child_of(hasher)


def test_the_child_tells_what_the_parts_are(tmp_path: Path, hasher: Hasher) -> None:
    digest = FromMemory(hasher, tmp_path)
    for msn in range(3):
        assert digest.end(segment_in(tmp_path, msn), len(WHOLE), 0) == EXPECTED
    child = child_of(hasher)
    assert child.cpu_times().user + child.cpu_times().system > 0
    assert "MBASHARA" not in " ".join(child.environ())
    hasher.stop()
    assert not child.is_running()


def test_one_that_was_killed_is_done_without_and_comes_back(
    tmp_path: Path, hasher: Hasher, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = FromMemory(hasher, tmp_path)
    digest.end(segment_in(tmp_path, 0), len(WHOLE), 0)
    child = child_of(hasher)
    child.kill()
    assert digest.end(segment_in(tmp_path, 1), len(WHOLE), 0) == EXPECTED
    assert not child.is_running(), "nobody waited for it"
    assert digest.end(segment_in(tmp_path, 2), len(WHOLE), 0) == EXPECTED, "while it rests"
    monkeypatch.setattr(hasher, "_rests_until_s", 0.0)
    assert digest.end(segment_in(tmp_path, 3), len(WHOLE), 0) == EXPECTED
    assert child_of(hasher).pid != child.pid


def test_one_that_stands_still_is_ended(tmp_path: Path, hasher: Hasher) -> None:
    digest = FromMemory(hasher, tmp_path)
    digest.end(segment_in(tmp_path, 0), len(WHOLE), 0)
    child = impatient(hasher)
    child.send_signal(signal.SIGSTOP)
    assert digest.end(segment_in(tmp_path, 1), len(WHOLE), 0) == EXPECTED
    assert not child.is_running()


def test_one_that_cannot_die_is_not_waited_for(tmp_path: Path, hasher: Hasher, monkeypatch: pytest.MonkeyPatch) -> None:
    """A debugger stops it, and keeps what is left of it once it was killed."""
    monkeypatch.setattr(segment_digests, "DIES_IN_S", 0.5)
    digest = FromMemory(hasher, tmp_path)
    digest.end(segment_in(tmp_path, 0), len(WHOLE), 0)
    child = impatient(hasher)
    with subprocess.Popen([sys.executable, "-c", DEBUGGER, str(child.pid)], stdin=PIPE, stdout=PIPE) as debugger:
        assert debugger.stdin is not None and debugger.stdout is not None
        if debugger.stdout.readline() != b"0\n":
            pytest.skip("nobody may look into processes here")
        began_s = time.monotonic()
        for msn in (1, 2):
            assert digest.end(segment_in(tmp_path, msn), len(WHOLE), 0) == EXPECTED
            monkeypatch.setattr(hasher, "_rests_until_s", 0.0)
        assert time.monotonic() - began_s < 30
        assert child.status() == psutil.STATUS_ZOMBIE, "it is there still, and no other beside it"
        debugger.stdin.close()
    assert digest.end(segment_in(tmp_path, 3), len(WHOLE), 0) == EXPECTED
    assert not child.is_running()
    monkeypatch.setattr(hasher, "_rests_until_s", 0.0)
    assert digest.end(segment_in(tmp_path, 4), len(WHOLE), 0) == EXPECTED
    assert child_of(hasher).pid != child.pid


def test_it_ends_with_whoever_asks(tmp_path: Path, hasher: Hasher) -> None:
    FromMemory(hasher, tmp_path).end(segment_in(tmp_path), len(WHOLE), 0)
    child = child_of(hasher)
    assert hasher._door is not None
    hasher._door.close()
    assert child.wait(60) == 0


@pytest.mark.parametrize("harm", ["away", "shorter"])
def test_what_is_not_in_memory_is_not_told(
    tmp_path: Path, hasher: Hasher, monkeypatch: pytest.MonkeyPatch, harm: str
) -> None:
    """Nor looked for twice."""
    again = list[object]()
    monkeypatch.setattr("archive.recordings.hasher.digest", again.append)
    digest, segment = FromMemory(hasher, tmp_path), segment_in(tmp_path)
    part = tmp_path / hls.part_name(0, 2)
    part.unlink() if harm == "away" else os.truncate(part, 100)
    assert digest.end(segment, len(WHOLE), 0) is None
    child = child_of(hasher)
    assert digest.end(segment_in(tmp_path, 1), len(WHOLE), 0) == EXPECTED
    assert child.is_running() and not again, "it goes on for the next"


class Desk:
    """A recorder with one rendition, whose parts lie in memory too."""

    def __init__(self, folder: Path, hasher: Hasher, max_queued_bytes: int = MAX_QUEUED_BYTES) -> None:
        self.memory = folder / "memory"
        self.memory.mkdir()
        self.recorder = Recorder(folder / "recordings", 5.0, max_queued_bytes, 0.001, hasher)
        self.recorder.start()
        self.recording = Recording(self.recorder, "0" * 26, Cadence(), 0, lambda: time.time() * 1000)
        self.lost: list[Segment] = []
        self.one = RenditionRecorder(self.recording, "source", self.lost.append, memory=self.memory)
        self.one.on_init(0, VideoTrack(b"", "avc1.4D401E", 640, 360), b"init")

    def write(self, msn: int = 0) -> Segment:
        """All parts of a segment, which is not complete yet."""
        segment = segment_in(self.memory, msn)
        for part, data in zip(segment.parts, [*PARTS, b""], strict=True):
            self.one.on_part(segment, part, data)
        return segment

    def wait(self) -> None:
        done = threading.Event()
        self.recorder.put(done.set)
        assert done.wait(60), "the recorder stands still"

    def end(self) -> list[dict[str, Any]]:
        """What the ledger tells of segments."""
        self.recorder.stop()
        lines = [json.loads(line) for line in (self.recording.folder / "ledger.jsonl").read_text().splitlines()]
        return [line for line in lines if "msn" in line]


@pytest.mark.parametrize("forgotten", [False, True])
def test_the_ledger_says_what_was_given_to_viewers(tmp_path: Path, hasher: Hasher, forgotten: bool) -> None:
    """Where memory has forgotten it, the disk is asked, and the ledger says that."""
    desk = Desk(tmp_path, hasher)
    segment = desk.write()
    if forgotten:
        (desk.memory / hls.part_name(0, 0)).unlink()
    desk.one.on_complete(segment)
    (told,) = desk.end()
    assert (told["sha256"], told["size"], told.get("read_back", False)) == (EXPECTED, len(WHOLE), forgotten)
    assert (desk.recording.folder / told["name"]).read_bytes() == WHOLE and not desk.lost


@pytest.mark.parametrize("keeps", [False, True])
def test_a_killed_process_part_is_not_taken_for_one_that_memory_refused(
    tmp_path: Path, hasher: Hasher, monkeypatch: pytest.MonkeyPatch, keeps: bool
) -> None:
    """A disk was full at the restart, so its number is given anew; silence makes parts of the same size. Memory may
    not let it be removed either."""
    desk, remove = Desk(tmp_path, hasher), os.unlink

    def refuse(path: Any, **told: Any) -> None:
        if keeps and os.fspath(path).startswith(str(desk.memory)):
            raise PermissionError(path)
        remove(path, **told)

    monkeypatch.setattr(os, "unlink", refuse)
    files = RenditionFiles(desk.memory, LiveWindow("source", Kind.VIDEO, Cadence(), 0), {})
    segment = segment_in(desk.memory)
    (desk.memory / hls.part_name(0, 2)).write_bytes(bytes(len(PARTS[2])))
    (desk.memory / (hls.part_name(0, 2) + ".new")).mkdir()  # so that root is refused too
    for part, data in zip(segment.parts, [*PARTS, b""], strict=True):
        files.on_part(segment, part, data)
        desk.one.on_part(segment, part, data)
    desk.one.on_complete(segment)
    (told,) = desk.end()
    assert (told["sha256"], told["read_back"]) == (EXPECTED, True)
    assert (desk.memory / hls.part_name(0, 2)).exists() is keeps, "viewers would get it"
    with pytest.raises(OSError):
        files.read_parts(segment)


def test_a_segment_is_kept_where_there_is_no_descriptor_left(tmp_path: Path, hasher: Hasher) -> None:
    """Neither for a hasher nor for parts in memory: what is open is read."""
    desk = Desk(tmp_path, hasher)
    segment = desk.write()
    desk.wait()
    hasher.stop()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        desk.one.on_complete(segment)
        desk.wait()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    desk.one.on_complete(desk.write(1))
    told = desk.end()
    assert [(line["fact"], line["sha256"], "read_back" in line) for line in told] == [
        ("file", EXPECTED, True),
        ("file", EXPECTED, False),
    ]
    assert (desk.recording.folder / "source/0.m4s").read_bytes() == WHOLE and not desk.lost


def test_a_disk_that_gives_back_less_is_not_taken_at_its_word(tmp_path: Path, hasher: Hasher) -> None:
    desk = Desk(tmp_path, hasher)
    segment = desk.write()
    desk.wait()
    (desk.memory / hls.part_name(0, 0)).unlink()
    os.truncate(desk.recording.folder / "source/0.m4s.partial", 100)
    desk.one.on_complete(segment)
    assert [line["fact"] for line in desk.end()] == ["absent"] and desk.lost == [segment]
    assert not [*desk.recording.folder.glob("source/*.partial")], "whoever verifies it would take that for added"


def test_a_slow_one_does_not_hold_the_recorder_up(
    tmp_path: Path, hasher: Hasher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a full machine it gets its turn three times a second; segments come faster. Asked for each it would be later
    with each."""
    asked, ask, all_are_there = list[bytes](), hasher._ask, threading.Event()

    def ask_slowly(question: bytes) -> bytes:
        asked.append(question)
        assert all_are_there.wait(60)
        time.sleep(BEHIND_S + 0.1)
        return ask(question)

    monkeypatch.setattr(hasher, "_ask", ask_slowly)
    desk = Desk(tmp_path, hasher)
    for msn in range(10):
        desk.one.on_complete(desk.write(msn))
    all_are_there.set()
    assert [line["sha256"] for line in desk.end()] == [EXPECTED] * 10
    assert len(asked) == 1, "all others are late by then"


def test_a_folder_of_any_name(tmp_path: Path, hasher: Hasher) -> None:
    folder = tmp_path / os.fsdecode(b"\xff")
    folder.mkdir()
    assert FromMemory(hasher, folder).end(segment_in(folder), len(WHOLE), 0) == EXPECTED
    assert hasher._ask(os.fsencode(folder / hls.part_name(0, 0))).startswith(b"1 "), "the child finds it too"
