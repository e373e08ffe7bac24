"""The store's door: one contract for a folder and for S3 (SeaweedFS), and what each does when its place fails it."""

import base64
import dataclasses
import hashlib
import json
import os
import resource
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Literal

import pytest

from archive.recordings.fixity import Examination
from archive.recordings.judge import Judgement, judge
from archive.recordings.locations.check import check_location
from archive.recordings.locations.config import FolderLocation
from archive.recordings.locations.errors import (
    Conflict,
    Damaged,
    Full,
    Locked,
    Missing,
    Refused,
    SourceDamaged,
    StoreError,
    Unreachable,
    Unsupported,
)
from archive.recordings.locations.fetch import fetch_file
from archive.recordings.locations.folder import PARTIAL, FolderStore
from archive.recordings.locations.many import File, put_many
from archive.recordings.locations.s3 import LEARN_AFTER, S3Store
from archive.recordings.locations.s3_client import Limits
from archive.recordings.locations.store import Proof, Store
from archive.recordings.repair import examine_all
from archive.recordings.resolve_plan import Carried, Plan, carry_out, make_plan, read_plan
from archive.recordings.verify import hash_file
from mbashara.cli import main
from mbashara.data import account
from tests.live.store_kit import ADMIN, PARTNER, Answer, Asked, OldServer, Weed, credentials, old_server, refusal
from tests.unit.recording_kit import ID, PUBLIC_KEY, make_recording
from tests.up import data_folder

PART = 5 << 20  # S3's smallest
LIMITS = Limits(multipart_bytes=PART, page_keys=3)
TWICE = Limits(connect_timeout_s=30, read_timeout_s=30, attempts=2)
IMPATIENT = dataclasses.replace(TWICE, read_timeout_s=0.2)
BIG = os.urandom(2 * PART + 12345)
_NUMBERS = count()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture(scope="module")
def bucket(weed: Weed) -> str:
    weed.make_bucket("kumbukumbu")
    return "kumbukumbu"


@pytest.fixture
def s3(weed: Weed, bucket: str) -> Iterator[S3Store]:
    with closing(S3Store(weed.location(bucket, prefix=f"jaribio-{next(_NUMBERS)}"), LIMITS)) as store:
        yield store


@pytest.fixture
def folder(tmp_path: Path) -> FolderStore:
    (tmp_path / "pili").mkdir()
    return FolderStore("pili", tmp_path / "pili")


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest) -> Store:
    made: Store = request.getfixturevalue(request.param)
    return made


@pytest.fixture
def old() -> Iterator[OldServer]:
    with old_server() as server:
        yield server


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


# S3, the real server.


def test_what_seaweed_proves(s3: S3Store, weed: Weed, bucket: str) -> None:
    assert {s3.put_bytes("a", b"x").proof, s3.put_bytes("b", BIG).proof} == {Proof.CHECKSUM}
    assert s3.stat("a").sha256 == sha256(b"x") and s3.stat("b").sha256 is None, "of parts S3 keeps only a composite"
    checked = check_location(s3, weed.location(bucket))
    assert checked.deletes and checked.facilities.checksums and checked.facilities.conditional_puts
    assert not checked.facilities.object_lock and not checked.facilities.versioning
    assert [one.key for one in s3.list()] == ["a", "b"]


def test_a_copy_that_has_learned_still_writes_over_nothing(s3: S3Store) -> None:
    for number in range(LEARN_AFTER + 2):
        s3.put_bytes(f"rec/{number}", b"%d" % number)
    with pytest.raises(Conflict):
        s3.put_bytes("rec/1", b"other")
    assert s3.put_bytes("rec/1", b"1").was_there and s3.digest("rec/1").sha256 == sha256(b"1")
    assert s3.facilities().checksums, "a damaged body is refused with its own signature left out too"


def test_a_location_sees_only_what_is_below_its_prefix(s3: S3Store, weed: Weed, bucket: str) -> None:
    s3.put_bytes("a", b"x")
    with closing(S3Store(weed.location(bucket))) as whole:
        assert "a" not in {one.key for one in whole.list()}
        assert any(one.key.startswith("jaribio-") and one.key.endswith("/a") for one in whole.list())


