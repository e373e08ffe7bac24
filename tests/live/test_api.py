"""The API on a real PostgreSQL: who may, what crosses, what a body can set, what a stranger's generator finds."""

import contextlib
import json
from datetime import timedelta
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS
from schemathesis.config import SchemathesisConfig
from schemathesis.core.result import Ok
from sqlalchemy import select
from starlette.testclient import TestClient

from core import audit
from core.database import transaction
from core.staff import tokens
from core.staff.tables import ApiToken
from tests.live.api_kit import Stage, new_broadcast, token
from tests.live.api_operations import (
    BODIES,
    OPERATION_SCOPES,
    PROBLEM,
    audited,
    fill,
    name_of,
    operations,
    planned,
    send,
)
from tests.live.api_world import EXPORT, RECORDING, World
from tests.live.staff_kit import BY, NOW, everywhere
from tests.up import Up, command, get

HEALTH = list(HealthCheck)


@pytest.fixture
def world(api_world: World) -> World:
    return api_world


# Tokens.


def test_a_token_is_kept_as_its_hash_alone(world: World) -> None:
    with transaction(world.engine) as session:
        kept = session.scalars(select(ApiToken).where(ApiToken.name == "platform")).one()
        assert world.platform not in repr({name: getattr(kept, name) for name in ("token_hash", "name", "scopes")})
        assert kept.token_hash == tokens.hash_token(world.platform)


@pytest.mark.parametrize("shown", ["", "Basic eDp5", "Bearer", "Bearer x", "Bearer mbashara_" + "a" * 43])
def test_a_wrong_token_is_refused(stage: Stage, shown: str) -> None:
    answer = TestClient(stage.app()).get("/api/v1/token", headers={"authorization": shown})
    assert (answer.status_code, answer.headers["content-type"]) == (401, PROBLEM)
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert "ratelimit-limit" not in answer.headers


def test_a_token_is_over_at_its_expiry_to_the_second(stage: Stage) -> None:
    client = stage.client(token(stage.engine, "mwisho"))
    stage.now = NOW + timedelta(days=30, seconds=-1)
    assert client.get("/token").status_code == 200
    stage.now += timedelta(seconds=1)
    assert client.get("/token").status_code == 401
    assert client.post("/broadcasts", json=new_broadcast("bunge")).status_code == 401


def test_a_revoked_token_is_over_at_once(stage: Stage) -> None:
    client = stage.client(token(stage.engine, "futwa"))
    assert client.get("/token").status_code == 200
    with transaction(stage.engine) as session:
        assert tokens.revoke(session, "futwa", everywhere(), by=BY, now=NOW)
        assert not tokens.revoke(session, "futwa", everywhere(), by=BY, now=NOW)
    assert client.get("/token").status_code == 401


def test_each_operation_wants_its_scope_and_no_other(stage: Stage, world: World) -> None:
    found = operations(stage)
    assert {name_of(operation) for _, _, operation in found} == set(OPERATION_SCOPES)
    places = {
        "{slug}": "bunge",
        "{role}": "primary",
        "{delivery}": str(world.delivery),
        "{export}": EXPORT,
        "{number}": "1",
    }
    for method, path, operation in found:
        name = name_of(operation)
        scope = OPERATION_SCOPES[name]
        if scope is None:
            continue
        lacking = stage.client(_token_without(stage, scope))
        asked = fill(path, {**places, "{id}": world.id_for(path, RECORDING)})
        before = audited(world)
        answer = send(lacking, method, asked, name)
        assert answer.status_code == 403, (name, answer.text)
        assert audited(world) == before


def _token_without(stage: Stage, scope: str) -> str:
    name = f"bila-{scope.replace('.', '-').replace('_', '-')}"
    with transaction(stage.engine) as session:
        session.query(ApiToken).filter(ApiToken.name == name).delete()
    return token(stage.engine, name, None, tokens.SCOPES - {scope})


# Tenants.


def test_no_route_crosses_to_another_institution(stage: Stage, world: World) -> None:
    """Every operation of the contract, asked with a token that may do everything at its own institution, about the
    other's rows; and the same rows must be there for the platform's token, or the test would prove nothing."""
    stranger, platform = stage.client(world.own), stage.client(world.platform)
    theirs = planned(platform, "ikulu")["id"]
    for method, path, operation in operations(stage):
        name = name_of(operation)
        if "{" not in path:
            continue
        places = {
            "{slug}": "ikulu",
            "{role}": "primary",
            "{delivery}": str(world.delivery),
            "{export}": EXPORT,
            "{number}": "1",
        }
        asked = fill(path, {**places, "{id}": world.id_for(path, theirs)})
        before = audited(world)
        answer = send(stranger, method, asked, name)
        assert (answer.status_code, answer.json()["type"]) == (404, "urn:mbashara:problem:not-found"), name
        assert audited(world) == before, name
        if method == "get":
            assert send(platform, method, asked, name).status_code == 200, name


@pytest.mark.parametrize(
    "path", ["/institutions", "/channels", "/broadcasts", "/recordings", "/feeds", "/health", "/webhooks"]
)
def test_lists_hold_ones_own_rows_alone(stage: Stage, world: World, path: str) -> None:
    everyone = stage.client(world.platform).get(path).text
    assert "ikulu" in everyone or str(world.other_id) in everyone
    mine = stage.client(world.own).get(path).json()["items"]
    assert all("ikulu" not in json.dumps(item) for item in mine)
    assert all(item.get("institution_id", world.own_id) == world.own_id for item in mine)


