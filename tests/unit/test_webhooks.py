"""Webhooks without a world: signatures, waits, and where they may lead."""

import ipaddress
from datetime import UTC, datetime
from itertools import takewhile

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from core.broadcasts.lifecycle import TABLE, Act
from core.broadcasts.told import event_of
from core.problems import Message
from core.webhooks import address, signing
from core.webhooks.address import NotAllowed
from core.webhooks.retry import wait_s
from core.webhooks.tables import Event

BODY = '{"type":"broadcast.live","data":{"title":"Kikao – Bungeni"}}'.encode()


def test_strangers_verify_what_we_sign() -> None:
    old, new = signing.new_secret(), signing.new_secret()
    sent = signing.headers("msg_1", datetime.now(UTC), BODY, [new, old])
    for secret in (old, new):
        assert Webhook(secret).verify(BODY, sent)["type"] == "broadcast.live"
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(BODY + b" ", sent)
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(BODY, {**sent, "webhook-id": "msg_2"})
    with pytest.raises(WebhookVerificationError):
        Webhook(signing.new_secret()).verify(BODY, sent)


def test_the_signature_of_the_specification() -> None:
    """The example of the specification's own libraries."""
    at, secret = datetime.fromtimestamp(1614265330, UTC), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    sent = signing.headers("msg_p5jXN8AQM9LWM0D4loKWxJek", at, b'{"test": 2432232314}', [secret])
    assert sent["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_waits_grow_to_six_hours_and_end_after_three_days() -> None:
    waits = [wait_s(attempts, 5, 3 * 86_400, 0.5) for attempts in range(1, 40)]
    asked = [wait for wait in takewhile(lambda wait: wait is not None, waits) if wait is not None]
    assert asked[:4] == [5, 15, 45, 135] and max(asked) == 6 * 3600
    assert 3 * 86_400 <= sum(asked) < 3.3 * 86_400
    assert set(waits[len(asked) :]) == {None}


@pytest.mark.parametrize(("chance", "wait"), [(0, 4), (0.5, 5), (1, 6)])
def test_waits_are_spread(chance: float, wait: float) -> None:
    assert wait_s(1, 5, 60, chance) == pytest.approx(wait)


PRIVATE = (
    "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
    "240.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fd00::1", "ff02::1", "::ffff:127.0.0.1",
    "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "2001:0:7f00:1::", "198.18.0.1", "192.0.0.8",
    "fec0::1", "3fff::1",
)  # fmt: skip


@pytest.mark.parametrize("text", PRIVATE)
def test_private_addresses_are_refused(text: str) -> None:
    assert not address.is_public(ipaddress.ip_address(text))
    with pytest.raises(NotAllowed):
        address.choose([text], insecure=False)
    written = f"https://[{text}]/x" if ":" in text else f"https://{text}/x"
    assert address.problem(written, insecure=False) is Message.WEBHOOK_PRIVATE


@pytest.mark.parametrize("text", ["196.216.162.1", "2c0f:f3b0::1", "::ffff:196.216.162.1", "64:ff9b::c4d8:a201"])
def test_public_addresses_are_not(text: str) -> None:
    assert address.choose(["10.0.0.1", text], insecure=False) == text


@pytest.mark.parametrize(
    "url",
    [
        "", "x", "http://ega.go.tz/", "ftp://ega.go.tz/", "https://", "https:///x", "https://a:b@ega.go.tz/",
        "https://ega.go.tz/#x", "https://ega.go.tz:0/", "https://ega.go.tz:99999/", "https://ega go.tz/",
        "https://ega.go.tz/\n", "https://ega.go.tz/é", "https://ega.go.tz/" + "a" * 500, "https://[::1", "\0",
        "javascript:alert(1)", "https://[fe80::1%25eth0]/",
    ],
)  # fmt: skip
def test_what_is_no_address(url: str) -> None:
    assert address.problem(url, insecure=False) is not None


@pytest.mark.parametrize("url", ["https://localhost/", "https://a.LOCALHOST./", "https://127.0.0.1:8443/"])
def test_names_of_this_machine(url: str) -> None:
    assert address.problem(url, insecure=False) is Message.WEBHOOK_PRIVATE
    assert address.problem(url, insecure=True) is None


@pytest.mark.parametrize("url", ["https://ega.go.tz", "https://ega.go.tz:8443/a?b=c", "https://xn--bcher-kva.go.tz/"])
def test_addresses(url: str) -> None:
    assert address.problem(url, insecure=False) is None


def test_each_change_of_state_is_an_event_and_nothing_else_is() -> None:
    for (state, act), following in TABLE.items():
        found = event_of(act, {"before": state, "after": following})
        assert found == (None if state is following else Event(f"broadcast.{following}"))
    assert event_of("feed_lost", {"cause": "stalled"}) is Event.FEED_LOST
    assert event_of(Act.MESSAGE, {"message": None}) is None
