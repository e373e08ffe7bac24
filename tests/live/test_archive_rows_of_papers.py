"""Papers on their way to other places: the newest, and no damaged ones."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from archive.recordings import copies, custody, policy, verify
from archive.recordings.verify import CUSTODY_NAME, PAPERS
from mbashara.notary import Notary
from tests.live.policy_kit import NOW, Scene
from tests.live.resolve_kit import check, flip, keys_of, places, record, resolve_scene
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
