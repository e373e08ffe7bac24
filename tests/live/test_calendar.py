"""The calendar's pages on a real database: the right day, the right institution, one stretch of the index."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import text

from core.broadcasts import calendar
from core.broadcasts import queries as broadcasts
from core.broadcasts.calendar import Month
from core.broadcasts.queries import Outline
from core.channels import find_channel
from core.database import transaction
from core.staff.permissions import Scope
from core.web.dates import EAST_AFRICA_TIME
from tests.live.pages_kit import ROOT, Pages, Tenant
from tests.live.staff_kit import NOW

EVERYWHERE = Scope(True, frozenset())


def plan(pages: Pages, tenant: Tenant, title: str, starts: datetime, state: str = "scheduled") -> str:
    with transaction(pages.engine) as session:
        channel = find_channel(session, tenant.channel)
        assert channel is not None
        chance = title.encode().ljust(10)[:10]
        made = broadcasts.schedule(
            session, channel, Outline(title, title, starts), actor="x", now=NOW, randomness=chance
        )
        made.state = state
        return made.id


def test_a_month_by_days_of_tanzania(pages: Pages) -> None:
    a, b = pages.world.a, pages.world.b
    plan(pages, a, "Usiku", datetime(2026, 11, 30, 20, 59, tzinfo=UTC))
    plan(pages, a, "Desemba", datetime(2026, 11, 30, 21, 0, tzinfo=UTC), "cancelled")
    plan(pages, b, "Nyingine", datetime(2026, 11, 30, 20, 0, tzinfo=UTC))
    engineer = pages.signed_in(a.engineer)
    november = engineer.get("/sw/console/calendar").text
    assert "Usiku" in november and "Desemba</a>" not in november and "Nyingine" not in november
    assert "saa 5:59 usiku (23:59)" in november and "Novemba 2026" in november
    assert 'href="/sw/console/calendar?month=2026-10"' in november
    december = engineer.get("/en/console/calendar", params={"month": "2026-12"}).text
    assert "Desemba</a>" in december and "00:00" in december and "Cancelled" in december
    assert 'href="/en/console/calendar/new?day=2026-12-31"' in december
    assert 'href="/en/console/calendar/new?day=2026-11-23"' not in november, "not of a day that is over"
    root = pages.signed_in(ROOT)
    assert "Nyingine" in root.get("/sw/console/calendar").text
    of_a = root.get("/sw/console/calendar", params={"institution": str(a.institution_id)}).text
    assert "Usiku" in of_a and "Nyingine" not in of_a


def test_what_is_not_to_be_asked(pages: Pages) -> None:
    engineer = pages.signed_in(pages.world.a.engineer)
    for asked in ({"month": "2026-13"}, {"month": "9999-01"}, {"institution": str(pages.world.b.institution_id)}):
        for path in ("calendar", "calendar.ics"):
            assert engineer.get(f"/sw/console/{path}", params=asked).status_code == 404, asked


def test_a_new_broadcast_begins_from_its_day(pages: Pages) -> None:
    a, engineer = pages.world.a, pages.signed_in(pages.world.a.engineer)
    led = engineer.get("/sw/console/calendar/new?day=2026-12-09")
    assert led.headers["location"] == f"/sw/console/channels/{a.channel}/broadcasts/new?day=2026-12-09"
    assert 'value="2026-12-09T10:00"' in engineer.get(led.headers["location"]).text
    which = pages.signed_in(ROOT).get("/sw/console/calendar/new?day=2026-12-09").text
    assert "Jumatano, 9 Desemba" in which
    assert f'href="/sw/console/channels/{a.channel}/broadcasts/new?day=2026-12-09"' in which


def test_the_file_for_calendar_programs(pages: Pages) -> None:
    a = pages.world.a
    identity = plan(pages, a, "Usiku", datetime(2026, 11, 30, 20, 59, tzinfo=UTC))
    answer = pages.signed_in(a.engineer).get("/en/console/calendar.ics", params={"month": "2026-11"})
    assert answer.headers["content-disposition"] == 'attachment; filename="mbashara-2026-11.ics"'
    assert f"UID:{identity}@mbashara\r\n" in answer.text and pages.world.b.broadcast_id not in answer.text


def test_a_month_is_one_stretch_of_the_index(pages: Pages) -> None:
    for number in range(3):
        plan(pages, pages.world.a, f"k{number}", NOW + timedelta(days=40 * number))
    asked = calendar.query(EVERYWHERE, Month.of(NOW.date()), EAST_AFRICA_TIME).compile(
        pages.engine, compile_kwargs={"literal_binds": True}
    )
    with transaction(pages.engine) as session:
        session.execute(text("set local enable_seqscan = off"))
        shown = "\n".join(session.scalars(text(f"explain {asked}".replace(":", "\\:"))))
    assert "Index Scan using broadcast_begins_at" in shown and "Index Cond" in shown, shown
