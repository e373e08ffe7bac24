"""The wall clock is set while a broadcast is on the air, as NTP does: nothing of it moves."""

import asyncio
from collections import deque
from collections.abc import Mapping
from pathlib import Path

import pytest

from archive.recordings import verify
from archive.recordings.account import UNTOLD, account
from archive.recordings.ledger import Fact, read_facts
from archive.recordings.recover import RestoredRecording, unfinished
from core.keys import TurnedAway
from core.media.packet import Kind, Packet, Track
from mbashara import broadcast
from mbashara.refused import Refused
from mbashara.renditions import Renditions
from tests.unit.test_broadcast import ONE_SOUND_MS, START_MS, Studio, studio
from transcode.headroom import Headroom

BROADCAST, NAMES = "0" * 26, ("source", "source-audio", "low-audio")
STEPS_MS = [0, -600_000, -60_000, -5000, -1000, 1000, 5000, 27_000, 60_000, 600_000]


class Slow:
    """A ladder of one rung, which gives the sound back a second later."""

    def __init__(self, _ffmpeg: str | None, renditions: Renditions, _headroom: Headroom) -> None:
        self.restarts, self.left_out = 0, frozenset[str]()
        self._renditions, self._behind = renditions, deque[Packet]()

    def start(self, tracks: Mapping[Kind, Track]) -> "Slow":
        self._renditions.configure_rung("low-audio", tracks[Kind.AUDIO])
        return self

    def write(self, packet: Packet) -> None:
        if packet.kind is Kind.AUDIO:
            self._behind.append(packet)
        while self._behind and packet.dts_ms - self._behind[0].dts_ms > 1000:
            self._renditions.by_name["low-audio"].packager.write(self._behind.popleft())

    def finish(self) -> None:
        while self._behind:
            self._renditions.by_name["low-audio"].packager.write(self._behind.popleft())

    async def end(self) -> None:
        self.finish()


@pytest.fixture(autouse=True)
def slow_ladder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broadcast, "Ladder", Slow)


def is_even(live: Studio) -> None:
    """No segment is longer than the encoder's cuts and the wait for a gap make it, and none is left out."""
    for name in NAMES:
        found = live.segments(name)
        assert max(one.duration_s for one in found) <= 4.5, name
        assert [one.msn for one in found] == list(range(len(found)))


def untold(facts: list[Fact]) -> list[str]:
    """Renditions of which some millisecond has no cause."""
    return [one.name for one in account(facts).renditions if UNTOLD in {gap.cause for gap in one.gaps}]


@pytest.mark.parametrize("set_ms", STEPS_MS)
def test_a_feed_goes_on_when_the_clock_is_set(tmp_path: Path, set_ms: int) -> None:
    async def scenario() -> None:
        with studio(tmp_path) as live:
            feed = live.attach()
            at_ms = live.play(feed, 7.3, 0)
            live.set_ms = set_ms
            live.play(feed, 9, at_ms)
            await live.broadcast.end("test")
            is_even(live)
            assert live.broadcast.discontinuities == 0

    asyncio.run(scenario())
    facts = list(read_facts(tmp_path / "recordings" / BROADCAST))
    assert not [fact for fact in facts if fact["fact"] in ("gap", "lost")]
    assert [one.held_ms for one in account(facts).renditions] == pytest.approx([16_300] * 3, abs=2 * ONE_SOUND_MS)


@pytest.mark.parametrize("set_ms", STEPS_MS)
@pytest.mark.parametrize("when", ["before it is lost", "while it is away", "as it is back", "behind it"])
def test_a_feed_that_is_lost_and_back_lacks_what_it_was_away(tmp_path: Path, set_ms: int, when: str) -> None:
    """Sound and picture, to the millisecond; and whoever was turned away meanwhile came then."""

    async def scenario() -> None:
        with studio(tmp_path) as live:
            feed = live.attach()
            at_ms = live.play(feed, 7.3, 0)
            live.set_ms = set_ms if when == "before it is lost" else 0
            live.play(feed, 2, at_ms)
            live.broadcast.detach()
            live.play(None, 3, 0, kinds="")
            live.set_ms = set_ms if when in ("before it is lost", "while it is away") else 0
            live.broadcast.note_refused(Refused("backup", TurnedAway.REVOKED, "", START_MS + live.now_ms + live.set_ms))
            live.play(None, 3, 0, kinds="")
            feed = live.attach()
            at_ms = live.play(feed, 0.1, 777)
            live.set_ms = set_ms if when != "behind it" else 0
            at_ms = live.play(feed, 3, at_ms)
            live.set_ms = set_ms
            live.play(feed, 5, at_ms)
            await live.broadcast.end("test")
            is_even(live)

    asyncio.run(scenario())
    facts = list(read_facts(tmp_path / "recordings" / BROADCAST))
    (gap,) = (fact for fact in facts if fact["fact"] == "gap")
    assert (gap["from_ms"], gap["cause"]) == (9300, "refused")
    assert gap["to_ms"] - gap["from_ms"] == pytest.approx(6000, abs=60)
    assert [fact["at_ms"] for fact in facts if fact["fact"] == "refused"] == [pytest.approx(12_300, abs=60)]
    for one in account(facts).renditions:
        assert one.held_ms == pytest.approx(17_400, abs=3 * ONE_SOUND_MS), one.name
        assert sum(gap.length_ms for gap in one.gaps if gap.cause != "refused") <= 2 * ONE_SOUND_MS


