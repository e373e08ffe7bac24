"""Durable workflows (DBOS) that are begun by an id of their own: of one turn there is one."""

from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

from dbos import DBOS, SetWorkflowID

T = TypeVar("T")


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
