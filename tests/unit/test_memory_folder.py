"""A memory folder that refuses: the air and the recording go on, it is told once, and what is lacking is made good.

A file stands where a folder should, so that root is refused too.
"""

import asyncio
import socket
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from archive.recordings.recorder import Recorder
from core.web.http import Request, serve_http
from ingest.rtmp.door import FeedEnd
from mbashara.channels import Channels
from mbashara.media import Application
from mbashara.media_processes import MediaProcesses
from mbashara.metrics import MediaMetrics
from mbashara.previews import PreviewDoor
from mbashara.settings import Settings
from player.delivery import Delivery
from player.files import MemoryFolder
from tests.unit.channel_kit import FIRST, LIVE, House, run
from tests.unit.test_playlist import BROADCAST, SOURCE, Client, deliver, feed, make

REFUSAL = "the memory folder refuses"


def shut(folder: Path) -> Path:
    folder.rename(folder.with_name("away"))
    folder.write_text("")
    return folder


def open_again(folder: Path) -> None:
    folder.unlink()
    folder.with_name("away").rename(folder)


async def health(one: House) -> bytes:
    return await application_of(one)(Request("/healthz"))


def application_of(one: House, is_shut_out: bool = False) -> Application:
    channels: Channels = one.channels
    recorder: Recorder = channels._parameters.recorder
    delivery = Delivery(channels._hub, channels.playlist_of, recorder.folder, channels._parameters.live)

    async def obey() -> bool:
        return True

    metrics = MediaMetrics(channels, delivery, recorder)
    return Application(delivery, metrics, recorder, channels, obey, PreviewDoor(channels), lambda: is_shut_out)


def test_one_channels_folder_is_its_own_trouble(tmp_path: Path) -> None:
    async def scenario(one: House) -> None:
        encoder = await one.on_air(4)
        folder = shut(tmp_path / "live/ikulu")
        with capture_logs() as told:
            one.play(encoder, 6)
            one.channels._end_feed(encoder, FeedEnd(False, "the connection broke"))
            for _ in range(5):
                one.pass_s(2)
                one.channels.know()
        refused = [(line["folder"], line["what"]) for line in told if line["event"] == REFUSAL]
        assert sorted(set(refused)) == sorted(refused), "each is told once"
        assert (str(folder), "state.json") in refused and one.channels.is_refused
        assert b" 507 " in (await health(one)).split(b"\r\n")[0]

        open_again(folder)
        encoder = await one.come()
        one.play(encoder, 6)
        one.pass_s(2)
        one.channels.know()
        assert one.state["state"] == "live" and not one.channels.is_refused
        assert b" 200 " in (await health(one)).split(b"\r\n")[0]
        assert "EXTINF" in (folder / FIRST / "source/index.m3u8").read_text()
        one.plan(None)
        await one.ended()
        lost = [fact for fact in one.ledger(FIRST) if fact["fact"] == "absent" and fact["cause"] != "no media"]
        assert not lost and (tmp_path / "recordings" / FIRST / "source/0.m4s").exists()
        assert (tmp_path / "recordings" / FIRST / "source/1.m4s").stat().st_size > 0

    run(tmp_path, scenario)


def test_the_alarm_ends_where_nothing_more_comes_for_a_folder_that_takes_files_again(tmp_path: Path) -> None:
    """A feed that was lost meanwhile may stay away for hours, as may a rung whose ladder has no time."""

    async def scenario(one: House) -> None:
        encoder = await one.on_air(4)
        folder = shut(tmp_path / "live/ikulu")
        one.play(encoder, 4)
        one.lose(encoder)
        assert one.channels.is_refused
        open_again(folder)
        for _ in range(10):
            one.pass_s(1)
            one.channels.know()
        assert one.state["state"] == "lost" and not one.channels.is_refused

    run(tmp_path, scenario)