def test_nothing_is_put_under_another_institution(stage: Stage, world: World) -> None:
    client = stage.client(world.own)
    crossing = [
        ("/channels", {"slug": "mgeni", "name_sw": "M", "name_en": "M", "institution_id": world.other_id}, 422),
        ("/broadcasts", new_broadcast("ikulu"), 404),
        ("/institutions", BODIES["add_institution"], 403),
        ("/webhooks", {**BODIES["add_webhook"], "institution_id": world.other_id}, 422),
    ]
    for path, body, status in crossing:
        assert client.post(path, json=body).status_code == status, path
    assert client.get("/broadcasts?channel=ikulu").status_code == 404
    parent = client.patch(
        f"/institutions/{world.own_id}", json={"parent_id": world.other_id}, headers={"if-match": "*"}
    )
    assert (parent.status_code, parent.json()["errors"][0]["field"]) == (422, "parent_id")


@pytest.mark.parametrize("name", BODIES)
def test_a_body_can_set_only_what_is_offered(stage: Stage, world: World, name: str) -> None:
    client = stage.client(world.platform)
    mine = planned(client)
    method, path = next((m, p) for m, p, operation in operations(stage) if name_of(operation) == name)
    identity = str(world.own_id) if "institution" in path else world.id_for(path, mine["id"])
    asked = fill(path, {"{slug}": "bunge", "{role}": "primary", "{id}": identity})
    before = audited(world)
    for field in ("id", "version", "state", "created_by", "air_id", "key_hash", "owner_id"):
        if name == "act" and field == "state":
            continue
        answer = send(client, method, asked, name, {field: 1})
        assert answer.status_code == 422, (name, field)
        assert field in [error["field"] for error in answer.json()["errors"]]
    assert audited(world) == before


# A stranger's generator, on the whole contract.


def test_schemathesis(stage: Stage, world: World) -> None:
    """Every operation, with what the contract allows and what it doesn't. What the database alone can refuse (an end
    before its beginning, an institution that is not there) is 422 too, so a good body may be refused."""
    ours = SchemathesisConfig.from_dict({"generation": {"with-security-parameters": False}})  # the token is given
    schema = schemathesis.openapi.from_asgi("/api/v1/openapi.json", stage.app(), config=ours)
    headers = {"Authorization": f"Bearer {token(world.engine, 'schemathesis')}"}
    excluded = [CHECKS.get_one("positive_data_acceptance")]
    found = list(schema.get_all_operations())
    assert len(found) == len(OPERATION_SCOPES)
    for result in found:
        assert isinstance(result, Ok)
        for mode in GenerationMode:
            _ask(result.ok().as_strategy(generation_mode=mode), headers, excluded)


def _ask(cases: Any, headers: dict[str, str], excluded: list[Any]) -> None:
    @settings(max_examples=10, derandomize=True, database=None, phases=[Phase.generate], suppress_health_check=HEALTH)
    @given(case=cases)
    def ask(case: Any) -> None:
        # A mount takes no newline in a path: that is 404 before the API hears of it.
        assume("%0A" not in case.formatted_path)
        case.call_and_validate(headers=headers, excluded_checks=excluded)

    with contextlib.suppress(Unsatisfiable):  # an operation without parameters can't be asked wrongly
        ask()


@pytest.mark.parametrize("days", ["0", "366", "-1"])
def test_the_command_line_makes_no_token_that_lasts_too_long(mbashara_up: Up, days: str) -> None:
    refused = command(mbashara_up.data, "token", "add", "milele", "--scope", "channel.read", "--days", days)
    assert refused.returncode == 2 and " / A token lasts 1 to 365 days." in refused.stderr


def test_a_token_of_the_command_line_opens_the_api_behind_the_edge(mbashara_up: Up) -> None:
    asked = ["token", "add", "mlango", "--scope", "channel.read", "--scope", "health.read", "--days", "1", "--json"]
    plain = json.loads(command(mbashara_up.data, *asked).stdout)["token"]
    api, shown = f"{mbashara_up.http_url}/api/v1", {"authorization": f"Bearer {plain}"}
    status, body, headers = get(f"{api}/channels", shown)
    assert (status, headers["cache-control"]) == (200, "private, no-store") and "items" in json.loads(body)
    assert json.loads(get(f"{api}/feeds", shown)[1])["complete"] is True
    assert get(f"{api}/openapi.json")[0] == 200
    listed = command(mbashara_up.data, "token", "list", language="sw").stdout.splitlines()
    assert [" ".join(line.split())[:18] for line in listed if "mlango" in line] == ["mlango mfumo wote "]
    assert command(mbashara_up.data, "token", "revoke", "mlango").returncode == 0
    assert get(f"{api}/channels", shown)[0] == 401
    assert command(mbashara_up.data, "token", "revoke", "mlango").returncode == 2


def test_the_chain_of_all_that_was_written_is_whole(world: World) -> None:
    with transaction(world.engine) as session:
        assert audit.verify(session) is None
