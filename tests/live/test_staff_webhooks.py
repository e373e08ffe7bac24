"""The pages of webhooks: the secret shown once, each change with its entry, and nothing across institutions."""

import re

from core.database import transaction
from core.webhooks.outbox import Outcome, record
from core.webhooks.tables import WebhookDelivery, WebhookEndpoint
from tests.live.pages_kit import Browser, Pages
from tests.live.staff_kit import NOW

SECRET = re.compile(r"whsec_[A-Za-z0-9+/]{43}=")
URL = "https://ega.go.tz/taarifa?kwa=ikulu"


def added(browser: Browser, list_path: str) -> str:
    """Its path."""
    made = browser.post(f"{list_path}/new", {"url": URL, "events": "broadcast.live"})
    found = re.search(rf"{list_path}/\d+", made.text)
    assert found is not None, made.text
    return found[0]


def list_path(pages: Pages) -> str:
    return f"/sw/staff/institutions/{pages.world.a.institution_id}/webhooks"


def test_a_webhooks_life_on_its_pages(pages: Pages) -> None:
    admin, hooks = pages.signed_in(pages.world.a.admin), list_path(pages)
    assert hooks in admin.get(hooks.removesuffix("/webhooks")).text
    newest = pages.newest_entry()
    made = admin.post(f"{hooks}/new", {"url": URL, "events": ["broadcast.live", "feed.lost"]})  # type: ignore[dict-item]
    secret = SECRET.search(made.text)
    found = re.search(rf"{hooks}/\d+", made.text)
    assert secret and found and made.headers["cache-control"] == "no-store"
    hook = found[0]
    assert "ega.go.tz/taarifa" in admin.get(hooks).text and not SECRET.search(admin.get(hook).text)
    rotated = SECRET.search(admin.post(f"{hook}/rotate").text)
    assert rotated and rotated[0] != secret[0]
    steps = [
        ("test", {}, "unatumwa"), ("again", {"delivery": ""}, "unatumwa tena"), ("off", {}, "kimezimwa"),
        ("test", {}, "Hakuna kilichobadilishwa"), ("on", {}, "kimewashwa"),
    ]  # fmt: skip
    for change, fields, words in steps:
        answer = admin.post(f"{hook}/{change}", {name: over(pages) for name in fields})
        assert answer.status_code == 303 and words in admin.get(answer.headers["location"]).text, change
    assert "imara &lt;b&gt;" in admin.get(hook).text, "the answer as the receiver gave it, and no markup of its own"
    assert admin.post(f"{hook}/delete").headers["location"] == f"{hooks}?told=delete"
    assert admin.get(hook).status_code == 404
    acts = ["add", "rotate", "test", "again", "disable", "enable", "delete"]
    assert pages.acts(newest) == [f"webhook.{act}" for act in acts]
    log = admin.get("/sw/staff/audit.jsonl").text
    assert "kwa=ikulu" not in log and secret[0] not in log and rotated[0] not in log


def over(pages: Pages) -> str:
    """The only delivery there is, as if the receiver had refused it."""
    with transaction(pages.engine) as session:
        delivery = session.query(WebhookDelivery).one()
        record(session, delivery, Outcome(12, 500, "imara <b>"), NOW, 5)
        delivery.state = "given_up"
        return str(delivery.id)


def test_what_was_entered_wrongly_is_told_and_kept(pages: Pages) -> None:
    admin, hooks = pages.signed_in(pages.world.a.admin), list_path(pages)
    before = pages.rows()
    for url in ("http://ega.go.tz/", "https://10.0.0.1/", "https://localhost/", "x"):
        refused = admin.post(f"{hooks}/new", {"url": url, "events": "broadcast.live"})
        assert refused.status_code == 422 and f'value="{url}"' in refused.text and "govuk-error-summary" in refused.text
    nothing = admin.post(f"{hooks}/new", {"url": URL})
    assert nothing.status_code == 422 and "Chagua angalau tukio moja" in nothing.text
    assert admin.post(f"{hooks}/new", {"url": URL, "events": "user.added"}).status_code == 422
    assert pages.rows() == before


def test_an_institution_has_ten_at_most(pages: Pages) -> None:
    admin, hooks = pages.signed_in(pages.world.a.admin), list_path(pages)
    for _ in range(9):
        added(admin, hooks)
    assert admin.post(f"{hooks}/new", {"url": URL, "events": "broadcast.live"}).status_code == 422
    assert f"{hooks}/new" not in admin.get(hooks).text


def test_only_admins_and_only_their_own(pages: Pages) -> None:
    a, b = pages.world.a, pages.world.b
    admin, engineer, hooks = pages.signed_in(a.admin), pages.signed_in(a.engineer), list_path(pages)
    own, theirs = f"{hooks}/{a.webhook_id}", f"{hooks}/{b.webhook_id}"
    before = pages.rows("staff_session")
    assert admin.get(own).status_code == 200
    assert [engineer.get(path).status_code for path in (hooks, f"{hooks}/new", own)] == [403] * 3
    for change in ("rotate", "off", "test", "delete"):
        assert engineer.post(f"{own}/{change}").status_code == 403
        assert admin.post(f"{theirs}/{change}").status_code == 404, "another's under one's own institution"
    assert admin.get(theirs).status_code == 404
    with transaction(pages.engine) as session:
        session.add(WebhookDelivery(
            endpoint_id=b.webhook_id, institution_id=b.institution_id, message_id="m", event="broadcast.live",
            body="{}", created_at=NOW, state="delivered", next_at=NOW,
        ))  # fmt: skip
        session.flush()
        foreign = str(session.query(WebhookDelivery.id).scalar())
    for delivery in (foreign, "", "x", "9" * 30):
        assert admin.post(f"{own}/again", {"delivery": delivery}).status_code == 404
    assert admin.post(f"{own}/nothing").status_code == 404
    assert pages.rows("staff_session", "webhook_delivery") == {
        n: r for n, r in before.items() if n != "webhook_delivery"
    }
    with transaction(pages.engine) as session:
        assert session.get_one(WebhookEndpoint, b.webhook_id).off is None
