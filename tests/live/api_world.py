"""Two institutions for tests of the API: one asks, and nothing of the other's may cross."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from archive.exports.tables import ExportJob
from core.channels import add_channel, find_channel
from core.database import transaction
from core.webhooks import endpoints
from core.webhooks.endpoints import Made
from core.webhooks.tables import WebhookDelivery
from tests.live.api_kit import token
from tests.live.ledger_kit import tell
from tests.live.staff_kit import BY, NOW, PEPPER, added, database
from tests.up import Up

RECORDING = "01jdx00000000000000000000a"
EXPORT = "01jdx0000000000000000exp01"


@dataclass(frozen=True)
class World:
    """Two institutions with a channel each; `own` is the token of the first, `platform` is good everywhere. `hook` is
    the other's webhook, `delivery` what was sent there."""

    engine: Engine
    own_id: int
    other_id: int
    own: str
    platform: str
    hook: int
    delivery: int
    folder: Path

    def id_for(self, path: str, broadcast: str) -> str:
        """What the other institution has there."""
        numbers = {"/institutions": self.other_id, "/webhooks": self.hook, "/recordings": RECORDING}
        return str(next((number for start, number in numbers.items() if path.startswith(start)), broadcast))


@contextmanager
def filled_world(up: Up, folder: Path) -> Iterator[World]:
    """In a database of its own; the files of exports lie in `folder`."""
    with database(up, "api_test") as engine:
        with transaction(engine) as session:
            own, other = added(session, "bunge"), added(session, "ikulu")
            for slug in ("bunge", "ikulu"):
                add_channel(session, slug, name_sw=slug, name_en=slug, pepper=PEPPER, now=NOW, institution=slug)
            _record(session, other.id)
            _export(session, other.id, folder)
            ids, sent = (own.id, other.id), _hook(session, other.id)
        yield World(
            engine, *ids, token(engine, "bunge", ids[0]), token(engine, "platform"), sent.endpoint_id, sent.id, folder
        )


def _record(session: Any, institution_id: int) -> None:
    channel = find_channel(session, "ikulu")
    assert channel is not None
    fact = {
        "fact": "started", "at": NOW.isoformat(), "channel_id": channel.id, "institution_id": institution_id,
        "broadcast": RECORDING, "channel": "ikulu",
    }  # fmt: skip
    tell(session, RECORDING, fact)


def _export(session: Any, institution_id: int, folder: Path) -> None:
    """One of the recording that is done."""
    file = {"name": "a.mp4", "size": 6, "sha256": "0" * 64, "from_ms": 0, "to_ms": 1000}
    (folder / EXPORT).mkdir()
    (folder / EXPORT / "a.mp4").write_bytes(b"a film")
    session.add(
        ExportJob(
            id=EXPORT, institution_id=institution_id, recording_id=RECORDING, state="done", format="mp4", percent=100,
            attempt=1, detail="", files=[file], agent="api", asked_by="token:x", created_at=NOW,
        )
    )  # fmt: skip


def _hook(session: Any, institution_id: int) -> WebhookDelivery:
    made = endpoints.add(
        session, institution_id, "https://ikulu.go.tz/", ["feed.lost"], by=BY, now=NOW, pepper=PEPPER, insecure=False
    )
    assert isinstance(made, Made)
    sent = endpoints.send_test(session, made.endpoint, by=BY, now=NOW)
    assert sent is not None
    sent.state = "delivered"
    return sent
