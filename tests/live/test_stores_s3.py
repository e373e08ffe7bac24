"""An S3 store on a real server (SeaweedFS): what it proves, who may, what its buckets keep."""

import json
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from archive.recordings.fixity import Examination
from archive.recordings.judge import Judgement, judge
from archive.recordings.locations.check import check_location
from archive.recordings.locations.errors import Conflict, Locked, Missing, Refused, Unreachable, Unsupported
from archive.recordings.locations.folder import FolderStore
from archive.recordings.locations.s3 import LEARN_AFTER, S3Store
from archive.recordings.locations.store import Proof, Store
from archive.recordings.repair import examine_all
from archive.recordings.resolve_plan import Carried, Plan, carry_out, make_plan, read_plan
from archive.recordings.verify import hash_file
from core.ids import ulid
from tests.live.store_kit import ADMIN, BIG, LIMITS, PARTNER, Weed, credentials, sha256
from tests.unit.recording_kit import ID, PUBLIC_KEY, make_recording


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
    client, key = s3._client, s3._at(f"{ulid(0, bytes(10))}/big.mp4")
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
