"""Durable workflows (DBOS) that are begun by an id of their own: of one turn there is one. And the rounds in which a
thread of the work process looks for what is due.
"""

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import structlog
from dbos import DBOS, SetWorkflowID

from core.database import DatabaseAway

FORGET_AFTER = timedelta(days=2)
FORGET_PACE_S = 600.0

T = TypeVar("T")
log: structlog.stdlib.BoundLogger = structlog.get_logger("mbashara.work")


def go_round(what: str, one_round: Callable[[], None], pause_s: float, stopping: threading.Event) -> None:
    """Until `stopping`, with a pause before each round. A round that fails is told, and is no reason to end."""
    while not stopping.wait(pause_s):
        try:
            one_round()
        except DatabaseAway:
            continue  # the follower has said so
        except Exception:
            log.exception(f"a round of {what} failed")


@dataclass(slots=True)
class OneAtATime:
    """Workflows whose ids begin with `prefix`, one at a time in this process, and at least `pace_s` from one's
    beginning to the next one's. Whose workflow ends clears `running`."""

    prefix: str
    pace_s: float = 0.0
    running: threading.Event = field(default_factory=threading.Event)
    _began_s: float = -math.inf

    def round(self, begin_due: Callable[[], None], is_full: bool) -> None:
        """`begin_due` begins one where one is due. A full round forgets those that ended long ago."""
        if not self.running.is_set() and time.monotonic() - self._began_s >= self.pace_s:
            begin_due()
        if is_full:
            forget(self.prefix, datetime.now(UTC) - FORGET_AFTER)

    def begin(self, key: str, workflow: Callable[[T], None], argument: T) -> None:
        self._began_s = time.monotonic()
        self.running.set()
        try:
            begin(f"{self.prefix}{key}", workflow, argument)
        except BaseException:
            self.running.clear()
            raise


def begin(workflow_id: str, workflow: Callable[[T], None], argument: T) -> None:
    """Begun again under its id it is the same one, not a second. One that is over is not begun by its id again: its
    record goes first."""
    found = DBOS.get_workflow_status(workflow_id)
    if found is not None and found.status not in ("PENDING", "ENQUEUED"):
        DBOS.delete_workflow(workflow_id)
    with SetWorkflowID(workflow_id):
        DBOS.start_workflow(workflow, argument)


def forget(prefix: str, before: datetime) -> None:
    """Removes the records of workflows that ended well before then: the rows say what came of them."""
    ended = DBOS.list_workflows(
        workflow_id_prefix=prefix, status="SUCCESS", end_time=before.isoformat(), limit=1000, load_input=False,
        load_output=False,
    )  # fmt: skip
    if ended:
        DBOS.delete_workflows([one.workflow_id for one in ended])
