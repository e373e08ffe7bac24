"""Institutions (taasisi): checked, added, edited and found."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from enum import StrEnum

from sqlalchemy import select
from sqlalchemy.orm import Session

from core import audit
from core.audit import Actor
from core.channels import SLUG_PATTERN
from core.database import insert
from core.problems import Message, Problem, Problems
from core.staff.permissions import Act, Grant, Scope, scope
from core.tables import Institution

MAX_NAME = 200
MAX_ACRONYM = 20
MAX_ORIGINS = 20
MAX_ID = 1 << 31
MIN_CONTRAST = 4.5
"""Of white text on the brand colour (WCAG 2.2, 1.4.3)."""
ORIGIN_PATTERN = re.compile(
    r"https://(?=.{1,253}(?::|$))(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?"
    r"(?::(?P<port>[1-9][0-9]{0,4}))?"
)
"""A scheme and a host name, nothing that could end a Content-Security-Policy directive."""
COLOUR_PATTERN = re.compile(r"#[0-9a-f]{6}")
REGIONS = (
    "Arusha", "Dar es Salaam", "Dodoma", "Geita", "Iringa", "Kagera", "Kaskazini Pemba", "Kaskazini Unguja", "Katavi",
    "Kigoma", "Kilimanjaro", "Kusini Pemba", "Kusini Unguja", "Lindi", "Manyara", "Mara", "Mbeya", "Mjini Magharibi",
    "Morogoro", "Mtwara", "Mwanza", "Njombe", "Pwani", "Rukwa", "Ruvuma", "Shinyanga", "Simiyu", "Singida", "Songwe",
    "Tabora", "Tanga",
)  # fmt: skip


class Kind(StrEnum):
    MINISTRY = "ministry"
    DEPARTMENT = "department"
    AGENCY = "agency"
    REGIONAL_SECRETARIAT = "regional_secretariat"
    LOCAL_AUTHORITY = "local_authority"
    OTHER = "other"


NAMES = frozenset({"slug", "name_sw", "name_en", "acronym"})
"""What it is called by: `renamed` counts their changes."""
REGIONAL = frozenset({Kind.REGIONAL_SECRETARIAT, Kind.LOCAL_AUTHORITY})


@dataclass(frozen=True, slots=True)
class InstitutionFacts:
    """An institution as someone enters it. The names of the fields are the form's."""

    slug: str
    name_sw: str
    name_en: str
    acronym: str = ""
    kind: str = Kind.OTHER
    parent_id: int | None = None
    region: str | None = None
    site_origins: tuple[str, ...] = ()
    brand_colour: str | None = None


def clean(facts: InstitutionFacts) -> InstitutionFacts:
    """As it is stored: trimmed, origins and colour in one spelling, each origin once."""
    return replace(
        facts,
        slug=facts.slug.strip(),
        name_sw=facts.name_sw.strip(),
        name_en=facts.name_en.strip(),
        acronym=facts.acronym.strip(),
        region=facts.region or None,
        site_origins=tuple(dict.fromkeys(map(_clean_origin, facts.site_origins))),
        brand_colour=(facts.brand_colour or "").strip().lower() or None,
    )


def check(facts: InstitutionFacts) -> Problems:
    """What is wrong with cleaned facts, looked at alone."""
    rules = (
        ("slug", SLUG_PATTERN.fullmatch(facts.slug), Message.SLUG),
        ("name_sw", _is_name(facts.name_sw), Message.NAME),
        ("name_en", _is_name(facts.name_en), Message.NAME),
        ("acronym", not facts.acronym or _is_name(facts.acronym, MAX_ACRONYM), Message.ACRONYM),
        ("kind", facts.kind in set(Kind), Message.KIND),
        ("parent_id", facts.parent_id is None or 0 < facts.parent_id < MAX_ID, Message.PARENT),
        ("region", facts.region in REGIONS or (facts.region is None and facts.kind not in REGIONAL), Message.REGION),
        ("site_origins", all(map(_is_origin, facts.site_origins)), Message.ORIGIN),
        ("site_origins", len(facts.site_origins) <= MAX_ORIGINS, Message.ORIGINS_MANY),
    )
    problems = tuple(Problem(field, message) for field, is_right, message in rules if not is_right)
    return problems + _check_colour(facts.brand_colour)


def find(session: Session, slug: str) -> Institution | None:
    if not SLUG_PATTERN.fullmatch(slug):
        return None
    return session.scalar(select(Institution).where(Institution.slug == slug))


def list_institutions(session: Session, visible: Scope) -> Sequence[Institution]:
    query = select(Institution).where(visible.where(Institution.id))
    return session.scalars(query.order_by(Institution.name_sw, Institution.id)).all()


