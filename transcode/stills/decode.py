"""From a keyframe to a JPEG of 320x180 by an ffmpeg that is given little. Blocks, as transcode/bounded.py does."""

from transcode import bounded

WIDTH, HEIGHT = 320, 180
MAX_PICTURE_BYTES = 64 << 10
_SHAPE = (
    f"scale=trunc(iw*sar/2)*2:ih,scale={WIDTH}:{HEIGHT}:force_original_aspect_ratio=decrease:flags=area,"
    f"pad={WIDTH}:{HEIGHT}:-1:-1,setsar=1,format=yuvj420p"
)


def command(executable: str) -> list[str]:
    """A picture that is not 16:9 stands between black bars."""
    line = (
        "-hide_banner -nostats -loglevel error -threads 1 -filter_threads 1 -f flv -i pipe:0 -frames:v 1 "
        f"-vf {_SHAPE} -c:v mjpeg -threads 1 -q:v 7 -f image2pipe pipe:1"
    )
    return [executable, *line.split()]


def decode(executable: str, keyframe: bytes) -> bytes | None:
    """`keyframe` as keyframe_file makes it. None where it is no picture, or takes too much."""
    picture = bounded.run(command(executable), keyframe)
    if picture is None or len(picture) > MAX_PICTURE_BYTES:
        return None
    return picture if picture.startswith(b"\xff\xd8") and picture.endswith(b"\xff\xd9") else None
