"""What a killed media process left is found again: on disk, torn in mid-part, and in the memory folder."""

import asyncio
import errno
import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from archive.recordings import recorder, verify
from archive.recordings.account import UNTOLD, account
from archive.recordings.ledger import read_facts
from archive.recordings.recover import RestoredRecording, finish, unfinished
from archive.recordings.signatures import Heads, sign
from core.media import fmp4
from tests.unit.media_kit import aac_44k
from tests.unit.test_broadcast import START_MS, Studio, studio
from tests.unit.test_verify import KEY, NOW, heads

BROADCAST = "0" * 26


def killed(
    folder: Path, lost_jobs_s: float, torn_bytes: int = 0, harm: Callable[[Path], object] = lambda memory: None
) -> tuple[Studio, RestoredRecording]:
    """A broadcast of 7.3 s whose process was killed: what the recorder was told in the last seconds is not on disk.
    `harm` is done to its folder in memory."""

    async def scenario() -> Studio:
        with studio(folder) as live:
            feed = live.attach()
            at = live.play(feed, 7.3 - lost_jobs_s, 0)
            await live.recorder.written()
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(live.recorder, "put", lambda job: None)
                live.play(feed, lost_jobs_s, at)
            return live

    live = asyncio.run(scenario())
    if torn_bytes:
        open_files = list((folder / "recordings" / BROADCAST).glob("*/*.partial"))
        assert open_files
        for path in open_files:
            path.write_bytes(path.read_bytes()[:-torn_bytes])
    harm(folder / "live/ikulu" / BROADCAST)
    (restored,) = unfinished(folder / "recordings", folder / "live", START_MS + 9000)
    return live, restored


def told_s(live: Studio, name: str) -> float:
    window = live.broadcast.renditions[name].window
    return window.duration_s + (window.open.content_s if window.open else 0)


@pytest.mark.parametrize("lost_jobs_s", [0, 0.6, 2.6])
@pytest.mark.parametrize("torn_bytes", [0, 3])
def test_everything_that_viewers_were_told_is_kept(tmp_path: Path, lost_jobs_s: float, torn_bytes: int) -> None:
    live, restored = killed(tmp_path, lost_jobs_s, torn_bytes)
    for name in ("source", "source-audio"):
        segments = restored.renditions[name].segments
        assert sum(one.duration_s for one in segments) == pytest.approx(told_s(live, name), abs=1e-3)
        for one in segments:
            data = (tmp_path / "recordings" / BROADCAST / name / f"{one.msn}.m4s").read_bytes()
            whole = list(fmp4.fragments(data))
            assert whole[-1].offset + whole[-1].size == len(data)


def first_refused(memory: Path) -> None:
    (memory / "source/3.0.m4s").unlink()


def one_of_before(memory: Path) -> None:
    """Of a process that was killed before, when a disk was full: the number was given anew."""
    (memory / "source/3.99.m4s").write_bytes((memory / "source/2.0.m4s").read_bytes())


@pytest.mark.parametrize("harm", [first_refused, one_of_before])
def test_what_is_not_in_memory_as_it_was_costs_nothing_else(tmp_path: Path, harm: Callable[[Path], object]) -> None:
    live, restored = killed(tmp_path, 0.6, harm=harm)
    source = restored.renditions["source"].segments
    assert sum(one.duration_s for one in source) == pytest.approx(told_s(live, "source"), abs=1e-3)
    whole = list(fmp4.fragments((tmp_path / "recordings" / BROADCAST / "source/3.m4s").read_bytes()))
    times = [one.decode_time for one in whole]
    assert times == sorted(set(times)) and len(times) > 1


