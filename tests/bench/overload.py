"""What is held of the source, which is the record, and of its rungs, where ladders ask for more than the machine has.

    python -m tests.bench.overload [--streams 25] [--seconds 40] [--niceness N]

--niceness runs the ladders at another than the shipped one, to compare.
"""

import argparse
import multiprocessing
import os
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from archive.recordings import verify
from tests.bench import feed as feeds
from tests.bench import procs, publisher, servers

AT_NICENESS = '''
"""For the bench alone: ladders at another niceness."""
import sys
if any("mbashara.media " in f"{word} " for word in sys.orig_argv):
    import transcode.process as process
    process.LIMITS = process.LIMITS._replace(niceness=NICENESS)
'''
_CONNECT_S = 120.0
_SETTLE_S = 10.0
_MOST_TOLD = 6


def run(streams: int, seconds: float, niceness: int | None = None) -> tuple[list[str], float]:
    """Lines, and the share of the source that is held: of what the feeds sent, in 1."""
    with tempfile.TemporaryDirectory(prefix="mbashara-bench-") as folder:
        place = Path(folder)
        place.chmod(0o755)
        environment = {}
        if niceness is not None:
            (place / "sitecustomize.py").write_text(AT_NICENESS.replace("NICENESS", str(niceness)))
            environment["PYTHONPATH"] = os.pathsep.join([folder, os.environ.get("PYTHONPATH", "")])
        with servers.mbashara(place / "up/data", environment) as up:
            keys = up.channels_add([f"c{index}" for index in range(streams)])
            context = multiprocessing.get_context("spawn")
            feeder = context.Process(target=_feed, args=(up.rtmp_url, keys, seconds))
            feeder.start()
            time.sleep(_SETTLE_S)
            found = sorted({os.getpriority(os.PRIO_PROCESS, one.pid) for one in _encoders(up.pid)})
            feeder.join()
            time.sleep(_SETTLE_S)
        held_ms, causes = _held(up.data / "recordings")
    shares = {name: held / (1000 * seconds * streams) for name, held in sorted(held_ms.items(), reverse=True)}
    share = shares.get("source", 0.0)
    lines = [f"{streams} feeds with ladders at niceness {found}: {share:.0%} of the source is held"]
    lines += [f"    {share_of:.0%} of {name}" for name, share_of in shares.items() if name != "source"]
    lines += [f"    {count} x {what}" for what, count in causes.most_common(_MOST_TOLD)]
    return lines, share


def _encoders(process_id: int) -> list[procs.Process]:
    return [one for one in procs.tree(process_id) if "ffmpeg" in one.command.partition(" ")[0]]


def _feed(url: str, keys: list[str], seconds: float) -> None:
    print("   ", publisher.publish([(url, key) for key in keys], feeds.load(), seconds), flush=True)


def _held(recordings: Path) -> tuple[Counter[str], Counter[str]]:
    """Milliseconds of each rendition in files, and what lacks in words: fact, rendition and cause."""
    held_ms, causes = Counter[str](), Counter[str]()
    for fact in _facts(recordings):
        if fact["fact"] == "file" and "rendition" in fact and "from_ms" in fact:
            held_ms[fact["rendition"]] += round(sum(end - begin for begin, end in verify.held_in(fact)))
        elif "cause" in fact:
            causes[f"{fact['fact']}, {fact.get('rendition', 'all')}: {fact['cause']}"] += 1
    return held_ms, causes


def _facts(recordings: Path) -> Iterator[dict[str, Any]]:
    for ledger in recordings.glob(f"*/{verify.LEDGER_NAME}"):
        yield from verify.read_chain(ledger).lines


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.overload")
    parser.add_argument("--streams", type=int, default=25)
    parser.add_argument("--seconds", type=float, default=40)
    parser.add_argument("--niceness", type=int)
    options = parser.parse_args()
    print("\n".join(run(options.streams, options.seconds, options.niceness)[0]))


if __name__ == "__main__":
    main()
