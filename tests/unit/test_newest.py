"""What papers have grown by since they were put whole: a rebuild has it too, if it proves itself."""

import json
import shutil
from pathlib import Path

import pytest

from archive.recordings import copies, fetch, newest, verify
from archive.recordings.copies import Copied
from archive.recordings.ledger import Ledger, make_fact
from archive.recordings.locations.folder import FolderStore
from archive.recordings.verify import CUSTODY_NAME, LEDGER_NAME, NEWEST_NAME, PAPERS, SIGNATURES_NAME
from mbashara import copying
from mbashara.settings import Settings
from tests.unit import recording_kit
from tests.unit.recording_kit import ID, ORIGIN_MS, PUBLIC_KEY


class There:
    """A broadcast on the air, and a place that has its papers as they were put once, and all media."""

    def __init__(self, folder: Path) -> None:
        self.here = recording_kit.make_recording(folder / "here", is_over=False)
        self.place = folder / "there" / ID
        self.back = folder / "back"
        self.back.mkdir()
        shutil.copytree(self.here, self.place)
        self.store = FolderStore("pili", folder / "there")
        self.newest = self.place / NEWEST_NAME

    def goes_on(self, msn: int) -> None:
        span = {"msn": msn, "from_ms": msn * 4000, "to_ms": msn * 4000 + 4000}
        recording_kit._add(
            Ledger(self.here), self.here, "source", f"{msn}.m4s", b"media", ORIGIN_MS + 4000 * msn, **span
        )
        shutil.copy(self.here / f"source/{msn}.m4s", self.place / f"source/{msn}.m4s")

    def put_whole(self) -> None:
        for name in PAPERS:
            shutil.copy(self.here / name, self.place / name)

    def follow(self, copied_bytes: int | None = None) -> None:
        whole = (self.here / LEDGER_NAME).stat().st_size
        newest.follow(self.store, self.here, whole if copied_bytes is None else copied_bytes)

    def fetched(self) -> tuple[list[str], set[str]]:
        """The last two files that its ledger lists, and what is wrong with it."""
        folder = fetch.fetch(self.store, ID, self.back, {PUBLIC_KEY})
        found = verify.verify(folder, {PUBLIC_KEY})
        assert not (folder / NEWEST_NAME).exists()
        files = [*verify.listed_files(verify.read_chain(folder / LEDGER_NAME))][-2:]
        shutil.rmtree(folder)
        return files, {one.kind for one in found.findings}


@pytest.fixture
def there(tmp_path: Path) -> There:
    one = There(tmp_path)
    one.goes_on(6)
    Ledger(one.here, CUSTODY_NAME).append(make_fact("hold placed", ORIGIN_MS, agent="Asha", outcome="success", hold=1))
    recording_kit.sign(one.here)
    one.goes_on(7)
    return one


PUT, SIGNED = ["source/5.m4s", "source-audio/5.m4s"], ["source-audio/5.m4s", "source/6.m4s"]


def test_what_was_signed_since_comes_back_and_no_more(there: There) -> None:
    assert there.fetched() == (PUT, {verify.NO_END})
    there.follow()
    assert there.fetched() == (SIGNED, {verify.NO_END})
    recording_kit.sign(there.here)
    there.follow()
    assert there.fetched() == (["source/6.m4s", "source/7.m4s"], {verify.NO_END})
    assert b"hold placed" in there.newest.read_bytes()


def test_papers_that_were_put_whole_meanwhile_are_gone_on_from(there: There) -> None:
    there.follow()
    shutil.copy(there.here / LEDGER_NAME, there.place / LEDGER_NAME)  # a put that was killed before the signatures
    assert there.fetched() == (SIGNED, {verify.NO_END})
    there.put_whole()
    assert there.fetched() == (SIGNED, {verify.NO_END})


def test_an_end_that_is_not_in_the_papers_there_yet_is_kept_until_it_is(there: There) -> None:
    Ledger(there.here).append(make_fact("ended", ORIGIN_MS + 40_000, duration_ms=32_000, size_bytes=1, reason="over"))
    recording_kit.sign(there.here)
    there.follow()
    assert there.fetched() == (["source/6.m4s", "source/7.m4s"], set())
    there.put_whole()
    there.follow()
    assert not there.newest.exists()