@pytest.mark.parametrize("who", ["unknown", "wrong secret", "of another bucket"])
def test_who_may_not_is_refused_and_no_secret_is_told(weed: Weed, bucket: str, who: str) -> None:
    held = credentials(PARTNER if who == "of another bucket" else ADMIN)
    key, secret = held.access_key_id.get_secret_value(), held.secret_access_key.get_secret_value()
    key, secret = ("mgeni" if who == "unknown" else key), (secret[::-1] if who == "wrong secret" else secret)
    location = weed.location(bucket, credentials={"access_key_id": key, "secret_access_key": secret})
    with closing(S3Store(location)) as store:
        for ask in (lambda: store.put_bytes("a", b"x"), lambda: store.stat("a"), lambda: list(store.list())):
            with pytest.raises(Refused, match="location wingu: it does not let us in / haituruhusu") as refused:
                ask()
            assert secret not in str(refused.value) + repr(refused.value) + repr(location)


def test_a_bucket_that_is_away_is_not_taken_for_an_empty_one(weed: Weed) -> None:
    with closing(S3Store(weed.location("haipo"))) as store:
        for ask in (lambda: store.stat("a"), lambda: store.put_bytes("a", b"x"), lambda: list(store.list())):
            with pytest.raises(Unreachable, match=r"bucket"):
                ask()


def test_an_upload_that_a_kill_left_is_tidied(s3: S3Store, bucket: str) -> None:
    client, key = s3._client, s3._at("rec/big.mp4")
    client.create_multipart_upload(**key)
    assert s3.tidy(datetime.now(UTC) - timedelta(hours=1)) == 0
    assert s3.tidy(datetime.now(UTC) + timedelta(hours=1)) == 1
    assert not client.list_multipart_uploads(Bucket=bucket, Prefix=s3._prefix).get("Uploads")


def test_locked_and_held_objects_can_not_be_deleted(weed: Weed) -> None:
    weed.make_bucket("imefungwa", object_lock=True)
    location = weed.location("imefungwa", lock_days=30)
    with closing(S3Store(location, LIMITS)) as store:
        checked = check_location(store, location)
        assert checked.facilities.object_lock and checked.facilities.versioning and checked.deletes
        for key, data in (("small", b"x"), ("big", BIG)):
            store.put_bytes(key, data)
            until = store.retained_until(key)
            assert until and abs(until - datetime.now(UTC) - timedelta(days=30)) < timedelta(minutes=5)
        store.put_bytes("ledger.jsonl", b"1", lock=False)
        store.set_hold("ledger.jsonl", True)
        store.put_bytes("ledger.jsonl", b"12", lock=False, replace=True)  # the older version is the held one
        for key in ("small", "big", "ledger.jsonl"):
            with pytest.raises(Locked, match=f"it is locked there / imefungwa huko: {key}"):
                store.delete(key)
            store.stat(key)
        store.put_bytes("held", b"x", lock=False)
        store.set_hold("held", True)
        assert store.is_held("held")
        store.set_hold("held", False)
        store.delete("held")
        store.put_bytes("later", b"x", lock=False)
        store.retain("later", datetime.now(UTC) + timedelta(days=1))
        assert store.retained_until("later") and not store.is_held("later")
        with pytest.raises(Missing):
            store.set_hold("nothing", True)


def test_of_a_foreign_file_each_version_is_shown_before_it_is_removed(weed: Weed, tmp_path: Path) -> None:
    """An order names them all, and removes none that it did not."""
    weed.make_bucket("matoleo", object_lock=True)
    made = make_recording(tmp_path / "local")
    (tmp_path / "scratch").mkdir()
    local = FolderStore("local", tmp_path / "local")
    with closing(S3Store(weed.location("matoleo"))) as store:
        for path in (one for one in made.rglob("*") if one.is_file()):
            store.put_file(f"{ID}/{path.relative_to(made)}", path, hash_file(path))
        stray, contents = f"{ID}/source/stray.txt", (b"first", b"second", b"third")
        for data in contents[:2]:
            store.put_bytes(stray, data, replace=True)
        assert [one.sha256 for one in store.former(stray)] == [sha256(b"first")] and local.former(f"{ID}/x") == ()
        stores: dict[str, Store] = {"local": local, "wingu": store}

        def looked() -> tuple[Judgement, dict[str, Examination], Path, str]:
            judgement = judge(stores, ID, {PUBLIC_KEY})
            return judgement, examine_all(stores, judgement), tmp_path / "scratch", "wingu"

        def carried(plan: Plan) -> Carried:
            judgement, found, scratch, location = looked()
            return carry_out(stores, judgement, found, scratch, plan, location)

        plan = read_plan(json.loads(json.dumps(make_plan(stores, *looked()).to_json())))
        (entry,) = plan.removed
        assert entry.sha256s == {sha256(b"first"), sha256(b"second")} and entry.former[0]["size_bytes"] == 5
        store.put_bytes(stray, contents[2], replace=True)
        came = carried(plan)
        assert came.removed == [] and len(came.failed) == 1 and store.digest(stray).sha256 == sha256(b"third")
        assert len(store.former(stray)) == 2, "the two that were ordered away neither"
        assert carried(make_plan(stores, *looked())).removed == ["source/stray.txt"]
        assert store._versions(stray) == ()


