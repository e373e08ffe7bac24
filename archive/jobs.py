"""Jobs of the work process as rows: what those of exports and of imports have in common."""

from collections.abc import Sequence
from typing import Generic, TypeVar

from sqlalchemy import Exists, Row, exists, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

WAITING, RUNNING = "waiting", "running"


class Job:
    """Columns of a job. `attempt` counts its makings, from 1."""

    id: Mapped[str] = mapped_column(primary_key=True)
    state: Mapped[str]
    percent: Mapped[int]
    attempt: Mapped[int]


J = TypeVar("J", bound=Job)


class JobTable(Generic[J]):
    """Each method takes the session first; the caller owns the transaction."""

    def __init__(self, table: type[J]) -> None:
        self._table = table

    def find(self, session: Session, job_id: str, *, lock: bool = False) -> J | None:
        return session.get(self._table, job_id, with_for_update=lock, populate_existing=True)

    def waiting(self, session: Session) -> Sequence[Row[str, int]]:
        """Ids and attempts, the oldest first."""
        query = select(self._table.id, self._table.attempt).where(self._table.state == WAITING)
        return session.execute(query.order_by(self._table.id)).all()

    def is_waiting(self) -> Exists:
        """A question for the bell: whether there is one."""
        return exists().where(self._table.state == WAITING)

    def note(self, session: Session, job_id: str, percent: int) -> bool:
        """How far it is. False: it is not wanted any more."""
        mine = update(self._table).where(self._table.id == job_id, self._table.state == RUNNING)
        return session.execute(mine.values(percent=percent).returning(self._table.id)).first() is not None

    def running(self, session: Session, job_id: str) -> J | None:
        """Locked. None: it is cancelled, or over."""
        job = self.find(session, job_id, lock=True)
        return job if job is not None and job.state == RUNNING else None

    def postpone(self, session: Session, job_id: str) -> None:
        """Its maker was stopped with the process around it: another begins anew."""
        job = self.running(session, job_id)
        if job is not None:
            job.state, job.attempt, job.percent = WAITING, job.attempt + 1, 0
