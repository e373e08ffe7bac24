"""Single sign-on without a provider: tickets, discovery documents, factors, bounded answers, settings, the cookie."""

import gzip
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import KeySet, RSAKey
from pydantic import ValidationError
from starlette.responses import Response

from core.staff.oidc import id_token, metadata, tickets
from core.staff.oidc.errors import ProviderAway, SignOnError, Untrusted
from core.staff.oidc.http import Http, Limits
from core.staff.oidc.provider import Keeping, Kept, Provider, Registration
from core.web import visitors
from mbashara.settings import Settings
from mbashara.sign_on import open_provider

NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)
PEPPER = b"p" * 32
ISSUER = "https://idp.example/realms/tz"
DOCUMENT = {
    "issuer": ISSUER,
    "authorization_endpoint": "https://idp.example/auth",
    "token_endpoint": "https://idp.example/token",
    "jwks_uri": "https://idp.example/keys",
}


def test_a_ticket_holds_no_proof_and_fits_its_own_state_alone() -> None:
    ticket, other = tickets.issue("en", "/staff/people", NOW), tickets.issue("en", "", NOW)
    cookie, proofs = tickets.write(ticket, PEPPER), tickets.proofs(ticket, PEPPER)
    assert len({proofs.state, proofs.nonce, proofs.verifier}) == 3
    assert not any(proof in cookie for proof in (proofs.state, proofs.nonce, proofs.verifier))
    assert 43 <= len(proofs.verifier) <= 128
    late = NOW + tickets.LASTS
    for state, now, pepper, found in (
        (proofs.state, NOW, PEPPER, ticket), (proofs.state, late - timedelta(seconds=1), PEPPER, ticket),
        (proofs.state, late, PEPPER, None), ("", NOW, PEPPER, None), (proofs.nonce, NOW, PEPPER, None),
        ("\N{SNOWMAN}", NOW, PEPPER, None), (tickets.proofs(other, PEPPER).state, NOW, PEPPER, None),
        (proofs.state, NOW, b"q" * 32, None),
    ):  # fmt: skip
        assert tickets.read(cookie, state, now, pepper=pepper) == found
    for forged in ("", ".", "x" * 5000, cookie[:-1], cookie.replace(".", "")):
        assert tickets.read(forged, proofs.state, NOW, pepper=PEPPER) is None


@pytest.mark.parametrize(
    "changed",
    [
        {"issuer": ISSUER + "/"}, {"issuer": None}, {"token_endpoint": None}, {"jwks_uri": 7},
        {"authorization_endpoint": "http://idp.example/auth"}, {"token_endpoint": "https://a@idp.example/token"},
        {"jwks_uri": "file:///etc/passwd"}, {"userinfo_endpoint": "https://"}, {"jwks_uri": "https://idp.example:x/"},
        {"token_endpoint_auth_methods_supported": ["private_key_jwt"]}, {"authorization_endpoint": "https://a/#x"},
    ],
)  # fmt: skip
def test_discovery_documents_that_will_not_do(changed: dict[str, Any]) -> None:
    with pytest.raises(Untrusted):
        metadata.parse({**DOCUMENT, **changed}, ISSUER)


def test_discovery() -> None:
    assert metadata.discovery_url("https://idp.example/a/") == "https://idp.example/a/.well-known/openid-configuration"
    found = metadata.parse(DOCUMENT, ISSUER)
    assert (found.auth_method, found.names_itself, found.userinfo_endpoint) == ("client_secret_basic", False, None)
    methods = {"token_endpoint_auth_methods_supported": ["client_secret_post", "none"]}
    assert metadata.parse({**DOCUMENT, **methods}, ISSUER).auth_method == "client_secret_post"


@pytest.mark.parametrize(
    ("claims", "two"),
    [
        ({}, False), ({"amr": ["pwd"]}, False), ({"amr": ["pwd", "pin"]}, False), ({"amr": ["otp", "sms"]}, False),
        ({"amr": ["mfa"]}, True), ({"amr": ["pwd", "otp"]}, True), ({"amr": ["fpt", "hwk"]}, True),
        ({"amr": "mfa"}, False), ({"amr": "pwd otp"}, False), ({"amr": [["mfa"], 1, None]}, False),
        ({"amr": ["mca", "user"]}, False), ({"acr": "1"}, False), ({"acr": ["x"]}, False),
        ({"acr": "https://refeds.org/profile/mfa"}, True),
    ],
)  # fmt: skip
def test_whether_two_factors_were_asked(claims: dict[str, Any], two: bool) -> None:
    now = datetime(2026, 11, 28, 9, 0, tzinfo=UTC)
    asked_s = int(now.timestamp()) - 5
    assert id_token.tells_two_factors({**claims, "auth_time": asked_s}, now) is two
    assert not id_token.tells_two_factors({**claims, "auth_time": asked_s - 600}, now), (
        "somebody else may sit there now"
    )
    assert not id_token.tells_two_factors(claims, now)


@pytest.mark.parametrize("document", [{}, {"keys": 7}, {"keys": []}, {"keys": [7]}, {"keys": [{"kty": "RSA"}]}])
def test_keys_that_cannot_be_read(document: dict[str, Any]) -> None:
    with pytest.raises(Untrusted):
        id_token.read_keys(document)


