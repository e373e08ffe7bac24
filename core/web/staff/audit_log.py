"""Screens of the audit log: reading it page by page, and its export."""

from collections.abc import Iterator
from datetime import datetime
from functools import partial
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute

from core import audit
from core.audit import Filter
from core.database import transaction
from core.staff.permissions import Act, Scope, scope
from core.web.site import Page, Site, View
from core.web.staff import Office
from core.web.staff.acts import WORDS
from core.web.staff.audit_words import FIELDS, SUBJECTS, parts

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
        "parts": parts,
    }
    return Page("core/staff/audit.html", facts)


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
