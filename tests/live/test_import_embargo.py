"""Files that come in under embargo: nothing of them is public for a moment, whoever is killed on the way."""

import json
import secrets
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from archive.imports import jobs
from archive.imports.jobs import Wanted
from archive.imports.kept import STAGING
from archive.recordings import closures, custody, policy, policy_rebuild, rebuild, rows, signing_keys
from archive.recordings.describe import describe_closed
from archive.recordings.ledger import Ledger, make_fact
from archive.recordings.policy import CLOCK, WHY_IS_LOST, Wish
from core.broadcasts import queries
from core.database import open_engine
from core.ids import ulid
from core.staff.tables import AuditEntry
from core.tables import Channel, Recording
from mbashara import DATA_VERSION, imports
from mbashara.cli import rebuild as cli_rebuild
from mbashara.notary import Notary
from mbashara.rules import Keeper
from mbashara.work import READ_BYTES, Follower
from tests.live.deaths_kit import Fate, outlived, watch_calls, watch_commits
from tests.live.policy_kit import NOW, Scene, scene
from tests.live.staff_kit import database
from tests.up import Up

UNTIL = datetime(2099, 1, 1, 7, tzinfo=UTC)
WISH = Wish("bado haijatangazwa", UNTIL)


@pytest.fixture(scope="module")
def here(mbashara_up: Up, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with database(mbashara_up, "import_embargo_test", pool_size=8) as engine:
        yield scene(engine, tmp_path_factory.mktemp("embargo"))


def made(here: Scene, wish: Wish | None, *, lines: int = 0, has_job: bool = True) -> str:
    """A recording as its maker leaves it, waiting for its place; with so many lines more in its ledger."""
    it = ulid(int(NOW.timestamp() * 1000), secrets.token_bytes(10))
    if has_job:
        with here.session() as session:
            channel = session.get_one(Channel, here.channel_id)
            jobs.add(session, it, channel, Wanted("kikao.mp4", 9, embargo=wish), by=here.asker, now=NOW)
            assert jobs.start(session, it) is not None
    folder, at_ms = here.settings.recordings / STAGING / it, NOW.timestamp() * 1000
    folder.mkdir(parents=True)
    told: dict[str, Any] = {"original": {"name": "kikao.mp4", "file": "original/file.mp4", "size": 9, "sha256": ""}}
    told |= {"title_sw": "Kikao", "title_en": "Sitting", "by": here.asker.name}
    if wish is not None:
        told["embargo"] = {"until": wish.until and wish.until.isoformat()}
    ids = {"channel_id": here.channel_id, "institution_id": here.institution_id, "channel": "bunge", "import": told}
    ledger = Ledger(folder)
    ledger.append(make_fact("started", at_ms, recording=it, broadcast=it, origin_ms=int(at_ms), **ids))
    for number in range(lines):
        ledger.append(make_fact("file", at_ms, name=f"source/{number}.m4s", size=6, sha256="0" * 64))
    ledger.append(make_fact("ended", at_ms, duration_ms=1000, size_bytes=6, reason="imported"))
    return it


def follower(here: Scene) -> Follower:
    def close(recording_id: str) -> None:
        with here.session() as session:
            rows.close(session, recording_id, 1000, 6, [])
            describe_closed(session, recording_id, NOW)

    found = Follower(here.settings.recordings, here.engine, close)
    found.load()
    return found


def round_(rules: Keeper, is_full: bool) -> None:
    """A full one as work makes it, but for its workflows."""
    rules.closed = None if is_full else rules.closed
    rules.round(False)


def is_shut(here: Scene, it: str) -> bool:
    return closures.is_shut(here.settings.public, it)


def events(here: Scene, it: str) -> list[dict[str, Any]]:
    with here.session() as session:
        return [json.loads(line) for line in custody.lines(session, it)]


def acts(here: Scene, it: str) -> list[str]:
    with here.session() as session:
        query = select(AuditEntry.act).where(AuditEntry.subject.in_((f"import:{it}", f"recording:{it}")))
        return list(session.scalars(query.order_by(AuditEntry.id)))


def test_it_is_under_embargo_as_soon_as_it_is_in_the_catalogue(here: Scene) -> None:
    it = made(here, WISH)
    rules = Keeper(here.settings, here.engine, here.stores)
    assert imports.take_place(here.settings, here.engine, it)
    for is_full in (True, False, True):
        round_(rules, is_full)
        assert is_shut(here, it), "its files are there, and nobody knows it yet"
    follower(here)._apply_some(it)
    with here.session() as session:
        placed = policy.embargo_of(session, it)
        assert placed is not None and session.get_one(Recording, it).is_embargoed
        assert (placed.reason, placed.until, placed.placed_by) == (WISH.reason, UNTIL, here.asker.user_id)
        assert placed.placed_name == here.asker.name
    (told,) = events(here, it)
    assert (told["fact"], told["agent"], told["detail"]) == ("embargo", here.asker.name, WISH.reason)
    assert acts(here, it) == ["recording.import", "recording.embargo"]
    round_(rules, False)
    page = (here.settings.public / "closed" / it).read_text()
    assert "2099-01-01 10:00:00" in page
    with here.session() as session:
        assert it not in [one.id for one in queries.list_broadcasts(session).broadcasts], "a program would tell of it"
        policy.lift_embargo(session, here.institution_id, it, "tayari", by=here.asker, now=NOW)
        assert it in [one.id for one in queries.list_broadcasts(session).broadcasts]
    round_(rules, False)
    assert not is_shut(here, it)


def test_half_of_a_long_one_is_never_in_the_catalogue(here: Scene) -> None:
    """It would look as if it were on the air, where no embargo closes it."""
    it = made(here, WISH, lines=12000)
    assert imports.take_place(here.settings, here.engine, it)
    ledger = here.settings.recordings / it / "ledger.jsonl"
    assert ledger.stat().st_size > 2 * READ_BYTES
    follower(here)._apply_some(it)
    row = here.row(it)
    assert (row.state, row.is_embargoed, row.ledger_bytes) == ("ended", True, ledger.stat().st_size)
    round_(Keeper(here.settings, here.engine, here.stores), True)
    assert is_shut(here, it)


def test_its_ledger_knows_when_all_rows_are_lost(here: Scene) -> None:
    it = made(here, Wish("bado"), has_job=False)
    closures.shut(here.settings.public, it, None)
    (here.settings.recordings / STAGING / it).rename(here.settings.recordings / it)
    round_(Keeper(here.settings, here.engine, here.stores), True)
    assert is_shut(here, it)
    follower(here)._apply_some(it)
    with here.session() as session:
        placed = policy.embargo_of(session, it)
        assert placed is not None and (placed.reason, placed.until, placed.placed_by) == (WHY_IS_LOST, None, None)


def test_one_whose_time_has_come_meanwhile_is_opened_by_the_clock(here: Scene) -> None:
    it = made(here, Wish("bado", NOW + timedelta(seconds=1)))
    rules = Keeper(here.settings, here.engine, here.stores)
    round_(rules, True)
    assert imports.take_place(here.settings, here.engine, it) and is_shut(here, it)
    follower(here)._apply_some(it)
    round_(rules, False)
    assert not is_shut(here, it) and not here.row(it).is_embargoed
    assert [(one["fact"], one["agent"]) for one in events(here, it)] == [
        ("embargo", here.asker.name), ("embargo lifted", CLOCK.name),
    ]  # fmt: skip


def test_a_rebuild_from_files_brings_it_back(here: Scene, tmp_path: Path, mbashara_up: Up) -> None:
    it = made(here, WISH)
    assert imports.take_place(here.settings, here.engine, it)
    follower(here).follow_once()
    Notary(here.settings, here.engine).sign_due()
    keys = signing_keys.public_halves(here.settings.signing_keys)
    with database(mbashara_up, "import_embargo_rebuilt") as empty:
        other = replace(here, engine=empty)
        with other.session() as session:
            assert rebuild.restore(session, rebuild.read(here.settings.recordings / it, keys))
        assert other.row(it).is_embargoed
        with other.session() as session:
            found = policy.embargo_of(session, it)
            assert found is not None and (found.reason, found.until) == (WISH.reason, UNTIL)


def test_what_was_closed_here_stays_closed_though_its_papers_know_nothing_of_it(here: Scene) -> None:
    """Rows were lost before the notary had written the embargo down; or a command that brought a package was killed."""
    it = made(here, None)
    assert imports.take_place(here.settings, here.engine, it) and not is_shut(here, it)
    follower(here)._apply_some(it)
    closures.shut(here.settings.public, it, None)
    for _ in range(2):
        with here.session() as session:
            policy_rebuild.keep_shut(session, it, here.settings.public, here.asker, NOW)
    round_(Keeper(here.settings, here.engine, here.stores), True)
    assert is_shut(here, it) and here.row(it).is_embargoed
    assert [one["fact"] for one in events(here, it)] == ["embargo"]


def test_what_is_brought_back_from_a_copy_is_closed_before_its_files_are_there(
    mbashara_up: Up, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a command that is killed behind that, too."""
    with database(mbashara_up, "embargo_copied") as engine, database(mbashara_up, "embargo_fetched") as again:
        here = scene(engine, tmp_path / "there")
        it = here.record()
        with here.session() as session:
            policy.place_embargo(session, here.institution_id, it, "bado", None, by=here.asker, now=NOW)
        here.settle()
        url = again.url.render_as_string(hide_password=False)
        settings = here.settings.model_copy(update={"database_url": url, "data": tmp_path / "new"})
        for folder in (settings.recordings, settings.public / "closed", settings.public / "gone"):
            folder.mkdir(parents=True)
        (settings.data / "VERSION").write_text(f"{DATA_VERSION}\n")
        place = here.settings.data / "arusha"
        settings.locations.write_text(f'[[location]]\nname = "arusha"\nkind = "folder"\npath = "{place}"\n')
        trusted = dict.fromkeys(signing_keys.public_halves(here.settings.signing_keys))
        with monkeypatch.context() as patch:
            patch.setattr(cli_rebuild, "_restore", lambda *_: False)
            assert cli_rebuild._rebuild(settings, Namespace(location="arusha"), trusted) == 0
        assert (settings.recordings / it).exists() and is_shut(replace(here, settings=settings), it)
        assert cli_rebuild._rebuild(settings, Namespace(location=None), trusted) == 0
        fetched = replace(here, engine=again, settings=settings)
        assert is_shut(fetched, it) and fetched.row(it).is_embargoed
        assert [one["fact"] for one in events(fetched, it)].count("embargo") == 1


class Watchful(Fate):
    """Looks before and behind each act, too."""

    def __init__(self, here: Scene, it: str, at: int, log: Path) -> None:
        super().__init__(at, log)
        self.here, self.it = here, it

    @contextmanager
    def act(self, what: str) -> Iterator[None]:
        assert not is_open(self.here, self.it), f"open before {what}"
        with super().act(what):
            yield


def is_open(here: Scene, it: str) -> bool:
    return (here.settings.recordings / it).exists() and not is_shut(here, it)


def brought(here: Scene, it: str, at: int, log: Path) -> bool:
    """What work does of it, in a process that dies behind its `at`-th act; whether it came to its end before."""

    def bring() -> None:
        fate = Watchful(here, it, at, log)
        mine = replace(here, engine=open_engine(here.engine.url.render_as_string(hide_password=False)))
        watch_commits(fate)
        watch_calls(closures, "_write", fate)
        watch_calls(imports, "sync_file_system", fate)
        watch_calls(Path, "rename", fate)
        rules = Keeper(mine.settings, mine.engine, mine.stores)
        if at == 0:  # what work does first where another was killed
            round_(rules, True)
        assert imports.take_place(mine.settings, mine.engine, it)
        round_(rules, True)
        follower(mine).follow_once()
        round_(rules, True)
        assert not is_open(here, it)

    return outlived(bring)


def test_nothing_of_it_is_open_wherever_work_is_killed(here: Scene, tmp_path: Path) -> None:
    died = list[str]()
    for at in range(1, 100):
        it, log = made(here, WISH), tmp_path / f"{at}"
        if brought(here, it, at, log):
            break
        died += log.read_text().splitlines()[-1:]
        assert not is_open(here, it), died
        assert brought(here, it, 0, tmp_path / f"{at}-again")
        assert is_shut(here, it) and here.row(it).is_embargoed
        assert [one["fact"] for one in events(here, it)] == [
            "embargo", "ingestion", "described", "policy assignment",
        ], died  # fmt: skip
        assert acts(here, it) == ["recording.import", "recording.embargo"], died
        with here.session() as session:
            policy.lift_embargo(session, here.institution_id, it, "tayari", by=here.asker, now=NOW)
    assert {"rename", "_write", "sync_file_system"} <= set(died) and len(died) > 6, died
