"""Identifiers in addresses, however they were typed: ULIDs, UUIDs and hashes in capitals are found too.

Who asks for a page is sent on to its one address, so that nothing is kept under two; what is sent, and what other
programs ask of the API, is served as it came. So are parameters whose values are ours; others may be another's words
(`code` of a sign-on), in which capitals count.
"""

import re
from http import HTTPStatus
from urllib.parse import quote

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from core.ids import ID_PATTERN

IDENTIFIER = re.compile(
    f"{ID_PATTERN.pattern}|[0-9a-f]{{8}}(-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}}"
    "|[0-9a-f]{16}|[0-9a-f]{32}|[0-9a-f]{40}|[0-9a-f]{64}",
    re.IGNORECASE,
)
PART = re.compile(r"(?:(?<=/)|(?<=[?&]sha256=)|(?<=recording[=:])|(?<=broadcast[=:]))[0-9A-Za-z-]+(?=[/&?.]|$)")
"""Where one may stand: a step of the path, or a parameter's value, which may name its kind (`subject=recording:ID`)."""
FOR_PROGRAMS = "/api/"


class Addresses:
    """Before everything that looks at the path."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            path, query = plain(scope["path"]), plain(f"?{scope['query_string'].decode('latin-1')}")[1:]
            if (path, query) != (scope["path"], scope["query_string"].decode("latin-1")):
                if scope["method"] in ("GET", "HEAD") and not path.startswith(FOR_PROGRAMS):
                    return await _sent_on(path, query)(scope, receive, send)
                quoted = quote(path).encode()
                scope = {**scope, "path": path, "raw_path": quoted, "query_string": query.encode("latin-1")}
        await self.app(scope, receive, send)


def plain(address: str) -> str:
    """With its identifiers in lower case. What is none of them stays as it is."""
    return PART.sub(lambda part: part[0].lower() if IDENTIFIER.fullmatch(part[0]) else part[0], address)


def _sent_on(path: str, query: str) -> Response:
    """Never to another host, as `//host` or `/\\host` would be."""
    address = f"/{quote(path.lstrip('/'))}" + (f"?{query}" if query else "")
    headers = {"location": address, "cache-control": "no-store"}
    return Response(status_code=HTTPStatus.PERMANENT_REDIRECT, headers=headers)