@pytest.mark.parametrize(
    "harm",
    [
        "changed",
        "garbage",
        "later",
        "unsigned",
        "another's",
        "outside",
        "deep",
        "endless",
        "before",
        "long name",
        "large",
    ],
)
def test_what_does_not_prove_itself_is_left(
    there: There, harm: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there.follow()
    told = json.loads(there.newest.read_text())
    match harm:
        case "changed":
            told[LEDGER_NAME]["text"] = told[LEDGER_NAME]["text"].replace('"msn":6', '"msn":9')
        case "garbage":
            told = ["x"]
        case "later":
            told[LEDGER_NAME]["from"] += 1
        case "unsigned":
            del told[SIGNATURES_NAME]
        case "another's":
            other = recording_kit.make_recording(tmp_path / "other", recording=recording_kit.OTHER_ID, seed=2)
            told = {name: {"from": 0, "text": (other / name).read_text()} for name in PAPERS}
        case "outside":
            told = {"../x": {"from": 0, "text": "x"}}
        case "endless":
            told[LEDGER_NAME]["from"] = float("inf")
        case "before":
            told[LEDGER_NAME]["from"] = -5
        case "long name":
            told = {"x" * 5000: {"from": 0, "text": "x"}}
    there.newest.write_text("[" * 100_000 if harm == "deep" else json.dumps(told))
    if harm == "large":
        monkeypatch.setattr(newest, "MAX_BYTES", there.newest.stat().st_size - 1, raising=False)
    assert there.fetched() == (PUT, {verify.NO_END})
    assert not (there.back / "x").exists()


def test_it_is_no_foreign_file(there: There) -> None:
    there.follow()
    Ledger(there.here).append(make_fact("ended", ORIGIN_MS + 40_000, duration_ms=32_000, size_bytes=1, reason="over"))
    recording_kit.sign(there.here)
    there.put_whole()
    assert there.newest.exists() and not verify.verify(there.place, {PUBLIC_KEY}).findings


@pytest.mark.parametrize("what", ["initialization", "end"])
@pytest.mark.parametrize("is_whole", [False, True])
def test_what_is_signed_but_not_copied_yet_keeps_nothing_from_coming_back(
    there: There, what: str, is_whole: bool
) -> None:
    copied_bytes = (there.here / LEDGER_NAME).stat().st_size
    recording_kit.sign(there.here)
    recording_kit._add(Ledger(there.here), there.here, "source", "init-1.mp4", b"init", ORIGIN_MS + 31_000)
    if what == "end":
        over = make_fact("ended", ORIGIN_MS + 40_000, duration_ms=32_000, size_bytes=1, reason="over")
        Ledger(there.here).append(over)
    recording_kit.sign(there.here)
    if is_whole:
        turn = copies.Turn(ID, "pili", copied_bytes, copied_bytes, True, 0)
        assert copies.copy_files(there.store, there.here.parent, turn).papers
    else:
        there.follow(copied_bytes)
    assert there.fetched() == (["source/6.m4s", "source/7.m4s"], {verify.NO_END})


def test_as_long_as_no_papers_are_there_nothing_goes_on_from_them(there: There) -> None:
    for name in PAPERS:
        (there.place / name).unlink()
    there.follow()
    assert not there.newest.exists()


def test_a_place_is_asked_once_for_each_signature_that_is_copied(there: There, monkeypatch: pytest.MonkeyPatch) -> None:
    """Copies go on with each segment."""
    asked: list[int] = []
    monkeypatch.setattr(newest, "follow", lambda store, folder, end: asked.append(end))
    copier = copying.Copier(Settings(data=there.here.parent), None, None)  # type: ignore[arg-type]
    monkeypatch.setattr(type(copier.settings), "recordings", there.here.parent)
    sizes = [(there.here / LEDGER_NAME).stat().st_size]
    for msn in (8, 9):
        there.goes_on(msn)
        sizes.append((there.here / LEDGER_NAME).stat().st_size)
    for end in sizes:
        copier.follow(there.store, ID, Copied(end, 1, 5, 5, 0, False))
    assert len(asked) == 1
    recording_kit.sign(there.here)
    for end in (sizes[1], sizes[2], sizes[2] + 100):
        copier.follow(there.store, ID, Copied(end, 1, 5, 5, 0, False))
    assert asked[1:] == [sizes[2]], "the first of these is not copied yet"
    copier.follow(there.store, ID, Copied(sizes[2], 0, 0, 0, 0, True))
    assert len(asked) == 3, "papers were put whole"
