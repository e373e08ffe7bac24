"""Ten files at once become recordings, beside a plain ffmpeg that makes the same ladder of one after another.

    python -m tests.bench.imports [--minutes 1] [--lengths 10 60]

Five come from a folder and five as uploads, to a real `mbashara up` that has a feed on the air. The plain ffmpeg runs
at the same lowest priority, beside the same feed; its work is the least that can be done. Told are also how much memory
the makers take, at ten and for a long file, and how late the feed's parts are without imports and with them.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import imageio_ffmpeg
import psycopg
from tusclient.client import TusClient

from core.media.packet import Kind, VideoTrack
from mbashara.settings import Settings
from mbashara.step_back import step_back
from tests.bench import part_latency, procs, servers, stage, wire
from tests.bench.servers import Mbashara, Missing
from transcode.ladder import choose_rungs, ffmpeg_command

FILES = 10
CLIP_S = 10
SAMPLE_S = 0.5
LATENCY_S = 30.0
TIMEOUT_S = 3600.0
CHANNEL, INSTITUTION = "maktaba", "kumbukumbu"
MAKER = "mbashara.import_file"
_FFMPEG = str(imageio_ffmpeg.get_ffmpeg_exe())


@dataclass(slots=True)
class Watched:
    """What was seen of the imports under way. `percents`: by job, each other than the one before."""

    percents: dict[str, list[int]] = field(default_factory=dict)
    states: dict[str, str] = field(default_factory=dict)
    peak_bytes: int = 0
    most_at_once: int = 0

    @property
    def is_over(self) -> bool:
        return bool(self.states) and not {"uploading", "waiting", "running"} & set(self.states.values())

    @property
    def is_monotone(self) -> bool:
        return all(seen == sorted(seen) for seen in self.percents.values())


def make_file(path: Path, minutes: float) -> Path:
    """720p of noise that moves, 3 Mbit/s: one clip is encoded, and looped without encoding."""
    clip = path.with_name(f"clip-{CLIP_S}.mp4")
    if not clip.exists():
        picture = f"testsrc2=size=1280x720:rate=25:duration={CLIP_S},noise=alls=12:allf=t"
        sound = f"sine=frequency=440:sample_rate=48000:duration={CLIP_S}"
        encoded = "-c:v libx264 -preset ultrafast -b:v 3M -maxrate 3M -bufsize 3M -g 50 -bf 0 -pix_fmt yuv420p -c:a aac"
        _ffmpeg("-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", sound, *encoded.split(), str(clip))
    loops = round(minutes * 60 / CLIP_S) - 1
    _ffmpeg("-stream_loop", str(loops), "-i", str(clip), "-c", "copy", str(path))
    return path


def _ffmpeg(*words: str) -> None:
    subprocess.run([_FFMPEG, "-v", "error", "-y", *words], check=True, stdin=subprocess.DEVNULL)


@dataclass(frozen=True, slots=True)
class Took:
    wall_s: float
    cpu_s: float


def plain(files: list[Path]) -> Took:
    """The source's packets and its rungs, thrown away: no hashes, no parts, no files."""
    before, began_s = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    for file in files:
        subprocess.run(_plain_command(file), check=True, stdin=subprocess.DEVNULL, preexec_fn=step_back)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Took(time.perf_counter() - began_s, cpu_s)


def _plain_command(file: Path) -> list[str]:
    """Our ladder's own command, with the file in place of the pipe."""
    picture = VideoTrack(config=b"", timescale=1000, codecs="", width=1280, height=720, frame_rate=25.0)
    tracks = {Kind.VIDEO: picture, Kind.AUDIO: picture}
    rungs = choose_rungs(tracks)
    words = ffmpeg_command(_FFMPEG, rungs, [0] * len(rungs), low_delay=False)
    outputs = ["/dev/null" if word == "pipe:0" else word for word in words[words.index("pipe:0") + 1 :]]
    return [_FFMPEG, "-v", "error", "-y", "-copyts", "-i", str(file), *outputs, "-c", "copy", "-f", "flv", "/dev/null"]


