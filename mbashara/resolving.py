"""People's orders for copies in the work process: a copy that someone asks about is looked at, with all others, and
what was ordered is carried out. Durable workflows (DBOS), a turn each: who is killed in a turn takes it up again.
"""

import threading
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from dbos import DBOS
from dbos import error as dbos_error

from archive.recordings import resolve, signatures
from archive.recordings.repair import examine_all
from archive.recordings.resolve import Turn
from archive.recordings.resolve_plan import Carried, Plan, carry_out, examine_planned, make_plan, read_plan
from core.database import transaction
from mbashara import workflows
from mbashara.bell import Bell, serve
from mbashara.fixity import Fixity

FORGET_AFTER = timedelta(days=2)
FORGET_S = 600.0

log: structlog.stdlib.BoundLogger = structlog.get_logger("mbashara.resolving")


@dataclass(slots=True)
class Resolver:
    """One in a process, with one turn at a time; the workflows find it as `_resolver` after a restart."""

    fixity: Fixity
    running: threading.Event = field(default_factory=threading.Event)

    def round(self, is_full: bool) -> None:
        if not self.running.is_set():
            self.start_due()
        if is_full:
            workflows.forget("resolve:", datetime.now(UTC) - FORGET_AFTER)

    def start_due(self) -> None:
        with transaction(self.fixity.engine) as session:
            turns = resolve.due(session, datetime.now(UTC), limit=1)
        if not turns:
            return
        self.running.set()
        try:
            name = f"resolve:{turns[0].resolution_id}:{turns[0].number}"
            workflows.begin(name, resolve_copy, asdict(turns[0]))
        except BaseException:
            self.running.clear()
            raise

    def plan(self, turn: Turn) -> Plan:
        """Reads all copies."""
        known = self.fixity.known(turn.recording_id)
        judgement = self.fixity.judge(known)
        found = examine_all(known.stores, judgement)
        with transaction(self.fixity.engine) as session:
            held = resolve.is_on_hold(session, turn.recording_id)
        scratch = self.fixity.scratch()
        return make_plan(known.stores, judgement, found, scratch, turn.location, lost=known.lost, is_on_hold=held)

    def carry_out(self, turn: Turn) -> Carried | None:
        """None: there is nothing to do any more. Nobody else writes to the papers meanwhile, and whoever places a legal
        hold waits."""
        known = self.fixity.known(turn.recording_id)
        with transaction(self.fixity.engine) as session:
            plan = resolve.plan_of(session, turn)
        if plan is None:
            return None
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
    counted = {name: len(carried[name]) for name in ("repaired", "removed", "lost", "failed")}
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
        _context().running.clear()


def prepare(fixity: Fixity) -> Resolver:
    """Before DBOS is launched, which takes up what a killed process left."""
    global _resolver
    _resolver = Resolver(fixity)
    return _resolver


def start(resolver: Resolver, bell: Bell, stopping: threading.Event) -> None:
    serve("resolver", bell.on(resolve.is_due()), resolver.round, FORGET_S, stopping)
