"""What waits in a table of jobs goes into a queue of durable workflows (DBOS), in the work process, some at once."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from dbos import DBOS, Queue, SetWorkflowID
from sqlalchemy import Engine, Exists, Row
from sqlalchemy.orm import Session

from core.database import transaction


@dataclass(slots=True)
class JobQueue:
    """Follows one table. `kind` begins the ids of its workflows, `workflow` takes a job's id, and `tidy` removes from
    the disk what no job needs any more."""

    kind: str
    engine: Engine
    at_once: int
    waiting: Callable[[Session], Sequence[Row[str, int]]]
    is_waiting: Callable[[], Exists]
    workflow: Callable[[str], None]
    tidy: Callable[[], None]
    tidy_s: float
    _queue: Queue | None = None
    _enqueued: set[tuple[str, int]] = field(default_factory=set)
    _tidied_s: float = -math.inf

    def follow_once(self) -> None:
        """One round. Raises DatabaseAway."""
        with transaction(self.engine) as session:
            found = {(job_id, attempt) for job_id, attempt in self.waiting(session)}
        for job_id, attempt in sorted(found - self._enqueued):
            self._enqueue(job_id, attempt)
        self._enqueued = found
        if time.monotonic() - self._tidied_s > self.tidy_s:
            self._tidied_s = time.monotonic()
            self.tidy()

    def _enqueue(self, job_id: str, attempt: int) -> None:
        """The workflow's id is the attempt's: enqueued again after a restart it is the same one, not a second."""
        if self._queue is None:
            self._queue = DBOS.register_queue(
                f"{self.kind}s", worker_concurrency=self.at_once, polling_interval_sec=2.0, on_conflict="always_update"
            )
        with SetWorkflowID(f"{self.kind}-{job_id}-{attempt}"):
            self._queue.enqueue(self.workflow, job_id)