# Ours.


def _command(up: Mbashara, *words: str) -> str:
    line = [sys.executable, "-m", "mbashara", *words, "--data", str(up.data)]
    done = subprocess.run(line, capture_output=True, text=True)
    if done.returncode:
        raise Missing(f"{' '.join(words[:2])}: {done.stderr}")
    return done.stdout


@contextmanager
def _watching(up: Mbashara) -> Iterator[Watched]:
    """In a thread, until the block ends."""
    watched, stopping = Watched(), threading.Event()
    thread = threading.Thread(target=_watch, args=(up, watched, stopping))
    thread.start()
    try:
        yield watched
    finally:
        stopping.set()
        thread.join()


def _watch(up: Mbashara, watched: Watched, stopping: threading.Event) -> None:
    with psycopg.connect(Settings(data=up.data).sqlalchemy_url, autocommit=True) as server:
        while not stopping.wait(SAMPLE_S):
            for job_id, state, percent in server.execute("select id, state, percent from import_job").fetchall():
                watched.states[job_id] = state
                seen = watched.percents.setdefault(job_id, [])
                if not seen or seen[-1] != percent:
                    seen.append(percent)
            everyone = procs.tree(up.pid)
            ours = {one.pid for one in everyone if MAKER in one.command}
            roots = [one.pid for one in everyone if one.pid in ours and one.parent not in ours]
            makers = {one.pid: one for root in roots for one in procs.tree(root)}
            watched.most_at_once = max(watched.most_at_once, len(roots))
            watched.peak_bytes = max(watched.peak_bytes, procs.resident_bytes(list(makers.values())))


def _work_cpu_s(up: Mbashara) -> float:
    """With that of the makers, which it has reaped."""
    return procs.cpu_s([one for one in procs.tree(up.pid) if "mbashara.work" in one.command])


def _upload(up: Mbashara, files: list[Path]) -> None:
    scope = ["--scope", "recording.import", "--institution", INSTITUTION, "--days", "1", "--json"]
    token = json.loads(_command(up, "token", "add", f"bench-{time.time_ns()}", *scope))["token"]
    client = TusClient(f"{up.http_url}/api/v1/uploads", headers={"Authorization": f"Bearer {token}"})
    for file in files:
        told = {"channel": CHANNEL, "filename": file.name}
        client.uploader(str(file), chunk_size=8 << 20, metadata=told, upload_checksum=True).upload()


def import_all(up: Mbashara, from_folder: Path | None, uploads: list[Path], expected: int) -> tuple[Took, Watched]:
    """From the first byte sent to the last recording whole."""
    cpu_before_s, began_s = _work_cpu_s(up), time.perf_counter()
    with _watching(up) as watched:
        if from_folder is not None:
            _command(up, "recording", "import", str(from_folder), "--channel", CHANNEL)
        _upload(up, uploads)
        while not (watched.is_over and len(watched.states) >= expected):
            if time.perf_counter() - began_s > TIMEOUT_S:
                raise Missing(f"imports did not end: {watched.states}")
            time.sleep(SAMPLE_S)
        wall_s = time.perf_counter() - began_s
        time.sleep(2 * SAMPLE_S)  # the makers are reaped
    if set(watched.states.values()) != {"done"}:
        raise Missing(f"imports failed: {watched.states}")
    return Took(wall_s, _work_cpu_s(up) - cpu_before_s), watched


