"""Durable workflows (DBOS) that are begun by an id of their own: of one turn there is one."""

from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

from dbos import DBOS, SetWorkflowID
from dbos import _scheduler as dbos_scheduler
from dbos import _workflow_commands as dbos_commands

T = TypeVar("T")


def calm(dbos: DBOS) -> None:
    """Before it is launched. It asks its tables some times a second for delayed workflows, for deadlines and schedules,
    of which there are none here, and for what it takes up after a start; it has no setting for that."""
    dbos_commands._BACKGROUND_JOBS_INTERVAL_SEC = 3.0  # its lock is lost after five
    dbos_scheduler._STARTUP_FAST_POLL_DURATION_SEC = 0.0
    dbos._registry.get_internal_queue()._polling_interval_sec = 3.0


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
