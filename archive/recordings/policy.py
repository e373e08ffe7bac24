"""The archive's rules on a recording: legal holds, embargoes, and how long it is kept.

Each act takes the session first; the caller owns the transaction, and has asked whether this person may (the right is
named at each). Each writes its entry of the audit log and its event of the custody log in the same transaction. Errors
are PolicyErrors; nothing was changed then. After an act on an embargo the caller has `closures.show` bring the public
folder up to the rows, once committed, before it answers.
"""

import calendar
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Exists, Row, Select, and_, exists, func, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from archive.recordings import custody, forgotten, policy_errors
from archive.recordings.custody import to_ms
from archive.recordings.policy_errors import (
    BadReason,
    BadUntil,
    BadYears,
    HoldIsLifted,
    NoSuchChannel,
    NoSuchHold,
    NoSuchRecording,
    NotEmbargoed,
)
from archive.recordings.policy_tables import DisposalRequest, Embargo, Hold, RetentionPromise, RetentionRule
from archive.recordings.tables import RecordingCopy
from core import audit
from core.audit import Actor
from core.database import NOW, Moment, is_any
from core.staff.permissions import Scope
from core.tables import Broadcast, Channel, Institution, Recording

MAX_REASON = 1000
MAX_YEARS = 1000
CLOCK = Actor(None, "mbashara")
"""Who lifts an embargo whose time has come."""
WHY_IS_LOST = (
    "it was asked for at the import, and the row that said why is lost"
    " / kiliombwa wakati wa kuingiza, na safu iliyosema kwa nini imepotea"
)


@dataclass(frozen=True, slots=True)
class Kept:
    """How long a recording must be kept: `until` null is for ever."""

    until: datetime | None

    def is_over(self, now: datetime) -> bool:
        return self.until is not None and self.until <= now


@dataclass(frozen=True, slots=True)
class Standing:
    """The rules that stand on a recording. `request`: the newest wish to destroy it, whatever became of it."""

    holds: Sequence[Hold]
    embargo: Embargo | None
    kept: Kept
    request: DisposalRequest | None
    disposed_at: datetime | None


def standing(session: Session, institution_id: int, recording_id: str) -> Standing:
    """All of it, for a page. Raises NoSuchRecording."""
    recording = find(session, institution_id, recording_id)
    newest = select(DisposalRequest).where(DisposalRequest.recording_id == recording_id)
    return Standing(
        standing_holds(session, recording_id), embargo_of(session, recording_id), kept(session, recording),
        session.scalars(newest.order_by(DisposalRequest.id.desc()).limit(1)).first(), recording.disposed_at,
    )  # fmt: skip


def find(session: Session, institution_id: int, recording_id: str, *, lock: bool = False) -> Recording:
    """An institution's recording; raises NoSuchRecording for another's too. A dry run's is nobody's."""
    query = select(Recording).join(Broadcast, Broadcast.id == Recording.broadcast_id)
    query = query.where(Recording.id == recording_id, Recording.institution_id == institution_id, ~Broadcast.is_test)
    if lock:
        query = query.with_for_update(of=Recording).execution_options(populate_existing=True)
    found = session.scalars(query).one_or_none()
    if found is None:
        raise NoSuchRecording(recording=recording_id)
    return found


def check_reason(reason: str) -> str:
    reason = reason.strip()
    if not 0 < len(reason) <= MAX_REASON:
        raise BadReason
    return reason


def is_disposed(session: Session, recording_id: str) -> bool:
    """Whether its media are gone by order (or going): then only its papers can be checked, copied or packed."""
    query = select(Recording.disposed_at.is_not(None)).where(Recording.id == recording_id)
    return session.scalar(query) or False


# Holds: Act.RECORDING_HOLD.


