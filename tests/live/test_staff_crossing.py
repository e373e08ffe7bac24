"""Attacks across institutions: every staff route with the ids of others, by those who may do much elsewhere."""

import re

import pytest

from tests.live.crossing_kit import CHANGES, addresses, fields_of_b, rows_of_b, session_of, with_parameters
from tests.live.pages_kit import MOVING, ROOT, Pages, outline


def test_crossing_tenants_on_every_route(pages: Pages) -> None:
    victim, attacker = pages.signed_in(pages.world.b.admin), pages.signed_in(pages.world.a.admin)
    session_id = session_of(pages, pages.world.b.admin_id)
    before, tried = rows_of_b(pages), 0
    for route in with_parameters(pages):
        for address in addresses(route, pages, session_id):
            is_link = "/forged" in address
            if "GET" in (route.methods or ()):
                assert attacker.get(address).status_code in ((200,) if is_link else (403, 404)), address
            if "POST" in (route.methods or ()) and not is_link:
                assert attacker.post(address, fields_of_b(pages)).status_code in (403, 404), address
            tried += 1
    assert tried > 80
    assert rows_of_b(pages) == before
    assert victim.get("/sw/staff/account").status_code == 200


def test_crossing_addresses_are_real_ones(pages: Pages) -> None:
    """Else the test above would find nothing: to B's admin, B's are open."""
    owner = pages.signed_in(pages.world.b.admin)
    session_id = session_of(pages, pages.world.b.admin_id)
    for route in with_parameters(pages):
        if "GET" in (route.methods or ()) and "series" not in route.path:  # those need a feed
            statuses = {owner.get(address).status_code for address in addresses(route, pages, session_id)}
            reached = {503} if "previews" in route.path else {200}  # no media process runs here, so it is asked in vain
            assert reached & statuses, route.path


def test_crossing_tenants_by_fields_of_forms(pages: Pages) -> None:
    attacker = pages.signed_in(pages.world.a.admin)
    before = rows_of_b(pages)
    for route in pages.posted:
        if "{" not in route.path and not route.path.endswith("/logout"):
            answer = attacker.post(route.path, fields_of_b(pages))
            assert answer.status_code < 500, route.path
    assert rows_of_b(pages) == before


def test_crossing_in_lists(pages: Pages) -> None:
    """Nothing of B's is on any page of A's admin."""
    attacker = pages.signed_in(pages.world.a.admin)
    own = [route for route in pages.routes if route.path.startswith(("/sw/staff", "/sw/console"))]
    shown = [route.path for route in own if "{" not in route.path and "GET" in (route.methods or ())]
    assert len(shown) > 10
    for path in shown:
        assert "beta" not in attacker.get(path).text, path


def test_an_institution_is_not_put_under_one_of_others(pages: Pages) -> None:
    a, b = pages.world.a, pages.world.b
    attacker = pages.signed_in(a.admin)
    address = f"/sw/staff/institutions/{a.institution_id}"
    for parent in (b.institution_id, 999_999):
        refused = attacker.post(address, outline(slug="alfa", parent_id=str(parent)))
        assert refused.status_code == 422 and "Chagua taasisi iliyopo" in refused.text
    assert pages.institution(a.institution_id).parent_id is None


def test_editing_keeps_a_parent_that_the_person_cannot_see(pages: Pages) -> None:
    a, b = pages.world.a, pages.world.b
    root = pages.signed_in(ROOT)
    address = f"/en/staff/institutions/{a.institution_id}"
    root.post(address, outline(slug="alfa", parent_id=str(b.institution_id)))
    admin = pages.signed_in(a.admin)
    shown = admin.get(address).text
    assert re.search(rf'<option value="{b.institution_id}" selected', shown)
    assert admin.post(address, outline(slug="alfa", acronym="A", parent_id=str(b.institution_id))).status_code == 303
    assert pages.institution(a.institution_id).parent_id == b.institution_id


