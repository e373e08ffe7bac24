"""Two programs on one data folder: a media process that hung while its supervisor died is no danger to the next one."""

from contextlib import suppress
from pathlib import Path

import psutil

from archive.recordings.verify import verify
from tests.live import media_files
from tests.live.test_recording import AWAY_S, breaks, facts, publishing, wait_for, wait_for_parts
from tests.up import data_folder, is_over, running, until


def kinds(folder: Path) -> list[str]:
    return [one.kind for one in verify(folder).findings]


def test_a_media_process_that_hung_writes_nothing_into_what_its_successor_goes_on_with(tmp_path: Path) -> None:
    """It hangs on a disk, say; and the next `up` has another memory folder, so it reads nowhere of what was left."""
    feed, settings = media_files.make_flv(tmp_path / "feed.flv", 30), {"ladder": False, "reconnect_window_s": AWAY_S}
    with data_folder() as data:
        with running(data, **settings) as first:
            key = first.channel_add("mbili").primary_key
            with publishing(feed, f"{first.rtmp_url}/{key}"):
                broadcast = wait_for(first, "mbili", "live")
                wait_for_parts(first, "mbili", broadcast, "source", 3)
                hung = psutil.Process(first.process_id("media-0"))
                hung.suspend()
                first.process.kill()
                first.process.wait()
        folder = data / "recordings" / broadcast
        try:
            with running(data, run_dir=data.parent / "run", **settings) as second:
                with publishing(feed, f"{second.rtmp_url}/{key}") as encoder:
                    until(lambda: breaks(second, "mbili", broadcast, "source") == 1, "never resumed")
                    wait_for_parts(second, "mbili", broadcast, "source", 5)
                    with suppress(psutil.NoSuchProcess):
                        hung.resume()
                    until(lambda: is_over(hung), "it hangs for ever")
                    encoder.terminate()
                    encoder.wait(60)
                until(lambda: "ended" in facts(folder), "never ended")
                until(lambda: "unsigned_tail" not in kinds(folder), "never signed to its end")
                assert kinds(folder) == []
        finally:
            with suppress(psutil.NoSuchProcess):
                hung.kill()
