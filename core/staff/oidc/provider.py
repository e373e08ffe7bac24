"""The provider as we ask it, in threads: where to send a browser, and whose code came back.

Its discovery document and keys are kept for an hour; of many who need them at once one fetches, and while the provider
is away nobody waits for it more than once in ten seconds.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar
from urllib.parse import quote

from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from joserfc.jwk import KeySet

from core.staff.oidc import id_token, metadata
from core.staff.oidc.errors import KeysOutdated, ProviderAway, SignOnError, Untrusted
from core.staff.oidc.http import Http, Limits
from core.staff.oidc.id_token import Expected
from core.staff.oidc.metadata import Metadata
from core.staff.oidc.tickets import Proofs

SCOPE = "openid email"
MAX_CODE = 4096
MAX_TOLD = 100

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Registration:
    """What we and the provider agreed on. The names are what the button says."""

    issuer: str
    client_id: str
    client_secret: str = field(repr=False)
    redirect_uri: str
    name_sw: str
    name_en: str


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the provider says it is. `subject` is its own lasting name for the person; e-mail addresses change hands."""

    issuer: str
    subject: str
    email: str
    is_email_verified: bool
    is_multi_factor: bool


@dataclass(frozen=True, slots=True)
class Keeping:
    """Seconds: how long what the provider publishes is kept, how long nobody asks after a failure, and how soon keys
    may be asked for anew because a token fits none of them."""

    kept_s: float = 3600
    rests_s: float = 10
    renewed_after_s: float = 30


class Kept(Generic[T]):
    """Something that the provider publishes."""

    def __init__(self, fetch: Callable[[], T], keeping: Keeping, clock_s: Callable[[], float]) -> None:
        self._fetch, self._keeping, self._clock_s = fetch, keeping, clock_s
        self._lock = threading.Lock()
        self._found: tuple[float, T] | None = None
        self._failed: tuple[float, SignOnError] | None = None

    def get(self) -> T:
        return self._younger_than(self._keeping.kept_s)

    def renew(self) -> T:
        """Newer, unless it is quite new."""
        return self._younger_than(self._keeping.renewed_after_s)

    def _younger_than(self, age_s: float) -> T:
        with self._lock:
            now_s = self._clock_s()
            if self._found is not None and now_s - self._found[0] < age_s:
                return self._found[1]
            if self._failed is not None and now_s - self._failed[0] < self._keeping.rests_s:
                raise self._failed[1]
            try:
                fresh = self._fetch()
            except SignOnError as error:
                self._failed = (self._clock_s(), error)
                raise
            self._found, self._failed = (now_s, fresh), None
            return fresh