@pytest.mark.parametrize("is_killed", [False, True])
def test_a_disk_that_refused_segments_leaves_nothing_that_looks_added(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_killed: bool
) -> None:
    """Their gap is told before the end; parts that memory has of them are no file after a kill."""

    def refuse(descriptor: int, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "full")

    slow = threading.Event()

    def stand_still() -> None:
        slow.wait()

    async def scenario() -> None:
        with studio(tmp_path) as live:
            feed = live.attach()
            at = live.play(feed, 4, 0)
            await live.recorder.written()
            with monkeypatch.context() as patch:
                patch.setattr(recorder, "write_all", refuse)
                live.play(feed, 2.6, at)
                await live.recorder.written()
                if is_killed:
                    patch.setattr(live.recorder, "put", lambda job: None)
                    live.play(feed, 0.6, at + 2600)
                    return
                live.recorder.put(stand_still)  # so that all jobs of the end are queued before the first is done
                asyncio.get_running_loop().call_later(0.1, slow.set)
                await live.broadcast.end("test")

    asyncio.run(scenario())
    folder = tmp_path / "recordings" / BROADCAST
    for restored in unfinished(tmp_path / "recordings", tmp_path / "live", START_MS + 9000):
        finish(folder, restored, "test", START_MS + 9000)
    facts = list(read_facts(folder))
    assert "disk full" in {fact.get("cause") for fact in facts} and facts[-1]["fact"] == "ended"
    assert [one.kind for one in verify.verify(folder).findings] == ["unsigned"]


def test_without_the_memory_folder_whole_parts_are_kept(tmp_path: Path) -> None:
    live, _ = killed(tmp_path / "first", 0)
    folder = tmp_path / "first" / "recordings"
    ledger = folder / BROADCAST / "ledger.jsonl"
    assert json.loads(ledger.read_text().splitlines()[0])["fact"] == "started"
    (again,) = unfinished(folder, tmp_path / "nothing", START_MS + 9000)
    assert again.end_ms == pytest.approx(told_s(live, "source") * 1000, abs=60)


def test_a_broadcast_goes_on_from_what_was_kept(tmp_path: Path) -> None:
    _, restored = killed(tmp_path, 0.6)

    async def scenario() -> None:
        with studio(tmp_path, restored) as live:
            live.now_ms = 9000 + restored.started["origin_ms"] - START_MS
            live.play(live.attach(), 6, 123_456)
            await live.broadcast.end("test")
            source = live.segments("source")
            assert [one.msn for one in source] == list(range(len(source)))
            assert sum(one.discontinuity for one in source) == 1
            text = (tmp_path / "recordings" / BROADCAST / "source" / "index.m3u8").read_text()
            assert text.endswith("#EXT-X-ENDLIST\n") and text.count(".m4s\n") == len(source)

    asyncio.run(scenario())


def test_what_is_signed_is_not_told_anew(tmp_path: Path) -> None:
    """A segment that someone changed while the process was away, and one that a power cut left short."""
    folder = tmp_path / "recordings" / BROADCAST
    killed(tmp_path, 0)
    changed, short = folder / "source" / "0.m4s", folder / "source" / "1.m4s"
    told = verify.read_chain(folder / verify.LEDGER_NAME)
    end = next(end for line, end in zip(told.lines, told.ends, strict=True) if line.get("name") == "source/0.m4s")
    sign(folder, BROADCAST, Heads(end, str(told.head_at(end))), KEY, NOW)
    for path in (changed, short):
        first = next(iter(fmp4.fragments(path.read_bytes())))
        path.write_bytes(path.read_bytes()[: first.offset + first.size])
    for left in ("index.m3u8.new", "source/init-1.mp4.new"):
        (folder / left).write_bytes(b"half")
    (restored,) = unfinished(tmp_path / "recordings", tmp_path / "nothing", START_MS + 9000)
    finish(folder, restored, "test", START_MS + 9000)
    sign(folder, BROADCAST, heads(folder), KEY, NOW)
    found = verify.verify(folder)
    assert [(one.kind, one.values["file"]) for one in found.findings] == [("shortened", "source/0.m4s")]
    told_anew = verify.listed_files(verify.read_chain(folder / verify.LEDGER_NAME))["source/1.m4s"]
    assert told_anew["recovered"] and verify.held_in(told_anew) == [(2000, 2520)], "what the power cut took is a gap"
    taken = [fact for fact in read_facts(folder) if fact["fact"] == "gap" and fact.get("rendition") == "source"]
    assert (taken[0]["from_ms"], taken[0]["to_ms"], taken[0]["cause"]) == (2520, 4000, "process ended")


