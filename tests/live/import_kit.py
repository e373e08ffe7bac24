"""Files to import: what ffmpeg makes of the same picture and sound, and what is none."""

import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.live.media_files import FFMPEG
from tests.up import get

SECONDS = 4
KINDS = {
    "kikao.mp4": (
        "-c:v libx264 -preset ultrafast -bf 2 -g 50 -pix_fmt yuv420p -c:a aac -metadata "
        "creation_time=2019-05-01T08:00:00Z"
    ),
    "mkutano.avi": "-c:v mpeg4 -q:v 5 -c:a mp3",
    "satelaiti.ts": "-c:v mpeg2video -b:v 2M -flags +ildct+ilme -c:a mp2",
    "hotuba.mp3": "-map 1 -c:a libmp3lame",
    "kanda.mxf": "-c:v mpeg2video -b:v 3M -c:a pcm_s16le",
}


def make(path: Path, options: str, seconds: float = SECONDS) -> Path:
    line = (
        f"-v error -y -f lavfi -i testsrc2=size=640x480:rate=25:duration={seconds} "
        f"-f lavfi -i sine=frequency=440:sample_rate=48000:duration={seconds} {options}"
    )
    subprocess.run([FFMPEG, *line.split(), str(path)], check=True, timeout=60)
    return path


@contextmanager
def watched(*urls: str) -> Iterator[Counter[int]]:
    """How often each status was answered to whoever asks for them all the time."""
    found, stopping = Counter[int](), threading.Event()

    def ask() -> None:
        while not stopping.is_set():
            found.update(get(url)[0] for url in urls)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield found
    finally:
        stopping.set()
        asking.join()


def make_bad(folder: Path) -> dict[str, str]:
    """Files that can't become recordings, and what is told of each."""
    folder.mkdir()
    whole = make(folder / "nzima.mp4", "-c:v libx264 -preset ultrafast -g 50 -pix_fmt yuv420p -movflags faststart")
    data = whole.read_bytes()
    whole.unlink()
    (folder / "fupi.mp4").write_bytes(data[: len(data) // 2])
    late = make(folder / "bila-fahirisi.mp4", "-c:v libx264 -preset ultrafast -pix_fmt yuv420p")
    late.write_bytes(late.read_bytes()[:100_000])
    (folder / "maandishi.mp4").write_text("Haya ni maandishi tu.\n" * 100)
    playlist = "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n"
    (folder / "orodha.m3u8").write_text(playlist)
    (folder / "orodha.mp4").write_text("ffconcat version 1.0\nfile /etc/passwd\n")
    key = "76a6c65c5ea762046bd749a2e632ccbb"
    closed = f"-encryption_scheme cenc-aes-ctr -encryption_key {key} -encryption_kid a7e61c373e219033c21091fa607bf3b8"
    make(folder / "imefungwa.mp4", f"-c:v libx264 -preset ultrafast -pix_fmt yuv420p {closed}", 1)
    return {
        "fupi.mp4": "truncated", "bila-fahirisi.mp4": "truncated", "maandishi.mp4": "not_media",
        "orodha.m3u8": "not_media", "orodha.mp4": "not_media", "imefungwa.mp4": "encrypted",
    }  # fmt: skip
