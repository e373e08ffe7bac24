"""Feeds against plans: held, put on the air, taken off."""

from dataclasses import replace
from pathlib import Path

import pytest

from core.broadcasts.plan import Message, Plan
from tests.unit.channel_kit import FIRST, LISTINGS, LIVE, REHEARSAL, SECOND, START_MS, House, ledger_of, run


@pytest.mark.parametrize(("auto_live", "plan"), [(False, None), (False, REHEARSAL), (True, REHEARSAL)])
def test_a_feed_is_held(tmp_path: Path, auto_live: bool, plan: Plan | None) -> None:
    async def scenario(one: House) -> None:
        one.plan(plan)
        feed = await one.come()
        one.play(feed, 3)
        assert one.channel.broadcast is None and one.channel.feeds == {"primary": feed}
        assert one.state["state"] == "offline"
        assert [path.name for path in (tmp_path / "live/ikulu").iterdir()] == ["state.json"]
        assert list((tmp_path / "recordings").iterdir()) == []

    run(tmp_path, scenario, auto_live)


def test_a_held_feed_goes_on_the_air_with_the_plans_identity(tmp_path: Path) -> None:
    async def scenario(one: House) -> None:
        one.plan(REHEARSAL)
        feed = await one.come()
        one.play(feed, 3.4)
        one.plan(LIVE)
        one.play(feed, 4)
        assert (one.state["state"], one.state["broadcast"]) == ("live", FIRST)
        first = one.broadcast.renditions["source"].window
        assert (first.segments or [first.open])[0].start_ms == 0  # type: ignore[union-attr]

    run(tmp_path, scenario)
    assert ledger_of(tmp_path)[0]["plan"] == FIRST


def test_the_primary_feed_goes_before_the_backup_that_came_first(tmp_path: Path) -> None:
    async def scenario(one: House) -> None:
        await one.come("backup")
        primary = await one.come("primary")
        one.plan(LIVE)
        assert one.channel.on_air is primary

    run(tmp_path, scenario)


@pytest.mark.parametrize("is_clean", [True, False])
def test_a_planned_broadcast_is_not_over_because_its_encoder_is(tmp_path: Path, is_clean: bool) -> None:
    async def scenario(one: House) -> None:
        feed = await one.on_air(4)
        one.lose(feed, is_clean)
        one.pass_s(600)
        assert (one.state["state"], one.state["broadcast"]) == ("lost", FIRST)
        again = await one.come()
        one.play(again, 4)
        assert (one.state["state"], one.state["broadcast"]) == ("live", FIRST)
        one.lose(again, is_clean)
        one.pass_s(3601)
        await one.ended()
        assert one.state["state"] == "ended"
        await one.come()
        one.pass_s(1)
        assert one.channel.broadcast is None, "what has ended is not begun again while the plan still says live"

    run(tmp_path, scenario)
    facts = ledger_of(tmp_path)
    told = [(fact["fact"], fact.get("is_back")) for fact in facts if fact["fact"] not in LISTINGS]
    assert told == [("started", None), ("lost", None), ("gap", True), ("lost", None), ("gap", False), ("ended", None)]


def test_a_planned_broadcast_whose_feed_never_showed_a_picture_waits(tmp_path: Path) -> None:
    async def scenario(one: House) -> None:
        one.plan(LIVE)
        one.lose(await one.come(), is_clean=True)
        one.pass_s(4000)
        one.play(await one.come(), 3)
        assert one.state["broadcast"] == FIRST

    run(tmp_path, scenario)


@pytest.mark.parametrize("auto_live", [True, False])
def test_the_end_is_carried_out_though_the_encoder_goes_on(tmp_path: Path, auto_live: bool) -> None:
    async def scenario(one: House) -> None:
        feed = await one.on_air(4)
        one.plan(replace(LIVE, ends_at_unix_ms=round(START_MS + one.now_ms + 10_000)))
        one.play(feed, 12)
        assert one.state["state"] == "live" and one.channel.ending is None
        one.plan(LIVE)  # undone
        one.play(feed, 4)
        assert one.state["state"] == "live" and one.channel.ending is None
        one.plan(replace(LIVE, ends_at_unix_ms=round(START_MS + one.now_ms + 10_000)))
        one.play(feed, 12.6)
        await one.ended()
        assert (one.state["state"], one.state["broadcast"]) == ("ended", FIRST)
        one.plan(None)
        one.play(feed, 4)
        assert one.channel.broadcast is None and one.channel.feeds == {"primary": feed}, "held"
        one.lose(feed)
        one.pass_s(20)
        feed = await one.come()
        one.play(feed, 3)
        assert one.channel.broadcast is None, "an encoder that comes back by itself is held as well"
        one.lose(feed, is_clean=True)
        one.pass_s(31)
        one.play(await one.come(), 3)
        assert (one.channel.broadcast is not None) is auto_live

    run(tmp_path, scenario, auto_live)


