"""What is set inside DBOS, which has no settings for it: the one place that names what is private there.

Looked for in 3.4: its configuration has paces for schedules, Kafka and listening, and none for the jobs and the queue
set here; a serializer of ours would not do, since a row says itself by which it is to be read. A name that is no more
would be set to no end, so test_inside_dbos.py fails where an upgrade changes what they stand for.
"""

from typing import Any

from dbos import DBOS, _scheduler, _workflow_commands
from dbos._serialization import DefaultSerializer

from mbashara import workflow_values

PACE_S = 3.0
"""Its lock is lost after five."""


def calm(dbos: DBOS) -> None:
    """Before it is launched. It asks its tables some times a second for delayed workflows, for deadlines and schedules,
    of which there are none here, and for what it takes up after a start."""
    _workflow_commands._BACKGROUND_JOBS_INTERVAL_SEC = PACE_S
    _scheduler._STARTUP_FAST_POLL_DURATION_SEC = 0.0
    dbos._registry.get_internal_queue()._polling_interval_sec = PACE_S


def distrust() -> None:
    """Before DBOS is launched: what lies in its rows is read as plain values."""

    def deserialize(_serializer: DefaultSerializer, serialized_data: str) -> Any:
        return workflow_values.read(serialized_data)

    DefaultSerializer.deserialize = deserialize  # type: ignore[assignment,method-assign]
