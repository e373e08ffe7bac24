"""What the API tells of each thing, and what is done with it from its beginning to its end."""

import base64
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from archive.recordings import about, statement, verify
from archive.recordings.ledger import read_facts
from core import audit
from core.broadcasts.rights import RIGHT_OF
from core.broadcasts.viewers import Viewers
from core.broadcasts.viewers import keep as keep_viewers
from core.channels import find_channel
from core.database import transaction
from core.staff.tables import ApiAnswer
from core.tables import Broadcast, Recording, SigningKey
from mbashara.cli import show
from tests.live.api_kit import Stage
from tests.live.api_operations import BODIES, planned
from tests.live.api_world import EXPORT, RECORDING, World
from tests.live.ledger_kit import tell
from tests.live.staff_kit import NOW, everywhere
from tests.unit.recording_kit import OTHER_ID, PUBLIC_KEY, make_recording


@pytest.fixture
def world(api_world: World) -> World:
    return api_world


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
    with transaction(stage.engine) as session:
        session.get_one(Recording, RECORDING).disposed_at = NOW
    refused = client.post(path, json={"format": "m4a"}, headers={"accept-language": "sw"})
    assert (refused.status_code, refused.json()["detail"]) == (410, "Rekodi hii imeteketezwa kwa amri.")
    with transaction(stage.engine) as session:
        session.get_one(Recording, RECORDING).disposed_at = None
    fetched = client.get(f"{path}/{EXPORT}/files/1")
    assert fetched.headers["x-accel-redirect"] == f"/_exports/{EXPORT}/a.mp4"


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


def test_whether_media_obeys_already_is_said(stage: Stage, world: World) -> None:
    client, key = stage.client(world.own), {"idempotency-key": "mara-moja"}
    path, act = f"/broadcasts/{planned(client)['id']}", {"act": "rehearse", "expected_state": "scheduled"}
    done, again = (client.post(f"{path}/acts", json=act, headers=key) for _ in range(2))
    assert (done.headers["mbashara-in-force"], again.json()) == ("now", done.json())
    assert "mbashara-in-force" not in again.headers, "a kept answer doesn't know"
    stage.media.obeys = False
    asked = ["/channels/bunge/keys/backup", f"{path}/message"]
    assert [client.delete(one).headers.get("mbashara-in-force") for one in asked] == ["later", "later"]
    assert "mbashara-in-force" not in client.get(path).headers
    client.post(f"{path}/acts", json={"act": "stand_down", "expected_state": "rehearsal"})
    told = {
        (path, method)
        for path, methods in stage.api.openapi()["paths"].items() for method, operation in methods.items()
        for response in operation["responses"].values() if "Mbashara-In-Force" in response.get("headers", {})
    }  # fmt: skip
    assert len(told) == 8 and ("/channels/{slug}/keys/{role}", "delete") in told


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


def test_health_says_what_to_do_in_the_callers_language(stage: Stage, world: World) -> None:
    said = [
        stage.client(world.own, **{"accept-language": language}).get("/health").json()["items"][0]["issues"][0]
        for language in ("en", "sw")
    ]
    assert said[0]["cause"] == "No sound has come for 12 s."
    assert said[1]["cause"] != said[0]["cause"]


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
