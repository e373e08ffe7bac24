"""A broadcast led through its life (lifecycle.py), by people and by the clock. Each function takes the session first;
the caller owns the transaction, has asked whether this person may, and tells media afterwards."""

from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime

from sqlalchemy import Exists, Select, select
from sqlalchemy.orm import Session

from core.broadcasts.errors import BadBroadcast, ChannelBusy, NotPossible, Overtaken, TooLate
from core.broadcasts.lifecycle import AT_THE_CHANNEL, SETTLE, UNDO, Act, State
from core.broadcasts.plan import Message
from core.broadcasts.queries import following, lock, note
from core.database import NOW, Moment, is_any
from core.ids import new_id
from core.tables import Broadcast, Channel

MAX_MESSAGE = 280


def act(
    session: Session, institution_id: int, broadcast_id: str, wanted: Act, now: datetime, expected: State, *,
    actor: str, randomness: bytes,
) -> Broadcast:  # fmt: skip
    """Does one act of the table, for a person who saw the broadcast in the state `expected`. Of two who press at once
    the second gets Overtaken. `edit` and `message` bring words with them: they are functions of their own."""
    broadcast = lock(session, institution_id, broadcast_id)
    if broadcast.state != expected:
        raise Overtaken(State(broadcast.state))
    if wanted not in _DO:
        raise NotPossible(expected, wanted)
    state = following(broadcast, wanted)
    if state in AT_THE_CHANNEL and expected not in AT_THE_CHANNEL:
        _take_channel(session, broadcast, wanted)
    _DO[wanted](broadcast, now, randomness)
    broadcast.state = state
    note(session, broadcast, wanted, actor, now, before=expected, after=state)
    return broadcast


def send_message(
    session: Session, institution_id: int, broadcast_id: str, message: Message | None, *, actor: str, now: datetime
) -> Broadcast:
    """Words for every player of the channel, while it is this broadcast's; None takes them away."""
    broadcast = lock(session, institution_id, broadcast_id)
    following(broadcast, Act.MESSAGE)
    if message is not None and not (message.sw.strip() and message.en.strip()):
        raise BadBroadcast("a message is in both languages / ujumbe uwe katika lugha zote mbili")
    if message is not None and max(len(message.sw), len(message.en)) > MAX_MESSAGE:
        raise BadBroadcast(
            f"a message has at most {MAX_MESSAGE} characters / ujumbe una herufi {MAX_MESSAGE} tu au pungufu"
        )
    told = (None, None, None, None) if message is None else (message.sw, message.en, message.level, now)
    broadcast.message_sw, broadcast.message_en, broadcast.message_level, broadcast.message_at = told
    note(session, broadcast, Act.MESSAGE, actor, now, message=message and asdict(message))
    return broadcast


def close_due(session: Session, now: datetime) -> int:
    """Carries out the ends whose time has come; media does the same on the air by its own copy. Returns how many."""
    found = session.scalars(_due(now).with_for_update(skip_locked=True)).all()
    for broadcast in found:
        close(session, broadcast, now, "end")
    return len(found)


def is_close_due() -> Exists:
    """A question for the bell of the work process."""
    return is_any(_due(NOW))


def _due(now: Moment) -> Select[Broadcast]:
    return select(Broadcast).where(Broadcast.state == State.LIVE, Broadcast.ends_at + SETTLE <= now)


def close(session: Session, broadcast: Broadcast, at: datetime, reason: str) -> None:
    """The end itself: by the clock, or because the recording ended."""
    before = broadcast.state
    broadcast.state, broadcast.ended_at, broadcast.ends_at = following(broadcast, Act.CLOSE), at, None
    note(session, broadcast, Act.CLOSE, None, at, reason=reason, before=before, after=broadcast.state)


def undo_until(broadcast: Broadcast) -> tuple[Act, datetime] | None:
    """What could be undone and until when; the caller knows what time it is."""
    if broadcast.state != State.LIVE:
        return None
    if broadcast.ends_at is not None:
        return Act.UNDO_END, broadcast.ends_at
    return None if broadcast.went_live_at is None else (Act.UNDO_GO_LIVE, broadcast.went_live_at + UNDO)


def _keep(_broadcast: Broadcast, _now: datetime, _randomness: bytes) -> None: ...


def _go_live(broadcast: Broadcast, now: datetime, _randomness: bytes) -> None:
    broadcast.went_live_at = now


def _undo_go_live(broadcast: Broadcast, now: datetime, randomness: bytes) -> None:
    _check_undo(broadcast, Act.UNDO_GO_LIVE, now)
    broadcast.air_id = new_id(now, randomness)
    broadcast.went_live_at = broadcast.started_at = None


def _end(broadcast: Broadcast, now: datetime, _randomness: bytes) -> None:
    if broadcast.ends_at is not None:
        raise Overtaken(State.LIVE)
    broadcast.ends_at = now + UNDO


def _undo_end(broadcast: Broadcast, now: datetime, _randomness: bytes) -> None:
    _check_undo(broadcast, Act.UNDO_END, now)
    broadcast.ends_at = None


def _check_undo(broadcast: Broadcast, wanted: Act, now: datetime) -> None:
    undo = undo_until(broadcast)
    if undo is None or undo[0] is not wanted:
        raise Overtaken(State(broadcast.state))
    if now >= undo[1]:
        raise TooLate


_DO: dict[Act, Callable[[Broadcast, datetime, bytes], None]] = {
    Act.REHEARSE: _keep,
    Act.STAND_DOWN: _keep,
    Act.GO_LIVE: _go_live,
    Act.UNDO_GO_LIVE: _undo_go_live,
    Act.END: _end,
    Act.UNDO_END: _undo_end,
    Act.CANCEL: _keep,
    Act.ARCHIVE: _keep,
}


def _take_channel(session: Session, broadcast: Broadcast, wanted: Act) -> None:
    """The channel's row is locked, so that of two broadcasts one gets it. Going live takes over from a broadcast that a
    feed began by itself; a rehearsal doesn't, as it would take viewers' picture away."""
    session.execute(select(Channel.id).where(Channel.id == broadcast.channel_id).with_for_update())
    others = (Broadcast.channel_id == broadcast.channel_id) & Broadcast.state.in_(AT_THE_CHANNEL) & ~Broadcast.is_test
    if wanted is Act.GO_LIVE:
        others &= Broadcast.created_by.is_not(None)
    other = session.scalar(select(Broadcast.id).where(others, Broadcast.id != broadcast.id).limit(1))
    if other is not None:
        raise ChannelBusy(other)
