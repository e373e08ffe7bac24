"""`make bench`: every bench in turn, one table at the end. --quick takes seconds instead of minutes."""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.bench import ingest_cpu, part_latency, player_delay, servers, viewers


def _ingest(seconds: float, loads: list[int]) -> list[str]:
    lines = []
    for streams in loads:
        with tempfile.TemporaryDirectory(prefix="mbashara-bench-") as folder:
            costs = ingest_cpu.run(streams, seconds, None, Path(folder))
        lines += [str(cost) for cost in costs]
        ratio = costs[1].cpu_percent_per_stream / costs[0].cpu_percent_per_stream
        lines.append(f"             {streams:>4} streams, mbashara to nginx-rtmp: {ratio:.2f} (target: at most 0.8)")
    return lines


def _latency(seconds: float, loads: list[int]) -> list[str]:
    return [part_latency.report(n, seconds, part_latency.run(n, seconds)) for n in loads]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--streams", type=int, default=50)
    parser.add_argument("--seconds", type=float, help="of each measurement (default: 30; latency 60)")
    options = parser.parse_args()
    seconds = options.seconds or (8.0 if options.quick else 30.0)
    loads = [options.streams] if options.quick else sorted({10, 25, options.streams, 100})
    benches: list[tuple[str, Callable[[], list[str]]]] = [
        ("CPU and memory", lambda: _ingest(seconds, loads)),
        ("part latency", lambda: _latency(options.seconds or 2 * seconds, [1, options.streams])),
        ("viewers", lambda: viewers.run(500, 200, seconds)),
        ("player delay", lambda: player_delay.run(max(seconds, 12.0))),
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
