"""Bad input against the whole program, beside one good feed of a real ffmpeg that must not notice any of it."""

import random
import re
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import psutil
import pytest

from core.media import flv
from ingest.rtmp.client import PublishStarted
from ingest.rtmp.message import Message, MessageType, command
from tests.live.media_files import FFMPEG, make_flv
from tests.live.rtmp_kit import Encoder, Tag, connect, is_head, playlist, read_to_end, state, tags
from tests.unit.rtmp.pair import C0_C1_C2, chunk, command_chunk
from tests.up import Up, until

GOOD = "bad-input-good"
DAY_MS = 86_400_000
MAX_GROWTH_BYTES = 64 << 20
MAX_PART_PAUSE_S = 3.0  # of a part target of 0.5 s, on a machine that is being attacked
CONNECT = C0_C1_C2 + command_chunk(command("connect", 1, {"app": "live", "tcUrl": "rtmp://localhost/live"}))


@dataclass
class Watch:
    """Looks five times a second at the good feed's playlist and at the media process's memory. `made_s`: when media
    wrote each part, however late it is looked at."""

    up: Up
    process: psutil.Process
    memory_bytes: list[int] = field(default_factory=list)
    made_s: dict[str, float] = field(default_factory=dict)
    strange: list[dict[str, object]] = field(default_factory=list)
    text: str = ""
    stopped: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        first = state(self.up, GOOD)
        folder = self.up.run / "live" / GOOD / str(first["broadcast"]) / "source"
        while not self.stopped.wait(0.2):
            now = state(self.up, GOOD)
            if (now.get("state"), now.get("broadcast")) != ("live", first["broadcast"]):
                self.strange.append(now)
            self.memory_bytes.append(self.process.memory_info().rss)
            self.text = playlist(self.up, GOOD)
            parts = set(re.findall(r'#EXT-X-PART:.*URI="([^"]+)"', self.text))
            for part in parts - self.made_s.keys():
                with suppress(FileNotFoundError):  # it left the window just now
                    self.made_s[part] = (folder / part).stat().st_mtime

    def pauses_s(self) -> list[float]:
        return [after - before for before, after in pairwise(sorted(self.made_s.values()))]


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_flv(tmp_path_factory.mktemp("film") / "film.flv", 6)


@pytest.fixture(scope="module")
def short_film(film: Path) -> list[Tag]:
    return tags(film)


@pytest.fixture(scope="module")
def key(mbashara_up: Up) -> str:
    """Of a channel for publishers that never get as far as a picture."""
    return mbashara_up.channel_add("bad-input").primary_key


@pytest.fixture(scope="module")
def good(mbashara_up: Up, film: Path) -> Iterator[Watch]:
    key = mbashara_up.channel_add(GOOD).primary_key
    line = [FFMPEG, "-v", "error", "-re", "-stream_loop", "-1", "-i", str(film), "-c", "copy", "-f", "flv"]
    encoder = subprocess.Popen([*line, f"{mbashara_up.rtmp_url}/{key}"], stdin=subprocess.DEVNULL)
    until(lambda: playlist(mbashara_up, GOOD).count("#EXT-X-PART:") > 5, "the good feed is not on the air")
    watch = Watch(mbashara_up, psutil.Process(mbashara_up.process_id("media-0")))
    thread = threading.Thread(target=watch.run)
    thread.start()
    time.sleep(1)
    yield watch
    watch.stopped.set()
    thread.join()
    encoder.terminate()
    encoder.wait(60)


def log_since(up: Up, before: int) -> Callable[[str], bool]:
    return lambda reason: reason in up.log.read_text()[before:]


def header(csid: int, length: int) -> bytes:
    """A video message of that length begins."""
    return chunk(0, csid, 0, b"", length)


RAW = [
    ("random bytes", random.Random(1).randbytes(65536), "not RTMP"),
    ("a browser", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "not RTMP"),
    ("TLS", b"\x16\x03\x01\x02\x00" + bytes(512), "not RTMP"),
    ("random bytes after a handshake", C0_C1_C2 + b"\xff" * 4000, "chunk stream"),
    ("commands before connect", C0_C1_C2 + command_chunk(command("publish", 1, None, "k")), "before connect"),
    ("16 MiB message", CONNECT + header(6, (1 << 24) - 1), "message of 16777215 bytes"),
    ("lengths that lie", CONNECT + header(4, 8 << 20) + bytes(128) + header(5, 8 << 20) + bytes(128) + header(6, 9),
     "unfinished messages of more than"),
    ("a hundred chunk streams", CONNECT + b"".join(header(csid, 9) + bytes(9) for csid in range(3, 103)),
     "chunk streams"),
    ("AMF nested deep", CONNECT + command_chunk(Message(20, 0, bytearray(b"\x03\x00\x01a" * 5000))), "nested too deep"),
    ("AMF array of four billion",
     CONNECT + command_chunk(Message(20, 0, bytearray(b"\x0a" + b"\xff" * 4 + b"\x05" * 9000))), "too many AMF0"),
    ("chunk size 0", CONNECT + chunk(0, 2, 0, bytes(4), type_id=1), "chunk size of 0"),
    ("pings without end", CONNECT + chunk(0, 2, 0, b"\0\x06\0\0\0\0", type_id=4) * 20_000, "did not publish within"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "reason"), [case[1:] for case in RAW], ids=[case[0] for case in RAW])
