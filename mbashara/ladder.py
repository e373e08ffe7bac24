"""A broadcast's ladder: the transcoders of the feed on the air, and the rungs that come back from them.

Pictures and sound have one each: sound, which takes little, comes whole where the machine is too slow for pictures.
"""

import asyncio
from collections.abc import Mapping

from core.media.packet import Kind, Packet, Track
from core.media.stream import Item, KindReader, LiveStream
from mbashara.renditions import Renditions
from transcode.headroom import Headroom
from transcode.process import DRAIN_S, Transcoder


class Ladder:
    """`ffmpeg` None: there is none."""

    def __init__(self, ffmpeg: str | None, renditions: Renditions, headroom: Headroom) -> None:
        self._ffmpeg, self._renditions, self._headroom = ffmpeg, renditions, headroom
        self._transcoders: list[Transcoder] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._restarts_before = 0
        self._ended = False

    def start(self, tracks: Mapping[Kind, Track]) -> LiveStream | None:
        """For a feed with these tracks. Returns where its packets are to be written; None: nowhere."""
        self.finish()
        if self._ffmpeg is None:
            return None
        left_out, self._restarts_before = self.left_out, self.restarts
        stream = LiveStream()
        self._transcoders = [self._begin(stream, track, left_out) for track in tracks.values()]
        return stream

    def _begin(self, stream: LiveStream, track: Track, left_out: frozenset[str]) -> Transcoder:
        of_kind = LiveStream()
        of_kind.write(track)
        stream.add(KindReader(track.kind, of_kind))
        assert self._ffmpeg is not None, "nothing is started without it"
        transcoder = Transcoder(self._ffmpeg, of_kind, {track.kind: track}, self._take, self._headroom, left_out)
        task = asyncio.create_task(transcoder.run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return transcoder

    def finish(self) -> None:
        """They may finish what they have; nobody waits for them."""
        for transcoder in self._transcoders:
            transcoder.finish()

    async def end(self) -> None:
        """As `finish`, and what they have is waited for, for a moment."""
        self.finish()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=DRAIN_S)
        for task in self._tasks:
            task.cancel()
        self._ended = True

    @property
    def restarts(self) -> int:
        return self._restarts_before + sum(one.restarts for one in self._transcoders)

    @property
    def left_out(self) -> frozenset[str]:
        """Rungs that the machine is too slow for, as it seems."""
        return frozenset[str]().union(*(one.left_out for one in self._transcoders))

    def _take(self, name: str, item: Item) -> None:
        if self._ended:
            return
        if not isinstance(item, Packet):
            self._renditions.configure_rung(name, item)
            return
        rendition = self._renditions.by_name.get(name)
        if rendition is not None:
            rendition.packager.write(item)