def test_a_hole_in_a_segment_that_a_killed_process_left_is_none_of_what_is_held(tmp_path: Path) -> None:
    async def scenario() -> None:
        with studio(tmp_path) as live:
            feed = live.attach()
            at = live.play(feed, 1, live.play(feed, 4.5, 0), kinds="v")
            live.play(feed, 0.4, at)

    asyncio.run(scenario())
    (restored,) = unfinished(tmp_path / "recordings", tmp_path / "nothing", START_MS + 9000)
    finish(tmp_path / "recordings" / BROADCAST, restored, "test", START_MS + 9000)
    told = account(read_facts(tmp_path / "recordings" / BROADCAST))
    sound = next(one for one in told.renditions if one.name == "source-audio")
    assert (sound.gaps[0].from_ms, sound.gaps[0].to_ms) == (4501, 5500)


def test_a_slow_disk_and_a_kill_where_a_gap_ends_leave_no_number_out(tmp_path: Path) -> None:
    """The gap's last segment has no file, and the index does not name it yet: who restored that found none."""

    async def before() -> None:
        with studio(tmp_path) as live:
            feed = live.attach()
            at_ms = live.play(feed, 9, live.play(feed, 5, 0), kinds="a")
            await live.recorder.written()
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(live.recorder, "put", lambda job: None)
                live.play(feed, 2.5, at_ms)

    async def after(restored: RestoredRecording) -> None:
        with studio(tmp_path, restored) as live:
            live.now_ms = 20_000
            live.play(live.attach(), 3, 0)
            await live.broadcast.end("test")

    asyncio.run(before())
    (restored,) = unfinished(tmp_path / "recordings", tmp_path / "live", START_MS + 20_000)
    for one in restored.renditions.values():
        assert [segment.msn for segment in one.segments] == list(range(restored.next_msn)), one.name
    asyncio.run(after(restored))
    found = verify.verify(tmp_path / "recordings" / BROADCAST, with_media=True).findings
    assert [one.kind for one in found] == ["unsigned"]


def left(folder: Path, *, is_over: bool) -> Path:
    """A broadcast of which the feed is away at its end; its recording."""

    async def scenario() -> None:
        with studio(folder) as live:
            live.play(live.attach(), 5, 0)
            live.broadcast.detach()
            live.play(None, 6, 0, kinds="")
            if is_over:
                await live.broadcast.end("test")

    asyncio.run(scenario())
    return folder / "recordings" / BROADCAST


def taken_up(folder: Path) -> RestoredRecording:
    """Ended then: it is whole, whenever the process was killed."""
    (restored,) = unfinished(folder.parent, folder.parent.parent / "live", START_MS + 20_000)
    finish(folder, restored, "test", START_MS + 20_000)
    assert [one.kind for one in verify.verify(folder).findings] == ["unsigned"]
    told = account(read_facts(folder))
    assert UNTOLD not in {gap.cause for one in (told.best, *told.renditions) for gap in one.gaps}
    for name in restored.renditions:
        text = (folder / name / "index.m3u8").read_text()
        assert text.count("#EXT-X-ENDLIST") == 1 and text.endswith("#EXT-X-ENDLIST\n")
    return restored


def test_a_kill_as_the_end_is_told_is_no_end(tmp_path: Path) -> None:
    folder = left(tmp_path, is_over=True)
    ledger = folder / verify.LEDGER_NAME
    ledger.write_bytes(ledger.read_bytes()[:-9])
    taken_up(folder)


