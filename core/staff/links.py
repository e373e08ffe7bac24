"""Signed links by which an invited person sets a password, or one who forgot it a new one.

A link is good for one use: the signature covers a fingerprint of the account's state, which the use changes.
"""

import hmac
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from itsdangerous import BadData, URLSafeSerializer

from core.keys import derived_key, hash_key
from core.staff.tables import UserAccount


class Purpose(StrEnum):
    """The value is the page's name in the link's path."""

    INVITATION = "invitation"
    RESET = "reset"


LASTS = {Purpose.INVITATION: timedelta(days=7), Purpose.RESET: timedelta(hours=1)}
MAX_CHARACTERS = 512


@dataclass(frozen=True, slots=True)
class Claim:
    """What a genuine link that has not expired says. Good only while `fits` the account."""

    user_id: int
    fingerprint: str


def sign(purpose: Purpose, account: UserAccount, *, pepper: bytes, now: datetime) -> str:
    until = int((now + LASTS[purpose]).timestamp())
    signed = _serializer(purpose, pepper).dumps([account.id, until, _fingerprint(account, pepper)])
    return signed if isinstance(signed, str) else signed.decode()


def read(purpose: Purpose, token: str, *, pepper: bytes, now: datetime) -> Claim | None:
    if len(token) > MAX_CHARACTERS:
        return None
    try:
        user_id, until, fingerprint = _serializer(purpose, pepper).loads(token)
    except BadData:
        return None
    return Claim(user_id, fingerprint) if now.timestamp() < until else None


def fits(claim: Claim, account: UserAccount, *, pepper: bytes) -> bool:
    return claim.user_id == account.id and hmac.compare_digest(claim.fingerprint, _fingerprint(account, pepper))


def url(base_url: str, purpose: Purpose, token: str, language: str = "sw") -> str:
    return f"{base_url}/{language}/staff/{purpose}/{token}"


def _fingerprint(account: UserAccount, pepper: bytes) -> str:
    return hash_key(f"{account.id} {account.email} {account.password_hash} {account.disabled_at}", pepper)[:32]


def _serializer(purpose: Purpose, pepper: bytes) -> URLSafeSerializer:
    return URLSafeSerializer(derived_key(pepper, b"links"), salt=purpose)
