"""What a change of the rules of retention would do, before it is stored: how many recordings may then be destroyed that
may not now. The rules themselves, and what they promise, are in policy.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from archive.recordings import policy
from archive.recordings.policy import Kept, years_after
from archive.recordings.policy_errors import BadYears, NoSuchChannel, NoSuchRule
from archive.recordings.policy_tables import Hold, RetentionPromise, RetentionRule
from core import audit
from core.audit import Actor
from core.tables import Broadcast, Channel, Institution, Recording

FOR_EVER = Kept(None)
Rules = Mapping[int | None, int | None]
"""Of an institution: years by the channel's row, its own by None. Years None: for ever, as where no rule is."""


@dataclass(frozen=True, slots=True)
class Change:
    """A rule that is set, or (`ends`) taken away, of an institution or of one of its channels. `shortens`: what was
    promised to recordings too, as `policy.set_rule` says."""

    institution_id: int
    channel_id: int | None
    years: int | None = None
    ends: bool = False
    shortens: bool = False


@dataclass(frozen=True, slots=True)
class Effect:
    """Numbers of recordings. `concerned`: those that have media and that the rule is for; `due`: may be destroyed from
    then on, and may not now, but for `held`, on which a legal hold stands; `within_year`: will be due within a year by
    the change alone; `kept`: may be destroyed now, and not from then on; `shortened`: are promised less than now."""

    concerned: int = 0
    due: int = 0
    held: int = 0
    within_year: int = 0
    kept: int = 0
    shortened: int = 0


def effect(session: Session, change: Change, now: datetime) -> Effect:
    """As it would be now. Raises PolicyErrors for what can't be stored."""
    before = rules_of(session, change.institution_id)
    after = _changed(session, before, change)
    soon, counted = years_after(now, 1), dict.fromkeys(Effect.__dataclass_fields__, 0)
    held = exists().where(Hold.recording_id == Recording.id, Hold.lifted_at.is_(None))
    query = (
        select(Broadcast.channel_id, Recording.ended_at, Recording.started_at, RetentionPromise.until, held)
        .join(Broadcast, Broadcast.id == Recording.broadcast_id)
        .join(RetentionPromise, RetentionPromise.recording_id == Recording.id)
        .where(Recording.institution_id == change.institution_id, Recording.disposed_at.is_(None))
    )
    if change.channel_id is not None:
        query = query.where(Broadcast.channel_id == change.channel_id)
    for channel_id, ended_at, started_at, until, is_held in session.execute(query):
        begin, promised = ended_at or started_at, Kept(until)
        was, is_ = (_ruled(rules, channel_id, begin) for rules in (before, after))
        brought = _shorter(promised, is_) if change.shortens else promised
        told = _longer(promised, was), _longer(brought, is_)
        counted["concerned"] += change.channel_id is not None or channel_id not in after
        counted["shortened"] += brought != promised
        counted["within_year"] += told[1].is_over(soon) and not told[1].is_over(now) and not told[0].is_over(soon)
        counted["kept"] += told[0].is_over(now) and not told[1].is_over(now)
        if told[1].is_over(now) and not told[0].is_over(now):
            counted["due"] += 1
            counted["held"] += is_held
    return Effect(**counted)


def rules_of(session: Session, institution_id: int) -> dict[int | None, int | None]:
    mine = select(RetentionRule.channel_id, RetentionRule.years).where(RetentionRule.institution_id == institution_id)
    return {row.channel_id: row.years for row in session.execute(mine)}


def carry_out(session: Session, change: Change, *, by: Actor, now: datetime) -> None:
    """Act.RETENTION_EDIT; what `shortens`, that on the whole platform. Raises PolicyErrors."""
    if change.ends:
        end_rule(session, change.institution_id, change.channel_id, by=by, now=now)
    else:
        where = (change.institution_id, change.channel_id)
        policy.set_rule(session, *where, change.years, by=by, now=now, shortens=change.shortens)


def end_rule(session: Session, institution_id: int, channel_id: int | None, *, by: Actor, now: datetime) -> None:
    """Act.RETENTION_EDIT. What was promised stays; a channel goes by its institution's rule, an institution keeps for
    ever what no rule is for. Raises NoSuchRule."""
    mine = select(RetentionRule).where(
        RetentionRule.institution_id == institution_id, RetentionRule.channel_id.is_not_distinct_from(channel_id)
    )
    rule = session.scalars(mine.with_for_update()).one_or_none()
    if rule is None:
        raise NoSuchRule
    session.delete(rule)
    audit.append(
        session, by, "retention.edit", f"institution:{institution_id}", now=now, institution_id=institution_id,
        before={"channel_id": channel_id, "years": rule.years}, after={"channel_id": channel_id, "ended": True},
    )  # fmt: skip


def lock(session: Session, institution_id: int) -> None:
    """Others who change its rules here wait: what was counted holds until the transaction ends."""
    mine = select(Institution.id).where(Institution.id == institution_id)
    session.execute(mine.with_for_update(key_share=True))


def _changed(session: Session, before: Rules, change: Change) -> Rules:
    if change.years is not None and not 0 < change.years <= policy.MAX_YEARS:
        raise BadYears
    mine = exists().where(Channel.id == change.channel_id, Channel.institution_id == change.institution_id)
    if change.channel_id is not None and not session.scalar(select(mine)):
        raise NoSuchChannel
    if not change.ends:
        return {**before, change.channel_id: change.years}
    if change.channel_id not in before:
        raise NoSuchRule
    return {channel_id: years for channel_id, years in before.items() if channel_id != change.channel_id}


def _ruled(rules: Rules, channel_id: int, begin: datetime) -> Kept:
    years = rules[channel_id] if channel_id in rules else rules.get(None)
    return FOR_EVER if years is None else Kept(years_after(begin, years))


def _longer(one: Kept, other: Kept) -> Kept:
    return FOR_EVER if one.until is None or other.until is None else Kept(max(one.until, other.until))


def _shorter(promised: Kept, ruled: Kept) -> Kept:
    """What is promised for ever is brought down too."""
    if ruled.until is None or (promised.until is not None and promised.until <= ruled.until):
        return promised
    return ruled
