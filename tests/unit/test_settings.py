"""Settings: one frozen object that every process reads alike, and README's table of them."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from mbashara.settings import Settings, parse_address

README = Path(__file__).parents[2] / "README.md"


@pytest.fixture(autouse=True)
def no_settings_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"MBASHARA_{name.upper()}", raising=False)


@pytest.mark.parametrize(
    ("text", "host", "port", "written", "reachable"),
    [
        ("127.0.0.1:8080", "127.0.0.1", 8080, "127.0.0.1:8080", "127.0.0.1:8080"),
        ("0.0.0.0:1935", "0.0.0.0", 1935, "0.0.0.0:1935", "127.0.0.1:1935"),
        (":1935", "", 1935, ":1935", "127.0.0.1:1935"),
        ("[::]:80", "::", 80, "[::]:80", "[::1]:80"),
        ("[fd00::1]:443", "fd00::1", 443, "[fd00::1]:443", "[fd00::1]:443"),
        ("live.example:0", "live.example", 0, "live.example:0", "live.example:0"),
    ],
)
def test_addresses(text: str, host: str, port: int, written: str, reachable: str) -> None:
    address = parse_address(text)
    assert (address.host, address.port) == (host, port)
    assert (str(address), str(address.reachable)) == (written, reachable)


@pytest.mark.parametrize("text", ["", "8080", "host", "host:", "host:x", "host:-1", "host:65536", "::1:80", "host:８"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ValidationError, match="HOST:PORT"):
        Settings(http=text)


@pytest.mark.parametrize(
    "wrong",
    [
        {"media_workers": 0}, {"media_workers": 65}, {"part_target_s": 0.05}, {"target_duration_s": 0},
        {"window_s": 1}, {"reconnect_window_s": -1}, {"stall_timeout_s": 0}, {"min_free_mb": -1}, {"log_level": "loud"},
    ],
)  # fmt: skip
def test_limits(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        Settings.model_validate(wrong)


@pytest.mark.parametrize(
    ("public_url", "base_url"),
    [("", "http://127.0.0.1:8080"), ("https://live.go.tz/", "https://live.go.tz"), ("http://a:81/x", "http://a:81/x")],
)
def test_where_links_lead(public_url: str, base_url: str) -> None:
    assert Settings(http="0.0.0.0:8080", public_url=public_url).base_url == base_url


@pytest.mark.parametrize("text", ["live.go.tz", "ftp://live.go.tz", "https://", "https://a.tz?x=1", "javascript:x"])
def test_what_is_no_public_url(text: str) -> None:
    with pytest.raises(ValidationError, match="https://NAME"):
        Settings(public_url=text)


def test_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().http = "127.0.0.1:1"  # type: ignore[misc]


def test_come_from_the_environment_and_an_empty_one_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MBASHARA_MEDIA_WORKERS", "3")
    monkeypatch.setenv("MBASHARA_WINDOW_S", "")
    assert (Settings().media_workers, Settings().window_s) == (3, 900)


def test_a_child_reads_the_same(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    parent = Settings(
        data=tmp_path, http="[::]:80", media_workers=2, part_target_s=0.334, ladder=False, run_dir=tmp_path
    )
    for name, value in parent.environment().items():
        monkeypatch.setenv(name, value)
    assert Settings() == parent


def test_the_data_folder_is_made_absolute_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert Settings(data=Path("kumbukumbu")).data == tmp_path / "kumbukumbu"
    assert Settings(data=Path("~/x")).data == Path.home() / "x"


def test_each_data_folder_has_its_own_memory_folder(tmp_path: Path) -> None:
    runs = {Settings(data=tmp_path / name).run for name in ("a", "b")}
    assert len(runs) == 2
    assert Settings(data=tmp_path / "a").run in runs
    assert Settings(data=tmp_path, run_dir=tmp_path / "run").run == tmp_path / "run"


def test_an_outside_database_is_used_as_named() -> None:
    url = "postgresql://mbashara@db.example/mbashara"
    assert Settings(database_url=url).sqlalchemy_url == url
    assert Settings(database_url=url).media_url("x") == url
    assert Settings().sqlalchemy_url.endswith("/secrets/postgres")
    with pytest.raises(ValidationError, match="goes with MBASHARA_DATABASE_URL"):
        Settings(media_database_url=url)


def test_readmes_table_is_the_settings() -> None:
    rows = [line for line in README.read_text().splitlines() if line.startswith("| `MBASHARA_")]
    assert rows == [row(name) for name in Settings.model_fields]


def row(name: str) -> str:
    field = Settings.model_fields[name]
    default = "" if field.default in (None, "") else f"`{field.default}`"
    return f"| `MBASHARA_{name.upper()}` | {default} | {field.description} |"
