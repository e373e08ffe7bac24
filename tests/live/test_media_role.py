"""What a media process that was taken over could do with the database: read what it needs, and nothing else."""

from collections.abc import Iterator

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege

from core.tables import Base
from mbashara import media_role
from mbashara.settings import Settings
from tests.up import Up

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
