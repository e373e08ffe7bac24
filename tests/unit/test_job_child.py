"""A job's maker is attended: heard, begun again where it dies, ended where it lasts too long or nobody wants it."""

import json
import threading
import time
from typing import Any

import pytest
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from mbashara.job_child import TRIES, Ended, JobChild


class Row:
    """Of the job: how far it was noted to be."""

    def __init__(self, is_wanted: bool = True) -> None:
        self.percents: list[int] = []
        self._is_wanted = is_wanted

    def note(self, _session: Session, job_id: str, percent: int) -> bool:
        assert job_id == "01"
        self.percents.append(percent)
        return self._is_wanted


def child(row: Row, *says: dict[str, Any], lasts_s: float = 0, stopping: bool = False, **more: Any) -> JobChild:
    order = json.dumps({"says": says, "lasts_s": lasts_s})
    stop = threading.Event()
    if stopping:
        stop.set()
    return JobChild("tests.unit.job_maker", "01", order, row.note, create_engine("sqlite://"), stop, **more)


def test_a_maker_is_heard() -> None:
    row = Row()
    made = {"files": [], "rendition": "source"}
    assert child(row, {"progress": 0.5}, {"progress": 1.0}, {"made": made}).run() == Ended("made", made)
    refused = {"trouble": "damaged", "detail": "x"}
    assert child(row, {"progress": 0.7}, {"failed": refused}).run() == Ended("failed", refused)
    assert all(percent <= 99 for percent in row.percents), "whole is what the row of a finished job says"


def test_one_that_dies_without_a_word_begins_again_some_times() -> None:
    begun: list[float] = []
    ended = child(Row(), {"progress": 0.2}).run(lambda: begun.append(time.monotonic()))
    assert (ended, len(begun)) == (Ended("failed", {"trouble": "fault"}), TRIES)


@pytest.mark.parametrize(
    ("more", "is_wanted", "ended"),
    [
        ({"limit_s": 0.2}, True, Ended("failed", {"trouble": "too_long"})),
        ({}, False, Ended("unwanted")),
        ({"stopping": True}, True, Ended("stopped")),
    ],
    ids=["too long", "unwanted", "stopped"],
)
def test_one_that_would_go_on_is_ended(more: dict[str, Any], is_wanted: bool, ended: Ended) -> None:
    began_s = time.monotonic()
    assert child(Row(is_wanted), {"progress": 0.1}, lasts_s=60, **more).run() == ended
    assert time.monotonic() - began_s < 30
