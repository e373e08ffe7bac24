"""Real ffmpegs publish to the RTMP server: each packet that ffmpeg also wrote to a file arrives, and nothing else."""

import asyncio
import multiprocessing
import shutil
import socket
import ssl
import subprocess
from collections.abc import Awaitable, Callable, Coroutine
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import pytest
import uvloop

from ingest.rtmp.door import Admit, FeedEnd, HandOff, PublishRequest
from ingest.rtmp.server import RtmpServer

KEY = "ikulu-2f8a"
FFMPEGS = [("wheel", imageio_ffmpeg.get_ffmpeg_exe()), ("system", shutil.which("ffmpeg"))]
SOURCE = "-f lavfi -i testsrc2=size=320x180:rate=25 -f lavfi -i sine=sample_rate=44100 -t 4"
CODECS = "-map 0:v -map 1:a -c:v libx264 -preset ultrafast -bf 2 -g 50 -c:a aac -b:a 64k"
AUDIO_ONLY = "-map 1:a -c:a aac -b:a 64k"
TIMEOUT_S = 60
Tag = tuple[int, int, bytes]


class Sink:
    def __init__(self) -> None:
        self.tags: list[Tag] = []
        self.ended: asyncio.Future[FeedEnd] = asyncio.get_running_loop().create_future()

    def on_message(self, type_id: int, timestamp_ms: int, body: bytearray) -> None:
        self.tags.append((int(type_id), timestamp_ms, bytes(body)))

    def on_end(self, end: FeedEnd) -> None:
        self.ended.set_result(end)


def flv_tags(path: Path) -> list[Tag]:
    """Audio and video of an FLV file (Adobe FLV 10.1, E.4)."""
    data, at, tags = path.read_bytes(), 13, []
    while at + 11 <= len(data):
        size = int.from_bytes(data[at + 1 : at + 4], "big")
        timestamp_ms = int.from_bytes(data[at + 4 : at + 7], "big") | data[at + 7] << 24
        tags.append((data[at], timestamp_ms, data[at + 11 : at + 11 + size]))
        at += 11 + size + 4
    return media(tags)


def media(tags: list[Tag]) -> list[Tag]:
    return [tag for tag in tags if tag[0] in (8, 9)]


def on_uvloop(story: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(asyncio.wait_for(story, TIMEOUT_S))


async def ffmpeg(executable: str, options: str, url: str, twin: Path) -> None:
    """Publishes and writes the very same packets to the FLV file `twin`."""
    command = [executable, "-hide_banner", "-loglevel", "error", "-nostdin", *f"{SOURCE} {options}".split()]
    command += ["-flags", "+global_header", "-f", "tee", f"[f=flv]{twin}|[f=flv]{url}"]
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    try:
        _, said = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, said.decode(errors="replace")


async def serving(
    admit: Admit, use: Callable[[int], Awaitable[None]], context: ssl.SSLContext | None = None, **options: Any
) -> None:
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    task = asyncio.create_task(RtmpServer(admit, **options).serve(sock, context))
    try:
        await use(sock.getsockname()[1])
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture(params=FFMPEGS, ids=[name for name, _ in FFMPEGS])
def executable(request: pytest.FixtureRequest) -> str:
    path = request.param[1]
    if path is None:
        pytest.skip("no ffmpeg in the system")
    return str(path)


FEEDS = [
    ("video and audio", CODECS, ""),
    ("audio only", AUDIO_ONLY, ""),
    ("over the 24 bits of a timestamp", CODECS, " -output_ts_offset 16775.3"),
]


@pytest.mark.parametrize(("options", "offset"), [case[1:] for case in FEEDS], ids=[case[0] for case in FEEDS])
def test_every_packet_arrives(executable: str, options: str, offset: str, tmp_path: Path) -> None:
    twin = tmp_path / "twin.flv"

    async def story() -> None:
        sink = Sink()

        async def admit(request: PublishRequest) -> Sink:
            assert (request.key, request.app) == (KEY, "live")
            return sink

        async def use(port: int) -> None:
            await ffmpeg(executable, options + offset, f"rtmp://127.0.0.1:{port}/live/{KEY}", twin)
            assert await sink.ended == FeedEnd(True, "FCUnpublish")

        await serving(admit, use)
        expected = flv_tags(twin)
        assert len(expected) > 100 and media(sink.tags) == expected
        if offset:
            assert expected[0][1] < 0xFFFFFF < expected[-1][1]

    on_uvloop(story())


def test_every_packet_arrives_over_tls(executable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    twin, context = tmp_path / "twin.flv", self_signed(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate.pem"))  # ffmpeg 9 verifies

    async def story() -> None:
        sink = Sink()

        async def admit(request: PublishRequest) -> Sink:
            return sink

        async def use(port: int) -> None:
            await ffmpeg(executable, CODECS, f"rtmps://127.0.0.1:{port}/live/{KEY}", twin)
            assert await sink.ended == FeedEnd(True, "FCUnpublish")

        await serving(admit, use, context)
        assert media(sink.tags) == flv_tags(twin) != []

    on_uvloop(story())


def self_signed(folder: Path) -> ssl.SSLContext:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl to make a certificate with")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    what = "req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1"
    command = [openssl, *what.split(), "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


def test_every_packet_arrives_in_the_process_it_is_passed_on_to(executable: str, tmp_path: Path) -> None:
    """Two processes, each on its own uvloop; ffmpeg sees one TCP connection throughout."""
    twin, door = tmp_path / "twin.flv", tmp_path / "media-1.handoff"
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    other = spawn.Process(target=other_worker, args=(door, theirs), daemon=True)
    other.start()

    async def story() -> None:
        async def admit(request: PublishRequest) -> HandOff:
            return HandOff(1)

        async def use(port: int) -> None:
            assert await asyncio.to_thread(ours.recv) == "listening"
            await ffmpeg(executable, CODECS, f"rtmp://127.0.0.1:{port}/live/{KEY}", twin)

        await serving(admit, use, handoff_path=lambda worker: door)
        tags, end = await asyncio.to_thread(ours.recv)
        assert end == FeedEnd(True, "FCUnpublish")
        assert media(tags) == flv_tags(twin) != []

    try:
        on_uvloop(story())
        other.join(60)
        assert other.exitcode == 0
    finally:
        other.kill()


def other_worker(door: Path, pipe: "Pipe[Any, Any]") -> None:
    async def story() -> None:
        sink = Sink()

        async def admit(request: PublishRequest) -> Sink:
            assert request.key == KEY
            return sink

        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(door))
            listener.listen()
            task = asyncio.create_task(RtmpServer(admit).serve_handoffs(listener))
            pipe.send("listening")
            end = await sink.ended
            pipe.send((sink.tags, end))
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    on_uvloop(story())
