"""Is this clip of that recording? Clips as people make them with ffmpeg, and as people doctor them."""

from pathlib import Path

import pytest

from archive.recordings.clip_match import Run, align
from archive.recordings.clip_words import explain, explain_credentials
from archive.recordings.clips import Finding, TrackFinding, Verdict, check_clip
from archive.recordings.export import export
from archive.recordings.export_credentials import Credentials, Standing
from core.media.packet import Kind
from core.web.i18n import Language
from tests.unit.encoded_kit import FFMPEG, encode, ffmpeg, record


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording with a gap, another one by the same encoder, an export of each, and clips of those."""
    folder = tmp_path_factory.mktemp("clips")
    feeds = [encode(folder / f"{name}.flv", seconds, seed=seed) for seed, (name, seconds) in
             enumerate([("a", 16), ("b", 4), ("c", 8)], 1)]  # fmt: skip
    export(record(folder / "ours", [(feeds[0], 0), (feeds[1], 3)]), folder / "ours.mp4")
    export(record(folder / "theirs", [(feeds[2], 0)]), folder / "theirs.mp4")
    for name, source, begins in (("early", "ours", 0), ("late", "ours", 10), ("their", "theirs", 2)):
        ffmpeg("-ss", str(begins), "-t", "3", "-i", folder / f"{source}.mp4", "-c", "copy", folder / f"{name}.mp4")
    return folder


def check(folder: Path, clip: Path | str) -> Finding:
    with (folder / clip).open("rb") as file:
        return check_clip(file, folder / "ours/recordings" / ("0" * 26), FFMPEG)


def track(finding: Finding, kind: Kind) -> TrackFinding:
    return next(one for one in finding.tracks if one.kind is kind)


def join(folder: Path, target: Path, *names: str) -> Path:
    listed = target.with_suffix(".txt")
    listed.write_text("".join(f"file '{folder / name}.mp4'\n" for name in names))
    ffmpeg("-f", "concat", "-safe", "0", "-i", listed, "-c", "copy", target)
    return target


def test_an_export_is_the_whole_recording(folder: Path) -> None:
    found = check(folder, "ours.mp4")
    assert found.verdict is Verdict.WHOLE
    assert [one.packets - one.found for one in found.tracks] == [0, 0]
    assert found.from_ms == 80
    assert found.to_ms == pytest.approx(16_080 + 3000 + 4000, abs=250)


@pytest.mark.parametrize("ending", ["mp4", "ts", "mkv", "m4a"])
def test_a_cut_copy_is_a_stretch_in_any_container(folder: Path, tmp_path: Path, ending: str) -> None:
    clip = tmp_path / f"clip.{ending}"
    ffmpeg("-ss", "5", "-t", "6", "-i", folder / "ours.mp4", "-c", "copy", *["-vn"] * (ending == "m4a"), clip)
    found = check(folder, clip)
    assert found.verdict is Verdict.WHOLE
    assert found.from_ms == pytest.approx(4080, abs=60)
    assert found.to_ms == pytest.approx(11_080, abs=600)


def test_two_distant_pieces_are_a_cut_or_another_order(folder: Path, tmp_path: Path) -> None:
    found = check(folder, join(folder, tmp_path / "cut.mp4", "early", "late"))
    assert found.verdict is Verdict.CUT
    (lacking,) = track(found, Kind.VIDEO).lacking
    assert lacking.from_ms == pytest.approx(3080, abs=100)
    assert lacking.to_ms == pytest.approx(10_080, abs=10)
    assert check(folder, join(folder, tmp_path / "turned.mp4", "late", "early")).verdict is Verdict.REORDERED


def test_a_piece_of_another_recording_is_told_with_its_second(folder: Path, tmp_path: Path) -> None:
    found = check(folder, join(folder, tmp_path / "spliced.mp4", "early", "their", "late"))
    assert found.verdict is Verdict.CHANGED
    for kind in Kind:
        (foreign,) = track(found, kind).foreign
        assert foreign.from_ms == pytest.approx(3040, abs=60)
    assert track(found, Kind.VIDEO).found == track(found, Kind.VIDEO).packets - foreign_packets(found)


def foreign_packets(found: Finding) -> int:
    return sum(one.packets for one in track(found, Kind.VIDEO).foreign)


def test_one_changed_byte_is_one_changed_packet(folder: Path, tmp_path: Path) -> None:
    data = bytearray((folder / "ours.mp4").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "flipped.mp4").write_bytes(data)
    found = check(folder, tmp_path / "flipped.mp4")
    assert found.verdict is Verdict.CHANGED
    assert [span.packets for one in found.tracks for span in one.foreign] == [1]
    assert "1 packet, at" in str(explain(found, Language.EN)) and "Hakimo" in str(explain(found, Language.SW))


@pytest.mark.parametrize("ending", ["ts", "mp4", "flv", "aac"])
def test_a_download_that_broke_off_is_cut_off_and_not_changed(folder: Path, tmp_path: Path, ending: str) -> None:
    """Only where the half packet goes on as the recording does."""
    for names, verdict in ((["early"], Verdict.TORN), (["early", "their", "late"], Verdict.CHANGED)):
        whole, clip = tmp_path / f"whole.{ending}", tmp_path / f"clip.{ending}"
        options = {"mp4": ("-movflags", "faststart"), "aac": ("-vn",)}.get(ending, ())
        ffmpeg("-i", join(folder, tmp_path / "joined.mp4", *names), "-c", "copy", *options, whole)
        data = whole.read_bytes()
        clip.write_bytes(data[: len(data) * 93 // 100])
        found = check(folder, clip)
        assert found.verdict is verdict
        (torn,) = (one for one in found.tracks if one.torn_ms is not None)
        said = "\n".join(explain(found, Language.EN))
        assert "is cut off; what is there of it" in said and said.startswith(("CUT OFF", "CHANGED"))
        if verdict is Verdict.TORN:
            assert (torn.packets - torn.found, [*torn.foreign]) == (1, [])


def test_a_foreign_packet_at_the_end_is_no_cut(folder: Path, tmp_path: Path) -> None:
    """Be it half or whole: what is there of it is not the recording's."""
    ffmpeg("-i", folder / "early.mp4", "-c", "copy", "-vn", tmp_path / "whole.aac")
    data = (tmp_path / "whole.aac").read_bytes()
    torn = bytearray(data[: len(data) * 93 // 100])
    torn[-9] ^= 1
    (tmp_path / "torn.aac").write_bytes(torn)
    found = check(folder, tmp_path / "torn.aac")
    assert (found.verdict, found.tracks[0].torn_ms, len(found.tracks[0].foreign)) == (Verdict.CHANGED, None, 1)


@pytest.mark.parametrize(
    ("source", "verdict"), [("their", Verdict.CHANGED), ("late", Verdict.SOUND_ELSEWHERE)]
)  # fmt: skip
def test_other_sound_under_the_picture(folder: Path, tmp_path: Path, source: str, verdict: Verdict) -> None:
    clip = tmp_path / "sound.mp4"
    ffmpeg("-i", folder / "early.mp4", "-i", folder / f"{source}.mp4", "-map", "0:v", "-map", "1:a", "-c", "copy", clip)
    found = check(folder, clip)
    assert (found.verdict, track(found, Kind.VIDEO).verdict) == (verdict, Verdict.WHOLE)
    assert (found.sound_ms > 9000) == (verdict is Verdict.SOUND_ELSEWHERE)


def test_slowed_down(folder: Path, tmp_path: Path) -> None:
    ffmpeg("-itsscale", "1.25", "-i", folder / "ours.mp4", "-c", "copy", tmp_path / "slow.mp4")
    found = check(folder, tmp_path / "slow.mp4")
    assert (found.verdict, track(found, Kind.VIDEO).pace) == (Verdict.RETIMED, 0.8)


def test_of_what_is_encoded_anew_nothing_is_proven(folder: Path, tmp_path: Path) -> None:
    ffmpeg("-i", folder / "early.mp4", "-c:v", "libx264", "-c:a", "aac", "-ac", "2", tmp_path / "anew.mp4")
    ffmpeg("-i", folder / "early.mp4", "-c:v", "copy", "-c:a", "aac", "-ac", "2", tmp_path / "sound.mp4")
    ffmpeg("-i", folder / "early.mp4", "-c:v", "libvpx", "-deadline", "realtime", "-an", tmp_path / "other.webm")
    anew = check(folder, tmp_path / "anew.mp4")
    assert anew.verdict is Verdict.RE_ENCODED
    assert "may be of another recording" in explain(anew, Language.EN)[0], "whose it is looks the same from here"
    assert check(folder, tmp_path / "sound.mp4").verdict is Verdict.PARTLY
    assert check(folder, tmp_path / "other.webm").verdict is Verdict.RE_ENCODED


def test_not_of_this_recording_or_no_media(folder: Path, tmp_path: Path) -> None:
    assert check(folder, "theirs.mp4").verdict is Verdict.NOT_FOUND
    (tmp_path / "text.mp4").write_text("hello " * 1000)
    (tmp_path / "list.mp4").write_text(f"ffconcat version 1.0\nfile '{folder / 'ours.mp4'}'\n")
    for name in ("text.mp4", "list.mp4"):
        assert check(folder, tmp_path / name).verdict is Verdict.UNREADABLE, "and no file that a clip names is opened"


def test_each_of_several_tracks_is_looked_for(folder: Path, tmp_path: Path) -> None:
    """Another language over the genuine picture, beside the genuine sound."""
    maps = ("-map", "0:v", "-map", "0:a", "-map", "1:a", "-c", "copy")
    ffmpeg("-i", folder / "early.mp4", "-i", folder / "their.mp4", *maps, tmp_path / "two.mp4")
    found = check(folder, tmp_path / "two.mp4")
    assert found.verdict is Verdict.CHANGED
    assert sorted(one.verdict.value for one in found.tracks) == ["not_found", "whole", "whole"]
    ffmpeg("-i", folder / "early.mp4", "-i", folder / "early.mp4", *maps, tmp_path / "twice.mp4")
    assert check(folder, tmp_path / "twice.mp4").verdict is Verdict.WHOLE


def test_it_is_explained_in_both_languages(folder: Path, tmp_path: Path) -> None:
    found = check(folder, join(folder, tmp_path / "spliced.mp4", "early", "their", "late"))
    said = explain(found, Language.EN)
    assert said[0].startswith("CHANGED") and explain(found, Language.SW)[0].startswith("IMEBADILISHWA")
    assert "is from 2026-09-21 17:13:20.080 EAT" in said[1]
    assert any("of the clip" in line and "from 0:03" in line for line in said)
    cut = explain(check(folder, join(folder, tmp_path / "cut.mp4", "early", "late")), Language.EN)
    assert cut[0].startswith("CUT") and any("Left out: 7.0 s, from 2026-09-21 17:13:2" in line for line in cut)
    for language in Language:
        told = [explain(Finding(one, 0, None, None, ()), language)[0] for one in Verdict]
        told += [explain_credentials(Credentials(one, "Bunge"), language) for one in Standing]
        assert len(set(told)) == len(Verdict) + len(Standing)


SILENCE = 0


@pytest.mark.parametrize(
    ("clip", "recorded", "runs"),
    [
        ([SILENCE] * 50 + [1, 2, 3], [SILENCE] * 500 + [1, 2, 3, 4], [Run(0, 450, 53)]),
        ([1, 2, 3] + [SILENCE] * 9, [SILENCE] * 20 + [1, 2, 3] + [SILENCE] * 20, [Run(0, 20, 12)]),
        ([1, 2, 3, 7, 8, 9], [1, 2, 3, SILENCE, SILENCE, 7, 8, 9], [Run(0, 0, 3), Run(3, 5, 3)]),
        ([1, 2, 3, 99, 4, 5, 6], [1, 2, 3, 4, 5, 6], [Run(0, 0, 3), Run(4, 3, 3)]),
        ([99, SILENCE, 98], [SILENCE] * 3, []),
    ],
)
def test_packets_that_are_equal_are_placed_by_those_beside_them(
    clip: list[int], recorded: list[int], runs: list[Run]
) -> None:
    places: dict[int, list[int]] = {}
    for place, one in enumerate(recorded):
        places.setdefault(one, []).append(place)
    assert align(clip, recorded, places) == runs