def test_nonsense_is_ended_with_a_reason(good: Watch, data: bytes, reason: str) -> None:
    logged = log_since(good.up, good.up.log.stat().st_size)
    with connect(good.up) as sock:
        sock.sendall(data)
        said = read_to_end(sock)
    until(lambda: logged(reason), f"no reason in the log; said {said[-200:]!r}")


def test_a_truncated_handshake_is_ended_with_a_reason(good: Watch) -> None:
    logged = log_since(good.up, good.up.log.stat().st_size)
    for size in (0, 1, 1000, 1537, 3072):
        with connect(good.up) as sock:
            sock.sendall(C0_C1_C2[:size])
            sock.shutdown(socket.SHUT_WR)
            read_to_end(sock)
    until(lambda: logged("the peer closed the connection"), "no reason in the log")


def test_slow_senders_and_a_thousand_idle_connections(good: Watch, key: str) -> None:
    """All are ended by the server, and an encoder gets in between them."""
    logged = log_since(good.up, good.up.log.stat().st_size)
    slow = connect(good.up)
    ended: list[socket.socket] = []
    for first in range(0, 1000, 250):  # the kernel's backlog, not ours, is what a faster crowd would meet
        crowd = [connect(good.up) for _ in range(250)]
        with Encoder(good.up, key) as encoder:
            assert encoder.answer == PublishStarted(), first
            encoder.unpublish()
            encoder.wait_closed()
        ended += crowd[:100]
        for sock in crowd[100:]:
            sock.close()
    with slow:
        began_s = time.monotonic()
        try:
            for byte in C0_C1_C2[:20]:
                slow.sendall(bytes([byte]))
                time.sleep(1)
                if logged("did not publish in time") or logged("evicted"):
                    break
        except OSError:
            pass
        assert read_to_end(slow) == b"" and time.monotonic() - began_s < 60
    for sock in ended:
        with sock:
            assert read_to_end(sock) == b""


def test_a_second_publisher_on_a_key_is_refused(good: Watch, key: str) -> None:
    with Encoder(good.up, key) as first, Encoder(good.up, key) as second:
        assert first.answer == PublishStarted()
        assert second.refusal == "NetStream.Publish.BadName This stream key is in use by another encoder."
        first.unpublish()
        first.wait_closed()


@pytest.mark.parametrize(
    "config", [b"", b"\x01", b"\x01\x64\x00\x1f\xff\xe1\xff\xff\x67", random.Random(3).randbytes(40)],
    ids=["empty", "cut short", "length that lies", "random"],
)  # fmt: skip
def test_a_broken_codec_configuration_is_ended_with_a_reason(good: Watch, key: str, config: bytes) -> None:
    with Encoder(good.up, key) as encoder:
        encoder.send(MessageType.VIDEO, 0, b"\x17\0\0\0\0" + config)
        assert "The codec configuration can't be read" in encoder.wait_refused()


def test_garbage_h264_in_sound_framing_harms_nobody_else(good: Watch, short_film: list[Tag]) -> None:
    """Pictures of noise may go on the air; what can't be placed there ends the feed with a reason."""
    rng, key = random.Random(2), good.up.channel_add("bad-input-noise").primary_key
    with Encoder(good.up, key) as encoder:
        start_s = time.monotonic()
        encoder.send_in_real_time([tag for tag in short_film if is_head(tag)], start_s)
        noise = [
            (type_id, at_ms, body[:5] + rng.randbytes(len(body) - 5) if type_id == flv.VIDEO else body)
            for type_id, at_ms, body in short_film
            if not is_head((type_id, at_ms, body)) and len(body) > 5 and at_ms < 3000
        ]
        encoder.send_in_real_time(noise, start_s)

        def is_decided() -> bool:
            encoder.look()
            return bool(encoder.refusal) or state(good.up, "bad-input-noise")["state"] == "live"

        until(is_decided, "neither taken nor refused")


def jump(up: Up, slug: str, key: str, film: list[Tag], jump_ms: int) -> None:
    with Encoder(up, key) as encoder:
        start_s, at_ms = time.monotonic(), 2 * DAY_MS
        encoder.send_in_real_time([tag for tag in film if tag[1] < 4000], start_s, at_ms)
        encoder.send_in_real_time([tag for tag in film if tag[1] >= 4000], start_s, at_ms + jump_ms)
        until(lambda: "#EXT-X-DISCONTINUITY\n" in playlist(up, slug) or bool(encoder.refusal), "no discontinuity")
        encoder.unpublish()


def test_timestamps_that_jump_a_day_are_marked(good: Watch, short_film: list[Tag]) -> None:
    jumps = {"bad-input-day-on": DAY_MS, "bad-input-day-back": -DAY_MS}
    keys = {slug: good.up.channel_add(slug).primary_key for slug in jumps}
    threads = [
        threading.Thread(target=jump, args=(good.up, slug, keys[slug], short_film, jumps[slug])) for slug in jumps
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    for slug in jumps:
        assert "#EXT-X-DISCONTINUITY\n" in playlist(good.up, slug)


def test_the_good_feed_noticed_nothing(good: Watch) -> None:
    looked = len(good.memory_bytes)
    until(lambda: len(good.memory_bytes) > looked + 2, "nobody watches any more")
    assert good.process.is_running() and not good.strange
    assert "#EXT-X-GAP" not in good.text and "#EXT-X-DISCONTINUITY\n" not in good.text
    assert len(good.made_s) > 5 and max(good.pauses_s()) < MAX_PART_PAUSE_S
    assert max(good.memory_bytes) - good.memory_bytes[0] < MAX_GROWTH_BYTES
