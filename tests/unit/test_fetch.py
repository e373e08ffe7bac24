"""What a location sends is taken only as far as papers signed by trusted keys say."""

import itertools
from pathlib import Path

import pytest

from archive.recordings.fetch import FETCHING, fetch
from archive.recordings.inventory import check_files, lacking
from archive.recordings.ledger import CUSTODY_NAME, Ledger, make_fact
from archive.recordings.locations.errors import Damaged, Missing
from archive.recordings.locations.folder import FolderStore
from archive.recordings.rebuild import UnknownKey
from archive.recordings.recover import finish, unfinished
from archive.recordings.rows import MissingSpan
from archive.recordings.verify import verify
from tests.unit.encoded_kit import encode, record
from tests.unit.recording_kit import ID, OTHER_ID, PUBLIC_KEY, make_recording, sign


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_signed_recording_is_fetched_whole(tmp_path: Path) -> None:
    there = make_recording(tmp_path / "there")
    here = fetch(FolderStore("b", there.parent), ID, tmp_path / "here", {PUBLIC_KEY})
    assert names(here) == names(there) and verify(here, {PUBLIC_KEY}).is_whole


def test_what_was_cut_off_is_fetched_as_far_as_it_was_copied(tmp_path: Path) -> None:
    """Nobody ended it: that is no damage, and neither is what was told of and not copied yet."""
    there = make_recording(tmp_path / "there", is_over=False)
    (there / "source" / "5.m4s").unlink()
    here = fetch(FolderStore("b", there.parent), ID, tmp_path / "here", {PUBLIC_KEY})
    assert names(here) == names(there)
    assert [one.kind for one in verify(here, {PUBLIC_KEY}).findings] == ["no_end", "missing"]
    assert list(lacking(here)) == [MissingSpan(20_000, 24_000)]


def test_what_was_cut_off_and_fetched_is_ended_by_media(tmp_path: Path) -> None:
    """Its playlists are made of the files that came; one that did not come is told as missing."""
    there = record(tmp_path / "there", [(encode(tmp_path / "a.flv", 16), 0)])
    lines = (there / "ledger.jsonl").read_bytes().splitlines(keepends=True)
    on_air = itertools.takewhile(lambda line: b".m3u8" not in line, lines)
    (there / "ledger.jsonl").write_bytes(b"".join(on_air))
    Ledger(there, CUSTODY_NAME).append(make_fact("export", 0.0, agent="staff", outcome="success"))
    for playlist in there.glob("**/*.m3u8"):
        playlist.unlink()
    sign(there)
    (there / "source" / "1.m4s").unlink()
    here = fetch(FolderStore("b", there.parent), there.name, tmp_path / "here", {PUBLIC_KEY})
    (restored,) = unfinished(here.parent, tmp_path / "live", 0.0)
    finish(here, restored, "process ended", 0.0)
    assert {one.kind for one in verify(here, {PUBLIC_KEY}).findings} == {"missing", "unsigned_tail"}
    (lacks,) = check_files(here).missing
    assert lacks.started_ms > 0 and (here / "source" / "index.m3u8").exists()


def test_what_was_cut_off_as_its_papers_were_put_comes_as_far_as_it_is_signed(tmp_path: Path) -> None:
    """Signatures are put last, so a ledger may be there that says more than they do."""
    there = make_recording(tmp_path / "there", is_over=False)
    signed = (there / "ledger.jsonl").read_bytes()
    told = {"rendition": "source", "name": "source/6.m4s", "msn": 6, "from_ms": 24_000, "to_ms": 28_000}
    Ledger(there).append(make_fact("file", 0.0, **told, size=1, sha256="0" * 64))
    here = fetch(FolderStore("b", there.parent), ID, tmp_path / "here", {PUBLIC_KEY})
    assert (here / "ledger.jsonl").read_bytes() == signed
    assert [one.kind for one in verify(here, {PUBLIC_KEY}).findings] == ["no_end"]


def test_an_end_that_nobody_signed_is_no_cut(tmp_path: Path) -> None:
    there = make_recording(tmp_path / "there", is_over=False)
    Ledger(there).append(make_fact("ended", 0.0, duration_ms=24_000, size_bytes=1, reason="unpublished"))
    with pytest.raises(Damaged):
        fetch(FolderStore("b", there.parent), ID, tmp_path / "here", {PUBLIC_KEY})


@pytest.mark.parametrize("name", ["source/2.m4s", "ledger.jsonl"])
def test_what_was_cut_off_and_damaged_is_damaged(tmp_path: Path, name: str) -> None:
    there = make_recording(tmp_path / "there", is_over=False)
    data = bytearray((there / name).read_bytes())
    data[-9] ^= 1
    (there / name).write_bytes(data)
    with pytest.raises(Damaged):
        fetch(FolderStore("b", there.parent), ID, tmp_path / "here", {PUBLIC_KEY})
    assert not (tmp_path / "here" / ID).exists()


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
