"""The store's door: one contract for a folder and for S3 (SeaweedFS), a folder's own ways, commands."""

import json
import os
import resource
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from archive.recordings.locations.check import check_location
from archive.recordings.locations.config import FolderLocation
from archive.recordings.locations.errors import (
    Conflict,
    Damaged,
    Full,
    Missing,
    SourceDamaged,
    StoreError,
    Unreachable,
    Unsupported,
)
from archive.recordings.locations.fetch import fetch_file
from archive.recordings.locations.folder import PARTIAL, FolderStore
from archive.recordings.locations.many import File, put_many
from archive.recordings.locations.store import Store
from mbashara.cli import main
from mbashara.data import account
from tests.live.store_kit import ADMIN, BIG, Weed, credentials, sha256
from tests.up import data_folder


@pytest.fixture
def folder(tmp_path: Path) -> FolderStore:
    (tmp_path / "pili").mkdir()
    return FolderStore("pili", tmp_path / "pili")


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest) -> Store:
    made: Store = request.getfixturevalue(request.param)
    return made


# The contract.


@pytest.mark.parametrize("data", [b"", b"x", os.urandom((1 << 20) + 1), BIG], ids=["empty", "byte", "segment", "parts"])
def test_what_is_put_comes_back_and_is_put_once(store: Store, data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "0.m4s"
    path.write_bytes(data)
    put = store.put_file("rec/v0/0.m4s", path, sha256(data))
    assert (put.size_bytes, put.was_there) == (len(data), False)
    again = store.put_file("rec/v0/0.m4s", path, sha256(data)), store.put_bytes("rec/v0/0.m4s", data, replace=True)
    assert [one.was_there for one in again] == [True, True]
    found = store.stat("rec/v0/0.m4s")
    assert (found.size_bytes, store.digest(found.key).sha256) == (len(data), sha256(data))
    assert sha256(data) in (found.sha256, found.stated_sha256) or isinstance(store, FolderStore)
    assert abs(datetime.now(UTC) - found.modified) < timedelta(minutes=1)
    assert b"".join(store.open("rec/v0/0.m4s")) == data
    assert [(one.key, one.size_bytes) for one in store.list()] == [("rec/v0/0.m4s", len(data))]


@pytest.mark.parametrize(("before", "after"), [(b"one", b"two"), (BIG, BIG[:-1] + b"!"), (BIG, b"x")])
def test_something_else_at_the_key_stays_unless_it_is_to_be_replaced(store: Store, before: bytes, after: bytes) -> None:
    store.put_bytes("rec/ledger.jsonl", before)
    with pytest.raises(Conflict, match=r"rec/ledger\.jsonl"):
        store.put_bytes("rec/ledger.jsonl", after)
    assert store.digest("rec/ledger.jsonl").sha256 == sha256(before)
    assert not store.put_bytes("rec/ledger.jsonl", after, replace=True).was_there
    assert store.digest("rec/ledger.jsonl").sha256 == sha256(after)


@pytest.mark.parametrize("data", [b"segment", BIG], ids=["whole", "parts"])
def test_a_file_that_is_damaged_here_is_not_put(store: Store, data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "0.m4s"
    path.write_bytes(data)
    with pytest.raises(SourceDamaged):
        store.put_file("rec/0.m4s", path, sha256(b"as it was"))
    with pytest.raises(SourceDamaged, match="No such file"):
        store.put_file("rec/0.m4s", tmp_path / "gone", sha256(data))
    assert list(store.list()) == [] and store.tidy(datetime.now(UTC) + timedelta(hours=1)) == 0


def test_deleting_and_what_is_missing(store: Store) -> None:
    store.put_bytes("rec/v0/0.m4s", b"x")
    store.put_bytes("rec/v1/0.m4s", b"x")
    store.delete("rec/v0/0.m4s")
    store.delete("rec/v0/0.m4s")
    assert [one.key for one in store.list()] == ["rec/v1/0.m4s"]
    for ask in (store.stat, store.digest, lambda key: next(store.open(key))):
        for key in ("rec/v0/0.m4s", "rec/v1", "other"):
            with pytest.raises(Missing):
                ask(key)


def test_listing_is_by_prefix_and_has_each_key_once(store: Store) -> None:
    keys = ["a/1", "a/10", "a/2", "a-b", "a.b", "a/b/c", "a/b.c", "b/1", "ab"]
    for key in keys:
        store.put_bytes(key, key.encode())
    assert sorted(one.key for one in store.list()) == sorted(keys)
    for prefix in ("a", "a/", "a/1", "a/b", "b/1", "c", "a/b/c/d"):
        assert sorted(one.key for one in store.list(prefix)) == sorted(key for key in keys if key.startswith(prefix))


@pytest.mark.parametrize(
    "key", ["", "/", "a/", "/a", "a//b", ".", "..", "a/../b", "a/./b", "a\\b", "a\nb", "a\0b", "x" * 256, "a/" * 600]
)  # fmt: skip
def test_a_key_that_could_mean_another_file_is_refused(store: Store, key: str, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    for ask in (store.stat, store.digest, store.delete, lambda key: store.put_bytes(key, b"x")):
        with pytest.raises(ValueError, match="no key"):
            ask(key)
    assert sorted(tmp_path.rglob("*")) == before


def test_many_at_once_and_one_error_stops_no_other(store: Store, tmp_path: Path) -> None:
    files = []
    for number in range(40):
        path = tmp_path / f"{number}.m4s"
        path.write_bytes(os.urandom(1000))
        files.append(File(f"rec/{number}", path, sha256(path.read_bytes() if number != 7 else b"other")))
    left = iter(files)
    results = put_many(store, left, workers=4)
    next(results)
    assert len(list(left)) >= 32, "no more than twice as many as workers are taken ahead"
    results.close()
    results = put_many(store, files, workers=4)
    errors = {file.key: put for file, put in results if isinstance(put, StoreError)}
    assert list(errors) == ["rec/7"] and isinstance(errors["rec/7"], SourceDamaged)
    assert len(list(store.list("rec/"))) == 39


def test_what_is_fetched_is_whole_and_right_or_nothing_changes(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "0.m4s"
    path.write_bytes(b"damaged")
    store.put_bytes("rec/0.m4s", BIG)
    for key, wanted, error in (("rec/0.m4s", sha256(b"other"), Damaged), ("rec/1.m4s", sha256(BIG), Missing)):
        with pytest.raises(error):
            fetch_file(store, key, path, wanted)
        assert path.read_bytes() == b"damaged" and [one for one in tmp_path.iterdir() if one.is_file()] == [path]
    assert fetch_file(store, "rec/0.m4s", path, sha256(BIG)) == len(BIG)
    assert path.read_bytes() == BIG


# A folder.


def test_a_folder_is_never_left_through_a_link(folder: FolderStore, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_bytes(b"mine")
    (tmp_path / "pili" / "folder").symlink_to(outside)
    (tmp_path / "pili" / "link").symlink_to(outside / "file")
    os.mkfifo(tmp_path / "pili" / "pipe")
    for key in ("folder/file", "link", "pipe"):
        with pytest.raises(Damaged):
            folder.stat(key)
        with pytest.raises((Damaged, Conflict)):
            folder.put_bytes(key, b"theirs")
    folder.put_bytes("link", b"theirs", replace=True)
    assert folder.digest("link").sha256 == sha256(b"theirs")
    assert [one.key for one in folder.list()] == ["link", "pipe"]
    assert (outside / "file").read_bytes() == b"mine" and list(outside.iterdir()) == [outside / "file"]


def test_a_folder_that_is_away_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    store = FolderStore("pili", tmp_path / "mnt" / "pili")
    for ask in (
        lambda: store.stat("a"),
        lambda: store.put_bytes("a", b"x"),
        lambda: list(store.list()),
        store.facilities,
    ):
        with pytest.raises(Unreachable, match=r"location pili: it can't be reached / haifikiki: .*/mnt/pili"):
            ask()
    assert not (tmp_path / "mnt").exists()


def test_a_bit_that_flips_in_a_folder_is_found_and_repaired(folder: FolderStore, tmp_path: Path) -> None:
    folder.put_bytes("rec/0.m4s", b"segment")
    (tmp_path / "pili/rec/0.m4s").write_bytes(b"sEgment")
    assert folder.digest("rec/0.m4s").sha256 != sha256(b"segment")
    with pytest.raises(Conflict):
        folder.put_bytes("rec/0.m4s", b"segment")
    assert not folder.put_bytes("rec/0.m4s", b"segment", replace=True).was_there
    assert folder.digest("rec/0.m4s").sha256 == sha256(b"segment")


def test_a_full_folder_says_so_and_keeps_nothing_half(folder: FolderStore, tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))  # what the system refuses here, it refuses there
    try:
        with pytest.raises(Full, match="location pili: it is full / imejaa"):
            folder.put_bytes("rec/0.m4s", bytes(200_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(folder.list()) == [] and list((tmp_path / "pili" / PARTIAL).iterdir()) == []


def test_what_a_killed_put_left_is_tidied(folder: FolderStore, tmp_path: Path) -> None:
    folder.put_bytes("a", b"x")
    (tmp_path / "pili" / PARTIAL / "left").write_bytes(b"half")
    assert folder.tidy(datetime.now(UTC) - timedelta(hours=1)) == 0
    assert folder.tidy(datetime.now(UTC) + timedelta(hours=1)) == 1
    assert [one.key for one in folder.list()] == ["a"]


def test_a_folder_holds_and_retains_nothing(folder: FolderStore, tmp_path: Path) -> None:
    folder.put_bytes("a", b"x")
    with pytest.raises(Unsupported):
        folder.set_hold("a", True)
    with pytest.raises(Unsupported):
        folder.retain("a", datetime.now(UTC))
    checked = check_location(folder, FolderLocation(name="pili", path=tmp_path / "pili"))
    assert checked.deletes and checked.facilities.free_bytes and not checked.facilities.object_lock
    assert [one.key for one in folder.list()] == ["a"]


# The commands.


def test_locations_are_listed_and_checked(
    weed: Weed, bucket: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MBASHARA_LOCATIONS_FILE", raising=False)
    with data_folder() as data:
        pili, secret = data / "pili", credentials(ADMIN).secret_access_key.get_secret_value()
        pili.mkdir(parents=True)
        pili.chmod(0o777)
        (data / "locations.toml").write_text(
            f'[[location]]\nname = "pili"\nkind = "folder"\npath = "{pili}"\n'
            f'[[location]]\nname = "haipo"\nkind = "folder"\npath = "{data}/haipo"\n'
            f'[[location]]\nname = "wingu"\nkind = "s3"\nbucket = "{bucket}"\nendpoint_url = "{weed.endpoint_url}"\n'
            f'credentials_file = "siri.toml"\nprefix = "amri"\n'
        )
        keys = data / "siri.toml"
        keys.write_text(f'access_key_id = "{ADMIN}"\nsecret_access_key = "{secret}"\n')
        keys.chmod(0o600)
        owner = account()
        if owner is not None:
            os.chown(keys, owner.user_id, owner.group_id)
        asked = ["--data", str(data)]
        assert main(["location", "list", "--json", *asked]) == 0
        listed = json.loads(capsys.readouterr().out)
        assert [one["where"] for one in listed] == [str(pili), f"{data}/haipo", f"{weed.endpoint_url} {bucket}/amri"]
        assert main(["location", "check", "--json", *asked]) == 2
        told = {one["name"]: one for one in json.loads(capsys.readouterr().out)}
        assert told["wingu"]["proof"] == "checksum" and told["wingu"]["checksums"] and told["wingu"]["error"] is None
        assert told["pili"]["proof"] == "read back" and told["pili"]["free_bytes"] > 0
        assert told["haipo"]["error"].startswith("location haipo: it can't be reached / haifikiki: ")
        assert main(["location", "check", "pili", *asked]) == 0
        assert main(["location", "check", "tatu", *asked]) == 2
        keys.chmod(0o644)
        assert main(["location", "check", "wingu", *asked]) == 2
        shown = capsys.readouterr()
        assert (
            "hakuna mahali tatu" in shown.err and "there is no location tatu" in shown.err and "chmod 600" in shown.err
        )
        assert secret not in str(listed) + str(told) + shown.out + shown.err
