"""How the API says no: problems in the reader's language, fields by name, rates."""

import pytest

from core.web.limits import Rate
from tests.live.api_kit import Stage
from tests.live.api_operations import PROBLEM
from tests.live.api_world import World


@pytest.fixture
def world(api_world: World) -> World:
    return api_world


@pytest.mark.parametrize(
    ("accepted", "title"),
    [
        ("", "Hakuna kitu hicho hapa."), ("en", "There is no such thing here."),
        ("sw;q=0.5, en-GB;q=0.9", "There is no such thing here."), ("fr", "Hakuna kitu hicho hapa."),
        ("en;q=0, sw;q=0.1", "Hakuna kitu hicho hapa."), ("en;q=x", "Hakuna kitu hicho hapa."),
    ],
)  # fmt: skip
def test_a_problem_is_told_in_the_readers_language(stage: Stage, world: World, accepted: str, title: str) -> None:
    answer = stage.client(world.own, **{"accept-language": accepted}).get("/channels/hakuna")
    assert (answer.headers["content-type"], answer.json()["title"]) == (PROBLEM, title)
    assert answer.headers["cache-control"] == "private, no-store"
    assert set(answer.json()) == {"type", "title", "status", "detail", "errors"}


@pytest.mark.parametrize(
    ("body", "status", "fields"),
    [
        (b"{", 400, ["body"]), (b"[]", 422, ["body"]), (b"{}", 422, ["channel", "title_sw", "title_en"]),
        (b'{"title_sw": "\\u0000"}', 422, ["title_sw"]), (b"\xff", 400, []),
    ],
)  # fmt: skip
def test_a_wrong_body_names_its_fields(stage: Stage, world: World, body: bytes, status: int, fields: list[str]) -> None:
    answer = stage.client(world.own, **{"content-type": "application/json"}).post("/broadcasts", content=body)
    assert answer.status_code == status
    assert set(fields) <= {error["field"] for error in answer.json()["errors"]}


def test_a_misspelt_parameter_is_told(stage: Stage, world: World) -> None:
    answer = stage.client(world.own).get("/broadcasts?chanel=bunge&limit=1")
    assert (answer.status_code, [error["field"] for error in answer.json()["errors"]]) == (422, ["chanel"])


def test_a_token_has_its_rate(world: World) -> None:
    stage = Stage(world.engine, token_rate=Rate(burst=3, per_s=0.5))
    client, other = stage.client(world.own), stage.client(world.platform)
    assert [client.get("/token").headers["ratelimit-remaining"] for _ in range(3)] == ["2", "1", "0"]
    refused = client.get("/token")
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "2")
    assert other.get("/token").status_code == 200
    stage.pass_s(2)
    assert [client.get("/token").status_code for _ in range(2)] == [200, 429]


def test_an_address_that_guesses_waits_but_known_tokens_work(world: World) -> None:
    stage = Stage(world.engine, wrong_token_rate=Rate(burst=2, per_s=0.1))
    client = stage.client(world.own)
    assert client.get("/token").status_code == 200
    wrong = {"authorization": "Bearer mbashara_" + "b" * 43}
    assert [client.get("/token", headers=wrong).status_code for _ in range(3)] == [401, 401, 429]
    assert client.get("/token").status_code == 200
    unseen = {"authorization": f"Bearer {world.platform}"}
    assert client.get("/token", headers=unseen).status_code == 429
    stage.pass_s(10)
    assert client.get("/token", headers=unseen).status_code == 200


def test_nobody_is_told_who_else_may_call(stage: Stage, world: World) -> None:
    answer = stage.client(world.own).get("/token", headers={"origin": "https://example.go.tz"})
    assert not [name for name in answer.headers if name.startswith("access-control")]
