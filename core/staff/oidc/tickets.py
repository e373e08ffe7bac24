"""One try to sign on, from the button to the provider's answer: a short-lived signed cookie.

State, nonce and PKCE verifier are keyed hashes of the ticket's name, so the cookie holds none of them. A ticket is
good once (`spend`): who copies cookie and answer can't show them again.
"""

import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from itsdangerous import BadData, URLSafeSerializer
from sqlalchemy import delete
from sqlalchemy.orm import Session

from core.database import insert
from core.keys import derived_key, hash_key
from core.staff.tables import SpentTicket

LASTS = timedelta(minutes=10)
MAX_CHARACTERS = 1024
_SALT = "sign-on"


@dataclass(frozen=True, slots=True)
class Ticket:
    """`language` and `going_to` say where the person wanted to go; `until` is in seconds since 1970."""

    name: str
    language: str
    going_to: str
    until: int


@dataclass(frozen=True, slots=True)
class Proofs:
    """What ties the provider's answer to this browser (state), the ID token to this try (nonce), and the code to us
    (verifier, of 64 characters as RFC 7636 wants 43 to 128)."""

    state: str
    nonce: str
    verifier: str


def issue(language: str, going_to: str, now: datetime) -> Ticket:
    return Ticket(secrets.token_urlsafe(16), language, going_to, int((now + LASTS).timestamp()))


def write(ticket: Ticket, pepper: bytes) -> str:
    signed = _serializer(pepper).dumps([ticket.name, ticket.language, ticket.going_to, ticket.until])
    return signed if isinstance(signed, str) else signed.decode()


def read(cookie: str, state: str, now: datetime, *, pepper: bytes) -> Ticket | None:
    """The ticket, if it is genuine, not too old, and of the `state` that came back."""
    if len(cookie) > MAX_CHARACTERS:
        return None
    try:
        ticket = Ticket(*_serializer(pepper).loads(cookie))
    except BadData:
        return None
    fits = hmac.compare_digest(state.encode(), proofs(ticket, pepper).state.encode())
    return ticket if fits and now.timestamp() < ticket.until else None


def proofs(ticket: Ticket, pepper: bytes) -> Proofs:
    key = derived_key(pepper, b"sign-on proofs")
    return Proofs(*(hash_key(f"{what} {ticket.name}", key) for what in ("state", "nonce", "verifier")))


def spend(session: Session, ticket: Ticket, now: datetime) -> bool:
    """False if it was spent before. Forgets those that are too old to be shown."""
    session.execute(delete(SpentTicket).where(SpentTicket.until < int(now.timestamp())))
    return insert(session, SpentTicket(name=ticket.name, until=ticket.until))


def _serializer(pepper: bytes) -> URLSafeSerializer:
    return URLSafeSerializer(derived_key(pepper, b"sign-on tickets"), salt=_SALT)
