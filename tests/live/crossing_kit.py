"""What an attacker from institution A tries: every route of the staff, filled with what is B's or the platform's."""

import itertools
import re
from collections.abc import Mapping, Sequence

from sqlalchemy import ColumnElement, Row, Table, false, or_, select
from starlette.routing import Route

from core.broadcasts.rights import RIGHT_OF
from core.database import transaction
from core.staff.tables import StaffSession
from core.tables import Base
from tests.live.pages_kit import Pages, outline

CHANGES = ("disable", "enable", "second-factor")
RULES = ("hold", "release", "embargo", "publish", "ask", "withdraw", "approve", "refuse", "plan", "order")
HOOK_CHANGES = ("rotate", "off", "on", "test", "again", "delete")
PUBLIC = ("/static/", "/brand/", "/sw/live/", "/en/live/", "/sw/recordings/", "/en/recordings/")


def with_parameters(pages: Pages) -> list[Route]:
    return [route for route in pages.routes if "{" in route.path and not route.path.startswith(PUBLIC)]


def addresses(route: Route, pages: Pages, session_id: int) -> list[str]:
    """The route's, with ids of others; `session_id` is someone's. A new route with a parameter fails here until it is
    told which."""
    path = re.sub(r":\w+}", "}", route.path)
    names = re.findall(r"{(\w+)}", path)
    behind_language = re.sub(r"^/(sw|en)/", "/", path)
    known = next((ids for start, ids in _ids(pages, session_id).items() if behind_language.startswith(start)), {})
    assert set(names) <= set(known), f"{route.path}: say whose ids to cross with"
    return [
        path.format(**dict(zip(names, chosen, strict=True)))
        for chosen in itertools.product(*(known[name] for name in names))
    ]


def _ids(pages: Pages, session_id: int) -> dict[str, Mapping[str, Sequence[object]]]:
    b = pages.world.b
    return {
        "/staff/people/": {"id": [b.admin_id, b.engineer_id, pages.world.root_id], "change": CHANGES},
        "/staff/institutions/": {"id": [b.institution_id], "webhook": [b.webhook_id], "change": HOOK_CHANGES},
        "/staff/recordings/": {
            "id": [b.recording_id],
            "kind": ["statement.pdf", "statement.json"],
            "act": RULES,
            "location": ["dodoma"],
            "name": ["index.m3u8", "source/0.m4s"],
        },
        "/staff/imports/": {"id": [b.import_id], "change": ["cancel", "again", "short"]},
        "/staff/exports/": {"id": [b.export_id], "number": [1]},
        "/staff/account/sessions/": {"id": [session_id]},
        "/staff/account/sign-on/": {"id": [b.identity_id]},
        "/staff/invitation/": {"token": ["forged"]},
        "/staff/reset/": {"token": ["forged"]},
        "/console/channels/": {"slug": [b.channel], "role": ["primary", "backup"]},
        "/console/previews/": {"slug": [b.channel], "role": ["primary"], "id": ["0a1b"]},
        "/console/stills/": {"slug": [b.channel], "role": ["primary"]},
        "/console/broadcasts/": {"id": [b.broadcast_id], "act": list(RIGHT_OF)},
    }


def fields_of_b(pages: Pages) -> dict[str, str]:
    """Fields that name B's, and otherwise what each form takes."""
    b = pages.world.b
    return outline(
        slug="beta", channel=b.channel, recording=b.recording_id, format="mp4",
        institution_id=str(b.institution_id), parent_id=str(b.institution_id),
        of="beta/beta-1", keep="years", years="1", shorten="yes", sure="",
        role="admin", email=b.admin, name="Juma",
        title_sw="x", title_en="x", starts="2026-12-01T10:00", version="1", expected="scheduled",
        message_sw="x", message_en="x", url="https://beta.go.tz/", events="broadcast.live",
    )  # fmt: skip


def rows_of_b(pages: Pages) -> list[Row[object]]:
    """Every row that is B's or no institution's, of B's people and the platform's admin."""
    tables = [table for table in Base.metadata.sorted_tables if table.name not in ("audit_entry", "login_failure")]
    with transaction(pages.engine) as session:
        return [
            row
            for table in tables
            for row in session.execute(select(table).where(_is_bs(table, pages)).order_by(*table.primary_key))
        ]


def _is_bs(table: Table, pages: Pages) -> ColumnElement[bool]:
    b = pages.world.b
    people, columns = (b.admin_id, b.engineer_id, pages.world.root_id), table.c
    conditions: list[ColumnElement[bool]] = [false()]
    if table.name == "institution":
        conditions.append(columns.id == b.institution_id)
    if table.name == "user_account":
        conditions.append(columns.id.in_(people))
    if "institution_id" in columns:
        conditions += [columns.institution_id == b.institution_id, columns.institution_id.is_(None)]
    if "user_id" in columns:
        conditions.append(columns.user_id.in_(people))
    return or_(*conditions)


def session_of(pages: Pages, user_id: int) -> int:
    with transaction(pages.engine) as session:
        return session.scalars(select(StaffSession.id).where(StaffSession.user_id == user_id)).one()
