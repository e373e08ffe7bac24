"""What we set inside DBOS is what it goes by: where an upgrade changes it, look at mbashara/inside_dbos.py."""

from pathlib import Path
from types import CodeType

import dbos
from dbos import DBOS, Queue, _queue, _scheduler, _serialization, _workflow_commands
from dbos._dbos import DBOSRegistry

LOOK = "look at mbashara/inside_dbos.py: DBOS has changed"


def test_its_paces_are_those_that_are_set() -> None:
    assert "_BACKGROUND_JOBS_INTERVAL_SEC" in names(_workflow_commands.background_jobs_thread.__code__), LOOK
    assert "_STARTUP_FAST_POLL_DURATION_SEC" in names(_scheduler.dynamic_scheduler_loop.__code__), LOOK
    assert "_polling_interval_sec" in names(_queue.queue_worker_thread.__code__), LOOK
    queue = DBOSRegistry().get_internal_queue()
    assert isinstance(queue, Queue) and queue._polling_interval_sec == 1.0, LOOK
    assert DBOSRegistry.get_internal_queue.__code__ and "_registry" in names(DBOS.__init__.__code__), LOOK


def test_there_is_one_way_in_for_what_lies_in_rows() -> None:
    sources = Path(str(dbos.__file__)).parent.rglob("*.py")
    read = {path.name: path.read_text() for path in sources}
    asked = {name: text.count("pickle.load") for name, text in read.items() if "pickle.load" in text}
    assert asked == {"_serialization.py": 1}, LOOK
    assert [name for name, text in read.items() if "import pickle" in text or "from pickle" in text] == [
        "_serialization.py"
    ], LOOK
    assert "loads" in names(_serialization.DefaultSerializer.deserialize.__code__), LOOK
    assert type(_serialization.DBOSDefaultSerializer) is _serialization.DefaultSerializer, LOOK


def names(code: CodeType) -> set[str]:
    """What it asks for, and what is defined within it does."""
    inner = (one for one in code.co_consts if isinstance(one, CodeType))
    return set(code.co_names).union(*map(names, inner))
