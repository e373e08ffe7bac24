"""CPU and memory per 4 Mbit/s 720p stream: `mbashara up` (ladder off) beside nginx-rtmp making HLS.

    python -m tests.bench.ingest_cpu [--streams 50] [--seconds 30] [--only nginx|mbashara] [--linearity] [--floor]

Both servers are fed at once by two publishers of the same kind, so that whatever else the two shared cores do
meets both alike; CPU time is read from /proc, where it counts only what each process tree itself used. A third with
--floor (floor.c): what the system's calls and SHA-256 cost alone.
"""

import argparse
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier
from pathlib import Path

from tests.bench import feed as feeds
from tests.bench import procs, publisher, servers

_IDLE_S = 5.0
_SHOWN_PERCENT = 0.2
_LATE_S = 0.5  # a frame later than this: the machine is too busy for the figures to mean anything
_CONNECT_S = 120.0
_SETTLE_S = 8.0  # first segments; not measured


@dataclass(slots=True, frozen=True)
class Cost:
    """One server under one load."""

    server: str
    streams: int
    cpu_percent_per_stream: float  # of one core
    cpu_percent_idle: float  # of the whole server with no feed: what does not grow with streams
    processes: str  # where the CPU time went
    memory_mib_per_stream: float  # growth of resident memory from idle
    shm_mib_per_stream: float  # files in the memory file system
    written_ratio: float  # media bytes on disk to bytes sent; a server that drops media is cheap and worthless
    is_fed: bool  # the publisher kept its pace and none of its streams was refused

    def __str__(self) -> str:
        doubt = "" if self.written_ratio > 0.9 else f"  INVALID: {self.written_ratio:.0%} of the media written"
        doubt += "" if self.is_fed else "  INVALID: not fed in real time"
        return (
            f"{self.server:<12} {self.streams:>4} streams, per stream: "
            f"{self.cpu_percent_per_stream:6.3f} % of a core, {self.memory_mib_per_stream:6.2f} MiB resident"
            f", {self.shm_mib_per_stream:6.2f} MiB in /dev/shm{doubt}\n"
            f"{'':<12} (idle {self.cpu_percent_idle:.1f} % of a core in all; {self.processes})"
        )


@dataclass(slots=True, frozen=True)
class Side:
    """A server that is fed and measured."""

    name: str
    rtmp_url: str
    keys: list[str]
    processes: Callable[[], list[procs.Process]]
    output: Path  # where its media files go
    memory_folder: Path | None


def measure(sides: list[Side], seconds: float) -> list[Cost]:
    """Feed all sides at once; cost over `seconds` of steady state."""
    idle = [procs.resident_bytes(side.processes()) for side in sides]
    idle_before = [procs.cpu_s(side.processes()) for side in sides]
    time.sleep(_IDLE_S)
    idle_s = [procs.cpu_s(side.processes()) - idle_before[i] for i, side in enumerate(sides)]
    feed = feeds.load()  # made before the clock runs
    context = multiprocessing.get_context("spawn")
    total_s = _SETTLE_S + seconds + 4
    connected = context.Barrier(len(sides) + 1)  # the feeds begin, and the clock runs, when all have connected
    feeders = [context.Process(target=_feed, args=(side.rtmp_url, side.keys, total_s, connected)) for side in sides]
    for feeder in feeders:
        feeder.start()
    connected.wait(_CONNECT_S)
    time.sleep(_SETTLE_S)
    written_before = [procs.folder_bytes(side.output) for side in sides]
    start_s, before = time.monotonic(), [side.processes() for side in sides]
    time.sleep(seconds)
    elapsed_s, after = time.monotonic() - start_s, [side.processes() for side in sides]
    written = [procs.folder_bytes(side.output) - written_before[i] for i, side in enumerate(sides)]
    loaded = [procs.resident_bytes(side.processes()) for side in sides]
    shm = [procs.folder_bytes(side.memory_folder) if side.memory_folder else 0 for side in sides]
    for feeder in feeders:
        feeder.join()
    return [
        Cost(
            side.name,
            len(side.keys),
            100 * (procs.cpu_s(after[i]) - procs.cpu_s(before[i])) / elapsed_s / len(side.keys),
            100 * idle_s[i] / _IDLE_S,
            _where(before[i], after[i], elapsed_s),
            (loaded[i] - idle[i]) / 2**20 / len(side.keys),
            shm[i] / 2**20 / len(side.keys),
            written[i] * 8 / (elapsed_s * len(side.keys) * feed.bitrate_bps),
            feeders[i].exitcode == 0,
        )
        for i, side in enumerate(sides)
    ]


