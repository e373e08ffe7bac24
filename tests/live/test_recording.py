"""What was sent is kept: through a clean end, a lost encoder, a killed media process, a killed ffmpeg, a full disk."""

import contextlib
import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from archive.recordings.verify import verify
from core.media.packet import Kind
from tests.live import media_files
from tests.up import Up, command, data_folder, get, running, until

ROUNDS = 20  # of the film that are sent at most
AWAY_S = 120.0
"""So long a killed process may take to come back on a slow machine, and an encoder to find it."""


@pytest.fixture(autouse=True)
def first(mbashara_up: Up) -> Iterator[None]:
    """Rungs are asked for."""
    with mbashara_up.airing_first():
        yield


@pytest.fixture(scope="module")
def feed_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return media_files.make_flv(tmp_path_factory.mktemp("feed") / "feed.flv", 60)


def state(up: Up, channel: str) -> dict[str, object]:
    status, body, _ = get(f"{up.http_url}/live/{channel}/state.json")
    return dict(json.loads(body)) if status == 200 else {"state": None}


def wait_for(up: Up, channel: str, wanted: str) -> str:
    until(lambda: state(up, channel)["state"] == wanted, f"never {wanted}")
    return str(state(up, channel)["broadcast"])


@contextlib.contextmanager
def publishing(path: Path, url: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Until it is ended, however long a slow machine takes to look at it."""
    encoder = media_files.publish(path, url, is_endless=True)
    try:
        yield encoder
    finally:
        encoder.kill()
        encoder.wait()


def media_playlist(up: Up, channel: str, broadcast: str, rendition: str) -> str:
    return get(f"{up.http_url}/live/{channel}/{broadcast}/{rendition}/index.m3u8")[1].decode()


def breaks(up: Up, channel: str, broadcast: str, rendition: str) -> int:
    return media_playlist(up, channel, broadcast, rendition).count("#EXT-X-DISCONTINUITY\n")


def wait_for_parts(up: Up, channel: str, broadcast: str, rendition: str, segments: int) -> None:
    until(
        lambda: media_playlist(up, channel, broadcast, rendition).count("#EXTINF") >= segments,
        f"{rendition} has no {segments} segments",
    )


def facts(folder: Path) -> dict[str, dict[str, Any]]:
    """The first of each kind in its ledger, by kind."""
    found: dict[str, dict[str, Any]] = {}
    for line in (folder / "ledger.jsonl").read_text().rpartition("\n")[0].splitlines():
        found.setdefault(json.loads(line)["fact"], json.loads(line))
    return found


def is_run_of(kept: list[str], sent: list[str]) -> bool:
    """Kept frames are consecutive sent frames."""
    return bool(kept) and kept[0] in sent and sent[sent.index(kept[0]) :][: len(kept)] == kept


def told_s(playlist: str) -> float:
    """Seconds of media that a playlist names: its segments, and the parts after the last of them."""
    whole, _, rest = playlist.rpartition("#EXTINF:")
    segments = [line[8:].rstrip(",") for line in playlist.splitlines() if line.startswith("#EXTINF:")]
    parts = [line[22:].split(",")[0] for line in rest.splitlines() if line.startswith("#EXT-X-PART:DURATION=")]
    return sum(map(float, segments)) + sum(map(float, parts)) if whole else 0.0


def test_clean_end_is_on_demand_at_once_and_complete(mbashara_up: Up, tmp_path: Path) -> None:
    short = media_files.make_flv(tmp_path / "short.flv", 7, b_frames=2)
    key = mbashara_up.channel_add("rec-clean").primary_key
    encoder = media_files.publish(short, f"{mbashara_up.rtmp_url}/{key}")
    broadcast = wait_for(mbashara_up, "rec-clean", "live")
    assert encoder.wait(60) == 0
    wait_for(mbashara_up, "rec-clean", "ended")
    url = f"{mbashara_up.http_url}/recordings/{broadcast}"
    until(lambda: b"#EXT-X-ENDLIST" in get(f"{url}/source/index.m3u8")[1], "no ENDLIST")
    folder = mbashara_up.data / "recordings" / broadcast
    until(lambda: "ended" in facts(folder), "the end is not on record")
    assert facts(folder)["ended"]["reason"] == "feed ended", "it was not waited for"
    assert media_files.kept_frames(folder / "source") == media_files.sent_frames(short, Kind.VIDEO)
    sound, kept = media_files.sent_frames(short, Kind.AUDIO), media_files.kept_frames(folder / "source-audio")
    assert kept == sound[-len(kept) :]
    assert len(kept) >= len(sound) - 4
    assert get(f"{url}/index.m3u8")[0] == 200
    probe = [media_files.FFMPEG, "-v", "error", "-i", f"{url}/index.m3u8", "-map", "0:v:0", "-f", "null", "-"]
    played = subprocess.run(probe, capture_output=True, text=True, timeout=60)
    assert (played.returncode, played.stderr) == (0, ""), f"{played.stderr} {get(f'{url}/index.m3u8')[1].decode()}"
    until(lambda: verify(folder).is_whole, "not signed to its end")
    told = command(mbashara_up.data, "recording", "verify", broadcast, str(folder / "source/0.m4s"), "--lang", "en")
    assert told.returncode == 0 and "WHOLE AND UNALTERED" in told.stdout, told
    assert "to the last byte: source/0.m4s" in told.stdout, told
    shown = json.loads(command(mbashara_up.data, "recording", "show", broadcast, "--json").stdout)
    assert shown["is_signed_whole"] and {"source", "source-audio"} <= set(shown["renditions"]), shown
    (folder / "source/1.m4s").write_bytes((folder / "source/0.m4s").read_bytes())
    told = command(mbashara_up.data, "recording", "verify", broadcast)
    assert told.returncode == 1 and "source/1.m4s lina yaliyomo ya faili source/0.m4s" in told.stdout, told


def test_killed_media_process_loses_at_most_a_part(feed_file: Path) -> None:
    with data_folder() as data, running(data, reconnect_window_s=AWAY_S) as up, up.airing_first():
        key = up.channel_add("crash").primary_key
        sent = media_files.sent_frames(feed_file, Kind.VIDEO) * ROUNDS
        with publishing(feed_file, f"{up.rtmp_url}/{key}"):
            broadcast = wait_for(up, "crash", "live")
            wait_for_parts(up, "crash", broadcast, "source", 3)
            until(lambda: open_parts(up, "crash", broadcast) == 1, "no segment has only begun", step_s=0.02)
            listed = media_playlist(up, "crash", broadcast, "source")
            old = up.kill("media-0")
        up.wait_restarted("media-0", old)
        with publishing(feed_file, f"{up.rtmp_url}/{key}") as encoder:
            until(lambda: breaks(up, "crash", broadcast, "source") == 1, "never resumed")
            wait_for_parts(up, "crash", broadcast, "source", listed.count("#EXTINF") + 4)
            assert state(up, "crash")["broadcast"] == broadcast
            encoder.send_signal(signal.SIGTERM)
            encoder.wait(60)
        wait_for(up, "crash", "ended")
        folder = up.data / "recordings" / broadcast / "source"
        until(lambda: "ENDLIST" in (folder / "index.m3u8").read_text(), "no ENDLIST")
        segments = media_files.kept_segments(folder)
        turn = next(n for n, one in enumerate(segments) if one.discontinuity)
        before = [f for one in segments[:turn] if not one.gap for f in media_files.segment_frames(folder, one)]
        after = [f for one in segments[turn:] if not one.gap for f in media_files.segment_frames(folder, one)]
        assert before == sent[: len(before)], "what was kept before the kill is what was sent, from its first frame on"
        assert len(before) / 25 >= told_s(listed) - 0.001, "every part that viewers were told is kept"
        assert is_run_of(after, sent) and after[0] == sent[0]
        assert [one.msn for one in segments] == list(range(len(segments)))
        for name in ("source-audio", "144p", "low-audio"):
            others = media_files.kept_segments(folder.parent / name)
            assert [one.msn for one in others if one.discontinuity] == [segments[turn].msn], name
        gap = facts(folder.parent)["gap"]
        assert gap["cause"] == "process ended" and 0 < gap["to_ms"] - gap["from_ms"] < AWAY_S * 1000
        until(lambda: verify(folder.parent).is_whole, "not signed to its end")
        assert verify(folder.parent).recovered > 0, "what the killed process did not put on record"


def open_parts(up: Up, slug: str, broadcast: str) -> int:
    """How many parts the source's open segment has."""
    lines = media_playlist(up, slug, broadcast, "source").splitlines()
    last = max((number for number, line in enumerate(lines) if not line.startswith("#")), default=0)
    return sum(line.startswith("#EXT-X-PART:") for line in lines[last:])


def test_lost_encoder_is_a_gap_and_comes_back(mbashara_up: Up, feed_file: Path) -> None:
    key = mbashara_up.channel_add("lost").primary_key
    with publishing(feed_file, f"{mbashara_up.rtmp_url}/{key}"):
        broadcast = wait_for(mbashara_up, "lost", "live")
        wait_for_parts(mbashara_up, "lost", broadcast, "source", 2)
    wait_for(mbashara_up, "lost", "lost")
    until(lambda: "GAP=YES" in media_playlist(mbashara_up, "lost", broadcast, "source"), "no gap parts")
    with publishing(feed_file, f"{mbashara_up.rtmp_url}/{key}") as encoder:
        assert wait_for(mbashara_up, "lost", "live") == broadcast
        until(lambda: breaks(mbashara_up, "lost", broadcast, "144p") == 1, "rungs")
        for rendition in ("source", "source-audio"):
            assert breaks(mbashara_up, "lost", broadcast, rendition) == 1
        encoder.send_signal(signal.SIGTERM)
        encoder.wait(60)
    wait_for(mbashara_up, "lost", "ended")


def test_killed_transcoder_and_hasher_leave_the_source_alone(mbashara_up: Up, feed_file: Path) -> None:
    key = mbashara_up.channel_add("rungs").primary_key
    with publishing(feed_file, f"{mbashara_up.rtmp_url}/{key}") as encoder:
        broadcast = wait_for(mbashara_up, "rungs", "live")
        wait_for_parts(mbashara_up, "rungs", broadcast, "144p", 2)
        media = mbashara_up.process_id("media-0")
        children = psutil.Process(media).children()
        assert len([one for one in children if one.name().startswith("python")]) == 1, "who hashes?"
        for child in children:
            child.kill()
        before = media_playlist(mbashara_up, "rungs", broadcast, "144p").count("#EXTINF")
        until(lambda: "GAP=YES" in media_playlist(mbashara_up, "rungs", broadcast, "144p"), "nobody missed the rung")
        wait_for_parts(mbashara_up, "rungs", broadcast, "144p", before + 3)
        until(lambda: is_back(media_playlist(mbashara_up, "rungs", broadcast, "144p")), "the rung did not come back")
        source = media_playlist(mbashara_up, "rungs", broadcast, "source")
        assert "GAP" not in source and "DISCONTINUITY\n" not in source
        encoder.send_signal(signal.SIGTERM)
        encoder.wait(60)
    wait_for(mbashara_up, "rungs", "ended")
    folder = mbashara_up.data / "recordings" / broadcast
    until(lambda: verify(folder).is_whole, "not signed to its end, or a file is not what was given to viewers")
    assert "read_back" not in (folder / "ledger.jsonl").read_text()


def is_back(playlist: str) -> bool:
    """There is media after the last gap part."""
    return "INDEPENDENT=YES" in playlist.split("GAP=YES")[-1]
