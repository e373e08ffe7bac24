"""The bell of the work process: one question to the database, twice a second, asks for all of its threads whether there
is anything to do. Whoever has something is rung for; the others sleep.
"""

import math
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import structlog
from sqlalchemy import ColumnElement, Connection, Engine, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.sql.compiler import ExpandedState

from core.database import DatabaseAway

POLL_S = 0.5
ALL_S = 30.0
"""So often everyone is rung for, come what may, and the questions are put anew: one that has no answer, as it takes too
long or is wrong, only makes everyone late."""
Question = Callable[[], ColumnElement[Any]]
"""It may name NOW; of what else it names it has what there is when it is put, see `put_anew`."""

log: structlog.stdlib.BoundLogger = structlog.get_logger("mbashara.bell")


class Bell:
    """`engine` has a connection for it alone. Everything is said to `on` before it is started."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._questions: list[tuple[threading.Event, Question]] = []
        self._away = False
        self._all_s = -math.inf
        self._stale = threading.Event()

    def on(self, *questions: Question) -> threading.Event:
        """Is set while the answer to one of the questions is true, and whenever one changes."""
        rung = threading.Event()
        self._questions += [(rung, question) for question in questions]
        return rung

    def put_anew(self) -> None:
        """Something that questions name has changed: they are put anew, and everyone is rung for. From any thread."""
        self._stale.set()

    def start(self, stopping: threading.Event) -> None:
        threading.Thread(target=self._run, args=(stopping,), name="bell", daemon=True).start()

    def _run(self, stopping: threading.Event) -> None:
        while not stopping.is_set():
            try:
                with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                    self._ring(connection, stopping)
            except (DBAPIError, PoolTimeout) as error:
                if not self._away:
                    log.warning("database away", reason=str(error.__cause__ or error).strip())
                self._away = True
            except Exception:
                log.exception("the bell fell, and begins anew")
            if time.monotonic() - self._all_s >= ALL_S:
                self._ring_for_all()
            stopping.wait(POLL_S)
        self._ring_for_all()

    def _ring_for_all(self) -> None:
        self._all_s = time.monotonic()
        for rung, _ in self._questions:
            rung.set()

    def _ring(self, connection: Connection, stopping: threading.Event) -> None:
        """Everyone at first: nobody knows what was missed."""
        known: list[Any] = [None] * len(self._questions)
        asked = None
        while not stopping.is_set():
            is_for_all = asked is None or self._stale.is_set() or time.monotonic() - self._all_s >= ALL_S
            if asked is None or is_for_all:
                self._stale.clear()  # first: what changes from now on makes it stale again
                asked = self._put()
            given = {**asked.parameters, "now": datetime.now(UTC)}
            answers = list(connection.exec_driver_sql(asked.statement, given).one())
            self._away = False
            if is_for_all:
                self._ring_for_all()
            for (rung, _), answer, before in zip(self._questions, answers, known, strict=True):
                if answer is True or answer != before:
                    rung.set()
            known = answers
            stopping.wait(POLL_S)

    def _put(self) -> ExpandedState:
        """The statement, compiled once for many times."""
        labels = [question().label(f"a{number}") for number, (_, question) in enumerate(self._questions)]
        return select(*labels).params(now=None).compile(self._engine).construct_expanded_state()


def when(rung: threading.Event, do: Callable[[], None]) -> Callable[[], None]:
    """Does something only if it was rung for since; what failed is done again the next time."""

    def do_if_rung() -> None:
        if rung.is_set():
            rung.clear()
            try:
                do()
            except BaseException:
                rung.set()
                raise

    return do_if_rung


def serve(
    name: str, rung: threading.Event, do: Callable[[bool], None], full_s: float, stopping: threading.Event
) -> None:
    """A thread that does its round when it is rung for; one in `full_s` seconds is told that it is a full one. A round
    that failed is done again soon."""
    threading.Thread(target=_serve, args=(name, rung, do, full_s, stopping), name=name, daemon=True).start()


def _serve(
    name: str, rung: threading.Event, do: Callable[[bool], None], full_s: float, stopping: threading.Event
) -> None:
    full_at_s, failing = -math.inf, ""
    while not stopping.is_set():
        rung.clear()
        is_full = time.monotonic() >= full_at_s
        try:
            do(is_full)
            failing, full_at_s = "", time.monotonic() + full_s if is_full else full_at_s
        except Exception as error:  # the top of the thread
            if failing != str(error):
                is_known = isinstance(error, DatabaseAway | OSError)
                log.warning("a round failed", of=name, reason=str(error), exc_info=None if is_known else error)
            failing = str(error)
            rung.set()
            stopping.wait(POLL_S)
        rung.wait(max(0.0, full_at_s - time.monotonic()))
