"""The tests' own `Up`: what it signals is the child, or nothing."""

import json
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.up import ROOT

KILL = """
import signal, sys
from pathlib import Path
from tests.up import Up
Up(None, Path(sys.argv[1]), Path("/dev/null")).kill("web", signal.SIGKILL)
"""


def test_a_child_that_waits_to_be_restarted_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a group of its own: a signal to process 0 would end this one too."""
    monkeypatch.setenv("MBASHARA_RUN_DIR", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    child = subprocess.Popen(["sleep", "60"])
    tell(tmp_path, 0)
    killer = subprocess.Popen([sys.executable, "-c", KILL, str(tmp_path / "data")], start_new_session=True)
    come_back = threading.Timer(1, tell, (tmp_path, child.pid))
    come_back.start()
    try:
        assert killer.wait(60) == 0
        assert child.wait(60) == -signal.SIGKILL
    finally:
        come_back.cancel()
        child.kill()
        killer.kill()


def tell(run: Path, process_id: int) -> None:
    whole = run / "supervisor.new"
    whole.write_text(json.dumps({"children": {"web": {"process_id": process_id}}}))
    whole.replace(run / "supervisor.json")
