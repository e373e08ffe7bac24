"""What an RTMP connection tells its owner, in the order in which it happened."""

from dataclasses import dataclass, field

from ingest.rtmp.message import Message


@dataclass(frozen=True, slots=True)
class Connected:
    """The encoder said `connect`; it has been answered."""

    app: str
    flash_ver: str


@dataclass(frozen=True, slots=True)
class PublishRequested:
    """The encoder wants to publish. Nothing more is parsed until accept_publish or reject_publish."""

    key: str = field(repr=False)
    app: str = field(repr=False)  # may hold the key, as may tc_url
    tc_url: str = field(repr=False)
    flash_ver: str


@dataclass(frozen=True, slots=True)
class PlayRequested:
    """Somebody wanted to watch over RTMP and was told where else to go; the connection is to be closed."""


@dataclass(frozen=True, slots=True)
class PublishEnded:
    """The publisher took leave (FCUnpublish, deleteStream or closeStream); the connection is to be closed."""

    command: str


# A message is audio (8), video (9) or AMF0 data (18) of the publisher; its body is the receiver's to keep.
Event = Message | Connected | PublishRequested | PlayRequested | PublishEnded
