"""What the API can be asked for: each operation's scope and a good body, and how tests send them."""

from typing import Any

from sqlalchemy import func, select
from starlette.testclient import TestClient

from core.database import transaction
from core.staff.permissions import Act
from core.staff.tables import AuditEntry
from core.staff.tokens import Read
from tests.live.api_kit import Stage, new_broadcast
from tests.live.api_world import World

PROBLEM = "application/problem+json"


def planned(client: TestClient, channel: str = "bunge") -> dict[str, Any]:
    made = client.post("/broadcasts", json=new_broadcast(channel))
    assert made.status_code == 201, made.text
    found: dict[str, Any] = made.json()
    return found


def audited(world: World) -> int:
    with transaction(world.engine) as session:
        return session.scalar(select(func.count()).select_from(AuditEntry)) or 0


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


def fill(path: str, values: dict[str, str]) -> str:
    for name, value in values.items():
        path = path.replace(name, value)
    return path