def page_of_institutions(session: Session, visible: Scope, *, after: str = "", limit: int) -> Sequence[Institution]:
    """By slug, those behind `after`."""
    query = select(Institution).where(visible.where(Institution.id), Institution.slug > after)
    return session.scalars(query.order_by(Institution.slug).limit(limit)).all()


def children(session: Session, institution_id: int) -> Sequence[Institution]:
    """Those directly under it."""
    query = select(Institution).where(Institution.parent_id == institution_id)
    return session.scalars(query.order_by(Institution.name_sw, Institution.id)).all()


def visible_institutions(memberships: Iterable[Grant], act: Act | None = None) -> Scope:
    """The tenants whose rows a person may see (or do `act` with). Put `.where(column)` in every query of theirs."""
    return scope(memberships, act)


def facts_of(institution: Institution) -> InstitutionFacts:
    values = {name: getattr(institution, name) for name in InstitutionFacts.__slots__}
    return InstitutionFacts(**{**values, "site_origins": tuple(institution.site_origins)})


def add(session: Session, facts: InstitutionFacts, *, by: Actor, now: datetime) -> Institution | Problems:
    facts = clean(facts)
    problems = check(facts) or _check_among_others(session, facts, None)
    if problems:
        return problems
    institution = Institution(**_values(facts))
    if not insert(session, institution):
        return (Problem("slug", Message.SLUG_TAKEN),)
    _log(session, institution, Act.INSTITUTION_ADD, None, _values(facts), by, now)
    return institution


def edit(
    session: Session, institution: Institution, facts: InstitutionFacts, *, by: Actor, now: datetime
) -> Institution | Problems:
    facts = clean(facts)
    problems = check(facts) or _check_among_others(session, facts, institution.id)
    if problems:
        return problems
    before, after = audit.difference(_values(facts_of(institution)), _values(facts))
    if after:
        for name, value in after.items():
            setattr(institution, name, value)
        if not NAMES.isdisjoint(after):
            institution.renamed += 1
        _log(session, institution, Act.INSTITUTION_EDIT, before, after, by, now)
    return institution


def _log(
    session: Session,
    institution: Institution,
    act: Act,
    before: audit.Facts | None,
    after: audit.Facts,
    by: Actor,
    now: datetime,
) -> None:
    subject = f"institution:{institution.id}"
    audit.append(session, by, act, subject, now=now, institution_id=institution.id, before=before, after=after)


def _values(facts: InstitutionFacts) -> dict[str, object]:
    return {**asdict(facts), "kind": str(facts.kind), "site_origins": list(facts.site_origins)}


def _check_among_others(session: Session, facts: InstitutionFacts, own_id: int | None) -> Problems:
    problems = []
    holder = find(session, facts.slug)
    if holder is not None and holder.id != own_id:
        problems.append(Problem("slug", Message.SLUG_TAKEN))
    if facts.parent_id is not None:
        if session.get(Institution, facts.parent_id) is None:
            problems.append(Problem("parent_id", Message.PARENT))
        elif own_id in _line_up(session, facts.parent_id):
            problems.append(Problem("parent_id", Message.PARENT_LOOP))
    return tuple(problems)


def _line_up(session: Session, institution_id: int) -> set[int]:
    """An institution and all that it is under."""
    line = select(Institution.id, Institution.parent_id).where(Institution.id == institution_id)
    above = line.cte(recursive=True)
    above = above.union(select(Institution.id, Institution.parent_id).join(above, Institution.id == above.c.parent_id))
    return set(session.scalars(select(above.c.id)))


def _is_name(text: str, longest: int = MAX_NAME) -> bool:
    return 0 < len(text) <= longest and text.isprintable()


def _clean_origin(text: str) -> str:
    return text.strip().lower().removesuffix("/").removesuffix(":443")


def _is_origin(text: str) -> bool:
    found = ORIGIN_PATTERN.fullmatch(text)
    return found is not None and int(found["port"] or 443) <= 65535


def _check_colour(colour: str | None) -> Problems:
    if colour is None:
        return ()
    if not COLOUR_PATTERN.fullmatch(colour):
        return (Problem("brand_colour", Message.COLOUR),)
    return () if contrast_with_white(colour) >= MIN_CONTRAST else (Problem("brand_colour", Message.COLOUR_PALE),)


def contrast_with_white(colour: str) -> float:
    """The contrast ratio of WCAG 2.2 between white and a colour written #rrggbb."""
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in channels)
    return 1.05 / (0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05)
