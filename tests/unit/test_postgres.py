"""The embedded database of an earlier version, whose superuser needed no password."""

import os
import signal
import subprocess
import sys

import psycopg
import pytest

from mbashara import data, postgres
from mbashara.children import as_account
from mbashara.settings import Settings
from tests.up import ROOT, data_folder, until


def test_a_folder_of_an_earlier_version_gets_a_password() -> None:
    """Also where `up` is killed before its file lies there, or the file is lost; with one it stays as it is."""
    with data_folder() as folder:
        settings = Settings(data=folder)
        data.prepare(settings)
        cluster = ["-D", str(settings.data / "postgres"), "--auth=trust", "--username=postgres", "--no-sync"]
        subprocess.run(
            [str(postgres.BINARIES / "initdb"), *cluster], check=True, capture_output=True, cwd="/",
            **as_account(data.account()),
        )  # fmt: skip
        postgres.initialise(settings)
        settings.postgres_passfile.unlink()
        with postgres.running(settings):
            postgres.wait_until_up(settings)
            with psycopg.connect(settings.sqlalchemy_url) as connection:
                assert connection.execute("select current_user").fetchone() == ("postgres",)
            with pytest.raises(psycopg.OperationalError, match="no password supplied"):
                psycopg.connect(settings.sqlalchemy_url.partition("&passfile")[0], passfile="/dev/null")
            kept = settings.postgres_passfile.read_bytes()
            assert settings.postgres_passfile.stat().st_mode & 0o777 == 0o600
        postgres.initialise(settings)
        assert settings.postgres_passfile.read_bytes() == kept


MAKE = "from mbashara import postgres; from mbashara.settings import Settings; postgres.initialise(Settings())"


def test_a_cluster_that_was_made_by_half_is_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    with data_folder() as folder:
        settings = Settings(data=folder)
        data.prepare(settings)
        for name, value in {**settings.environment(), "PYTHONPATH": str(ROOT)}.items():
            monkeypatch.setenv(name, value)
        with subprocess.Popen([sys.executable, "-c", MAKE], start_new_session=True) as made:
            until(lambda: any(settings.data.glob("postgres*/PG_VERSION")), "initdb makes nothing", step_s=0.005)
            os.killpg(made.pid, signal.SIGKILL)
        with postgres.running(settings):
            postgres.wait_until_up(settings)
        assert [path.name for path in settings.data.glob("postgres*")] == ["postgres"]


USE = """
import sys
from mbashara import postgres
from mbashara.settings import Settings
with postgres.running(Settings()):
    postgres.wait_until_up(Settings())
    print("up", flush=True)
    sys.stdin.readline()
"""


def test_the_last_command_that_uses_a_server_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with data_folder() as folder:
        settings = Settings(data=folder)
        data.prepare(settings)
        for name, value in {**settings.environment(), "PYTHONPATH": str(ROOT)}.items():
            monkeypatch.setenv(name, value)
        first = subprocess.Popen([sys.executable, "-c", USE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        with first:
            assert first.stdin is not None and first.stdout is not None and "up\n" in first.stdout
            with postgres.running(settings), psycopg.connect(settings.sqlalchemy_url) as connection:
                first.stdin.write("\n")
                first.stdin.flush()
                with pytest.raises(subprocess.TimeoutExpired):
                    first.wait(1)
                assert connection.execute("select 1").fetchone() == (1,)
            assert first.wait(120) == 0
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(settings.sqlalchemy_url)
        with postgres.running(settings):
            postgres.wait_until_up(settings)
