"""`mbashara recording export` beside a running program: a file with its credentials, an audit entry, no half file."""

import fcntl
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from archive.recordings import export_credentials
from archive.recordings.export_credentials import Standing
from tests.live import media_files
from tests.unit.encoded_kit import encode, record
from tests.up import Up, command, environment, until

ID = "01jdx00000000000000000000e"


@pytest.fixture(scope="module")
def up(mbashara_up: Up, tmp_path_factory: pytest.TempPathFactory) -> Up:
    """With a recording of ten seconds, which the work process makes rows of."""
    mbashara_up.channel_add("export")
    with psycopg.connect(mbashara_up.database_url()) as server:
        found = server.execute("select id, institution_id from channel where slug = 'export'").fetchone()
    assert found is not None
    folder = tmp_path_factory.mktemp("export")
    made = record(folder, [(encode(folder / "sent.flv", 10), 0)], ID, *found)
    kept = mbashara_up.data / "recordings" / ID
    subprocess.run(["cp", "-r", made, kept.with_name(".coming")], check=True)
    kept.with_name(".coming").rename(kept)
    until(lambda: ID in mbashara_up.recording_states(), "no row of the recording")
    return mbashara_up


def test_a_stretch_becomes_a_file_that_says_what_it_is(up: Up, tmp_path: Path) -> None:
    path = tmp_path / "part.mp4"
    words = ("recording", "export", ID, "-o", str(path), "--json")
    done = command(up.data, *words, "--from", "3", "--to", "00:00:07")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["files"][0]["from"] == "2026-09-21T17:13:22.080+03:00", "the keyframe before"
    assert told["asked"]["from"] == "2026-09-21T17:13:23.000+03:00"
    assert "inatoa / exporting: 100 %" in done.stderr
    played = subprocess.run([media_files.FFMPEG, "-v", "error", "-i", path, "-f", "null", "-"], capture_output=True)
    assert (played.returncode, played.stderr) == (0, b"")
    authority = (up.data / "secrets/c2pa/authority.pem").read_bytes()
    found = export_credentials.read(path, authority[authority.index(b"-----BEGIN CERTIFICATE") :])
    assert found.standing is Standing.VALID
    assert found.ledger is not None and found.ledger["title"]["en"] == "Channel export"
    owners = {one.stat().st_uid for one in (up.data / "secrets").glob("**/*")}
    assert owners == {(up.data / "secrets").stat().st_uid}, "the program, too, may read what the command made"
    again = command(up.data, *words)
    assert (again.returncode, "tayari ipo" in again.stderr) == (2, True)
    with psycopg.connect(up.database_url()) as server:
        asked = "select act from audit_entry where act = 'recording.export' and subject = %s"
        acts = server.execute(asked, (f"recording:{ID}",)).fetchall()
    assert acts == [("recording.export",)]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["nothing"], "there is no recording nothing"),
        (["../.."], "there is no recording ../.."),
        ([ID, "--rendition", "4k"], "there is no such rendition"),
        ([ID, "--from", "60"], "nothing was recorded in that stretch"),
        ([ID, "--from", "5", "--to", "4"], "the end is not after the beginning"),
        ([ID, "-o", "/no/such/folder/a.mp4"], "there is no folder"),
        ([ID, "-o", "a.avi"], "must end in .mp4 or .m4a"),
    ],
)
def test_what_can_t_be_done_is_one_line(up: Up, words: list[str], why: str) -> None:
    done = command(up.data, "recording", "export", *words)
    assert done.returncode == 2
    assert why in done.stderr.splitlines()[-1]


def test_ctrl_c_leaves_no_file(up: Up, tmp_path: Path) -> None:
    """It comes while the command waits to tell how far it is, because nobody reads that: a full pipe."""
    ours, theirs = os.pipe()
    fcntl.fcntl(theirs, fcntl.F_SETPIPE_SZ, 4096)
    os.write(theirs, b"." * 4096)
    line = [sys.executable, "-m", "mbashara", "recording", "export", ID, "-o", str(tmp_path / "a.mp4")]
    child = subprocess.Popen([*line, "--data", str(up.data)], env=environment(), stderr=theirs)
    os.close(theirs)
    try:
        until(lambda: (tmp_path / "a.mp4.partial").exists(), "it never began")
        child.send_signal(signal.SIGINT)
        with os.fdopen(ours) as told:
            last = told.read().splitlines()[-1]
        assert child.wait(60) == 130
    finally:
        child.kill()
    assert "hakuna faili lililobaki" in last
    assert list(tmp_path.iterdir()) == []
