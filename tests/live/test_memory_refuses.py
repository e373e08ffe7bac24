"""A channel's folder in memory that can't be written: viewers get parts from the recording, an alarm says so, and
nothing of the recording is missing."""

import re
from pathlib import Path

from archive.recordings.verify import verify
from core.media.packet import Kind
from tests.live import media_files
from tests.live.test_disk_full import metric
from tests.live.test_recording import ROUNDS, is_run_of, publishing, wait_for, wait_for_parts
from tests.up import Up, get, until

SLUG = "hifadhi-fupi"


def test_the_air_and_the_recording_go_on(mbashara_up: Up, tmp_path: Path) -> None:
    feed = media_files.make_flv(tmp_path / "feed.flv", 40)
    key = mbashara_up.channel_add(SLUG).primary_key
    media, live = mbashara_up.process_id("media-0"), mbashara_up.run / "live" / SLUG
    with publishing(feed, f"{mbashara_up.rtmp_url}/{key}") as encoder:
        broadcast = wait_for(mbashara_up, SLUG, "live")
        wait_for_parts(mbashara_up, SLUG, broadcast, "source", 1)
        folders = [live, *(path for path in live.rglob("*") if path.is_dir())]
        try:
            for folder in folders:
                folder.chmod(0o555)
            until(lambda: metric(mbashara_up, "mbashara_memory_refuses") == 1, "no alarm")
            until(lambda: get(f"{mbashara_up.http_url}/healthz")[0] != 200, "healthy all the same")
            url = f"{mbashara_up.http_url}/live/{SLUG}/{broadcast}/source"
            msn = int(re.findall(r"^(\d+)\.m4s", get(f"{url}/index.m3u8")[1].decode(), re.M)[-1])
            status, body, _ = get(f"{url}/index.m3u8?_HLS_msn={msn + 2}&_HLS_part=1")
            assert status == 200, "a reload that waits is media's to answer"
            part = re.findall(r'#EXT-X-PART:.*URI="([^"]+)"', body.decode())[-1]
            assert not (live / broadcast / "source" / part).exists()
            status, body, headers = get(f"{url}/{part}")
            assert status == 200 and body[4:8] == b"moof" and headers["content-type"] == "video/mp4"
        finally:
            for folder in folders:
                folder.chmod(0o755)
        until(lambda: metric(mbashara_up, "mbashara_memory_refuses") == 0, "nothing was made good")
        encoder.terminate()
        encoder.wait(60)
    wait_for(mbashara_up, SLUG, "ended")
    assert mbashara_up.process_id("media-0") == media
    mbashara_up.wait_healthy()
    recording = mbashara_up.data / "recordings" / broadcast
    kept = media_files.kept_frames(recording / "source")
    assert is_run_of(kept, media_files.sent_frames(feed, Kind.VIDEO) * ROUNDS) and len(kept) > 100
    until(lambda: verify(recording).is_whole, "not signed to its end, or a file is not what was given to viewers")
    assert verify(recording).read_back > 0, "what memory did not have was hashed from the disk, and that is told"
