"""What lies between a file and its recording: a broadcast (broadcast.py) that nobody waits for.

    file ──> ffmpeg ──FLV──> source renditions
                       └──> ImportedLadder ──> rungs

Packagers, recorder and ledger are a broadcast's own.
"""

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from archive.imports.kept import IMPORTED
from archive.recordings.recorder import Recorder, Recording
from archive.recordings.verify import NO_SOUND_IN_FILE
from core import cage
from core.media import flv
from core.media.packet import Kind, MediaError, Packet, Track
from core.media.window import Cadence, Segment
from mbashara.import_order import Order, fail, has_space, tell
from mbashara.imported_ladder import ImportedLadder
from mbashara.imported_rendition import ImportedRendition
from mbashara.listing import SOURCE_NAMES, write_multivariants
from transcode.files.command import limits, source_command
from transcode.files.facts import Making, Trouble
from transcode.ladder_process import end_child
from transcode.timeline import Timeline, part_target_of

MAX_EARLY_PACKETS = 2000
INTERLEAVED_MS = 10_000
"""FLV comes in the order of its times: sound that is so much later than the last picture has none beside it."""
OVERHANG_MS = 500
MAX_QUEUED_BYTES = 32 << 20
STALLED_S = 180.0
WATCH_S = 0.5
READ_BYTES = 1 << 16


class ImportedBroadcast:
    """All of it on one loop; the recorder has its thread."""

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
        self._ladder = ImportedLadder(executable, limits(making), self._take_rung)

    async def run(self, origin_ms: int, started: Mapping[str, Any]) -> int:
        """Returns the recording's length in milliseconds. Raises Failed."""
        self._origin_ms, self._started = origin_ms, started
        watch = asyncio.create_task(self._watch())
        work = asyncio.create_task(self._make())
        try:
            await asyncio.wait({watch, work}, return_when=asyncio.FIRST_COMPLETED)
            return await work if work.done() else await self._stop(watch)
        finally:
            for task in (watch, work):
                task.cancel()
            await asyncio.gather(watch, work, return_exceptions=True)
            await self._ladder.stop()

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
            await end_child(source)
        if self._recording is None and self._early:
            await self._open()
        if self._leader is None:
            raise fail(Trouble.BROKEN)
        try:
            is_whole = await self._ladder.drain()
        except MediaError as error:
            raise fail(Trouble.BROKEN) from error
        if not is_whole:
            raise fail(Trouble.BROKEN, self._end_ms, self._making.length_ms)
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
        await self._ladder.feed(track, 0)

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
        part_target_s = part_target_of(self._order.part_target_s, self._tracks)
        cadence = Cadence(self._making.target_duration_s, part_target_s)
        self._recording = Recording(
            self._recorder, self._order.id, cadence, self._origin_ms, lambda: time.time() * 1000
        )
        self._recording.fact("started", **self._started, origin_ms=self._origin_ms, part_target_s=part_target_s)
        original = self._started["import"]["original"]
        self._recording.fact("file", name=original["file"], size=original["size"], sha256=original["sha256"])
        for kind in sorted(self._tracks, key=lambda one: one is not leads):
            self._add(SOURCE_NAMES[kind], kind).packager.configure(self._tracks[kind])
        if self._order.has_ladder:
            await self._ladder.start(self._tracks)
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
        await self._ladder.feed(packet, packet.dts_ms)
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
        self._tell_holes()
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

    def _tell_holes(self) -> None:
        """In a file of sound. Of a file with pictures `_fill_gap` tells: each of them is there until the next."""
        assert self._leader is not None and self._recording is not None
        holes = self._leader.packager.holes
        while holes and self._leader.kind is Kind.AUDIO:
            from_ms, to_ms = (round(at_ms) for at_ms in holes.popleft())
            told = {"rendition": self._leader.name, "from_ms": from_ms, "to_ms": to_ms}
            self._recording.fact("gap", **told, cause=NO_SOUND_IN_FILE)

    def _take_rung(self, name: str, item: Packet | Track) -> None:
        rendition = self._renditions.get(name)
        if not isinstance(item, Packet):
            (rendition or self._add(name, item.kind)).packager.configure(item)
        elif rendition is not None:
            rendition.packager.write(item._replace(dts_ms=item.dts_ms - self._base_ms))

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
                rendition.packager.fill_behind(leader.end_ms)
                rendition.packager.end()
        listed = [shown for one in self._renditions.values() if (shown := one.listed())]
        write_multivariants(self._recording, listed)
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
            if self._is_lost or self._recorder.failing or not has_space(self._order):
                raise fail(Trouble.DISK_FULL)
            if loop.time() - moved_s > STALLED_S:
                raise fail(Trouble.STALLED, end_ms, self._making.length_ms)
            if end_ms > self._order.longest_ms:
                raise fail(Trouble.TOO_LONG, end_ms, end_ms)
