"""Makes a recording of a file: `python -m mbashara.import_file`, a process of its own at the lowest priority.

    file ──> ffmpeg ──FLV──> source renditions
                       └──> ffmpeg, a broadcast's ladder ──FLV──> rungs

Both ffmpegs are caged (core/cage.py); packagers, recorder and ledger are a broadcast's own. The recording is
made under RECORDINGS/.imports, where nobody looks, and takes its place by one rename when it is whole: whatever kills
this process, it begins anew from the file. The order comes as JSON on standard input, what becomes of it goes out as
lines of JSON.
"""

import asyncio
import hashlib
import json
import os
import re
import shutil
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import imageio_ffmpeg

from archive.imports.kept import IMPORTED, ORIGINAL, STAGING
from archive.recordings.recorder import Recorder, Recording
from core import cage
from core.media import flv
from core.media.files import sync_file_system
from core.media.packet import AudioTrack, Kind, MediaError, Packet, Track, VideoTrack
from core.media.window import Cadence, Segment
from mbashara.imported_rendition import ImportedRendition
from mbashara.stills import step_back
from player.playlist import audio_multivariant, multivariant
from transcode.files.command import limits, source_command
from transcode.files.facts import Making, Refused, Trouble, decide
from transcode.files.look import look
from transcode.ladder import choose_rungs, ffmpeg_command
from transcode.timeline import Timeline, choose_part_target

