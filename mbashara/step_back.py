"""How a process of ours steps behind all others: stills, and makers of imports and exports."""

import os
import time
from contextlib import suppress
from pathlib import Path

LAST = 19
WEIGH_TRIES, WEIGH_S = 60, 0.11


def step_back(nice: int = LAST) -> None:
    """Behind everything else on the machine by that niceness (nice(2)), by default for as long as anybody else wants
    it; the decoders inherit it. Linux may weigh sessions against each other before it looks at who is in them
    (sched(7), autogroup): so it is a session of its own, of the same weight."""
    os.nice(nice)
    if nice == LAST:
        with suppress(OSError, AttributeError):
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    with suppress(OSError):
        os.setsid()
    for _ in range(WEIGH_TRIES):
        try:
            Path("/proc/self/autogroup").write_text(str(nice))
        except BlockingIOError:  # the kernel takes ten a second, of all
            time.sleep(WEIGH_S)
        except OSError:
            return
        else:
            return
