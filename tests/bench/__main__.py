"""`make bench`: every bench in turn, one table at the end. --quick takes seconds instead of minutes."""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.bench import (
    consoles,
    copy,
    evidence,
    fixity,
    imports,
    ingest_cpu,
    overload,
    part_latency,
    player_delay,
    servers,
    viewers,
)

_RATIO = 0.8  # mbashara's CPU to nginx-rtmp's
_MEMORY_MIB = 12.0  # per stream, files in memory included
_COPY_RATIO = 0.8  # mbashara's rate to the aws client's
_FIXITY_RATIO = 0.8  # mbashara's rate to openssl's of one core
_HELD = 0.95  # of the source, where ladders ask for more than the machine has
_GROWTH = 1.15  # CPU per stream at the most streams to that at the fewest, beyond what the program costs idle


def _ingest(seconds: float, loads: list[int]) -> list[str]:
    lines, ours = [], list[ingest_cpu.Cost]()
    for streams in loads:
        with tempfile.TemporaryDirectory(prefix="mbashara-bench-") as folder:
            costs = ingest_cpu.run(streams, seconds, None, Path(folder))
        ours.append(costs[1])
        lines += [str(cost) for cost in costs]
        ratio = costs[1].cpu_percent_per_stream / costs[0].cpu_percent_per_stream
        lines.append(f"{streams} streams, CPU of mbashara to nginx-rtmp: {ratio:.2f} {_verdict(ratio, _RATIO)}")
    memory_mib = max(cost.memory_mib_per_stream + cost.shm_mib_per_stream for cost in ours)
    lines.append(f"memory per stream: {memory_mib:.1f} MiB {_verdict(memory_mib, _MEMORY_MIB)}")
    if len(ours) > 1:
        first, last = (c.cpu_percent_per_stream - c.cpu_percent_idle / c.streams for c in (ours[0], ours[-1]))
        growth = last / first
        lines.append(f"CPU per stream, {loads[-1]} to {loads[0]} streams: {growth:.2f} {_verdict(growth, _GROWTH)}")
    return lines


def _verdict(figure: float, target: float) -> str:
    return f"(target: at most {target:g}: {'ok' if figure <= target else 'MISSED'})"


def _latency(seconds: float, loads: list[int]) -> list[str]:
    return [part_latency.report(n, seconds, part_latency.run(n, seconds)) for n in loads]


def _copy(segments: int) -> list[str]:
    lines, ratio = copy.run(segments, 3)
    verdict = "ok" if ratio >= _COPY_RATIO else "MISSED"
    return [*lines, f"copy to S3, rate of mbashara to aws: {ratio:.2f} (target: at least {_COPY_RATIO:g}: {verdict})"]


def _copy_large(megabytes: int) -> list[str]:
    lines, ratio = copy.run_large(megabytes, 3)
    verdict = "ok" if ratio >= _COPY_RATIO else "MISSED"
    return [*lines, f"large file to S3, rate of mbashara to aws: {ratio:.2f} (target: {_COPY_RATIO:g}: {verdict})"]


def _fixity(segments: int) -> list[str]:
    lines, ratio = fixity.run(segments, 5)
    verdict = "ok" if ratio >= _FIXITY_RATIO else "MISSED"
    return [*lines, f"fixity, rate of mbashara to openssl: {ratio:.2f} (target: at least {_FIXITY_RATIO:g}: {verdict})"]


def _overload(streams: int, seconds: float) -> list[str]:
    lines, share = overload.run(streams, seconds)
    verdict = "ok" if share >= _HELD else "MISSED"
    return [*lines, f"source held under too many ladders: {share:.2f} (target: at least {_HELD:g}: {verdict})"]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--streams", type=int, default=50)
    parser.add_argument("--seconds", type=float, help="of each measurement (default: 20; latency twice that)")
    options = parser.parse_args()
    seconds = options.seconds or (8.0 if options.quick else 20.0)
    loads = [options.streams] if options.quick else sorted({10, 25, options.streams, 100})
    benches: list[tuple[str, Callable[[], list[str]]]] = [
        ("CPU and memory", lambda: _ingest(seconds, loads)),
        ("part latency", lambda: _latency(2 * seconds, [1, options.streams])),
        ("viewers", lambda: viewers.run(500, 200, seconds)),
        ("player delay", lambda: player_delay.run(max(seconds, 12.0))),
        ("copy to S3", lambda: _copy(200 if options.quick else 400)),
        ("large file to S3", lambda: _copy_large(128 if options.quick else 512)),
        ("fixity", lambda: _fixity(100 if options.quick else 400)),
        ("evidence", lambda: evidence.run(min(options.streams, 25), seconds)),
        ("imports", lambda: imports.run(0.5 if options.quick else 2, [2, 12] if options.quick else [10, 60])),
        ("overload", lambda: _overload(min(options.streams, 25), max(seconds, 30.0))),
        ("consoles", lambda: consoles.run(seconds)),
    ]
    table = []
    for name, bench in benches:
        print(f"{name} ...", flush=True)
        try:
            table += bench()
        except servers.Missing as missing:
            table.append(f"{name}: not measured: {missing}")
    print("\n" + "\n".join(table))


if __name__ == "__main__":
    main()
