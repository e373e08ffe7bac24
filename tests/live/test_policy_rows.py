"""The archive's rules on rows in a real PostgreSQL and files in real folders: who may do what when, and what is left of
a recording that was destroyed, whoever was killed on the way."""

import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from archive.recordings import (
    checks,
    closures,
    copies,
    custody,
    disposal,
    policy,
    rebuild,
    retired,
    signing_keys,
    store_holds,
    verify,
)
from archive.recordings.disposal import Cleared
from archive.recordings.locations.errors import Locked
from archive.recordings.locations.s3 import S3Store
from archive.recordings.policy_errors import (
    AlreadyAsked,
    BadReason,
    BadUntil,
    BeingCopied,
    Blocked,
    Disposed,
    HoldIsLifted,
    HoldStands,
    KeptForEver,
    LeavesTooFew,
    NeedsAccount,
    NoCopies,
    NoRight,
    NoSuchRecording,
    NotEmbargoed,
    NotOpen,
    OnTheAir,
    PolicyError,
    RetentionStands,
    SamePerson,
)
from archive.recordings.policy_tables import RetentionPromise, StoreHold
from archive.recordings.tables import PreservationEvent, RecordingCopy
from core import audit
from core.audit import Actor
from core.database import transaction
from core.staff.tables import AuditEntry
from core.tables import Recording
from core.web.i18n import Language
from tests.live.policy_kit import BEGAN, NOW, Scene, scene
from tests.live.staff_kit import database
from tests.live.store_kit import Weed
from tests.up import Up

YEAR = timedelta(days=366)
CLI = Actor(None, "command line (juma)")


