"""Copies of recordings, made by the work process while the broadcast is still on the air: durable workflows (DBOS), a
turn each. Who is killed in a turn takes it up again, and finds at the store what is there already.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial

import structlog
from dbos import DBOS, SetWorkflowID
from dbos import error as dbos_error
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from archive.recordings import copies, describe, newest
from archive.recordings.copies import Copied, Turn
from archive.recordings.locations.errors import StoreError
from archive.recordings.locations.store import Store
from core.database import transaction
from mbashara import workflows
from mbashara.bell import Bell, serve
from mbashara.places import Places, settled
from mbashara.settings import Settings

FULL_S = 10.0
"""A round in so many seconds reads locations.toml again, looks for recordings that have no row at a location, and
forgets old workflows."""
MAX_TURNS = 2
"""Turns at once at one location, each with a few files in flight: one that hangs holds up no other."""
DEAD_S = 60.0
LATE_EVENTS = 200
"""An event may be committed after one with a later number: so many are looked at again."""
MAX_RENAMED = 20
"""Recordings whose custody logs are told of their institution's new name in one such round: each is signed and its
papers are copied again."""
MAX_FOLLOWED = 10_000
FORGET_AFTER = timedelta(hours=6)
FORGET_S = 60.0
HALF_DONE = timedelta(days=7)
"""A put that began so long ago, and is not done, was killed."""
TIDY_S = 6 * 3600.0

log: structlog.stdlib.BoundLogger = structlog.get_logger("mbashara.copying")


@dataclass(slots=True)
class Copier:
    """Starts turns. One in a process; the workflows find it as `_copier` after a restart."""

    settings: Settings
    engine: Engine
    places: Places
    running: dict[str, float] = field(default_factory=dict)
    """Turns by their workflow's id, and when each was started here (monotonic seconds)."""
    away: set[str] = field(default_factory=set)
    """Locations whose last turn failed: one turn at a time tries them."""
    begun: set[str] = field(default_factory=set)
    followed: dict[tuple[str, str], int] = field(default_factory=dict)
    """By location and recording: how many bytes of signatures were last followed there."""
    woken: threading.Event = field(default_factory=threading.Event)
    tell_changed: Callable[[], None] = lambda: None
    """Is called when the places are others than before."""
    is_news: bool = False
    """A recording was closed since the last full round."""
    forgot_s: float = -FORGET_S
    described: int = 0
    """The newest event of any broadcast's log of which it is known that the custody logs tell."""

    def round(self, is_full: bool) -> None:
        now = datetime.now(UTC)
        is_full, self.is_news = is_full or self.is_news, False
        is_changed = is_full and self.places.read(time.monotonic())
        if is_changed:
            self.tell_changed()
        names = list(self.places.stores)
        with transaction(self.engine) as session:
            if is_changed:
                copies.try_now(session, names, now)
            if is_full:
                copies.want(session, names, now)
                self._describe(session, now)
            turns = [turn for name in names for turn in copies.due(session, [name], now, 4 * MAX_TURNS)]
        if is_full:
            with transaction(self.engine) as session:
                copies.count_here(session, self.settings.recordings)
        for turn in turns:
            name = _workflow_id(turn)
            busy = sum(one.startswith(f"copy:{turn.location}:") for one in self.running)
            if name not in self.running and busy < (1 if turn.location in self.away else MAX_TURNS):
                self._start(name, turn)
        if is_full:
            self._give_up_dead()
        if time.monotonic() - self.forgot_s >= FORGET_S:
            workflows.forget("copy:", now - FORGET_AFTER)
            self.forgot_s = time.monotonic()

    def follow(self, store: Store, recording_id: str, copied: Copied) -> None:
        """The small file of what was signed since its papers were put whole, after each signature. Media don't wait for
        it, nor for a place that refuses it: that is asked again with the next signature."""
        folder, known = self.settings.recordings / recording_id, (store.name, recording_id)
        try:
            reached = newest.reach(folder, copied.end)
            if self.followed.get(known) == reached and not copied.papers:
                return
            if len(self.followed) >= MAX_FOLLOWED:
                self.followed.clear()
            self.followed[known] = reached
            newest.follow(store, folder, copied.end)
        except FileNotFoundError:  # nothing is signed yet
            return
        except (OSError, StoreError, ValueError, LookupError, TypeError) as error:
            log.warning(
                "the newest signatures are not followed", location=store.name, recording=recording_id, reason=str(error)
            )

    def _start(self, name: str, turn: Turn) -> None:
        self.running[name] = time.monotonic()
        try:
            with SetWorkflowID(name):
                DBOS.start_workflow(copy_recording, asdict(turn))
        except BaseException:
            self.running.pop(name, None)
            raise

    def _give_up_dead(self) -> None:
        """A workflow that ended without its turn being noted (the database went away just then) is not begun by its id
        again: its record goes, so that the turn can be made anew."""
        for name, started_s in list(self.running.items()):
            if time.monotonic() - started_s > DEAD_S and name not in self.begun:
                log.warning("a turn of copying was lost, and is made anew", turn=name)
                DBOS.delete_workflow(name)
                self.running.pop(name, None)

    def _describe(self, session: Session, now: datetime) -> None:
        """What changed in the catalogue since: recordings that were closed meanwhile are told of once they are."""
        newest, ids = describe.newest_event(session), describe.due(session, self.described)
        for recording_id in ids:
            describe.describe(session, recording_id, now)
        describe.tell_renamed(session, now, MAX_RENAMED)
        since = describe.open_since(session)
        self.described = max(0, min(newest, newest if since is None else since) - LATE_EVENTS)

    def tidy(self) -> None:
        self.places.tidy(datetime.now(UTC) - HALF_DONE)

    def ended(self, name: str) -> None:
        self.begun.discard(name)
        self.running.pop(name, None)
        self.woken.set()


