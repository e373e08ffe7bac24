"""The recorder: appends parts to segment files and segments to indexes, on its own thread, for a process's broadcasts.

The loop never waits for a disk. What the disk can't take is given back to be kept in memory for a while, and is on
record as a gap.
"""

import asyncio
import contextlib
import ctypes
import errno
import hashlib
import os
import queue
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog

from archive.recordings.ledger import Fact, Ledger, make_fact
from archive.recordings.segment_digests import AsWritten, FromMemory, Hasher, SegmentDigest
from archive.recordings.verify import held_in
from core.media import hls
from core.media.files import append_whole, replace_file, write_all
from core.media.packet import Track
from core.media.window import Cadence, Part, Segment, Storage

log = structlog.get_logger()

Job = Callable[[], object]
MAX_QUEUED_BYTES = 128 << 20


class Recorder:
    """The thread and its queue. `sync_interval_s` is what a power cut may cost; parts younger than
    `batch_s` are still only in the memory folder, from where a restart takes them (`recover.py`). `hasher` takes the
    hashing of what lies there off this process; without it each part is hashed as it is written."""

    def __init__(
        self, folder: Path, sync_interval_s: float = 5.0, max_queued_bytes: int = MAX_QUEUED_BYTES,
        batch_s: float = 0.03, hasher: Hasher | None = None,
    ) -> None:  # fmt: skip
        self.folder = folder
        self.hasher = hasher
        self.queued_bytes = 0
        self._refused: set[tuple[str, str]] = set()
        self._max_queued_bytes = max_queued_bytes
        self._sync_interval_s = sync_interval_s
        self._batch_s = batch_s
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._syncer = threading.Thread(target=self._sync, name="recorder-sync", daemon=True)

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._thread.start()
        self._syncer.start()

    def stop(self) -> None:
        """Everything queued is written first."""
        self._jobs.put(None)
        self._thread.join()
        self._stopped.set()
        if self.hasher is not None:
            self.hasher.stop()

    def put(self, job: Job) -> None:
        self._jobs.put(job)

    @property
    def failing(self) -> bool:
        """The disk refused something of a recording, and has not taken the like of it since."""
        return bool(self._refused)

    def refuse(self, broadcast: str, part: str, error: OSError) -> None:
        """`part`: a rendition, or nothing for what is the whole recording's."""
        if not self.failing:
            log.error("the disk does not take the recording", broadcast=broadcast, error=str(error))
        self._refused.add((broadcast, part))

    def take_again(self, broadcast: str, *parts: str) -> None:
        """Of these parts, or of all. A disk that takes the sound still and no picture any more is failing."""
        was_failing = self.failing
        self._refused -= {one for one in self._refused if one[0] == broadcast and (not parts or one[1] in parts)}
        if was_failing and not self.failing:
            log.warning("the disk takes the recording again", broadcast=broadcast)

    async def written(self) -> None:
        """Returns when everything put so far has been done."""
        loop, done = asyncio.get_running_loop(), asyncio.Event()

        def tell() -> None:
            loop.call_soon_threadsafe(done.set)

        self.put(tell)
        await done.wait()

    def has_room(self, size: int) -> bool:
        """False while the disk is so slow that the queue would pass its bound."""
        return self.queued_bytes + size <= self._max_queued_bytes

    def _run(self) -> None:
        """In batches: a thread that woke for each part would cost the loop its lock a thousand times a second."""
        if self.hasher is not None:
            self.hasher.start()
        while (job := self._jobs.get()) is not None:
            try:
                job()
            except Exception:
                log.exception("recorder job failed")
            if self._jobs.empty():
                time.sleep(self._batch_s)

    def _sync(self) -> None:
        """One syncfs for all that was appended since the last: cheaper than an fsync a file, off the writer's way."""
        libc = ctypes.CDLL(None, use_errno=True)
        descriptor = os.open(self.folder, os.O_RDONLY)
        while not self._stopped.wait(self._sync_interval_s):
            if libc.syncfs(descriptor):
                log.error("recordings can't be synced to disk", errno=ctypes.get_errno())
        os.close(descriptor)


