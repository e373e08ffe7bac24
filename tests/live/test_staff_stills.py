"""Pictures of feeds: for those who may see the channel, and nobody else."""

from tests.live.pages_kit import Pages


def test_a_held_feeds_picture_is_its_institutions(pages: Pages) -> None:
    a, b = pages.world.a, pages.world.b
    address = f"/console/stills/{b.channel}/primary.jpg"
    assert pages.browser().get(address).status_code == 403
    assert pages.signed_in(a.engineer).get(address).status_code == 404
    own = pages.signed_in(b.engineer)
    shown = own.get(address)
    assert (shown.status_code, shown.headers["x-accel-redirect"]) == (200, f"/_stills/{b.channel}.primary.jpg")
    assert shown.headers["cache-control"].startswith("private")
    assert own.get(address.replace("primary", "backup")).status_code == 404, "no such feed"
    own.post("/sw/staff/logout")
    assert own.get(address).status_code == 403
