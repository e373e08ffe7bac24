"""Screens of the audit log: reading it page by page, and its export."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from functools import partial
from http import HTTPStatus

from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.exceptions import HTTPException
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute

from core import audit
from core.audit import Filter
from core.database import transaction
from core.staff.permissions import Act, Scope, scope
from core.staff.tables import AuditEntry, UserAccount
from core.tables import Channel, Institution
from core.web.site import Page, Site, View
from core.web.staff import Office
from core.web.staff.acts import WORDS
from core.web.staff.audit_words import FIELDS, SUBJECTS, VALUES, act_of, parts

ROWS = 50


def routes(site: Site, office: Office) -> list[BaseRoute]:
    return [
        *site.staff_pages("/staff/audit", partial(_list, office)),
        *site.staff_pages("/staff/audit.jsonl", partial(_export, office)),
    ]


def _list(office: Office, view: View) -> Page:
    place = _readable(view)
    asked = view.request.query_params
    wanted = Filter(act=asked.get("act") or None, subject=asked.get("subject") or None)
    with transaction(office.engine) as session:
        entries = audit.list_entries(session, place, wanted, before_id=_number(asked.get("before", "")), limit=ROWS + 1)
        names = _names(session, [entry.subject for entry in entries], view)
        channels = _channels(session, entries)
        broken = audit.verify(session) if "check" in asked and place.everything else None
    facts = {
        "entries": entries[:ROWS],
        "older_than": entries[ROWS - 1].id if len(entries) > ROWS else None,
        "asked": wanted,
        "is_checked": "check" in asked and place.everything,
        "broken": broken,
        "moment_of": moment_of,
        "words": WORDS,
        "subjects": SUBJECTS,
        "fields": FIELDS,
        "values": VALUES,
        "parts": parts,
        "act_of": act_of,
        "names": names,
        "channels": channels,
    }
    return Page("core/staff/audit.html", facts)


def _names(session: Session, subjects: Iterable[str], view: View) -> Mapping[str, str]:
    """What people call those whom the log knows by a number."""
    ids = {subject: int(which) for subject in subjects for kind, which in [parts(subject)] if which.isdecimal()}
    people = select(UserAccount.id, UserAccount.name).where(UserAccount.id.in_(_of("user", ids)))
    places = select(Institution).where(Institution.id.in_(_of("institution", ids)))
    found = {f"user:{row.id}": row.name for row in session.execute(people)}
    told = {f"institution:{one.id}": view.pick(one.name_sw, one.name_en) for one in session.scalars(places)}
    return found | told


def _channels(session: Session, entries: Iterable[AuditEntry]) -> Mapping[int, str]:
    """Short names of those that values name by their numbers."""
    told = (facts for entry in entries for facts in (entry.before, entry.after) if facts)
    ids = {one for facts in told if isinstance(one := facts.get("channel_id"), int)}
    return dict(session.execute(select(Channel.id, Channel.slug).where(Channel.id.in_(ids))).all())


def _of(kind: str, ids: Mapping[str, int]) -> set[int]:
    return {number for subject, number in ids.items() if parts(subject)[0] == kind}


def _export(office: Office, view: View) -> Response:
    """JSON Lines, streamed: the log of years does not fit into memory."""
    place = _readable(view)

    def stream() -> Iterator[str]:
        with transaction(office.engine) as session:
            yield from audit.export(session, place)

    headers = {"content-disposition": 'attachment; filename="audit.jsonl"', "cache-control": "no-store"}
    return StreamingResponse(stream(), media_type="application/jsonl", headers=headers)


def _readable(view: View) -> Scope:
    if not view.may_anywhere(Act.AUDIT_READ):
        raise HTTPException(HTTPStatus.FORBIDDEN)
    return scope(view.staff.memberships, Act.AUDIT_READ)


def moment_of(text: str) -> datetime | None:
    """A moment as `audit` writes one: with its offset from UTC; None for any other text."""
    if len(text) < len("2026-11-24T09:00:00+00:00") or text[10] != "T":
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return at if at.tzinfo is not None else None


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 18 else None
