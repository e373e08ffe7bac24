"""The pages of retention: a rule is set, changed and ended when a person has seen what may be destroyed by it; and what
was said of that beforehand is what happens."""

import re
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from archive.recordings import policy, retention
from archive.recordings.policy_errors import NoSuchRule, PolicyError
from archive.recordings.policy_tables import RetentionPromise, RetentionRule
from archive.recordings.retention import Change, Effect
from core import channels
from core.database import transaction
from core.ids import ulid
from core.tables import Broadcast, Recording
from tests.live.pages_kit import MOVING, ROOT, Browser, Pages
from tests.live.staff_kit import BY, NOW, PEPPER

LIST, SET = "/sw/staff/retention", "/sw/staff/retention/set"
SURE = re.compile(r'name="sure" value="([^"]*)"')


def years_ago(years: float) -> datetime:
    return NOW - timedelta(days=365.25 * years)


def keep(session: Session, channel: str, number: int, ended_at: datetime, promised: datetime | None) -> str:
    """A closed recording of a channel, with what it was promised."""
    found = channels.find_channel(session, channel)
    assert found is not None
    made, owner = ulid(number, bytes(10)), found.institution_id
    air = {"started_at": ended_at - timedelta(hours=1), "ended_at": ended_at, "institution_id": owner}
    names = {"title_sw": "x", "title_en": "x", "created_by": "x"}
    session.add(Broadcast(id=made, channel_id=found.id, state="ended", air_id=made, **names, **air))
    session.flush()
    session.add(
        Recording(id=made, broadcast_id=made, state="complete", duration_ms=1, size_bytes=1, ledger_bytes=0, **air)
    )
    session.flush()
    session.add(RetentionPromise(recording_id=made, institution_id=owner, until=promised, promised_at=ended_at))
    session.flush()
    return made


@pytest.fixture
def shelf(pages: Pages) -> Iterator[tuple[Session, int, int]]:
    """Recordings of A's two channels, of many ages and promises; rolled back."""
    a = pages.world.a
    with Session(pages.engine, expire_on_commit=False) as session:
        channels.add_channel(session, "alfa-2", name_sw="x", name_en="x", pepper=PEPPER, now=NOW, institution="alfa")
        second = channels.find_channel(session, "alfa-2")
        assert second is not None
        number = 0
        for channel in (a.channel, "alfa-2"):
            for age in (0.5, 1.5, 4, 9):
                for promised in (None, years_ago(age - 1), years_ago(age - 3), years_ago(age - 20)):
                    number += 1
                    made = keep(session, channel, number, years_ago(age), promised)
                    if number % 5 == 0:
                        policy.place_hold(session, a.institution_id, made, "kesi", by=BY, now=NOW)
        yield session, a.institution_id, second.id
        session.rollback()


def kept_until(session: Session, institution_id: int) -> dict[str, policy.Kept]:
    mine = select(Recording).where(Recording.institution_id == institution_id)
    return {one.id: policy.kept(session, one) for one in session.scalars(mine)}


def test_what_is_said_of_a_change_is_what_comes_of_it(shelf: tuple[Session, int, int]) -> None:
    session, owner, second = shelf
    seen = set[int]()
    for step in (
        Change(owner, None, 2), Change(owner, None, 2, shortens=True), Change(owner, second, 10),
        Change(owner, None, 1, shortens=True), Change(owner, second, None), Change(owner, second, 1, shortens=True),
        Change(owner, second, ends=True), Change(owner, None, 30), Change(owner, None, 3),
        Change(owner, None, ends=True),
    ):  # fmt: skip
        before, soon = kept_until(session, owner), policy.years_after(NOW, 1)
        said = retention.effect(session, step, NOW)
        assert kept_until(session, owner) == before, "asking changes nothing"
        retention.carry_out(session, step, by=BY, now=NOW)
        after = kept_until(session, owner)
        due = {one for one in after if after[one].is_over(NOW) and not before[one].is_over(NOW)}
        freed = {one for one in before if before[one].is_over(NOW) and not after[one].is_over(NOW)}
        coming = {one for one in after if after[one].is_over(soon) and not before[one].is_over(soon)} - due
        held = {one for one in due if policy.standing_holds(session, one)}
        told = (said.due, said.held, said.within_year, said.kept)
        assert told == (len(due), len(held), len(coming), len(freed)), step
        seen.add(said.due)
    assert len(seen) > 3, "else it proves little"
    for wrong in (Change(owner, None, ends=True), Change(owner, None, 0), Change(owner + 1, second, 1)):
        with pytest.raises(PolicyError):
            retention.effect(session, wrong, NOW)
    with pytest.raises(NoSuchRule):
        retention.end_rule(session, owner, None, by=BY, now=NOW)


def due_of(page: str) -> int:
    found = re.search(r'data-due="(\d+)"', page)
    assert found is not None
    return int(found[1])


def sure(browser: Browser, **fields: str) -> dict[str, str]:
    """The form as the page of what comes of it has it."""
    shown = browser.post(SET, fields)
    found = SURE.search(shown.text)
    assert shown.status_code == 200 and found is not None, shown.text
    return {**fields, "sure": found[1]}


