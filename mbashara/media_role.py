"""The media processes' role in the database: it reads what the key book is made of, and nothing else, so that whoever
takes such a process over finds no staff and no secrets there, and changes nothing. A new table, or a new column, is
closed to it until it is named in a READ."""

from itertools import groupby
from typing import Any

import structlog
from sqlalchemy import Engine, make_url, text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.orm import InstrumentedAttribute, Session

from core import keys
from core.broadcasts import dry_runs, plan
from core.database import transaction
from core.keys import derived_key
from mbashara.settings import Settings

ROLE = "media"
LOCK = 0x6D65646961  # any constant of our own: rights are given by one after the other
READ: tuple[InstrumentedAttribute[Any], ...] = (*keys.READ, *plan.READ, *dry_runs.READ)
SHUT = (
    "revoke temporary on database mbashara from public",
    "revoke execute on function lo_creat(integer), lo_create(oid), lo_from_bytea(oid, bytea) from public",
)
"""What PostgreSQL lets everyone write: tables of a connection's own, and large objects."""

log: structlog.stdlib.BoundLogger = structlog.get_logger("mbashara.media_role")


def password(pepper: bytes) -> str:
    """Of the embedded database's role. Media holds the pepper already, so there is no file for it to read."""
    return derived_key(pepper, b"media database").hex()


def admit(settings: Settings, engine: Engine) -> None:
    """Makes the embedded database's role; an outside server's is there already. Gives it its rights. Does so at each
    call, whatever a version before this one did. Where an outside server has no such role all else goes on."""
    outside = settings.media_database_url and make_url(settings.media_database_url).username
    if settings.database_url and not outside:
        return
    try:
        with transaction(engine) as session:
            session.execute(text("select pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
            if not settings.database_url:
                _make(session, password(settings.pepper_file.read_bytes()))
            _grant(session, engine.dialect.identifier_preparer.quote(outside or ROLE))
    except ProgrammingError as error:
        log.warning("media can't be given its rights in the database", reason=str(error.orig))


def _make(session: Session, its_password: str) -> None:
    if session.scalar(text(f"select 1 from pg_roles where rolname = '{ROLE}'")) is None:
        session.execute(text(f"create role {ROLE}"))
    session.execute(text(f"alter role {ROLE} login nosuperuser nocreatedb nocreaterole password '{its_password}'"))
    for statement in SHUT:
        session.execute(text(statement))


def _grant(session: Session, role: str) -> None:
    for table, columns in groupby(READ, key=_table):
        names = ", ".join(sorted(column.key for column in columns))
        session.execute(text(f"grant select ({names}) on {table} to {role}"))


def _table(column: InstrumentedAttribute[Any]) -> str:
    return str(column.class_.__tablename__)
