"""The door to PostgreSQL: the engine, sessions, and the migrations
(core/migrations). SQL runs in threads, never on a media loop."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from psycopg.errors import InsufficientPrivilege, UndefinedTable, UniqueViolation
from sqlalchemy import (
    BindParameter,
    DateTime,
    Engine,
    Exists,
    Select,
    Text,
    bindparam,
    cast,
    create_engine,
    func,
    literal_column,
    make_url,
    select,
    text,
)
from sqlalchemy.exc import IntegrityError, InterfaceError, OperationalError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

MIGRATIONS = Path(__file__).parent / "migrations"
MIGRATION_LOCK = 0x6D6261736861  # any constant of our own: two programs that start at once migrate one after the other

NOW: BindParameter[datetime] = bindparam("now", type_=DateTime(timezone=True))
"""In a question that is asked again and again, with another `now` each time."""
Moment = datetime | BindParameter[datetime]


def is_any(query: Select[*tuple[Any, ...]]) -> Exists:
    """Whether it finds any row."""
    return query.with_only_columns(literal_column("1"), maintain_column_froms=True).exists()


class DatabaseAway(Exception):
    """The server can't be reached, or has not got its tables or rights yet. Nothing was written; try again later."""


class NewerTables(Exception):
    """A later program has taken the tables to the step `found`; `ours` is the last that this one knows."""

    def __init__(self, found: str, ours: str) -> None:
        super().__init__(f"the tables are at step {found}, this program knows them up to {ours}")
        self.found, self.ours = found, ours


def open_engine(url: str, *, pool_size: int = 4, connect_timeout_s: int = 3, statement_timeout_s: int = 20) -> Engine:
    """A lazy engine: nothing connects until the first query, so a lost database is an error of the query."""
    options = f"-c statement_timeout={statement_timeout_s * 1000} -c timezone=UTC"
    return create_engine(
        make_url(url).set(drivername="postgresql+psycopg"),
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=connect_timeout_s,
        pool_pre_ping=True,
        connect_args={"connect_timeout": connect_timeout_s, "options": options},
    )


@contextmanager
def transaction(engine: Engine) -> Iterator[Session]:
    """A session whose work is committed at the end, or rolled back by an error."""
    try:
        with Session(engine, expire_on_commit=False) as session, session.begin():
            yield session
    except (OperationalError, InterfaceError, PoolTimeout) as error:
        raise DatabaseAway(str(error.__cause__ or error).strip()) from error
    except ProgrammingError as error:
        if isinstance(error.orig, UndefinedTable):
            raise DatabaseAway("no tables yet") from error
        if isinstance(error.orig, InsufficientPrivilege):
            raise DatabaseAway(f"no rights yet: {error.orig}") from error
        raise


def insert(session: Session, row: object) -> bool:
    """Adds a row; False, and nothing done, where another has taken its place: of two at once the second is told."""
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError as error:
        if isinstance(error.orig, UniqueViolation):
            return False
        raise
    return True


def mark_of(*queries: Select[*tuple[Any, ...]]) -> Select[*tuple[Any, ...]]:
    """One query for what these find, as marks: where they are the same as before, so is all that is found. The database
    makes them, so that rows which nobody needs are neither sent nor turned into objects. To be built once: that takes
    longer than to ask it."""
    whole = func.string_agg(cast(literal_column("found"), Text), "\n")
    digest = func.sha256(func.convert_to(whole, "UTF8"))  # a server in FIPS mode computes no MD5
    return select(*(select(digest).select_from(query.subquery("found")).scalar_subquery() for query in queries))


def answers(engine: Engine) -> bool:
    try:
        with transaction(engine) as session:
            return bool(session.scalar(text("select 1")))
    except DatabaseAway:
        return False


def migrate(engine: Engine) -> None:
    """Brings the tables to this version's shape. Safe to call at every start and from two processes at once. Raises
    NewerTables."""
    # One chain, each file named by its number first (tests/unit/test_migrations.py).
    steps = sorted(path.name.partition("_")[0] for path in (MIGRATIONS / "versions").glob("[0-9]*.py"))
    done = _step_of(engine)
    if done == steps[-1]:
        return
    if done is not None and done not in steps:
        raise NewerTables(done, steps[-1])
    from alembic import command  # a quarter of a second that a command of one query has no use for
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with transaction(engine) as session:
        session.execute(text("select pg_advisory_xact_lock(:lock)"), {"lock": MIGRATION_LOCK})
        config.attributes["connection"] = session.connection()
        command.upgrade(config, "head")


def _step_of(engine: Engine) -> str | None:
    """The last step that was done; None where there are no tables yet."""
    with transaction(engine) as session:
        if session.scalar(text("select to_regclass('alembic_version')")) is None:
            return None
        found: str | None = session.scalar(text("select version_num from alembic_version"))
    return found
