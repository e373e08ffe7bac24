"""Recordings made by the real recorder from what a real encoder sent, without network and waiting."""

import asyncio
import resource
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import imageio_ffmpeg

from archive.recordings.recorder import Recorder
from core.media import flv
from core.media.packet import Packet
from ingest.feed import Feed
from mbashara.broadcast import Broadcast, Parameters

FFMPEG = str(imageio_ffmpeg.get_ffmpeg_exe())
START_MS = 1_790_000_000_000


def ffmpeg(*arguments: str | Path) -> None:
    subprocess.run([FFMPEG, "-v", "error", "-y", *map(str, arguments)], check=True, timeout=300)


def children_cpu_s() -> float:
    """Of all that have ended: how long something takes, however full the machine is."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def encode(path: Path, seconds: float, size: str = "320x180", seed: int = 1, options: str = "-bf 2") -> Path:
    """What an encoder sends: each picture and each sound another, a keyframe every two seconds."""
    ffmpeg(
        "-f", "lavfi", "-i", f"testsrc2=size={size}:rate=25:duration={seconds},hue=h={seed * 40}",
        "-f", "lavfi", "-i", f"anoisesrc=sample_rate=48000:duration={seconds}:amplitude=0.2:seed={seed}",
        "-c:v", "libx264", "-preset", "ultrafast", "-g", "50", "-sc_threshold", "0", "-pix_fmt", "yuv420p",
        *options.split(), "-c:a", "aac", "-b:a", "96k", path,
    )  # fmt: skip
    return path


def record(
    folder: Path, sent: Sequence[tuple[Path, float]], identity: str = "0" * 26, channel_id: int = 1, owner: int = 1
) -> Path:
    """Feeds one after the other, each with the seconds of nothing before it. Returns the recording's folder."""
    started = {"broadcast": identity, "channel": "ikulu", "channel_id": channel_id, "institution_id": owner}
    asyncio.run(_record(folder, sent, started))
    return folder / "recordings" / identity


async def _record(folder: Path, sent: Sequence[tuple[Path, float]], started: dict[str, Any]) -> None:
    now_ms = float(START_MS)
    (folder / "live/ikulu").mkdir(parents=True, exist_ok=True)
    recorder = Recorder(folder / "recordings", batch_s=0.001)
    recorder.start()
    try:
        parameters = Parameters(folder / "live", recorder, lambda: now_ms, lambda: now_ms)
        broadcast = Broadcast(parameters, "ikulu", started["broadcast"], started)
        for path, nothing_s in sent:
            for _ in range(round(nothing_s * 5)):
                now_ms += 200
                broadcast.tick()
            items = list(flv.TagReader().feed(path.read_bytes()))
            feed = Feed("f", "primary", lambda *_: None)
            feed.tracks = {item.kind: item for item in items if not isinstance(item, Packet) and item is not None}
            broadcast.attach(feed)
            began_ms, told_ms = now_ms, 0
            for packet in (item for item in items if isinstance(item, Packet)):
                now_ms = max(now_ms, began_ms + packet.dts_ms)
                broadcast.take(feed, packet)
                if packet.dts_ms - told_ms >= 200:
                    told_ms = packet.dts_ms
                    broadcast.tick()
            broadcast.detach()
        await broadcast.end("test")
    finally:
        recorder.stop()