class Recording:
    """One broadcast's recording. Made and called on the loop; its jobs run on the recorder's thread."""

    def __init__(
        self,
        recorder: Recorder,
        broadcast: str,
        cadence: Cadence,
        origin_ms: int,
        unix_ms: Callable[[], float],
    ) -> None:
        self.folder = recorder.folder / broadcast
        self.cadence, self.origin_ms = cadence, origin_ms
        self.recorder = recorder
        self.unix_ms = unix_ms
        self._ledger: Ledger | None = None
        self._facts: list[Fact] = []  # until there is a ledger
        self._written: dict[str, bytes] = {}
        self.size = 0

    def fact(self, fact: str, **values: object) -> Fact:
        made = make_fact(fact, self.unix_ms(), **values)
        self.recorder.put(lambda: self._append(made))
        return made

    def fact_now(self, fact: str, **values: object) -> None:
        """As `fact`, on the recorder's thread."""
        self._append(make_fact(fact, self.unix_ms(), **values))

    def write_file(self, name: str, data: bytes) -> None:
        """A small file beside the renditions, replaced as a whole: the multivariant playlists, the picture."""
        self.recorder.put(lambda: self._write_file(name, data))

    def end(self, duration_ms: int, reason: str) -> None:
        """After every rendition's on_end."""
        self.recorder.put(lambda: self._end(duration_ms, reason))

    def _end(self, duration_ms: int, reason: str) -> None:
        for name, data in sorted(self._written.items()):
            self.fact_now("file", name=name, size=len(data), sha256=hashlib.sha256(data).hexdigest())
        self.fact_now("ended", duration_ms=duration_ms, size_bytes=self.size, reason=reason)
        self._write_what_is_left()

    def _write_what_is_left(self) -> None:
        """A disk that was full at the very end may have room a moment later: the end is not forgotten."""
        try:
            self.retry_ledger()
            self.recorder.take_again(self.folder.name)
        except OSError:
            again = threading.Timer(1.0, lambda: self.recorder.put(self._write_what_is_left))
            again.daemon = True
            again.start()

    def _append(self, fact: Fact) -> None:
        self._facts.append(fact)
        try:
            self.retry_ledger()
        except OSError as error:
            self.report(error)

    def retry_ledger(self) -> None:
        """Raises OSError."""
        if self._ledger is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._ledger = Ledger(self.folder)
        facts, self._facts = self._facts, []
        self._ledger.append(*facts)

    def report(self, error: OSError, rendition: str = "") -> None:
        self.recorder.refuse(self.folder.name, rendition, error)

    def _write_file(self, name: str, data: bytes) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            replace_file(self.folder / name, data)
            self._written[name] = data
        except OSError as error:
            self.report(error)


