"""A broadcast's ladder: the transcoder of the feed on the air, and the rungs that come back from it."""

import asyncio
from collections.abc import Mapping

from core.media.packet import Kind, Packet, Track
from core.media.stream import Item, LiveStream
from mbashara.renditions import Renditions
from transcode.headroom import Headroom
from transcode.process import DRAIN_S, Transcoder


class Ladder:
    """`ffmpeg` None: there is none."""

    def __init__(self, ffmpeg: str | None, renditions: Renditions, headroom: Headroom) -> None:
        self._ffmpeg, self._renditions, self._headroom = ffmpeg, renditions, headroom
        self._transcoder: Transcoder | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended = False

    def start(self, tracks: Mapping[Kind, Track]) -> LiveStream | None:
        """For a feed with these tracks. Returns where its packets are to be written; None: nowhere."""
        self.finish()
        if self._ffmpeg is None:
            return None
        tracks = dict(tracks)
        stream = LiveStream()
        for track in tracks.values():
            stream.write(track)
        transcoder = Transcoder(self._ffmpeg, stream, tracks, self._take, self._headroom, self.left_out)
        transcoder.restarts = self.restarts
        self._transcoder = transcoder
        task = asyncio.create_task(transcoder.run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return stream

    def finish(self) -> None:
        """It may finish what it has; nobody waits for it."""
        if self._transcoder is not None:
            self._transcoder.finish()

    async def end(self) -> None:
        """As `finish`, and what it has is waited for, for a moment."""
        self.finish()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=DRAIN_S)
        for task in self._tasks:
            task.cancel()
        self._ended = True

    @property
    def restarts(self) -> int:
        return self._transcoder.restarts if self._transcoder is not None else 0

    @property
    def left_out(self) -> frozenset[str]:
        """Rungs that the machine is too slow for, as it seems."""
        return frozenset(self._transcoder.left_out) if self._transcoder is not None else frozenset()

    def _take(self, name: str, item: Item) -> None:
        if self._ended:
            return
        if not isinstance(item, Packet):
            self._renditions.configure_rung(name, item)
            return
        rendition = self._renditions.by_name.get(name)
        if rendition is not None:
            rendition.packager.write(item)
