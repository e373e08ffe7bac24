"""Destroying a recording takes two people, and is carried out by a durable workflow (mbashara/rules.py).

One asks, another approves; both are accounts, and the database itself refuses one who is both. What stands against it
(a hold, the time it must be kept, being on the air or copied) is asked at each of the three steps: asking, approving,
carrying out. Its media go at every location and here; its papers stay everywhere for good, so it stays provable what
was kept, and that it was destroyed by whose order. What lies at a place that was forgotten is out of reach: whoever
approves is told, the custody log names it, and it goes once the place is named again (`remains`).

Each act takes the session first; the caller owns the transaction. Errors are PolicyErrors; nothing was changed then.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, Exists, Row, Select, select, update
from sqlalchemy.orm import Session

from archive.recordings import custody, forgotten, policy
from archive.recordings.custody import to_ms
from archive.recordings.locations.errors import Damaged, Locked, StoreError
from archive.recordings.locations.many import each
from archive.recordings.locations.store import Store
from archive.recordings.policy import check_reason, find
from archive.recordings.policy_errors import (
    AlreadyAsked,
    BeingCopied,
    Blocked,
    Disposed,
    HoldStands,
    KeptForEver,
    NeedsAccount,
    NoRight,
    NoSuchRequest,
    NotOpen,
    OnTheAir,
    OutOfReach,
    PolicyError,
    RetentionStands,
    SamePerson,
)
from archive.recordings.policy_tables import DisposalRequest
from archive.recordings.tables import RecordingCopy
from archive.recordings.verify import LEDGER_NAME, MADE_LATER, Chain, listed_files, read_chain
from core import audit
from core.audit import Actor
from core.database import NOW, Moment, insert, is_any, transaction
from core.staff.permissions import Act, Scope, may
from core.staff.sessions import memberships_of
from core.staff.tables import UserAccount
from core.tables import Broadcast, Recording
from core.web.i18n import Language

OPEN = ("asked", "approved", "carrying")
PROGRAM = Actor(None, custody.PROGRAM)
BATCH = 64
"""Files that are removed under one lock of the recording."""
WORKERS = 4
COPYING_AGAIN = timedelta(minutes=1)
FIRST_RETRY, LAST_RETRY = timedelta(seconds=10), timedelta(hours=1)


def ask(
    session: Session, institution_id: int, recording_id: str, reason: str, *, by: Actor, now: datetime
) -> DisposalRequest:
    """Act.DISPOSAL_ASK. Raises what stands against it: a Blocked, Disposed, AlreadyAsked."""
    reason = check_reason(reason)
    recording = find(session, institution_id, recording_id, lock=True)
    asker = _account(session, by, Act.DISPOSAL_ASK, institution_id)
    check(session, recording, now)
    request = DisposalRequest(
        recording_id=recording_id, institution_id=institution_id, reason=reason, asked_by=asker, asked_name=by.name,
        asked_at=to_ms(now), state="asked", turns=0, attempts=0,
    )  # fmt: skip
    if not insert(session, request):
        raise AlreadyAsked
    _tell(session, recording, request, "asked", by, now, detail=reason)
    return request


def approve(
    session: Session, institution_id: int, recording_id: str, request_id: int, *, by: Actor, now: datetime,
    knowing: Collection[str] = (),
) -> DisposalRequest:  # fmt: skip
    """Act.DISPOSAL_APPROVE, held by another account than the asker's: looked up here, under the lock. It is carried out
    soon after, and can be withdrawn until that begins. `knowing`: the forgotten places where this person knows that
    something lies; raises OutOfReach where there are others."""
    recording, request = _open(session, institution_id, recording_id, request_id, "asked")
    approver = _account(session, by, Act.DISPOSAL_APPROVE, institution_id)
    if approver == request.asked_by:
        raise SamePerson
    check(session, recording, now)
    left = [one.location for one in forgotten.of_recording(session, recording_id)]
    if set(left) - set(knowing):
        raise OutOfReach(location=", ".join(left))
    _decide(request, "approved", by, now)
    request.next_try_at = to_ms(now)
    _tell(session, recording, request, "approved", by, now, **({"left": left} if left else {}))
    return request


def refuse(
    session: Session, institution_id: int, recording_id: str, request_id: int, reason: str, *, by: Actor, now: datetime
) -> DisposalRequest:
    """Act.DISPOSAL_APPROVE; the asker may as well."""
    reason = check_reason(reason)
    recording, request = _open(session, institution_id, recording_id, request_id, "asked")
    _account(session, by, Act.DISPOSAL_APPROVE, institution_id)
    _decide(request, "refused", by, now, reason)
    _tell(session, recording, request, "refused", by, now, detail=reason)
    return request


def withdraw(
    session: Session, institution_id: int, recording_id: str, request_id: int, *, by: Actor, now: datetime
) -> DisposalRequest:
    """Act.DISPOSAL_ASK; also what is approved, as long as nothing is removed."""
    recording, request = _open(session, institution_id, recording_id, request_id, "asked", "approved")
    _account(session, by, Act.DISPOSAL_ASK, institution_id)
    request.state, request.next_try_at, request.decision = "withdrawn", None, by.name
    _tell(session, recording, request, "withdrawn", by, now)
    return request


def check(session: Session, recording: Recording, now: datetime) -> None:
    """Raises the first rule that stands against destroying it. The recording is locked."""
    if recording.disposed_at is not None:
        raise Disposed
    _check_rules(session, recording, now)
    if recording.state == "recording" or recording.described_event_id == 0:
        raise OnTheAir
    copying = select(RecordingCopy.location).where(RecordingCopy.recording_id == recording.id)
    location = session.scalar(copying.where(RecordingCopy.state == "copying").limit(1))
    if location is not None:
        raise BeingCopied(location=location)


def _check_rules(session: Session, recording: Recording, now: datetime) -> None:
    for hold in policy.standing_holds(session, recording.id):
        raise HoldStands(reason=hold.reason)
    kept = policy.kept(session, recording)
    if kept.until is None:
        raise KeptForEver
    if not kept.is_over(now):
        raise RetentionStands(until=kept.until)


def blocked(session: Session, institution_id: int, recording_id: str, now: datetime) -> Blocked | Disposed | None:
    """What stands against destroying it now, for a page to tell."""
    try:
        check(session, find(session, institution_id, recording_id), now)
    except (Blocked, Disposed) as error:
        return error
    return None


def requests(
    session: Session, scope: Scope, *, only_open: bool = True, limit: int = 200
) -> Sequence[Row[DisposalRequest, Recording, Broadcast]]:
    """Newest first."""
    query = (
        select(DisposalRequest, Recording, Broadcast)
        .join(Recording, Recording.id == DisposalRequest.recording_id)
        .join(Broadcast, Broadcast.id == Recording.broadcast_id)
        .where(scope.where(DisposalRequest.institution_id))
    )
    if only_open:
        query = query.where(DisposalRequest.state.in_(OPEN))
    return session.execute(query.order_by(DisposalRequest.id.desc()).limit(limit)).all()


def _open(
    session: Session, institution_id: int, recording_id: str, request_id: int, *states: str
) -> tuple[Recording, DisposalRequest]:
    """Both locked, the recording first, as everyone locks."""
    recording = find(session, institution_id, recording_id, lock=True)
    request = session.get(DisposalRequest, request_id, with_for_update=True, populate_existing=True)
    if request is None or request.recording_id != recording_id:
        raise NoSuchRequest
    if request.state not in states:
        raise NotOpen
    return recording, request


def _account(session: Session, by: Actor, act: Act, institution_id: int) -> int:
    """The person's account, which is in use and has the right."""
    account = None if by.user_id is None else session.get(UserAccount, by.user_id, populate_existing=True)
    if account is None:
        raise NeedsAccount
    if account.disabled_at is not None or not may(memberships_of(session, account.id), act, institution_id):
        raise NoRight
    return account.id


