"""From a frame's sending to its part being downloadable through the edge, beyond the part's own duration.

    python -m tests.bench.part_latency [--streams 50] [--seconds 60]

Each picture carries the wall clock of its sending (tests/bench/feed.py). A probe has the hinted part requested before
it exists, so the answer's arrival is the first moment at which a viewer can have it. A part is done only when the
picture after it arrives: the least possible value is its duration, and what is reported is the time above that.
"""

import argparse
import asyncio
import multiprocessing
import time
from dataclasses import dataclass, field
from multiprocessing.queues import Queue
from urllib.parse import urlsplit

from player import conformance
from tests.bench import feed as feeds
from tests.bench import stage, wire

_PROBED_CHANNELS = 10
_TARGET_MS = 30.0


@dataclass(slots=True)
class Probe:
    above_ms: list[float] = field(default_factory=list)  # first picture's sending to download, less the duration
    last_picture_ms: list[float] = field(default_factory=list)  # last picture's sending to download
    dropped_hints: int = 0
    cpu_s: float = 0.0


def sent_at_s(part: bytes) -> list[float]:
    """Wall clocks of the pictures in a part."""
    found, at = [], part.find(feeds.CLOCK_UUID)
    while at >= 0:
        digits = part[at + len(feeds.CLOCK_UUID) : at + len(feeds.CLOCK_UUID) + 16]
        found.append(int(digits) / 1e6)
        at = part.find(feeds.CLOCK_UUID, at + 1)
    return found


async def _probe(playlist_url: str, until_s: float, probe: Probe) -> None:
    parts = urlsplit(playlist_url)
    folder, base = parts.path.rsplit("/", 1)[0], f"{parts.scheme}://{parts.netloc}"
    reader, fetcher = wire.Client(base), wire.Client(base)
    now = conformance.parse((await reader.get(parts.path, keep=True)).text)
    while time.time() < until_s:
        hint = now.hints[0][1]["URI"]
        msn, part = (int(number) for number in hint.split(".")[:2])
        reload = asyncio.ensure_future(
            reader.get(f"{parts.path}?_HLS_msn={msn}&_HLS_part={part}&_HLS_skip=YES", keep=True)
        )
        answer = await fetcher.get(f"{folder}/{hint}", keep=True)
        arrived_s = answer.arrived_s
        now = conformance.parse((await reload).text)
        duration_s = next((p.duration_s for s in now.listed for p in s.parts if p.uri == hint), None)
        clocks = sent_at_s(answer.body)
        if answer.status != 200 or duration_s is None or not clocks:
            probe.dropped_hints += 1
            continue
        probe.above_ms.append((arrived_s - clocks[0] - duration_s) * 1000)
        probe.last_picture_ms.append((arrived_s - clocks[-1]) * 1000)


def _probe_all(urls: list[str], seconds: float, out: "Queue[Probe]") -> None:
    probe, cpu_before_s, until_s = Probe(), time.process_time(), time.time() + seconds

    async def main() -> None:
        await asyncio.gather(*(_probe(url, until_s, probe) for url in urls))

    wire.run(main())
    probe.cpu_s = time.process_time() - cpu_before_s
    out.put(probe)


def run(streams: int, seconds: float) -> Probe:
    with stage.on_air(streams, seconds) as live:
        every = max(1, streams // _PROBED_CHANNELS)
        return measure([live.source_url(channel) for channel in live.channels[::every]], seconds)


def measure(urls: list[str], seconds: float) -> Probe:
    context = multiprocessing.get_context("spawn")
    out: Queue[Probe] = context.Queue()
    prober = context.Process(target=_probe_all, args=(urls, seconds, out))
    prober.start()
    found = out.get(timeout=seconds + 60)
    prober.join()
    return found


def report(streams: int, seconds: float, probe: Probe) -> str:
    p50, p95, p99 = (wire.percentile(probe.above_ms, share) for share in (0.5, 0.95, 0.99))
    verdict = "ok" if p95 <= _TARGET_MS else "MISSED"
    return (
        f"part latency {streams:>3} streams, {len(probe.above_ms)} parts: part duration + p50 {p50:.1f}, "
        f"p95 {p95:.1f}, p99 {p99:.1f} ms (target p95 30: {verdict}); from its last picture's sending "
        f"p50 {wire.percentile(probe.last_picture_ms, 0.5):.1f} ms; {probe.dropped_hints} hints dropped; "
        f"probe used {100 * probe.cpu_s / seconds:.1f} % of a core"
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.part_latency")
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 50])
    parser.add_argument("--seconds", type=float, default=60)
    options = parser.parse_args()
    for streams in options.streams:
        print(report(streams, options.seconds, run(streams, options.seconds)), flush=True)


if __name__ == "__main__":
    main()
