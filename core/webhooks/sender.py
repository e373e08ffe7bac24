"""Sends what waits in the outbox: one event loop, in a thread of its own (`run`).

Each endpoint is told one thing at a time, in order, by a task of its own, so a slow receiver holds up nobody else; how
many are told at once is bounded. Of all senders on one database one works: it holds an advisory lock on the connection
that it looks for work on, so a killed one is followed at once.
"""

import asyncio
import random
import socket
import ssl
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.cookiejar import DefaultCookiePolicy

import httpx
import structlog
from cryptography.fernet import InvalidToken
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from core.audit import WEBHOOKS, Actor
from core.database import DatabaseAway, transaction
from core.webhooks import endpoints, outbox, signing
from core.webhooks.address import NotAllowed, choose
from core.webhooks.outbox import Due, Outcome
from core.webhooks.retry import wait_s
from core.webhooks.tables import Failure, Off, State, WebhookDelivery, WebhookEndpoint

LOCK = 0x776562686F6F6B  # any constant of our own
POLL_S = 0.5
PRUNE_S = 3600.0
MAX_AT_ONCE = 16
TURN_S = 10.0
"""After so long the endpoint waits for its turn again."""
ANSWER_BYTES = 500
BY = Actor(None, WEBHOOKS)
GONE = 410

log: structlog.stdlib.BoundLogger = structlog.get_logger("mbashara.webhooks")
Resolve = Callable[[str, int], Awaitable[list[str]]]


@dataclass(frozen=True, slots=True)
class Rules:
    """How messages are sent. `insecure`: over http and to addresses that are not public, too."""

    timeout_s: float = 10.0
    first_wait_s: float = 5.0
    give_up_s: float = 3 * 86_400.0
    kept: timedelta = timedelta(days=30)
    insecure: bool = False


