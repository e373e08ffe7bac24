"""Chromium at the live edge: hls.js's and Shaka's delay behind the wall clock against PART-HOLD-BACK + 0.5 s.

python -m tests.bench.player_delay [--seconds 20]
"""

import argparse

from player import conformance
from tests.bench import stage
from tests.conformance.engines import Engine, chromium, open_player, playback


def run(seconds: float) -> list[str]:
    lines = []
    with stage.on_air(1, 2 * seconds + 30) as live:
        source = conformance.parse(stage.read_url(live.source_url(live.channels[0])))
        limit_s = (source.control_s("PART-HOLD-BACK") or 0) + 0.5
        for engine in Engine:
            with chromium() as new_page:
                page = new_page()
                open_player(page, engine, f"{live.up.http_url}/live/{live.channels[0]}/index.m3u8")
                page.wait_for_timeout(seconds * 1000)
                seen = playback(page)
            verdict = "ok" if seen.latency_s <= limit_s and not seen.fatal else "MISSED"
            lines.append(
                f"player delay, {seen.engine}: {seen.latency_s:.2f} s behind the wall clock (target {limit_s:.2f}: "
                f"{verdict}), started after {seen.start_ms or float('nan'):.0f} ms, {len(seen.stalls_s)} stalls"
            )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.player_delay")
    parser.add_argument("--seconds", type=float, default=20)
    for line in run(parser.parse_args().seconds):
        print(line, flush=True)


if __name__ == "__main__":
    main()
