"""Sets the stage of a bench: `mbashara up` with N channels that are fed in real time by a publisher process."""

import multiprocessing
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin, urlsplit

from tests.bench import feed as feeds
from tests.bench import procs, publisher, servers

_ON_AIR_S = 60.0


@dataclass(slots=True, frozen=True)
class Stage:
    up: servers.Mbashara
    channels: list[str]

    def source_url(self, channel: str) -> str:
        """The source rendition's playlist."""
        multivariant = f"{self.up.http_url}/live/{channel}/index.m3u8"
        text = read_url(multivariant)
        uri = next(line for line in text.split("\n") if line.endswith("/source/index.m3u8"))
        return urljoin(multivariant, uri)

    def media_processes(self) -> list[procs.Process]:
        return [p for p in procs.tree(self.up.pid) if "mbashara.media" in p.command]

    def edge_processes(self) -> list[procs.Process]:
        return [p for p in procs.tree(self.up.pid) if p.name == "nginx"]

    def run_file(self, playlist_url: str, name: str) -> Path:
        """The file in the memory folder beside a playlist."""
        return self.up.run_dir / Path(urlsplit(playlist_url).path.lstrip("/")).with_name(name)


def read_url(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return str(answer.read().decode())


@contextmanager
def on_air(
    streams: int, seconds: float, segments: int = 3, environment: Mapping[str, str] | None = None
) -> Iterator[Stage]:
    """Channels c0.. on the air for at least `seconds` after each has `segments` segments."""
    feeds.load()
    with tempfile.TemporaryDirectory(prefix="mbashara-bench-") as folder:
        Path(folder).chmod(0o755)  # the account passes through
        with servers.mbashara(Path(folder) / "data", {"MBASHARA_LADDER": "false", **(environment or {})}) as up:
            channels = [f"c{index}" for index in range(streams)]
            keys = up.channels_add(channels)
            context = multiprocessing.get_context("spawn")
            feeder = context.Process(target=_feed, args=(up.rtmp_url, keys, seconds + 2 * _ON_AIR_S))
            feeder.start()
            try:
                stage = Stage(up, channels)
                for channel in channels:
                    _await_segments(stage, channel, segments)
                yield stage
            finally:
                feeder.terminate()
                feeder.join()


def _feed(url: str, keys: list[str], seconds: float) -> None:
    print("   ", publisher.publish([(url, key) for key in keys], feeds.load(), seconds), flush=True)


def _await_segments(stage: Stage, channel: str, segments: int) -> None:
    until_s = time.monotonic() + _ON_AIR_S
    while time.monotonic() < until_s:
        try:
            if read_url(stage.source_url(channel)).count("#EXTINF") >= segments:
                return
        except (OSError, StopIteration, urllib.error.HTTPError):
            pass
        time.sleep(0.2)
    raise servers.Missing(f"channel {channel} did not come on the air")
