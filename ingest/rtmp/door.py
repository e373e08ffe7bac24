"""The door between the RTMP server and the rest of the house: what it asks for and what it hands over."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol


@dataclass(frozen=True, slots=True)
class PublishRequest:
    """Who wants to publish what. `tc_url` and `app` may hold the key as well, so none of them is shown."""

    key: str = field(repr=False)
    app: str = field(repr=False)
    tc_url: str = field(repr=False)
    peer: str
    flash_ver: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """`description` is shown to the person at the encoder."""

    code: Literal["NetStream.Publish.Denied", "NetStream.Publish.BadName"]
    description: str


@dataclass(frozen=True, slots=True)
class HandOff:
    """The channel lives in another media worker; the publisher is passed on to it."""

    worker: int


@dataclass(frozen=True, slots=True)
class FeedEnd:
    """`clean`: the publisher took leave, as opposed to a connection that broke or was ended. `is_refused`: it was ended
    here, by what is not taken or by a fault of ours."""

    clean: bool
    reason: str
    is_refused: bool = False


class FeedSink(Protocol):
    """What an accepted publisher writes into. Called on the event loop, so neither call may block."""

    def on_message(self, type_id: int, timestamp_ms: int, body: bytearray) -> None:
        """Audio (8), video (9) or AMF0 data (18); owns the body. May raise FeedError to end the feed."""

    def on_end(self, end: FeedEnd) -> None:
        """Called once, whatever the end."""


Admit = Callable[[PublishRequest], Awaitable[FeedSink | Refusal | HandOff]]
