"""Exports of real recordings: what PyAV reads of them is what was sent, in time with itself, and honest about gaps."""

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import av
import pytest

from archive.recordings import certificates, export_credentials
from archive.recordings.export import AlreadyThere, Damaged, Exported, NoRoom, TimeUp, export
from archive.recordings.export_credentials import Described, Standing
from archive.recordings.export_plan import FILE_MISSING, Destroyed, NothingThere, Range
from archive.recordings.ledger import CUSTODY_NAME, Ledger, make_fact
from archive.recordings.samples import Stopped, ledger_head
from mbashara.cli.recordings import why_not
from tests.unit.encoded_kit import START_MS, encode, ffmpeg, record

NOW = datetime(2026, 11, 28, 9, tzinfo=UTC)
Times = dict[bytes, float]


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("sent")
    return [
        encode(folder / "first.flv", 8),
        encode(folder / "again.flv", 4, seed=2),
        encode(folder / "larger.flv", 3, size="480x270", seed=3),
    ]


@pytest.fixture(scope="module")
def recording(sent: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder that is lost twice: it comes back as it was, and then with a larger picture."""
    return record(tmp_path_factory.mktemp("recording"), [(sent[0], 0), (sent[1], 3), (sent[2], 2)])


@pytest.fixture
def copy(recording: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(recording, tmp_path / recording.name))


def packets(path: Path, kind: str) -> Times:
    """When each packet is shown, in seconds, by its bytes."""
    with av.open(str(path)) as media:
        stream = next(one for one in media.streams if one.type == kind)
        return {
            bytes(one): float(one.pts * one.time_base)
            for one in media.demux(stream) if one.pts is not None and one.time_base is not None
        }  # fmt: skip


def shift_s(path: Path, source: Path, kind: str) -> tuple[float, float]:
    """The least and the most that packets of `source` are moved in `path`."""
    here, there = packets(path, kind), packets(source, kind)
    moved = [here[one] - there[one] for one in here if one in there]
    assert moved
    return min(moved), max(moved)


def decoded(path: Path) -> int:
    """How many pictures there are; PyAV raises where one is broken."""
    with av.open(str(path)) as media:
        return sum(1 for _ in media.decode(video=0))


def test_a_whole_recording_is_what_was_sent_without_its_gaps(recording: Path, sent: list[Path], tmp_path: Path) -> None:
    told: list[float] = []
    made = export(recording, tmp_path / "all.mp4", progress=told.append)
    first, second = made.files
    assert (first.path.name, second.path.name) == ("all.mp4", "all-2.mp4"), "another size begins another file"
    assert (decoded(first.path), decoded(second.path)) == (12 * 25, 3 * 25)
    assert [*packets(first.path, "video")] == [*packets(sent[0], "video"), *packets(sent[1], "video")]
    for source in sent[:2]:
        shifts = [*shift_s(first.path, source, "video"), *shift_s(first.path, source, "audio")]
        assert max(shifts) - min(shifts) < 0.002, "picture and sound are together as they were sent"
    assert [gap.cause for gap in made.gaps] == ["feed lost", "feed lost"]
    assert first.duration_ms == pytest.approx(12_000, abs=60)
    assert sum(one.to_ms - one.from_ms for one in first.pieces) == pytest.approx(first.duration_ms, abs=2)
    assert (told, told[-1]) == (sorted(told), 1.0)
    assert first.path.read_bytes().find(b"moov") < first.path.read_bytes().find(b"mdat"), (
        "it plays from its first bytes"
    )
    assert sorted(one.name for one in tmp_path.iterdir()) == ["all-2.mp4", "all.mp4"]


@pytest.mark.parametrize(
    ("asked", "from_ms", "to_ms"),
    [
        (Range(3100, 5000), 2080, 5000),
        (Range(None, 1000), 80, 1000),
        (Range(6500, 13_000), 6080, 13_000),
        (Range(9000, 13_000), 11_000, 13_000),
    ],
)
def test_a_stretch_begins_at_the_keyframe_before(
    recording: Path, tmp_path: Path, asked: Range, from_ms: int, to_ms: int
) -> None:
    made = export(recording, tmp_path / "part.mp4", asked=asked)
    assert (made.asked, made.origin_ms) == (asked, START_MS)
    assert made.got.from_ms == pytest.approx(from_ms, abs=200)
    assert made.got.to_ms is not None and 0 <= made.got.to_ms - to_ms < 160, "no picture without those it is made of"
    (file,) = made.files
    assert decoded(file.path) == len(packets(file.path, "video")) == pytest.approx(file.duration_ms / 40, abs=1)
    assert len(made.gaps) == (asked == Range(6500, 13_000)), "across a gap there is no going back"


def test_sound_alone(recording: Path, sent: list[Path], tmp_path: Path) -> None:
    made = export(recording, tmp_path / "sound.m4a", only_sound=True)
    (file,) = made.files
    assert (made.video, made.sound, len(made.gaps)) == (None, "source-audio", 2)
    heard = packets(file.path, "audio")
    assert all(len(heard.keys() & packets(one, "audio").keys()) > len(packets(one, "audio")) - 8 for one in sent)
    assert file.duration_ms == pytest.approx(15_000, abs=150)


def test_where_only_the_picture_is_lacking_the_sound_goes_on(copy: Path, sent: list[Path], tmp_path: Path) -> None:
    (copy / "source/1.m4s").unlink()
    made = export(copy, tmp_path / "a.mp4", asked=Range(0, 8000))
    assert made.gaps == ()
    shifts = [*shift_s(tmp_path / "a.mp4", sent[0], "video"), *shift_s(tmp_path / "a.mp4", sent[0], "audio")]
    assert max(shifts) - min(shifts) < 0.002
    (copy / "source-audio/1.m4s").unlink()
    (gap,) = export(copy, tmp_path / "b.mp4", asked=Range(0, 8000)).gaps
    assert (gap.cause, gap.to_ms) == (FILE_MISSING, 4080)
    assert gap.from_ms == pytest.approx(2090, abs=20)


def add_fact(folder: Path, **fact: object) -> None:
    with (folder / "ledger.jsonl").open("a") as ledger:
        ledger.write(json.dumps(fact) + "\n")


def test_what_is_not_as_the_ledger_says_does_not_go_out(copy: Path, tmp_path: Path) -> None:
    add_fact(copy, fact="file", rendition="source", name="source/1.m4s", size=1, sha256="0" * 64)
    export(copy, tmp_path / "before.mp4", asked=Range(0, 1000))
    with pytest.raises(Damaged) as damaged:
        export(copy, tmp_path / "a.mp4")
    assert damaged.value.name == "source/1.m4s"
    assert [one.name for one in tmp_path.glob("a.mp4*")] == []


def test_what_takes_too_long_is_ended(recording: Path, tmp_path: Path) -> None:
    seconds = iter(range(1000))
    with pytest.raises(TimeUp):
        export(recording, tmp_path / "a.mp4", limit_s=20, clock_s=lambda: next(seconds))
    assert list(tmp_path.iterdir()) == []


def _stop_late(made: list[int], most: int = 60) -> Callable[[], bool]:
    def stop() -> bool:
        made.append(1)
        return len(made) > most

    return stop


def test_what_was_destroyed_by_order_is_told_as_that(copy: Path, tmp_path: Path) -> None:
    for path in [*copy.glob("*/*"), *copy.glob("*.m3u8")]:
        path.unlink()
    with pytest.raises(NothingThere) as lost:
        export(copy, tmp_path / "a.mp4")
    Ledger(copy, CUSTODY_NAME).append(make_fact("deletion", 0, outcome="success"))
    with pytest.raises(Destroyed) as destroyed:
        export(copy, tmp_path / "a.mp4")
    assert not isinstance(lost.value, Destroyed)
    assert [str(why_not(one.value)).partition(" / ")[0] for one in (lost, destroyed)] == [
        "nothing was recorded in that stretch", "this recording was destroyed by order: its papers alone are left",
    ]  # fmt: skip


def test_nothing_half_made_is_left(recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.mp4"
    (tmp_path / "a.mp4.partial").write_bytes(b"of a run that was killed")
    with pytest.raises(Stopped):
        export(recording, path, stop=_stop_late([]))
    with pytest.raises(NothingThere):
        export(recording, path, asked=Range(60_000, 70_000))
    with monkeypatch.context() as patch:
        patch.setattr("archive.recordings.export.ROOM_LEFT_BYTES", 1 << 60)
        with pytest.raises(NoRoom):
            export(recording, path)
    assert not path.exists()
    export(recording, path, asked=Range(0, 1000))
    with pytest.raises(AlreadyThere):
        export(recording, path)
    assert [one.name for one in tmp_path.iterdir()] == ["a.mp4"]


@pytest.fixture(scope="module")
def signed(recording: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes, Exported]:
    folder = tmp_path_factory.mktemp("signed")
    by = certificates.identity(folder / "secrets", "bunge", "Bunge la Tanzania", datetime.now(UTC))
    described = Described("bunge", "Bunge la Tanzania", "bunge", "Kikao", "Sitting", ledger_head(recording))
    seal = export_credentials.sealing(described, by, datetime.now(UTC), "0.1")
    made = export(recording, folder / "part.mp4", asked=Range(2500, 13_000), seal=seal)
    return folder / "part.mp4", by.authority, made


def test_who_stops_while_it_is_signed_leaves_nothing(recording: Path, tmp_path: Path) -> None:
    by = certificates.identity(tmp_path / "secrets", "bunge", "Bunge", datetime.now(UTC))
    seal = export_credentials.sealing(Described("b", "B", "b", "K", "S", ""), by, datetime.now(UTC), "0.1")
    folder = tmp_path / "out"
    folder.mkdir()
    asked: list[int] = []
    export(recording, folder / "a.mp4", asked=Range(0, 6000), stop=_stop_late(asked, 1000))
    (folder / "a.mp4").unlink()
    with pytest.raises(Stopped):
        export(recording, folder / "a.mp4", asked=Range(0, 6000), seal=seal, stop=_stop_late([], len(asked) + 1))
    assert list(folder.iterdir()) == []


def test_credentials_say_what_it_is_and_who_says_so(signed: tuple[Path, bytes, Exported], recording: Path) -> None:
    path, authority, made = signed
    found = export_credentials.read(path, authority)
    assert (found.standing, found.signer) == (Standing.VALID, "Bunge la Tanzania")
    assert found.ledger is not None
    assert found.ledger["recording"] == recording.name
    assert (found.ledger["from_ms"], found.ledger["to_ms"]) == (made.got.from_ms, made.got.to_ms)
    assert found.ledger["title"] == {"sw": "Kikao", "en": "Sitting"}
    assert found.ledger["ledger_head"] == ledger_head(recording)
    assert [gap["cause"] for gap in found.ledger["gaps"]] == ["feed lost"]
    assert found.ledger["files"]["count"] == len(made.files[0].sources)
    assert decoded(path) > 100, "it plays as before"


def test_credentials_don_t_hold_for_another_file(signed: tuple[Path, bytes, Exported], tmp_path: Path) -> None:
    path, authority, _ = signed
    changed = bytearray(path.read_bytes())
    changed[-1000] ^= 1
    (tmp_path / "changed.mp4").write_bytes(changed)
    ffmpeg("-i", path, "-c", "copy", tmp_path / "stripped.mp4")
    (tmp_path / "text.mp4").write_text("hello")
    others = certificates.authority(tmp_path / "secrets", NOW)
    assert export_credentials.read(tmp_path / "changed.mp4", authority).standing is Standing.CHANGED
    assert export_credentials.read(tmp_path / "stripped.mp4", authority).standing is Standing.NONE
    assert export_credentials.read(tmp_path / "text.mp4", authority).standing is Standing.UNREADABLE
    assert export_credentials.read(path, others).standing is Standing.UNKNOWN_SIGNER


def test_an_identity_is_kept_and_made_anew_before_it_ends(tmp_path: Path) -> None:
    first = certificates.identity(tmp_path, "bunge", "Bunge " * 20, NOW)
    assert certificates.identity(tmp_path, "bunge", "Bunge", NOW) == first
    assert certificates.identity(tmp_path, "ikulu", "Ikulu", NOW).authority == first.authority
    assert {one.stat().st_mode & 0o777 for one in tmp_path.iterdir()} == {0o600}
    later = certificates.identity(tmp_path, "bunge", "Bunge", NOW + timedelta(days=9 * 366))
    assert (later.chain == first.chain, later.authority) == (False, first.authority)
    assert "PRIVATE" not in repr(first)