def _decide(request: DisposalRequest, state: str, by: Actor, now: datetime, decision: str | None = None) -> None:
    request.state, request.decision = state, decision
    request.decided_by, request.decided_name, request.decided_at = by.user_id, by.name, to_ms(now)


def _tell(
    session: Session, recording: Recording, request: DisposalRequest, what: str, by: Actor, now: datetime, **detail: Any
) -> None:
    told: dict[str, Any] = {"rule": "disposal", "request": request.id, "act": what, **detail}
    custody.append(session, recording.id, "policy assignment", now, agent=by.name, **told)
    audit.append(
        session, by, f"recording.dispose_{what}", f"recording:{recording.id}", now=now,
        institution_id=recording.institution_id, after={"request": request.id, **detail},
    )  # fmt: skip


# Carrying out, in turns: begin, clear each location, note. Each can be done again.


@dataclass(frozen=True, slots=True)
class Turn:
    request_id: int
    recording_id: str
    number: int


@dataclass(frozen=True, slots=True)
class Cleared:
    """What came of a location. `until`: when its lock ends, in ISO 8601; `is_stopped`: the order no longer stands."""

    location: str
    is_clear: bool = False
    is_stopped: bool = False
    error: str | None = None
    until: str | None = None


def due(session: Session, now: datetime, limit: int = 20) -> list[Turn]:
    query = _due(now).order_by(DisposalRequest.next_try_at).limit(limit)
    return [Turn(one.id, one.recording_id, one.turns) for one in session.scalars(query)]


