"""Dry runs at the console, on a real database: who may, when not, and that nobody else finds them."""

from datetime import timedelta

import pytest
from sqlalchemy import select

from core.broadcasts import acts, dry_runs
from core.broadcasts import queries as broadcasts
from core.broadcasts.dry_runs import Reason, Step
from core.broadcasts.lifecycle import Act, State
from core.broadcasts.plan import read_plans
from core.channels import find_channel
from core.database import transaction
from core.tables import Broadcast, DryRun
from core.workers import channel_worker
from tests.live.pages_kit import ROOT, Browser, Pages
from tests.live.staff_kit import NOW


def begin(browser: Browser, slug: str, **fields: str) -> int:
    return int(browser.post(f"/en/console/channels/{slug}/dry-run", fields).status_code)


def the_run(pages: Pages) -> DryRun:
    with transaction(pages.engine) as session:
        return session.scalars(select(DryRun).order_by(DryRun.began_at.desc())).first()  # type: ignore[return-value]


def set_state(pages: Pages, broadcast_id: str, state: State, starts_in: timedelta = timedelta(hours=2)) -> None:
    with transaction(pages.engine) as session:
        found = session.get_one(Broadcast, broadcast_id)
        found.state, found.planned_start_at = state, NOW + starts_in


def test_a_dry_run_is_begun_watched_and_stopped(pages: Pages) -> None:
    a, engineer = pages.world.a, pages.signed_in(pages.world.a.engineer)
    newest, page = pages.newest_entry(), f"/en/console/channels/{a.channel}/dry-run"
    assert begin(engineer, a.channel, broadcast=a.broadcast_id) == 303
    run = the_run(pages)
    assert (run.state, run.planned_id) == ("wanted", a.broadcast_id)
    assert "It begins in a moment." in engineer.get(page).text
    with transaction(pages.engine) as session:
        path = dry_runs.new_path(a.channel, 4, [bytes([n]) * 20 for n in range(99)])
        assert channel_worker(path, 4) == channel_worker(a.channel, 4)
        assert dry_runs.is_test_path(path) and not dry_runs.is_test_path("jaribio-la-chaneli")
        assert dry_runs.start(session, run.broadcast_id, path, "hash", NOW) == timedelta(minutes=2)
        assert dry_runs.start(session, run.broadcast_id, "other", "h2", NOW) is None, "once"
        assert [one.path for one in dry_runs.read_running(session)] == [path]
        found = {Step.FEED: {"is_good": True, "kbits": 2500, "fps": 25, "errors": 0}}
        dry_runs.keep_found(session, run.broadcast_id, found, NOW)
    shown = engineer.get(page).text
    assert "Ingest: picture and sound arrive: seen good." in shown and "2500 kbit/s" in shown
    assert "Recording: it is written: not seen yet." in shown
    pages.clock.forward(minutes=1)
    shown = engineer.get(page.replace("/en/", "/sw/")).text
    assert "Rekodi: inaandikwa: haikuonekana sawa." in shown and "Angalia nafasi ya diski" in shown
    assert engineer.post(f"{page}/stop").status_code == 303
    with transaction(pages.engine) as session:
        assert dry_runs.read_running(session) == []
        assert not dry_runs.end(session, run.broadcast_id, Reason.TIME, NOW), "once"
    assert "Ended: it was stopped." in engineer.get(page).text
    assert pages.acts(newest) == ["broadcast.dry_run", "broadcast.dry_run_stop"]


def test_nobody_else_finds_it_and_engineers_come_first(pages: Pages) -> None:
    a, engineer = pages.world.a, pages.signed_in(pages.world.a.engineer)
    begin(engineer, a.channel)
    test = the_run(pages).broadcast_id
    with transaction(pages.engine) as session:
        session.get_one(Broadcast, test).started_at = NOW  # as if on the air
    for path in ("/", "/console", f"/console/channels/{a.channel}", "/console/calendar"):
        assert "Dry run: " not in engineer.get(f"/en{path}").text and test not in engineer.get(f"/en{path}").text
    assert engineer.get(f"/en/console/broadcasts/{test}").status_code == 404
    assert engineer.post(f"/en/console/broadcasts/{test}/acts/end", {"expected": "live"}).status_code == 404
    with transaction(pages.engine) as session:
        assert read_plans(session) == {}
        assert all(not one.is_test for one in broadcasts.list_broadcasts(session).broadcasts)
        acts.act(
            session, a.institution_id, a.broadcast_id, Act.GO_LIVE, NOW, State.SCHEDULED, actor="x",
            randomness=bytes(10),
        )  # fmt: skip


@pytest.mark.parametrize(
    ("state", "starts_in_min", "status"),
    [
        (State.SCHEDULED, 6, 303), (State.SCHEDULED, 5, 409), (State.SCHEDULED, -59, 409), (State.SCHEDULED, -61, 303),
        (State.REHEARSAL, 60, 409), (State.LIVE, 60, 409), (State.ENDED, 3, 303), (State.CANCELLED, 3, 303),
    ],
)  # fmt: skip
def test_a_channel_with_better_to_do_is_left_alone(pages: Pages, state: State, starts_in_min: int, status: int) -> None:
    a = pages.world.a
    set_state(pages, a.broadcast_id, state, timedelta(minutes=starts_in_min))
    before = pages.rows("staff_session", "audit_entry")
    assert begin(pages.signed_in(a.engineer), a.channel) == status
    assert (pages.rows("staff_session", "audit_entry") == before) == (status == 409)


def test_one_a_channel_two_on_the_machine_and_none_with_a_feed(pages: Pages) -> None:
    a, b, root = pages.world.a, pages.world.b, pages.signed_in(ROOT)
    form = {"slug": "gama-1", "name_sw": "G", "name_en": "G", "institution_id": str(a.institution_id)}
    root.post("/en/console/channels/new", form)
    assert [begin(root, slug) for slug in (a.channel, a.channel, b.channel, "gama-1")] == [303, 409, 303, 409]
    assert begin(pages.signed_in(a.engineer), b.channel) == 404
    with transaction(pages.engine) as session:
        channel = find_channel(session, "gama-1")
        assert channel is not None
        limits = dry_runs.Limits(9, timedelta(minutes=1))
        with pytest.raises(dry_runs.DryRunRefused, match="an encoder sends"):
            dry_runs.begin(
                session, channel, None, limits, has_feed=True, actor="x", now=NOW, randomness=bytes(10)
            )  # fmt: skip
