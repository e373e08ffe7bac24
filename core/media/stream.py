"""LiveStream: the one object in the middle of a channel, with one writer and many readers. Packets go nowhere else."""

import asyncio
from collections import deque
from typing import Protocol

from core.media.packet import Kind, Packet, Track

Item = Packet | Track


class Reader(Protocol):
    """Called on the loop for each item, in order. A reader that can't keep up must queue and drop on its own."""

    def on_item(self, item: Item) -> None: ...


class LiveStream:
    """A feed on the air. A reader that comes late is first told the tracks that are in force."""

    def __init__(self) -> None:
        self.tracks: dict[Kind, Track] = {}
        self._readers: tuple[Reader, ...] = ()

    def write(self, item: Item) -> None:
        if not isinstance(item, Packet):
            self.tracks[item.kind] = item
        for reader in self._readers:
            reader.on_item(item)

    def add(self, reader: Reader) -> None:
        for track in self.tracks.values():
            reader.on_item(track)
        self._readers += (reader,)

    def remove(self, reader: Reader) -> None:
        self._readers = tuple(kept for kept in self._readers if kept is not reader)


class KindReader:
    """Writes what is of one kind to a stream of its own."""

    def __init__(self, kind: Kind, stream: LiveStream) -> None:
        self._kind, self._stream = kind, stream

    def on_item(self, item: Item) -> None:
        if item.kind is self._kind:
            self._stream.write(item)


class QueueReader:
    """A bounded queue for a reader that has its own pace. When full it drops to the next keyframe and counts it."""

    def __init__(self, max_bytes: int = 8 << 20) -> None:
        self.dropped = 0
        self._items: deque[Item | None] = deque()
        self._bytes = 0
        self._max_bytes = max_bytes
        self._waits_for_key = False
        self._ready = asyncio.Event()

    def on_item(self, item: Item) -> None:
        if isinstance(item, Packet) and not self._accepts(item):
            self.dropped += 1
            return
        self._items.append(item)
        self._ready.set()

    def close(self) -> None:
        """After what is queued the reader gets None."""
        self._items.append(None)
        self._ready.set()

    @property
    def newest(self) -> Packet | None:
        """Of those that wait."""
        return next((item for item in reversed(self._items) if isinstance(item, Packet)), None)

    async def get(self) -> Item | None:
        while not self._items:
            self._ready.clear()
            await self._ready.wait()
        item = self._items.popleft()
        if isinstance(item, Packet):
            self._bytes -= len(item.payload)
        return item

    def _accepts(self, packet: Packet) -> bool:
        size = len(packet.payload)
        if self._bytes + size > self._max_bytes:
            self._waits_for_key = True
        elif self._waits_for_key and packet.kind is Kind.VIDEO and packet.is_key:
            self._waits_for_key = False
        if self._waits_for_key:
            return False
        self._bytes += size
        return True