def test_a_kill_as_indexes_are_ended_does_not_go_on_behind_an_end(tmp_path: Path) -> None:
    folder = left(tmp_path, is_over=True)
    ledger, other = folder / verify.LEDGER_NAME, folder / "source-audio" / "index.m3u8"
    lines = ledger.read_bytes().splitlines(keepends=True)
    ended = next(number for number, line in enumerate(lines) if b"index.m3u8" in line)
    ledger.write_bytes(b"".join(lines[:ended]))
    other.write_text(other.read_text().removesuffix("#EXT-X-ENDLIST\n"))
    assert not taken_up(folder).can_go_on


def test_a_kill_between_a_segment_that_is_absent_and_its_index(tmp_path: Path) -> None:
    folder = left(tmp_path, is_over=False)
    *_, first, second = lines = (folder / verify.LEDGER_NAME).read_bytes().splitlines(keepends=True)
    assert [json.loads(line)["rendition"] for line in (first, second)] == ["source", "source-audio"]
    (folder / verify.LEDGER_NAME).write_bytes(b"".join(lines[:-1]))
    for index in folder.glob("source*/index.m3u8"):
        index.write_text(index.read_text()[: index.read_text().rindex("#EXT-X-PROGRAM-DATE-TIME")])
    segments = taken_up(folder).renditions["source"].segments
    assert segments[-1].msn == json.loads(first)["msn"], "viewers were told that number"


def test_a_kill_between_an_initialization_and_its_fact_adds_no_strange_file(tmp_path: Path) -> None:
    folder = left(tmp_path, is_over=False)
    (folder / "480p").mkdir()
    (folder / "480p" / "init-0.mp4").write_bytes((folder / "source" / "init-0.mp4").read_bytes())
    assert taken_up(folder).can_go_on


def test_a_millisecond_that_the_index_rounds_has_a_cause_too(tmp_path: Path) -> None:
    async def scenario() -> None:
        with studio(tmp_path) as live:
            feed, at_ms = live.attach(), 0
            for _ in range(5):
                at_ms = live.play(feed, 1.3, at_ms)

    asyncio.run(scenario())
    folder = tmp_path / "recordings" / BROADCAST
    for path in (*folder.glob("*/*.partial"), *(tmp_path / "live").rglob("*.m4s")):  # as after a power cut
        path.unlink()
    taken_up(folder)


@pytest.mark.parametrize("kept_s", [0.0, 2.0])
def test_a_configuration_that_came_just_before_the_kill_is_kept(tmp_path: Path, kept_s: float) -> None:
    """Neither its initialization segment nor the segment before it is on the disk yet."""

    async def scenario() -> Studio:
        with studio(tmp_path) as live:
            feed = live.attach()
            at = live.play(feed, 6.1 - kept_s, 0)
            await live.recorder.written()
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(live.recorder, "put", lambda job: None)
                at = live.play(feed, kept_s, at) if kept_s else at
                live.change(feed, aac_44k())
                live.play(feed, 2.5, at, rate_hz=44_100)
            return live

    live = asyncio.run(scenario())
    (restored,) = unfinished(tmp_path / "recordings", tmp_path / "live", START_MS + 9000)
    for name in ("source", "source-audio"):
        window = live.broadcast.renditions[name].window
        told = [*window.segments, *([window.open] if window.open else [])]
        found = restored.renditions[name].segments
        assert [(one.msn, one.init, one.discontinuities) for one in found] == [
            (one.msn, one.init, one.discontinuities) for one in told
        ]
        assert [one.start_ms for one in found] == pytest.approx([one.start_ms for one in told], abs=1)
    assert restored.renditions["source-audio"].track == aac_44k()
    folder = tmp_path / "recordings" / BROADCAST
    finish(folder, restored, "test", START_MS + 9000)
    assert [one.kind for one in verify.verify(folder).findings] == ["unsigned"]
