"""When a file that someone announces was recorded, and under which embargo it comes in."""

from argparse import Namespace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from archive.imports.uploads import EMBARGO, Cause, UploadRefused, read_embargo, read_moment
from archive.recordings.policy import Wish
from archive.recordings.policy_errors import BadReason, BadUntil, PolicyError
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


@pytest.mark.parametrize(
    ("told", "wish"),
    [
        (("", "", ""), None),
        (("yes", " bado haijatangazwa\n", ""), Wish("bado haijatangazwa")),
        (
            ("yes", "bado\r\nkidogo\x00", "2026-11-29T16:01"),
            Wish("bado kidogo", datetime(2026, 11, 29, 13, 1, tzinfo=UTC)),
        ),
    ],
)
def test_an_embargo_is_read(told: tuple[str, str, str], wish: Wish | None) -> None:
    assert read_embargo(dict(zip(EMBARGO, told, strict=True)), NOW) == wish


@pytest.mark.parametrize(
    ("told", "cause"),
    [
        (("", "bado", ""), Cause.EMBARGO),
        (("", "", "2026-12-01T08:00"), Cause.EMBARGO),
        (("no", "bado", ""), Cause.EMBARGO),
        (("yes", "  ", ""), Cause.EMBARGO_REASON),
        (("yes", "x" * 1001, ""), Cause.EMBARGO_REASON),
        (("yes", "bado", "2026-11-29T16:00"), Cause.EMBARGO_UNTIL),
        (("yes", "bado", "kesho"), Cause.EMBARGO_UNTIL),
        (("yes", "bado", "9999-12-31T23:59"), Cause.EMBARGO_UNTIL),
    ],
)
def test_what_may_be_meant_otherwise_is_refused(told: tuple[str, str, str], cause: Cause) -> None:
    with pytest.raises(UploadRefused) as refused:
        read_embargo(dict(zip(EMBARGO, told, strict=True)), NOW)
    assert refused.value.cause == cause


@pytest.mark.parametrize(
    ("reason", "until", "error"),
    [
        (None, "2162-06-12T10:00", UserError),
        ("", None, BadReason),
        ("bado", "2020-06-12T10:00", BadUntil),
        ("bado", "kesho", UserError),
    ],
)
def test_the_command_refuses_an_embargo_before_it_copies_anything(
    tmp_path: Path, reason: str | None, until: str | None, error: type[UserError | PolicyError]
) -> None:
    file = tmp_path / "kikao.mp4"
    file.write_bytes(b"?")
    given = Namespace(channel="bunge", files=[file], at=None, embargo=reason, until=until)
    with pytest.raises(error):
        import_files(Settings(data=tmp_path), given)
    assert list(tmp_path.iterdir()) == [file]
