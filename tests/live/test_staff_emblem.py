"""An institution's emblem on the pages: sent, refused in words, shown, taken away; and never by another's admin."""

from pathlib import Path

from tests.live.pages_kit import Browser, Pages, outline
from tests.unit.test_brand import picture


def send(browser: Browser, institution_id: int, data: bytes, language: str = "sw") -> tuple[int, str]:
    address = f"/{language}/staff/institutions/{institution_id}/emblem"
    answer = browser.post(address, {}, files={"emblem": ("nembo.png", data, "image/png")})
    return answer.status_code, answer.text


def test_an_emblem_is_sent_shown_and_taken_away(pages: Pages, tmp_path: Path) -> None:
    a = pages.world.a
    admin, address = pages.signed_in(a.admin), f"/sw/staff/institutions/{a.institution_id}"
    assert admin.post(address, outline(slug="alfa", brand_colour="#1e5945")).status_code == 303
    newest = pages.newest_entry()
    assert send(admin, a.institution_id, picture())[0] == 303
    name = pages.institution(a.institution_id).emblem
    assert name is not None and (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    for path in (f"/sw/live/{a.channel}", "/en/", f"/sw/console/channels/{a.channel}", address):
        shown = admin.get(path).text
        assert ("/brand/1e5945.css" in shown, f"/brand/{name}" in shown) == (True, path != "/en/"), path
        assert "style=" not in shown
    assert admin.post(f"{address}/emblem", {"remove": "1"}).status_code == 303
    assert pages.institution(a.institution_id).emblem is None
    assert pages.acts(newest) == ["institution.emblem"] * 2


def test_what_is_no_picture_changes_nothing_and_says_why(pages: Pages, tmp_path: Path) -> None:
    a = pages.world.a
    admin = pages.signed_in(a.admin)
    for data, swahili, english in (
        (b"<html><script>", "Hii si picha", "This is not a PNG"),
        (b"<svg/>", "SVG haipokelewi", "SVG can&#39;t be taken"),
        (picture()[:-20], "Picha imeharibika", "The picture is broken"),
        (b"", "Chagua picha", "Choose a picture"),
    ):
        status, said = send(admin, a.institution_id, data)
        assert (status, swahili in said) == (422, True), swahili
        assert english in send(admin, a.institution_id, data, "en")[1]
    assert pages.institution(a.institution_id).emblem is None
    assert list(tmp_path.glob("*.png")) == []


def test_a_pale_colour_is_refused_with_one_that_would_do(pages: Pages) -> None:
    a = pages.world.a
    refused = pages.signed_in(a.admin).post(
        f"/sw/staff/institutions/{a.institution_id}", outline(slug="alfa", brand_colour="#FCD116")
    )
    assert refused.status_code == 422 and "Yanasomeka juu ya #8a720c" in refused.text


def test_crossing_with_an_emblem(pages: Pages) -> None:
    """Neither another's admin nor the institution's own engineer."""
    a, b = pages.world.a, pages.world.b
    assert send(pages.signed_in(a.admin), b.institution_id, picture())[0] == 404
    assert send(pages.signed_in(b.engineer), b.institution_id, picture())[0] == 403
    assert pages.institution(b.institution_id).emblem is None