@dataclass(slots=True)
class Sender:
    """`resolve` looks a name up: the addresses of a host and port. `pause` ends when something may be due."""

    engine: Engine
    pepper: bytes
    rules: Rules = field(default_factory=Rules)
    tls: ssl.SSLContext = field(default_factory=ssl.create_default_context)
    resolve: Resolve | None = None
    chance: Callable[[], float] = random.random
    pause: Callable[[], Awaitable[None]] = lambda: asyncio.sleep(POLL_S)
    _names: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(MAX_AT_ONCE, "webhook-names"))
    _busy: dict[int, asyncio.Task[None]] = field(default_factory=dict)
    _lock: Connection | None = None
    _pruned_s: float = 0.0
    _is_away: bool = False

    async def run(self, stopping: Callable[[], bool]) -> None:
        """Until `stopping`, or cancelled. What is being sent then is broken off, and sent again by the next sender."""
        async with self._client() as client:
            try:
                while not stopping():
                    await self._round(client)
                    await self.pause()
            finally:
                for task in self._busy.values():
                    task.cancel()
                await asyncio.gather(*self._busy.values(), return_exceptions=True)
                self._drop_lock()
                self._names.shutdown(wait=False, cancel_futures=True)

    def _client(self) -> httpx.AsyncClient:
        # A kept connection belongs to an address: of two names there, one would be asked on the other's TLS.
        limits = httpx.Limits(max_connections=MAX_AT_ONCE, max_keepalive_connections=0)
        client = httpx.AsyncClient(
            verify=self.tls, trust_env=False, follow_redirects=False, limits=limits, timeout=self.rules.timeout_s
        )
        # So would a cookie: none is kept, as names on one address are different tenants'.
        client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=()))
        return client

    async def _round(self, client: httpx.AsyncClient) -> None:
        try:
            found = await asyncio.to_thread(self._look, frozenset(self._busy))
            self._is_away = False
        except DatabaseAway as error:
            if not self._is_away:
                log.warning("database away", reason=str(error))
            self._is_away = True
            return
        for due in found[: MAX_AT_ONCE - len(self._busy)]:
            task = asyncio.create_task(self._serve(client, due), name=f"webhook {due.endpoint_id}")
            self._busy[due.endpoint_id] = task
            task.add_done_callback(lambda _, endpoint_id=due.endpoint_id: self._busy.pop(endpoint_id))  # type: ignore[misc]

    def _look(self, busy: frozenset[int]) -> list[Due]:
        """What is due, if this is the sender that works."""
        try:
            if self._lock is None:
                self._lock = self._take_lock()
            if self._lock is None:
                return []
            with Session(self._lock) as session:
                found = list(outbox.due(session, datetime.now(UTC), but=busy))
        except (DBAPIError, PoolTimeout) as error:
            self._drop_lock()
            raise DatabaseAway(str(error.__cause__ or error).strip()) from error
        if time.monotonic() - self._pruned_s >= PRUNE_S or not self._pruned_s:
            self._prune()
        return found

    def _take_lock(self) -> Connection | None:
        connection = self.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        if connection.scalar(text("select pg_try_advisory_lock(:lock)"), {"lock": LOCK}):
            return connection
        connection.close()
        return None

    def _drop_lock(self) -> None:
        """Closes the connection rather than giving it back, as its lock would go back with it."""
        lock, self._lock = self._lock, None
        if lock is not None:
            try:
                lock.invalidate()
                lock.close()
            except SQLAlchemyError as error:
                log.warning("the lock's connection was not closed", reason=str(error))

    def _prune(self) -> None:
        with transaction(self.engine) as session:
            gone = outbox.prune(session, datetime.now(UTC) - self.rules.kept)
        if gone < outbox.PRUNED_AT_ONCE:
            self._pruned_s = time.monotonic()

    async def _serve(self, client: httpx.AsyncClient, first: Due) -> None:
        due: Due | None = first
        until_s = time.monotonic() + TURN_S
        try:
            while due is not None and time.monotonic() < until_s:
                outcome = await self.attempt(client, due)
                due = await asyncio.to_thread(self._write_down, due, outcome)
        except DatabaseAway:
            await self._hold()  # the outcome is not written, so it is sent again, with the same id
        except Exception:
            log.exception("not sent", endpoint=first.endpoint_id, delivery=first.id)
            await self._hold()

    async def _hold(self) -> None:
        """The endpoint counts as busy meanwhile: whatever goes wrong here, no receiver is flooded."""
        await asyncio.sleep(self.rules.first_wait_s)

    async def attempt(self, client: httpx.AsyncClient, due: Due) -> Outcome:
        """Within the time limit, from the look-up of the name on. A receiver that has said its status has answered,
        however slowly it goes on."""
        began_s = time.monotonic()
        status, data, failure = None, b"", None
        try:
            async with asyncio.timeout(self.rules.timeout_s):
                answer = await client.send(await self._request(client, due), stream=True)
                status = answer.status_code
                try:
                    data = await _beginning(answer)
                finally:
                    await answer.aclose()
        except (TimeoutError, NotAllowed, InvalidToken, OSError, httpx.HTTPError, UnicodeError) as error:
            failure = None if status is not None else _failure(error)
        return Outcome(round((time.monotonic() - began_s) * 1000), status, _readable(data), failure)

    async def _request(self, client: httpx.AsyncClient, due: Due) -> httpx.Request:
        """To the address that was checked, though the receiver hears its own name."""
        url = httpx.URL(due.url)
        if url.scheme != "https" and not self.rules.insecure:
            raise NotAllowed
        port = url.port or (443 if url.scheme == "https" else 80)
        address = choose(await self._addresses(url.host, port), insecure=self.rules.insecure)
        body, now = due.body.encode(), datetime.now(UTC)
        signing_secrets = endpoints.signing_secrets(due, pepper=self.pepper, now=now)
        headers = {
            "host": url.netloc.decode(), "content-type": "application/json", "user-agent": "Mbashara-Webhooks",
            "accept-encoding": "identity", **signing.headers(due.message_id, now, body, signing_secrets),
        }  # fmt: skip
        return client.build_request(
            "POST", url.copy_with(host=address), content=body, headers=headers,
            extensions={"sni_hostname": url.raw_host.decode()},
        )  # fmt: skip

    async def _addresses(self, host: str, port: int) -> list[str]:
        if self.resolve is not None:
            return await self.resolve(host, port)
        found = await asyncio.get_running_loop().run_in_executor(self._names, _look_up, host, port)
        return list(dict.fromkeys(found))

    def _write_down(self, sent: Due, outcome: Outcome) -> Due | None:
        """The outcome, and what follows from it; the endpoint's next delivery, if that is due now."""
        now = datetime.now(UTC)
        with transaction(self.engine) as session:
            endpoint = session.get(WebhookEndpoint, sent.endpoint_id, with_for_update={"key_share": True})
            delivery = session.get(WebhookDelivery, sent.id)
            if endpoint is None or delivery is None:
                return None  # deleted meanwhile
            wait = wait_s(delivery.attempts + 1, self.rules.first_wait_s, self.rules.give_up_s, self.chance())
            outbox.record(session, delivery, outcome, now, wait)
            if not outcome.is_accepted and delivery.state == State.WAITING:
                self._fail(session, endpoint, outcome, now, wait)
        log.info(
            "webhook sent", endpoint=sent.endpoint_id, message=sent.message_id, status=outcome.status,
            failure=outcome.failure, took_ms=outcome.took_ms,
        )  # fmt: skip
        return self._following(sent, now) if outcome.is_accepted else None

    def _fail(
        self, session: Session, endpoint: WebhookEndpoint, outcome: Outcome, now: datetime, wait: float | None
    ) -> None:
        if outcome.status == GONE:
            endpoints.switch_off(session, endpoint, Off.GONE, by=BY, now=now)
        elif wait is None:
            endpoints.switch_off(session, endpoint, Off.FAILING, by=BY, now=now)

    def _following(self, sent: Due, now: datetime) -> Due | None:
        with transaction(self.engine) as session:
            found = outbox.due(session, now, endpoint_id=sent.endpoint_id)
        return found[0] if found else None


def _look_up(host: str, port: int) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    return [str(address[0]) for *_, address in found]


def _failure(error: Exception) -> Failure:
    if isinstance(error, TimeoutError | httpx.TimeoutException):
        return Failure.TIMEOUT
    if isinstance(error, NotAllowed):
        return Failure.PRIVATE
    if isinstance(error, InvalidToken):
        return Failure.SECRET
    if isinstance(error, socket.gaierror | UnicodeError):
        return Failure.NAME
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            return Failure.TLS
        cause = cause.__cause__ or cause.__context__
    return Failure.CONNECTION


async def _beginning(answer: httpx.Response) -> bytes:
    """As it came, undecoded: what is short on the wire can be endless when it is unpacked."""
    found = b""
    async for chunk in answer.aiter_raw():
        found += chunk
        if len(found) >= ANSWER_BYTES:
            break
    return found[:ANSWER_BYTES]


def _readable(data: bytes) -> str:
    text = data.decode(errors="replace")[:ANSWER_BYTES]
    return "".join(letter if letter.isprintable() or letter == "\n" else "\N{REPLACEMENT CHARACTER}" for letter in text)
