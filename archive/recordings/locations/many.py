"""Many files at once, by a bounded pool of threads."""

import os
import threading
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

from archive.recordings.locations.errors import StoreError
from archive.recordings.locations.store import Put, Store

COPYING, READING_AGAIN = 4, 17
"""Niceness: a live recording's copies go before ladders (media's and 15), and those before fixity."""

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class File:
    """What is to be put where; see Store.put_file."""

    key: str
    path: Path
    sha256: str
    replace: bool = False
    lock: bool = True


def put_many(store: Store, files: Iterable[File], workers: int = 8) -> Generator[tuple[File, Put | StoreError]]:
    """Each file with what came of it, as they end. One file's error stops no other."""
    return each(f"put {store.name}", workers, files, lambda file: _put(store, file), COPYING)


def each(
    name: str, workers: int, items: Iterable[Item], work: Callable[[Item], Result], niceness: int = READING_AGAIN
) -> Generator[tuple[Item, Result]]:
    """Each item with what came of it, as they end. No more than twice `workers` are taken ahead. Who closes the
    iterator (say, as the store is away) waits for those that have begun, and no more begin."""
    waiting = iter(items)
    with ThreadPoolExecutor(workers, name, _step_back, (niceness,)) as pool:
        running: dict[Future[Result], Item] = {}
        try:
            while True:
                for item in islice(waiting, 2 * workers - len(running)):
                    running[pool.submit(work, item)] = item
                if not running:
                    return
                for done in wait(running, return_when=FIRST_COMPLETED).done:
                    yield running.pop(done), done.result()
        finally:
            for future in running:
                future.cancel()


def _step_back(niceness: int) -> None:
    """This thread, and those that it starts, where threads have a niceness of their own (Linux)."""
    with suppress(OSError):
        own = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, own, max(niceness, os.getpriority(os.PRIO_PROCESS, own)))


def _put(store: Store, file: File) -> Put | StoreError:
    try:
        return store.put_file(file.key, file.path, file.sha256, replace=file.replace, lock=file.lock)
    except StoreError as error:
        return error
