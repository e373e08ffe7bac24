"""The command line: what it takes, and that every refusal is one line and exit status 2."""

import errno
import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mbashara import __version__, demo
from mbashara.cli import main, parser, read_settings
from mbashara.cli.recordings import read_moment
from mbashara.cli.recordings_packages import _plain_words
from mbashara.logs import hide_secrets
from mbashara.plain import UserError
from mbashara.settings import Settings
from tests.unit.recording_kit import ID


@pytest.fixture(autouse=True)
def in_english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MBASHARA_LANGUAGE", "en")


@pytest.mark.parametrize(
    "line",
    [
        [], ["nothing"], ["channel"], ["channel", "add"], ["channel", "add", "ikulu"], ["channel", "rotate-key"],
        ["channel", "add", "ikulu", "--name-sw", "Ikulu"], ["recording"], ["up", "--no-such-option"],
        ["user"], ["user", "add", "asha@ega.go.tz"], ["user", "add", "asha@ega.go.tz", "--name", "A", "--role", "x"],
    ],
)  # fmt: skip
def test_an_unknown_or_unfinished_command_is_refused(line: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        main(line)
    assert refused.value.code == 2
    assert "usage: mbashara" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--http", "here"], "setting http: 'here' is not HOST:PORT"),
        (["--rtmp", "1935"], "setting rtmp: '1935' is not HOST:PORT"),
        (["--media-workers", "0"], "setting media_workers: Input should be greater than or equal to 1"),
    ],
)
def test_a_wrong_setting_is_told_in_one_line(
    options: list[str], line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    assert main(["up", "--data", str(data), *options]) == 2
    assert capsys.readouterr().err == f"mbashara: {line}\n"
    assert not data.exists(), "a refusal changes nothing"


def test_a_file_is_no_data_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    taken = tmp_path / "taken"
    taken.write_text("mine")
    assert main(["up", "--data", str(taken)]) == 2
    assert capsys.readouterr().err == f"mbashara: cannot use the data folder: File exists: {taken}\n"
    assert taken.read_text() == "mine"


@pytest.mark.parametrize(
    "line",
    [
        ["channel", "list"], ["channel", "rotate-key", "ikulu"], ["recording", "list"], ["recording", "show", ID],
        ["channel", "add", "ikulu", "--name-sw", "Ikulu", "--name-en", "State House"], ["recording", "verify", ID],
        ["user", "add", "asha@ega.go.tz", "--name", "Asha"], ["token", "list"], ["key", "list"], ["retention", "list"],
        ["recording", "embargo", ID, "--reason", "bado"], ["location", "list"], ["location", "check"], ["rebuild"],
        ["rebuild", "--from", "pili"], ["fixity", "run", ID],
    ],
    ids=" ".join,
)  # fmt: skip
def test_a_mistyped_data_folder_is_not_made(
    line: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mistyped = tmp_path / "daat"
    assert main([*line, "--data", str(mistyped)]) == 2
    told = f"no mbashara was begun in {mistyped}: is --data (MBASHARA_DATA) right? `mbashara up` begins one"
    assert capsys.readouterr().err == f"mbashara: {told}\n"
    assert list(tmp_path.iterdir()) == []


def test_the_demo_tells_commands_that_can_be_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", [".venv/bin/mbashara", "up"])
    command = demo.command(Settings(data=Path("data"), http="127.0.0.1:81", rtmp="0.0.0.0:1935"))
    assert command == "MBASHARA_HTTP=127.0.0.1:81 .venv/bin/mbashara"
    elsewhere = demo.command(Settings(data=Path("/mnt/my disk"), rtmp="0.0.0.0:1935"))
    assert elsewhere == "MBASHARA_DATA='/mnt/my disk' .venv/bin/mbashara"
    assert f"{command} user add" in demo.instructions("http://127.0.0.1:81", "rtmp://127.0.0.1/live", command)


def test_the_command_line_overrules_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MBASHARA_HTTP", "127.0.0.1:1")
    monkeypatch.setenv("MBASHARA_RTMP", "127.0.0.1:2")
    line = ["up", "--data", str(tmp_path), "--http", "127.0.0.1:3", "--media-workers", "4"]
    settings = read_settings(parser().parse_args(line))
    assert (settings.data, settings.http, settings.rtmp) == (tmp_path, "127.0.0.1:3", "127.0.0.1:2")
    assert settings.media_workers == 4


@pytest.mark.parametrize(
    "line",
    [
        ["up"], ["channel", "list"], ["channel", "rotate-key", "ikulu"], ["recording", "list"],
        ["channel", "add", "ikulu", "--name-sw", "Ikulu", "--name-en", "State House"],
        ["user", "add", "asha@ega.go.tz", "--name", "Asha"],
    ],
)  # fmt: skip
def test_every_command_takes_the_data_folder_from_either(
    line: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MBASHARA_DATA", str(tmp_path / "environment"))
    assert read_settings(parser().parse_args(line)).data == tmp_path / "environment"
    told = [*line, "--data", str(tmp_path / "told")]
    assert read_settings(parser().parse_args(told)).data == tmp_path / "told"


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"{__version__}\n"


def test_a_logged_secret_is_hidden() -> None:
    event = hide_secrets(None, "info", {"event": "x", "stream_key": "siri", "password": "siri", "channel": "ikulu"})
    assert "siri" not in json.dumps(event)
    assert event["channel"] == "ikulu"


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("90", 90_000), ("1.5", 1500), ("01:02:03", 3_723_000), ("2:03.5", 123_500), ("12:00:00", 43_200_000),
        ("2026-11-28T10:15:00", 900_000), ("2026-11-28 07:15:00+00:00", 900_000),
    ],
)  # fmt: skip
def test_a_moment_is_a_position_or_the_clock_of_that_day(text: str, ms: int) -> None:
    begun = datetime(2026, 11, 28, 7, tzinfo=UTC)
    assert read_moment(text, round(begun.timestamp() * 1000)) == ms


@pytest.mark.parametrize("text", ["", "-1", "noon", "10:75", "2026-13-01"])
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(UserError):
        read_moment(text, 0)


@pytest.mark.parametrize("kind", ["--bag", "--premis"])
def test_a_package_needs_a_place(tmp_path: Path, kind: str) -> None:
    arguments = parser().parse_args(["recording", "export", "01jdx00000000000000000000j", kind])
    with pytest.raises(UserError, match="-o PATH"):
        arguments.command(Settings(data=tmp_path), arguments)


def test_a_full_disk_is_told_with_what_was_to_be_made() -> None:
    """Python names no file then."""
    with pytest.raises(UserError, match=r"kikao\.tar"), _plain_words("kikao.tar"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
