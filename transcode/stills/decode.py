"""From a keyframe to a JPEG of 320x180 by an ffmpeg that is given little: one thread, some seconds, a bounded memory.

Whatever the bytes do to it, the caller gets a picture or None. Blocks: for a thread, or for a process of its own.
"""

import resource
import subprocess
from contextlib import suppress

WIDTH, HEIGHT = 320, 180
TIMEOUT_S = 4.0
MEMORY_BYTES = 1 << 30
MAX_PICTURE_BYTES = 64 << 10
_SHAPE = (
    f"scale=trunc(iw*sar/2)*2:ih,scale={WIDTH}:{HEIGHT}:force_original_aspect_ratio=decrease:flags=area,"
    f"pad={WIDTH}:{HEIGHT}:-1:-1,setsar=1,format=yuvj420p"
)
_LIMITS = ((resource.RLIMIT_AS, MEMORY_BYTES), (resource.RLIMIT_CPU, round(TIMEOUT_S)), (resource.RLIMIT_CORE, 0))


def command(executable: str) -> list[str]:
    """A picture that is not 16:9 stands between black bars."""
    line = (
        "-hide_banner -nostats -loglevel error -threads 1 -filter_threads 1 -f flv -i pipe:0 -frames:v 1 "
        f"-vf {_SHAPE} -c:v mjpeg -threads 1 -q:v 7 -f image2pipe pipe:1"
    )
    return [executable, *line.split()]


def decode(executable: str, keyframe: bytes) -> bytes | None:
    """`keyframe` as keyframe_file makes it. None where it is no picture, or takes too much."""
    try:
        child = subprocess.Popen(
            command(executable), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
    except OSError:
        return None
    with child:
        try:
            for limit, most in _LIMITS:
                with suppress(ProcessLookupError):
                    resource.prlimit(child.pid, limit, (most, most))
            picture, _ = child.communicate(keyframe, TIMEOUT_S)
        except (subprocess.TimeoutExpired, OSError):
            return None
        finally:
            child.kill()
    is_whole = picture.startswith(b"\xff\xd8") and picture.endswith(b"\xff\xd9")
    return picture if child.returncode == 0 and is_whole and len(picture) <= MAX_PICTURE_BYTES else None