SOURCE_NAMES = {Kind.VIDEO: "source", Kind.AUDIO: "source-audio"}
MAX_EARLY_PACKETS = 2000
LADDER_OFFSET_MS = 1000
"""Added to times on their way through the ladder: an encoder's sound begins a little before its first sample."""
INTERLEAVED_MS = 10_000
"""FLV comes in the order of its times: sound that is so much later than the last picture has none beside it."""
OVERHANG_MS = 500
MAX_QUEUED_BYTES = 32 << 20
STALLED_S = 180.0
WATCH_S = 0.5
READ_BYTES = 1 << 16
HASHED_BYTES = 1 << 20
ENDING = re.compile("[a-z0-9]{1,10}")
SERVED = ("m3u8", "m4s")


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be made. `channel` are the ledger's facts of it; `at_ms` is the wall clock (Unix) of the file's first
    picture, None: as the file says, else `now_ms`. `sha256`: what was sent, where that is known."""

    id: str
    file: str
    name: str
    size: int
    sha256: str | None
    at_ms: int | None
    now_ms: int
    recordings: str
    channel: Mapping[str, Any]
    title_sw: str
    title_en: str
    by: str
    takes_short: bool
    has_ladder: bool
    longest_ms: int
    target_duration_s: int
    part_target_s: float
    min_free_bytes: int

    def as_json(self) -> str:
        return json.dumps(asdict(self))


class Failed(Exception):
    """The file becomes no recording, and why."""

    def __init__(self, refused: Refused) -> None:
        super().__init__(refused.trouble)
        self.refused = refused


def fail(trouble: Trouble, read_ms: float = 0, told_ms: float = 0) -> Failed:
    return Failed(Refused(trouble, round(read_ms), round(told_ms)))


def tell(**told: Any) -> None:
    print(json.dumps(told), flush=True)  # noqa: T201 # the lines that work reads


def safe_name(name: str) -> str:
    """What the original is called: never as a file that players ask for. The ledger has the name that it came with."""
    ending = name.rpartition(".")[2].lower() if "." in name else ""
    return f"file.{ending}" if ENDING.fullmatch(ending) and ending not in SERVED else "file"


class Maker:
    """One file's way. All of it on one loop; the recorder has its thread."""

    def __init__(self, order: Order, making: Making, recorder: Recorder, executable: str) -> None:
        self._order, self._making, self._recorder, self._executable = order, making, recorder, executable
        self._timeline = Timeline(kept_cuts=None)  # a rung may be as late as it likes
        self._tracks: dict[Kind, Track] = {}
        self._early: list[Packet] = []
        self._renditions: dict[str, ImportedRendition] = {}
        self._recording: Recording | None = None
        self._leader: ImportedRendition | None = None
        self._base_ms = self._shift_ms = 0
        self._sound_ms = 0
        self._gap_from_ms: float | None = None
        self._is_lost = False
        self._ladder: asyncio.subprocess.Process | None = None
        self._rungs: list[asyncio.Task[None]] = []

    async def run(self, origin_ms: int, started: Mapping[str, Any]) -> int:
        """Returns the recording's length in milliseconds. Raises Failed."""
        self._origin_ms, self._started = origin_ms, started
        watch = asyncio.create_task(self._watch())
        work = asyncio.create_task(self._make())
        try:
            await asyncio.wait({watch, work}, return_when=asyncio.FIRST_COMPLETED)
            return await work if work.done() else await self._stop(watch)
        finally:
            for task in (watch, work, *self._rungs):
                task.cancel()
            await asyncio.gather(watch, work, *self._rungs, return_exceptions=True)
            await _end(self._ladder)

    @staticmethod
    async def _stop(watch: "asyncio.Task[None]") -> int:
        await watch
        raise AssertionError("the watch ends with an error alone")

    async def _make(self) -> int:
        with open(self._order.file, "rb") as file:  # noqa: ASYNC230 # nothing else runs here
            source = await asyncio.create_subprocess_exec(
                *source_command(self._executable, self._making), stdin=file, stdout=asyncio.subprocess.PIPE,
                stderr=None, env=cage.environment(), preexec_fn=cage.enter(limits(self._making), self._executable),
            )  # fmt: skip
        try:
            await self._read_source(source)
            await source.wait()
        finally:
            await _end(source)
        if self._recording is None and self._early:
            await self._open()
        if self._leader is None:
            raise fail(Trouble.BROKEN)
        await self._drain_ladder()
        length_ms = self._finish()
        expected_ms = self._making.length_ms
        if expected_ms - length_ms > max(2000, expected_ms // 50) and not self._order.takes_short:
            raise fail(Trouble.TRUNCATED, length_ms, expected_ms)
        return length_ms

    # The source.

    async def _read_source(self, source: asyncio.subprocess.Process) -> None:
        assert source.stdout is not None
        tags = flv.TagReader()
        try:
            while data := await source.stdout.read(READ_BYTES):
                for item in tags.feed(data):
                    await self._take(item)
                await self._wait_for_room()
        except MediaError as error:
            raise fail(Trouble.BROKEN) from error

    async def _take(self, item: Packet | Track) -> None:
        if not isinstance(item, Packet):
            await self._take_track(item)
        elif self._recording is not None:
            await self._place(item)
        else:
            self._early.append(item)
            wanted = {Kind.VIDEO: self._making.picture, Kind.AUDIO: self._making.sound}
            is_whole = all(kind in self._tracks for kind, index in wanted.items() if index is not None)
            if (is_whole and self._has_start()) or len(self._early) >= MAX_EARLY_PACKETS:
                await self._open()

    async def _take_track(self, track: Track) -> None:
        known, self._tracks[track.kind] = self._tracks.get(track.kind), track
        if self._recording is None or (known is not None and known.config == track.config):
            return
        rendition = self._renditions.get(SOURCE_NAMES[track.kind])
        if rendition is not None:
            self._timeline.break_wanted = True
            rendition.packager.configure(track)
        await self._feed(track, 0)

    def _has_start(self) -> bool:
        return Kind.VIDEO not in self._tracks or any(one.kind is Kind.VIDEO and one.is_key for one in self._early)

    async def _open(self) -> None:
        """The first picture that stands alone, or the first sound: the timeline is 0 there."""
        leads = Kind.VIDEO if Kind.VIDEO in self._tracks else Kind.AUDIO
        first = next((one for one in self._early if one.kind is leads and one.is_key), None)
        if first is None or not self._tracks:
            raise fail(Trouble.BROKEN)
        self._shift_ms = max(0, first.cts_ms) if leads is Kind.VIDEO else 0
        self._base_ms = first.dts_ms + self._shift_ms
        frames_s = [_frame_s(self._tracks[kind]) for kind in sorted(self._tracks, reverse=True)]
        part_target_s = choose_part_target(self._order.part_target_s, [one for one in frames_s if one])
        cadence = Cadence(self._making.target_duration_s, part_target_s)
        self._recording = Recording(
            self._recorder, self._order.id, cadence, self._origin_ms, lambda: time.time() * 1000
        )
        self._recording.fact("started", **self._started, origin_ms=self._origin_ms, part_target_s=part_target_s)
        original = self._started["import"]["original"]
        self._recording.fact("file", name=original["file"], size=original["size"], sha256=original["sha256"])
        for kind in sorted(self._tracks, key=lambda one: one is not leads):
            self._add(SOURCE_NAMES[kind], kind).packager.configure(self._tracks[kind])
        await self._start_ladder()
        early, self._early = self._early, []
        for packet in early:
            if packet.kind is not Kind.VIDEO or packet.dts_ms >= first.dts_ms:
                await self._place(packet)

    def _add(self, name: str, kind: Kind) -> ImportedRendition:
        assert self._recording is not None
        sound = self._renditions.get(SOURCE_NAMES[Kind.AUDIO])
        made = ImportedRendition(
            name, kind, self._timeline, self._recording, self._lose,
            leader=None if self._leader is None else self._leader.name,
            made_of=sound.packager if sound is not None else None,
        )  # fmt: skip
        self._leader = self._leader or made
        self._renditions[name] = made
        return made

    def _lose(self, _segment: Segment) -> None:
        """On the recorder's thread."""
        self._is_lost = True

    async def _place(self, packet: Packet) -> None:
        await self._feed(packet, packet.dts_ms)
        rendition = self._renditions.get(SOURCE_NAMES[packet.kind])
        if rendition is None:
            return
        time_ms = packet.dts_ms - self._base_ms
        if packet.kind is Kind.VIDEO:
            time_ms += self._shift_ms
            if self._gap_from_ms is not None:
                self._end_gap(time_ms)
            packet = packet._replace(cts_ms=packet.cts_ms - self._shift_ms)
        else:
            self._sound_ms = max(self._sound_ms, time_ms)
            if time_ms - self._end_ms > INTERLEAVED_MS:
                self._fill_gap(time_ms - INTERLEAVED_MS // 2)
        rendition.packager.write(packet._replace(dts_ms=time_ms))
        for other in self._renditions.values():
            if other is not self._leader:
                other.packager.drain()

    @property
    def _end_ms(self) -> float:
        return self._leader.packager.end_ms if self._leader is not None else 0.0

    def _fill_gap(self, until_ms: float) -> None:
        """The picture is over, or away, while the sound goes on."""
        assert self._leader is not None
        if self._gap_from_ms is None:
            self._gap_from_ms = self._end_ms
        self._leader.packager.fill_gap(until_ms)

    def _end_gap(self, at_ms: float) -> None:
        assert self._leader is not None and self._recording is not None and self._gap_from_ms is not None
        from_ms, self._gap_from_ms = self._gap_from_ms, None
        self._leader.packager.resume(at_ms)
        told = {"from_ms": round(from_ms), "to_ms": round(at_ms), "is_back": False}
        self._recording.fact("gap", **told, cause="no picture in the file")

    # The ladder.

    async def _start_ladder(self) -> None:
        rungs = choose_rungs(self._tracks) if self._order.has_ladder else []
        if not rungs:
            return
        pipes = [os.pipe() for _ in rungs]
        writers = [write for _, write in pipes]
        try:
            self._ladder = await asyncio.create_subprocess_exec(
                *ffmpeg_command(self._executable, rungs, writers, low_delay=False), stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL, stderr=None, pass_fds=writers, env=cage.environment(),
                preexec_fn=cage.enter(limits(self._making), self._executable),
            )  # fmt: skip
        finally:
            for write in writers:
                os.close(write)
        self._rungs = [
            asyncio.create_task(self._read_rung(rung.name, read)) for rung, (read, _) in zip(rungs, pipes, strict=True)
        ]
        assert self._ladder.stdin is not None
        flags = sum({Kind.AUDIO: 4, Kind.VIDEO: 1}[kind] for kind in self._tracks)
        self._ladder.stdin.write(flv.FILE_HEADER[:4] + bytes([flags]) + flv.FILE_HEADER[5:])
        for track in self._tracks.values():
            await self._feed(track, 0)

    async def _feed(self, item: Packet | Track, time_ms: int) -> None:
        """As fast as the ladder takes it. A ladder that has gone is found out by its exit code."""
        if self._ladder is None or self._ladder.stdin is None:
            return
        with suppress(ConnectionError):
            self._ladder.stdin.writelines(flv.write_tag(item, time_ms + LADDER_OFFSET_MS))
            await self._ladder.stdin.drain()

    async def _read_rung(self, name: str, descriptor: int) -> None:
        reader = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(descriptor, "rb", buffering=0)
        )
        tags = flv.TagReader()
        try:
            while data := await reader.read(READ_BYTES):
                for item in tags.feed(data):
                    self._take_rung(name, item)
        finally:
            transport.close()

    def _take_rung(self, name: str, item: Packet | Track) -> None:
        rendition = self._renditions.get(name)
        if not isinstance(item, Packet):
            (rendition or self._add(name, item.kind)).packager.configure(item)
        elif rendition is not None:
            rendition.packager.write(item._replace(dts_ms=item.dts_ms - LADDER_OFFSET_MS - self._base_ms))

    async def _drain_ladder(self) -> None:
        if self._ladder is None or self._ladder.stdin is None:
            return
        self._ladder.stdin.close()
        try:
            await asyncio.gather(*self._rungs)
        except MediaError as error:
            raise fail(Trouble.BROKEN) from error
        if await self._ladder.wait():
            raise fail(Trouble.BROKEN, self._end_ms, self._making.length_ms)

    # The end.

    def _finish(self) -> int:
        assert self._leader is not None and self._recording is not None
        if self._sound_ms - self._end_ms > OVERHANG_MS and self._leader.kind is Kind.VIDEO:
            self._fill_gap(self._sound_ms)
        leader = self._leader.packager
        if self._gap_from_ms is not None:
            self._end_gap(max(leader.end_ms, self._sound_ms))
        leader.end()
        for rendition in self._renditions.values():
            if rendition is not self._leader:
                rendition.packager.fill_behind()
                rendition.packager.end()
        listed = [shown for one in self._renditions.values() if (shown := one.listed())]
        self._recording.write_file("index.m3u8", multivariant(listed).encode())
        self._recording.write_file("audio.m3u8", audio_multivariant(listed).encode())
        for rendition in self._renditions.values():
            rendition.tell()
        self._recording.end(round(leader.end_ms), IMPORTED)
        return round(leader.end_ms)

    # The watch.

    async def _wait_for_room(self) -> None:
        while self._recorder.queued_bytes > MAX_QUEUED_BYTES:  # noqa: ASYNC110 # a thread of its own takes it away
            await asyncio.sleep(0.02)

    async def _watch(self) -> None:
        """Tells how far it is, until something is wrong."""
        loop = asyncio.get_running_loop()
        moved_s, last_ms = loop.time(), 0.0
        while True:
            await asyncio.sleep(WATCH_S)
            end_ms = self._end_ms
            tell(progress=min(1.0, end_ms / max(1, self._making.length_ms)))
            if end_ms > last_ms:
                moved_s, last_ms = loop.time(), end_ms
            if self._is_lost or self._recorder.failing or not _has_space(self._order):
                raise fail(Trouble.DISK_FULL)
            if loop.time() - moved_s > STALLED_S:
                raise fail(Trouble.STALLED, end_ms, self._making.length_ms)
            if end_ms > self._order.longest_ms:
                raise fail(Trouble.TOO_LONG, end_ms, end_ms)


async def _end(child: asyncio.subprocess.Process | None) -> None:
    if child is not None:
        with suppress(ProcessLookupError):
            child.kill()
        await child.wait()


def _frame_s(track: Track) -> float:
    if isinstance(track, AudioTrack):
        return track.frame_samples / track.timescale
    return 1 / track.frame_rate if isinstance(track, VideoTrack) and track.frame_rate else 0.0


def _has_space(order: Order) -> bool:
    return shutil.disk_usage(order.recordings).free > order.min_free_bytes


def sha256_of(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as source:
        while data := source.read(HASHED_BYTES):
            digest.update(data)
    return digest.hexdigest()


class _Digest(threading.Thread):
    """The hash, made while the file is looked into: it is read from the disk once."""

    def __init__(self, file: Path) -> None:
        super().__init__(daemon=True)
        self._file, self._hash = file, ""

    def run(self) -> None:
        with suppress(OSError):
            self._hash = sha256_of(self._file)

    def result(self) -> str:
        while self.is_alive():
            tell(progress=0.0)
            self.join(WATCH_S)
        return self._hash


def make(order: Order, executable: str) -> dict[str, Any]:
    """What became of it. Raises Failed."""
    place, whole = Path(order.recordings, STAGING, order.id), Path(order.recordings, order.id)
    if whole.exists():
        return {}  # it was killed after its last act
    shutil.rmtree(place, ignore_errors=True)
    if not _has_space(order):
        raise fail(Trouble.DISK_FULL)
    file = Path(order.file)
    try:
        digest = _Digest(file)
        digest.start()
        found = look(file, while_waiting=lambda: tell(progress=0.0))
        sha256 = digest.result()
        if not sha256 or file.stat().st_size != order.size or order.sha256 not in (None, sha256):
            raise fail(Trouble.CHANGED)
    except FileNotFoundError as error:
        raise fail(Trouble.GONE) from error
    if isinstance(found, Refused):
        raise Failed(found)
    making = decide(
        found, takes_short=order.takes_short, longest_ms=order.longest_ms, target_duration_s=order.target_duration_s
    )
    if isinstance(making, Refused):
        raise Failed(making)
    try:
        kept = _keep_original(file, place, order.name)
        original = {"name": order.name, "file": kept, "size": order.size, "sha256": sha256}
        told: dict[str, Any] = {
            "original": original, "title_sw": order.title_sw, "title_en": order.title_en, "by": order.by,
            "container": found.container, "read_ms": found.read_ms, "is_copied": making.copies_picture,
        }  # fmt: skip
        origin_ms = order.at_ms if order.at_ms is not None else _said_ms(found.created, order.now_ms)
        started = {"recording": order.id, "broadcast": order.id, **order.channel, "import": told}
        recorder = Recorder(place.parent)
        recorder.start()
        try:
            length_ms = asyncio.run(Maker(order, making, recorder, executable).run(origin_ms, started))
        finally:
            recorder.stop()
        if recorder.failing:
            raise fail(Trouble.DISK_FULL)
        sync_file_system(place)
        place.rename(whole)
        sync_file_system(whole.parent)
    except OSError as error:
        raise fail(Trouble.DISK_FULL) from error
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise
    return {"sha256": sha256, "length_ms": length_ms}


def _said_ms(created: str | None, now_ms: int) -> int:
    return round(datetime.fromisoformat(created).timestamp() * 1000) if created else now_ms


def _keep_original(file: Path, place: Path, name: str) -> str:
    """As a file of the recording: the very same one where that is the same disk. Its path in the recording's folder."""
    folder = place / ORIGINAL
    folder.mkdir(parents=True)
    kept = folder / safe_name(name)
    try:
        os.link(file, kept)
    except OSError:
        shutil.copyfile(file, kept)
    return f"{ORIGINAL}/{kept.name}"


def main() -> int:
    step_back()
    cage.die_with_parent(os.getppid())
    order = Order(**json.load(sys.stdin))
    try:
        tell(made=make(order, str(imageio_ffmpeg.get_ffmpeg_exe())))
    except Failed as failed:
        refused = failed.refused
        tell(failed={"trouble": refused.trouble, "read_ms": refused.read_ms, "told_ms": refused.told_ms})
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