def test_a_bucket_that_keeps_versions_only_since_later_keeps_none_that_was_removed(weed: Weed) -> None:
    weed.make_bucket("baadaye")
    with closing(S3Store(weed.location("baadaye"))) as store:
        store.delete("rec/nothing")
        store.put_bytes("rec/0", b"first")
        store._client.put_bucket_versioning(Bucket="baadaye", VersioningConfiguration={"Status": "Enabled"})
        store.put_bytes("rec/0", b"second", replace=True)
        store._client.delete_object(Bucket="baadaye", Key="rec/1")
        assert store.keys("rec/") == {"rec/0"}, "it was not asked again yet"
        store.delete("rec/0")
        assert store._versions("rec/0") == () and store.keys("rec/") == {"rec/1"} and not list(store.list("rec/"))
        store.delete("rec/1")
        assert store.keys("rec/") == set()


def test_a_lock_where_the_bucket_has_none_is_told(s3: S3Store, weed: Weed, bucket: str) -> None:
    location = weed.location(bucket, lock_days=1)
    s3.put_bytes("a", b"x")
    with closing(S3Store(location)) as store:
        for ask in (lambda: store.put_bytes("locked", b"x"), lambda: check_location(store, location)):
            with pytest.raises(Unsupported, match="no object lock"):
                ask()
    with pytest.raises(Unsupported, match="no object lock"):
        s3.set_hold("a", True)
    with pytest.raises(Unsupported, match="no object lock"):
        s3.retain("a", datetime.now(UTC) + timedelta(days=1))
    assert not s3.is_held("a") and s3.retained_until("a") is None


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


# S3, a server of the old kind, and one that fails.


def test_what_a_put_says_to_the_server(old: OldServer) -> None:
    now = datetime(2026, 11, 28, tzinfo=UTC)
    with closing(S3Store(old.location(lock_days=10, lock_mode="compliance"), now=lambda: now)) as store:
        store.put_bytes("rec/0.m4s", b"segment")
    (put,) = old.of("PUT")
    assert (put.path, put.body) == ("/kumbukumbu/rec/0.m4s", b"segment")
    told = {name: put.headers[name] for name in put.headers if name.startswith(("x-amz-checksum", "x-amz-obj", "if-"))}
    assert told == {
        "x-amz-checksum-sha256": base64.b64encode(hashlib.sha256(b"segment").digest()).decode(),
        "x-amz-object-lock-mode": "COMPLIANCE",
        "x-amz-object-lock-retain-until-date": "2026-12-08T00:00:00Z",
        "if-none-match": "*",
    }
    assert put.headers["x-amz-meta-sha256"] == sha256(b"segment")
    assert "expect" not in put.headers and credentials(ADMIN).secret_access_key.get_secret_value() not in str(put)


def test_a_server_without_checksums_and_conditions_is_read_back(old: OldServer) -> None:
    old.fault = lambda asked: refusal(501, "NotImplemented") if "if-none-match" in asked.headers else False
    with closing(S3Store(old.location())) as store:
        for number in range(LEARN_AFTER + 2):
            assert store.put_bytes(f"rec/{number}", b"segment").proof is Proof.READ_BACK
        assert store.put_bytes("rec/1", b"segment").was_there
        with pytest.raises(Conflict):
            store.put_bytes("rec/1", b"segmenT")
        assert [one.path for one in old.of("PUT")].count("/kumbukumbu/rec/1") == 1, "501 was learned with the first"
        old.fault = lambda _: False
        assert not store.facilities().checksums and not store.facilities().conditional_puts


def test_a_body_that_arrives_damaged_is_told_and_removed(old: OldServer) -> None:
    def spoil(asked: Asked) -> Answer | Literal[False] | None:
        if asked.method != "PUT":
            return False
        old.objects[asked.path] = asked.body[:-1] + b"?"
        return Answer(headers={"ETag": '"x"'})

    old.fault = spoil
    with closing(S3Store(old.location())) as store, pytest.raises(Damaged, match=r"rec/0\.m4s: not what was sent"):
        store.put_bytes("rec/0.m4s", b"segment")
    assert old.objects == {}