def place_hold(
    session: Session, institution_id: int, recording_id: str, reason: str, *, by: Actor, now: datetime
) -> Hold:
    """On the air too; and while it is being destroyed: what is left then is kept. And where something of a destroyed
    one is left at a place."""
    reason = check_reason(reason)
    recording = find(session, institution_id, recording_id, lock=True)
    is_gone = recording.disposed_at is not None and not _is_going(session, recording_id)
    if is_gone and not is_left(session, recording_id):
        raise policy_errors.Disposed
    hold = Hold(
        recording_id=recording_id, institution_id=institution_id, reason=reason, placed_by=by.user_id,
        placed_name=by.name, placed_at=to_ms(now),
    )  # fmt: skip
    session.add(hold)
    session.flush()
    told: dict[str, Any] = {"hold": hold.id, "detail": reason}
    custody.append(session, recording_id, "hold placed", now, agent=by.name, **told)
    _audit(session, by, "recording.hold", recording, now, {"hold": hold.id, "reason": reason})
    return hold


def lift_hold(
    session: Session, institution_id: int, recording_id: str, hold_id: int, reason: str, *, by: Actor, now: datetime
) -> Hold:
    reason = check_reason(reason)
    recording = find(session, institution_id, recording_id, lock=True)
    hold = session.get(Hold, hold_id, with_for_update=True, populate_existing=True)
    if hold is None or hold.recording_id != recording_id:
        raise NoSuchHold
    if hold.lifted_at is not None:
        raise HoldIsLifted
    hold.lifted_by, hold.lifted_name, hold.lifted_at = by.user_id, by.name, to_ms(now)
    custody.append(session, recording_id, "hold lifted", now, agent=by.name, hold=hold.id, detail=reason)
    _audit(session, by, "recording.release", recording, now, {"hold": hold.id, "reason": reason})
    return hold


def holds(session: Session, recording_id: str) -> Sequence[Hold]:
    """Those lifted too, newest first."""
    return session.scalars(select(Hold).where(Hold.recording_id == recording_id).order_by(Hold.id.desc())).all()


def standing_holds(session: Session, recording_id: str) -> Sequence[Hold]:
    query = select(Hold).where(Hold.recording_id == recording_id, Hold.lifted_at.is_(None))
    return session.scalars(query.order_by(Hold.id)).all()


# Embargoes: Act.RECORDING_EMBARGO.


@dataclass(frozen=True, slots=True)
class Wish:
    """An embargo that is asked for, of a recording that may not be there yet. `until` (aware) None: until it is
    lifted."""

    reason: str
    until: datetime | None = None


def wish_of(told: Mapping[str, Any]) -> Wish:
    """As files tell it: `until` in ISO 8601 or null, and its `reason`; not in a ledger, which is for everyone once the
    embargo is over."""
    return Wish(told.get("reason") or WHY_IS_LOST, told["until"] and datetime.fromisoformat(told["until"]))


def wish_for(reason: str, until: datetime | None, now: datetime) -> Wish:
    """Raises BadReason, BadUntil."""
    reason = check_reason(reason)
    if until is not None and until <= now:
        raise BadUntil
    return Wish(reason, until and to_ms(until))


def place_embargo(
    session: Session, institution_id: int, recording_id: str, reason: str, until: datetime | None, *, by: Actor,
    now: datetime,
) -> Embargo:  # fmt: skip
    """In the place of one that stands. What is still on the air stays there, and is under embargo from its end on."""
    wish = wish_for(reason, until, now)
    recording = find(session, institution_id, recording_id, lock=True)
    if recording.disposed_at is not None:
        raise policy_errors.Disposed
    return grant(session, recording, wish, by=by, now=now)


def grant(session: Session, recording: Recording, wish: Wish, *, by: Actor, now: datetime) -> Embargo:
    """Also one whose time has come meanwhile: the clock lifts it. The recording is locked, or new in this session."""
    former = embargo_of(session, recording.id)
    if former is not None:
        former.lifted_by, former.lifted_name, former.lifted_at = by.user_id, by.name, to_ms(now)
        session.flush()
    embargo = Embargo(
        recording_id=recording.id, institution_id=recording.institution_id, reason=wish.reason, until=wish.until,
        placed_by=by.user_id, placed_name=by.name, placed_at=to_ms(now),
    )  # fmt: skip
    session.add(embargo)
    recording.is_embargoed = True
    session.flush()
    told: dict[str, Any] = {"until": _iso(wish.until), "detail": wish.reason}
    custody.append(session, recording.id, "embargo", now, agent=by.name, **told)
    _audit(session, by, "recording.embargo", recording, now, {"until": _iso(wish.until), "reason": wish.reason})
    return embargo


