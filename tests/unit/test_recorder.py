"""The recorder's word on the disk: refused until the like of what was refused is taken again."""

import asyncio
import errno
from pathlib import Path

import pytest

from archive.recordings import recorder, verify
from archive.recordings.ledger import read_facts
from archive.recordings.recorder import MAX_QUEUED_BYTES, Recorder
from core.media import hls
from core.media.files import replace_file
from tests.unit.media_kit import aac_44k
from tests.unit.test_broadcast import START_MS, studio

FULL = OSError(28, "No space left on device")


def test_a_disk_that_takes_the_sound_and_no_picture_is_failing(tmp_path: Path) -> None:
    one = Recorder(tmp_path)
    one.refuse("jioni", "source", FULL)
    one.refuse("jioni", "", FULL)
    one.take_again("jioni", "", "source-audio")
    one.take_again("asubuhi")
    assert one.failing
    one.take_again("jioni", "", "source")
    assert not one.failing


def test_no_segment_is_kept_before_the_initialization_segment_that_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that was full as a configuration came into force takes it later."""

    def refuse(path: Path, data: bytes) -> None:
        if "init-1" in path.name:
            raise OSError(errno.ENOSPC, "full")
        replace_file(path, data)

    async def scenario() -> None:
        with studio(tmp_path) as live:
            feed = live.attach()
            at = live.play(feed, 5, 0)
            with monkeypatch.context() as patch:
                patch.setattr(recorder, "replace_file", refuse)
                live.change(feed, aac_44k())
                at = live.play(feed, 6, at, rate_hz=44_100)
                await live.recorder.written()
                told = [fact["name"] for fact in read_facts(tmp_path / "recordings" / ("0" * 26)) if "name" in fact]
                assert "source-audio/init-0.mp4" in told and "source-audio/init-1.mp4" not in told
            live.play(feed, 6, at, rate_hz=44_100)
            await live.broadcast.end("test")

    asyncio.run(scenario())
    folder = tmp_path / "recordings" / ("0" * 26)
    index = hls.read_index((folder / "source-audio/index.m3u8").read_text(), round(START_MS))
    gaps = [one.gap for one in index.segments if one.init == 1]
    assert gaps[0] and not gaps[-1]
    assert (folder / "source-audio/init-1.mp4").exists()
    assert [one.kind for one in verify.verify(folder).findings] == ["unsigned"]


def test_a_disk_that_is_slower_than_the_feed_is_failing(tmp_path: Path) -> None:
    """Nobody would look at it otherwise: each of its writes is good."""

    async def scenario() -> None:
        with studio(tmp_path) as live:
            feed = live.attach()
            at = live.play(feed, 5, 0)
            await live.recorder.written()
            assert not live.recorder.failing
            live.recorder.queued_bytes += MAX_QUEUED_BYTES
            at = live.play(feed, 5, at)
            await live.recorder.written()
            assert live.recorder.failing
            live.recorder.queued_bytes -= MAX_QUEUED_BYTES
            live.play(feed, 5, at)
            await live.recorder.written()
            assert not live.recorder.failing

    asyncio.run(scenario())


def test_a_recording_that_is_over_holds_no_alarm(tmp_path: Path) -> None:
    one = Recorder(tmp_path)
    one.refuse("jioni", "source", FULL)
    one.refuse("asubuhi", "source", FULL)
    one.take_again("jioni")
    assert one.failing
    one.take_again("asubuhi")
    assert not one.failing
