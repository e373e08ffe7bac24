"""The life of a broadcast as one table: which act leads from which state to which.

    scheduled --rehearse--> rehearsal --go live--> live --end, 10 s--> ended --archive--> archived
        └------ cancel -------┴--> cancelled

- **scheduled**: a plan. What its channel's encoder sends has nothing to do with it yet.
- **rehearsal**: the channel is this broadcast's. Its feed is accepted, measured and held: only staff see it. A channel
  has one broadcast at most in rehearsal or live.
- **live**: on the air from the feed's next keyframe on. It isn't over because its encoder is: a feed that is lost or
  says goodbye is a gap, and the next one goes on in the same broadcast. Only `end` ends it, or a limit of hours
  without any feed.
- **ended**: off the air, though the encoder may go on: its feed is held again. The recording is whole.
- **archived**: closed; nothing of it can be changed. **cancelled**: it never was on the air, and won't be.

Two acts have ten seconds to be undone, and neither undo loses anything that viewers had:
- `go live` works at once, since nobody waits for a speech. Its undo takes the broadcast off the air and back to
  rehearsal. The seconds that were shown stay a recording of their own: the next `go live` begins a new one, so each
  time on the air has its own identity (`Broadcast.air_id`; the first is the broadcast's own).
- `end` works ten seconds later (`ends_at`): until then everything stays on the air, so its undo changes nothing there.
  Media carries it out `SETTLE` after `ends_at`, which is longer than an undo in the last moment takes to reach it:
  no clock decides between the two.

`close` is nobody's act: it is the end carried out, by the clock or told by the recording's ledger. A broadcast that a
feed began by itself (a setting of the channel) starts as live and lives on by the same table.

The table says what is possible. Who may do it is the roles' to say, elsewhere.
"""

from datetime import timedelta
from enum import StrEnum

UNDO = timedelta(seconds=10)
SETTLE = timedelta(seconds=2.5)


class State(StrEnum):
    SCHEDULED = "scheduled"
    REHEARSAL = "rehearsal"
    LIVE = "live"
    ENDED = "ended"
    ARCHIVED = "archived"
    CANCELLED = "cancelled"


class Act(StrEnum):
    EDIT = "edit"
    REHEARSE = "rehearse"
    STAND_DOWN = "stand_down"
    GO_LIVE = "go_live"
    UNDO_GO_LIVE = "undo_go_live"
    MESSAGE = "message"
    END = "end"
    UNDO_END = "undo_end"
    CLOSE = "close"
    CANCEL = "cancel"
    ARCHIVE = "archive"


TABLE: dict[tuple[State, Act], State] = {
    (State.SCHEDULED, Act.EDIT): State.SCHEDULED,
    (State.SCHEDULED, Act.REHEARSE): State.REHEARSAL,
    (State.SCHEDULED, Act.GO_LIVE): State.LIVE,
    (State.SCHEDULED, Act.CANCEL): State.CANCELLED,
    (State.REHEARSAL, Act.EDIT): State.REHEARSAL,
    (State.REHEARSAL, Act.MESSAGE): State.REHEARSAL,
    (State.REHEARSAL, Act.STAND_DOWN): State.SCHEDULED,
    (State.REHEARSAL, Act.GO_LIVE): State.LIVE,
    (State.REHEARSAL, Act.CANCEL): State.CANCELLED,
    (State.LIVE, Act.EDIT): State.LIVE,
    (State.LIVE, Act.MESSAGE): State.LIVE,
    (State.LIVE, Act.UNDO_GO_LIVE): State.REHEARSAL,
    (State.LIVE, Act.END): State.LIVE,
    (State.LIVE, Act.UNDO_END): State.LIVE,
    (State.LIVE, Act.CLOSE): State.ENDED,
    (State.ENDED, Act.EDIT): State.ENDED,
    (State.ENDED, Act.ARCHIVE): State.ARCHIVED,
}

AT_THE_CHANNEL = (State.REHEARSAL, State.LIVE)
"""The states in which a broadcast has the channel."""


def next_state(state: State, act: Act) -> State | None:
    """None: the act is not possible in this state."""
    return TABLE.get((state, act))


def possible_acts(state: State) -> tuple[Act, ...]:
    """In the table's order. `close` is among them, though no person does it."""
    return tuple(act for one, act in TABLE if one is state)
