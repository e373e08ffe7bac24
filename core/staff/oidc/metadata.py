"""The provider's discovery document (OpenID Connect Discovery 1.0, section 3): the few things of it that we use."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from core.staff.oidc.errors import Untrusted

WELL_KNOWN = "/.well-known/openid-configuration"
MAX_URL = 2000
LOOPBACK = ("localhost", "127.0.0.1", "::1")

AuthMethod = Literal["client_secret_basic", "client_secret_post"]


@dataclass(frozen=True, slots=True)
class Metadata:
    """`auth_method` is how the token endpoint wants our secret; `names_itself`: its answers say `iss` (RFC 9207)."""

    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None
    auth_method: AuthMethod
    names_itself: bool


def discovery_url(issuer: str) -> str:
    return issuer.rstrip("/") + WELL_KNOWN


def parse(document: Mapping[str, Any], issuer: str) -> Metadata:
    """Raises Untrusted where something is missing, or not this issuer's (section 4.3)."""
    if document.get("issuer") != issuer:
        raise Untrusted("the discovery document is of another issuer")
    return Metadata(
        _url(document, "authorization_endpoint"),
        _url(document, "token_endpoint"),
        _url(document, "jwks_uri"),
        _url(document, "userinfo_endpoint") if "userinfo_endpoint" in document else None,
        _auth_method(document.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])),
        document.get("authorization_response_iss_parameter_supported") is True,
    )


def is_safe_url(text: str) -> bool:
    """https, or http on this machine itself."""
    try:
        parts = urlsplit(text)
        _port = parts.port
    except ValueError:
        return False
    is_plain = text.isascii() and text.isprintable() and " " not in text and "@" not in parts.netloc
    is_local = parts.scheme == "http" and parts.hostname in LOOPBACK
    return is_plain and not parts.fragment and (is_local or (parts.scheme == "https" and bool(parts.hostname)))


def _url(document: Mapping[str, Any], name: str) -> str:
    found = document.get(name)
    if not isinstance(found, str) or len(found) > MAX_URL or not is_safe_url(found):
        raise Untrusted(f"the discovery document has no usable {name}")
    return found


def _auth_method(methods: object) -> AuthMethod:
    if isinstance(methods, list):
        if "client_secret_basic" in methods:
            return "client_secret_basic"
        if "client_secret_post" in methods:
            return "client_secret_post"
    raise Untrusted("the provider takes neither client_secret_basic nor client_secret_post")
