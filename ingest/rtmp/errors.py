"""What can go wrong on an RTMP connection, and whose fault it is."""


class RtmpError(Exception):
    """Root of this package's errors."""


class LocalProtocolError(RtmpError):
    """We asked the connection for something its state does not allow: a bug on our side."""


class RemoteProtocolError(RtmpError):
    """The peer broke the protocol or a limit; the connection can only be closed.

    `before` holds what was complete in the same bytes ahead of the fault (messages from the chunk reader,
    events from the connection), so that the outcome does not depend on how the network cut the bytes.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.before: list[object] = []


class AmfError(RtmpError):
    """Bytes that are not AMF0, or more of it than the limits allow."""


class HandoffError(RtmpError):
    """A publisher could not be passed to another worker."""


class FeedError(RtmpError):
    """Raised by a feed sink: the feed cannot go on. Its text is what the encoder's operator gets to read."""