class RenditionRecorder:
    """A RenditionSink that appends to files. `on_lost(segment)` is called on the recorder's thread for a complete
    segment that is not on disk; `resumed` tells that the index is there already, with `previous_init` in force;
    `memory` is the folder where the parts lie too. `pictures_stand`: each is to be seen until the next, however long
    that takes, as it is in a file."""

    def __init__(
        self, recording: Recording, name: str, on_lost: Callable[[Segment], None], leader: str | None = None,
        previous_init: int | None = None, resumed: bool = False, memory: Path | None = None,
        pictures_stand: bool = False,
    ) -> None:  # fmt: skip
        self._recording, self._name, self._on_lost = recording, name, on_lost
        self._pictures_stand = pictures_stand
        self._folder = recording.folder / name
        self._path = str(self._folder)
        self._leader = leader
        self._previous_init = previous_init
        self._has_index = resumed
        self._file: int | None = None
        self._open_msn = -1
        hasher = recording.recorder.hasher
        self._digest: SegmentDigest = AsWritten() if hasher is None or memory is None else FromMemory(hasher, memory)
        self._open_bytes = 0
        self._failed_msn = -1
        self._lost: tuple[int, int] | None = None
        self._unwritten: list[str] = []
        self._unwritten_inits: dict[int, bytes] = {}
        index = (self._folder / hls.PLAYLIST_NAME).read_bytes() if resumed else b""
        self._index_digest, self._index_bytes = hashlib.sha256(index), len(index)

    # On the loop.

    def on_init(self, number: int, track: Track, data: bytes) -> None:
        self._put(len(data), lambda: self._write_init(number, data))

    def on_part(self, segment: Segment, part: Part, data: bytes) -> None:
        if part.gap:
            return
        msn = segment.msn
        self._put(part.size, lambda: self._append(msn, data), lambda: self._overrun(msn))

    def on_complete(self, segment: Segment) -> None:
        now_s = time.monotonic()
        self._recording.recorder.put(lambda: self._complete(segment, now_s))

    def on_end(self) -> None:
        self._recording.recorder.put(self._end)

    def commit(self) -> None: ...

    def _put(self, size: int, job: Job, otherwise: Job | None = None) -> None:
        recorder = self._recording.recorder
        if otherwise is not None and not recorder.has_room(size):
            recorder.put(otherwise)
            return
        recorder.queued_bytes += size

        def run() -> None:
            recorder.queued_bytes -= size
            job()

        recorder.put(run)

    # On the recorder's thread.

    def _write_init(self, number: int, data: bytes) -> None:
        self._unwritten_inits[number] = data
        try:
            self._write_inits()
        except OSError as error:
            self._recording.report(error, self._name)

    def _write_inits(self) -> None:
        """Those that the disk has not taken yet: no segment is kept before the one that it needs. Raises OSError."""
        for number, data in list(self._unwritten_inits.items()):
            name = hls.init_name(number)
            self._folder.mkdir(parents=True, exist_ok=True)
            replace_file(self._folder / name, data)
            del self._unwritten_inits[number]
            self._tell_file(name, len(data), hashlib.sha256(data).hexdigest())

    def _append(self, msn: int, data: bytes) -> None:
        if msn == self._failed_msn:
            return
        try:
            if self._file is None or self._open_msn != msn:
                self._file = os.open(self._partial(msn), os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o644)
                self._open_msn, self._open_bytes = msn, 0
                self._digest.begin()
            write_all(self._file, data)
            self._recording.size += len(data)
            self._open_bytes += len(data)
            self._digest.add(data)
        except OSError as error:
            self._recording.report(error, self._name)
            self._fail(msn)

    def _overrun(self, msn: int) -> None:
        self._recording.report(
            TimeoutError(errno.ETIMEDOUT, "the disk is slower than what is to be recorded"), self._name
        )
        self._fail(msn)

    def _fail(self, msn: int) -> None:
        """The segment can't be whole any more. Its file goes, so that what is left is not taken for it."""
        self._failed_msn = msn
        self._close()
        with contextlib.suppress(OSError):
            os.unlink(self._partial(msn))

    def _complete(self, segment: Segment, since_s: float) -> None:
        if segment.gap:
            segment.storage = Storage.NOWHERE
            self._tell_absent(segment, "no media")
        elif segment.msn == self._failed_msn or self._open_msn != segment.msn or not self._keep(segment, since_s):
            self._lose(segment)
            return
        self._index(segment, segment.gap)
        if not segment.gap:
            self._recovered()
            segment.storage = Storage.RECORDED

    def _keep(self, segment: Segment, since_s: float) -> bool:
        """The file is on record before the index names it: what viewers find later is known."""
        name, partial = hls.segment_name(segment.msn), self._partial(segment.msn)
        late_s, how = time.monotonic() - since_s, dict[str, bool]()
        sha256 = self._digest.end(segment, self._open_bytes, late_s)
        try:
            self._write_inits()
            if sha256 is None:  # the memory folder has no room, or forgot it while this disk was slow
                sha256, how = self._read_back(), {"read_back": True}
            self._close()
            os.rename(partial, f"{self._path}/{name}")
        except OSError as error:
            self._fail(segment.msn)
            self._recording.report(error, self._name)
            return False
        self._tell_file(name, self._open_bytes, sha256, **self._place_of(segment), **how)
        return True

    def _read_back(self) -> str:
        """The SHA-256 of the open file. Needs no other descriptor, of which there may be none. Raises OSError."""
        assert self._file is not None
        os.lseek(self._file, 0, os.SEEK_SET)
        with open(self._file, "rb", buffering=0, closefd=False) as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            if file.tell() != self._open_bytes:
                raise OSError(errno.EIO, "not what was written")
        return sha256

    def _lose(self, segment: Segment) -> None:
        held = held_in(self._place_of(segment))
        if held:
            self._lost = (self._lost[0] if self._lost else held[0][0], held[-1][1])
        self._tell_absent(segment, "disk full")
        self._index(segment, True)
        self._on_lost(segment)

    def _tell_file(self, name: str, size: int, sha256: str, **place: Any) -> None:
        told = {"rendition": self._name, "name": f"{self._name}/{name}", **place}
        self._recording.fact_now("file", **told, size=size, sha256=sha256)

    def _tell_absent(self, segment: Segment, cause: str) -> None:
        self._recording.fact_now("absent", rendition=self._name, **self._place_of(segment), cause=cause)

    def _place_of(self, segment: Segment) -> dict[str, Any]:
        place = place_of(segment)
        if self._pictures_stand:
            place.pop("gaps", None)
        return place

    def _recovered(self) -> None:
        try:
            self._recording.retry_ledger()
        except OSError as error:
            self._recording.report(error)
            return
        self._recording.recorder.take_again(self._recording.folder.name, "", self._name)
        self._tell_loss()

    def _tell_loss(self) -> None:
        if self._lost is not None:
            start_ms, end_ms = self._lost
            self._lost = None
            self._recording.fact_now("gap", rendition=self._name, from_ms=start_ms, to_ms=end_ms, cause="disk full")

    def _index(self, segment: Segment, gap: bool) -> None:
        head = hls.segment_head(segment, self._recording.origin_ms, self._previous_init)
        if not self._has_index:
            self._has_index = True
            self._unwritten.append(self._first_lines(segment))
        self._previous_init = segment.init
        mark = "#EXT-X-GAP\n" if gap and not segment.gap else ""
        self._unwritten.append(head + mark + hls.segment_tail(segment))
        self._write_index()

    def _first_lines(self, first: Segment) -> str:
        """The header; and, for a rendition that joined late, the leader's earlier segments as gaps: on demand every
        rendition begins at the same moment."""
        earlier: list[Segment] = []
        leader = self._recording.folder / (self._leader or "") / hls.PLAYLIST_NAME
        if self._leader is not None and leader.exists():
            index = hls.read_index(leader.read_text(), self._recording.origin_ms)
            earlier = [segment for segment in index.segments if segment.msn < first.msn]
        for segment in earlier:
            segment.gap, segment.init = True, first.init
        begin = earlier[0] if earlier else first
        sequence = begin.discontinuities - begin.discontinuity
        header = hls.index_header(self._recording.cadence.target_duration_s, begin.msn, sequence)
        if earlier:
            self._previous_init = first.init
        return header + "".join(hls.entries(earlier, self._recording.origin_ms, None))

    def _write_index(self) -> None:
        data = "".join(self._unwritten).encode()
        try:
            append_whole(f"{self._path}/{hls.PLAYLIST_NAME}", data)
        except OSError as error:
            self._recording.report(error, self._name)
            return
        self._unwritten.clear()
        self._index_digest.update(data)
        self._index_bytes += len(data)

    def _end(self) -> None:
        self._close()
        with contextlib.suppress(OSError):
            self._write_inits()
        self._tell_loss()
        if self._has_index:
            self._unwritten.append("#EXT-X-ENDLIST\n")
            self._write_index()
            # A disk that is full at the very end gets some more chances: without ENDLIST it would be no whole playlist.
            for _ in range(3):
                if not self._unwritten:
                    break
                time.sleep(0.2)
                self._write_index()
            self._tell_index()

    def _tell_index(self) -> None:
        """What was meant to be written, whatever lies there now."""
        if not self._unwritten:
            self._tell_file(hls.PLAYLIST_NAME, self._index_bytes, self._index_digest.hexdigest())

    def _close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            os.close(file)

    def _partial(self, msn: int) -> str:
        return f"{self._path}/{hls.segment_name(msn)}.partial"


def place_of(segment: Segment) -> dict[str, Any]:
    """Where a segment is on the broadcast's timeline; `gaps`: the stretches of a segment of media that hold none."""
    end_ms = segment.start_ms + segment.duration_s * 1000
    place = {"msn": segment.msn, "from_ms": round(segment.start_ms), "to_ms": round(end_ms)}
    gaps = [] if segment.gap else _gaps_of(segment)
    return {**place, "gaps": gaps} if gaps else place


def _gaps_of(segment: Segment) -> list[list[int]]:
    found: list[list[int]] = []
    content_s, end = 0.0, round(segment.start_ms)
    for part in segment.parts:
        content_s += part.duration_s
        begin, end = end, round(segment.start_ms + content_s * 1000)
        if part.gap and found and found[-1][1] == begin:
            found[-1][1] = end
        elif part.gap and end > begin:
            found.append([begin, end])
    return found
