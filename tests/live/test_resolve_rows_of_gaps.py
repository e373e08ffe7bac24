"""Gaps of files that are back: real files in two folders, rows in a real PostgreSQL."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from archive.recordings import gaps, rebuild, resolve, rows
from archive.recordings.checks import Due
from archive.recordings.locations.folder import FolderStore
from core.tables import Recording
from mbashara import copying, work
from mbashara.fixity import Fixity
from tests.live.policy_kit import Scene
from tests.live.resolve_kit import carried, check, events, keys_of, ordered, planned, record, resolve_scene, told_gaps
from tests.live.staff_kit import database
from tests.up import Up


@pytest.fixture(scope="module")
def here(mbashara_up: Up, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with resolve_scene(mbashara_up, tmp_path_factory.mktemp("resolve")) as one:
        yield one


@pytest.fixture(scope="module")
def empty(mbashara_up: Up) -> Iterator[Engine]:
    with database(mbashara_up, "resolve_again") as engine:
        yield engine


def test_a_gap_closes_when_its_file_is_back_and_right(here: Scene, empty: Engine) -> None:
    it = record(here, missing=("source/1.m4s", "source/2.m4s"))
    local, arusha = here.settings.recordings / it, Path(here.settings.data) / "arusha" / it
    assert told_gaps(here, it) == ("ended", [(2000, 4000), (4000, 6000)])
    kept = (arusha / "source/2.m4s").read_bytes()
    (arusha / "source/2.m4s").unlink()
    turn = ordered(here, it, planned(here, it, "local"))
    carried(here, turn)
    check(here, it)
    assert told_gaps(here, it) == ("ended", [(4000, 6000)]), "one is back, the other is put on record as lost"
    (local / "source/2.m4s").write_bytes(b"wrong!")
    check(here, it)
    assert told_gaps(here, it) == ("ended", [(4000, 6000)]), "a file that is there and wrong closes nothing"
    compare_with_rebuilt(here, it, empty)
    (arusha / "source/2.m4s").write_bytes(kept)
    assert check(here, it)["local"] == ("whole", None)
    assert told_gaps(here, it) == ("complete", []) and (local / "source/2.m4s").read_bytes() == kept
    last = [one for one in events(here, it) if one["fact"] == gaps.CORRECTED][-1]
    assert (last["closed"], last["back"], last["state"]) == ([[4000, 6000]], ["source/2.m4s"], "complete")
    with here.session() as session:
        assert resolve.lost_files(session, it) == set()
    compare_with_rebuilt(here, it, empty)


def test_a_gap_closes_also_where_the_index_was_lost_and_is_back(here: Scene) -> None:
    it, names = record(here), ("source/index.m3u8", "source/3.m4s")
    places = (here.settings.recordings / it, Path(here.settings.data) / "arusha" / it)
    kept = {name: (places[0] / name).read_bytes() for name in names}
    (places[0] / names[1]).unlink()
    (places[1] / names[1]).unlink()
    carried(here, ordered(here, it, planned(here, it, "local")))
    assert told_gaps(here, it) == ("ended", [(6000, 8000)])
    for place in places:
        (place / names[0]).unlink()
    carried(here, ordered(here, it, planned(here, it, "local")))
    check(here, it)
    assert told_gaps(here, it) == ("ended", [(6000, 8000)]), "without the index nobody knows better"
    for name, data in kept.items():
        (places[1] / name).write_bytes(data)
    check(here, it)
    assert told_gaps(here, it) == ("complete", [])
    with here.session() as session:
        assert resolve.lost_files(session, it) == set()


def test_closing_that_is_done_again_opens_no_gap_that_was_closed_since(
    here: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By whoever comes after one that was killed before DBOS knew that it was done."""
    it = record(here, missing=("source/1.m4s",))
    check(here, it)
    assert told_gaps(here, it) == ("complete", [])
    monkeypatch.setattr(work, "_settings", here.settings)
    monkeypatch.setattr(work, "_engine", here.engine)
    monkeypatch.setattr(copying, "tell_closed", lambda: None)
    before = len(events(here, it))
    work.write_recording(it, work.Found(duration_ms=10_000, size_bytes=30, missing=[(2000, 4000)]))
    assert told_gaps(here, it) == ("complete", []) and len(events(here, it)) == before


def test_a_place_that_does_not_answer_is_no_reason_to_read_the_others(here: Scene) -> None:
    it = record(here)
    for place in (here.settings.recordings / it, Path(here.settings.data) / "arusha" / it):
        (place / "source/3.m4s").unlink()
    carried(here, ordered(here, it, planned(here, it, "local")))
    away = {**here.stores, "arusha": FolderStore("arusha", Path(here.settings.data) / "not-mounted")}
    found, is_well = Fixity(here.settings, here.engine, away, {}).examine(Due(it, ["arusha"], 0))
    assert is_well and found.copies[0].away is not None


def compare_with_rebuilt(here: Scene, it: str, empty: Engine) -> None:
    """The catalogue's rows, and those made again from files alone in an empty database."""
    files = rebuild.read(here.settings.recordings / it, keys_of(here))
    with here.session() as session:
        mine = (resolve.lost_files(session, it), told_gaps(here, it))
    with Session(empty) as session:
        assert rebuild.restore(session, files)
        spans = [(one.started_ms, one.ended_ms) for one in rows.gaps(session, it) if one.cause == rows.MISSING]
        assert (resolve.lost_files(session, it), (session.get_one(Recording, it).state, spans)) == mine
        session.rollback()