def _where(before: list[procs.Process], after: list[procs.Process], elapsed_s: float) -> str:
    """CPU of each process but the still ones, by what its command line ends in."""
    earlier_s = {process.pid: process.own_cpu_s for process in before}
    shares = [(100 * (p.own_cpu_s - earlier_s.get(p.pid, 0.0)) / elapsed_s, p) for p in after]
    return ", ".join(
        f"{process.command.split()[-1].rsplit('/', 1)[-1]} {share:.1f} %"
        for share, process in sorted(shares, key=lambda pair: -pair[0])
        if share > _SHOWN_PERCENT
    )


def _feed(url: str, keys: list[str], seconds: float, connected: Barrier) -> None:
    targets = [(url, key) for key in keys]
    report = publisher.publish(targets, feeds.load(), seconds, lambda: connected.wait(_CONNECT_S))
    print("   ", report, flush=True)
    sys.exit(report.late_max_s > _LATE_S)


def run(streams: int, seconds: float, only: str | None, folder: Path, *, floor: bool = False) -> list[Cost]:
    with ExitStack() as stack:
        sides = []
        if only != "mbashara":
            sides.append(_nginx_side(stack.enter_context(servers.nginx_rtmp(folder / "nginx")), streams))
        if only != "nginx":
            settings = {"MBASHARA_LADDER": "off"}
            up = stack.enter_context(servers.mbashara(folder / "data", settings))
            sides.append(_mbashara_side(up, streams))
        if floor:
            sides.append(_floor_side(stack.enter_context(servers.floor(folder / "floor", streams)), streams))
        return measure(sides, seconds)


def _nginx_side(server: servers.NginxRtmp, streams: int) -> Side:
    keys = [f"s{index}" for index in range(streams)]
    return Side("nginx-rtmp", server.rtmp_url, keys, lambda: procs.tree(server.pid), server.folder, None)


def _mbashara_side(server: servers.Mbashara, streams: int) -> Side:
    keys = server.channels_add([f"c{index}" for index in range(streams)])
    ours = lambda: procs.tree(server.pid, without=("postgres",))  # noqa: E731
    return Side("mbashara", server.rtmp_url, keys, ours, server.data / "recordings", server.run_dir)


def _floor_side(server: servers.Floor, streams: int) -> Side:
    keys = [f"s{index}" for index in range(streams)]
    return Side("floor", server.rtmp_url, keys, lambda: procs.tree(server.pid), server.disk, server.memory)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.ingest_cpu")
    parser.add_argument("--streams", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--only", choices=("nginx", "mbashara"))
    parser.add_argument("--linearity", action="store_true", help="also 10, 25 and 100 streams")
    parser.add_argument("--floor", action="store_true", help="also what no server can do without: floor.c")
    options = parser.parse_args()
    loads = sorted({10, 25, options.streams, 100}) if options.linearity else [options.streams]
    for streams in loads:
        with tempfile.TemporaryDirectory(prefix="mbashara-bench-") as folder:
            costs = run(streams, options.seconds, options.only, Path(folder), floor=options.floor)
        for cost in costs:
            print(cost, flush=True)
        if options.only is None:
            ratio = costs[1].cpu_percent_per_stream / costs[0].cpu_percent_per_stream
            print(f"ratio {ratio:.2f} (target: at most 0.8)")


if __name__ == "__main__":
    main()
