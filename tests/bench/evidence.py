"""What proving costs: CPU of the media process with the ledger and without, side by side; how long a long recording
takes to be playable after its end, and to have its ledger checked.

    python -m tests.bench.evidence [--streams 25] [--seconds 20] [--with-ladder 2] [--rounds 3]
"""

import argparse
import asyncio
import os
import tempfile
import time
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from archive.recordings import verify
from archive.recordings.recorder import Recorder, Recording, RenditionRecorder
from archive.recordings.signatures import Heads, sign
from archive.recordings.signing_keys import new_signer
from core.media.window import Cadence, Part, Segment
from mbashara.data import account
from tests.bench import procs, servers
from tests.bench.ingest_cpu import Cost, Side, measure

WITHOUT_LEDGER = '''
"""For the bench alone: a media process that hashes nothing and puts no file on record."""
import sys, types
if any("mbashara" in word for word in sys.orig_argv):
    import archive.recordings.recorder as recorder
    import archive.recordings.segment_digests as digests

    class Nothing:
        def __init__(self, *data): pass
        def update(self, data): pass
        def hexdigest(self): return "0" * 64

    digests.FromMemory.end = lambda self, segment, size, late_s: "0" * 64
    recorder.hashlib = types.SimpleNamespace(sha256=Nothing)
    recorder.Recording.fact_now = lambda self, fact, **values: None
'''
RENDITIONS = ("source", "source-audio", "360p", "144p", "low-audio")
SEGMENT_S = 4.0


def cpu(streams: int, seconds: float, rounds: int, *, ladder: bool = False) -> tuple[list[str], float]:
    """Lines, and the CPU of the media process (itself: not its encoders, nor its hasher) with ledger and copying to
    that without. Of the sum of all rounds: each begins with the other side, and one alone is worth 7 %."""
    lines, total = list[str](), {"with ledger": 0.0, "without": 0.0}
    for index in range(rounds):
        with tempfile.TemporaryDirectory(prefix="mbashara-bench-") as folder:
            costs = _cpu(Path(folder), streams, seconds, ladder, reverse=index % 2 == 1)
        lines += map(str, costs)
        for cost in costs:
            total[cost.server] += cost.cpu_percent_per_stream
    return lines, total["with ledger"] / total["without"]


def _cpu(place: Path, streams: int, seconds: float, ladder: bool, reverse: bool) -> list[Cost]:
    place.chmod(0o755)
    (place / "without").mkdir()
    (place / "without/sitecustomize.py").write_text(WITHOUT_LEDGER)
    search = os.pathsep.join([str(place / "without"), os.environ.get("PYTHONPATH", "")])
    plain = {} if ladder else {"MBASHARA_LADDER": "off"}
    settings = {
        "with ledger": {**plain, "MBASHARA_LOCATIONS_FILE": str(_location(place))},
        "without": {**plain, "PYTHONPATH": search},
    }
    with ExitStack() as stack:
        names = sorted(settings, reverse=reverse)
        ups = [
            stack.enter_context(servers.mbashara(place / name.replace(" ", "-") / "data", settings[name]))
            for name in names
        ]
        return measure([_side(name, up, streams) for name, up in zip(names, ups, strict=True)], seconds)


def _side(name: str, server: servers.Mbashara, streams: int) -> Side:
    keys = server.channels_add([f"c{index}" for index in range(streams)])

    def media() -> list[procs.Process]:
        found = [one for one in procs.tree(server.pid) if "mbashara.media " in one.command]
        return [replace(one, cpu_s=one.own_cpu_s) for one in found]

    return Side(name, server.rtmp_url, keys, media, server.data / "recordings", server.run_dir)


def _location(place: Path) -> Path:
    (place / "pili").mkdir()
    file = place / "locations.toml"
    file.write_text(f'[[location]]\nname = "pili"\nkind = "folder"\npath = "{place}/pili"\n')
    owner = account()
    for path in (file, place / "pili"):
        path.chmod(0o700 if path.is_dir() else 0o600)
        if owner is not None:
            os.chown(path, owner.user_id, owner.group_id)
    return file


def ending(hours: float) -> tuple[float, float, int]:
    """Of a recording of so many hours: seconds from its end until it is playable, seconds to check its ledger without
    media, and the ledger's lines. Small segments: it is their number that counts."""
    with tempfile.TemporaryDirectory(prefix="mbashara-bench-") as folder:
        return asyncio.run(_ending(Path(folder), hours))


async def _ending(place: Path, hours: float) -> tuple[float, float, int]:
    recorder = Recorder(place, max_queued_bytes=1 << 30)
    recorder.start()
    try:
        recording = Recording(recorder, "0" * 26, Cadence(), 0, lambda: time.time() * 1000)
        recording.fact("started", recording="0" * 26, origin_ms=0)
        renditions = [RenditionRecorder(recording, name, lambda segment: None) for name in RENDITIONS]
        count = round(hours * 3600 / SEGMENT_S)
        for rendition in renditions:
            recorder.put(lambda one=rendition: one._write_init(0, b"init"))  # type: ignore[misc]
        for msn in range(count):
            for rendition in renditions:
                segment = Segment(msn, msn * SEGMENT_S * 1000, False, 0, 0, duration_s=SEGMENT_S, size=8)
                rendition.on_part(segment, Part(0, SEGMENT_S, True, False, 0, 8), msn.to_bytes(8, "big"))
                rendition.on_complete(segment)
            if msn % 100 == 0:
                await recorder.written()
        await recorder.written()
        start_s = time.monotonic()
        for rendition in renditions:
            rendition.on_end()
        recording.end(round(hours * 3_600_000), "test")
        await recorder.written()
        ended_s = time.monotonic() - start_s
        assert "#EXT-X-ENDLIST" in (recording.folder / "source/index.m3u8").read_text()
    finally:
        recorder.stop()
    ledger = verify.read_chain(recording.folder / verify.LEDGER_NAME)
    signer, now = new_signer(), datetime.now(UTC)
    for _ in range(10):
        sign(recording.folder, "0" * 26, Heads(ledger.size, ledger.head), signer, now)
    start_s = time.monotonic()
    report = verify.verify(recording.folder, with_media=False)
    checked_s = time.monotonic() - start_s
    assert report.is_whole and report.files >= count * len(RENDITIONS), report.findings[:3]
    return ended_s, checked_s, len(ledger.lines)


def run(streams: int, seconds: float, with_ladder: int = 2, rounds: int = 1) -> list[str]:
    lines = list[str]()
    for count, kept, ladder in (
        (streams, "the source alone", False),
        (with_ladder, "the ladder too, as shipped", True),
    ):
        costs, ratio = cpu(count, seconds, rounds, ladder=ladder)
        lines += costs
        lines.append(f"CPU of media with ledger and copying to without, {kept}: {ratio:.3f} (target: at most 1.05)")
    for hours in (0.1, 1, 10):
        ended_s, checked_s, count = ending(hours)
        lines.append(
            f"{hours:g} h, {count} lines: playable {ended_s:.2f} s after the end (target: at most 2), "
            f"ledger checked in {checked_s:.2f} s (target: at most 5 at 10 h)"
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.evidence")
    parser.add_argument("--streams", type=int, default=25)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--with-ladder", type=int, default=2, help="streams of the same with the ladder")
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    print("\n".join(run(options.streams, options.seconds, options.with_ladder, options.rounds)))


if __name__ == "__main__":
    main()
