"""The embedded database of an earlier version, whose superuser needed no password."""

import subprocess
from pathlib import Path

import psycopg
import pytest

from mbashara import data, postgres
from mbashara.children import as_account
from mbashara.settings import Settings


def test_a_folder_of_an_earlier_version_gets_a_password(tmp_path: Path) -> None:
    """Also where `up` is killed before its file lies there, or the file is lost; with one it stays as it is."""
    settings = Settings(data=tmp_path / "data", run_dir=tmp_path / "run")
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
