"""A person's orders for copies: asked for (mbashara/resolving.py then looks at all copies), ordered as planned, carried
out by a durable workflow, and told in the custody log by whose order, with the SHA-256 of each file that was removed.

What is ordered is an event in the order's own transaction, before anything is touched; what came of it is one in the
transaction that ends the order. Each act takes the session first; the caller owns the transaction and has asked whether
the person may (Act.RECORDING_EDIT). Errors are PolicyErrors; nothing was changed then.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Exists, Select, delete, exists, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from archive.recordings import checks, custody, gaps
from archive.recordings.custody import to_ms
from archive.recordings.policy import check_reason, find
from archive.recordings.policy_errors import (
    Disposed,
    NoSuchCopy,
    NoSuchRequest,
    NothingToOrder,
    NotOpen,
    OnTheAir,
    OrderStands,
)
from archive.recordings.policy_tables import Hold
from archive.recordings.resolve_plan import Carried, Plan, read_plan
from archive.recordings.tables import LostFile, RecordingCopy, Resolution
from archive.recordings.verify import Line
from core import audit
from core.audit import Actor
from core.database import NOW, Moment, is_any
from core.database import insert as insert_row
from core.tables import Recording

OPEN = ("asked", "planned", "ordered")
REMOVED = "foreign files removed"
LOST = "loss accepted"
ASIDE = "papers set aside"
FIRST_RETRY, LAST_RETRY = timedelta(seconds=10), timedelta(hours=1)


def ask(
    session: Session, institution_id: int, recording_id: str, location: str, *, by: Actor, now: datetime
) -> Resolution:
    """Has the copy looked at; in the place of a plan that nobody ordered. Raises NoSuchCopy, Disposed, OnTheAir,
    OrderStands."""
    recording = find(session, institution_id, recording_id, lock=True)
    _check(session, recording, location)
    former = newest(session, recording_id, location)
    if former is not None and former.state == "asked":
        return former
    if former is not None and former.state == "ordered":
        raise OrderStands
    if former is not None and former.state == "planned":
        former.state = "withdrawn"
        session.flush()
    resolution = Resolution(
        recording_id=recording_id, institution_id=institution_id, location=location, state="asked", asked_by=by.user_id,
        asked_name=by.name, asked_at=to_ms(now), turns=0, attempts=0, next_try_at=to_ms(now),
    )  # fmt: skip
    if not insert_row(session, resolution):
        raise OrderStands
    _audit(session, by, "recording.resolve_plan", resolution, now, {"location": location})
    return resolution


def order(
    session: Session, institution_id: int, recording_id: str, resolution_id: int, reason: str, *, by: Actor,
    now: datetime,
) -> Resolution:  # fmt: skip
    """That very plan. Raises NoSuchRequest, NotOpen, NothingToOrder, BadReason, Disposed, OnTheAir, NoSuchCopy."""
    reason = check_reason(reason)
    recording, resolution = _locked(session, institution_id, recording_id, resolution_id)
    if resolution.state != "planned" or resolution.plan is None:
        raise NotOpen
    _check(session, recording, resolution.location)
    plan = read_plan(resolution.plan)
    if plan.is_empty:
        raise NothingToOrder
    resolution.state, resolution.reason = "ordered", reason
    resolution.ordered_by, resolution.ordered_name, resolution.ordered_at = by.user_id, by.name, to_ms(now)
    resolution.next_try_at, resolution.attempts, resolution.trouble = to_ms(now), 0, None
    told: dict[str, Any] = {
        "rule": "resolve", "request": resolution.id, "act": "ordered", "location": resolution.location,
        "detail": reason, "repair": [one.file for one in plan.repaired], "papers": list(plan.papers),
        "remove": _hashed(plan, {one.file for one in plan.removed}), "lost": [one.file for one in plan.lost],
    }  # fmt: skip
    if plan.aside:
        told |= {"aside": _aside(plan), "ledgers": list(plan.ledgers)}
    custody.append(session, recording_id, "policy assignment", now, agent=by.name, **told)
    kinds: tuple[str, ...] = ("repair", "remove", "lost", "aside")
    counted = {name: len(told[name]) for name in kinds if name in told}
    after = {"request": resolution.id, "location": resolution.location, "reason": reason, **counted}
    _audit(session, by, "recording.resolve", resolution, now, after)
    return resolution


def withdraw(
    session: Session, institution_id: int, recording_id: str, resolution_id: int, *, by: Actor, now: datetime
) -> Resolution:
    """What nobody ordered yet."""
    _, resolution = _locked(session, institution_id, recording_id, resolution_id)
    if resolution.state not in ("asked", "planned"):
        raise NotOpen
    resolution.state = "withdrawn"
    after = {"request": resolution.id, "location": resolution.location}
    _audit(session, by, "recording.resolve_withdraw", resolution, now, after)
    return resolution


def newest(session: Session, recording_id: str, location: str) -> Resolution | None:
    query = select(Resolution).where(Resolution.recording_id == recording_id, Resolution.location == location)
    return session.scalars(query.order_by(Resolution.id.desc()).limit(1)).first()


def lost_files(session: Session, recording_id: str) -> set[str]:
    """The names of files that a person knows to be lost everywhere."""
    return set(session.scalars(select(LostFile.name).where(LostFile.recording_id == recording_id)))


def is_on_hold(session: Session, recording_id: str) -> bool:
    held = exists().where(Hold.recording_id == recording_id, Hold.lifted_at.is_(None))
    return bool(session.scalar(select(held)))


def _check(session: Session, recording: Recording, location: str) -> None:
    if recording.disposed_at is not None:
        raise Disposed
    if recording.state == "recording" or recording.described_event_id == 0:
        raise OnTheAir
    copy = session.get(RecordingCopy, (recording.id, location))
    if copy is None or copy.state in ("copying", "disposed"):
        raise NoSuchCopy(location=location)


def _locked(
    session: Session, institution_id: int, recording_id: str, resolution_id: int
) -> tuple[Recording, Resolution]:
    recording = find(session, institution_id, recording_id, lock=True)
    resolution = session.get(Resolution, resolution_id, with_for_update=True, populate_existing=True)
    if resolution is None or resolution.recording_id != recording_id:
        raise NoSuchRequest
    return recording, resolution


def _hashed(plan: Plan, names: Iterable[str]) -> list[dict[str, Any]]:
    wanted = set(names)
    return [
        {"name": one.file, "sha256": one.sha256, "size_bytes": one.size_bytes}
        | ({"former": list(one.former)} if one.former else {})
        for one in plan.removed
        if one.file in wanted
    ]


def _aside(plan: Plan) -> list[dict[str, Any]]:
    return [
        {"name": one.file, "kept": one.values["kept"], "sha256": one.sha256, "size_bytes": one.size_bytes}
        for one in plan.aside
    ]


def _audit(session: Session, by: Actor, act: str, resolution: Resolution, now: datetime, after: audit.Facts) -> None:
    subject = f"recording:{resolution.recording_id}"
    audit.append(session, by, act, subject, now=now, institution_id=resolution.institution_id, after=after)


# Turns of the work process.


@dataclass(frozen=True, slots=True)
class Turn:
    """`number`: of the turns of this resolution; one that is over is not noted again."""

    resolution_id: int
    recording_id: str
    location: str
    state: str
    number: int


def due(session: Session, now: datetime, limit: int = 20) -> list[Turn]:
    return [_turn(one) for one in session.scalars(_due(now).order_by(Resolution.next_try_at).limit(limit))]


def is_due() -> Exists:
    """A question for the bell."""
    return is_any(_due(NOW))


def _due(now: Moment) -> Select[Resolution]:
    return select(Resolution).where(Resolution.state.in_(("asked", "ordered")), Resolution.next_try_at <= now)


def _turn(one: Resolution) -> Turn:
    return Turn(one.id, one.recording_id, one.location, one.state, one.turns)


def plan_of(session: Session, turn: Turn) -> Plan | None:
    """What was ordered, if the turn still stands."""
    resolution = session.get(Resolution, turn.resolution_id)
    stands = resolution is not None and _turn(resolution) == turn and resolution.plan is not None
    return read_plan(resolution.plan) if resolution is not None and resolution.plan is not None and stands else None


def note_plan(session: Session, turn: Turn, plan: Plan) -> None:
    """Noted again, it changes nothing."""
    resolution = _of_turn(session, turn)
    if resolution is not None:
        resolution.state, resolution.plan, resolution.trouble = "planned", plan.to_json(), None
        resolution.turns += 1


def put_off(session: Session, turn: Turn, why: str, now: datetime) -> None:
    """It is tried again, less and less often, and what it waits for is told."""
    resolution = _of_turn(session, turn)
    if resolution is not None:
        resolution.turns, resolution.trouble = resolution.turns + 1, why
        resolution.next_try_at = now + min(LAST_RETRY, FIRST_RETRY * 2 ** min(resolution.attempts, 12))
        resolution.attempts += 1


def note_carried(session: Session, turn: Turn, carried: Carried, recordings: Path, now: datetime) -> bool:
    """Ends the order, and tells of all that came of it at once; False where it must be tried again. Noted again, it
    changes nothing. All copies are read again soon after. Raises OSError where the indexes can't be read."""
    now = to_ms(now)
    recording = session.get_one(Recording, turn.recording_id, with_for_update=True)
    if carried.trouble is not None:
        put_off(session, turn, carried.trouble, now)
        return False
    resolution = _of_turn(session, turn)
    if resolution is None or resolution.plan is None or resolution.ordered_name is None:
        return False
    resolution.state, resolution.outcome, resolution.trouble = "done", asdict(carried), None
    resolution.turns += 1
    plan, by = read_plan(resolution.plan), resolution.ordered_name
    about: dict[str, Any] = {"agent": by, "location": turn.location, "request": resolution.id}
    repaired = [*carried.repaired, *carried.papers]
    if repaired:
        custody.append(session, recording.id, "recovery", now, **about, files=len(repaired), detail=repaired)
    if carried.removed:
        removed = _hashed(plan, carried.removed)
        custody.append(session, recording.id, REMOVED, now, **about, files=len(removed), removed=removed)
    if carried.aside:
        custody.append(session, recording.id, ASIDE, now, **about, files=len(carried.aside), aside=_aside(plan))
    if carried.failed:
        custody.append(session, recording.id, "recovery", now, outcome="fail", **about, detail=carried.failed)
    if carried.lost:
        accept_lost(session, recording, carried.lost, by, now)
        custody.append(session, recording.id, LOST, now, **about, files=len(carried.lost), detail=carried.lost)
        gaps.settle(session, recordings, recording, None, now)
    checks.ask(session, now, recording.id)
    counted = {name: len(getattr(carried, name)) for name in ("repaired", "removed", "lost", "failed", "aside")}
    after = {"request": resolution.id, "location": turn.location, **counted}
    _audit(session, Actor(None, custody.PROGRAM), "recording.resolved", resolution, now, after)
    return True


