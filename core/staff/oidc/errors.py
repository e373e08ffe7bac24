"""Why someone was not let in: in an exception's words for the log, as a `Refusal` for the person."""

from enum import StrEnum


class Refusal(StrEnum):
    """The value stands in the address of the log-in page, which has the words for it."""

    AWAY = "away"
    STALE = "stale"
    CANCELLED = "cancelled"
    UNTRUSTED = "untrusted"
    UNVERIFIED = "unverified"
    UNKNOWN = "unknown"
    LOCKED = "locked"


class SignOnError(Exception):
    """The provider could not tell who it is. The message is for the log: it holds no code, token or secret."""

    refusal = Refusal.UNTRUSTED


class ProviderAway(SignOnError):
    """It does not answer, or not in time. Nobody is to blame who signs on."""

    refusal = Refusal.AWAY


class Untrusted(SignOnError):
    """What it answered does not hold."""


class KeysOutdated(Untrusted):
    """The ID token fits none of the keys at hand: newer ones may be out."""