def test_an_undone_go_live_leaves_a_recording_and_nothing_to_watch(tmp_path: Path) -> None:
    async def scenario(one: House) -> None:
        feed = await one.on_air(5)
        assert (tmp_path / "live/ikulu/index.m3u8").exists()
        one.plan(Plan(FIRST, SECOND, "rehearsal"))
        await one.ended()
        one.play(feed, 3)
        assert one.state["state"] == "offline" and not (tmp_path / "live/ikulu/index.m3u8").exists()
        one.plan(Plan(FIRST, SECOND, "live"))
        one.play(feed, 5)
        assert (one.state["state"], one.state["broadcast"]) == ("live", SECOND)

    run(tmp_path, scenario)
    for identity in (FIRST, SECOND):
        facts = ledger_of(tmp_path, identity)
        assert (facts[0]["broadcast"], facts[0]["plan"]) == (identity, FIRST)
    assert "#EXT-X-ENDLIST" in (tmp_path / f"recordings/{FIRST}/source/index.m3u8").read_text()


def test_a_broadcast_that_a_feed_began_is_as_before(tmp_path: Path) -> None:
    async def scenario(one: House) -> None:
        feed = await one.come()
        one.play(feed, 4)
        identity = one.state["broadcast"]
        one.plan(Plan(identity, identity, "live", message=Message("Karibu", "Welcome", "info"), is_automatic=True))
        assert one.state["message"] == {"sw": "Karibu", "en": "Welcome", "level": "info"}
        one.lose(feed, is_clean=True)
        await one.ended()
        assert one.state["state"] == "ended" and one.state["message"] is None
        one.play(await one.come(), 4)
        assert one.state["broadcast"] != identity

    run(tmp_path, scenario, auto_live=True)


def test_a_channels_own_reconnect_window(tmp_path: Path) -> None:
    async def scenario(one: House) -> None:
        one.plan(None, reconnect_window_s=5.0)
        feed = await one.come()
        one.play(feed, 4)
        one.lose(feed)
        one.pass_s(4.9)
        assert one.channel.ending is None
        one.pass_s(0.2)
        await one.ended()
        assert one.state["state"] == "ended"

    run(tmp_path, scenario, auto_live=True)


def test_a_rehearsal_takes_the_channel(tmp_path: Path) -> None:
    async def scenario(one: House) -> None:
        feed = await one.come()
        one.play(feed, 4)
        one.plan(REHEARSAL)
        await one.ended()
        one.play(feed, 3)
        assert one.channel.broadcast is None and one.state["state"] == "ended"
        one.plan(None)
        one.tick()
        assert one.channel.broadcast is None, "a rehearsal that is cancelled does not put its feed on the air"

    run(tmp_path, scenario, auto_live=True)


def test_a_new_name_is_told_on_the_air(tmp_path: Path) -> None:
    async def scenario(one: House) -> None:
        assert not one.state["name"]
        one.play(await one.come(), 3)
        one.plan(None, name_sw="Ikulu", name_en="State House")
        assert (one.state["state"], one.state["name"]) == ("live", {"sw": "Ikulu", "en": "State House"})

    run(tmp_path, scenario, auto_live=True)


def test_a_message_is_told_before_there_is_a_picture(tmp_path: Path) -> None:
    async def scenario(one: House) -> None:
        one.plan(replace(REHEARSAL, message=Message("Tunaanza saa 4", "We begin at 10", "info")))
        assert (one.state["state"], one.state["message"]["en"]) == ("offline", "We begin at 10")
        one.plan(REHEARSAL)
        assert one.state["message"] is None

    run(tmp_path, scenario)
