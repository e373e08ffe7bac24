"""What a media process that was taken over could do with the database: read what it needs, and nothing else."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege
from sqlalchemy import create_engine
from sqlalchemy.event import listen, listens_for
from structlog.testing import capture_logs

from core.database import open_engine
from core.tables import Base
from mbashara import media_role
from mbashara.media import Keys
from mbashara.media_processes import MediaProcesses
from mbashara.settings import Settings
from tests.up import Up, until

DENIED = (
    "select * from user_account", "select * from webhook_endpoint", "select * from channel c, recording r",
    "table audit_entry", "select title_sw from broadcast", "select * from dbos.workflow_status",
    "select rolpassword from pg_authid", "update channel set slug = 'x'", "delete from stream_key",
    "insert into institution (slug) values ('x')",
    "create table loot (line text)", "create temp table loot (line text)", "select lo_from_bytea(0, 'x')",
    "copy channel (slug) from '/etc/passwd'", "copy channel (slug) to '/tmp/x'", "copy channel (slug) to program 'id'",
    "select pg_read_file('/etc/passwd')", "select lo_import('/etc/passwd')", "set role postgres",
    "alter role media superuser",
)  # fmt: skip


@pytest.fixture(scope="module")
def media_url(mbashara_up: Up) -> str:
    settings = Settings(data=mbashara_up.data)
    return settings.media_url(media_role.password(settings.pepper_file.read_bytes()))


@pytest.fixture
def media(media_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(media_url, autocommit=True) as connection:
        yield connection


def test_it_reads_what_it_needs_and_that_alone(mbashara_up: Up, media: psycopg.Connection) -> None:
    """A table that is made later is closed as well."""
    mbashara_up.channel_add("jukumu")
    assert ("jukumu",) in media.execute("select slug from channel").fetchall()
    with psycopg.connect(mbashara_up.database_url()) as server:
        server.execute("create table made_later (id integer)")
        found = server.execute(
            "select table_name, column_name, privilege_type from information_schema.column_privileges"
            " where grantee in ('media', 'PUBLIC') and table_schema not in ('pg_catalog', 'information_schema')"
        ).fetchall()
        server.rollback()
    assert set(found) == {(column.class_.__tablename__, column.key, "SELECT") for column in media_role.READ}
    assert {column.class_.__tablename__ for column in media_role.READ} < set(Base.metadata.tables)


@pytest.mark.parametrize("statement", DENIED)
def test_nothing_else_is_its(media: psycopg.Connection, statement: str) -> None:
    with pytest.raises(InsufficientPrivilege):
        media.execute(statement)


def test_it_is_nobody_else_and_goes_nowhere_else(mbashara_up: Up, media_url: str) -> None:
    """The account alone is no superuser: whoever has no password is let in nowhere, and media's is for one database."""
    folder = mbashara_up.run / "postgres"
    for url in (
        f"postgresql://postgres@/mbashara?host={folder}&passfile=/dev/null",
        media_url.replace("//media:", "//postgres:"),
        media_url.replace("/mbashara?", "/postgres?"),
    ):
        with pytest.raises(psycopg.OperationalError, match=r"no password supplied|authentication failed|no pg_hba"):
            psycopg.connect(url)
    with psycopg.connect(mbashara_up.database_url()) as server:
        asked = {name for (name,) in server.execute("select distinct usename from pg_stat_activity where usename > ''")}
    assert asked == {"media", "postgres"}, "the media process itself is connected so"


def test_keys_that_cannot_be_saved_are_in_force(mbashara_up: Up, tmp_path: Path) -> None:
    keys = Keys(Settings(data=mbashara_up.data))
    keys.book.channels, keys.book.owners, keys.book.saved_at = (), {}, tmp_path / "away" / "keys.json"
    with capture_logs() as told:
        for _ in range(2):
            assert asyncio.run(keys.refresh_anew()), "the database is there"
    assert [line["event"] for line in told] == ["the keys in force can't be saved"]
    assert keys.book.entry("jukumu") is not None
    keys.book.saved_at.parent.mkdir()
    assert asyncio.run(keys.refresh_anew()) and keys.book.saved_at.exists()


def test_what_is_changed_back_at_once_is_not_kept_as_it_was_between(mbashara_up: Up, tmp_path: Path) -> None:
    """Between the mark and the book, and while the book can't be saved."""
    mbashara_up.channel_add("rudishwa")
    keys = Keys(Settings(data=mbashara_up.data))
    keys.book.saved_at = tmp_path / "keys.json"

    def known() -> float | None:
        assert asyncio.run(keys.refresh_anew())
        entry = keys.book.entry("rudishwa")
        assert entry is not None
        return entry.reconnect_window_s

    with psycopg.connect(mbashara_up.database_url(), autocommit=True) as server:

        def change(window_s: float | None) -> None:
            server.execute("update channel set reconnect_window_s = %s where slug = 'rudishwa'", [window_s])

        assert known() is None
        change(7)
        listen(keys._engine, "after_cursor_execute", lambda *_: change(8), once=True)
        known()
        change(7)
        assert known() == 7
        keys.book.saved_at = tmp_path / "away" / "keys.json"
        change(8)
        assert known() == 8, "in force, and not saved"
        change(7)
        assert known() == 7
    keys.book.saved_at = tmp_path / "taken away"
    assert known() and keys.book.saved_at.exists()


def test_an_outside_server_whose_tables_are_anothers_goes_on(mbashara_up: Up) -> None:
    """Who does not own the tables can't give rights to them: media is told so, and nothing else ends."""
    with psycopg.connect(mbashara_up.database_url(), autocommit=True) as server:
        for role in ("mgeni", "msomaji"):
            server.execute(f"create role {role} login")
        try:
            url = mbashara_up.database_url()
            settings = Settings(
                data=mbashara_up.data, database_url=url, media_database_url="postgresql:///mbashara?user=msomaji"
            )
            guest = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))

            @listens_for(guest, "connect")
            def become(connection: psycopg.Connection, _: object) -> None:
                connection.execute("set session authorization mgeni")
                connection.commit()

            with capture_logs() as told:
                media_role.admit(settings, guest)
            assert [line["log_level"] for line in told] == ["warning"] and "permission denied" in told[0]["reason"]
            guest.dispose()
            media_role.admit(settings, open_engine(url))
            server.execute("set session authorization msomaji")
            assert server.execute("select slug from channel").fetchall()
            server.execute("reset session authorization")
        finally:
            server.execute("reset session authorization")
            server.execute("drop owned by msomaji, mgeni")
            server.execute("drop role msomaji, mgeni")


def test_engineers_are_called_while_media_may_not_log_in(mbashara_up: Up) -> None:
    """As where MBASHARA_MEDIA_DATABASE_URL names a role that is not let in: all else has the database."""
    media = MediaProcesses(Settings(data=mbashara_up.data))
    with psycopg.connect(mbashara_up.database_url(), autocommit=True) as server:
        server.execute("alter role media nologin")
        server.execute("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'media'")
        try:
            until(lambda: "media_shut_out" in media.troubles(), "no alarm")
            assert mbashara_up.health()["state"] == "ok", "what is on the air goes on"
        finally:
            server.execute("alter role media login")
    until(lambda: "media_shut_out" not in media.troubles(), "the alarm does not go")
