"""A real ffmpeg that publishes a test card with a tone, as a venue's encoder would."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import imageio_ffmpeg


def start(url: str) -> subprocess.Popen[bytes]:
    """640x360 at 30 fps, a key frame each 2 s, AAC at 48 kHz; whoever starts it ends it."""
    return subprocess.Popen(
        [
            imageio_ffmpeg.get_ffmpeg_exe(),
            "-v",
            "error",
            "-re",
            "-f",
            "lavfi",
            "-i",
            "testsrc2=size=640x360:rate=30",
            "-f",
            "lavfi",
            "-i",
            "sine=frequency=440:sample_rate=48000",
            "-c:v",
            "libx264",
            "-preset",
            "ultrafast",
            "-tune",
            "zerolatency",
            "-pix_fmt",
            "yuv420p",
            "-b:v",
            "800k",
            "-maxrate",
            "800k",
            "-bufsize",
            "800k",
            "-g",
            "60",
            "-sc_threshold",
            "0",
            "-c:a",
            "aac",
            "-b:a",
            "96k",
            "-f",
            "flv",
            url,
        ],
        stdin=subprocess.DEVNULL,
        start_new_session=True,  # it shares no time with tests and linters, as if it were on a machine of its own
    )


@contextmanager
def publishing(url: str) -> Iterator[subprocess.Popen[bytes]]:
    encoder = start(url)
    try:
        yield encoder
    finally:
        stop(encoder)


def stop(encoder: subprocess.Popen[bytes]) -> None:
    """As an operator does: ffmpeg says FCUnpublish and deleteStream, and the broadcast ends."""
    encoder.terminate()
    try:
        encoder.wait(30)
    except subprocess.TimeoutExpired:
        encoder.kill()
        encoder.wait()
