"""Many files at once: threads that step back for media, and for nobody whom they have stepped behind already."""

import os
import sys
import threading
from pathlib import Path
from typing import Any, cast

import pytest

from archive.recordings.locations.many import COPYING, READING_AGAIN, File, each, put_many
from archive.recordings.locations.store import Store

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="threads have no niceness of their own")


def niceness() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


class Watched:
    """A store that notes who puts something there."""

    name = "pili"

    def __init__(self) -> None:
        self.found: set[int] = set()

    def put_file(self, *file: Any, **how: Any) -> None:
        self.found.add(niceness())


def test_who_reads_again_goes_behind_everyone_and_who_copies_before_ladders() -> None:
    own, store = niceness(), Watched()
    assert {said for _, said in each("read", 2, range(8), lambda one: niceness())} == {max(own, READING_AGAIN)}
    assert len(list(put_many(cast(Store, store), [File("a", Path("a"), "")]))) == 1
    assert store.found == {max(own, COPYING)}
    assert niceness() == own


def test_nobody_comes_forward() -> None:
    found: list[tuple[int, int]] = []

    def far_back() -> None:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)
        found.extend(each("read", 1, [0], lambda one: niceness(), COPYING))

    thread = threading.Thread(target=far_back)
    thread.start()
    thread.join()
    assert found == [(0, 19)]
