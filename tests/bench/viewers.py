"""What viewers cost: 500 plain ones must cost the media process nothing, 200 blocking ones be answered at once.

    python -m tests.bench.viewers [--plain 500] [--blocking 200] [--seconds 30] [--lockstep]

Media's CPU is read before, with, and after the plain viewers, so that the machine's own noise shows. A blocking
reload's delay counts from the part file's modification time in the memory folder to the answer's arrival.

Each blocking viewer has a network of its own: it asks for the new part a round trip after the answer. With --lockstep
there is none, and 200 downloads of 4 Mbit/s begin on these cores while the answers are still being sent.
"""

import argparse
import asyncio
import multiprocessing
import random
import time
from dataclasses import dataclass, field
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Event
from urllib.parse import urlsplit

from player import conformance
from tests.bench import procs, stage, wire

_TARGET_P99_MS = 25.0
_SPAWN_S = 60.0  # a fresh Python on a busy machine
_ROUND_TRIP_S = (0.02, 0.3)  # from a fibre in Dodoma to 3G in a village


@dataclass(slots=True)
class Load:
    """What the viewers of one generator process saw."""

    requests: int = 0
    received_bytes: int = 0
    failures: int = 0
    answered: dict[str, list[float]] = field(default_factory=dict)  # newest part's name -> wall clocks of answers
    cpu_s: float = 0.0

    async def get(self, client: wire.Client, path: str, keep: bool = False) -> wire.Answer:
        answer = await client.get(path, keep)
        self.requests += 1
        self.received_bytes += answer.body_bytes
        self.failures += answer.status != 200
        return answer


async def _plain_viewer(playlist_url: str, until_s: float, load: Load) -> None:
    """A player without low latency: the playlist every target duration, then the newest segment."""
    parts = urlsplit(playlist_url)
    client = wire.Client(f"{parts.scheme}://{parts.netloc}")
    folder, last_uri, target_s = parts.path.rsplit("/", 1)[0], "", 4.0
    await asyncio.sleep(random.random() * target_s)
    while time.time() < until_s:
        began_s = time.monotonic()
        answer = await load.get(client, parts.path, keep=True)
        uri = [line for line in answer.text.split("\n") if line and not line.startswith("#")][-1]
        if uri != last_uri:
            await load.get(client, f"{folder}/{uri}")
            last_uri = uri
        await asyncio.sleep(max(0.0, target_s - (time.monotonic() - began_s)))
    client.close()


async def _lockstep_viewer(playlist_url: str, until_s: float, load: Load) -> None:
    await _blocking_viewer(playlist_url, until_s, load, 0.0)


async def _blocking_viewer(playlist_url: str, until_s: float, load: Load, round_trip_s: float | None = None) -> None:
    """A low-latency player: blocking delta reloads one after the other; the new parts meanwhile, on a connection of
    their own."""
    parts = urlsplit(playlist_url)
    reloads, media = (wire.Client(f"{parts.scheme}://{parts.netloc}") for _ in range(2))
    folder = parts.path.rsplit("/", 1)[0]
    away_s = random.uniform(*_ROUND_TRIP_S) if round_trip_s is None else round_trip_s
    wanted: asyncio.Queue[str] = asyncio.Queue()

    async def download() -> None:
        while name := await wanted.get():
            await asyncio.sleep(away_s)
            await load.get(media, f"{folder}/{name}")

    downloading = asyncio.create_task(download())
    hint = _hint(await load.get(reloads, parts.path, keep=True))
    while time.time() < until_s:
        msn, part = hint.split(".")[:2]
        query = f"?_HLS_msn={msn}&_HLS_part={part}&_HLS_skip=YES"
        answer = await load.get(reloads, parts.path + query, keep=True)
        before, hint = hint, _hint(answer)
        load.answered.setdefault(before, []).append(answer.arrived_s)
        wanted.put_nowait(before)
    wanted.put_nowait("")
    await downloading
    reloads.close()
    media.close()


def _hint(answer: wire.Answer) -> str:
    """The next part's name. All viewers get the same bytes: they are read once, or reading them would be the load."""
    if answer.body not in _hints:
        _hints[answer.body] = conformance.parse(answer.text).hints[0][1]["URI"]
    return _hints[answer.body]


_hints: dict[bytes, str] = {}


