"""Papers on their way to other places: the newest, and no damaged ones."""

import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import event, select, update
from sqlalchemy.orm import Session

from archive.recordings import copies, custody, policy, rebuild, verify
from archive.recordings.checks import Due
from archive.recordings.ledger import Fact, read_facts
from archive.recordings.locations.config import LOCAL
from archive.recordings.locations.folder import FolderStore
from archive.recordings.tables import RecordingCopy
from archive.recordings.timestamp import Authority, read_roots
from archive.recordings.verify import CUSTODY_NAME, LEDGER_NAME, PAPERS, SIGNATURES_NAME
from core.tables import Recording, SigningKey
from mbashara.cli.fixity import are_proven
from mbashara.copying import Copier
from mbashara.notary import Notary
from mbashara.places import Places
from mbashara.settings import Settings
from mbashara.stamper import Stamper
from tests.live.policy_kit import NOW, Scene
from tests.live.resolve_kit import check, events, fixity, flip, keys_of, places, record, resolve_scene
from tests.live.staff_kit import database
from tests.live.tsa_kit import running_tsa
from tests.unit.test_recover_twice import Died, Fate, dying
from tests.up import Up


@pytest.fixture(scope="module")
def here(mbashara_up: Up, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with resolve_scene(mbashara_up, tmp_path_factory.mktemp("papers")) as one:
        yield one


def test_papers_that_were_put_before_more_was_told_are_not_taken_for_the_newest(here: Scene) -> None:
    """Whoever put them was killed, or slow, before that was noted."""
    it = record(here)
    with here.session() as session:
        hold = policy.place_hold(session, here.institution_id, it, "kesi", by=here.asker, now=NOW)
    Notary(here.settings, here.engine).sign_due()
    with here.session() as session:
        (turn,) = (one for one in copies.due(session, ["arusha"], datetime.now(UTC), 20) if one.recording_id == it)
    copied = copies.copy_files(here.stores["arusha"], here.settings.recordings, turn)
    with here.session() as session:
        policy.lift_hold(session, here.institution_id, it, hold.id, "imekwisha", by=here.asker, now=NOW)
    Notary(here.settings, here.engine).sign_due()
    with here.session() as session:
        copies.note(session, turn, copied, NOW)
    here.settle()
    local, arusha = places(here, it)
    assert all((local / name).read_bytes() == (arusha / name).read_bytes() for name in PAPERS)


@pytest.mark.parametrize(("paper", "line"), [(name, line) for name in PAPERS for line in (0, 1)])
def test_a_paper_that_is_damaged_here_is_written_over_no_good_one(here: Scene, paper: str, line: int) -> None:
    it = record(here)
    local, arusha = places(here, it)
    good = {name: (arusha / name).read_bytes() for name in PAPERS}
    flip(local / paper, line)
    with here.session() as session:
        policy.place_hold(session, here.institution_id, it, "kesi", by=here.asker, now=NOW)
    here.settle()
    assert all((arusha / name).read_bytes() == data for name, data in good.items())
    assert verify.verify(arusha, keys_of(here)).is_whole
    check(here, it)
    here.settle()
    assert all(verify.verify(place, keys_of(here)).is_whole for place in (local, arusha))
    assert all((local / name).read_bytes() == (arusha / name).read_bytes() for name in PAPERS)


def test_a_notary_that_is_killed_at_any_write_leaves_what_the_next_one_goes_on_with(here: Scene) -> None:
    at, is_alive = 0, False
    while not is_alive:
        at += 1
        it = record(here)
        local, _ = places(here, it)
        with here.session() as session:
            policy.place_hold(session, here.institution_id, it, "kesi", by=here.asker, now=NOW)
        try:
            with dying(Fate(at)):
                Notary(here.settings, here.engine).sign_due()
            is_alive = True
        except Died:
            pass
        here.settle()
        with here.session() as session:
            told = "".join(f"{line}\n" for line in custody.lines(session, it))
        assert (local / CUSTODY_NAME).read_text() == told, at
        for place in places(here, it):
            assert verify.verify(place, keys_of(here), every_signature=True).findings == [], at
    assert at > 6, "it was watched"


def test_what_is_stamped_already_is_not_stamped_again_after_a_kill(here: Scene, tmp_path: Path) -> None:
    it = record(here)
    local, _ = places(here, it)

    def stamps() -> list[Fact]:
        return [one for one in read_facts(local, SIGNATURES_NAME) if "timestamp" in one]

    def die(session: Session) -> None:
        if stamps():
            raise Died

    with running_tsa(tmp_path) as tsa:
        stamper = Stamper(here.settings, here.engine, Authority(tsa.url, read_roots(tsa.ca), tries=2))
        with here.session() as session:  # of all others
            session.execute(update(Recording).where(Recording.id != it).values(stamped_bytes=Recording.signed_bytes))
        event.listen(Session, "before_commit", die)
        try:
            with pytest.raises(Died):
                stamper.stamp_due(datetime.now(UTC))
        finally:
            event.remove(Session, "before_commit", die)
        assert here.row(it).stamped_bytes == 0
        stamper.stamp_due(datetime.now(UTC))
        assert len(tsa.asked) == 1
    (one,), row = stamps(), here.row(it)
    assert row.stamped_bytes == row.signed_bytes and row.stamped_at == datetime.fromisoformat(one["at"])


def test_papers_that_say_less_than_was_known_are_put_ever_more_seldom(here: Scene) -> None:
    """A disk that lost power, or was brought back from a day before, has no more to give."""
    it = record(here)
    with here.session() as session:
        session.get_one(Recording, it).stamped_bytes = session.get_one(Recording, it).ledger_bytes
        session.get_one(RecordingCopy, (it, "arusha")).papers_due = True
    now, waits = NOW, list[timedelta]()
    for _ in range(12):
        with here.session() as session:
            (turn,) = (one for one in copies.due(session, ["arusha"], now, 20) if one.recording_id == it)
        copied = copies.copy_files(here.stores["arusha"], here.settings.recordings, turn)
        assert copied.error is None and copied.papers
        with here.session() as session:
            copies.note(session, turn, copied, now)
            next_at = session.get_one(RecordingCopy, (it, "arusha")).next_try_at
        waits, now = [*waits, next_at - now], next_at
    assert waits[0] == copies.FIRST_RETRY and waits[-1] == copies.LAST_RETRY


def test_a_copy_that_can_not_be_read_is_not_told_as_proven(here: Scene, tmp_path: Path) -> None:
    """`mbashara fixity run`, asked for by a timer, said with its exit code that all was well."""
    it, mounted, asked = record(here), here.stores["arusha"], datetime.now(UTC)
    here.stores["arusha"] = FolderStore("arusha", tmp_path / "not mounted")
    try:
        check(here, it)
    finally:
        here.stores["arusha"] = mounted
    with here.session() as session:
        found = {copy.location: copy for copy in copies.of_recording(session, it)}
    assert {copy.state for copy in found.values()} == {"whole"}
    assert are_proven([found[LOCAL]], asked) and not are_proven(found.values(), asked)


def test_what_failed_is_tried_again_as_soon_as_its_place_is_another(
    here: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever puts the credentials right sees that it was that."""
    it, file, begun = record(here), tmp_path / "locations.toml", list[tuple[str, str]]()
    file.write_text(f'[[location]]\nname = "arusha"\nkind = "folder"\npath = "{places(here, it)[1].parent}"\n')
    with here.session() as session:
        copy = session.get_one(RecordingCopy, (it, "arusha"))
        copy.attempts, copy.fault, copy.papers_due = 9, "away", True
        copy.next_try_at = datetime.now(UTC) + copies.LAST_RETRY
    settings = here.settings.model_copy(update={"locations_file": file})
    monkeypatch.setattr(Copier, "_start", lambda _, name, turn: begun.append((turn.recording_id, turn.location)))
    copier = Copier(settings, here.engine, Places(settings), forgot_s=time.monotonic())
    copier.places.read(time.monotonic() - 10)
    assert list(copier.places.stores) == [LOCAL], "it was written just now"
    copier.round(True)
    assert (it, "arusha") in begun


@pytest.mark.parametrize("is_new", [True, False])
def test_a_place_that_comes_or_goes_while_copies_are_read_is_no_reason_to_mend_none(here: Scene, is_new: bool) -> None:
    it = record(here)
    local, _ = places(here, it)
    name = "source/index.m3u8"
    good = (local / name).read_bytes()
    (local / name).write_bytes(good[:-1])
    work, stores = fixity(here), dict(here.stores)
    work.stores = {LOCAL: stores[LOCAL]} if is_new else {**stores, "mwanza": stores["arusha"]}
    if not is_new:
        with here.session() as session:
            copies.want(session, ["mwanza"], NOW)
    due = Due(it, [LOCAL], 0)
    first, is_well = work.examine(due)
    assert not is_well
    work.stores = stores
    told = work.mend(due, first)
    assert (local / name).read_bytes() == good
    assert [one.repaired != [] for one in told.copies if one.location == LOCAL] == [True]


@pytest.mark.parametrize("key", [["x"], 7, "x", None])
def test_keys_come_back_whatever_else_is_said_of_keys(here: Scene, key: object) -> None:
    """A list of keys that a person wrote has days without a zone; another platform's signatures may say anything."""
    it = record(here)
    local, _ = places(here, it)
    files, strange = rebuild.read(local, keys_of(here)), {"key": key, "at": "never"}
    files = replace(files, signatures=files.signatures._replace(lines=[strange, *files.signatures.lines]))
    with Session(here.engine) as session:
        (row,) = session.scalars(select(SigningKey).where(SigningKey.institution_id == here.institution_id))
        row.retired_at = NOW
        rebuild.add_keys(session, files, dict.fromkeys(keys_of(here), "2090-01-01"))
        assert row.retired_at == datetime(2090, 1, 1, tzinfo=UTC)


def test_older_papers_here_are_written_over_no_newer_ones_elsewhere(
    here: Scene, mbashara_up: Up, tmp_path: Path
) -> None:
    """The folder is yesterday's, and the catalogue was made again from it; what came since is at the other place."""
    it = record(here)
    local, arusha = places(here, it)
    shutil.copytree(local, tmp_path / "recordings" / it)
    shutil.copytree(here.settings.signing_keys, tmp_path / "secrets/signing")
    with here.session() as session:
        policy.place_hold(session, here.institution_id, it, "kesi", by=here.asker, now=NOW)
    here.settle()
    newest = {name: (arusha / name).read_bytes() for name in PAPERS}
    keys = dict.fromkeys(keys_of(here))
    with database(mbashara_up, "papers_test") as engine:
        stores = {"local": FolderStore("local", tmp_path / "recordings"), "arusha": here.stores["arusha"]}
        settings = Settings(data=tmp_path, database_url=engine.url.render_as_string(hide_password=False))
        back = replace(here, engine=engine, settings=settings, stores={**stores})
        with back.session() as session:
            files = rebuild.read(tmp_path / "recordings" / it, keys)
            assert rebuild.restore(session, files)
            rebuild.add_keys(session, files, keys, keys)
        back.settle()
        assert {name: (arusha / name).read_bytes() for name in PAPERS} == newest
        check(back, it)
        back.settle()
        for place in (tmp_path / "recordings" / it, arusha):
            assert all((place / name).read_bytes().startswith(data) for name, data in newest.items())
            assert verify.verify(place, keys).findings == []
        assert any(one["fact"] == "hold placed" for one in events(back, it))


def test_damaged_papers_delay_no_file_that_is_on_the_air(here: Scene) -> None:
    it = here.record(over=False)
    Notary(here.settings, here.engine).sign_due()
    flip(here.settings.recordings / it / LEDGER_NAME, 0)
    with here.session() as session:
        copies.want(session, ["arusha"], NOW)
        (turn,) = (one for one in copies.due(session, ["arusha"], NOW, 20) if one.recording_id == it)
    assert turn.papers
    copied = copies.copy_files(here.stores["arusha"], here.settings.recordings, turn)
    with here.session() as session:
        copies.note(session, turn, copied, NOW)
        copy = session.get_one(RecordingCopy, (it, "arusha"))
        assert (copy.files, copy.fault) == (6, copies.PAPERS_DAMAGED)
        assert (copy.attempts, copy.next_try_at, copy.state) == (0, NOW, "copying")
        assert not [one for one in copies.due(session, ["arusha"], NOW, 20) if one.recording_id == it], "none is new"


def test_a_place_that_works_again_is_not_waited_for_any_longer(here: Scene) -> None:
    """It was away for long, so that each copy would have been tried some minutes later, at its own time."""
    others = [here.record(over=False) for _ in range(3)]
    away = copies.Copied(0, 0, 0, 0, 0, False, error="hakuna njia")

    def note(copied: copies.Copied, it: str, now: datetime) -> None:
        with here.session() as session:
            (turn,) = (one for one in copies.due(session, ["arusha"], now, 20) if one.recording_id == it)
            copies.note(session, turn, copied, now)

    def next_tries(of: list[str]) -> list[datetime]:
        with here.session() as session:
            return [session.get_one(RecordingCopy, (it, "arusha")).next_try_at for it in of]

    with here.session() as session:
        copies.want(session, ["arusha"], NOW)
    later = NOW
    for _ in range(9):
        for it in others:
            note(away, it, later)
        later += copies.LAST_RETRY
    back_at = later - timedelta(minutes=8)
    assert min(next_tries(others)) > back_at
    with here.session() as session:
        session.get_one(RecordingCopy, (others[0], "arusha")).next_try_at = back_at
    note(copies.Copied(10, 1, 6, 6, 0, False), others[0], back_at)
    assert next_tries(others) == [back_at] * 3
    with here.session() as session:
        assert {one.recording_id for one in copies.due(session, ["arusha"], back_at, 20)} >= {*others}
        assert session.get_one(RecordingCopy, (others[1], "arusha")).attempts == 9, (
            "how often it failed is not forgotten"
        )
