"""When a file that someone announces was recorded."""

from argparse import Namespace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from archive.imports.uploads import Cause, UploadRefused, read_moment
from mbashara.cli.imports import import_files
from mbashara.plain import UserError
from mbashara.settings import Settings

NOW = datetime(2026, 11, 29, 13, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("told", "at"),
    [
        ("", None),
        ("2026-11-29T16:00", NOW),
        ("2026-11-29T13:00:00+00:00", NOW),
        ("1961-12-09T00:00", datetime(1961, 12, 8, 21, tzinfo=UTC)),
    ],
)
def test_a_time_is_read(told: str, at: datetime | None) -> None:
    assert read_moment(told, NOW) == at


@pytest.mark.parametrize(
    ("told", "cause"),
    [
        ("jana", Cause.TIME),
        ("1500-01-01", Cause.TIME),
        ("2026-11-29T16:01", Cause.FUTURE),
        ("2062-06-12T10:00", Cause.FUTURE),
    ],
)
def test_a_time_is_refused(told: str, cause: Cause) -> None:
    with pytest.raises(UploadRefused) as refused:
        read_moment(told, NOW)
    assert refused.value.cause == cause


def test_the_command_takes_no_time_that_is_to_come(tmp_path: Path) -> None:
    file = tmp_path / "kikao.mp4"
    file.write_bytes(b"?")
    with pytest.raises(UserError, match="still to come"):
        import_files(Settings(data=tmp_path), Namespace(channel="bunge", files=[file], at="2162-06-12T10:00"))
