"""A work process that dies, by kill -9, right behind the n-th thing it does that lasts: a file put or deleted, a paper
appended to, a transaction committed (its own, or one in which DBOS keeps how far a workflow is). Whoever dies before a
thing is done dies behind the one before it. Another process then takes up what was left.
"""

import json
import os
import re
import signal
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
from dbos import DBOS
from sqlalchemy import Engine, event, select, update

from archive.recordings import copies, custody, fetch, resolve, rows, signatures, verify
from archive.recordings.locations.folder import FolderStore
from archive.recordings.locations.s3 import S3Store
from archive.recordings.locations.store import Store
from archive.recordings.tables import RecordingCopy
from core.database import open_engine, transaction
from mbashara import copying, fixity, inside_dbos, resolving, work
from mbashara.notary import Notary
from mbashara.places import Places
from tests.live.policy_kit import Scene
from tests.live.resolve_kit import events, keys_of

WRITES = re.compile(
    r"(?:insert into|update|delete from) (recording|recording_copy|preservation_event|resolution|lost_file|gap)\b"
    r"|insert into \W?dbos\W+(operation_outputs|workflow_status)\b",
    re.IGNORECASE,
)
KEPT_OF_COPY = ("state", "fault", "damaged", "attempts", "files", "size_bytes", "papers_due", "is_anew")
PAPERLESS = "source/"
"""Under which nothing is ever put twice."""
EVERY = int(os.environ.get("MBASHARA_DEATHS_EVERY", "5"))
"""So many acts are from one death to the next; with 1, which takes some six minutes, each has its own."""
HEX = re.compile(r"\b[0-9a-f]{64}\b")


@dataclass(slots=True)
class Fate:
    """Dies behind the `at`-th act; 0: never. `log` has the acts so far, one a line."""

    at: int
    log: Path
    count: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def act(self, what: str) -> Iterator[None]:
        yield
        with self._lock:
            self.count += 1
            with self.log.open("a") as log:
                log.write(f"{what}\n")
            if self.count == self.at:
                os.kill(os.getpid(), signal.SIGKILL)
                time.sleep(60)


def watched(store: Store, fate: Fate, sent: Path) -> Store:
    """Each file that it is sent is a line of `sent`."""

    def watch(name: str) -> None:
        do = getattr(store, name)

        def done(key: str, *given: Any, **more: Any) -> Any:
            with fate.act(f"{name} {store.name} {key.partition('/')[2]}"):
                came = do(key, *given, **more)
                if came is None or not came.was_there:
                    with sent.open("a") as log:
                        log.write(f"{name} {store.name} {key} {came and store.digest(key).sha256}\n")
            return came

        setattr(store, name, done)

    for name in ("put_file", "put_bytes", "delete"):
        watch(name)
    if isinstance(store, S3Store):  # it was taken, and nobody has heard so yet
        watch_calls(store, "_send", fate)
    return store


def watch_calls(owner: object, name: str, fate: Fate) -> None:
    do = getattr(owner, name)

    def done(*given: Any, **more: Any) -> Any:
        with fate.act(name):
            return do(*given, **more)

    setattr(owner, name, done)


def watch_papers(fate: Fate) -> None:
    """What the notary appends."""
    watch_calls(custody, "write_file", fate)
    watch_calls(signatures, "sign", fate)