@pytest.mark.parametrize("set_ms", STEPS_MS)
def test_a_restart_is_anchored_anew_and_never_before_what_was_told(tmp_path: Path, set_ms: int) -> None:
    async def before() -> None:
        with studio(tmp_path) as live:
            live.play(live.attach(), 8.2, 0)

    async def after(restored: RestoredRecording) -> None:
        with studio(tmp_path, restored, now_ms=11_224, set_ms=set_ms) as live:
            live.play(None, 3, 0, kinds="")
            live.play(live.attach(), 6, 0)
            await live.broadcast.end("test")
            is_even(live)

    asyncio.run(before())
    (restored,) = unfinished(tmp_path / "recordings", tmp_path / "live", START_MS + 11_224 + set_ms)
    asyncio.run(after(restored))
    facts = list(read_facts(tmp_path / "recordings" / BROADCAST))
    (gap,) = (fact for fact in facts if fact["fact"] == "gap" and "rendition" not in fact)
    assert gap["to_ms"] - gap["from_ms"] == pytest.approx(max(3000, 14_200 + set_ms - restored.end_ms), abs=60)
    assert [one.kind for one in verify.verify(tmp_path / "recordings" / BROADCAST).findings] == ["unsigned"]
    assert not untold(facts)


def test_facts_say_when_they_were_told_by_the_clock_as_it_is(tmp_path: Path) -> None:
    async def scenario() -> None:
        with studio(tmp_path) as live:
            live.set_ms = -3_600_000
            at_ms = live.play(feed := live.attach(), 2, 0)
            live.set_ms = 0
            live.play(feed, 2, at_ms)
            live.broadcast.detach()
            await live.broadcast.end("test")

    asyncio.run(scenario())
    facts = list(read_facts(tmp_path / "recordings" / BROADCAST))
    assert facts[0]["origin_ms"] == pytest.approx(START_MS - 3_600_000, abs=40)
    assert facts[-1]["at"] == "2023-11-14T22:13:24.000+00:00" and facts[-1]["duration_ms"] < 4100


@pytest.mark.parametrize("set_ms", STEPS_MS)
def test_a_feed_that_stands_still_behind_it_is_told_in_time(tmp_path: Path, set_ms: int) -> None:
    async def scenario() -> None:
        with studio(tmp_path) as live:
            feed = live.attach()
            at_ms = live.play(feed, 7.3, 0)
            live.set_ms = set_ms
            at_ms = live.play(feed, 0.2, at_ms)
            live.play(None, 6.5, 0, kinds="")
            assert live.broadcast.is_lost
            live.play(None, 10.5, 0, kinds="")
            live.play(feed, 5, at_ms + 17_000)
            await live.broadcast.end("test")
            is_even(live)

    asyncio.run(scenario())
    facts = list(read_facts(tmp_path / "recordings" / BROADCAST))
    (gap,) = (fact for fact in facts if fact["fact"] == "gap")
    assert gap["to_ms"] - gap["from_ms"] == pytest.approx(17_000, abs=60) and gap["cause"] == "stalled"
    assert not untold(facts)


@pytest.mark.parametrize("away_s", [2, 3.95, 4.1, 30, 600])
def test_a_machine_that_slept_has_a_gap_of_that_in_each_rendition(tmp_path: Path, away_s: float) -> None:
    async def scenario() -> None:
        with studio(tmp_path) as live:
            live.play(live.attach(), 7.3, 0)
            live.now_ms += away_s * 1000
            live.broadcast.detach()
            live.play(live.attach(), 5, 0)
            await live.broadcast.end("test")
            is_even(live)

    asyncio.run(scenario())
    facts = list(read_facts(tmp_path / "recordings" / BROADCAST))
    for one in account(facts).renditions:
        assert one.gap_ms == pytest.approx(away_s * 1000, abs=60), one.name
    assert not untold(facts)
