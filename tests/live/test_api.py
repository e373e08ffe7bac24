"""The API on a real PostgreSQL: who may, what crosses, what is done once, what a stranger's generator finds."""

import base64
import contextlib
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS
from schemathesis.config import SchemathesisConfig
from schemathesis.core.result import Ok
from sqlalchemy import func, select
from starlette.testclient import TestClient

from archive.recordings import about, statement, verify
from archive.recordings.ledger import read_facts
from core import audit
from core.broadcasts.rights import RIGHT_OF
from core.broadcasts.viewers import Viewers
from core.broadcasts.viewers import keep as keep_viewers
from core.channels import find_channel
from core.database import transaction
from core.staff import tokens
from core.staff.permissions import Act
from core.staff.tables import ApiAnswer, ApiToken, AuditEntry
from core.staff.tokens import Read
from core.tables import Broadcast, SigningKey
from core.web.limits import Rate
from mbashara.cli import show
from tests.live.api_kit import Stage, StandingMedia, new_broadcast, token
from tests.live.api_world import EXPORT, RECORDING, World, filled_world
from tests.live.ledger_kit import tell
from tests.live.staff_kit import BY, NOW, everywhere
from tests.unit.recording_kit import OTHER_ID, PUBLIC_KEY, make_recording
from tests.up import Up, command, get

PLACES = {"{role}": "primary", "{export}": EXPORT, "{number}": "1"}
PROBLEM = "application/problem+json"
HEALTH = list(HealthCheck)