def watch_commits(fate: Fate) -> None:
    """Of this process, to its end."""
    written: dict[int, list[str]] = {}
    commit, rollback = psycopg.Connection.commit, psycopg.Connection.rollback

    @event.listens_for(Engine, "before_cursor_execute")
    def note(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        for found in WRITES.finditer(statement):
            known = written.setdefault(id(connection.connection.dbapi_connection), [])
            known += {found[1] or found[2]} - {*known}

    def committed(mine: psycopg.Connection[Any]) -> None:
        tables = written.pop(id(mine), None)
        if tables is None:
            return commit(mine)
        with fate.act(f"commit {' '.join(tables)}"):
            commit(mine)

    def rolled_back(mine: psycopg.Connection[Any]) -> None:
        written.pop(id(mine), None)
        rollback(mine)

    for name, done in (("commit", committed), ("rollback", rolled_back)):
        setattr(psycopg.Connection, name, done)


def work_process(here: Scene, fate: Fate, sent: Path) -> None:
    """Until there is nothing to do: what a killed one left, then closing, signing, copying, checks and orders."""
    engine = open_engine(here.settings.sqlalchemy_url)
    stores = {name: watched(_anew(store), fate, sent) for name, store in here.stores.items()}
    checker = fixity.prepare(here.settings, engine, stores, {})
    resolver = resolving.prepare(checker)
    copier = copying._copier = copying.Copier(here.settings, engine, Places(here.settings, stores))
    notary, checker.turns.pace_s = Notary(here.settings, engine), 0
    work._settings, work._engine = here.settings, engine
    inside_dbos.distrust()
    inside_dbos.calm(DBOS(config=work._dbos_config(here.settings)))
    DBOS.launch()
    watch_commits(fate)
    watch_papers(fate)
    rounds: Sequence[Callable[[], None]] = (
        partial(_close_ended, engine), notary.sign_due, partial(copier.round, False), partial(checker.round, False),
        partial(resolver.round, False),
    )  # fmt: skip
    quiet = 0
    while quiet < 2:
        if quiet:
            hurry(here.settings.sqlalchemy_url)
            with transaction(engine) as session:
                copies.count_here(session, here.settings.recordings)
        before = fate.count
        for one in rounds:
            one()
            while DBOS.list_workflows(status=["PENDING", "ENQUEUED"], load_input=False):
                time.sleep(0.01)
        quiet = quiet + 1 if fate.count == before else 0
    DBOS.destroy()
    engine.dispose()


def _close_ended(engine: Engine) -> None:
    with transaction(engine) as session:
        ended = rows.ended_recordings(session)
    for recording_id in ended:
        work.start_closing(recording_id)


def _anew(store: Store) -> Store:
    """The same place, for another process."""
    if isinstance(store, FolderStore):
        return FolderStore(store.name, store._folder)
    assert isinstance(store, S3Store)
    return S3Store(store._location, store._limits)


def hurry(url: str) -> None:
    """What is to be tried again later is tried now."""
    with psycopg.connect(url.replace("+psycopg", "")) as server:
        server.execute("update recording_copy set next_try_at = now() - interval '1 second' where papers_due")


def lived(here: Scene, at: int, folder: Path) -> bool:
    """Whether a process that is to die at its `at`-th moment came to its end before."""
    return outlived(lambda: work_process(here, Fate(at, folder / "acts"), folder / "sent"))


def outlived(do: Callable[[], None]) -> bool:
    """Whether a process of its own, which may be killed on the way, came to the end of this. What it raises is told,
    and fails here."""
    child = os.fork()
    if child == 0:
        try:
            do()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return False
    assert os.waitstatus_to_exitcode(status) == 0, "it failed"
    return True


def calm(here: Scene) -> None:
    """Nothing is due of what there is."""
    with here.session() as session:
        session.execute(update(RecordingCopy).values(next_check_at=None))


def left(here: Scene, it: str) -> Counter[str]:
    """All that lasts of a recording, a line each, without what differs from one to the other: ids, hashes, moments."""
    with here.session() as session:
        found = session.scalars(select(RecordingCopy).where(RecordingCopy.recording_id == it)).all()
        told = [f"{one.location}: {name} {getattr(one, name)}" for one in found for name in KEPT_OF_COPY]
        told += [f"gap {one.started_ms} {one.ended_ms} {one.cause}" for one in rows.gaps(session, it)]
        told += [f"lost {name}" for name in resolve.lost_files(session, it)]
    told += [f"recording {here.row(it).state}", *(_plain(one, it) for one in events(here, it))]
    return Counter([*told, *(found for name in here.stores for found in found_at(here, name, it))])


def _plain(told: dict[str, object], it: str) -> str:
    if told["fact"] == "described":
        return "described"
    kept = {name: value for name, value in told.items() if name not in ("at", "prev", "hold", "request", "head")}
    return HEX.sub("#", json.dumps(kept, sort_keys=True)).replace(it, "IT")


def found_at(here: Scene, name: str, it: str) -> list[str]:
    """What lies at a place, and what is wrong with it."""
    store, there = here.stores[name], list[str]()
    if isinstance(store, FolderStore):
        folder = store._folder / it
    else:
        folder = fetch.fetch(store, it, here.settings.data / f"from-{name}", keys_of(here))
        there = [f"{len(store.former(one.key)) + 1} times {one.key}" for one in store.list(f"{it}/{PAPERLESS}")]
    there += [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    wrong = [one.kind for one in verify.verify(folder, keys_of(here)).findings]
    return [f"{name}: {one}".replace(it, "IT") for one in (*there, *(f"! {kind}" for kind in wrong))]


def sent_twice(sent: Path) -> list[str]:
    lines = sent.read_text().splitlines() if sent.exists() else []
    return [line for line, times in Counter(lines).items() if times > 1]


class Death(NamedTuple):
    """Behind what it came, and what is other than without it."""

    behind: str
    wrong: list[str]


def deaths(here: Scene, folder: Path, lay: Callable[[], str], acts: int) -> tuple[Counter[str], list[Death]]:
    """What is left by a process that is let be; and the deaths behind its first so many acts, of which each EVERY-th is
    tried, from the last one back. `lay` makes a recording that waits for it."""
    clean, found = Counter[str](), list[Death]()
    for at in (0, *sorted(range(acts, 0, -EVERY))):
        calm(here)
        it, mine = lay(), folder / str(at)
        mine.mkdir()
        is_alive = lived(here, at, mine)
        if at == 0:
            clean = left(here, it)
            continue
        assert not is_alive, f"it does less than {acts} things"
        behind = (mine / "acts").read_text().splitlines()[-1]
        assert lived(here, 0, mine)
        again = left(here, it)
        wrong = [f"more: {one}" for one in again - clean] + [f"less: {one}" for one in clean - again]
        found.append(Death(f"{at} {behind}", wrong + [f"sent twice: {one}" for one in sent_twice(mine / "sent")]))
    return clean, found