class Provider:
    """Every method may block, and raises SignOnError."""

    def __init__(
        self,
        registration: Registration,
        limits: Limits = Limits(),  # noqa: B008
        keeping: Keeping = Keeping(),
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.registration = registration
        self._http = Http(limits, clock_s)
        self._seats = threading.BoundedSemaphore(limits.at_once)
        self._metadata: Kept[Metadata] = Kept(self._fetch_metadata, keeping, clock_s)
        self._keys: Kept[KeySet] = Kept(self._fetch_keys, keeping, clock_s)

    def authorization_url(self, proofs: Proofs, language: str) -> str:
        """Where the browser goes."""
        with self._seat():
            endpoint = self._metadata.get().authorization_endpoint
        url: str = prepare_grant_uri(
            endpoint,
            client_id=self.registration.client_id,
            response_type="code",
            redirect_uri=self.registration.redirect_uri,
            scope=SCOPE,
            state=proofs.state,
            nonce=proofs.nonce,
            code_challenge=create_s256_code_challenge(proofs.verifier),
            code_challenge_method="S256",
            ui_locales=language,
            max_age=str(id_token.FRESH_S),
        )
        return url

    def identity(self, answer: Mapping[str, str], proofs: Proofs, now: datetime) -> Identity:
        """Whose code came back. `answer` is the query of the address that the browser came back to."""
        with self._seat():
            found = self._metadata.get()
            self._check_sender(answer, found)
            tokens = self._redeem(answer.get("code", ""), proofs.verifier, found)
            claims = self._verified(tokens, proofs.nonce, now)
            told = claims if "email" in claims else self._userinfo(tokens, claims["sub"], found)
        email = told.get("email")
        return Identity(
            self.registration.issuer,
            claims["sub"],
            email if isinstance(email, str) else "",
            told.get("email_verified") is True,
            id_token.tells_two_factors(claims, now),
        )

    def _check_sender(self, answer: Mapping[str, str], found: Metadata) -> None:
        """RFC 9207: an answer of another provider is not shown to this one."""
        sender = answer.get("iss")
        if (sender is None and found.names_itself) or sender not in (None, self.registration.issuer):
            raise Untrusted("the answer is of another issuer")

    def _redeem(self, code: str, verifier: str, found: Metadata) -> Mapping[str, Any]:
        if not 0 < len(code) <= MAX_CODE:
            raise Untrusted("the answer has no code")
        mine = self.registration
        form = {
            "grant_type": "authorization_code", "code": code, "redirect_uri": mine.redirect_uri,
            "code_verifier": verifier,
        }  # fmt: skip
        if found.auth_method == "client_secret_basic":
            # RFC 6749, 2.3.1: both are form-encoded before they are joined
            basic = (quote(mine.client_id, safe=""), quote(mine.client_secret, safe=""))
            answer = self._http.post(found.token_endpoint, form, basic=basic)
        else:
            secret = {"client_id": mine.client_id, "client_secret": mine.client_secret}
            answer = self._http.post(found.token_endpoint, {**form, **secret})
        if answer.status != 200:
            raise Untrusted(f"the provider refused the code: {plain(answer.body.get('error'))}")
        return answer.body

    def _verified(self, tokens: Mapping[str, Any], nonce: str, now: datetime) -> Mapping[str, Any]:
        token, access_token = tokens.get("id_token"), tokens.get("access_token")
        if not isinstance(token, str) or not isinstance(access_token, str):
            raise Untrusted("the provider gave no ID token")
        expected = Expected(self.registration.issuer, self.registration.client_id, nonce, access_token)
        try:
            return id_token.verify(token, self._keys.get(), expected, now)
        except KeysOutdated:
            return id_token.verify(token, self._keys.renew(), expected, now)

    def _userinfo(self, tokens: Mapping[str, Any], subject: str, found: Metadata) -> Mapping[str, Any]:
        """Core 1.0, 5.3: where the e-mail address is, if it is not in the ID token."""
        if found.userinfo_endpoint is None:
            return {}
        answer = self._http.get(found.userinfo_endpoint, bearer=tokens["access_token"])
        if answer.status != 200 or answer.body.get("sub") != subject:
            raise Untrusted("the provider's userinfo is not of this person")
        return answer.body

    def _fetch_metadata(self) -> Metadata:
        answer = self._http.get(metadata.discovery_url(self.registration.issuer))
        if answer.status != 200:
            raise ProviderAway(f"no discovery document: {answer.status}")
        return metadata.parse(answer.body, self.registration.issuer)

    def _fetch_keys(self) -> KeySet:
        answer = self._http.get(self._metadata.get().jwks_uri)
        if answer.status != 200:
            raise ProviderAway(f"no keys: {answer.status}")
        return id_token.read_keys(answer.body)

    @contextmanager
    def _seat(self) -> Iterator[None]:
        """A provider that hangs takes a few threads, not all that pages have."""
        if not self._seats.acquire(blocking=False):
            raise ProviderAway("too many wait for the provider")
        try:
            yield
        finally:
            self._seats.release()


def plain(told: object) -> str:
    """A word of the provider's for the log."""
    return "".join(letter for letter in str(told)[:MAX_TOLD] if letter.isascii() and letter.isprintable())