def is_due() -> Exists:
    """A question for the bell."""
    return is_any(_due(NOW))


def _due(now: Moment) -> Select[DisposalRequest]:
    wanted = DisposalRequest.state.in_(("approved", "carrying"))
    return select(DisposalRequest).where(wanted, DisposalRequest.next_try_at <= now)


def begin(session: Session, turn: Turn, now: datetime) -> bool:
    """From here on the recording is gone to the public and no copy of it is made or mended; False where the turn is
    over, or the order can't be carried out now."""
    found = _of_turn(session, turn)
    if found is None:
        return False
    recording, request = found
    if request.state == "carrying":
        return _still_stands(session, turn, now)
    try:
        check(session, recording, now)
    except BeingCopied as error:
        request.turns, request.trouble, request.next_try_at = request.turns + 1, str(error), now + COPYING_AGAIN
        return False
    except (Blocked, Disposed) as error:
        _stop(session, recording, request, error, now)
        return False
    request.state, recording.disposed_at = "carrying", to_ms(now)
    copies = update(RecordingCopy).where(RecordingCopy.recording_id == recording.id)
    session.execute(
        copies.values(state="disposed", next_check_at=None, fault=None, attempts=0, ledger_bytes=recording.ledger_bytes)
    )
    return True


def clear(engine: Engine, turn: Turn, store: Store, recordings: Path, now: datetime) -> Cleared:
    """Removes all media at a location, some at a time; the recording is locked for each, so whoever places a hold waits
    a moment, and what is left then is kept. Blocks. Raises OSError where the ledger here can't be read."""

    def stopped(session: Session) -> Cleared | None:
        return None if _still_stands(session, turn, now) else Cleared(store.name, is_stopped=True)

    return clear_unless(engine, store, recordings, turn.recording_id, stopped)


def clear_unless(
    engine: Engine, store: Store, recordings: Path, recording_id: str, stopped: Callable[[Session], Cleared | None]
) -> Cleared:
    """`stopped` is asked before each batch, and locks the recording where it says None. Raises OSError."""
    try:
        for batch in _batches(store, recordings, recording_id):
            with transaction(engine) as session:
                if (why := stopped(session)) is not None:
                    return why
                for error in _remove(store, batch):
                    return error
    except StoreError as error:
        return Cleared(store.name, error=str(error))
    return Cleared(store.name, is_clear=True)


def _batches(store: Store, recordings: Path, recording_id: str) -> Iterator[list[str]]:
    """The keys of all that is there and no paper, and of all that the ledger lists: a place may forget to list it. The
    caller removes each; what is there still behind the last one is told. Raises StoreError, OSError."""
    named = listed_files(read_chain(recordings / recording_id / LEDGER_NAME))
    keys = store.keys(f"{recording_id}/") | {f"{recording_id}/{name}" for name in named if ".." not in Path(name).parts}
    media = sorted(key for key in keys if is_media(recording_id, key))
    yield from (media[begin : begin + BATCH] for begin in range(0, len(media), BATCH))
    left = [key for key in store.keys(f"{recording_id}/") if is_media(recording_id, key)]
    if media and left:
        raise Damaged(store.name, f"{min(left)}: still there after it was removed; {len(left)} files")


def is_media(recording_id: str, key: str) -> bool:
    return key.removeprefix(f"{recording_id}/") not in MADE_LATER


def _remove(store: Store, keys: Sequence[str]) -> Iterator[Cleared]:
    """What went wrong, the first of it."""
    with closing(each(f"dispose {store.name}", WORKERS, keys, partial(_remove_one, store))) as removed:
        for _, outcome in removed:
            if outcome is not None:
                yield outcome