def rules(pages: Pages) -> list[tuple[int, int | None, int | None]]:
    with transaction(pages.engine) as session:
        found = session.execute(
            select(RetentionRule.institution_id, RetentionRule.channel_id, RetentionRule.years).order_by(
                RetentionRule.id
            )
        )
        return [(row.institution_id, row.channel_id, row.years) for row in found]


def test_a_rule_is_set_when_its_consequence_was_seen(pages: Pages) -> None:
    a = pages.world.a
    with transaction(pages.engine) as session:
        for number in range(3):
            keep(session, a.channel, number, years_ago(3), years_ago(2))
    admin, newest = pages.signed_in(a.admin), pages.newest_entry()
    assert "Hakuna kanuni iliyowekwa" in admin.get(LIST).text
    for wrong, words in (
        ({"of": "", "keep": "years", "years": "2"}, "Chagua taasisi au chaneli."),
        ({"of": "alfa", "keep": "", "years": "2"}, "Chagua zitunzwe kwa muda gani."),
        ({"of": "alfa", "keep": "years", "years": "miwili"}, "Taja miaka 1 hadi 1000"),
        ({"of": "alfa", "keep": "years", "years": "1001"}, "Taja miaka 1 hadi 1000"),
        ({"of": "alfa", "keep": "end"}, "Hakuna kanuni kama hiyo."),
    ):
        refused = admin.post(SET, wrong)
        assert refused.status_code == 422 and words in refused.text and "govuk-error-summary" in refused.text, wrong
    asked = {"of": "alfa", "keep": "years", "years": "2"}
    shown = admin.post(SET, asked).text
    assert due_of(shown) == 3 and "Rekodi 3 ambazo sasa ni lazima zitunzwe zitaweza kuteketezwa" in shown
    assert rules(pages) == [] and pages.acts(newest) == [], "it is not stored yet"
    seen = sure(admin, **asked)
    with transaction(pages.engine) as session:
        keep(session, a.channel, 4, years_ago(5), years_ago(4))
    again = admin.post(SET, seen)
    assert due_of(again.text) == 4 and "Kuna kilichobadilika tangu ulipoangalia" in again.text and rules(pages) == []
    assert admin.post(SET, sure(admin, **asked)).headers["location"] == f"{LIST}?told=set"
    assert rules(pages) == [(a.institution_id, None, 2)]
    assert 'value="2"' in admin.get(f"{SET}?of=alfa").text, "the form begins with the rule that stands"
    for fields in ({"of": "alfa/alfa-1", "keep": "ever"}, {"of": "alfa", "keep": "years", "years": "7"}):
        assert admin.post(SET, sure(admin, **fields)).status_code == 303
    shown = admin.get(LIST).text
    assert "miaka 7 tangu mwisho" in shown and "milele" in shown
    for of in ("alfa/alfa-1", "alfa"):
        assert admin.post(SET, sure(admin, of=of, keep="end")).headers["location"] == f"{LIST}?told=end"
    assert rules(pages) == [] and pages.acts(newest) == ["retention.edit"] * 5
    assert admin.client.post(SET, data={**asked, "sure": "x"}).status_code == 403, "no token"


def test_rules_are_set_by_those_who_may(pages: Pages) -> None:
    a, b = pages.world.a, pages.world.b
    admin, engineer, root = (pages.signed_in(one) for one in (a.admin, a.engineer, ROOT))
    fields = {"of": "beta/beta-1", "keep": "years", "years": "1"}
    seen = sure(root, **fields)
    before = pages.rows(*MOVING)
    assert [admin.post(SET, seen).status_code, admin.get(f"{SET}?of=beta").status_code] == [404, 404]
    assert [engineer.post(SET, {**seen, "of": "alfa"}).status_code, engineer.get(SET).status_code] == [403, 403]
    assert engineer.get(LIST).status_code == 200 and "beta" not in admin.get(SET).text
    assert admin.post(SET, {**fields, "of": "alfa/beta-1"}).status_code == 404
    assert admin.post(SET, {**fields, "of": "alfa", "shorten": "yes"}).status_code in (403, 404), "the platform's right"
    assert "shorten" not in admin.get(SET).text.replace("shorten=", "")
    assert pages.rows(*MOVING) == before
    with transaction(pages.engine) as session:
        session.execute(update(RetentionPromise).values(until=None))
        keep(session, b.channel, 1, years_ago(3), None)
    assert due_of(root.post(SET, fields).text) == 0, "it was promised to be kept for ever"
    shown = root.post(SET, {**fields, "shorten": "yes"}).text
    assert due_of(shown) == 1 and "Ahadi ambayo rekodi 1 ilipewa" in shown
    assert root.post(SET, sure(root, **fields, shorten="yes")).status_code == 303
    with transaction(pages.engine) as session:
        assert retention.effect(session, Change(b.institution_id, None, 1), NOW) == Effect()
