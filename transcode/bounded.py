"""An ffmpeg that is given little: bytes in, bytes out, some seconds, a bounded memory.

Blocks: for a thread, or for a process of its own. In a process one runs at a time, whoever wants another waits.
"""

import resource
import subprocess
import threading
from collections.abc import Sequence
from contextlib import suppress

TIMEOUT_S = 4.0
MEMORY_BYTES = 1 << 30
_LIMITS = ((resource.RLIMIT_AS, MEMORY_BYTES), (resource.RLIMIT_CPU, round(TIMEOUT_S)), (resource.RLIMIT_CORE, 0))
_running = threading.Lock()


def run(line: Sequence[str], sent: bytes) -> bytes | None:
    """What it wrote. None where it failed or took too much, whatever the bytes did to it."""
    with _running:
        return _run(line, sent)


def _run(line: Sequence[str], sent: bytes) -> bytes | None:
    try:
        child = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    except OSError:
        return None
    with child:
        try:
            for limit, most in _LIMITS:
                with suppress(ProcessLookupError):
                    resource.prlimit(child.pid, limit, (most, most))
            written, _ = child.communicate(sent, TIMEOUT_S)
        except (subprocess.TimeoutExpired, OSError):
            return None
        finally:
            child.kill()
    return written if child.returncode == 0 else None
