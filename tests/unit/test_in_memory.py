"""What a kill finds in memory and not on the disk: what the start says, initialization segments; and what a full disk
refused."""

import asyncio
import errno
from pathlib import Path

import pytest

from archive.recordings import recorder, verify
from archive.recordings.ledger import read_facts
from archive.recordings.recover import RestoredRecording, finish, unfinished
from core.media.files import replace_file
from tests.unit.test_broadcast import START_MS, Studio, studio
from tests.unit.test_reconfigured_broadcast import RECORDING, B, assert_named, change, play

NAMES = ("source", "source-audio")


def told_s(live: Studio, name: str) -> float:
    window = live.broadcast.renditions[name].window
    return window.duration_s + (window.open.content_s if window.open else 0)


def taken_up(folder: Path) -> RestoredRecording:
    (restored,) = unfinished(folder / "recordings", folder / "live", START_MS + 12_000)
    return restored


def whole(folder: Path, restored: RestoredRecording) -> None:
    finish(folder / "recordings" / RECORDING, restored, "test", START_MS + 12_000)
    found = verify.verify(folder / "recordings" / RECORDING, with_media=True).findings
    assert [one.kind for one in found] == ["unsigned"]


def test_a_kill_before_the_disk_has_anything_loses_nothing(tmp_path: Path) -> None:
    """The recorder's thread stands still from the first packet on."""

    async def scenario() -> Studio:
        with studio(tmp_path) as live, pytest.MonkeyPatch.context() as patch:
            patch.setattr(live.recorder, "put", lambda job: None)
            play(live, live.attach(), 0, 5000)
            return live

    live = asyncio.run(scenario())
    restored = taken_up(tmp_path)
    assert restored.can_go_on and restored.started["origin_ms"] == live.broadcast.origin_ms
    for name in NAMES:
        held_s = sum(one.duration_s for one in restored.renditions[name].segments if not one.gap)
        assert held_s == pytest.approx(told_s(live, name), abs=1e-3)
    whole(tmp_path, restored)
    assert_named(tmp_path / "recordings" / RECORDING)


@pytest.mark.parametrize("kinds", [(0,), (1,), (0, 1)], ids=["picture", "sound", "both"])
@pytest.mark.parametrize("lost_ms", [300, 2100, 5000])
def test_a_new_configuration_that_the_disk_has_not_yet_is_that_of_its_parts(
    tmp_path: Path, kinds: tuple[int, ...], lost_ms: int
) -> None:
    """And the parts before it, which the disk has not either, are of the one before."""

    async def scenario() -> Studio:
        with studio(tmp_path) as live:
            feed = live.attach()
            play(live, feed, 0, 9000 - lost_ms)
            await live.recorder.written()
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(live.recorder, "put", lambda job: None)
                play(live, feed, 9000 - lost_ms, 9000)
                change(live, feed, *(B[kind] for kind in kinds))
                play(live, feed, 9000, 11_300)
            return live

    live = asyncio.run(scenario())
    restored = taken_up(tmp_path)
    for name in NAMES:
        segments = restored.renditions[name].segments
        assert sum(one.duration_s for one in segments) == pytest.approx(told_s(live, name), abs=0.06)
        window = live.broadcast.renditions[name].window
        open_one = [window.open] if window.open else []
        told = [(one.msn, one.init, one.discontinuity) for one in [*window.segments, *open_one]]
        assert [(one.msn, one.init, one.discontinuity) for one in segments] == told
        assert restored.renditions[name].track.config == live.broadcast.renditions[name].packager.track.config  # type: ignore[union-attr]
    whole(tmp_path, restored)
    assert_named(tmp_path / "recordings" / RECORDING)


@pytest.mark.parametrize("is_killed", [True, False])
def test_an_initialization_that_a_full_disk_refused_is_written_once_it_has_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_killed: bool
) -> None:
    def refuse(path: Path, data: bytes) -> None:
        if path.name.startswith("init-"):
            raise OSError(errno.ENOSPC, "full")
        replace_file(path, data)

    async def scenario() -> None:
        with studio(tmp_path) as live:
            feed = live.attach()
            with monkeypatch.context() as patch:
                patch.setattr(recorder, "replace_file", refuse)
                play(live, feed, 0, 3000)
                await live.recorder.written()
                if is_killed:
                    return
            play(live, feed, 3000, 5000)
            await live.broadcast.end("test")

    asyncio.run(scenario())
    for restored in unfinished(tmp_path / "recordings", tmp_path / "live", START_MS + 12_000):
        finish(tmp_path / "recordings" / RECORDING, restored, "test", START_MS + 12_000)
    assert_named(tmp_path / "recordings" / RECORDING)
    assert [one.kind for one in verify.verify(tmp_path / "recordings" / RECORDING).findings] == ["unsigned"]


def test_a_start_that_the_disk_refused_is_the_ledgers_first_fact_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    async def scenario() -> None:
        with studio(tmp_path) as live:
            feed = live.attach()
            with monkeypatch.context() as patch:
                patch.setattr(Path, "mkdir", refuse)
                play(live, feed, 0, 900)
                await live.recorder.written()
            play(live, feed, 900, 7000)
            await live.broadcast.end("test")

    asyncio.run(scenario())
    facts = [fact["fact"] for fact in read_facts(tmp_path / "recordings" / RECORDING)]
    assert facts[0] == "started" and facts.count("started") == 1


def test_a_recording_that_ended_leaves_nothing_that_would_begin_it_anew(tmp_path: Path) -> None:
    async def scenario() -> None:
        with studio(tmp_path) as live:
            play(live, live.attach(), 0, 3000)
            await live.broadcast.end("test")

    asyncio.run(scenario())
    for path in sorted((tmp_path / "recordings").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    assert list(unfinished(tmp_path / "recordings", tmp_path / "live", START_MS + 12_000)) == []


def test_an_initialization_that_memory_refused_is_written_once_it_has_room(tmp_path: Path) -> None:
    async def scenario() -> None:
        with studio(tmp_path) as live:
            feed = live.attach()
            blocked = [tmp_path / "live/ikulu" / RECORDING / name / "init-0.mp4.new" for name in NAMES]
            for path in blocked:
                path.mkdir(parents=True)
            play(live, feed, 0, 3000)
            assert live.broadcast.is_refused
            for path in blocked:
                path.rmdir()
            play(live, feed, 3000, 5000)
            assert not live.broadcast.is_refused
            assert all(path.with_suffix("").exists() for path in blocked)

    asyncio.run(scenario())
