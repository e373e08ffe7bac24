"""What a channel has to do next: a pure function of its plan (core/broadcasts), its feeds and what is on the air.

A planned broadcast obeys its plan alone: its feed is put on the air when the plan is live and taken off when it isn't
any more, and a lost feed is only waited for. A broadcast that a feed began by itself ends with its feed, after the
reconnect window. Where both want the channel the plan has it.
"""

from dataclasses import dataclass

from core.broadcasts.lifecycle import SETTLE
from core.broadcasts.plan import Plan

SETTLE_MS = SETTLE.total_seconds() * 1000


@dataclass(frozen=True, slots=True)
class Current:
    """The channel's broadcast. `plan_id` None: a feed began it by itself. `lost_s` counts from the feed's loss."""

    identity: str
    plan_id: str | None
    lost_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Situation:
    """`is_waiting`: a feed is there that is not on the air; `may_begin`: one of those may begin a broadcast by itself.
    `is_over`: the plan's time on the air has ended already, whatever the plan still says."""

    plan: Plan | None
    on_air: Current | None
    is_waiting: bool
    may_begin: bool
    now_unix_ms: float
    is_over: bool = False


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a broadcast without a feed is kept: one that a feed began, and one that people planned."""

    reconnect_window_s: float
    planned_window_s: float


@dataclass(frozen=True, slots=True)
class Begin:
    """The waiting feed goes on the air; `plan` None: in a broadcast of its own."""

    plan: Plan | None


@dataclass(frozen=True, slots=True)
class Attach:
    """The waiting feed goes on the air in the broadcast that is there."""


@dataclass(frozen=True, slots=True)
class End:
    """`by_people`: the feeds that are here must not begin the next broadcast by themselves. `is_undone`: viewers are
    to find nothing of it."""

    reason: str
    by_people: bool
    is_undone: bool = False


Step = Begin | Attach | End


def decide(now: Situation, patience: Patience) -> Step | None:
    """None: all is as it should be."""
    if now.on_air is None:
        return _begin(now)
    if now.on_air.plan_id is not None:
        end = _end_planned(now, now.on_air, patience)
    else:
        end = _end_automatic(now, now.on_air, patience)
    return end or (Attach() if now.is_waiting else None)


def _begin(now: Situation) -> Begin | None:
    plan = now.plan if now.plan is None or not now.plan.is_automatic else None
    if plan is None:
        return Begin(None) if now.may_begin else None
    is_on = plan.state == "live" and not _is_due(plan, now.now_unix_ms) and not now.is_over
    return Begin(plan) if is_on and now.is_waiting else None


def _end_planned(now: Situation, on_air: Current, patience: Patience) -> End | None:
    plan = now.plan
    if plan is None or plan.id != on_air.plan_id:
        return End("ended by people", True)
    if plan.state != "live" or plan.air_id != on_air.identity:
        return End("taken off the air", True, is_undone=True)
    if _is_due(plan, now.now_unix_ms):
        return End("ended by people", True)
    return End("feed lost", False) if on_air.lost_s > patience.planned_window_s else None


def _end_automatic(now: Situation, on_air: Current, patience: Patience) -> End | None:
    plan = now.plan
    if plan is not None and not plan.is_automatic:
        return End("a planned broadcast has the channel", True)
    if plan is not None and plan.id == on_air.identity and _is_due(plan, now.now_unix_ms):
        return End("ended by people", True)
    return End("feed lost", False) if on_air.lost_s > patience.reconnect_window_s else None


def _is_due(plan: Plan, now_unix_ms: float) -> bool:
    """A moment after `ends_at`: an undo in the last moment has arrived by then."""
    return plan.ends_at_unix_ms is not None and now_unix_ms > plan.ends_at_unix_ms + SETTLE_MS
