"""What tests of staff begin with: a database, and people in it."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import psycopg
import pyotp
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from core import institutions
from core.audit import Actor
from core.database import migrate, open_engine
from core.institutions import InstitutionFacts
from core.staff import accounts, enrolment, login, sessions
from core.staff.accounts import Invitation
from core.staff.login import LoggedIn, NeedsSecondFactor
from core.staff.permissions import Grant, Role, Scope
from core.staff.sessions import SignedIn, Visit
from core.staff.tables import UserAccount
from core.tables import Institution
from tests.up import Up

NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)
PEPPER = b"p" * 32
PASSWORD = "maembe saba mezani"
NEW_PASSWORD = "mfalme wa bahari 1964"
BY = Actor(None, "command line")
ADMIN = Grant(Role.ADMIN, None)


@contextmanager
def database(up: Up, name: str, pool_size: int = 4) -> Iterator[Engine]:
    """A database of its own in the shared program's server."""
    with psycopg.connect(up.database_url("postgres"), autocommit=True) as server:
        server.execute(f"create database {name}")
        engine = open_engine(up.database_url(name), pool_size=pool_size)
        migrate(engine)
        yield engine
        engine.dispose()
        server.execute(f"drop database {name}")


def later(seconds: float = 0, address: str = "197.250.1.7") -> Visit:
    return Visit(NOW + timedelta(seconds=seconds), address, "Firefox")


def invited(session: Session, email: str = "asha@ega.go.tz", role: Grant = ADMIN) -> Invitation:
    made = accounts.invite(session, email, "Asha Juma", role, by=BY, pepper=PEPPER, now=NOW)
    assert isinstance(made, Invitation)
    return made


def member(session: Session, email: str = "asha@ega.go.tz", role: Grant = ADMIN) -> UserAccount:
    account = invited(session, email, role).account
    assert accounts.set_first_password(session, account, PASSWORD, by=BY, now=NOW) == ()
    return account


def logged_in(session: Session, visit: Visit, email: str = "asha@ega.go.tz") -> tuple[str, SignedIn]:
    entered = login.log_in(session, email, PASSWORD, visit)
    assert isinstance(entered, LoggedIn)
    person = sessions.find(session, entered.token, visit.now)
    assert person is not None
    return entered.token, person


def with_second_factor(session: Session) -> tuple[pyotp.TOTP, tuple[str, ...]]:
    """Set up with the code of an hour ago: today's are all unused."""
    hour_ago = Visit(NOW - timedelta(hours=1), "197.250.1.7")
    _, person = logged_in(session, hour_ago)
    address = enrolment.start(session, person, pepper=PEPPER)
    assert address is not None
    phone = pyotp.TOTP(parse_qs(urlsplit(address).query)["secret"][0])
    enrolled = enrolment.confirm(session, person, phone.at(hour_ago.now), hour_ago, pepper=PEPPER)
    assert enrolled is not None
    return phone, enrolled.recovery_codes


def half_open(session: Session, visit: Visit) -> str:
    entered = login.log_in(session, "asha@ega.go.tz", PASSWORD, visit)
    assert isinstance(entered, NeedsSecondFactor)
    return entered.token


def added(session: Session, slug: str, **facts: object) -> Institution:
    made = institutions.add(session, InstitutionFacts(slug, slug, slug, **facts), by=BY, now=NOW)  # type: ignore[arg-type]
    assert isinstance(made, Institution)
    return made


def everywhere() -> Scope:
    return institutions.visible_institutions([ADMIN])
