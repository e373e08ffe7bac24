"""Who may do which act of the table in lifecycle.py, on the console's pages and through the API alike."""

from core.broadcasts.lifecycle import Act as Step
from core.staff.permissions import Act

RIGHT_OF = {
    Step.REHEARSE: Act.BROADCAST_GO_LIVE,
    Step.STAND_DOWN: Act.BROADCAST_GO_LIVE,
    Step.GO_LIVE: Act.BROADCAST_GO_LIVE,
    Step.UNDO_GO_LIVE: Act.BROADCAST_GO_LIVE,
    Step.END: Act.BROADCAST_END,
    Step.UNDO_END: Act.BROADCAST_END,
    Step.CANCEL: Act.BROADCAST_EDIT,
    Step.ARCHIVE: Act.BROADCAST_EDIT,
}
"""A rehearsal takes the channel, so it needs what going live needs. `edit` and `message` bring words with them and are
asked for by their own functions; `close` is nobody's."""

DRY_RUN = Act.BROADCAST_GO_LIVE
"""It takes no channel, but the machine's time, and whoever rehearses wants it."""

MESSAGE = "broadcast.message"


def audited(step: Step) -> str:
    """The act's name in the audit log, whoever did it and whichever way."""
    return f"broadcast.{step}"