@pytest.fixture(scope="module")
def world(mbashara_up: Up, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with filled_world(mbashara_up, tmp_path_factory.mktemp("exports")) as made:
        yield made


@pytest.fixture
def stage(world: World) -> Stage:
    return Stage(world.engine, StandingMedia(["bunge", "ikulu"]), folder=world.folder)


def planned(client: TestClient, channel: str = "bunge") -> dict[str, Any]:
    made = client.post("/broadcasts", json=new_broadcast(channel))
    assert made.status_code == 201, made.text
    found: dict[str, Any] = made.json()
    return found


def audited(world: World) -> int:
    with transaction(world.engine) as session:
        return session.scalar(select(func.count()).select_from(AuditEntry)) or 0


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


OPERATION_SCOPES = {
    "list_institutions": Read.INSTITUTION, "get_institution": Read.INSTITUTION, "add_institution": Act.INSTITUTION_ADD,
    "change_institution": Act.INSTITUTION_EDIT, "list_channels": Read.CHANNEL, "get_channel": Read.CHANNEL,
    "add_channel": Act.CHANNEL_ADD, "change_channel": Act.CHANNEL_EDIT, "list_keys": Read.CHANNEL,
    "rotate_key": Act.KEY_ROTATE, "revoke_key": Act.KEY_ROTATE, "limit_key": Act.KEY_ROTATE,
    "list_broadcasts": Read.BROADCAST, "get_broadcast": Read.BROADCAST, "plan_broadcast": Act.BROADCAST_CREATE,
    "change_broadcast": Act.BROADCAST_EDIT, "clone_broadcast": Act.BROADCAST_CREATE, "list_events": Read.BROADCAST,
    "act": Act.BROADCAST_GO_LIVE, "send_message": Act.BROADCAST_EDIT, "take_message_away": Act.BROADCAST_EDIT,
    "list_feeds": Act.HEALTH_READ, "list_health": Act.HEALTH_READ, "get_series": Act.HEALTH_READ,
    "list_exports": Read.RECORDING, "get_export": Read.RECORDING, "ask_export": Act.RECORDING_EXPORT,
    "cancel_export": Act.RECORDING_EXPORT, "fetch_export": Act.RECORDING_EXPORT,
    "list_recordings": Read.RECORDING, "get_recording": Read.RECORDING, "get_token": None,
    "get_channel_viewers": Read.CHANNEL, "get_broadcast_viewers": Read.BROADCAST,
    "list_webhooks": Read.WEBHOOK, "get_webhook": Read.WEBHOOK, "add_webhook": Act.WEBHOOK_EDIT,
    "switch_webhook": Act.WEBHOOK_EDIT, "remove_webhook": Act.WEBHOOK_EDIT, "rotate_secret": Act.WEBHOOK_EDIT,
    "send_test": Act.WEBHOOK_EDIT, "list_deliveries": Read.WEBHOOK, "send_again": Act.WEBHOOK_EDIT,
}  # fmt: skip
BODIES: dict[str, dict[str, Any]] = {
    "add_institution": {"slug": "mpya", "name_sw": "Mpya", "name_en": "New"},
    "change_institution": {"name_sw": "Nyingine"},
    "add_channel": {"slug": "mpya", "name_sw": "Mpya", "name_en": "New"},
    "change_channel": {"name_sw": "Nyingine"},
    "limit_key": {"allowed_addresses": ["10.0.0.0/8"]},
    "plan_broadcast": dict(new_broadcast("ikulu")),
    "change_broadcast": {"title_sw": "Jingine"},
    "clone_broadcast": {"planned_start_at": "2026-12-02T09:00:00Z"},
    "act": {"act": "rehearse", "expected_state": "scheduled"},
    "send_message": {"sw": "Habari", "en": "Hello"},
    "add_webhook": {"url": "https://ega.go.tz/hook", "events": ["broadcast.live"]},
    "switch_webhook": {"on": False},
    "ask_export": {"format": "m4a"},
}
"""A good body of every operation that takes one; what it names is the other institution's."""


def operations(stage: Stage) -> list[tuple[str, str, str]]:
    """Method, path and name of everything in the contract."""
    paths = stage.api.openapi()["paths"].items()
    return [
        (method, path, operation["operationId"].split("_api")[0])
        for path, methods in paths
        for method, operation in methods.items()
    ]


def name_of(operation_id: str) -> str:
    return max((name for name in OPERATION_SCOPES if operation_id.startswith(f"{name}_")), key=len)


def send(client: TestClient, method: str, path: str, name: str, more: dict[str, Any] | None = None) -> Any:
    headers = {"if-match": "*"} if method == "patch" else {}
    body = {**BODIES[name], **(more or {})} if name in BODIES else None
    return client.request(method, path, json=body, headers=headers)


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
        asked = _fill(path, {**places, "{id}": world.id_for(path, RECORDING)})
        before = audited(world)
        answer = send(lacking, method, asked, name)
        assert answer.status_code == 403, (name, answer.text)
        assert audited(world) == before


def _token_without(stage: Stage, scope: str) -> str:
    name = f"bila-{scope.replace('.', '-').replace('_', '-')}"
    with transaction(stage.engine) as session:
        session.query(ApiToken).filter(ApiToken.name == name).delete()
    return token(stage.engine, name, None, tokens.SCOPES - {scope})


def _fill(path: str, values: dict[str, str]) -> str:
    for name, value in values.items():
        path = path.replace(name, value)
    return path


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
        asked = _fill(path, {**places, "{id}": world.id_for(path, theirs)})
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


def test_an_export_is_asked_for_once(stage: Stage, world: World) -> None:
    client, path, key = stage.client(world.platform), f"/recordings/{RECORDING}/exports", {"idempotency-key": "nakala"}
    body = {"from_at": "2026-11-24T12:00:10+03:00", "to_ms": 30_000}
    made = client.post(path, json=body, headers=key)
    assert (made.status_code, made.headers["location"]) == (202, f"/api/v1{path}/{made.json()['id']}")
    assert (made.json()["state"], made.json()["from_ms"], made.json()["to_ms"]) == ("waiting", 10_000, 30_000)
    assert client.post(path, json=body, headers=key).json()["id"] == made.json()["id"]
    one = f"{path}/{made.json()['id']}"
    shown = client.get(one)
    assert client.get(one, headers={"if-none-match": shown.headers["etag"]}).status_code == 304
    assert [client.post(f"{one}/cancel").status_code for _ in range(2)] == [200, 409]
    assert client.get(one, headers={"if-none-match": shown.headers["etag"]}).json()["state"] == "cancelled"
    assert client.get(path).json()["items"][0]["state"] == "cancelled"
    for wrong in ({"from_ms": 5, "to_ms": 5}, {"rendition": "4k"}, {"format": "avi"}, {"from_ms": -1}):
        assert client.post(path, json=wrong).status_code == 422, wrong
    assert client.post(path, json={"format": "bag"}).status_code == 409, "it is on the air"
    fetched = client.get(f"{path}/{EXPORT}/files/1")
    assert fetched.headers["x-accel-redirect"] == f"/_exports/{EXPORT}/a.mp4"


@pytest.mark.parametrize("name", BODIES)
def test_a_body_can_set_only_what_is_offered(stage: Stage, world: World, name: str) -> None:
    client = stage.client(world.platform)
    mine = planned(client)
    method, path = next((m, p) for m, p, operation in operations(stage) if name_of(operation) == name)
    identity = str(world.own_id) if "institution" in path else world.id_for(path, mine["id"])
    asked = _fill(path, {"{slug}": "bunge", "{role}": "primary", "{id}": identity})
    before = audited(world)
    for field in ("id", "version", "state", "created_by", "air_id", "key_hash", "owner_id"):
        if name == "act" and field == "state":
            continue
        answer = send(client, method, asked, name, {field: 1})
        assert answer.status_code == 422, (name, field)
        assert field in [error["field"] for error in answer.json()["errors"]]
    assert audited(world) == before


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


def test_a_stream_key_is_shown_once_and_kept_nowhere(stage: Stage, world: World) -> None:
    client, key = stage.client(world.platform), {"idempotency-key": "funguo"}
    body = {"slug": "siri", "name_sw": "Siri", "name_en": "Secret", "institution_id": world.own_id}
    made = client.post("/channels", json=body, headers=key)
    assert made.status_code == 201
    again = client.post("/channels", json=body, headers=key)
    assert (again.status_code, again.json()["type"]) == (409, "urn:mbashara:problem:already-done")
    rotated = client.post("/channels/siri/keys/primary/rotate").json()["key"]
    client.put("/channels/siri/keys/backup/addresses", json={"allowed_addresses": ["10.1.2.3"]})
    client.delete("/channels/siri/keys/backup")
    client.post("/channels/siri/keys/backup/rotate")
    with transaction(world.engine) as session:
        entries = audit.list_entries(session, everywhere(), audit.Filter(subject="channel:siri"))
    acts = [entry.act for entry in entries]
    assert acts == ["key.make", "key.revoke", "key.limit", "key.rotate", "channel.add"], "each by its name"
    assert rotated != made.json()["primary_key"]
    with transaction(world.engine) as session:
        for kept in session.scalars(select(ApiAnswer)).all():
            assert made.json()["primary_key"] not in (kept.body or "")
        exported = "".join(audit.export(session, everywhere()))
        assert rotated not in exported and made.json()["backup_key"] not in exported
    assert rotated not in client.get("/channels/siri/keys").text
    assert stage.media.refreshed.count("siri") == 5


# Webhooks.


def test_a_webhooks_life(stage: Stage, world: World) -> None:
    client, key = stage.client(world.own), {"idempotency-key": "kiunganishi"}
    made = client.post("/webhooks", json=BODIES["add_webhook"], headers=key)
    assert made.status_code == 201 and made.json()["secret"].startswith("whsec_")
    path, secret = made.headers["location"].removeprefix("/api/v1"), made.json()["secret"]
    assert client.post("/webhooks", json=BODIES["add_webhook"], headers=key).status_code == 409, "shown once"
    private = client.post("/webhooks", json={**BODIES["add_webhook"], "url": "https://10.0.0.1/"})
    assert (private.status_code, private.json()["errors"][0]["field"]) == (422, "url")
    sent = client.post(f"{path}/test")
    assert (sent.status_code, sent.json()["state"], sent.json()["event"]) == (202, "waiting", "webhook.test")
    again = f"{path}/deliveries/{sent.json()['id']}/again"
    assert client.post(again).status_code == 409, "it still waits"
    rotated = client.post(f"{path}/rotate").json()
    assert rotated["secret"] != secret and rotated["old_secret_until"] == "2026-11-25T09:00:00Z"
    off = client.patch(path, json={"on": False}, headers={"if-match": client.get(path).headers["etag"]})
    assert (off.status_code, off.json()["off"]) == (200, "person")
    assert [client.post(one).status_code for one in (f"{path}/test", again)] == [409, 409]
    assert client.patch(path, json={"on": True}, headers={"if-match": off.headers["etag"]}).json()["off"] is None
    assert client.post(again).json()["message_id"] == sent.json()["message_id"]
    listed = client.get(f"{path}/deliveries?limit=1").json()
    assert (listed["items"][0]["state"], "next" in listed and listed["next"] is not None) == ("waiting", True)
    older = client.get(listed["next"].removeprefix("/api/v1")).json()
    assert ([one["state"] for one in older["items"]], older["next"]) == (["given_up"], None)
    assert secret not in client.get("/webhooks").text and rotated["secret"] not in client.get(path).text
    assert (client.delete(path).status_code, client.get(path).status_code) == (204, 404)
    with transaction(world.engine) as session:
        entries = audit.list_entries(session, everywhere(), audit.Filter(subject=f"webhook:{path[10:]}"))
        done = ["add", "test", "rotate", "disable", "enable", "again", "delete"]
        assert [entry.act for entry in reversed(entries)] == [f"webhook.{act}" for act in done]
        assert secret not in "".join(audit.export(session, everywhere()))
        assert all(secret not in (kept.body or "") for kept in session.scalars(select(ApiAnswer)))


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


# Broadcasts.


def test_a_broadcast_is_led_through_its_life(stage: Stage, world: World) -> None:
    client = stage.client(world.own)
    path = f"/broadcasts/{planned(client)['id']}"

    def act(wanted: str, expected: str) -> Any:
        return client.post(f"{path}/acts", json={"act": wanted, "expected_state": expected})

    assert act("rehearse", "scheduled").json()["state"] == "rehearsal"
    assert act("rehearse", "scheduled").status_code == 409, "overtaken"
    assert act("archive", "rehearsal").status_code == 409, "not possible"
    live = act("go_live", "rehearsal").json()
    assert (live["state"], live["undo_until"]) == ("live", "2026-11-24T09:00:10Z")
    told = client.put(f"{path}/message", json={"sw": "Samahani", "en": "Sorry", "level": "warning"})
    assert told.json()["message"] == {"sw": "Samahani", "en": "Sorry", "level": "warning"}
    assert client.delete(f"{path}/message").json()["message"] is None
    assert act("end", "live").json()["ends_at"] == "2026-11-24T09:00:10Z"
    stage.pass_s(11)
    assert act("undo_end", "live").status_code == 409, "too late"
    kinds = [event["kind"] for event in client.get(f"{path}/events").json()["items"]]
    assert kinds == ["schedule", "rehearse", "go_live", "message", "message", "end"]
    assert stage.media.refreshed == ["bunge"] * 5
    with transaction(world.engine) as session:
        entries = audit.list_entries(session, everywhere(), audit.Filter(subject=f"broadcast:{path[12:]}"))
        assert {entry.actor for entry in entries} == {"token:bunge"}
        done = ["create", "rehearse", "go_live", "message", "message", "end"]
        assert [entry.act for entry in reversed(entries)] == [f"broadcast.{one}" for one in done], "as the console's"
        session.get_one(Broadcast, path[12:]).state = "ended"


def test_every_act_of_people_has_a_scope() -> None:
    words = {"edit", "message", "close"}
    assert {str(act) for act in RIGHT_OF} == {str(act) for act in type(next(iter(RIGHT_OF)))} - words


def test_a_wait_for_an_encoder_that_never_came_back_is_none_of_the_gaps(world: World, tmp_path: Path) -> None:
    """As the statement and the pages have it; and on the command line. Papers that don't prove it tell of no wait."""
    folder, raw = make_recording(tmp_path, recording=OTHER_ID, lost=(2, 5)), [(8000, 12_000), (20_000, 24_000)]
    stage = Stage(world.engine, folder=tmp_path)
    with transaction(world.engine) as session:
        channel = find_channel(session, "bunge")
        assert channel is not None
        where = {"channel_id": channel.id, "institution_id": world.own_id}
        for fact in read_facts(folder):
            tell(session, OTHER_ID, {**fact, **(where if fact["fact"] == "started" else {})})
        session.add(
            SigningKey(
                id=verify.key_id(PUBLIC_KEY), institution_id=world.own_id,
                public_key=base64.b64encode(PUBLIC_KEY).decode(), created_at=NOW,
            )
        )  # fmt: skip
    told = stage.client(world.own).get(f"/recordings/{OTHER_ID}").json()
    spans = [(gap["from_ms"], gap["to_ms"]) for gap in told["gaps"]]
    assert (told["waited"], spans) == ({"from_ms": 20_000, "to_ms": 24_000}, raw[:1])
    stated = statement.state(folder, about.from_files(folder), NOW, "Asha")
    assert stated["waited"]["ms"] == 4000
    with transaction(world.engine) as session:
        shown = show.describe(session, tmp_path, OTHER_ID, None)
        assert (shown["gaps"], shown["waited"]) == (told["gaps"], told["waited"])
        assert [line for line in show.lines(shown) if "the encoder did not come back" in line and "0:20.000 -" in line]
    (folder / "signatures.jsonl").unlink()
    told = stage.client(world.own).get(f"/recordings/{OTHER_ID}").json()
    assert told["waited"] is None and [(gap["from_ms"], gap["to_ms"]) for gap in told["gaps"]] == raw


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


def test_health_says_what_to_do_in_the_callers_language(stage: Stage, world: World) -> None:
    said = [
        stage.client(world.own, **{"accept-language": language}).get("/health").json()["items"][0]["issues"][0]
        for language in ("en", "sw")
    ]
    assert said[0]["cause"] == "No sound has come for 12 s."
    assert said[1]["cause"] != said[0]["cause"]


# Errors and rates.


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


def test_viewers_now_and_in_their_course(stage: Stage, world: World) -> None:
    client = stage.client(world.platform)
    now = {"viewers": 12, "sound_only": 3, "is_least": False}
    channel, path = client.get("/channels/ikulu"), f"/broadcasts/{RECORDING}"
    assert client.get("/channels/ikulu/viewers").json() == {"now": now}
    with transaction(world.engine) as session:
        for seconds, viewers in ((0, 7), (10, 9), (20, 8)):
            at = NOW + timedelta(seconds=seconds)
            keep_viewers(session, {"ikulu": Viewers(viewers, 1), "bunge": Viewers(99)}, at)
            keep_viewers(session, {"ikulu": Viewers(1)}, at)
    told = client.get(f"{path}/viewers").json()
    assert told["now"] == now and [one["viewers"] for one in told["series"]] == [7, 9, 8]
    assert (told["peak"]["viewers"], told["peak"]["at"]) == (9, "2026-11-24T09:00:10Z")
    assert client.get("/channels/ikulu").headers["etag"] == channel.headers["etag"]
    for address in ("/channels/ikulu/viewers", f"{path}/viewers"):
        assert stage.client(world.own).get(address).status_code == 404
