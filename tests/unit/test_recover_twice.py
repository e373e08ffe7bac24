"""Recovery that is killed itself, at each of its writes: the next one ends where one that was let be would have."""

import asyncio
import io
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from archive.recordings import verify
from archive.recordings.account import UNTOLD, account
from archive.recordings.ledger import read_facts
from archive.recordings.recover import RestoredRecording, RestoredRendition, finish, unfinished
from tests.unit.media_kit import aac_44k
from tests.unit.test_broadcast import START_MS, studio
from tests.unit.test_recover import BROADCAST, left

NOW_MS = START_MS + 20_000


class Died(BaseException):
    """The process was killed there."""


class Fate:
    """Dies at the `at`-th thing done to files; the dead do no more. A write has three moments: before, halfway and
    behind."""

    def __init__(self, at: int) -> None:
        self._left, self._is_dead = at, False

    def step(self) -> None:
        self._left -= 1
        self._is_dead |= self._left == 0
        if self._is_dead:
            raise Died

    def write(self, write: Callable[[Any], int], data: Any) -> int:
        self.step()
        if self._left == 1:
            write(data[: len(data) // 2])
        self.step()
        return write(data)


class Watched:
    """A file that was opened for writing; nothing waits in a buffer."""

    def __init__(self, file: Any, fate: Fate) -> None:
        self._file, self._fate = file, fate

    def __enter__(self) -> "Watched":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def write(self, data: Any) -> int:
        return self._fate.write(self._write, data)

    def _write(self, data: Any) -> int:
        count = int(self._file.write(data))
        self._file.flush()
        return count

    def truncate(self, size: int) -> None:
        self._fate.step()
        self._file.truncate(size)


@contextmanager
def dying(fate: Fate) -> Iterator[None]:
    open_file, open_descriptor, write = io.open, os.open, os.write

    def watched(path: Any, mode: str = "r", *rest: Any, **options: Any) -> Any:
        if mode in ("r", "rb"):
            return open_file(path, mode, *rest, **options)
        fate.step()
        return Watched(open_file(path, mode, *rest, **options), fate)

    def opened(path: Any, flags: int, *rest: Any, **options: Any) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR):
            fate.step()
        return open_descriptor(path, flags, *rest, **options)

    def watch(act: Callable[..., Any]) -> Callable[..., Any]:
        def acted(*given: Any, **options: Any) -> Any:
            fate.step()
            return act(*given, **options)

        return acted

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(io, "open", watched)
        patch.setattr(os, "open", opened)
        patch.setattr(os, "write", lambda descriptor, data: fate.write(lambda some: write(descriptor, some), data))
        for name in ("rename", "replace", "unlink", "link", "truncate", "ftruncate", "mkdir", "utime"):
            patch.setattr(os, name, watch(getattr(os, name)))
        yield


# What a killed process left.


def changed(folder: Path, kept_s: float = 2.0) -> Path:
    """Another configuration came just before; of that and of some seconds memory alone has anything."""

    async def scenario() -> None:
        with studio(folder) as live:
            feed = live.attach()
            at = live.play(feed, 6.1 - kept_s, 0)
            await live.recorder.written()
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(live.recorder, "put", lambda job: None)
                at = live.play(feed, kept_s, at)
                live.change(feed, aac_44k())
                live.play(feed, 2.5, at, rate_hz=44_100)

    asyncio.run(scenario())
    return folder / "recordings" / BROADCAST


def in_memory(folder: Path) -> Path:
    """But for its first second all of it, so that no index is there yet."""

    async def scenario() -> None:
        with studio(folder) as live:
            feed = live.attach()
            at = live.play(feed, 1, 0)
            await live.recorder.written()
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(live.recorder, "put", lambda job: None)
                live.play(feed, 6.3, at)

    asyncio.run(scenario())
    return folder / "recordings" / BROADCAST


def torn(folder: Path) -> Path:
    """A power cut: whole segments that are on record are cut short, the index within an entry, the ledger in a line."""
    place = changed(folder, 0)
    shutil.rmtree(folder / "live")
    for path in (*place.glob("*/1.m4s"), *place.glob("*/*.partial"), place / "source-audio/index.m3u8"):
        path.write_bytes(path.read_bytes()[: -max(3, path.stat().st_size // 5)])
    ledger = place / verify.LEDGER_NAME
    ledger.write_bytes(ledger.read_bytes()[:-9])
    return place


def without_sound(folder: Path) -> Path:
    """One rendition was told longer than the other."""
    place = changed(folder)
    for path in (folder / "live").rglob("source-audio/*.m4s"):
        path.unlink()
    (place / "source-audio/index.m3u8").write_text("#EXTM3U\n#EXT-X-VERS")
    return place


def waiting(folder: Path) -> Path:
    """In a gap, between an absent segment and its index."""
    place = left(folder, is_over=False)
    lines = (place / verify.LEDGER_NAME).read_bytes().splitlines(keepends=True)
    (place / verify.LEDGER_NAME).write_bytes(b"".join(lines[:-1]) + lines[-1][:20])
    for index in place.glob("source*/index.m3u8"):
        index.write_text(index.read_text()[: index.read_text().rindex("#EXT-X-PROGRAM-DATE-TIME")])
    return place


def ending(folder: Path) -> Path:
    """One index has its end, and a rendition lacks a segment that the other has."""
    place = left(folder, is_over=True)
    lines = (place / verify.LEDGER_NAME).read_bytes().splitlines(keepends=True)
    first = next(number for number, line in enumerate(lines) if b"index.m3u8" in line)
    (place / verify.LEDGER_NAME).write_bytes(b"".join(lines[:first]))
    index = place / "source-audio/index.m3u8"
    index.write_text(index.read_text()[: index.read_text().rindex("#EXT-X-PROGRAM-DATE-TIME")] + "#EXT-X-ENDLIST\n")
    whole = place / "source/index.m3u8"
    whole.write_text(whole.read_text().removesuffix("#EXT-X-ENDLIST\n"))
    return place


# Recovery, and what is there afterwards.


def recover(place: Path, fate: Fate) -> list[RestoredRecording]:
    found = []
    with dying(fate):
        for restored in unfinished(place.parent, place.parent.parent / "live", NOW_MS):
            finish(place, restored, "test", NOW_MS)
            found.append(restored)
    return found


def segments(restored: RestoredRecording) -> dict[str, RestoredRendition]:
    return {name: replace(one, has_end=False) for name, one in restored.renditions.items()}


def facts(place: Path) -> Counter[str]:
    told = [{name: value for name, value in fact.items() if name not in ("prev", "at")} for fact in read_facts(place)]
    return Counter(repr(sorted(fact.items())) for fact in told)


def files(place: Path) -> dict[str, bytes]:
    found = {path.relative_to(place).as_posix(): path for path in place.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in found.items() if name != verify.LEDGER_NAME}


@pytest.mark.parametrize("leave", [changed, in_memory, torn, without_sound, waiting, ending])
def test_recovery_that_is_killed_ends_as_if_it_had_been_let_be(tmp_path: Path, leave: Callable[[Path], Path]) -> None:
    name = leave(tmp_path / "killed").relative_to(tmp_path / "killed")
    shutil.copytree(tmp_path / "killed", tmp_path / "once")
    once = tmp_path / "once" / name
    (clean,) = recover(once, Fate(0))
    told = account(read_facts(once))
    assert [one.kind for one in verify.verify(once).findings] == ["unsigned"]
    assert UNTOLD not in {gap.cause for one in (told.best, *told.renditions) for gap in one.gaps}
    at, is_alive = 0, False
    while not is_alive:
        at += 1
        twice = tmp_path / "twice" / name
        shutil.copytree(tmp_path / "killed", tmp_path / "twice")
        try:
            recover(twice, Fate(at))
            is_alive = True
        except Died:
            pass
        again = recover(twice, Fate(0))
        for restored in again:
            assert (segments(restored), restored.size) == (segments(clean), clean.size), at
            assert restored.can_go_on <= clean.can_go_on, f"{at}: it was at its end"
        assert files(twice) == files(once), at
        assert facts(twice) == facts(once), at
        assert [one.kind for one in verify.verify(twice).findings] == ["unsigned"], at
        shutil.rmtree(tmp_path / "twice")
    assert at > 25, "it was watched"


@pytest.mark.parametrize("leave", [changed, in_memory, without_sound])
@pytest.mark.parametrize(
    ("away_s", "media_s", "lost_jobs_s"), [(0, 0, 0), (3, 0, 0), (3, 0.3, 0), (3, 5, 0), (3, 5, 4.5)]
)
def test_a_process_that_is_killed_soon_after_it_went_on_loses_nothing(
    tmp_path: Path, leave: Callable[[Path], Path], away_s: float, media_s: float, lost_jobs_s: float
) -> None:
    place = leave(tmp_path)
    (restored,) = unfinished(tmp_path / "recordings", tmp_path / "live", NOW_MS)
    held_ms = account(read_facts(place)).best.held_ms

    async def goes_on() -> None:
        with studio(tmp_path, restored) as live:
            live.now_ms = 20_000
            live.play(None, away_s, 0, kinds="")
            at, feed = 0, live.attach()
            if media_s:
                at = live.play(feed, media_s - lost_jobs_s, 0)
            await live.recorder.written()
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(live.recorder, "put", lambda job: None)
                live.play(feed, lost_jobs_s, at)
                live.broadcast.pause()

    asyncio.run(goes_on())
    (restored,) = recover(place, Fate(0))
    assert [one.kind for one in verify.verify(place, with_media=True).findings] == ["unsigned"]
    told = account(read_facts(place))
    assert UNTOLD not in {gap.cause for one in (told.best, *told.renditions) for gap in one.gaps}
    assert told.best.held_ms == pytest.approx(held_ms + media_s * 1000, abs=verify.PICTURE_MS)
    for one in restored.renditions.values():
        assert [segment.msn for segment in one.segments] == list(range(restored.next_msn)), one.name
        breaks = [segment.discontinuities for segment in one.segments]
        assert breaks == [segment.discontinuities for segment in restored.renditions["source"].segments]
    assert max(facts(place).values()) == 1, "told twice"