def lift_embargo(
    session: Session, institution_id: int, recording_id: str, reason: str, *, by: Actor, now: datetime
) -> Embargo:
    reason = check_reason(reason)
    recording = find(session, institution_id, recording_id, lock=True)
    embargo = embargo_of(session, recording_id)
    if embargo is None:
        raise NotEmbargoed
    _lift(session, recording, embargo, reason, by, now)
    return embargo


def embargo_of(session: Session, recording_id: str) -> Embargo | None:
    """The one that stands. On a recording that is on the air it waits for the end."""
    query = select(Embargo).where(Embargo.recording_id == recording_id, Embargo.lifted_at.is_(None))
    return session.scalars(query).one_or_none()


def lift_due(session: Session, now: datetime) -> Sequence[str]:
    """Ends the embargoes whose time has come; the recordings they were on."""
    ended = []
    for found in session.scalars(_lift_due(now).order_by(Embargo.recording_id)).all():
        recording = find(session, found.institution_id, found.recording_id, lock=True)
        embargo = embargo_of(session, found.recording_id)  # as it is under the lock
        if embargo is not None and embargo.until is not None and embargo.until <= now:
            _lift(session, recording, embargo, "its time has come", CLOCK, now)
            ended.append(recording.id)
    return ended


def is_lift_due() -> Exists:
    """A question for the bell."""
    return is_any(_lift_due(NOW))


def _lift_due(now: Moment) -> Select[Embargo]:
    return select(Embargo).where(Embargo.lifted_at.is_(None), Embargo.until <= now)


def _lift(session: Session, recording: Recording, embargo: Embargo, reason: str, by: Actor, now: datetime) -> None:
    embargo.lifted_by, embargo.lifted_name, embargo.lifted_at = by.user_id, by.name, to_ms(now)
    recording.is_embargoed = False
    custody.append(session, recording.id, "embargo lifted", now, agent=by.name, detail=reason)
    _audit(session, by, "recording.publish", recording, now, {"reason": reason})


# Retention: Act.RETENTION_EDIT.


def set_rule(
    session: Session, institution_id: int, channel_id: int | None, years: int | None, *, by: Actor, now: datetime,
    shortens: bool = False,
) -> RetentionRule:  # fmt: skip
    """How long recordings of an institution, or of one of its channels, are kept; `years` None: for ever. What was
    promised to recordings when they were closed stays, unless the rule `shortens` it: that is for those alone who have
    the right on the whole platform, `may(..., RETENTION_EDIT, None)`, and each recording's custody log tells of it."""
    if years is not None and not 0 < years <= MAX_YEARS:
        raise BadYears
    if channel_id is not None and not session.scalar(
        select(exists().where(Channel.id == channel_id, Channel.institution_id == institution_id))
    ):
        raise NoSuchChannel
    before = session.scalars(
        select(RetentionRule)
        .where(
            RetentionRule.institution_id == institution_id, RetentionRule.channel_id.is_not_distinct_from(channel_id)
        )
        .with_for_update()
    ).one_or_none()
    facts = {"channel_id": channel_id, "years": before.years if before is not None else None}
    values: dict[str, Any] = {"years": years, "set_by": by.user_id, "set_name": by.name, "set_at": to_ms(now)}
    session.execute(
        insert(RetentionRule)
        .values(institution_id=institution_id, channel_id=channel_id, **values)
        .on_conflict_do_update(index_elements=["institution_id", "channel_id"], set_=values)
    )
    rule = session.scalars(
        select(RetentionRule)
        .where(
            RetentionRule.institution_id == institution_id, RetentionRule.channel_id.is_not_distinct_from(channel_id)
        )
        .execution_options(populate_existing=True)
    ).one()
    shortened = _shorten(session, rule, by, now) if shortens and years is not None else 0
    audit.append(
        session, by, "retention.edit", f"institution:{institution_id}", now=now, institution_id=institution_id,
        before=facts, after={"channel_id": channel_id, "years": years, "shortened": shortened},
    )  # fmt: skip
    return rule