def test_an_answer_that_is_lost_makes_no_conflict(old: OldServer) -> None:
    """The first try was taken, its answer lost; the second finds what is there already."""

    def lose(asked: Asked) -> Answer | Literal[False] | None:
        if asked.method != "PUT":
            return False
        if asked.path in old.objects:
            return refusal(412, "PreconditionFailed")
        old.objects[asked.path] = asked.body
        return None

    old.fault = lose
    with closing(S3Store(old.location())) as store:
        assert store.put_bytes("rec/0.m4s", b"segment").size_bytes == 7
    assert len(old.of("PUT")) == 2


HANGS_S = 20


def _hang(old: OldServer) -> Answer:
    old.closing.wait(HANGS_S)
    return Answer(500)


@pytest.mark.parametrize(
    ("answer", "kind", "told"),
    [
        (lambda _: refusal(500, "InternalError"), Unreachable, "500 InternalError"),
        (lambda _: refusal(503, "SlowDown"), Unreachable, "503 SlowDown"),
        (lambda _: None, Unreachable, "."),
        (_hang, Unreachable, "timeout"),
        (lambda _: refusal(507, "InsufficientStorage"), Full, "it is full / imejaa"),
        (lambda _: refusal(507, "XMinioStorageFull"), Full, "it is full / imejaa"),
        (lambda _: refusal(403, "QuotaExceeded"), Full, "it is full / imejaa"),
        (lambda _: refusal(403, "RequestTimeTooSkewed", "clocks differ"), Refused, "clocks differ"),
        (lambda _: refusal(400, "BadDigest"), Damaged, "400 BadDigest"),
        (lambda _: refusal(400, "MalformedXML", "line\nbreak"), StoreError, "the store refuses .* line break"),
    ],
)  # fmt: skip
def test_a_put_to_a_server_that_fails_ends_soon_with_a_clear_line(
    old: OldServer, answer: Callable[[OldServer], Answer | None], kind: type[StoreError], told: str
) -> None:
    old.fault = lambda asked: answer(old) if asked.method == "PUT" else False
    began, limits = time.monotonic(), IMPATIENT if answer is _hang else TWICE
    with closing(S3Store(old.location(), limits)) as store, pytest.raises(kind, match=told) as failed:
        store.put_bytes("rec/0.m4s", b"segment")
    assert type(failed.value) is kind and "\n" not in str(failed.value)
    assert len(old.of("PUT")) <= TWICE.attempts
    assert time.monotonic() - began < HANGS_S


def test_nobody_at_the_address(old: OldServer) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        location = old.location(endpoint_url=f"http://127.0.0.1:{nobody.getsockname()[1]}")
        with closing(S3Store(location, TWICE)) as store, pytest.raises(Unreachable, match="location zamani"):
            store.put_bytes("a", b"x")


UPLOADED = b"<CompleteMultipartUploadResult><ETag>x</ETag></CompleteMultipartUploadResult>"


@pytest.mark.parametrize(
    ("ended", "told"),
    [
        (b"\n <Error><Code>InternalError</Code></Error>", "CompleteMultipartUpload: 500 InternalError"),
        (b"  ", "CompleteMultipartUpload: 500"),
        (UPLOADED, r"rec/0\.mp4: it is not there, though it was taken"),
    ],
    ids=["an error", "nothing", "a lie"],
)  # fmt: skip
def test_an_upload_that_ends_with_200_is_not_believed(old: OldServer, ended: bytes, told: str) -> None:
    def answer(asked: Asked) -> Answer | Literal[False]:
        if asked.method == "POST":
            begun = b"<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>"
            return Answer(body=begun if asked.query == "uploads" else ended)
        return Answer(headers={"ETag": '"x"'}) if "uploadId" in asked.query else False

    old.fault = answer
    limits = dataclasses.replace(TWICE, multipart_bytes=PART)
    with closing(S3Store(old.location(), limits)) as store, pytest.raises(Unreachable, match=told):
        store.put_bytes("rec/0.mp4", BIG)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (Answer(body=b"seg", length=7), "rec"),
        (Answer(body=b"<html>", headers={"content-type": "text/html"}), "rec"),
    ],
    ids=["breaks off", "no S3 at all"],
)  # fmt: skip
def test_reading_from_a_server_that_fails(old: OldServer, answer: Answer, told: str) -> None:
    old.fault = lambda _: answer
    with closing(S3Store(old.location(), TWICE)) as store, pytest.raises(Unreachable, match=told):
        print(store.digest("rec/0") if answer.length else list(store.list("rec")))