def accept_lost(session: Session, recording: Recording, names: Iterable[str], by: str, at: datetime) -> None:
    owner = {"recording_id": recording.id, "institution_id": recording.institution_id}
    rows = [{**owner, "name": name, "accepted_name": by, "accepted_at": at} for name in names]
    if rows:
        session.execute(insert(LostFile).values(rows).on_conflict_do_nothing())


def _of_turn(session: Session, turn: Turn) -> Resolution | None:
    """Locked; None where the turn is over."""
    found = session.get(Resolution, turn.resolution_id, with_for_update=True, populate_existing=True)
    return found if found is not None and _turn(found) == turn else None


def restore(session: Session, recording: Recording, events: Sequence[Line]) -> set[str]:
    """What is known to be lost, made again from the custody log; the names."""
    for line in events:
        if line["fact"] == LOST:
            at = datetime.fromisoformat(line["at"])
            accept_lost(session, recording, _names(line.get("detail")), str(line["agent"]), at)
        elif line["fact"] == gaps.CORRECTED:
            back = LostFile.name.in_(_names(line.get("back")))
            session.execute(delete(LostFile).where(LostFile.recording_id == recording.id, back))
    return lost_files(session, recording.id)


def known_lost(events: Iterable[Line]) -> set[str]:
    """The names of files that are lost everywhere, as a custody log has them."""
    found = set[str]()
    for line in events:
        if line.get("fact") == LOST:
            found |= set(_names(line.get("detail")))
        elif line.get("fact") == gaps.CORRECTED:
            found -= set(_names(line.get("back")))
    return found


def _names(told: object) -> list[str]:
    """A line from elsewhere may say anything."""
    return [str(name) for name in told] if isinstance(told, list) else []
