"""People's orders for copies in the work process: a copy that someone asks about is looked at, with all others, and
what was ordered is carried out. Durable workflows (DBOS), a turn each: who is killed in a turn takes it up again.
"""

import threading
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import structlog
from dbos import DBOS
from dbos import error as dbos_error
from sqlalchemy.orm import Session

from archive.recordings import contradiction, custody, resolve, signatures
from archive.recordings.contradiction import Catalogue
from archive.recordings.judge import Judgement
from archive.recordings.repair import examine_all
from archive.recordings.resolve import Turn
from archive.recordings.resolve_plan import Carried, Plan, carry_out, examine_planned, make_plan, not_lost, read_plan
from core.database import transaction
from mbashara.bell import Bell, serve
from mbashara.fixity import Fixity, Known
from mbashara.workflows import FORGET_PACE_S, OneAtATime

log: structlog.stdlib.BoundLogger = structlog.get_logger("mbashara.resolving")


@dataclass(slots=True)
class Resolver:
    """One in a process, with one turn at a time; the workflows find it as `_resolver` after a restart."""

    fixity: Fixity
    turns: OneAtATime = field(default_factory=lambda: OneAtATime("resolve:"))

    def round(self, is_full: bool) -> None:
        self.turns.round(self.begin_due, is_full)

    def begin_due(self) -> None:
        with transaction(self.fixity.engine) as session:
            due = resolve.due(session, datetime.now(UTC), limit=1)
        for turn in due:
            self.turns.begin(f"{turn.resolution_id}:{turn.number}", resolve_copy, asdict(turn))

    def plan(self, turn: Turn) -> Plan:
        """Reads all copies."""
        known = self.fixity.known(turn.recording_id)
        judgement = self.fixity.judge(known)
        found = examine_all(known.stores, judgement)
        with transaction(self.fixity.engine) as session:
            held = resolve.is_on_hold(session, turn.recording_id)
            catalogue = self.catalogue(session, known)
        scratch, location = self.fixity.scratch(), turn.location
        plan = make_plan(known.stores, judgement, found, scratch, location, lost=known.lost, is_on_hold=held)
        plan = not_lost(plan, known.copied.keys() - known.stores.keys())
        if location not in known.stores or plan.hold is None:
            return plan
        return contradiction.tell(
            plan, judgement, self.judge_others(known, location), known.stores[location], catalogue
        )

    def catalogue(self, session: Session, known: Known) -> Catalogue:
        return Catalogue(known.ledger_bytes, known.ledger_head, custody.lines(session, known.recording_id))

    def judge_others(self, known: Known, location: str) -> Judgement:
        others = {name: store for name, store in known.stores.items() if name != location}
        return self.fixity.judge(replace(known, stores=others))

    def carry_out(self, turn: Turn) -> Carried | None:
        """None: there is nothing to do any more. Nobody else writes to the papers meanwhile, and whoever places a legal
        hold waits."""
        known = self.fixity.known(turn.recording_id)
        with transaction(self.fixity.engine) as session:
            plan = resolve.plan_of(session, turn)
        if plan is None:
            return None
        if plan.aside:
            return self.set_aside(turn, plan, known)
        found = examine_planned(known.stores, self.fixity.judge(known), plan, turn.location)
        engine = self.fixity.patient()
        try:
            with transaction(engine) as session:
                if signatures.lock(session, turn.recording_id).disposed_at is not None:
                    return Carried(failed=["the recording was destroyed by order"])
                held, judgement = resolve.is_on_hold(session, turn.recording_id), self.fixity.judge(known)
                scratch = self.fixity.scratch()
                return carry_out(known.stores, judgement, found, scratch, plan, turn.location, is_on_hold=held)
        finally:
            engine.dispose()

    def set_aside(self, turn: Turn, plan: Plan, known: Known) -> Carried:
        engine = self.fixity.patient()
        try:
            with transaction(engine) as session:
                if signatures.lock(session, turn.recording_id).disposed_at is not None:
                    return Carried(failed=["the recording was destroyed by order"])
                others, catalogue = self.judge_others(known, turn.location), self.catalogue(session, known)
                scratch = self.fixity.scratch()
                return contradiction.set_aside(known.stores, others, scratch, plan, turn.location, catalogue)
        finally:
            engine.dispose()


_resolver: Resolver | None = None


def _context() -> Resolver:
    assert _resolver is not None, "the resolver has not started"
    return _resolver


@DBOS.step(retries_allowed=True, max_attempts=3)
def look_at_copies(turn: dict[str, Any]) -> dict[str, Any]:
    return _context().plan(Turn(**turn)).to_json()


@DBOS.step(retries_allowed=True, max_attempts=20)
def note_plan(turn: dict[str, Any], plan: dict[str, Any]) -> None:
    with transaction(_context().fixity.engine) as session:
        resolve.note_plan(session, Turn(**turn), read_plan(plan))


@DBOS.step(retries_allowed=True, max_attempts=3)
def carry_order_out(turn: dict[str, Any]) -> dict[str, Any] | None:
    carried = _context().carry_out(Turn(**turn))
    return None if carried is None else asdict(carried)


@DBOS.step(retries_allowed=True, max_attempts=20)
def note_carried(turn: dict[str, Any], carried: dict[str, Any]) -> None:
    fixity, wanted, came = _context().fixity, Turn(**turn), Carried(**carried)
    with transaction(fixity.engine) as session:
        is_done = resolve.note_carried(session, wanted, came, fixity.settings.recordings, datetime.now(UTC))
    counted = {name: len(carried[name]) for name in ("repaired", "removed", "lost", "failed", "aside")}
    about = {"recording": wanted.recording_id, "location": wanted.location}
    if is_done:
        log.info("order carried out", **about, **counted)
    elif came.trouble is not None:
        log.warning("order waits", **about, reason=came.trouble)


@DBOS.step(retries_allowed=True, max_attempts=20)
def put_order_off(turn: dict[str, Any], why: str) -> None:
    with transaction(_context().fixity.engine) as session:
        resolve.put_off(session, Turn(**turn), why, datetime.now(UTC))


@DBOS.workflow()
def resolve_copy(turn: dict[str, Any]) -> None:
    try:
        if turn["state"] == "asked":
            note_plan(turn, look_at_copies(turn))
        elif (carried := carry_order_out(turn)) is not None:
            note_carried(turn, carried)
    except dbos_error.DBOSMaxStepRetriesExceeded as error:
        log.error("order can't be carried out", recording=turn["recording_id"], reason=str(error.errors[-1]))
        put_order_off(turn, str(error.errors[-1]))
    finally:
        _context().turns.running.clear()


def prepare(fixity: Fixity) -> Resolver:
    """Before DBOS is launched, which takes up what a killed process left."""
    global _resolver
    _resolver = Resolver(fixity)
    return _resolver


def start(resolver: Resolver, bell: Bell, stopping: threading.Event) -> None:
    serve("resolver", bell.on(resolve.is_due), resolver.round, FORGET_PACE_S, stopping)
