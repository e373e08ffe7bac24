"""What is on the air is copied to two places at once, and stays provable through kill -9 of everyone."""

from pathlib import Path

from tests.live import kills_kit, media_files


def test_copies_and_the_catalogue_are_whole_though_everyone_was_killed_once(tmp_path: Path) -> None:
    feed = media_files.make_flv(tmp_path / "feed.flv", 60)
    evening = kills_kit.run(feed, rounds=4, seed=1)
    assert evening.wrong == [], "\n".join(evening.wrong)
    assert set(evening.killed) == set(kills_kit.KILLED) and evening.report.is_whole
    assert evening.report.gaps and evening.report.recovered, "the killed media process left a gap, told as one"
    assert any(lag_ms is not None and 0 <= lag_ms < 8000 for lag_ms in evening.lag_ms.values()), evening.lag_ms
    assert set(evening.rebuilt) ^ set(evening.rows) == set() and len(evening.rows) > 10