def test_an_engineer_does_what_engineers_do_alone(pages: Pages) -> None:
    a = pages.world.a
    engineer = pages.signed_in(a.engineer)
    before = pages.rows(*MOVING)
    for path in ("people", "people/invite", "audit", "audit.jsonl", "institutions/new"):
        assert engineer.get(f"/sw/staff/{path}").status_code in (403, 404), path
    own = {**fields_of_b(pages), "institution_id": str(a.institution_id), "parent_id": "", "slug": "alfa"}
    for path in (
        "people/invite", "institutions/new", f"institutions/{a.institution_id}", f"people/{a.admin_id}/disable",
        f"people/{a.admin_id}/withdraw", f"people/{a.engineer_id}/withdraw", f"people/{a.engineer_id}/enable",
    ):  # fmt: skip
        assert engineer.post(f"/sw/staff/{path}", own).status_code in (403, 404), path
    assert pages.rows(*MOVING) == before


def test_an_institutions_admin_does_not_climb(pages: Pages) -> None:
    """No role on the whole platform for oneself; nor power over someone who has a role elsewhere too."""
    a = pages.world.a
    admin, root = pages.signed_in(a.admin), pages.signed_in(ROOT)
    whole = {"email": a.admin, "name": "A", "role": "admin", "institution_id": "all"}
    assert admin.post("/sw/staff/people/invite", whole).status_code == 404
    root.post(
        "/sw/staff/people/invite",
        {"email": ROOT, "name": "A", "role": "editor", "institution_id": str(a.institution_id)},
    )
    before = pages.rows(*MOVING)
    for change in CHANGES:
        assert admin.post(f"/sw/staff/people/{pages.world.root_id}/{change}").status_code == 403
    withdrawn = admin.post(
        f"/sw/staff/people/{pages.world.root_id}/withdraw", {"role": "admin", "institution_id": "all"}
    )
    assert withdrawn.status_code == 404
    assert pages.rows(*MOVING) == before
    assert "Mfumo wote" not in admin.get(f"/sw/staff/people/{pages.world.root_id}").text


NUMBERS = (
    "0", "-1", "2147483647", "2147483648", "99999999999999999999", "9" * 5000, "1e3", "0x1", "١", "a", "%00",
    "' or 1=1--",
)  # fmt: skip


@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: number[:20])
def test_strange_ids_are_not_found(pages: Pages, number: str) -> None:
    root = pages.signed_in(ROOT)
    for path in ("staff/people/{}", "staff/institutions/{}", "console/broadcasts/{}", "console/channels/{}"):
        assert root.get(f"/sw/{path.format(number)}").status_code in (400, 404), path
    for path in ("staff/people/{}/disable", "staff/people/{}/withdraw", "staff/account/sessions/{}/end"):
        fields = {"role": "admin", "institution_id": "all"}
        assert root.post(f"/sw/{path.format(number)}", fields).status_code in (400, 404, 405), path
    assert root.get("/sw/staff/audit", params={"before": number}).status_code == 200


@pytest.mark.parametrize("number", ["0", "-1", "999999999", "9999999999", "9" * 5000, "a", ""])
def test_strange_ids_in_fields_change_nothing(pages: Pages, number: str) -> None:
    root = pages.signed_in(ROOT)
    before = pages.rows(*MOVING)
    fields = {"email": "neema@ega.go.tz", "name": "Neema", "role": "admin", "institution_id": number}
    assert root.post("/sw/staff/people/invite", fields).status_code in (404, 422)
    channel = {"slug": "mpya", "name_sw": "Mpya", "name_en": "New", "institution_id": number}
    assert root.post("/sw/console/channels/new", channel).status_code in (400, 404)
    assert pages.rows(*MOVING) == before


def test_other_peoples_sessions_do_not_end(pages: Pages) -> None:
    owner, other = pages.signed_in(pages.world.a.admin), pages.signed_in(pages.world.a.engineer)
    session_id = session_of(pages, pages.world.a.admin_id)
    assert other.post(f"/sw/staff/account/sessions/{session_id}/end").status_code == 404
    assert other.post("/sw/staff/account/sessions/end-others").status_code == 303
    assert owner.get("/sw/staff/account").status_code == 200
    assert owner.post(f"/sw/staff/account/sessions/{session_id}/end").status_code == 303
    assert owner.get("/sw/staff/account").status_code == 303


def test_nobody_gives_up_the_whole_platform_by_a_slip(pages: Pages) -> None:
    root, mine = pages.signed_in(ROOT), f"/sw/staff/people/{pages.world.root_id}"
    before = pages.rows(*MOVING)
    assert root.post(f"{mine}/withdraw", {"role": "admin", "institution_id": "all"}).status_code == 403
    assert f"{mine}/withdraw" not in root.get(mine).text
    assert pages.rows(*MOVING) == before
