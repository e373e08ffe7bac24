"""What the proof page says is missing is what the completeness statement says: nobody's apart from one rendition's."""

from datetime import UTC, datetime
from pathlib import Path

from archive.pages.lacking import OLD_S, Accounts, of_rows
from archive.recordings import statement
from archive.recordings.about import from_files
from archive.recordings.missing import Missing
from archive.recordings.rows import MissingSpan
from tests.unit.recording_kit import make_recording


def test_what_one_rendition_lacks_is_not_summed_up_with_what_all_lack(tmp_path: Path) -> None:
    """The rung's last segment found the disk full; the fourth segment nobody has."""
    folder = make_recording(tmp_path)
    found = Accounts().lacking(folder, on_air=False)
    stated = statement.state(folder, from_files(folder), datetime(2026, 11, 28, tzinfo=UTC), "Asha")
    assert found.gap_ms == stated["best"]["gap_ms"] == 4000
    assert [tuple(gap) for gap in found.gaps] == [(12_000, 16_000, "feed lost", None)]
    assert [tuple(gap) for gap in found.alone] == [(20_000, 24_000, "disk full", "480p")]
    assert found.alone_ms == {"480p": 4000}
    of_480p = next(one for one in stated["renditions"] if one["name"] == "480p")
    assert found.gap_ms + found.alone_ms["480p"] == of_480p["gap_ms"], "together they are the statement's"


def test_a_file_that_goes_is_told_of_after_a_while_at_most(tmp_path: Path) -> None:
    folder, now_s = make_recording(tmp_path, lost=()), [0.0]
    accounts = Accounts(lambda: now_s[0])
    assert accounts.lacking(folder, on_air=False).gap_ms == 0
    for name in ("source", "480p"):
        (folder / name / "1.m4s").unlink()
    assert accounts.lacking(folder, on_air=False).gap_ms == 0, "not looked at for every reader"
    now_s[0] += OLD_S
    assert [tuple(gap)[:3] for gap in accounts.lacking(folder, on_air=False).gaps] == [(4000, 8000, "file missing")]


def test_rows_say_all_there_is_to_say_where_no_papers_do() -> None:
    found = of_rows([Missing(MissingSpan(1, 5), "disk full"), Missing(MissingSpan(7, 9), "disk full", "480p")])
    assert (found.gap_ms, found.alone_ms, found.gaps[1].rendition) == (6, {}, "480p")