@pytest.fixture(scope="module")
def here(mbashara_up: Up, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with database(mbashara_up, "policy_test", pool_size=8) as engine:
        yield scene(engine, tmp_path_factory.mktemp("policy"))


def test_a_store_with_object_lock_holds_too_until_the_last_hold_is_lifted(here: Scene, weed: Weed) -> None:
    it = here.record()
    weed.make_bucket("zuio", object_lock=True)
    store = S3Store(weed.location("zuio"))
    here.stores["wingu"] = store
    try:
        here.settle()
        with here.session() as session:
            one, two = (
                policy.place_hold(session, here.institution_id, it, reason, by=CLI, now=NOW) for reason in ("a", "b")
            )
        tell_stores(here)
        assert store.is_held(f"{it}/source/1.m4s") and not store.is_held(f"{it}/ledger.jsonl")
        with pytest.raises(Locked):
            store.delete(f"{it}/source/1.m4s")
        with here.session() as session:
            assert {row.location: row.is_supported for row in store_holds.told(session, it)} == {
                "wingu": True, "arusha": False
            }  # fmt: skip
            policy.lift_hold(session, here.institution_id, it, one.id, "x", by=CLI, now=NOW)
        tell_stores(here)
        assert store.is_held(f"{it}/source/1.m4s"), "another one stands"
        with here.session() as session:
            policy.lift_hold(session, here.institution_id, it, two.id, "x", by=CLI, now=NOW)
        tell_stores(here)
        assert not store.is_held(f"{it}/source/1.m4s")
        here.order(it)
        turn = here.turn(it)
        assert here.begin(turn)
        store.retain(f"{it}/source/3.m4s", datetime.now(UTC) + timedelta(days=30))
        locked = here.clear(turn, "wingu")
        assert locked.error is not None and "it is locked there" in locked.error and locked.until is not None
    finally:
        del here.stores["wingu"]
        store.close()


def tell_stores(here: Scene) -> None:
    """What the work process does in its rounds, and once more, as after a kill."""
    with here.session() as session:
        turns = store_holds.due(session, list(here.stores), NOW)
    for turn in turns * 2:
        applied = store_holds.apply(here.stores[turn.location], here.settings.recordings, turn)
        with here.session() as session:
            store_holds.note(session, turn, applied, NOW)
    with here.session() as session:
        assert store_holds.due(session, list(here.stores), NOW) == []


@pytest.fixture(scope="module")
def kept(here: Scene) -> str:
    """One for tests that change nothing, or undo it."""
    return here.record()


def kinds(here: Scene, recording_id: str) -> list[str]:
    with here.session() as session:
        query = select(PreservationEvent.kind).where(PreservationEvent.recording_id == recording_id)
        return list(session.scalars(query.order_by(PreservationEvent.id)))


ACTS: dict[str, Callable[[Session, Scene, int, str], object]] = {
    "hold": lambda s, here, owner, it: policy.place_hold(s, owner, it, "x", by=here.asker, now=NOW),
    "release": lambda s, here, owner, it: policy.lift_hold(s, owner, it, 1, "x", by=here.asker, now=NOW),
    "embargo": lambda s, here, owner, it: policy.place_embargo(s, owner, it, "x", None, by=here.asker, now=NOW),
    "publish": lambda s, here, owner, it: policy.lift_embargo(s, owner, it, "x", by=here.asker, now=NOW),
    "ask": lambda s, here, owner, it: disposal.ask(s, owner, it, "x", by=here.asker, now=NOW),
    "approve": lambda s, here, owner, it: disposal.approve(s, owner, it, 1, by=here.approver, now=NOW),
    "refuse": lambda s, here, owner, it: disposal.refuse(s, owner, it, 1, "x", by=here.approver, now=NOW),
    "withdraw": lambda s, here, owner, it: disposal.withdraw(s, owner, it, 1, by=here.asker, now=NOW),
    "standing": lambda s, here, owner, it: policy.standing(s, owner, it),
}


@pytest.mark.parametrize("act", ACTS)
def test_nothing_crosses_institutions(here: Scene, kept: str, act: str) -> None:
    before = kinds(here, kept)
    with pytest.raises(NoSuchRecording), here.session() as session:
        ACTS[act](session, here, here.other_id, kept)
    assert kinds(here, kept) == before


def test_rules_of_another_institutions_channel_are_refused(here: Scene) -> None:
    with pytest.raises(PolicyError, match="no such channel"), here.session() as session:
        policy.set_rule(session, here.other_id, here.channel_id, 1, by=CLI, now=NOW)


def test_holds_and_embargoes_are_told_in_both_logs(here: Scene) -> None:
    it = here.record()
    with here.session() as session:
        one = policy.place_hold(session, here.institution_id, it, "kesi 12/2026", by=here.asker, now=NOW)
        two = policy.place_hold(session, here.institution_id, it, "CAG", by=CLI, now=NOW)
    assert here.row(it).signed_custody_bytes < here.row(it).custody_bytes, "the notary signs it next"
    with here.session() as session:
        policy.lift_hold(session, here.institution_id, it, one.id, "imekwisha", by=here.asker, now=NOW)
        assert [hold.id for hold in policy.standing_holds(session, it)] == [two.id]
    for wrong, error in (
        (lambda s: policy.lift_hold(s, here.institution_id, it, one.id, "x", by=CLI, now=NOW), HoldIsLifted),
        (lambda s: policy.place_hold(s, here.institution_id, it, "  ", by=CLI, now=NOW), BadReason),
        (lambda s: policy.lift_embargo(s, here.institution_id, it, "x", by=CLI, now=NOW), NotEmbargoed),
        (lambda s: policy.place_embargo(s, here.institution_id, it, "x", NOW, by=CLI, now=NOW), BadUntil),
    ):
        with pytest.raises(error), here.session() as session:
            wrong(session)
    assert kinds(here, it)[-3:] == ["hold placed", "hold placed", "hold lifted"]
    with here.session() as session:
        query = select(AuditEntry.act).where(AuditEntry.subject == f"recording:{it}").order_by(AuditEntry.id)
        assert list(session.scalars(query)) == ["recording.hold", "recording.hold", "recording.release"]
        assert audit.verify(session) is None


def test_an_embargo_closes_the_recording_and_ends_on_the_clock(here: Scene) -> None:
    it, until = here.record(), NOW + timedelta(hours=5, milliseconds=1)
    marker = here.settings.public / "closed" / it
    with here.session() as session:
        policy.place_embargo(session, here.institution_id, it, "bado", None, by=CLI, now=NOW)
        policy.place_embargo(session, here.institution_id, it, "hadi jioni", until, by=CLI, now=NOW)
    with here.session() as session:
        closures.show(session, here.settings.public, it)
    assert "2026-11-28 17:00:00" in marker.read_text() and marker.stat().st_mode & 0o777 == 0o644
    marker.unlink()  # someone who is not the program
    with here.session() as session:
        known = closures.show_all(session, here.settings.public)
    assert marker.exists() and known[it].status is HTTPStatus.FORBIDDEN
    with here.session() as session:
        assert policy.lift_due(session, until - timedelta(milliseconds=1)) == []
        assert policy.lift_due(session, until) == [it]
        assert policy.lift_due(session, until) == []
    with here.session() as session:
        assert it not in closures.show_all(session, here.settings.public, known)
    assert not marker.exists() and kinds(here, it)[-3:] == ["embargo", "embargo", "embargo lifted"]


def test_what_is_on_the_air_is_closed_from_its_end_on(here: Scene) -> None:
    it = here.record(over=False)
    with here.session() as session:
        policy.place_embargo(session, here.institution_id, it, "bado", None, by=CLI, now=NOW)
    with here.session() as session:
        assert closures.closure_of(session, it) is None
        session.execute(text("update recording set state = 'ended' where id = :it"), {"it": it})
        closure = closures.closure_of(session, it)
        session.rollback()
    assert closure is not None and closure.said(Language.SW) == "Rekodi hii bado haijafunguliwa kwa umma."
    with pytest.raises(OnTheAir), here.session() as session:
        session.execute(text("delete from retention_promise where recording_id = :it"), {"it": it})
        policy.promise(session, it, NOW)
        disposal.ask(session, here.institution_id, it, "x", by=here.asker, now=NOW)


def test_a_new_rule_shortens_no_promise_unless_it_is_told_to(here: Scene) -> None:
    it = here.record()

    def until() -> datetime | None:
        with here.session() as session:
            return policy.kept(session, here.row(it)).until

    def rule(years: int | None, channel_id: int | None = None, shortens: bool = False) -> None:
        with here.session() as session:
            policy.set_rule(session, here.institution_id, channel_id, years, by=CLI, now=NOW, shortens=shortens)

    promised = datetime(2021, 2, 28, 9, 0, 10, tzinfo=UTC)
    assert until() == promised, "a year after 29 February"
    try:
        rule(10)
        assert until() == datetime(2030, 2, 28, 9, 0, 10, tzinfo=UTC), "a longer rule counts at once"
        with pytest.raises(RetentionStands, match="2030-02-28 12:00:10"), here.session() as session:
            disposal.ask(session, here.institution_id, it, "x", by=here.asker, now=NOW)
        rule(None)
        assert until() is None
        later = here.record()
        rule(2)
        assert until() == datetime(2022, 2, 28, 9, 0, 10, tzinfo=UTC)
        with here.session() as session:
            assert policy.kept(session, here.row(later)).until is None, "it was promised for ever"
        rule(1, here.channel_id, shortens=True)
        with here.session() as session:
            assert policy.kept(session, here.row(later)).until == promised, (
                "the channel's rule, and the platform's word"
            )
        assert kinds(here, later)[-1] == "policy assignment"
    finally:
        rule(1)


def test_what_stands_against_a_disposal(here: Scene) -> None:
    it = here.record()
    with here.session() as session:
        hold = policy.place_hold(session, here.institution_id, it, "kesi", by=CLI, now=NOW)
    cases: tuple[tuple[str, type[Blocked], Actor], ...] = (
        ("", HoldStands, here.asker),
        ("update hold set lifted_at = now()", KeptForEver, here.asker),
        ("update retention_promise set until = '2021-01-01+00'; update recording_copy set state = 'copying'",
         BeingCopied, here.asker),
    )  # fmt: skip
    with here.session() as session:
        session.execute(text("update retention_promise set until = null where recording_id = :it"), {"it": it})
    for change, error, actor in cases:
        with here.session() as session:
            for one in filter(None, change.split(";")):
                session.execute(text(f"{one} where recording_id = :it"), {"it": it})
        with pytest.raises(error), here.session() as session:
            disposal.ask(session, here.institution_id, it, "x", by=actor, now=NOW)
        with here.session() as session:
            assert isinstance(disposal.blocked(session, here.institution_id, it, NOW), error)
    assert hold.id and here.row(it).disposed_at is None


def test_it_takes_two_people_with_the_right(here: Scene) -> None:
    it, owner = here.record(), here.institution_id
    for by, error in ((CLI, NeedsAccount), (Actor(10_000, "hayupo"), NeedsAccount)):
        with pytest.raises(error), here.session() as session:
            disposal.ask(session, owner, it, "x", by=by, now=NOW)
    with here.session() as session:
        asked = disposal.ask(session, owner, it, "x", by=here.approver, now=NOW)
    with pytest.raises(AlreadyAsked), here.session() as session:
        disposal.ask(session, owner, it, "x", by=here.asker, now=NOW)
    for by, wrong in ((here.approver, SamePerson), (here.asker, NoRight), (CLI, NeedsAccount)):
        with pytest.raises(wrong), here.session() as session:
            disposal.approve(session, owner, it, asked.id, by=by, now=NOW)
    with pytest.raises(IntegrityError, match="disposal_two_people"), here.session() as session:
        session.execute(text("update disposal_request set state = 'approved', decided_by = asked_by"))
    with here.session() as session:
        disposal.withdraw(session, owner, it, asked.id, by=here.asker, now=NOW)
    with pytest.raises(NotOpen), here.session() as session:
        disposal.refuse(session, owner, it, asked.id, "x", by=here.approver, now=NOW)
    assert kinds(here, it)[-2:] == ["policy assignment"] * 2 and here.media("arusha", it)


def test_of_two_who_decide_at_once_one_is_told(here: Scene) -> None:
    """Two connections, held up at the recording's row until both wait."""
    it, owner = here.record(), here.institution_id
    with here.session() as session:
        asked = disposal.ask(session, owner, it, "x", by=here.asker, now=NOW)
    outcomes: list[str] = []

    def decide(by: Actor, approves: bool) -> None:
        try:
            with transaction(here.engine) as session:
                if approves:
                    disposal.approve(session, owner, it, asked.id, by=by, now=NOW)
                else:
                    disposal.refuse(session, owner, it, asked.id, "x", by=by, now=NOW)
            outcomes.append("done")
        except NotOpen:
            outcomes.append("told")

    with here.session() as session:
        session.execute(text("select 1 from recording where id = :it for update"), {"it": it})
        cases = ((here.approver, True), (here.second, True), (here.second, False))
        threads = [threading.Thread(target=decide, args=case) for case in cases]
        for thread in threads:
            thread.start()
        waiting = text(
            "select count(*) from pg_stat_activity where datname = 'policy_test' and wait_event_type = 'Lock'"
        )
        with here.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as other:
            while (other.scalar(waiting) or 0) < len(threads):
                other.execute(text("select pg_sleep(0.02)"))
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["done", "told", "told"]


def test_a_recording_is_destroyed_and_its_papers_prove_it(here: Scene) -> None:
    """Each step is done twice, as by a process that was killed before it could note it, and some in the middle."""
    it = here.record()
    folder = here.settings.recordings / it
    (folder / "index.m3u8").write_text("#EXTM3U\n")
    assert here.order(it).state == "approved"
    turn = here.turn(it)
    assert here.begin(turn) and here.begin(turn)
    with here.session() as session:
        closures.show(session, here.settings.public, it)
        assert copies.due(session, list(here.stores), NOW, 20) == [] or here.media("local", it)
        assert checks.ask(session, NOW, it) == 0, "its copies are not looked for any more"
    assert (here.settings.public / "gone" / it).exists()
    here.stores["arusha"].delete(f"{it}/source/2.m4s")  # killed behind the first files
    arusha = here.clear(turn, "arusha")
    assert here.clear(turn, "arusha") == arusha == Cleared("arusha", is_clear=True)
    assert not here.note(turn, arusha, Cleared("local", error="it is away"))
    assert here.turn(it).number == turn.number + 1 and here.request(it).trouble == "it is away"
    assert here.begin(here.turn(it)), "taken up again"
    stale, turn = turn, here.turn(it)
    assert here.clear(stale, "local").is_stopped and here.media("local", it)
    cleared = [here.clear(turn, name) for name in ("arusha", "local")]
    gone_at = NOW + timedelta(seconds=7)
    assert here.note(turn, *cleared, now=gone_at)
    assert not here.note(turn, *cleared), "never twice"
    here.settle()
    with here.session() as session:
        assert closures.closure_of(session, it) == closures.Closure(HTTPStatus.GONE, gone_at), "as its papers say"
    assert kinds(here, it).count("deletion") == 1 and here.request(it).state == "done"
    for place in (folder, here.settings.data / "arusha" / it):
        assert sorted(path.name for path in place.rglob("*")) == ["custody.jsonl", "ledger.jsonl", "signatures.jsonl"]
        report = verify.verify(place)
        assert report.is_whole and report.files == 6, [finding.text() for finding in report.findings]
        english, swahili = "\n".join(verify.summary(report, "en")), "\n".join(verify.summary(report, "sw"))
        assert "DESTROYED BY ORDER on 2026-11-28 12:00:07.000 EAT" in english and "WHOLE AND" not in english
        assert "asked for by asha, approved by juma: imekwisha" in english
        assert "ILITEKETEZWA KWA AMRI 2026-11-28" in swahili and "KAMILI, HAI" not in swahili
    (folder / "source").mkdir()
    (folder / "source" / "1.m4s").write_bytes(b"x")
    assert [finding.kind for finding in verify.verify(folder).findings] == ["remains"]
    with pytest.raises(Disposed), here.session() as session:
        disposal.ask(session, here.institution_id, it, "x", by=here.asker, now=NOW)
    with pytest.raises(Disposed), here.session() as session:
        policy.place_hold(session, here.institution_id, it, "x", by=here.asker, now=NOW)


def test_a_hold_that_came_meanwhile_stops_it(here: Scene) -> None:
    """Before anything is removed, and in the middle: then what is left is kept, and looked at by fixity."""
    first, second = here.record(), here.record()
    for it in (first, second):
        here.order(it)
    turn = here.turn(second)
    assert here.begin(turn) and here.clear(turn, "arusha").is_clear
    for it in (first, second):
        with here.session() as session:
            policy.place_hold(session, here.institution_id, it, "kesi", by=here.asker, now=NOW)
    assert not here.begin(here.turn(first))
    assert here.clear(turn, "local").is_stopped and len(here.media("local", second)) == 6
    assert not here.note(turn, here.clear(turn, "local"))
    for it in (first, second):
        assert here.request(it).state == "refused" and "A legal hold stands: kesi" in (here.request(it).decision or "")
        assert here.row(it).disposed_at is None and kinds(here, it)[-1] == "deletion"
        assert verify.disposal_of(verify.read_chain(here.settings.recordings / it / "custody.jsonl")) is None
    with here.session() as session:
        due = checks.due(session, ["local", "arusha"], NOW)
    assert due is not None and due.recording_id == second


def test_a_lock_is_waited_for_until_it_ends(here: Scene) -> None:
    it = here.record()
    here.order(it)
    turn, until = here.turn(it), NOW + timedelta(days=300)
    assert here.begin(turn)
    locked = Cleared("wingu", error="location wingu: it is locked there", until=until.isoformat())
    assert not here.note(turn, locked, here.clear(turn, "arusha"), here.clear(turn, "local"))
    request = here.request(it)
    assert (request.state, request.waits_until, request.next_try_at) == ("carrying", until, until)
    assert request.trouble == locked.error and here.row(it).disposed_at is not None


def test_rules_come_back_with_the_catalogue(here: Scene, mbashara_up: Up) -> None:
    gone, held = here.record(), here.record()
    here.order(gone)
    turn = here.turn(gone)
    here.begin(turn)
    gone_at = NOW + timedelta(seconds=7)
    here.note(turn, *(here.clear(turn, name) for name in here.stores), now=gone_at)
    with here.session() as session:
        policy.place_hold(session, here.institution_id, held, "kesi", by=here.asker, now=NOW)
        policy.place_embargo(session, here.institution_id, held, "bado", NOW + YEAR, by=here.asker, now=NOW)
        for place in ("mwanza", "arusha"):
            custody.append(session, held, "replication", NOW, location=place, files=6, size_bytes=6)
        of_it = {"recording_id": held, "institution_id": here.institution_id, "location": "mwanza"}
        session.add(RecordingCopy(**of_it, state="whole", files=6, next_try_at=NOW))
        retired.forget(session, "mwanza", here.stores, "imefungwa", even_so=False, by=CLI, now=NOW)
    here.settle()
    keys = signing_keys.public_halves(here.settings.signing_keys)
    with database(mbashara_up, "policy_rebuilt") as empty, Session(empty) as session:
        for it in (gone, held):
            files = rebuild.read(here.settings.recordings / it, keys)
            assert rebuild.restore(session, files)
            rebuild.number_on(session, files)
        owner = session.get_one(Recording, held).institution_id
        standing, destroyed = policy.standing(session, owner, held), policy.standing(session, owner, gone)
        assert [hold.reason for hold in standing.holds] == ["kesi"] and standing.embargo is not None
        assert standing.embargo.until == NOW + YEAR and standing.kept.until is None, "no rule came with the files"
        promised = session.get_one(RetentionPromise, held)
        kept = session.scalars(select(RecordingCopy.location).where(RecordingCopy.recording_id == held)).all()
        assert "arusha" in kept and "mwanza" not in kept
        assert promised.until == BEGAN.replace(year=2021, day=28, second=10)
        assert destroyed.disposed_at == gone_at and closures.closure_of(session, held) is not None
        policy.place_hold(session, owner, held, "nyingine", by=CLI, now=NOW)


def test_a_place_that_is_named_no_more_is_forgotten_and_not_where_it_is_needed(here: Scene) -> None:
    safe, short = here.record(), here.record()
    with here.session() as session:
        for it in (safe, short):
            of_it = {"recording_id": it, "institution_id": here.institution_id, "location": "mwanza"}
            session.add(RecordingCopy(**of_it, state="whole", files=6, papers_due=False, next_try_at=NOW))
            session.add(StoreHold(**of_it, is_supported=True, next_try_at=NOW))
        session.get_one(RecordingCopy, (short, "arusha")).state = "faulty"

    def forget(name: str, reason: str, even_so: bool) -> retired.Forgotten:
        with here.session() as session:
            return retired.forget(session, name, here.stores, reason, even_so=even_so, by=CLI, now=NOW)

    for name, reason, refused in (("mwanza", "imefungwa", LeavesTooFew), ("mwanza", " ", BadReason)):
        with pytest.raises(refused):
            forget(name, reason, False)
    with pytest.raises(NoCopies):
        forget("tanga", "imefungwa", True)
    assert forget("mwanza", "imefungwa", True) == retired.Forgotten(2, 1)
    with here.session() as session:
        assert not session.scalars(select(RecordingCopy).where(RecordingCopy.location == "mwanza")).all()
        places = session.scalars(select(RecordingCopy.location).where(RecordingCopy.recording_id == safe))
        assert set(places) == set(here.stores)
        entry = session.scalars(select(AuditEntry).order_by(AuditEntry.id.desc()).limit(1)).one()
        assert (entry.act, entry.subject, entry.actor) == ("location.forget", "location:mwanza", CLI.name)
        late = copies.Turn(safe, "mwanza", 0, 10, False, 0)
        copies.note(session, late, copies.Copied(10, 1, 6, 6, 0, False), NOW)  # the work process was at it
        session.get_one(RecordingCopy, (short, "arusha")).state = "whole"
        copies.want(session, ["mwanza"], NOW)
        copies.note(session, late, copies.Copied(10, 1, 6, 6, 0, False), NOW)
        assert session.get_one(RecordingCopy, (safe, "mwanza")).files == 0, "it was another copy's turn"
        retired.forget(session, "mwanza", here.stores, "haikufunguliwa", even_so=True, by=CLI, now=NOW)
    here.settle()
    for it in (safe, short):
        told = (Path(here.settings.data) / "arusha" / it / "custody.jsonl").read_text().splitlines()
        assert {"rule": "place", "act": "forgotten", "location": "mwanza"}.items() <= json.loads(told[-1]).items()
        assert verify.verify(here.settings.recordings / it).is_whole
