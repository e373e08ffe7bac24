"""Identifiers in addresses, in capitals or not."""

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from core.web.addresses import Addresses, plain

ID, HASH = "01jdx000000000000000000edg", "ab" * 32
UUID = "0f8fad5b-d9cb-469f-a165-70867728950e"


@pytest.mark.parametrize(
    "address",
    [
        f"/en/recordings/{ID}", f"/en/recordings/{ID}/verify", f"/api/v1/recordings/{ID}/exports/{ID}/files/1",
        f"/recordings/{ID}/source/index.m3u8", f"/{UUID}", f"/keys/{HASH[:16]}.json",
    ],
)  # fmt: skip
def test_what_is_an_identifier_is_in_lower_case(address: str) -> None:
    typed = address.replace(ID, ID.upper()).replace(UUID, UUID.upper()).replace(HASH[:16], HASH[:16].upper())
    assert typed != address and plain(typed) == address and plain(address) == address


@pytest.mark.parametrize(
    "address",
    [
        "/en/Live/IKULU", "/sw/staff/invitation/QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVoxMjM0NTY",
        f"/sw/staff/sign-on/back?code={HASH.upper()}&state={ID.upper()}",
        f"/{ID[:-1].upper()}", f"/{ID.upper()}x", f"/{ID.upper()}_", "/8" + ID[1:].upper(), "/ABCDEF",
    ],
)  # fmt: skip
def test_what_is_none_stays_as_it_is(address: str) -> None:
    assert plain(address) == address


def client() -> TestClient:
    async def told(request: Request) -> Response:
        return PlainTextResponse(f"{request.method} {request.url.path}?{request.url.query}")

    routes = [Route("/{path:path}", told, methods=["GET", "POST"])]
    return TestClient(Starlette(routes=routes, middleware=[Middleware(Addresses)]), follow_redirects=False)


def test_who_asks_for_a_page_is_sent_on_and_programs_are_served() -> None:
    asked = client()
    page = asked.get(f"/en/recordings/{ID.upper()}/verify?sha256={HASH.upper()}&q=ABC")
    assert (page.status_code, page.headers["cache-control"]) == (308, "no-store")
    assert page.headers["location"] == f"/en/recordings/{ID}/verify?sha256={HASH}&q=ABC"
    audit = asked.get(f"/en/staff/audit?subject=recording:{ID.upper()}")
    assert audit.headers["location"] == f"/en/staff/audit?subject=recording:{ID}"
    assert asked.get(f"/api/v1/recordings/{ID.upper()}").text == f"GET /api/v1/recordings/{ID}?"
    assert asked.post(f"/en/staff/recordings/{ID.upper()}").text == f"POST /en/staff/recordings/{ID}?"


@pytest.mark.parametrize("path", [f"//evil.example/{ID}", f"/%5Cevil.example/{ID}", f"///evil.example/{ID}"])
def test_nobody_is_sent_to_another_host(path: str) -> None:
    sent = client().get(f"http://testserver{path.replace(ID, ID.upper())}")
    assert sent.status_code == 308
    assert sent.headers["location"] in (f"/evil.example/{ID}", f"/%5Cevil.example/{ID}")
