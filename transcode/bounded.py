"""An ffmpeg in a cage that is given little: bytes in, bytes out, some seconds, a bounded memory.

Blocks: for a thread of a small process, as it is copied for a moment. One runs at a time, whoever wants another waits.
"""

import subprocess
import threading
from collections.abc import Sequence
from subprocess import DEVNULL, PIPE

from core import cage
from core.cage import Limits

TIMEOUT_S = 20.0
"""On a full machine: its processor's time is what is short."""
LIMITS = Limits(memory_bytes=1 << 30, cpu_s=4)
_running = threading.Lock()


def run(line: Sequence[str], sent: bytes) -> bytes | None:
    """What it wrote. None where it failed or took too much, whatever the bytes did to it."""
    with _running:
        return _run(line, sent)


def _run(line: Sequence[str], sent: bytes) -> bytes | None:
    try:
        child = subprocess.Popen(
            line, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, env=cage.environment(),
            preexec_fn=cage.enter(LIMITS, line[0]),
        )  # fmt: skip
    except OSError:
        return None
    with child:
        try:
            written, _ = child.communicate(sent, TIMEOUT_S)
        except (subprocess.TimeoutExpired, OSError):
            return None
        finally:
            child.kill()
    return written if child.returncode == 0 else None
