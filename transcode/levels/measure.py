"""From a second of AAC to its levels, by libav's astats in an ffmpeg that is given little. Blocks, as
transcode/bounded.py does.
"""

import math
import re

from core.media.levels import FLOOR_DBFS, Level
from transcode import bounded

FIRST_SAMPLES = 2048
"""Left out: a decoder that begins in the middle lacks what the first frames overlap with."""
_MEASURES = re.compile(rb"lavfi\.astats\.(\d)\.(Peak|RMS)_level=(\S+)")


def command(executable: str) -> list[str]:
    """In floats, as it is decoded: a peak may be over 0 dBFS. More than two channels are measured as two play them.
    What is printed counts from the beginning on: the last frame's is the whole's."""
    line = (
        "-hide_banner -nostats -loglevel error -threads 1 -filter_threads 1 -f flv -i pipe:0 -map 0:a:0 "
        f"-af aformat=sample_fmts=fltp:channel_layouts=mono|stereo,atrim=start_sample={FIRST_SAMPLES},"
        "astats=metadata=1:measure_perchannel=Peak_level+RMS_level:measure_overall=none,ametadata=mode=print:file=- "
        "-f null -"
    )
    return [executable, *line.split()]


def measure(executable: str, sound: bytes) -> tuple[Level, ...] | None:
    """`sound` as sound_file makes it. One level, or left and right; None where it is no sound, or takes too much."""
    told = bounded.run(command(executable), sound)
    if told is None:
        return None
    last = {(side, name): _dbfs(value) for side, name, value in _MEASURES.findall(told)}
    sides = sorted({side for side, _ in last})
    levels = [
        Level(last[side, b"Peak"], last[side, b"RMS"]) for side in sides if {(side, b"Peak"), (side, b"RMS")} <= {*last}
    ]
    return tuple(levels) or None


def _dbfs(text: bytes) -> float:
    value = float(text)
    return FLOOR_DBFS if math.isnan(value) else round(max(FLOOR_DBFS, value), 1)
