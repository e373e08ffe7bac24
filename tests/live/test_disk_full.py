"""A disk that is full: the broadcast goes on from memory, an alarm says so, the gap is on the record."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from mbashara import DATA_VERSION
from tests.live import media_files
from tests.live.test_recording import media_playlist, publishing, wait_for
from tests.up import Up, data_folder, get, running, until

SMALL, LARGE = "size=1m,mode=777", "remount,size=200m"


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A data folder whose recordings lie on a file system of 1 MB of its own. Mounting takes root, as CI has."""
    with data_folder() as data:
        recordings = data / "recordings"
        recordings.mkdir(parents=True)
        (data / "VERSION").write_text(f"{DATA_VERSION}\n")
        subprocess.run(["mount", "-t", "tmpfs", "-o", SMALL, "tmpfs", str(recordings)], check=True)
        try:
            yield data
        finally:
            subprocess.run(["umount", "--lazy", str(recordings)], check=True)


def metric(up: Up, name: str) -> float:
    lines = get(f"{up.http_url}/metrics")[1].decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))


def test_the_broadcast_goes_on_and_the_gap_is_on_record(small_disk: Path, tmp_path: Path) -> None:
    feed = media_files.make_flv(tmp_path / "feed.flv", 120)
    with running(small_disk, ladder=False, min_free_mb=0) as up:
        key = up.channel_add("jaa").primary_key
        with publishing(feed, f"{up.rtmp_url}/{key}") as encoder:
            broadcast = wait_for(up, "jaa", "live")
            until(lambda: metric(up, "mbashara_disk_refuses") == 1, "no alarm")
            until(lambda: get(f"{up.http_url}/healthz")[0] != 200, "healthy all the same")
            told = media_playlist(up, "jaa", broadcast, "source").count("#EXTINF")
            until(
                lambda: media_playlist(up, "jaa", broadcast, "source").count("#EXTINF") > told + 1, "the live stopped"
            )
            playlist = media_playlist(up, "jaa", broadcast, "source")
            newest = next(line for line in reversed(playlist.splitlines()) if line.endswith(".m4s"))
            url = f"{up.http_url}/live/jaa/{broadcast}/source/{newest}"
            status, body, headers = get(url)
            assert status == 200 and body[4:8] == b"moof" and headers["content-type"] == "video/mp4"
            assert not (small_disk / "recordings" / broadcast / "source" / newest).exists(), "it is served from memory"
            subprocess.run(["mount", "-o", LARGE, str(small_disk / "recordings")], check=True)
            until(lambda: metric(up, "mbashara_disk_refuses") == 0, "the recording did not go on")
            encoder.terminate()
            encoder.wait(60)
        wait_for(up, "jaa", "ended")
        folder = small_disk / "recordings" / broadcast
        until(lambda: "ENDLIST" in (folder / "source" / "index.m3u8").read_text(), "no ENDLIST")
        segments = media_files.kept_segments(folder / "source")
        assert [one.msn for one in segments] == list(range(len(segments))), "every number is on record"
        assert any(one.gap for one in segments) and not segments[0].gap and not segments[-1].gap
        assert all((folder / "source" / f"{one.msn}.m4s").exists() != one.gap for one in segments)
        until(lambda: '"fact":"ended"' in (folder / "ledger.jsonl").read_text(), "the end is not on record")
        facts = [json.loads(line) for line in (folder / "ledger.jsonl").read_text().splitlines()]
        lost = [fact for fact in facts if fact["fact"] == "gap" and fact.get("rendition") == "source"]
        assert lost and lost[0]["cause"] == "disk full"
