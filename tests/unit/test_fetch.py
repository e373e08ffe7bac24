"""What a location sends is taken only as far as papers signed by trusted keys say."""

from pathlib import Path

import pytest

from archive.recordings.fetch import FETCHING, fetch
from archive.recordings.locations.errors import Damaged, Missing
from archive.recordings.locations.folder import FolderStore
from archive.recordings.rebuild import UnknownKey
from archive.recordings.verify import verify
from tests.unit.recording_kit import ID, OTHER_ID, PUBLIC_KEY, make_recording


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_signed_recording_is_fetched_whole(tmp_path: Path) -> None:
    there = make_recording(tmp_path / "there")
    here = fetch(FolderStore("b", there.parent), ID, tmp_path / "here", {PUBLIC_KEY})
    assert names(here) == names(there) and verify(here, {PUBLIC_KEY}).is_whole


def test_what_no_trusted_key_signed_gets_neither_media_nor_a_name(tmp_path: Path) -> None:
    there = make_recording(tmp_path / "there")
    make_recording(there.parent, recording=OTHER_ID, is_signed=False)
    (there.parent / "01jdx00000000000000000000c").mkdir()
    (there.parent / "01jdx00000000000000000000c" / "ledger.jsonl").write_bytes((there / "ledger.jsonl").read_bytes())
    store, here = FolderStore("b", there.parent), tmp_path / "here"
    for recording_id, keys, refused in (
        (ID, {b"k" * 32}, UnknownKey),
        (OTHER_ID, {PUBLIC_KEY}, Damaged),
        ("01jdx00000000000000000000c", {PUBLIC_KEY}, Damaged),
    ):
        with pytest.raises(refused):
            fetch(store, recording_id, here, keys)
        assert not (here / recording_id).exists()
        assert names(here / f"{FETCHING}-{recording_id}") <= {"ledger.jsonl", "custody.jsonl", "signatures.jsonl"}


def test_a_file_longer_than_its_ledger_says_is_not_taken(tmp_path: Path) -> None:
    there = make_recording(tmp_path / "there")
    with (there / "source" / "1.m4s").open("ab") as file:
        file.truncate(1 << 40)
    with pytest.raises(Damaged, match="larger"):
        fetch(FolderStore("b", there.parent), ID, tmp_path / "here", {PUBLIC_KEY})
    staged = tmp_path / "here" / f"{FETCHING}-{ID}"
    assert not [name for name in names(staged) if name.endswith(".partial")]
    assert sum(path.stat().st_size for path in staged.rglob("*")) < 1 << 20


def test_nothing_is_left_of_what_is_missing_and_no_planted_link_is_followed(tmp_path: Path) -> None:
    there, victim = make_recording(tmp_path / "there"), tmp_path / "victim"
    victim.write_text("mine")
    staged = tmp_path / "here" / f"{FETCHING}-{ID}"
    staged.mkdir(parents=True)
    (staged / "ledger.jsonl.partial").symlink_to(victim)
    (there / "source" / "2.m4s").unlink()
    with pytest.raises(Missing):
        fetch(FolderStore("b", there.parent), ID, tmp_path / "here", {PUBLIC_KEY})
    assert victim.read_text() == "mine"
    assert not [name for name in names(staged) if name.endswith(".partial")]
