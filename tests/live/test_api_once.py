"""What the API does once, whoever asks at once or again; versions, and lists page by page."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import func, select

from core.database import transaction
from core.tables import Broadcast
from tests.live.api_kit import Stage, new_broadcast
from tests.live.api_operations import planned
from tests.live.api_world import World


@pytest.fixture
def world(api_world: World) -> World:
    return api_world


# What is done once.


def test_the_same_key_does_the_same_request_once(stage: Stage, world: World) -> None:
    client, key = stage.client(world.own), {"idempotency-key": "mara-moja"}
    first = client.post("/broadcasts", json=new_broadcast("bunge"), headers=key)
    again = client.post("/broadcasts", json=new_broadcast("bunge"), headers=key)
    assert (first.status_code, again.status_code, again.text) == (201, 201, first.text)
    assert again.headers["location"] == first.headers["location"]
    other = client.post("/broadcasts", json=new_broadcast("bunge", title_sw="Jingine"), headers=key)
    assert (other.status_code, other.json()["type"]) == (422, "urn:mbashara:problem:key-reused")
    foreign = stage.client(world.platform).post("/broadcasts", json=new_broadcast("bunge"), headers=key)
    assert foreign.json()["id"] != first.json()["id"], "a key is its token's own"
    stage.pass_s(24 * 3600)
    assert client.post("/broadcasts", json=new_broadcast("bunge"), headers=key).json()["id"] != first.json()["id"]


def test_twins_at_once_are_one(stage: Stage, world: World) -> None:
    client, started = stage.client(world.own), threading.Barrier(4)
    body = new_broadcast("bunge", title_en="Twins")

    def post(_: int) -> int:
        started.wait(60)
        return int(client.post("/broadcasts", json=body, headers={"idempotency-key": "mapacha"}).status_code)

    with ThreadPoolExecutor(4) as pool:
        statuses = sorted(pool.map(post, range(4)))
    assert set(statuses) <= {201, 409} and statuses[0] == 201
    with transaction(world.engine) as session:
        twins = select(func.count()).select_from(Broadcast).where(Broadcast.title_en == "Twins")
        assert session.scalar(twins) == 1


def test_what_failed_is_not_kept(stage: Stage, world: World) -> None:
    client, key = stage.client(world.own), {"idempotency-key": "kosa"}
    backwards = new_broadcast("bunge", planned_end_at="2026-11-30T09:00:00Z")
    for _ in range(2):
        assert client.post("/broadcasts", json=backwards, headers=key).status_code == 422
    assert client.post("/broadcasts", json=new_broadcast("bunge"), headers=key).status_code == 201


# Versions.


def test_an_etag_spares_the_body_and_guards_a_change(stage: Stage, world: World) -> None:
    client = stage.client(world.own)
    path = f"/broadcasts/{planned(client)['id']}"
    tag = client.get(path).headers["etag"]
    spared = client.get(path, headers={"if-none-match": f'"x", W/{tag}'})
    assert (spared.status_code, spared.content, spared.headers["etag"]) == (304, b"", tag)
    assert client.patch(path, json={"title_sw": "A"}).status_code == 428
    changed = client.patch(path, json={"title_sw": "A"}, headers={"if-match": tag})
    assert (changed.status_code, changed.json()["version"]) == (200, 2)
    assert changed.headers["etag"] == client.get(path).headers["etag"] != tag
    late = client.patch(path, json={"title_sw": "B"}, headers={"if-match": tag})
    assert (late.status_code, client.get(path).json()["title_sw"]) == (412, "A")
    assert client.patch(path, json={"title_sw": None}, headers={"if-match": "*"}).status_code == 422


def test_two_who_change_at_once(stage: Stage, world: World) -> None:
    client, started = stage.client(world.own), threading.Barrier(2)
    path = f"/broadcasts/{planned(client)['id']}"
    tag = client.get(path).headers["etag"]

    def change(title: str) -> int:
        started.wait(60)
        return int(client.patch(path, json={"title_sw": title}, headers={"if-match": tag}).status_code)

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(change, ("A", "B"))) == [200, 412]


def test_a_page_leads_to_the_next(stage: Stage, world: World) -> None:
    client = stage.client(world.own)
    made = {planned(client)["id"] for _ in range(5)}
    seen: list[str] = []
    path: str | None = "/broadcasts?limit=2&state=scheduled"
    while path is not None:
        page = client.get(path).json()
        assert len(page["items"]) <= 2
        seen += [item["id"] for item in page["items"]]
        path = page["next"] and page["next"].removeprefix("/api/v1")
    assert len(seen) == len(set(seen)) and made <= set(seen)
    assert client.get("/broadcasts?limit=201").status_code == 422
