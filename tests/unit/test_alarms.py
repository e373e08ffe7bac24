"""The console's alarms: what calls an engineer, how gravely, and what is still the same alarm."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from core.tables import Broadcast, Channel
from ingest.console import Told
from ingest.console.alarms import Alarm, Level, Memory, Plan, decide, of_refused
from ingest.console.unseen import Told as Line
from ingest.console.unseen import lost

NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)
LIVE = Plan("ikulu", 1, "Ikulu", "State House", "B1", True, has_begun=True)
PLANNED = Plan("ikulu", 1, "Ikulu", "State House", "B1", False, planned_start_at=NOW + timedelta(minutes=9))
NO_SOUND = {"type": "noAudioStream", "level": "error", "value": None, "limit": None}
LONG_GOP = {"type": "gopSizeOver", "level": "error", "value": 6.0, "limit": 4.0}
OPEN_GOP = {"type": "openGop", "level": "warning", "value": 1, "limit": None}


def quiet(bps: float) -> dict[str, object]:
    return {"type": "audioBitrateLow", "level": "warning", "value": bps, "limit": 40_000}


def feed(*issues: object, role: str = "primary", on_air: bool = True, state: str = "good") -> Told:
    return {"channel": "ikulu", "role": role, "on_air": on_air, "state": state, "issues": list(issues)}


def short(alarm: Alarm) -> str:
    return alarm.key.removeprefix("ikulu.B1.")


@pytest.mark.parametrize(
    ("plan", "feeds", "expected", "found"),
    [
        (LIVE, [feed()], ["primary"], []),
        (LIVE, [], ["primary"], ["feed_lost.severe"]),
        (LIVE, [], [], ["feed_lost.severe"]),
        (replace(LIVE, has_begun=False), [], [], ["no_feed.severe"]),
        (replace(LIVE, is_ending=True), [], ["primary"], []),
        (LIVE, [feed(role="backup")], ["backup", "primary"], ["feed_lost.primary.mild"]),
        (LIVE, [feed()], ["primary", "backup"], ["feed_lost.backup.mild"]),
        (LIVE, [feed(state="noData")], [], ["feed_stalled.primary.severe"]),
        (
            LIVE,
            [feed(state="noData", on_air=False), feed(role="backup")],
            [],
            ["feed_stalled.primary.mild"],
        ),
        (LIVE, [feed(NO_SOUND)], [], ["no_sound.primary.severe"]),
        (LIVE, [feed(quiet(2_400))], [], ["silent.primary.severe"]),
        (LIVE, [feed(quiet(24_000))], [], []),
        (LIVE, [feed(LONG_GOP, OPEN_GOP)], [], ["health.primary.gopSizeOver.severe"]),
        (LIVE, [feed(), feed(NO_SOUND, role="backup", on_air=False)], [], ["no_sound.backup.mild"]),
        (PLANNED, [], [], ["no_feed.mild"]),
        (PLANNED, [], ["primary"], ["feed_lost.mild"]),
        (PLANNED, [feed(LONG_GOP, on_air=False)], [], ["health.primary.gopSizeOver.mild"]),
        (PLANNED, [feed(on_air=False)], [], []),
        (replace(PLANNED, planned_start_at=NOW + timedelta(minutes=11)), [], [], []),
        (replace(PLANNED, planned_start_at=NOW - timedelta(minutes=29)), [], [], ["no_feed.mild"]),
        (replace(PLANNED, planned_start_at=NOW - timedelta(minutes=31)), [], [], []),
    ],
)
def test_what_calls_an_engineer(plan: Plan, feeds: list[Told], expected: list[str], found: list[str]) -> None:
    assert [short(alarm) for alarm in decide(plan, feeds, expected, NOW)] == found


@pytest.mark.parametrize(
    ("plan", "feeds", "refused", "found"),
    [
        (LIVE, [], ["key revoked"], ["key_revoked.primary.severe"]),
        (LIVE, [feed(role="backup")], ["address not allowed"], ["address_refused.primary.mild"]),
        (LIVE, [feed()], ["key revoked", "address not allowed"], []),
        (LIVE, [feed(state="noData")], ["key revoked"], ["key_revoked.primary.mild"]),
        (PLANNED, [], ["key revoked"], ["key_revoked.primary.mild"]),
        (LIVE, [], ["key in use"], []),
        (replace(LIVE, is_ending=True), [], ["key revoked"], []),
        (replace(LIVE, channel="bunge"), [], ["key revoked"], []),
    ],
)
def test_an_encoder_that_is_turned_away_calls_an_engineer(
    plan: Plan, feeds: list[Told], refused: list[str], found: list[str]
) -> None:
    told = [{"channel": "ikulu", "role": "primary", "why": why} for why in refused]
    assert [short(alarm) for alarm in of_refused([plan], feeds, told, NOW)] == found


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def keys(memory: Memory, feeds: list[Told], at_s: float, *machine: str) -> list[str]:
    return [short(held.alarm) for held in memory.look([LIVE], feeds, machine, after(at_s))]


def test_what_lasts_a_moment_is_no_alarm_and_what_lasts_is_one() -> None:
    memory, both = Memory(), [feed(), feed(role="backup", on_air=False)]
    assert keys(memory, both, 0) == []
    assert [keys(memory, both[:1], at_s) for at_s in (1, 2)] == [[], []]
    assert keys(memory, both, 2.5) == []
    assert keys(memory, [], 3) == []
    assert keys(memory, [], 5) == ["feed_lost.severe"]
    assert keys(memory, both, 6) == [], "what is over is shown no more, at once"


def test_a_flickering_feed_is_one_alarm_and_a_later_loss_another() -> None:
    memory = Memory()
    memory.look([LIVE], [feed()], (), NOW)

    def since(at_s: float) -> datetime:
        for step in (at_s, at_s + 2):
            found = memory.look([LIVE], [], (), after(step))
        return found[0].since

    first = since(1)
    memory.look([LIVE], [feed()], (), after(5))
    assert since(7) == first, "whoever has seen it isn't called again"
    for at_s in range(10, 22):
        memory.look([LIVE], [feed()], (), after(at_s))
    assert since(22) == after(22)


def test_what_is_wrong_when_one_comes_to_look_is_an_alarm_at_once() -> None:
    memory = Memory()
    assert keys(memory, [], 0, "disk_low", "media_away") == ["feed_lost.severe", "media_away.severe", "disk_low.mild"]
    assert memory.look([], [], (), after(1)) == []
    assert keys(memory, [], 60) == ["feed_lost.severe"]


def test_a_mild_alarm_that_was_seen_says_nothing_of_the_severe_one() -> None:
    severe = next(iter(decide(LIVE, [feed(NO_SOUND)], (), NOW)))
    assert replace(severe, level=Level.MILD).key != severe.key


def line(seconds: float, actor: str | None = None, **detail: object) -> Line:
    return Line(after(seconds), actor, detail)


LOST, END, CLOSE = line(60, cause="feed lost"), line(120, "Juma Ali"), line(132.5, reason="end")
BY_ITSELF, TOOK_LEAVE = line(132.5, reason="feed lost"), line(60, cause="feed lost", goodbye=True)


@pytest.mark.parametrize(
    ("told", "by"),
    [
        ({"feed_lost": LOST, "end": END, "close": CLOSE}, ["Juma Ali"]),
        ({"feed_lost": LOST, "close": BY_ITSELF}, [None]),
        ({"feed_lost": line(80, cause="stalled"), "feed_back": line(70), "end": END, "close": CLOSE}, ["Juma Ali"]),
        ({"resumed": line(80), "on_air": line(1), "close": BY_ITSELF}, [None]),
        ({"feed_lost": LOST, "end": line(50), "undo_end": line(55), "close": BY_ITSELF}, [None]),
        ({"feed_lost": LOST, "feed_back": line(70), "end": END, "close": CLOSE}, []),
        ({"feed_lost": line(118.1), "end": END, "close": CLOSE}, []),
        ({"feed_lost": line(125), "end": END, "close": CLOSE}, []),
        ({"feed_lost": line(129, cause="feed lost"), "close": line(132.5, reason="feed ended")}, []),
        ({"feed_lost": line(60, cause="no picture"), "end": END, "close": CLOSE}, []),
        ({"on_air": line(1), "end": END, "close": CLOSE}, []),
        ({"feed_lost": TOOK_LEAVE, "end": END, "close": CLOSE}, []),
        ({"feed_lost": TOOK_LEAVE, "close": BY_ITSELF}, [None]),
    ],
    ids=[
        "ended by a person", "by itself", "lost again", "taken up in vain", "an end that was undone", "back",
        "as the end was asked for", "after that", "goodbye", "sound went on", "never lost",
        "an encoder was stopped, then people ended it", "an encoder was stopped, and nobody ended it",
    ],
)  # fmt: skip
def test_what_is_lost_to_the_end(told: dict[str, Line], by: list[str | None]) -> None:
    found = lost_of(told)
    assert [alarm.ended and alarm.ended.by for alarm in found] == by
    assert {short(alarm) for alarm in found} <= {"lost_to_the_end.mild"}


def lost_of(told: dict[str, Line]) -> list[Alarm]:
    channel = Channel(slug="ikulu", institution_id=1, name_sw="Ikulu", name_en="State House")
    broadcast = Broadcast(id="B1", title_sw="Hotuba", title_en="Speech", state="ended", ended_at=after(132.5))
    return [held.alarm for held in lost(broadcast, channel, told, after(200))]


SPARE, SPARE_STOPPED = line(60, role="backup"), line(60, role="backup", goodbye=True)
GOODBYE = line(132.5, reason="feed ended")


@pytest.mark.parametrize(
    ("told", "found"),
    [
        ({"spare_lost": SPARE, "end": END, "close": CLOSE}, ["lost_to_the_end.backup.mild"]),
        ({"spare_lost": SPARE, "close": GOODBYE, "feed_lost": line(131)}, ["lost_to_the_end.backup.mild"]),
        ({"spare_lost": SPARE, "feed_lost": LOST, "end": END, "close": CLOSE}, ["lost_to_the_end.mild"]),
        (
            {"spare_lost": SPARE, "spare_back": line(60, role="primary"), "end": END, "close": CLOSE},
            ["lost_to_the_end.backup.mild"],
        ),
        ({"spare_lost": SPARE, "spare_back": line(70, role="backup"), "end": END, "close": CLOSE}, []),
        ({"spare_lost": SPARE_STOPPED, "end": END, "close": CLOSE}, []),
        ({"spare_lost": SPARE_STOPPED, "close": GOODBYE}, []),
        ({"spare_lost": line(119, role="backup"), "end": END, "close": CLOSE}, []),
        ({"spare_lost": line(125, role="backup"), "end": END, "close": CLOSE}, []),
    ],
    ids=[
        "to the end", "the other one ended it", "with the other", "the other came back, and it went", "back",
        "stopped before", "both stopped", "as the end was asked for", "after that",
    ],
)  # fmt: skip
def test_a_spare_that_is_lost_to_the_end(told: dict[str, Line], found: list[str]) -> None:
    assert [short(alarm) for alarm in lost_of(told)] == found