_copier: Copier | None = None


def tell_closed() -> None:
    """The next round is a full one, and now."""
    _context().is_news = True
    _context().woken.set()


def _context() -> Copier:
    assert _copier is not None, "copying has not started"
    return _copier


@DBOS.step(retries_allowed=True, max_attempts=3)
def copy_turn(turn: dict[str, object]) -> dict[str, object]:
    copier, wanted = _context(), Turn(**turn)  # type: ignore[arg-type]
    store = copier.places.stores.get(wanted.location)
    if store is None:
        return asdict(Copied(wanted.begin, 0, 0, 0, 0, False, error=copies.NO_PLACE.format(location=wanted.location)))
    copied = copies.copy_files(store, copier.settings.recordings, wanted)
    if copied.error is None:
        copier.follow(store, wanted.recording_id, copied)
    return asdict(copied)


@DBOS.step(retries_allowed=True, max_attempts=20)
def note_turn(turn: dict[str, object], copied: dict[str, object]) -> None:
    with transaction(_context().engine) as session:
        copies.note(session, Turn(**turn), Copied(**copied), datetime.now(UTC))  # type: ignore[arg-type]


@DBOS.workflow()
def copy_recording(turn: dict[str, object]) -> None:
    wanted = Turn(**turn)  # type: ignore[arg-type]
    _context().begun.add(_workflow_id(wanted))
    try:
        try:
            copied = copy_turn(turn)
        except dbos_error.DBOSMaxStepRetriesExceeded as error:  # a ledger here that can't be read
            copied = asdict(Copied(wanted.begin, 0, 0, 0, 0, False, error=str(error.errors[-1])))
        note_turn(turn, copied)
    finally:
        _context().ended(_workflow_id(wanted))
    away = _context().away
    away.discard(wanted.location) if copied["error"] is None else away.add(wanted.location)
    if copied["error"] is not None:
        log.warning("copy delayed", recording=wanted.recording_id, reason=copied["error"])


def _workflow_id(turn: Turn) -> str:
    """Of one turn there is one workflow, also after a restart."""
    return f"copy:{turn.location}:{turn.recording_id}:{turn.number}"


def prepare(settings: Settings, engine: Engine) -> Copier:
    """Before DBOS is launched, as that takes up what a killed process left. A locations.toml that can't be read stops
    no other work."""
    global _copier
    _copier = Copier(settings, engine, Places(settings))
    settled(_copier.places)
    return _copier


def start(copier: Copier, bell: Bell, stopping: threading.Event) -> None:
    copier.tell_changed = bell.put_anew
    copier.woken = bell.on(lambda: copies.is_due(list(copier.places.stores)))
    serve("copier", copier.woken, copier.round, FULL_S, stopping)
    tidy = partial(workflows.go_round, "tidying", copier.tidy, TIDY_S, stopping)
    threading.Thread(target=tidy, name="tidying", daemon=True).start()
