"""One viewer's WHEP session: offer to answer, and whether the viewer is still there."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpSender, RTCSessionDescription
from aiortc.exceptions import InvalidAccessError, InvalidStateError, OperationError
from aiortc.sdp import SessionDescription

from ingest.preview.refusals import PreviewRefused, Reason
from ingest.preview.relay import Relay
from ingest.preview.track import EncodedTrack

LOOK_S = 1.0
_CODECS = {"audio": "audio/opus", "video": "video/H264"}
_UNREADABLE = (ValueError, LookupError, AssertionError, TypeError, AttributeError)
"""What aiortc's parser raises for SDP that is none."""
_UNACCEPTABLE = (*_UNREADABLE, InvalidAccessError, InvalidStateError, OperationError)

AvKind = Literal["audio", "video"]


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """Seconds to get connected in, without a report from the browser, and in all."""

    connect_s: float = 10
    silence_s: float = 10
    max_age_s: float = 4 * 3600


@dataclass(slots=True)
class Hearing:
    """Whether a viewer is gone who took no leave: packets are sent to it and it reports of none (RTCP RR). Where none
    are sent there is nothing to report of."""

    silence_s: float
    heard_s: float
    _sent: int = 0
    _reported: object = field(default=None)

    def is_gone(self, now_s: float, sent: int, reported: object) -> bool:
        if reported != self._reported or sent == self._sent:
            self.heard_s = now_s
        self._sent, self._reported = sent, reported
        return now_s - self.heard_s > self.silence_s


def read_offer(sdp: str) -> list[AvKind]:
    """The kinds that the browser wants to receive, once each at most."""
    try:
        media = SessionDescription.parse(sdp).media
        codecs = {one.kind: {codec.mimeType.lower() for codec in one.rtp.codecs} for one in media}
    except _UNREADABLE as error:
        raise PreviewRefused(Reason.BAD_OFFER) from error
    if not codecs or len(media) != len(codecs) or not codecs.keys() <= _CODECS.keys():
        raise PreviewRefused(Reason.BAD_OFFER)
    if "video/h264" not in codecs.get("video", {"video/h264"}):
        raise PreviewRefused(Reason.NO_H264)
    return [kind for kind in ("audio", "video") if kind in codecs]


def without_candidates(sdp: str) -> str:
    """The browser's checks reach us and tell its address. We send to no address that an offer names, and don't ask
    the network for the .local names that browsers hide theirs behind (RFC 8828)."""
    kept = (line for line in sdp.splitlines() if not line.startswith(("a=candidate:", "a=end-of-candidates")))
    return "\r\n".join(kept) + "\r\n"


class Session:
    """`run` lives as long as the viewer. `end` may be called at any time and more than once."""

    def __init__(self, identity: str, channel: str, relay: Relay, limits: SessionLimits) -> None:
        self.identity, self.channel, self.relay = identity, channel, relay
        self.reason = ""
        self.kinds: list[AvKind] = []
        self._limits = limits
        self._ended, self._connected = asyncio.Event(), asyncio.Event()
        self._tracks: list[EncodedTrack] = []
        self._peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._peer.on("connectionstatechange", self._on_state)

    def end(self, reason: str) -> None:
        self.reason = self.reason or reason
        self._ended.set()

    async def answer(self, sdp: str, kinds: list[AvKind]) -> str:
        """Gathers this machine's addresses; the browser does the rest."""
        self.kinds = kinds
        for kind in kinds:
            self._add_track(kind)
        try:
            await self._peer.setRemoteDescription(RTCSessionDescription(without_candidates(sdp), "offer"))
            await self._peer.setLocalDescription(await self._peer.createAnswer())
        except _UNACCEPTABLE as error:
            raise PreviewRefused(Reason.BAD_OFFER) from error
        return self._peer.localDescription.sdp

    async def run(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        try:
            async with asyncio.timeout(self._limits.max_age_s):
                await self._watch(clock_s)
        except TimeoutError:
            self.end("as old as a preview may get")

    async def close(self) -> None:
        self.end("closed")
        for track in self._tracks:
            self.relay.remove(track)
            track.stop()
        await self._peer.close()

    def _add_track(self, kind: AvKind) -> None:
        still = self.relay.still if kind == "video" else lambda: None
        track = EncodedTrack(kind, still, lambda: self.end("its sender stopped"))
        self._tracks.append(track)
        self.relay.add(track)
        codecs = [one for one in RTCRtpSender.getCapabilities(kind).codecs
                  if one.mimeType in (_CODECS[kind], "video/rtx")]  # fmt: skip
        self._peer.addTransceiver(track, "sendonly").setCodecPreferences(codecs)

    def _on_state(self) -> None:
        state = self._peer.connectionState
        if state == "connected":
            self._connected.set()
        elif state in ("failed", "closed"):
            self.end(f"connection {state}")

    async def _watch(self, clock_s: Callable[[], float]) -> None:
        if not await self._happens(self._connected, self._limits.connect_s):
            self.end("never connected")
        hearing = Hearing(self._limits.silence_s, clock_s())
        while not await self._happens(self._ended, LOOK_S):
            sent, reported = await self._reports()
            if hearing.is_gone(clock_s(), sent, reported):
                self.end("viewer gone")

    async def _happens(self, event: asyncio.Event, within_s: float) -> bool:
        """False where it doesn't; an end comes first in any case."""
        waits = [asyncio.ensure_future(one.wait()) for one in {event, self._ended}]
        await asyncio.wait(waits, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        return event.is_set() or self._ended.is_set()

    async def _reports(self) -> tuple[int, object]:
        """Packets sent, and when the browser last reported of them."""
        stats = [one for sender in self._peer.getSenders() for one in (await sender.getStats()).values()]
        sent = sum(one.packetsSent for one in stats if one.type == "outbound-rtp")
        return sent, [one.timestamp for one in stats if one.type == "remote-inbound-rtp"]
