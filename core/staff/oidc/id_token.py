"""The ID token (OpenID Connect Core 1.0, section 3.1.3.7): its signature, its claims, and how many factors it tells of.

Only signatures of the provider's published keys are taken: neither `none`, nor HS256, whose key a public one could be
mistaken for.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import BadSignatureError, InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet, RSAKey

from core.staff.oidc.errors import KeysOutdated, Untrusted

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519")
LEEWAY_S = 60
FRESH_S = 300
"""How long ago the provider may have asked a person who comes."""
"""How far the provider's clock may be off."""
MIN_RSA_BITS = 2048
MAX_CHARACTERS = 32_768
MAX_SUBJECT = 255

# RFC 8176, section 2: what the person knows, has, and is
_KINDS_OF_FACTOR = (
    frozenset({"pwd", "pin", "kba"}),
    frozenset({"otp", "sms", "tel", "hwk", "swk", "sc", "pop"}),
    frozenset({"face", "fpt", "iris", "retina", "vbm"}),
)
_MULTI_FACTOR_CLASSES = frozenset(
    {"https://refeds.org/profile/mfa", "http://schemas.openid.net/pape/policies/2007/06/multi-factor"}
)


@dataclass(frozen=True, slots=True)
class Expected:
    issuer: str
    client_id: str
    nonce: str
    access_token: str


def read_keys(document: Mapping[str, Any]) -> KeySet:
    """The provider's JSON Web Key Set, without keys too weak to prove anything. Raises Untrusted."""
    try:
        found = KeySet.import_key_set({"keys": list(document["keys"])})
    except (JoseError, LookupError, ValueError, TypeError, AttributeError) as error:
        raise Untrusted(f"the provider's keys can't be read: {type(error).__name__}") from error
    return KeySet([key for key in found if not isinstance(key, RSAKey) or key.raw_value.key_size >= MIN_RSA_BITS])


def verify(token: str, keys: KeySet, expected: Expected, now: datetime) -> Mapping[str, Any]:
    """The token's claims. Raises KeysOutdated where other keys may help, else Untrusted."""
    if len(token) > MAX_CHARACTERS:
        raise Untrusted("the ID token is too long")
    try:
        read = jwt.decode(token, keys, algorithms=list(ALGORITHMS))
        _validate(read, expected, int(now.timestamp()))
    except (BadSignatureError, InvalidKeyIdError) as error:
        raise KeysOutdated(f"the ID token fits none of the provider's keys: {error.error}") from error
    except JoseError as error:
        raise Untrusted(f"the ID token does not hold: {error.error} {error.description}"[:200]) from error
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise Untrusted(f"the ID token can't be read: {type(error).__name__}") from error
    return read.claims


def _validate(read: jwt.Token, expected: Expected, now_s: int) -> None:
    options: dict[str, Any] = {
        "iss": {"essential": True, "value": expected.issuer},
        "aud": {"essential": True, "value": expected.client_id},
        "sub": {"essential": True},
    }
    bound_to = {"nonce": expected.nonce, "client_id": expected.client_id, "access_token": expected.access_token}
    CodeIDToken(read.claims, read.header, options, bound_to).validate(now=now_s, leeway=LEEWAY_S)
    if not 0 < len(read.claims["sub"]) <= MAX_SUBJECT or not read.claims["sub"].isprintable():
        raise Untrusted("the ID token's subject is no name")


def tells_two_factors(claims: Mapping[str, Any], now: datetime) -> bool:
    """Whether the provider says that it has just asked for factors of more than one kind. In doubt it did not: some
    repeat what they asked for days ago, and somebody else may sit there now."""
    asked_at = claims.get("auth_time")
    if not isinstance(asked_at, int) or now.timestamp() - asked_at > FRESH_S + LEEWAY_S:
        return False
    methods, context = claims.get("amr"), claims.get("acr")
    named = _strings(methods) if isinstance(methods, list) else frozenset()
    kinds = sum(not kind.isdisjoint(named) for kind in _KINDS_OF_FACTOR)
    return "mfa" in named or kinds > 1 or (isinstance(context, str) and context in _MULTI_FACTOR_CLASSES)


def _strings(items: Collection[object]) -> frozenset[str]:
    return frozenset(item for item in items if isinstance(item, str))