@pytest.mark.filterwarnings("ignore:Key size")
def test_weak_keys_prove_nothing() -> None:
    weak, strong = RSAKey.generate_key(1024), RSAKey.generate_key(2048)
    read = id_token.read_keys(KeySet([weak, strong]).as_dict())
    assert [key.kid for key in read] == [strong.kid]


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_what_is_published_is_asked_for_seldom() -> None:
    clock, asked, is_away = Clock(), [0.0], True

    def fetch() -> float:
        asked.append(clock.now_s)
        if is_away:
            raise ProviderAway("away")
        return clock.now_s

    kept = Kept(fetch, Keeping(kept_s=100, rests_s=10, renewed_after_s=30), clock)
    for clock.now_s in (1, 5, 10.9):
        with pytest.raises(ProviderAway):
            kept.get()
    is_away, clock.now_s = False, 11
    assert [kept.get(), kept.renew()] == [11, 11] and asked == [0, 1, 11]
    clock.now_s = 41
    assert [kept.get(), kept.renew(), kept.get()] == [11, 41, 41]
    clock.now_s = 141
    assert kept.get() == 141


Answerer = Callable[[BaseHTTPRequestHandler], None]


@pytest.fixture
def server() -> Iterator[tuple[str, list[Answerer]]]:
    """A server on loopback, and what it does with the next requests."""
    answerers: list[Answerer] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answerers[0](self)

        def log_message(self, *_words: object) -> None:
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{running.server_port}", answerers
    running.shutdown()
    running.server_close()


def answer(body: bytes, status: int = 200, **headers: str) -> Answerer:
    def send(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in {"content-length": str(len(body)), **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return send


@pytest.mark.parametrize(
    ("sent", "raised"),
    [
        (answer(b'{"a": 1}'), None), (answer(b'{"a": 1}', 400), None), (answer(b"[1]"), Untrusted),
        (answer(b"[" * 900), Untrusted), (answer(b"<html>"), Untrusted), (answer(b'{"a": "' + b"x" * 2000), Untrusted),
        (answer(gzip.compress(b'{"a": 1}'), content_encoding="gzip"), Untrusted), (answer(b"{}", 500), ProviderAway),
        (answer(b"", 302, location="/elsewhere"), Untrusted), (answer(b'{"a"', content_length="900"), ProviderAway),
    ],
)  # fmt: skip
def test_answers_are_bounded(
    server: tuple[str, list[Answerer]], sent: Answerer, raised: type[SignOnError] | None
) -> None:
    url, answerers = server
    answerers.append(sent)
    ask = Http(Limits(step_s=1, max_bytes=1000)).get
    if raised is None:
        assert ask(url).body == {"a": 1}
        return
    with pytest.raises(raised) as error:
        ask(f"{url}/x?code=siri")
    assert "siri" not in str(error.value)


def test_an_answer_that_only_drips_is_given_up(server: tuple[str, list[Answerer]]) -> None:
    url, answerers = server
    clock = Clock()

    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        for _ in range(5):
            clock.now_s += 3
            handler.wfile.write(b" ")

    answerers.append(drip)
    with pytest.raises(ProviderAway, match="too long"):
        Http(Limits(whole_s=10), clock).get(url)


def test_a_hanging_provider_holds_few_threads(server: tuple[str, list[Answerer]]) -> None:
    url, answerers = server
    came, go_on = threading.Event(), threading.Event()

    def hang(handler: BaseHTTPRequestHandler) -> None:
        came.set()
        go_on.wait(60)
        answer(b"{}")(handler)

    answerers.append(hang)
    provider = Provider(Registration(url, "a", "b", "https://c/", "d", "e"), Limits(at_once=1))
    proofs = tickets.proofs(tickets.issue("sw", "", NOW), PEPPER)

    def ask() -> None:
        with pytest.raises(SignOnError):
            provider.authorization_url(proofs, "sw")

    first = threading.Thread(target=ask)
    first.start()
    assert came.wait(60)
    with pytest.raises(ProviderAway, match="too many"):
        provider.authorization_url(proofs, "sw")
    go_on.set()
    first.join()


def test_settings_name_a_provider_whole_or_not_at_all(tmp_path: Path) -> None:
    named = {"oidc_issuer": ISSUER, "oidc_client_id": "mbashara"}
    assert open_provider(Settings()) is None
    for part in (
        {"oidc_issuer": ISSUER}, named, {"oidc_issuer": ISSUER, "oidc_client_secret": "siri-yetu"},
        {**named, "oidc_client_secret": "siri-yetu", "oidc_issuer": "http://idp.example"},
        {**named, "oidc_client_secret": "siri-yetu", "oidc_issuer": f"{ISSUER}?x=1"},
    ):  # fmt: skip
        with pytest.raises(ValidationError) as error:
            Settings.model_validate(part)
        assert "oidc_" in str(error.value.errors()[0]["loc"]) and "siri-yetu" not in error.value.errors()[0]["msg"]
    secret_file = tmp_path / "siri-yetu"
    settings = Settings.model_validate(
        {**named, "oidc_client_secret_file": secret_file, "public_url": "https://live.go.tz"}
    )
    assert open_provider(settings) is None, "no file: the rest goes on without"
    secret_file.write_text("siri yetu\n")
    provider = open_provider(settings)
    assert provider is not None
    registered = provider.registration
    assert registered.client_secret == "siri yetu" and "siri yetu" not in repr(registered)
    assert registered.redirect_uri == "https://live.go.tz/sw/staff/sign-on/callback"
    assert "siri" not in repr(Settings.model_validate({**named, "oidc_client_secret": "siri"}))


@pytest.mark.parametrize(("secure", "name"), [(True, "__Host-sign-on"), (False, "sign-on")])
def test_the_tickets_cookie_is_ours_alone(secure: bool, name: str) -> None:
    response = Response()
    visitors.keep_ticket(response, "t", 600, secure=secure)
    said = response.headers["set-cookie"].lower().split("; ")
    assert said[0] == f"{name.lower()}=t" and ("secure" in said) is secure
    assert {"httponly", "samesite=lax", "path=/", "max-age=600"} <= set(said)
