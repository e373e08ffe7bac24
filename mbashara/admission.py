"""Who may publish: the key book asked for each encoder that comes, before any channel is."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from core.keys import KeyBook, KeyOwner, TurnedAway
from core.workers import channel_worker
from ingest.rtmp.door import HandOff, PublishRequest, Refusal

log = structlog.get_logger()

GUESSES_PER_MINUTE = 10
UNKNOWN_KEY = Refusal("NetStream.Publish.Denied", "This stream key is wrong or was revoked.")
TOO_MANY_GUESSES = Refusal(
    "NetStream.Publish.Denied", "Too many wrong stream keys from this address; wait a minute."
)  # fmt: skip
REFUSALS = {
    TurnedAway.REVOKED: UNKNOWN_KEY,
    TurnedAway.ADDRESS: Refusal("NetStream.Publish.Denied", "This stream key is not allowed from this address."),
    TurnedAway.IN_USE: Refusal("NetStream.Publish.BadName", "This stream key is in use by another encoder."),
}


class GuessLimit:
    """Wrong keys per address: whoever guesses is refused unheard for a while; keys that are right are not counted."""

    def __init__(self, per_minute: int = GUESSES_PER_MINUTE, max_addresses: int = 10_000) -> None:
        self._per_minute, self._max_addresses = per_minute, max_addresses
        self._wrong: dict[str, list[float]] = {}

    def is_exceeded(self, address: str, now_s: float) -> bool:
        recent = [at for at in self._wrong.get(address, ()) if now_s - at < 60]
        return len(recent) >= self._per_minute

    def count(self, address: str, now_s: float) -> None:
        recent = [at for at in self._wrong.pop(address, ()) if now_s - at < 60]
        self._wrong[address] = [*recent, now_s][-self._per_minute :]
        while len(self._wrong) > self._max_addresses:
            del self._wrong[next(iter(self._wrong))]


@dataclass(frozen=True, slots=True)
class Known:
    """Whose key it is, or was. `why`: it lets nobody in, or nobody from there."""

    owner: KeyOwner
    why: TurnedAway | None = None


class Admission:
    """Of one media worker. `refresh` is awaited where an unknown key may be a new one."""

    def __init__(
        self, book: KeyBook, refresh: Callable[[], Awaitable[None]], worker: int, workers: int,
        unix_ms: Callable[[], float], clock_s: Callable[[], float],
    ) -> None:  # fmt: skip
        self.stranger_ms: float | None = None
        """When one came last with a key that is nobody's."""
        self._book, self._refresh = book, refresh
        self._worker, self._workers = worker, workers
        self._unix_ms, self._clock_s = unix_ms, clock_s
        self._guesses = GuessLimit()

    async def ask(self, request: PublishRequest) -> Known | Refusal | HandOff:
        address = request.peer.rpartition(":")[0] or request.peer
        owner, former = self._book.lookup(request.key), self._book.lookup_former(request.key)
        if owner is None and former is None:
            if self._guesses.is_exceeded(address, self._clock_s()):
                return TOO_MANY_GUESSES
            await self._refresh()
            owner, former = self._book.lookup(request.key), self._book.lookup_former(request.key)
        known = owner or former
        if known is None:
            self._guesses.count(address, self._clock_s())
            self.stranger_ms = self._unix_ms()
            log.warning("publisher refused", peer=request.peer, reason="unknown key")
            return UNKNOWN_KEY
        lives_in = channel_worker(known.channel, self._workers)
        if lives_in != self._worker:
            return HandOff(lives_in)  # who is turned away is turned away there, where the broadcast is
        if owner is None:
            return Known(known, TurnedAway.REVOKED)
        return Known(owner, None if owner.allows(address) else TurnedAway.ADDRESS)