def _remove_one(store: Store, key: str) -> Cleared | None:
    try:
        store.delete(key)
    except Locked as error:
        until = store.retained_until(key)
        return Cleared(store.name, error=str(error), until=None if until is None else until.isoformat())
    except StoreError as error:
        return Cleared(store.name, error=str(error))
    return None


def note(session: Session, turn: Turn, cleared: Sequence[Cleared], ledger: Chain, now: datetime) -> bool:
    """What came of a turn; True where the recording is destroyed with it. Noted again, it changes nothing."""
    found = _of_turn(session, turn)
    if found is None or found[1].state != "carrying":
        return False
    recording, request = found
    request.turns += 1
    if not all(one.is_clear for one in cleared):
        _wait(request, cleared, now)
        return False
    began_at, recording.disposed_at = recording.disposed_at, to_ms(now)
    request.state, request.carried_out_at = "done", recording.disposed_at
    request.next_try_at, request.waits_until, request.trouble = None, None, None
    files = listed_files(ledger)
    told: dict[str, Any] = {
        "request": request.id, "detail": request.reason, "asked": request.asked_name, "approved": request.decided_name,
        "since": None if began_at is None else began_at.isoformat(timespec="milliseconds"),
        "files": len(files), "size_bytes": sum(int(line["size"]) for line in files.values()),
        "locations": [one.location for one in cleared],
    }  # fmt: skip
    left = [one for one in forgotten.of_recording(session, recording.id) if one.location not in told["locations"]]
    if left:
        told["left"] = [{"location": one.location, "files": one.files, "size_bytes": one.size_bytes} for one in left]
    custody.append(session, recording.id, "deletion", now, **told)
    audit.append(
        session, PROGRAM, "recording.dispose", f"recording:{recording.id}", now=now,
        institution_id=recording.institution_id, after=told,
    )  # fmt: skip
    return True


def _wait(request: DisposalRequest, cleared: Sequence[Cleared], now: datetime) -> None:
    """A lock whose end is known is waited for; anything else is tried again, less and less often."""
    left = [one for one in cleared if not one.is_clear]
    locks = [datetime.fromisoformat(one.until) for one in left if one.until is not None]
    again = now + min(LAST_RETRY, FIRST_RETRY * 2 ** min(request.attempts, 12))
    request.attempts += 1
    request.trouble = "; ".join(one.error for one in left if one.error is not None)
    request.waits_until = max(locks) if len(locks) == len(left) else None
    request.next_try_at = max(again, min(locks)) if len(locks) == len(left) else again


def _of_turn(session: Session, turn: Turn) -> tuple[Recording, DisposalRequest] | None:
    """Locked; None where the turn is over."""
    recording = session.get(Recording, turn.recording_id, with_for_update=True, populate_existing=True)
    request = session.get(DisposalRequest, turn.request_id, with_for_update=True, populate_existing=True)
    if recording is None or request is None or request.turns != turn.number or request.state not in OPEN:
        return None
    return recording, request


def _still_stands(session: Session, turn: Turn, now: datetime) -> bool:
    """While its media go, too: a rule that came to stand against it ends the order."""
    found = _of_turn(session, turn)
    if found is None or found[1].state != "carrying":
        return False
    recording, request = found
    try:
        _check_rules(session, recording, now)
    except Blocked as error:
        _stop(session, recording, request, error, now)
        return False
    return True


def _stop(session: Session, recording: Recording, request: DisposalRequest, why: PolicyError, now: datetime) -> None:
    """Refused at the moment of carrying out. What some locations have lost already, fixity puts back from others."""
    if request.state == "carrying":
        recording.disposed_at = None
        copies = update(RecordingCopy).where(RecordingCopy.recording_id == recording.id)
        session.execute(copies.values(state="faulty", next_check_at=now, fault=str(why)))
    began = request.state == "carrying"
    request.state, request.decision, request.next_try_at = "refused", str(why), None
    told: dict[str, Any] = {"request": request.id, "detail": why.said(Language.EN), "began": began}
    custody.append(session, recording.id, "deletion", now, outcome="fail", **told)
    audit.append(
        session, PROGRAM, "recording.dispose_stopped", f"recording:{recording.id}", now=now,
        institution_id=recording.institution_id, after=told,
    )  # fmt: skip
