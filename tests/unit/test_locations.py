"""locations.toml: what it may say, and that every refusal is one line with file, location and field, and no secret."""

import json
import os
import pwd
import socket
import time
from argparse import Namespace
from pathlib import Path

import pytest

from archive.recordings.locations.config import FolderLocation, LocationError, S3Location, read_locations
from mbashara.cli.fixity import fixity_run
from mbashara.cli.locations import location_check, location_forget, location_list
from mbashara.places import SETTLED_S, Places, SaidPlaces
from mbashara.places import settled as start
from mbashara.plain import UserError
from mbashara.settings import Settings

SECRET = "siri-kubwa-1234567890"
FOLDER = '[[location]]\nname = "pili"\nkind = "folder"\npath = "/mnt/pili"\n'
KEYS = f'access_key_id = "mbashara"\nsecret_access_key = "{SECRET}"\n'
S3 = '[[location]]\nname = "wingu"\nkind = "s3"\nbucket = "kumbukumbu"\nendpoint_url = "https://s3.example/"\n'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "locations.toml"
    path.touch(0o600)
    return path


def test_no_file_is_no_further_location(tmp_path: Path) -> None:
    assert read_locations(tmp_path / "locations.toml", tmp_path) == ()


def test_locations_in_the_files_order_and_their_secrets_in_no_repr(file: Path, tmp_path: Path) -> None:
    file.write_text(
        FOLDER + 'tier = "cold"\nfixity_days = 180\ntitle_sw = "Diski ya pili"\n'
        + S3 + 'prefix = "mbashara/a"\nlock_days = 3650\n' + KEYS
    )  # fmt: skip
    folder, s3 = read_locations(file, tmp_path / "recordings")
    assert isinstance(folder, FolderLocation) and isinstance(s3, S3Location)
    assert (folder.path, folder.tier, folder.fixity_days, folder.title_sw) == (
        Path("/mnt/pili"), "cold", 180, "Diski ya pili",
    )  # fmt: skip
    assert (s3.endpoint_url, s3.lock_days, s3.tier, s3.fixity_days) == ("https://s3.example", 3650, "hot", 90)
    assert s3.credentials.secret_access_key.get_secret_value() == SECRET
    assert SECRET not in repr(s3) + str(s3) + s3.model_dump_json()


def test_credentials_in_a_file_of_their_own(file: Path, tmp_path: Path) -> None:
    file.chmod(0o644)
    file.write_text(S3 + 'credentials_file = "wingu.toml"\n')
    keys = tmp_path / "wingu.toml"
    with pytest.raises(LocationError, match=f"there is no {keys}"):
        read_locations(file, tmp_path / "recordings")
    keys.write_text(KEYS)
    keys.chmod(0o640)
    with pytest.raises(LocationError, match=f"location wingu: {keys} holds credentials"):
        read_locations(file, tmp_path / "recordings")
    keys.chmod(0o600)
    (s3,) = read_locations(file, tmp_path / "recordings")
    assert isinstance(s3, S3Location) and s3.credentials.access_key_id.get_secret_value() == "mbashara"
    keys.write_text(f'access_key_id = ""\nsecret_access_key = "{SECRET}"\n')
    with pytest.raises(LocationError, match=r"credentials_file: .*access_key_id") as refused:
        read_locations(file, tmp_path / "recordings")
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[[location]", "not TOML / si TOML"),
        ("[locations]\n", "locations: only"),
        ('location = "x"\n', "location: only"),
        ('[[location]]\nname = "pili"\n', "location pili: kind: folder or s3"),
        (FOLDER.replace("/mnt", "mnt"), "location pili: path: a path from /"),
        (FOLDER.replace("pili", "Mbili mbili", 1), "location Mbili mbili: name: 1 to 32 of a-z.* / 1 hadi 32 za a-z"),
        ('[[location]]\nkind = "folder"\npath = "/a"\n', "location 1: name: .* / hakuna kilichoandikwa"),
        (FOLDER + "lock_days = 1\n", "location pili: lock_days: .* / jina hili halijulikani"),
        (FOLDER + 'tier = "warm"\n', "location pili: tier: .* / si mojawapo"),
        (FOLDER + "fixity_days = 0\n", "location pili: fixity_days: "),
        (FOLDER + FOLDER, "location pili: name: given twice"),
        (FOLDER + FOLDER.replace('"pili"', '"tatu"').replace("/mnt/pili", "/mnt/pili/x"), "tatu: the same place"),
        (FOLDER.replace("/mnt/pili", "/data/recordings/copies"), "pili: the same place as /data/recordings"),
        (FOLDER.replace('"pili"', '"local"'), "location local: name: given twice"),
        (S3, "location wingu: credentials_file: give it"),
        (S3 + 'credentials_file = "x"\n' + KEYS, "location wingu: credentials_file: give it"),
        (S3 + 'access_key_id = "a"\n', "location wingu: secret_access_key: .* / hakuna"),
        (S3.replace("https://s3.example/", "s3.example") + KEYS, "location wingu: endpoint_url: not https://NAME"),
        (S3 + 'prefix = "../x"\n' + KEYS, "location wingu: prefix: letters"),
        (S3.replace("kumbukumbu", "K") + KEYS, "location wingu: bucket: "),
        (S3 + 'lock_mode = "strict"\n' + KEYS, "location wingu: lock_mode: "),
        (S3 + 'ca_file = "/no/such.pem"\n' + KEYS, "location wingu: ca_file: there is no such file"),
        (FOLDER.replace("/mnt/pili", "/mnt/\\u0000"), "location pili: path: a path from /"),
        (S3.replace("s3.example", "minio_1:9000") + KEYS, "location wingu: endpoint_url: a name of letters"),
    ],
)  # fmt: skip
def test_a_refusal_is_one_line_that_names_the_place(file: Path, text: str, told: str) -> None:
    file.write_text(text)
    with pytest.raises(LocationError, match=told) as refused:
        read_locations(file, Path("/data/recordings"))
    line = str(refused.value)
    assert line.startswith(f"{file}: ") and "\n" not in line and SECRET not in line