def _generate(kind: str, count: int, urls: list[str], seconds: float, began: Event, out: "Queue[Load]") -> None:
    load, cpu_before_s, until_s = Load(), time.process_time(), time.time() + seconds
    began.set()
    viewer = {"plain": _plain_viewer, "blocking": _blocking_viewer, "lockstep": _lockstep_viewer}[kind]

    async def main() -> None:
        await asyncio.gather(*(viewer(urls[index % len(urls)], until_s, load) for index in range(count)))

    wire.run(main())
    load.cpu_s = time.process_time() - cpu_before_s
    out.put(load)


def _spent_s(live: stage.Stage) -> tuple[float, float]:
    return procs.cpu_s(live.media_processes()), procs.cpu_s(live.edge_processes())


def _with_viewers(live: stage.Stage, kind: str, count: int, seconds: float) -> tuple[Load, float, float]:
    """The load, and CPU seconds that media and edge used meanwhile."""
    urls = [live.source_url(live.channels[0])]
    context = multiprocessing.get_context("spawn")
    out: Queue[Load] = context.Queue()
    began = context.Event()
    generator = context.Process(target=_generate, args=(kind, count, urls, seconds, began, out))
    generator.start()
    began.wait(_SPAWN_S)
    media_s, edge_s = _spent_s(live)
    if kind != "plain":
        _note_ready_times(live, urls[0], seconds)
    load = out.get(timeout=seconds + _SPAWN_S)
    media_after_s, edge_after_s = _spent_s(live)
    generator.join()
    return load, media_after_s - media_s, edge_after_s - edge_s


_ready_s: dict[str, float] = {}


def _note_ready_times(live: stage.Stage, playlist_url: str, seconds: float) -> None:
    """Part files leave the memory folder after a while, so their times are read as they come."""
    folder, until_s = live.run_file(playlist_url, "x").parent, time.time() + seconds + 1
    while time.time() < until_s:
        for path in folder.glob("*.*.m4s"):
            if path.name not in _ready_s:
                _ready_s[path.name] = path.stat().st_mtime_ns / 1e9
        time.sleep(0.5)


def run(plain: int, blocking: int, seconds: float, lockstep: bool = False) -> list[str]:
    lines = []
    with stage.on_air(1, 4 * seconds + 30) as live:
        none_s = []
        for _ in range(2):
            media_s, _edge_s = _spent_s(live)
            time.sleep(seconds)
            none_s.append(_spent_s(live)[0] - media_s)
            if len(none_s) == 1:
                load, with_s, edge_s = _with_viewers(live, "plain", plain, seconds)
        base = sum(none_s) / len(none_s)
        lines.append(
            f"plain viewers {plain}: media {_share(with_s, seconds)} with, {_share(none_s[0], seconds)} before, "
            f"{_share(none_s[1], seconds)} after: ratio {with_s / base:.2f} (target: within noise); "
            f"edge {_share(edge_s, seconds)}; {load.requests} requests, "
            f"{load.received_bytes * 8 / seconds / 1e6:.0f} Mbit/s, {load.failures} failed; "
            f"generator {_share(load.cpu_s, seconds)}"
        )
        load, with_s, edge_s = _with_viewers(live, "lockstep" if lockstep else "blocking", blocking, seconds)
        delays_ms = _delays_ms(load)
        p50, p99 = wire.percentile(delays_ms, 0.5), wire.percentile(delays_ms, 0.99)
        name = "lockstep" if lockstep else "blocking"
        lines.append(
            f"{name} viewers {blocking}: answered p50 {p50:.1f}, p99 {p99:.1f} ms after the part is ready "
            f"(target p99 25: {'ok' if p99 <= _TARGET_P99_MS else 'MISSED'}); {len(delays_ms)} answers; "
            f"media {_share(with_s, seconds)}, edge {_share(edge_s, seconds)}, {load.failures} failed; "
            f"generator {_share(load.cpu_s, seconds)}"
        )
    return lines


def _delays_ms(load: Load) -> list[float]:
    """Only answers of parts that became ready after they were asked for, which is all but the first of a viewer."""
    found = [
        (arrived_s - _ready_s[name]) * 1000
        for name, arrivals in list(load.answered.items())[1:]
        if name in _ready_s
        for arrived_s in arrivals
    ]
    return found


def _share(cpu_s: float, seconds: float) -> str:
    return f"{100 * cpu_s / seconds:.1f} %"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.viewers")
    parser.add_argument("--plain", type=int, default=500)
    parser.add_argument("--blocking", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--lockstep", action="store_true")
    options = parser.parse_args()
    for line in run(options.plain, options.blocking, options.seconds, options.lockstep):
        print(line, flush=True)


if __name__ == "__main__":
    main()
