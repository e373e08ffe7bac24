"""Who a browser is to us: the cookies that name it, the token that proves a form came from our own page (CSRF).

Two cookies. `visitor` is any browser's random name, made with its first form; `session` is that of someone logged in
(core.staff.sessions). A third, `sign-on`, is there only while someone signs on elsewhere (core.staff.oidc.tickets). A
form's token is a keyed hash of the first two, so it dies with the session. Where pages come over https the names begin
with __Host-: no other host of the same domain can plant one here.
"""

import hmac
import secrets
from dataclasses import dataclass
from hashlib import blake2b

from starlette.requests import Request
from starlette.responses import Response

VISITOR_COOKIE = "visitor"
SESSION_COOKIE = "session"
TICKET_COOKIE = "sign-on"
CSRF_FIELD = "csrf"
VISITOR_LASTS_S = 24 * 3600
_VISITOR_CHARACTERS = 22
_HOST = "__Host-"


@dataclass(frozen=True, slots=True)
class Visitor:
    """`is_new` browsers get their cookie with the answer."""

    name: str
    session_token: str
    is_new: bool

    def csrf_token(self, key: bytes) -> str:
        return blake2b(f"{self.name} {self.session_token}".encode(), key=key, digest_size=24).hexdigest()

    def proves(self, token: object, key: bytes) -> bool:
        """Whether the token was made for this browser and session."""
        return not self.is_new and hmac.compare_digest(str(token).encode(), self.csrf_token(key).encode())


def read_visitor(request: Request, *, secure: bool) -> Visitor:
    name = request.cookies.get(_name(VISITOR_COOKIE, secure), "")
    session_token = request.cookies.get(_name(SESSION_COOKIE, secure), "")
    is_new = len(name) != _VISITOR_CHARACTERS
    return Visitor(secrets.token_urlsafe(16) if is_new else name, session_token, is_new)


def remember_visitor(response: Response, visitor: Visitor, *, secure: bool) -> None:
    _set(response, VISITOR_COOKIE, visitor.name, secure, VISITOR_LASTS_S)


def log_in(response: Response, token: str, *, secure: bool) -> None:
    """The cookie ends with the browser; the session itself ends in the database."""
    _set(response, SESSION_COOKIE, token, secure, None)


def log_out(response: Response, *, secure: bool) -> None:
    _drop(response, SESSION_COOKIE, secure)


def read_ticket(request: Request, *, secure: bool) -> str:
    return request.cookies.get(_name(TICKET_COOKIE, secure), "")


def keep_ticket(response: Response, ticket: str, lasts_s: int, *, secure: bool) -> None:
    _set(response, TICKET_COOKIE, ticket, secure, lasts_s)


def drop_ticket(response: Response, *, secure: bool) -> None:
    _drop(response, TICKET_COOKIE, secure)


def _drop(response: Response, name: str, secure: bool) -> None:
    response.delete_cookie(_name(name, secure), path="/", secure=secure, httponly=True, samesite="lax")


def _set(response: Response, name: str, value: str, secure: bool, lasts_s: int | None) -> None:
    response.set_cookie(
        _name(name, secure), value, max_age=lasts_s, path="/", secure=secure, httponly=True, samesite="lax"
    )


def _name(name: str, secure: bool) -> str:
    return _HOST + name if secure else name
