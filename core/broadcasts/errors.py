"""What can be wrong with an act on a broadcast: said in English and Swahili; nothing was changed."""

from core.broadcasts.lifecycle import Act, State


class BroadcastError(ValueError):
    """Root of this package's errors."""


class NoSuchBroadcast(BroadcastError):
    def __init__(self, broadcast_id: str) -> None:
        super().__init__(f"there is no broadcast {broadcast_id} / hakuna tangazo {broadcast_id}")


class BadBroadcast(BroadcastError):
    """What was to be written is no broadcast: an empty title, an end before its beginning."""


class NotPossible(BroadcastError):
    """The table has no such act in this state."""

    def __init__(self, state: State, act: Act) -> None:
        self.state, self.act = state, act
        super().__init__(f"{act} is not possible while {state} / {act} haiwezekani katika hali ya {state}")


class Overtaken(BroadcastError):
    """Somebody else was faster: the broadcast is not as it was when this person looked."""

    def __init__(self, state: State) -> None:
        self.state = state
        super().__init__(
            f"somebody else has changed this broadcast; it is {state} now"
            f" / mtu mwingine amebadilisha tangazo hili; sasa liko katika hali ya {state}"
        )


class TooLate(BroadcastError):
    """The seconds for an undo have passed."""

    def __init__(self) -> None:
        super().__init__("it is too late to undo this / muda wa kutengua umepita")


class ChannelBusy(BroadcastError):
    """Another broadcast has the channel."""

    def __init__(self, broadcast_id: str) -> None:
        self.broadcast_id = broadcast_id
        super().__init__(
            "another broadcast of this channel is in rehearsal or live"
            " / tangazo jingine la chaneli hii liko katika mazoezi au hewani"
        )