def test_all_that_is_wrong_at_once_is_told(tmp_path: Path) -> None:
    """Over a media process's own socket, as the console asks: the disk hides neither the memory nor the database."""
    settings = Settings(data=tmp_path, run_dir=tmp_path / "run", min_free_mb=1)
    settings.socket("media-0").parent.mkdir(parents=True)
    settings.recordings.mkdir(exist_ok=True)

    async def troubles(one: House, is_shut_out: bool) -> set[str]:
        path = settings.socket("media-0")
        door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        door.bind(str(path))
        door.listen()
        serving = asyncio.create_task(serve_http(application_of(one, is_shut_out), door))
        try:
            return set(await asyncio.to_thread(MediaProcesses(settings).troubles))
        finally:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)
            path.unlink()

    async def scenario(one: House) -> None:
        assert await troubles(one, False) == set()
        shut(tmp_path / "live/ikulu")
        one.channel.folder.write("index.m3u8", b"")
        assert await troubles(one, False) == {"memory_refuses"}
        one.channels._parameters.recorder.refuse(FIRST, "source", OSError(28, "No space left on device"))
        assert await troubles(one, True) == {"disk_refuses", "memory_refuses", "media_shut_out"}
        assert b" 503 " in (await health(one)).split(b"\r\n")[0]

    run(tmp_path, scenario)


def test_what_was_taken_away_is_there_again(tmp_path: Path) -> None:
    async def scenario(one: House) -> None:
        encoder = await one.on_air(4)
        for path in sorted((tmp_path / "live/ikulu").rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        one.channels.know()
        one.play(encoder, 5)
        assert one.state["state"] == "live"
        folder = tmp_path / "live/ikulu"
        assert (folder / "index.m3u8").exists() and (folder / FIRST / "source/index.m3u8").exists()

    run(tmp_path, scenario)


def test_a_channel_that_fails_does_not_stop_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(one: House) -> None:
        one.channels._add("a-bunge", 2, 7)
        broken = one.channels.channels["a-bunge"]
        broken.last = object()  # type: ignore[assignment]  # any mistake of ours
        with capture_logs() as told:
            for _ in range(3):
                one.channels.know()
        assert [line["channel"] for line in told if line["event"] == "a channel fails"] == ["a-bunge"]
        await one.on_air(4)
        assert one.state["state"] == "live"

    run(tmp_path, scenario)


@pytest.mark.parametrize("ending", ["", ".partial"])
def test_a_part_that_memory_refused_comes_from_the_recording(tmp_path: Path, ending: str) -> None:
    async def scenario() -> None:
        packager, window, _ = make()
        feed(packager, 0, 5)
        segment = window.open or window.segments[-1]
        part = segment.parts[-1]
        whole = bytes(range(256)) * (segment.size // 256 + 1)
        folder = tmp_path / BROADCAST / "source"
        folder.mkdir(parents=True)
        answer = asyncio.create_task(
            Client(deliver(window, tmp_path), f"{SOURCE}/{segment.msn}.{part.number}.m4s").run()
        )
        await asyncio.sleep(0.06)  # the recorder is a moment behind
        (folder / f"{segment.msn}.m4s{ending}").write_bytes(whole[: segment.size])
        client = await answer
        assert client.status == 200 and client.body == whole[part.offset : part.offset + part.size]

    asyncio.run(scenario())


def test_what_does_not_fit_leaves_nothing_half_written(tmp_path: Path) -> None:
    folder = MemoryFolder(tmp_path / "new")
    assert folder.write("a", b"1") and folder.has("a")
    (tmp_path / "new" / "b").mkdir()
    with capture_logs() as told:
        assert not folder.write("b", b"2") and not folder.write("b", b"2")
    assert len(told) == 1 and folder.refuses
    (tmp_path / "new" / "b").rmdir()
    assert folder.write("b", b"3") and not folder.refuses
    assert folder.remove("c"), "what isn't there is away"


@pytest.mark.parametrize("goes_on", [True, False])
def test_one_recording_that_cannot_be_taken_up_keeps_no_process_from_starting(tmp_path: Path, goes_on: bool) -> None:
    async def before(one: House) -> None:
        await one.on_air(7)
        await one.channels._parameters.recorder.written()

    async def after(one: House) -> None:
        one.now_ms = 20_000
        one.book.channels = (replace(one.book.channels[0], plan=LIVE if goes_on else None),)
        one.channels.restore(tmp_path / "recordings")
        one.channels.know()
        assert (one.channel.broadcast is not None) is goes_on

    run(tmp_path, before)
    if goes_on:
        shut(tmp_path / "live/ikulu")
        (tmp_path / "live/ikulu").unlink()
        (tmp_path / "live/ikulu").mkdir()
        (tmp_path / "live/ikulu" / FIRST).write_text("no folder")
    else:
        (tmp_path / "recordings" / FIRST / "of-a-full-disk.m3u8").mkdir()
    run(tmp_path, after)