def rules(session: Session, scope: Scope) -> Sequence[Row[RetentionRule, Institution, Channel | None]]:
    """Those that were set, an institution's own before those of its channels."""
    query = (
        select(RetentionRule, Institution, Channel)
        .join(Institution, Institution.id == RetentionRule.institution_id)
        .outerjoin(Channel, Channel.id == RetentionRule.channel_id)
        .where(scope.where(RetentionRule.institution_id))
    )
    return session.execute(query.order_by(Institution.slug, Channel.slug.nulls_first())).all()


def kept(session: Session, recording: Recording) -> Kept:
    """What was promised, or what the present rule says, whichever is longer."""
    promised = session.get(RetentionPromise, recording.id)
    if promised is None or promised.until is None:
        return Kept(None)
    ruled = _ruled(session, recording)
    return Kept(None if ruled is None else max(promised.until, ruled))


def promise(session: Session, recording_id: str, now: datetime) -> None:
    """Once, when a recording is closed: by the rule as it is then."""
    recording = session.get_one(Recording, recording_id, with_for_update=True)
    if session.get(RetentionPromise, recording_id) is not None:
        return
    until = _ruled(session, recording)
    session.add(
        RetentionPromise(
            recording_id=recording_id, institution_id=recording.institution_id, until=until, promised_at=to_ms(now)
        )
    )
    session.flush()
    custody.append(session, recording_id, "policy assignment", now, rule="retention", until=_iso(until))


def _ruled(session: Session, recording: Recording) -> datetime | None:
    """Until when the rules as they are want it kept: the channel's before the institution's."""
    years = session.execute(
        select(RetentionRule.years)
        .join(Broadcast, Broadcast.id == recording.broadcast_id)
        .where(
            RetentionRule.institution_id == recording.institution_id,
            or_(RetentionRule.channel_id.is_(None), RetentionRule.channel_id == Broadcast.channel_id),
        )
        .order_by(RetentionRule.channel_id.nulls_last())
        .limit(1)
    ).one_or_none()
    if years is None or years[0] is None:
        return None
    return years_after(recording.ended_at or recording.started_at, years[0])


def years_after(begin: datetime, years: int) -> datetime:
    """The same day and hour; 28 February where there is no 29th. At most the last year that there is."""
    year = min(begin.year + years, 9998)
    return begin.replace(year=year, day=min(begin.day, calendar.monthrange(year, begin.month)[1]))


def _shorten(session: Session, rule: RetentionRule, by: Actor, now: datetime) -> int:
    """Brings promises that are longer down to the rule; how many."""
    longer = (
        select(RetentionPromise, Recording)
        .join(Recording, Recording.id == RetentionPromise.recording_id)
        .join(Broadcast, Broadcast.id == Recording.broadcast_id)
        .where(Recording.institution_id == rule.institution_id)
        .order_by(Recording.id)
    )
    if rule.channel_id is not None:
        longer = longer.where(Broadcast.channel_id == rule.channel_id)
    shortened = 0
    for promised, recording in session.execute(longer).all():
        until = _ruled(session, recording)
        if until is not None and (promised.until is None or promised.until > until):
            before, promised.until = promised.until, until
            told: dict[str, Any] = {"rule": "retention", "until": _iso(until), "before": _iso(before)}
            custody.append(session, recording.id, "policy assignment", now, agent=by.name, **told)
            shortened += 1
    return shortened


def _is_going(session: Session, recording_id: str) -> bool:
    going = and_(DisposalRequest.recording_id == recording_id, DisposalRequest.state == "carrying")
    return bool(session.scalar(select(func.count()).where(going)))


def is_left(session: Session, recording_id: str) -> bool:
    """Whether media of a destroyed recording may lie at a place still: at a forgotten one, or at one that is back."""
    waits = and_(RecordingCopy.recording_id == recording_id, RecordingCopy.state == "disposed")
    is_back = session.scalar(select(exists().where(waits, RecordingCopy.next_check_at.is_not(None))))
    return bool(is_back) or bool(forgotten.of_recording(session, recording_id))


def _iso(when: datetime | None) -> str | None:
    return None if when is None else to_ms(when).isoformat(timespec="milliseconds")


def _audit(session: Session, by: Actor, act: str, recording: Recording, now: datetime, after: audit.Facts) -> None:
    subject = f"recording:{recording.id}"
    audit.append(session, by, act, subject, now=now, institution_id=recording.institution_id, after=after)
