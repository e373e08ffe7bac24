"""Institutions in a real PostgreSQL: their tables, edits, and where a person's sight ends."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, func, select, text
from sqlalchemy.orm import Session

from core import audit, institutions
from core.audit import Filter
from core.channels import ChannelError, add_channel
from core.database import migrate, transaction
from core.institutions import InstitutionFacts
from core.problems import Message, Problem
from core.staff import accounts
from core.staff.permissions import Act, Grant, Role
from core.staff.tables import AuditEntry
from core.tables import Base, Channel, Institution
from mbashara import postgres
from mbashara.plain import UserError
from mbashara.settings import Settings
from tests.live.staff_kit import ADMIN, BY, NOW, PEPPER, added, database, everywhere, later, logged_in, member
from tests.up import Up, until


@pytest.fixture(scope="module")
def engine(mbashara_up: Up) -> Iterator[Engine]:
    with database(mbashara_up, "institution_test") as engine:
        yield engine


def test_the_migrations_make_the_tables_that_the_classes_say(session: Session) -> None:
    assert compare_metadata(MigrationContext.configure(session.connection()), Base.metadata) == []


def test_tables_of_a_later_program_are_left_as_they_are(engine: Engine, mbashara_up: Up) -> None:
    """And said to be, in one line: after an upgrade that was taken back, say."""
    settings = Settings(data=mbashara_up.data, database_url=mbashara_up.database_url("institution_test"))
    step = text("update alembic_version set version_num = :step")
    with transaction(engine) as session:
        ours = session.scalar(text("select version_num from alembic_version"))
        session.execute(step, {"step": "9999"})
    with pytest.raises(UserError, match=r"a later program's: its tables are at step 9999, .* up to 00"):
        postgres.ensure_tables(settings, engine)
    with transaction(engine) as session:
        session.execute(step, {"step": ours})
    migrate(engine)


def test_an_institution_known_by_its_names_alone_is_valid(session: Session) -> None:
    add_channel(session, "ikulu", name_sw="Ikulu", name_en="State House", pepper=PEPPER, now=NOW)
    owner = institutions.find(session, "ega")
    assert owner is not None
    session.refresh(owner)
    assert institutions.check(institutions.facts_of(owner)) == ()
    assert (owner.kind, owner.acronym, owner.site_origins) == ("other", "", [])


def test_what_a_person_sees_ends_at_the_institution(session: Session) -> None:
    bunge, ikulu = added(session, "bunge"), added(session, "ikulu")
    for owner in ("bunge", "ikulu"):
        add_channel(session, owner, name_sw=owner, name_en=owner, pepper=PEPPER, now=NOW, institution=owner)
    member(session, "asha@bunge.go.tz", Grant(Role.ADMIN, bunge.id))
    member(session, "juma@ikulu.go.tz", Grant(Role.EDITOR, ikulu.id))
    member(session, "neema@ega.go.tz", ADMIN)
    _, asha = logged_in(session, later(), "asha@bunge.go.tz")
    visible = institutions.visible_institutions(asha.memberships)
    assert [one.slug for one in institutions.list_institutions(session, visible)] == ["bunge"]
    assert session.scalars(select(Channel.slug).where(visible.where(Channel.institution_id))).all() == ["bunge"]
    assert [one.email for one in accounts.list_staff(session, visible)] == ["asha@bunge.go.tz"]
    seen = audit.list_entries(session, institutions.visible_institutions(asha.memberships, Act.AUDIT_READ))
    assert {entry.institution_id for entry in seen} == {bunge.id}
    asked = audit.list_entries(session, visible, Filter(institution_id=ikulu.id))
    assert asked == [], "asking for another's does not help"
    assert len(institutions.list_institutions(session, everywhere())) >= 2


def test_institutions_are_edited_with_before_and_after(session: Session) -> None:
    tamisemi = added(session, "tamisemi", kind="ministry")
    dodoma = added(session, "dodoma", kind="regional_secretariat", region="Dodoma", parent_id=tamisemi.id)
    changed = replace(institutions.facts_of(dodoma), acronym="RS", site_origins=("https://Dodoma.go.tz/",))
    assert institutions.edit(session, dodoma, changed, by=BY, now=NOW) is dodoma
    newest = audit.list_entries(session, everywhere(), limit=1)[0]
    assert (newest.act, newest.institution_id) == ("institution.edit", dodoma.id)
    assert newest.before == {"acronym": "", "site_origins": []}
    assert newest.after == {"acronym": "RS", "site_origins": ["https://dodoma.go.tz"]}
    institutions.edit(session, dodoma, changed, by=BY, now=NOW)
    assert audit.list_entries(session, everywhere(), limit=1)[0].id == newest.id, "nothing changed, nothing to tell"
    assert [one.slug for one in institutions.children(session, tamisemi.id)] == ["dodoma"]


def test_institutions_are_refused_with_what_is_wrong(session: Session) -> None:
    top = added(session, "top")
    middle = added(session, "middle", parent_id=top.id)
    bottom = added(session, "bottom", parent_id=middle.id)
    before = session.scalar(select(func.count()).select_from(AuditEntry))
    again = InstitutionFacts("top", "x", "x", parent_id=10**6)
    assert institutions.add(session, again, by=BY, now=NOW) == (
        Problem("slug", Message.SLUG_TAKEN),
        Problem("parent_id", Message.PARENT),
    )
    for parent in (top, middle, bottom):
        looped = InstitutionFacts("top", "Juu", "Top", parent_id=parent.id)
        assert institutions.edit(session, top, looped, by=BY, now=NOW) == (Problem("parent_id", Message.PARENT_LOOP),)
    assert session.scalar(select(func.count()).select_from(AuditEntry)) == before


@pytest.mark.parametrize("what", ["institution", "channel"])
def test_of_two_who_want_a_name_at_once_the_second_is_told(engine: Engine, what: str) -> None:
    """The first has not committed when the second looks: only the database can tell."""
    slug = f"mara-moja-{what}"
    with ThreadPoolExecutor() as pool, Session(engine) as first:
        assert _takes(first, what, slug)
        second = pool.submit(_takes_alone, engine, what, slug)
        until(lambda: _someone_waits(engine), "the second did not wait for the first")
        first.commit()
        assert second.result(60) is False


def _takes_alone(engine: Engine, what: str, slug: str) -> bool:
    with Session(engine) as session, session.begin():
        return _takes(session, what, slug)


def _takes(session: Session, what: str, slug: str) -> bool:
    if what == "institution":
        facts = InstitutionFacts(slug, "Mara moja", "At once")
        return isinstance(institutions.add(session, facts, by=BY, now=NOW), Institution)
    try:
        add_channel(session, slug, name_sw="Mara moja", name_en="At once", pepper=PEPPER, now=NOW)
    except ChannelError:
        return False
    return True


def _someone_waits(engine: Engine) -> bool:
    with Session(engine) as session:
        return bool(session.scalar(text("select count(*) from pg_locks where not granted")))
