"""Institutions: listed, added, changed."""

from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field
from sqlalchemy.orm import Session
from starlette.responses import Response

from core import institutions
from core.database import transaction
from core.institutions import MAX_ACRONYM, MAX_ORIGINS, InstitutionFacts, Kind
from core.problems import Message
from core.staff.permissions import Act
from core.staff.tokens import Read
from core.tables import Institution
from mbashara.api.answers import (
    AfterSlug,
    Done,
    IdempotencyKey,
    IfMatch,
    IfNoneMatch,
    Limit,
    PageOf,
    check_unchanged,
    page,
    read,
    write,
)
from mbashara.api.caller import Caller, holding
from mbashara.api.fields import Changes, Name, RowId, RowPath, Sent, Slug
from mbashara.api.problems import Kind as Problem
from mbashara.api.problems import Refused, documented, invalid, not_right

router = APIRouter(tags=["institutions"])
Reader = Annotated[Caller, Depends(holding(Read.INSTITUTION))]
Adder = Annotated[Caller, Depends(holding(Act.INSTITUTION_ADD))]
Editor = Annotated[Caller, Depends(holding(Act.INSTITUTION_EDIT))]
Acronym = Annotated[str, Field(max_length=MAX_ACRONYM)]
Origins = Annotated[list[Annotated[str, Field(max_length=300)]], Field(max_length=MAX_ORIGINS)]


class InstitutionShown(BaseModel):
    id: int
    slug: str
    name_sw: str
    name_en: str
    acronym: str
    kind: Kind
    parent_id: int | None
    region: str | None
    site_origins: list[str]
    brand_colour: str | None


class NewInstitution(Sent):
    slug: Slug
    name_sw: Name
    name_en: Name
    acronym: Acronym = ""
    kind: Kind = Kind.OTHER
    parent_id: RowId | None = None
    region: Annotated[str, Field(max_length=40)] | None = None
    site_origins: Origins = Field(default_factory=list)
    brand_colour: Annotated[str, Field(max_length=7)] | None = None


class InstitutionChanges(Changes):
    slug: Slug = ""
    name_sw: Name = ""
    name_en: Name = ""
    acronym: Acronym = ""
    kind: Kind = Kind.OTHER
    parent_id: RowId | None = None
    region: Annotated[str, Field(max_length=40)] | None = None
    site_origins: Origins = Field(default_factory=list)
    brand_colour: Annotated[str, Field(max_length=7)] | None = None


@router.get("/institutions", response_model=PageOf[InstitutionShown], responses=documented())
def list_institutions(
    caller: Reader, limit: Limit = 50, after: AfterSlug = None, if_none_match: IfNoneMatch = None
) -> Response:
    with transaction(caller.api.engine) as session:
        found = institutions.page_of_institutions(session, caller.bearer.place, after=after or "", limit=limit + 1)
    return read(caller, page(caller.request, found, limit, _shown, lambda one: one.slug))


@router.post("/institutions", status_code=201, response_model=InstitutionShown, responses=documented(409))
def add_institution(caller: Adder, sent: NewInstitution, key: IdempotencyKey = None) -> Response:
    """A token of one institution can't make others."""
    if not caller.bearer.place.everything:
        raise Refused(Problem.SCOPE)

    def work(session: Session) -> Done:
        made = institutions.add(session, _facts(sent.model_dump()), by=caller.actor, now=caller.now)
        if not isinstance(made, Institution):
            raise not_right(made)
        return Done(_shown(made), 201, f"/api/v1/institutions/{made.id}")

    return write(caller, work)


@router.get("/institutions/{id}", response_model=InstitutionShown, responses=documented(404))
def get_institution(caller: Reader, id: RowPath, if_none_match: IfNoneMatch = None) -> Response:
    with transaction(caller.api.engine) as session:
        return read(caller, _shown(_find(session, caller, id)))


@router.patch("/institutions/{id}", response_model=InstitutionShown, responses=documented(404, 409, 412, 428))
def change_institution(caller: Editor, id: RowPath, sent: InstitutionChanges, if_match: IfMatch = None) -> Response:
    def work(session: Session) -> Done:
        institution = _find(session, caller, id)
        session.refresh(institution, with_for_update=True)
        check_unchanged(caller, _shown(institution))
        facts = replace(institutions.facts_of(institution), **_facts_sent(sent.sent()))
        _check_parent(caller, institution, facts)
        edited = institutions.edit(session, institution, facts, by=caller.actor, now=caller.now)
        if not isinstance(edited, Institution):
            raise not_right(edited)
        return Done(_shown(edited))

    return write(caller, work)


def _find(session: Session, caller: Caller, institution_id: int) -> Institution:
    caller.see(institution_id)
    found = session.get(Institution, institution_id)
    if found is None:
        raise Refused(Problem.NOT_FOUND)
    return found


def _check_parent(caller: Caller, institution: Institution, facts: InstitutionFacts) -> None:
    """It may only be put under one that the token can see."""
    moved = facts.parent_id not in (None, institution.parent_id)
    if moved and not caller.bearer.place.covers(facts.parent_id):
        raise invalid(("parent_id", Message.PARENT))


def _facts(values: dict[str, Any]) -> InstitutionFacts:
    return InstitutionFacts(**_facts_sent(values))


def _facts_sent(values: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


def _shown(institution: Institution) -> InstitutionShown:
    return InstitutionShown.model_validate(institution, from_attributes=True)