def test_credentials_in_an_open_file_are_refused(file: Path, tmp_path: Path) -> None:
    file.write_text(S3 + KEYS)
    file.chmod(0o604)
    with pytest.raises(LocationError, match=r"location wingu: .* chmod 600\)"):
        read_locations(file, tmp_path)


def test_a_file_of_root_is_given_to_whoever_reads_it(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root writes it, and the processes are another: chmod alone does not help."""
    apart = tmp_path / "apart.toml"
    file.write_text(S3 + f'credentials_file = "{apart.name}"\n')
    apart.write_text(KEYS)
    apart.chmod(0o600)
    monkeypatch.setattr("os.geteuid", lambda: pwd.getpwnam("nobody").pw_uid)
    with pytest.raises(LocationError, match=r"must be nobody's and closed to others \(chown nobody, chmod 600\)"):
        read_locations(file, tmp_path)

    def refuse(_: Path) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(LocationError, match=r"nobody may not read it \(chown nobody\)"):
        read_locations(file, tmp_path)


def test_a_server_that_hangs_is_told_soon(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not after all that copying would wait for it."""
    (tmp_path / "VERSION").write_text("1\n")
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        host, port = silent.getsockname()
        file.write_text(S3.replace("https://s3.example/", f"http://{host}:{port}") + KEYS)
        monkeypatch.setattr("mbashara.cli.locations.account", lambda: None)
        monkeypatch.setattr("mbashara.cli.locations.PATIENCE_S", 0.5)
        begun_s = time.monotonic()
        assert location_check(Settings(data=tmp_path, locations_file=file), Namespace(names=[], json=False)) == 2
    assert time.monotonic() - begun_s < 30 and "it hangs: no answer in time" in capsys.readouterr().err


def settled(file: Path, tmp_path: Path, text: str) -> Places:
    """As they are when the file has said so for long."""
    file.write_text(text)
    places = Places(Settings(data=tmp_path))
    places.read(-20)
    places.read(-10)
    assert places.is_settled
    return places


def test_what_changes_in_the_file_counts_once_it_stands_still_and_what_is_wrong_with_it_never(
    file: Path, tmp_path: Path
) -> None:
    places = Places(Settings(data=tmp_path))
    stores, pace_days = places.stores, places.pace_days  # as everyone in the work process holds them
    file.unlink()
    assert places.read(0), "nobody is writing it"
    assert list(stores) == ["local"] and places.is_settled
    file.write_text(FOLDER)
    assert not places.read(10) and not places.read(10.5) and not places.is_settled, "two reads at once are one"
    assert places.read(20) and not places.read(30)
    pili = stores["pili"]
    file.write_text(FOLDER + FOLDER)
    assert not places.read(40) and not places.read(50)
    assert stores == {"local": stores["local"], "pili": pili} and "given twice" in places.trouble
    file.write_text(FOLDER + "fixity_days = 7\n" + FOLDER.replace("pili", "tatu"))
    assert not places.read(60) and places.read(70)
    assert (list(stores), pace_days["pili"], places.trouble) == (["local", "pili", "tatu"], 7, "")
    assert stores["pili"] is not pili


WHOLE = FOLDER + 'tier = "cold"\nfixity_days = 180\n' + S3 + 'prefix = "mbashara"\nlock_days = 3650\n' + KEYS
CUT = {
    "nothing": "", "away": None, "a comment": "# [[location]]\n", "no TOML": "[[locat", "no tier": FOLDER,
    "no second": WHOLE[: WHOLE.index("[[location]]", 5)], "half a number": WHOLE[: WHOLE.index("80\n")],
    "no prefix, no lock": FOLDER + S3 + KEYS, "no credentials": WHOLE[: WHOLE.index("access")],
}  # fmt: skip
"""What an editor leaves for a moment."""


@pytest.mark.parametrize("cut", CUT.values(), ids=CUT)
def test_half_a_file_counts_for_nothing(file: Path, tmp_path: Path, cut: str | None) -> None:
    places = settled(file, tmp_path, WHOLE)
    stores, pace_days = dict(places.stores), dict(places.pace_days)
    assert list(stores) == ["local", "pili", "wingu"]
    for at_s in (10.0, 30.0):
        file.unlink() if cut is None else file.write_text(cut)
        assert not places.read(at_s) and not places.read(at_s + 0.5)
        file.write_text(WHOLE)
        file.chmod(0o600)
        assert not places.read(at_s + 10)
        assert (places.stores, places.pace_days) == (stores, pace_days)


@pytest.mark.parametrize("cut", CUT.values(), ids=CUT)
def test_a_work_process_that_starts_while_the_file_is_written_waits_for_it(
    file: Path, tmp_path: Path, cut: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(_: float) -> None:
        file.write_text(WHOLE)
        file.chmod(0o600)

    places = Places(Settings(data=tmp_path))
    file.unlink() if cut is None else file.write_text(cut)
    monkeypatch.setattr("mbashara.places.time.sleep", write)
    start(places)
    assert list(places.stores) == ["local"], "not half of them"
    write(0)
    at_s = time.monotonic()
    places.read(at_s + 10)
    places.read(at_s + 20)
    assert list(places.stores) == ["local", "pili", "wingu"] and places.is_settled


def test_a_file_that_was_written_long_ago_counts_when_a_work_process_starts(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text(WHOLE)
    places, at_s = Places(Settings(data=tmp_path)), time.time() + SETTLED_S + 1
    monkeypatch.setattr("mbashara.places.time.time", lambda: at_s)
    start(places)
    assert list(places.stores) == ["local", "pili", "wingu"]


def test_a_place_goes_when_the_file_names_it_no_more(file: Path, tmp_path: Path) -> None:
    places = settled(file, tmp_path, FOLDER)
    file.write_text(FOLDER.replace("pili", "tatu"))
    assert not places.read(60) and places.read(70)
    assert list(places.stores) == ["local", "tatu"] and places.pace_days.keys() == places.stores.keys()


@pytest.mark.parametrize("folder", ["/mnt/\\u0000", "{}/loop"])
def test_a_folder_that_can_be_none_stops_no_other(file: Path, tmp_path: Path, folder: str) -> None:
    """The copier reads the file first in its round: what raised there would end all copying."""
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    places = Places(Settings(data=tmp_path))
    file.write_text(FOLDER.replace("/mnt/pili", folder.format(tmp_path)))
    places.read(0)
    assert places.stores["local"] and places.pace_days.keys() == places.stores.keys()
    file.write_text(FOLDER)
    places.read(10)
    places.read(20)
    assert (list(places.stores), places.trouble) == (["local", "pili"], "")


def test_only_a_place_that_is_out_of_the_file_for_good_is_forgotten(file: Path, tmp_path: Path) -> None:
    """The work process must have read so first: it would want copies there again."""
    settings, asked = Settings(data=tmp_path), Namespace(name="pili", reason="imefungwa", even_so=True)
    file.write_text(FOLDER)
    with pytest.raises(UserError, match="pili is in use"):
        location_forget(settings, asked)
    file.write_text("")
    os.utime(file, (0, 0))  # as a file is that was written long ago and moved here now
    with pytest.raises(UserError, match="was changed just now: ask again in 30 seconds"):
        location_forget(settings, asked)
    file.unlink()
    with pytest.raises(UserError, match="there is no "):
        location_forget(settings, asked)


@pytest.mark.parametrize("cut", CUT.values(), ids=CUT)
def test_pages_are_not_told_half_a_file(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut: str | None
) -> None:
    """A place that is lacking in it would be told as forgotten, and copies there as none."""
    said, later_s, after_s = SaidPlaces(Settings(data=tmp_path)), time.time() + 60, time.monotonic() + 60
    file.unlink()
    assert said.names() == frozenset({"local"}), "there is no file"
    file.write_text(WHOLE)
    file.chmod(0o600)
    assert said.names() == frozenset({"local"})
    assert SaidPlaces(Settings(data=tmp_path)).names() is None, "it has not seen any other"
    monkeypatch.setattr("mbashara.places.time.time", lambda: later_s)
    whole = said.read()
    assert said.names() == frozenset({"local", "pili", "wingu"}), "as soon as it is old"
    monkeypatch.undo()
    file.unlink() if cut is None else file.write_text(cut)
    assert said.read() == whole
    monkeypatch.setattr("mbashara.places.time.monotonic", lambda: after_s)
    assert said.read() != whole, "whoever leaves it so means it"


def test_a_reading_of_a_location_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no location pilli"):
        fixity_run(Settings(data=tmp_path), Namespace(location="pilli", recording=None))


def test_days_are_listed_as_they_were_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "locations.toml").write_text(FOLDER + "fixity_days = 90\n" + FOLDER.replace("pili", "tatu"))
    location_list(Settings(data=tmp_path), Namespace(json=True))
    assert [str(one["fixity_days"]) for one in json.loads(capsys.readouterr().out)] == ["90", "90"]
