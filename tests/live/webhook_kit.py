"""Receivers of webhooks: a real HTTP server that remembers what it got, and senders on a real database."""

import asyncio
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session
from standardwebhooks import Webhook

from core.database import transaction
from core.webhooks import endpoints
from core.webhooks.endpoints import Made
from core.webhooks.sender import Rules, Sender
from core.webhooks.tables import Event, WebhookDelivery, WebhookEndpoint
from tests.live.staff_kit import BY, PEPPER, added
from tests.up import until

RULES = Rules(timeout_s=30.0, first_wait_s=0.2, give_up_s=0.7, insecure=True)


@dataclass(frozen=True, slots=True)
class Got:
    path: str
    headers: dict[str, str]
    body: bytes
    at_s: float

    @property
    def event(self) -> str:
        return str(self.told["type"])

    @property
    def told(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found

    @property
    def message_id(self) -> str:
        return self.headers["webhook-id"]

    def verified(self, *secrets: str) -> None:
        """As a stranger's receiver does it; raises where it is not from us."""
        for secret in secrets:
            assert Webhook(secret).verify(self.body, self.headers)


@dataclass
class Receiver:
    """Answers 200, but where `answers` has others for a path: each a status, or what is done first and returns one."""

    address: str
    got: list[Got] = field(default_factory=list)
    answers: dict[str, list[int | Callable[[], int]]] = field(default_factory=dict)

    def of(self, path: str) -> list[Got]:
        return [one for one in self.got if one.path == path]

    def wait(self, path: str, many: int) -> list[Got]:
        until(lambda: len(self.of(path)) >= many, f"{path} got {len(self.of(path))} of {many}")
        return self.of(path)

    def take(self, got: Got) -> int:
        self.got.append(got)
        left = self.answers.get(got.path)
        answer = left.pop(0) if left else 200
        return answer if isinstance(answer, int) else answer()


@contextmanager
def receiver(tls: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status = made.take(Got(self.path, headers, body, time.monotonic()))
            try:
                self.send_response(status)
                self.send_header("location", "/elsewhere")
                self.end_headers()
                self.wfile.write(f"status {status}".encode())
            except OSError:
                pass  # whoever asked is gone

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    made = Receiver(f"127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def sending(engine: Engine, rules: Rules = RULES) -> Iterator[Sender]:
    """A sender in a thread, as the work process has one."""
    stopping, sender = threading.Event(), Sender(engine, PEPPER, rules, chance=lambda: 0.5)
    thread = threading.Thread(target=lambda: asyncio.run(sender.run(stopping.is_set)))
    thread.start()
    try:
        yield sender
    finally:
        stopping.set()
        thread.join(60)
    assert not thread.is_alive()


@dataclass(frozen=True, slots=True)
class Hook:
    """A webhook of an institution of its own."""

    engine: Engine
    institution_id: int
    id: int
    path: str
    secret: str

    def send(self, many: int = 1) -> list[str]:
        """Test messages, at once: none is on its way before all are there. Their ids."""
        with transaction(self.engine) as session:
            return [self._send(session) for _ in range(many)]

    def _send(self, session: Session) -> str:
        sent = endpoints.send_test(session, self.row(session), by=BY, now=datetime.now(UTC))
        assert sent is not None
        return sent.message_id

    def row(self, session: Any) -> WebhookEndpoint:
        found: WebhookEndpoint = session.get_one(WebhookEndpoint, self.id)
        return found

    def off(self) -> str | None:
        with transaction(self.engine) as session:
            return self.row(session).off

    def deliveries(self) -> list[WebhookDelivery]:
        with transaction(self.engine) as session:
            mine = select(WebhookDelivery).where(WebhookDelivery.endpoint_id == self.id)
            return list(session.scalars(mine.order_by(WebhookDelivery.id)))

    def states(self) -> list[tuple[str, int]]:
        """Of each delivery its state and how often it was tried."""
        return [(one.state, one.attempts) for one in self.deliveries()]


def hook(engine: Engine, name: str, host: str, scheme: str = "http") -> Hook:
    """Told of everything at /NAME; the institution has the same name."""
    with transaction(engine) as session:
        institution, url = added(session, name), f"{scheme}://{host}/{name}"
        made = endpoints.add(
            session, institution.id, url, list(Event), by=BY, now=datetime.now(UTC), pepper=PEPPER, insecure=True
        )
        assert isinstance(made, Made)
        return Hook(engine, institution.id, made.endpoint.id, f"/{name}", made.secret)
