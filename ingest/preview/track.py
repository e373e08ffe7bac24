"""What a viewer's RTP sender reads: packets that are encoded already, so that no viewer costs an encode."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import av
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack

if TYPE_CHECKING:  # generic in its stubs alone
    Encoded = av.Packet[av.stream.Stream]
else:
    Encoded = av.Packet

MAX_QUEUED = 256
"""Packets: some five seconds. UDP never waits, so only a loop that is late fills it."""


class EncodedTrack(MediaStreamTrack):
    """One kind for one viewer. It takes packets from the first `recv` on, which is when the viewer is connected, and
    begins at a keyframe; so it does again where its queue was full."""

    def __init__(
        self, kind: Literal["audio", "video"], still: Callable[[], Encoded | None], on_stop: Callable[[], None]
    ) -> None:
        super().__init__()
        self.kind = kind
        self.dropped = 0
        self._still, self._on_stop = still, on_stop
        self._queue: asyncio.Queue[Encoded | None] = asyncio.Queue(MAX_QUEUED)
        self._has_joined = False
        self._waits_for_key = True

    async def recv(self) -> Encoded:
        if not self._has_joined:
            self._join()
        packet = await self._queue.get() if self.readyState == "live" else None
        if packet is None:
            raise MediaStreamError
        return packet

    def put(self, packet: Encoded, is_key: bool = True) -> None:
        if not self._has_joined or (self._waits_for_key and not is_key):
            return
        self._waits_for_key = self._queue.full()
        if self._waits_for_key:
            self.dropped += 1 + self._queue.qsize()
            self._clear()
        else:
            self._queue.put_nowait(packet)

    def stop(self) -> None:
        """The sender calls it too, whatever made it end."""
        if self.readyState == "live":
            super().stop()
            self._clear()
            self._queue.put_nowait(None)
            self._on_stop()

    def _join(self) -> None:
        """The last keyframe is shown at once, as a still; what moves begins at the next."""
        self._has_joined = True
        still = self._still()
        if still is not None:
            self._queue.put_nowait(still)

    def _clear(self) -> None:
        while not self._queue.empty():
            self._queue.get_nowait()
