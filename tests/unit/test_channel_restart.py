"""A channel whose process was killed: what goes on, and where."""

from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from archive.recordings.account import account
from archive.recordings.ledger import Ledger
from archive.recordings.verify import verify
from core.broadcasts.plan import Plan
from tests.unit.channel_kit import FIRST, LIVE, SECOND, START_MS, House, ledger_of, run


@pytest.mark.parametrize(
    ("plan", "is_known", "goes_on"),
    [
        (LIVE, True, True), (None, False, True), (None, True, False), (Plan(FIRST, SECOND, "rehearsal"), True, False),
        (replace(LIVE, ends_at_unix_ms=round(START_MS + 1000)), True, False),
    ],
)  # fmt: skip
def test_after_a_kill_the_plan_is_honoured(tmp_path: Path, plan: Plan | None, is_known: bool, goes_on: bool) -> None:
    async def before(one: House) -> None:
        await one.on_air(7)

    async def after(one: House) -> None:
        one.now_ms = 600_000
        if not is_known:
            one.book.channels = ()
        else:
            one.book.channels = (replace(one.book.channels[0], plan=plan),)
        one.channels.restore(tmp_path / "recordings")
        one.channels.know()
        assert (one.channel.broadcast is not None) is goes_on
        if goes_on:
            one.play(await one.come(), 3)
            assert (one.state["state"], one.state["broadcast"]) == ("live", FIRST)

    run(tmp_path, before)
    run(tmp_path, after)
    facts = [fact["fact"] for fact in ledger_of(tmp_path)]
    assert ("ended" in facts) is not goes_on


def test_no_time_is_without_a_gap_because_the_process_was_killed_while_there_was_no_feed(tmp_path: Path) -> None:
    """The rows, and with them the API, know of gaps alone."""

    async def before(one: House) -> None:
        feed = await one.on_air(7)
        one.lose(feed)
        one.wait(20, step_s=2)

    async def again(one: House) -> None:
        one.plan(LIVE)
        one.take_up(40_000)
        one.wait(20, step_s=2)

    async def after(one: House) -> None:
        one.plan(LIVE)
        one.take_up(80_000)
        one.play(await one.come(), 5)

    for scenario in (before, again, after):
        run(tmp_path, scenario)
    gaps = [fact for fact in ledger_of(tmp_path) if fact["fact"] == "gap"]
    assert [(gap["cause"], gap["is_back"]) for gap in gaps] == [
        ("feed lost", False), ("process ended", False), ("process ended", True),
    ]  # fmt: skip
    assert [gap["from_ms"] for gap in gaps] == [7000, *(gap["to_ms"] for gap in gaps[:-1])] and gaps[-1][
        "to_ms"
    ] == 80_000


@pytest.mark.parametrize("is_looked_at", [True, False], ids=["a tick first", "the feed first"])
def test_sound_goes_on_behind_an_outage_of_any_length(tmp_path: Path, is_looked_at: bool) -> None:
    """Of longer than the timeline keeps cuts: who follows must not lose its place."""

    async def before(one: House) -> None:
        await one.on_air(7)

    async def after(one: House) -> None:
        one.plan(LIVE)
        one.take_up(900_000)
        if is_looked_at:
            one.tick()
        one.play(await one.come(), 6)
        one.plan(None)
        await one.ended()

    run(tmp_path, before)
    run(tmp_path, after)
    of_picture, of_sound = account(ledger_of(tmp_path)).renditions
    assert abs(of_picture.held_ms - of_sound.held_ms) < 50 and of_sound.held_ms > 12_000
    for name in ("source", "source-audio"):
        index = (tmp_path / f"recordings/{FIRST}/{name}/index.m3u8").read_text()
        assert max(float(line[8:].rstrip(",")) for line in index.splitlines() if line.startswith("#EXTINF:")) <= 4.5


def test_a_recording_that_ended_is_never_written_to_again(tmp_path: Path) -> None:
    """The plan is of an hour ago: the database was away when people ended it."""

    async def before(one: House) -> None:
        await one.on_air(4)
        one.plan(None)
        await one.ended()

    async def after(one: House) -> None:
        one.channels.restore(tmp_path / "recordings")
        await one.on_air(3)
        assert one.channel.broadcast is None

    run(tmp_path, before)
    run(tmp_path, after)


@pytest.mark.parametrize("torn", [b"", b'{"prev":"00'])
def test_a_plan_that_was_killed_before_anything_was_on_record_begins_anew(tmp_path: Path, torn: bytes) -> None:
    left = tmp_path / "recordings" / FIRST
    (left / "source").mkdir(parents=True)
    (left / "source/init-0.mp4").write_bytes(b"of another configuration")
    (left / "source/7.m4s.partial").write_bytes(b"half")
    if torn:
        (left / "ledger.jsonl").write_bytes(torn)

    async def after(one: House) -> None:
        one.book.channels = (replace(one.book.channels[0], plan=LIVE),)
        one.take_up(1000)
        one.play(await one.come(), 6)
        assert (one.state["state"], one.state["broadcast"]) == ("live", FIRST)
        await one.end()

    run(tmp_path, after)
    assert ledger_of(tmp_path)[0]["fact"] == "started"
    assert [one.kind for one in verify(left).findings] == ["unsigned"]


@pytest.mark.parametrize("there", ["ledger.jsonl", "source/index.m3u8"])
def test_what_cannot_be_read_is_not_begun_anew(tmp_path: Path, there: str) -> None:
    left = tmp_path / "recordings" / FIRST / there
    left.parent.mkdir(parents=True)
    left.write_bytes(b"not JSON\n")

    async def after(one: House) -> None:
        one.book.channels = (replace(one.book.channels[0], plan=LIVE),)
        one.take_up(1000)
        one.play(await one.come(), 3)
        assert one.channel.broadcast is None

    run(tmp_path, after)
    assert left.read_bytes() == b"not JSON\n"


@pytest.mark.parametrize("place", [0, -1], ids=["all of it", "the last line"])
def test_nothing_is_appended_to_a_ledger_that_can_not_be_read(tmp_path: Path, place: int) -> None:
    """As a disk leaves it whose power was cut."""

    async def before(one: House) -> None:
        await one.on_air(7)

    async def after(one: House) -> None:
        one.plan(LIVE)
        with capture_logs() as told:
            one.take_up(20_000)
        assert [line["broadcast"] for line in told if line["event"] == "a recording can't be restored"] == [FIRST]
        one.play(await one.come(), 3)
        assert one.channel.broadcast is None

    run(tmp_path, before)
    ledger = tmp_path / "recordings" / FIRST / "ledger.jsonl"
    lines = ledger.read_bytes().splitlines(keepends=True)
    lines[place] = bytes(len(lines[place]) - 1) + b"\n"
    damaged = b"".join(lines) if place else bytes(ledger.stat().st_size)
    ledger.write_bytes(damaged)
    run(tmp_path, after)
    assert ledger.read_bytes() == damaged


@pytest.mark.parametrize("data", [bytes(500), b"\0\0\n", b"[]\n", b"not ours"])
def test_a_ledger_that_is_damaged_is_no_empty_one(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "ledger.jsonl").write_bytes(data)
    with pytest.raises(OSError, match="damaged"):
        Ledger(tmp_path)
    assert (tmp_path / "ledger.jsonl").read_bytes() == data
