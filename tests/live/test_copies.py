"""What is on the air is copied to two places at once, and stays provable through kill -9 of everyone."""

from pathlib import Path

from tests.live import kills_kit, media_files


def test_copies_are_whole_though_everyone_was_killed_once(tmp_path: Path) -> None:
    feed = media_files.make_flv(tmp_path / "feed.flv", 60)
    _, _, killed, report, wrong, lag = kills_kit.run(feed, rounds=4, seed=1)
    assert wrong == [], "\n".join(wrong)
    assert set(killed) == set(kills_kit.KILLED) and report.is_whole
    assert report.gaps and report.recovered, "the killed media process left a gap, told as one"
    assert all(0 <= lag_ms < 8000 for lag_ms in lag.values()), lag
