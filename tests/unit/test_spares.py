"""What the ledger tells of a second feed: that it is there, and that it is lost while the other one goes on."""

from pathlib import Path
from typing import Any

from ingest.feed import Feed
from tests.unit.channel_kit import LIVE, House, ledger_of, run


def told(folder: Path) -> list[tuple[str, Any]]:
    return [(one["fact"], one["role"]) for one in ledger_of(folder) if one["fact"].startswith("spare")]


def play(one: House, seconds: int, feed: Feed) -> None:
    for _ in range(seconds):
        one.play(feed, 1)


def test_a_spare_that_goes_is_told_and_one_that_flickers_is_not(tmp_path: Path) -> None:
    async def scenario(one: House) -> None:
        feed = await one.on_air(3)
        spare = await one.come("backup")
        play(one, 3, feed)
        one.lose(spare)
        play(one, 2, feed)
        spare = await one.come("backup")
        play(one, 4, feed)
        assert [fact for fact, _ in told(tmp_path)] in ([], ["spare_back"])
        one.lose(spare)
        play(one, 5, feed)
        await one.end()

    run(tmp_path, scenario)
    assert told(tmp_path) == [("spare_back", "backup"), ("spare_lost", "backup")]
    lost = next(one for one in ledger_of(tmp_path) if one["fact"] == "spare_lost")
    assert 12_000 <= lost["at_ms"] <= 13_100 and "goodbye" not in lost


def test_the_spare_takes_over_and_the_other_one_is_what_is_missed(tmp_path: Path) -> None:
    async def scenario(one: House) -> None:
        feed = await one.on_air(3)
        spare = await one.come("backup")
        play(one, 2, feed)
        one.lose(feed)
        play(one, 5, spare)
        feed = await one.come()
        play(one, 2, spare)
        one.lose(feed, is_clean=True)
        play(one, 5, spare)
        await one.end()

    run(tmp_path, scenario)
    one, two = ("spare_back", "primary"), ("spare_lost", "primary")
    assert told(tmp_path) == [("spare_back", "backup"), two, one, two]
    assert [fact.get("goodbye") for fact in ledger_of(tmp_path) if fact["fact"] == "spare_lost"] == [None, True]


def test_one_that_is_lost_only_because_media_was_restarted_is_told(tmp_path: Path) -> None:
    async def before(one: House) -> None:
        feed = await one.on_air(3)
        await one.come("backup")
        play(one, 3, feed)

    async def after(one: House) -> None:
        one.plan(LIVE)
        one.take_up(20_000)
        play(one, 6, await one.come())
        await one.end()

    run(tmp_path, before)
    run(tmp_path, after)
    assert told(tmp_path) == [("spare_back", "backup"), ("spare_lost", "backup")]


def test_one_that_comes_a_moment_after_the_other_is_not(tmp_path: Path) -> None:
    async def before(one: House) -> None:
        feed = await one.on_air(3)
        await one.come("backup")
        play(one, 3, feed)

    async def after(one: House) -> None:
        one.plan(LIVE)
        one.take_up(20_000)
        feed = await one.come()
        play(one, 2, feed)
        await one.come("backup")
        play(one, 4, feed)

    run(tmp_path, before)
    run(tmp_path, after)
    assert told(tmp_path) == [("spare_back", "backup")]


def test_where_neither_is_there_a_gap_tells_of_it_alone(tmp_path: Path) -> None:
    async def scenario(one: House) -> None:
        feed = await one.on_air(3)
        spare = await one.come("backup")
        play(one, 2, feed)
        one.lose(feed, is_clean=True)
        one.lose(spare, is_clean=True)
        one.wait(10)
        await one.end()

    run(tmp_path, scenario)
    assert told(tmp_path) == [("spare_back", "backup")]
    assert [fact.get("goodbye") for fact in ledger_of(tmp_path) if fact["fact"] == "lost"] == [True]
