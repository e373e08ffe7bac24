"""What lies in the database is no program: DBOS reads values of workflows as we let it."""

import os
import pickle
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from dbos import _serialization
from dbos import error as dbos_error

from archive.imports.jobs import State
from mbashara import inside_dbos


@pytest.fixture(autouse=True)
def distrusted(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = _serialization.DefaultSerializer.deserialize
    monkeypatch.setattr(_serialization.DefaultSerializer, "deserialize", usual)  # put back when the test ends
    inside_dbos.distrust()


class Act:
    def __init__(self, act: Any, *arguments: Any) -> None:
        self._reduced = act, arguments

    def __reduce__(self) -> Any:
        return self._reduced


def stored(value: object) -> str:
    return _serialization.DBOSDefaultSerializer.serialize({"args": (value,), "kwargs": {}})


def loaded(text: str) -> Any:
    return _serialization.deserialize_args(text, "py_pickle", _serialization.DBOSDefaultSerializer)["args"][0]


@pytest.mark.parametrize(
    "value",
    [
        {"recording": "01j", "spans": [(0, 250)], "is_well": True, "at": None, "share": 0.5, "some": {1, 2}, "b": b"x"},
        [datetime(2026, 11, 28, tzinfo=UTC), timedelta(seconds=3), datetime(2026, 1, 1).date()],
        State.UPLOADING,
    ],
)
def test_values_come_back(value: object) -> None:
    assert loaded(stored(value)) == value


@pytest.mark.parametrize("error", [OSError(28, "full"), dbos_error.DBOSMaxStepRetriesExceeded("step", 3, [OSError(5)])])
def test_errors_come_back(error: Exception) -> None:
    back = loaded(stored(error))
    assert type(back) is type(error) and str(back) == str(error)


def test_nothing_is_called(tmp_path: Path) -> None:
    made = tmp_path / "made"
    acts = [
        Act(os.mkdir, made), Act(partial, os.mkdir, made), Act(eval, f"__import__('os').mkdir({str(made)!r})"),
        Act(getattr, int, "mro"),
    ]  # fmt: skip
    for act in acts:
        with pytest.raises(pickle.UnpicklingError):
            loaded(stored(act))
    assert not made.exists()