def at_once(minutes: float, most: int = FILES) -> list[str]:
    """Ten of them; `most` at once."""
    environment = {"MBASHARA_LADDER": "true", "MBASHARA_IMPORTS": str(most), "MBASHARA_UPLOAD_RESERVE_GB": "0"}
    with tempfile.TemporaryDirectory(prefix="mbashara-bench-") as folder:
        files = [make_file(Path(folder) / f"{index}.mp4", minutes) for index in range(FILES)]
        by_folder = Path(folder) / "five"
        by_folder.mkdir()
        for file in files[: FILES // 2]:
            os.link(file, by_folder / file.name)
        with stage.on_air(1, TIMEOUT_S, environment=environment) as live:
            url = live.source_url(live.channels[0])
            _command(live.up, "channel", "add", CHANNEL, "--institution", INSTITUTION, *_names())
            quiet = part_latency.measure([url], LATENCY_S)
            alone = plain(files)
            found: list[part_latency.Probe] = []
            probing = threading.Thread(target=lambda: found.append(part_latency.measure([url], LATENCY_S)))
            probing.start()
            ours, watched = import_all(live.up, by_folder, files[FILES // 2 :], FILES)
            probing.join()
            log = (live.up.data.parent / "up.log").read_text()
    size_mb, each_mb = watched.peak_bytes / 1e6, watched.peak_bytes / 1e6 / max(1, watched.most_at_once)
    return [
        f"imports: {FILES} files of {minutes:g} min 720p, {FILES // 2} from a folder and {FILES // 2} by tus, beside a "
        f"feed: all done, {watched.most_at_once} at once, progress {'monotone' if watched.is_monotone else 'JUMPED'}",
        f"imports: {ours.wall_s:.0f} s, {ours.cpu_s:.0f} s of processors; a plain ffmpeg, one after another: "
        f"{alone.wall_s:.0f} s, {alone.cpu_s:.0f} s; ratio {ours.wall_s / alone.wall_s:.2f}, of processors "
        f"{ours.cpu_s / alone.cpu_s:.2f}",
        f"imports: memory of all makers and their ffmpegs at most {size_mb:.0f} MB, {each_mb:.0f} each",
        _lateness("without imports", quiet),
        f"{_lateness('beside imports', found[0])}; rungs that it lost: {log.count('too slow for a rung')}",
    ]


def _names() -> list[str]:
    return ["--name-sw", "Maktaba", "--name-en", "Library"]


def _lateness(when: str, probe: part_latency.Probe) -> str:
    p50, p95, p99 = (wire.percentile(probe.above_ms, share) for share in (0.5, 0.95, 0.99))
    return f"imports: a feed's parts {when}: duration + p50 {p50:.1f}, p95 {p95:.1f}, p99 {p99:.1f} ms"


def by_length(lengths: list[float], ladder: bool) -> list[str]:
    """Whether a long file takes more memory than a short one."""
    environment = {"MBASHARA_LADDER": str(ladder).lower(), "MBASHARA_UPLOAD_RESERVE_GB": "0"}
    told, peaks = list[str](), list[int]()
    for minutes in lengths:
        with tempfile.TemporaryDirectory(prefix="mbashara-bench-") as folder:
            Path(folder).chmod(0o755)
            file = make_file(Path(folder) / "one.mp4", minutes)
            with servers.mbashara(Path(folder) / "data", environment) as up:
                _command(up, "channel", "add", CHANNEL, "--institution", INSTITUTION, *_names())
                took, watched = import_all(up, None, [file], 1)
        peaks.append(watched.peak_bytes)
        told.append(f"{minutes:g} min: {watched.peak_bytes / 1e6:.0f} MB, {took.wall_s:.0f} s")
    with_ladder = "with its ladder" if ladder else "without a ladder"
    return [f"imports: one file {with_ladder}: {'; '.join(told)}; memory ratio {peaks[-1] / peaks[0]:.2f}"]


def run(minutes: float, lengths: list[float], ladder: bool = False, most: int = FILES) -> list[str]:
    return [*(at_once(minutes, most) if minutes else []), *(by_length(lengths, ladder) if lengths else [])]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.imports")
    parser.add_argument("--minutes", type=float, default=1, help="of each of the ten files; 0: leave that out")
    parser.add_argument("--at-once", type=int, default=FILES, help="of the ten; 0: as the program chooses")
    parser.add_argument("--lengths", type=float, nargs="*", default=[10, 60], help="minutes of a short and a long file")
    parser.add_argument("--ladder", action="store_true", help="make the ladders of those two")
    options = parser.parse_args()
    print("\n".join(run(options.minutes, options.lengths, options.ladder, options.at_once)))


if __name__ == "__main__":
    main()
