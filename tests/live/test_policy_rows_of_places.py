"""The archive's rules where a place of copies was forgotten and is named again: what two people ordered to be destroyed
is not kept there, what is under legal hold is, and the store's own holds are as the newest word has them."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import pytest
from sqlalchemy import select, update

from archive.recordings import (
    alarms,
    custody,
    disposal,
    forgotten,
    overview,
    policy,
    remains,
    retired,
    store_holds,
    verify,
)
from archive.recordings.locations.folder import FolderStore
from archive.recordings.locations.s3 import S3Store
from archive.recordings.policy_errors import Disposed, NothingLeft, OutOfReach
from archive.recordings.policy_tables import StoreHold
from archive.recordings.tables import RecordingCopy
from core.audit import Actor
from core.staff.permissions import Scope
from core.staff.tables import AuditEntry
from tests.live.policy_kit import BEGAN, NOW, Scene, scene
from tests.live.staff_kit import database
from tests.live.store_kit import Answer, Asked, Weed, old_server
from tests.up import Up

CLI = Actor(None, "command line (juma)")
PLACE = "mwanza"
EVERYTHING = Scope(True, frozenset())


@pytest.fixture(scope="module")
def here(mbashara_up: Up, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with database(mbashara_up, "policy_places_test", pool_size=8) as engine:
        yield scene(engine, tmp_path_factory.mktemp("places"))


@pytest.fixture
def mwanza(here: Scene, tmp_path: Path) -> Iterator[FolderStore]:
    """Named now; a test takes it out of `here.stores`, and puts it in again."""
    store = FolderStore(PLACE, tmp_path)
    here.stores[PLACE] = store
    yield store
    here.stores.pop(PLACE, None)


def forget(here: Scene) -> None:
    del here.stores[PLACE]
    with here.session() as session:
        retired.forget(session, PLACE, here.stores, "imefungwa", even_so=True, by=CLI, now=NOW)


def destroy(here: Scene, it: str, *knowing: str) -> None:
    with here.session() as session:
        asked = disposal.ask(session, here.institution_id, it, "imekwisha", by=here.asker, now=NOW)
    with here.session() as session:
        of_it = session, here.institution_id, it, asked.id
        disposal.approve(*of_it, by=here.approver, now=NOW, knowing=knowing)
    turn = here.turn(it)
    assert here.begin(turn) and here.note(turn, *(here.clear(turn, name) for name in here.stores))


def clear_remains(here: Scene, after: timedelta = timedelta()) -> None:
    """What the work process does in its rounds, and once more, as after a kill."""
    with here.session() as session:
        turns = remains.due(session, list(here.stores), NOW + after)
    for turn in turns * 2:
        store = here.stores[turn.location]
        found = remains.look(store, turn.recording_id)
        removed = remains.remove(here.engine, turn, store, here.settings.recordings, found)
        with here.session() as session:
            remains.note(session, turn, found, removed, NOW + after)


def told(here: Scene, it: str) -> list[dict[str, Any]]:
    with here.session() as session:
        return [json.loads(line) for line in custody.lines(session, it)]


def copy_of(here: Scene, it: str) -> RecordingCopy:
    with here.session() as session:
        return session.get_one(RecordingCopy, (it, PLACE))


def alarms_of(here: Scene) -> list[tuple[str, str, int]]:
    with here.session() as session:
        more = alarms.of_each(alarms.Kind.REMAINS_LEFT, forgotten.of_destroyed(session, EVERYTHING))
        facts = overview.troubled(session, EVERYTHING, NOW, places=list(here.stores))
    found = alarms.decide(facts, NOW, list(here.stores), more)
    return [(str(one.kind), one.location, one.count) for one in found if one.kind.startswith("remains")]


def test_what_lies_at_a_forgotten_place_is_told_and_removed_once_it_is_back(here: Scene, mwanza: FolderStore) -> None:
    it, other = here.record(), here.record()
    forget(here)
    with pytest.raises(OutOfReach, match=PLACE):
        destroy(here, it)
    with here.session() as session:
        request = policy.standing(session, here.institution_id, it).request
        assert request is not None and request.state == "asked"
        disposal.withdraw(session, here.institution_id, it, request.id, by=here.asker, now=NOW)
    assert alarms_of(here) == []
    destroy(here, it, PLACE)
    size = sum(one.size_bytes for one in mwanza.list(f"{it}/") if not one.key.endswith(".jsonl"))
    approved, deletion = (one for one in told(here, it) if one.get("act") == "approved" or one["fact"] == "deletion")
    assert approved["left"] == [PLACE]
    assert deletion["left"] == [{"location": PLACE, "files": 6, "size_bytes": size}]
    assert alarms_of(here) == [("remains_left", PLACE, 1)]
    here.settle()
    report = verify.verify(here.settings.recordings / it)
    assert report.is_whole and any("mwanza" in line for line in verify.summary(report, "en"))
    here.stores[PLACE] = mwanza
    here.settle()
    assert len(here.media(PLACE, it)) == 6 and copy_of(here, it).state == "disposed"
    clear_remains(here)
    assert here.media(PLACE, it) == set() and len(here.media(PLACE, other)) == 6
    assert copy_of(here, it).next_check_at is None and alarms_of(here) == []
    last = told(here, it)[-1]
    assert (last["fact"], last["location"], last["files"], last["outcome"]) == ("deletion", PLACE, 6, "success")
    here.settle()
    report = verify.verify(here.settings.recordings / it)
    assert report.is_whole and not any("mwanza" in line for line in verify.summary(report, "en"))
    forget(here)
    with here.session() as session:
        assert forgotten.of_recording(session, it) == [], "its papers alone are there"
        assert [one.files for one in forgotten.of_recording(session, other)] == [6]
        assert retired.gone(session, PLACE, "diski ilisagwa", by=CLI, now=NOW) == 1
        assert forgotten.of_recording(session, other) == []
        assert verify.disposal_of(verify.read_chain(here.settings.recordings / other / "custody.jsonl")) is None
    with pytest.raises(NothingLeft), here.session() as session:
        retired.gone(session, PLACE, "tena", by=CLI, now=NOW)
    with pytest.raises(Disposed), here.session() as session:
        policy.place_hold(session, here.institution_id, it, "kesi", by=here.asker, now=NOW)


def test_a_work_process_that_is_killed_as_it_removes_what_was_left_goes_on_with_it(
    here: Scene, mwanza: FolderStore, tmp_path: Path
) -> None:
    it = here.record()
    forget(here)
    destroy(here, it, PLACE)
    here.stores[PLACE] = mwanza
    here.settle()
    with here.session() as session:
        left = RecordingCopy.recording_id == it, RecordingCopy.location == PLACE
        session.execute(update(RecordingCopy).where(*left).values(next_check_at=BEGAN))
    url = here.engine.url.render_as_string(hide_password=False)
    command = [sys.executable, "-m", "tests.live.rules_process", str(here.settings.data), PLACE, str(tmp_path)]

    def work(*dies_at: str) -> int:
        return subprocess.run(
            [*command, *dies_at], env={**os.environ, "MBASHARA_DATABASE_URL": url}, timeout=60
        ).returncode

    assert work(it) == -signal.SIGKILL
    assert len(here.media(PLACE, it)) < 6 and copy_of(here, it).next_check_at == BEGAN
    assert work() == 0 and here.media(PLACE, it) == set() and copy_of(here, it).next_check_at is None
    told_of = [one for one in told(here, it) if one["fact"] == "deletion" and one.get("location") == PLACE]
    assert [(one["files"], one["outcome"]) for one in told_of] == [(6, "success")], "as many as there had been"
    with here.session() as session:
        query = select(AuditEntry.after).where(AuditEntry.subject == f"recording:{it}")
        acts = session.scalars(query.where(AuditEntry.act == "recording.dispose_remains")).all()
        assert [(one or {})["files"] for one in acts] == [6]


def test_a_legal_hold_that_came_meanwhile_keeps_what_is_left_until_it_is_lifted(
    here: Scene, mwanza: FolderStore
) -> None:
    it = here.record()
    forget(here)
    destroy(here, it, PLACE)
    with here.session() as session:
        hold = policy.place_hold(session, here.institution_id, it, "kesi 7", by=here.asker, now=NOW)
    here.stores[PLACE] = mwanza
    here.settle()
    clear_remains(here)
    assert len(here.media(PLACE, it)) == 6 and "A legal hold stands: kesi 7" in (copy_of(here, it).fault or "")
    assert alarms_of(here) == [("remains_kept", PLACE, 1)]
    last = told(here, it)[-1]
    assert (last["fact"], last["outcome"], last["files"]) == ("deletion", "fail", 6)
    clear_remains(here, timedelta(hours=1))
    assert told(here, it)[-1] == last, "once is enough"
    with here.session() as session:
        policy.lift_hold(session, here.institution_id, it, hold.id, "imekwisha", by=here.asker, now=NOW)
    clear_remains(here, timedelta(hours=2))
    assert here.media(PLACE, it) == set() and copy_of(here, it).fault is None and alarms_of(here) == []


def test_a_hold_is_told_anew_to_a_place_that_was_forgotten_and_the_newest_word_wins(here: Scene, weed: Weed) -> None:
    """Turns that were under way when it was forgotten come behind those of the place that is back."""
    it, key = here.record(), "source/1.m4s"
    weed.make_bucket("zuio-tena", object_lock=True)
    store = S3Store(weed.location("zuio-tena", name=PLACE))
    here.stores[PLACE] = store

    def due() -> list[store_holds.Turn]:
        with here.session() as session:
            return store_holds.due(session, [PLACE], NOW)

    def tell(turns: list[store_holds.Turn]) -> None:
        for turn in turns:
            applied = store_holds.apply(store, here.settings.recordings, turn)
            with here.session() as session:
                store_holds.note(session, turn, applied, NOW)

    def back() -> None:
        forget(here)
        here.stores[PLACE] = store
        here.settle()

    def hold(reason: str) -> int:
        with here.session() as session:
            return policy.place_hold(session, here.institution_id, it, reason, by=CLI, now=NOW).id

    def lift(number: int) -> None:
        with here.session() as session:
            policy.lift_hold(session, here.institution_id, it, number, "x", by=CLI, now=NOW)

    try:
        here.settle()
        first = hold("a")
        with here.session() as session:
            late_at = NOW + store_holds.LATE + timedelta(seconds=1)
            assert store_holds.untold(session, EVERYTHING, NOW) == {}
            assert store_holds.untold(session, EVERYTHING, late_at) == {PLACE: 1, "arusha": 1}
        late = due()
        back()
        tell(due())
        lift(first)
        tell(due())
        assert not store.is_held(f"{it}/{key}")
        tell(late)
        assert store.is_held(f"{it}/{key}"), "the store obeyed the older turn"
        tell(due())
        assert not store.is_held(f"{it}/{key}") and due() == []

        second = hold("b")
        tell(due())
        with here.session() as session:
            assert PLACE not in store_holds.untold(session, EVERYTHING, late_at)
        lift(second)
        late = due()
        back()
        third = hold("c")
        tell(due())
        tell(late)
        tell(due())
        assert store.is_held(f"{it}/{key}") and due() == []

        forget(here)
        lift(third)
        here.stores[PLACE] = store
        here.settle()
        tell(due())
        assert not store.is_held(f"{it}/{key}"), "it was lifted while the place was away"
        with here.session() as session:
            assert session.get_one(StoreHold, (it, PLACE)).ledger_bytes is None
    finally:
        here.stores.pop(PLACE, None)
        store.close()


def test_a_store_that_keeps_what_it_says_it_removed_is_not_believed(here: Scene) -> None:
    it = here.record()

    def keep(asked: Asked) -> Answer | Literal[False]:
        if asked.method == "DELETE":
            return Answer(204)
        if "list-type" not in asked.query:
            return False
        found = "".join(
            f"<Contents><Key>{path.removeprefix('/kumbukumbu/')}</Key><Size>6</Size>"
            "<LastModified>2026-11-28T07:00:00Z</LastModified></Contents>"
            for path in old.objects
        )
        return Answer(body=f"<ListBucketResult>{found}</ListBucketResult>".encode())

    with old_server() as old:
        old.fault = keep
        here.stores[PLACE] = S3Store(old.location(name=PLACE))
        try:
            here.settle()
            here.order(it)
            turn = here.turn(it)
            assert here.begin(turn)
            kept = here.clear(turn, PLACE)
            assert not kept.is_clear and "still there after it was removed; 6 files" in (kept.error or "")
        finally:
            here.stores.pop(PLACE).close()
