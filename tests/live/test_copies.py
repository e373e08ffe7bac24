"""What is on the air is copied to two places at once, and stays provable through kill -9 of everyone."""

from pathlib import Path

from tests.live import kills_kit, media_files


def test_copies_and_the_catalogue_are_whole_though_everyone_was_killed_once(tmp_path: Path) -> None:
    feed = media_files.make_flv(tmp_path / "feed.flv", 60)
    evening = kills_kit.run(feed, rounds=4, seed=1)
    assert evening.wrong == [], "\n".join(evening.wrong)
    assert set(evening.killed) == set(kills_kit.KILLED) and evening.report.is_whole
    assert evening.report.gaps, "the killed media process left a gap, told as one"
    assert any(lag_ms is not None and 0 <= lag_ms < kills_kit.NEAR_MS for lag_ms in evening.lag_ms.values()), (
        evening.lag_ms
    )
    assert set(evening.rebuilt) ^ set(evening.rows) == set() and len(evening.rows) > 10
    assert "WHOLE AND UNALTERED" in evening.verified and "the time stamp (RFC 3161) is right." in evening.verified
    check_mended(evening.mended)


def check_mended(mended: kills_kit.Mended) -> None:
    """Faults of every place are found in one round and mended; what is wrong everywhere is held; then told again."""
    assert {name: copy["state"] for name, copy in mended.first.items()} == dict.fromkeys(
        ("local", "arusha", "wingu"), "whole"
    )
    assert {copy["fault"] for copy in mended.again.values()} == {None}
    assert mended.name in mended.nowhere["local"]["fault"] and mended.nowhere["wingu"]["state"] != "whole"
    assert mended.anew
    assert mended.events.count(("recovery", "success")) == 4, "three files and a hash in the database"
