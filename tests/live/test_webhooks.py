"""Webhooks sent to a real receiver from a real database: what is told, in which order, how often, and where never."""

import asyncio
import secrets
import signal
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from sqlalchemy import Engine, select, text
from standardwebhooks import WebhookVerificationError

from archive.recordings import rows
from core import audit
from core.broadcasts import acts, queries
from core.broadcasts.lifecycle import SETTLE, UNDO, Act, State
from core.broadcasts.queries import Outline
from core.channels import add_channel, find_channel
from core.database import transaction
from core.ids import RANDOM_BYTES, new_id
from core.webhooks import endpoints, outbox
from core.webhooks.outbox import Outcome
from core.webhooks.sender import Sender
from core.webhooks.tables import Failure, WebhookDelivery
from mbashara.data import prepare
from mbashara.settings import Settings
from tests.live.ledger_kit import ledger
from tests.live.staff_kit import BY, PEPPER, database, everywhere
from tests.live.webhook_kit import RULES, Hook, Receiver, hook, receiver, sending
from tests.up import Up, environment, until


@pytest.fixture(scope="module")
def engine(mbashara_up: Up) -> Iterator[Engine]:
    with database(mbashara_up, "webhooks_test", pool_size=12) as engine:
        yield engine


@pytest.fixture(scope="module")
def inbox(engine: Engine) -> Iterator[Receiver]:
    """Two senders are there for every test below: only one of them may send."""
    with ExitStack() as stack:
        made = stack.enter_context(receiver())
        for _ in range(2):
            stack.enter_context(sending(engine))
        yield made


def chance() -> bytes:
    return secrets.token_bytes(RANDOM_BYTES)


# What is told.


def test_each_change_of_a_broadcast_is_told_in_order(engine: Engine, inbox: Receiver) -> None:
    made, now = hook(engine, "bunge", inbox.address), datetime.now(UTC) - UNDO - SETTLE
    with transaction(engine) as session:
        add_channel(session, "bunge", name_sw="Bunge", name_en="House", pepper=PEPPER, now=now, institution="bunge")
        channel = find_channel(session, "bunge")
        assert channel is not None
        planned = queries.schedule(
            session, channel, Outline("Kikao", "Sitting", now), actor="Asha", now=now, randomness=chance()
        )
    steps = [
        (Act.REHEARSE, State.SCHEDULED), (Act.STAND_DOWN, State.REHEARSAL), (Act.GO_LIVE, State.SCHEDULED),
        (Act.UNDO_GO_LIVE, State.LIVE), (Act.GO_LIVE, State.REHEARSAL), (Act.END, State.LIVE),
        (Act.UNDO_END, State.LIVE), (Act.END, State.LIVE),
    ]  # fmt: skip
    for step, expected in steps:
        with transaction(engine) as session:
            acts.act(session, made.institution_id, planned.id, step, now, expected, actor="A", randomness=chance())
    with transaction(engine) as session:
        assert acts.close_due(session, now + UNDO + SETTLE) == 1
    with transaction(engine) as session:
        acts.act(
            session, made.institution_id, planned.id, Act.ARCHIVE, now, State.ENDED, actor="A", randomness=chance()
        )
    told = inbox.wait(made.path, 8)
    names = ["scheduled", "rehearsal", "scheduled", "live", "rehearsal", "live", "ended", "archived"]
    assert [one.event for one in told] == [f"broadcast.{name}" for name in names]
    assert [one.told["data"]["previous_state"] for one in told] == [None, *names[:-1]]
    assert [one.told["data"]["broadcast"]["state"] for one in told] == names
    assert {one.told["data"]["channel"] for one in told} == {"bunge"}
    assert len({one.message_id for one in told}) == 8
    for one in told:
        one.verified(made.secret)


def test_what_media_tells_is_told(engine: Engine, inbox: Receiver) -> None:
    """A feed that goes on the air by itself, is lost, comes back, ends; and a killed process that is back."""
    made, now = hook(engine, "ikulu", inbox.address), datetime.now(UTC)
    with transaction(engine) as session:
        add_channel(session, "ikulu", name_sw="Ikulu", name_en="House", pepper=PEPPER, now=now, institution="ikulu")
        channel = find_channel(session, "ikulu")
        assert channel is not None
        recording = new_id(now, chance())
        facts: list[dict[str, object]] = [
            {"fact": "started", "channel_id": channel.id, "institution_id": made.institution_id},
            {"fact": "lost", "cause": "stalled", "at_ms": 1000},
            {"fact": "gap", "from_ms": 1000, "to_ms": 3000, "cause": "stalled"},
            {"fact": "ended", "duration_ms": 5000, "size_bytes": 1, "reason": "over"},
        ]
        rows.apply(session, recording, ledger(*({**fact, "at": now.isoformat()} for fact in facts)))
    told = inbox.wait(made.path, 4)
    assert [one.event.partition(".")[2] for one in told] == ["live", "lost", "back", "ended"]
    assert told[1].told["data"]["cause"] == "stalled"


def test_what_did_not_happen_is_not_told(engine: Engine, inbox: Receiver) -> None:
    made = hook(engine, "geita", inbox.address)
    with pytest.raises(ZeroDivisionError), transaction(engine) as session:
        endpoints.send_test(session, made.row(session), by=BY, now=datetime.now(UTC))
        raise ZeroDivisionError
    sent = made.send()
    assert [one.message_id for one in inbox.wait(made.path, 1)] == sent


# How it is sent.


def test_a_message_is_sent_again_until_it_is_taken_and_those_behind_wait(engine: Engine, inbox: Receiver) -> None:
    made = hook(engine, "iringa", inbox.address)
    inbox.answers[made.path] = [500, 307]
    first, second = made.send(2)
    got = inbox.wait(made.path, 4)
    assert [one.message_id for one in got] == [first, first, first, second]
    assert not inbox.of("/elsewhere"), "no redirect is followed"
    assert got[1].at_s - got[0].at_s > 0.19 and got[2].at_s - got[1].at_s > 0.59, "waits grow threefold"
    for one in got:
        one.verified(made.secret)
    until(lambda: made.states() == [("delivered", 3), ("delivered", 1)], "not written down")
    last = made.deliveries()[0]
    assert (last.status, last.answer, last.failure) == (200, "status 200", None)


def test_a_receiver_that_is_silent_holds_up_nobody_else(engine: Engine, inbox: Receiver) -> None:
    """The silent one answers once the others have been told: were they held up, its time-out would come first."""
    slow, other = hook(engine, "lindi", inbox.address), hook(engine, "mara", inbox.address)
    others_told = threading.Event()
    inbox.answers[slow.path] = [lambda: 200 if others_told.wait(RULES.timeout_s) else 500]
    slow.send()
    inbox.wait(slow.path, 1)
    other.send()
    inbox.wait(other.path, 1)
    others_told.set()
    until(lambda: slow.states() == [("delivered", 1)], "held up")
    assert [one.status for one in slow.deliveries()] == [200]


def test_a_receiver_that_never_answers_is_asked_again(mbashara_up: Up) -> None:
    impatient, is_over = replace(RULES, timeout_s=2.0), threading.Event()
    with database(mbashara_up, "webhooks_silent") as engine, receiver() as inbox, sending(engine, impatient):
        silent = hook(engine, "manyara", inbox.address)
        inbox.answers[silent.path] = [lambda: 200 if is_over.wait(60) else 500]
        silent.send()
        until(lambda: silent.deliveries()[0].attempts >= 1, "no time-out")
        assert silent.deliveries()[0].failure == Failure.TIMEOUT
        is_over.set()
        until(lambda: silent.states()[0][0] == "delivered", "not sent again")


def test_a_receiver_that_is_gone_is_left_alone(engine: Engine, inbox: Receiver) -> None:
    made = hook(engine, "mbeya", inbox.address)
    inbox.answers[made.path] = [410]
    made.send(2)
    until(lambda: made.off() == "gone", "not switched off")
    assert made.states() == [("given_up", 1), ("given_up", 0)]
    with transaction(engine) as session:
        assert endpoints.send_test(session, made.row(session), by=BY, now=datetime.now(UTC)) is None
        newest = audit.list_entries(session, everywhere(), audit.Filter(subject=f"webhook:{made.id}"))[0]
        assert (newest.act, newest.actor, newest.after) == (
            "webhook.disable", "webhooks", {"host": inbox.address, "why": "gone"},
        )  # fmt: skip
        assert endpoints.switch_on(session, made.row(session), by=BY, now=datetime.now(UTC))
    made.send()
    assert len(inbox.wait(made.path, 2)) == 2, "what was given up is not sent"


def test_what_never_arrives_is_given_up(engine: Engine, inbox: Receiver) -> None:
    made = hook(engine, "njombe", "127.0.0.1:9")
    made.send(2)
    until(lambda: made.off() == "failing", "never given up")
    assert made.states() == [("given_up", 3), ("given_up", 0)]
    assert made.deliveries()[0].failure == Failure.CONNECTION


def test_a_rotated_secret_signs_beside_the_new_one_for_a_day(engine: Engine, inbox: Receiver) -> None:
    made, now = hook(engine, "pwani", inbox.address), datetime.now(UTC)
    with transaction(engine) as session:
        new = endpoints.rotate(session, made.row(session), by=BY, now=now, pepper=PEPPER)
    made.send()
    got = inbox.wait(made.path, 1)[0]
    got.verified(made.secret, new)
    with transaction(engine) as session:
        again = endpoints.rotate(session, made.row(session), by=BY, now=now - timedelta(days=1), pepper=PEPPER)
    made.send()
    later = inbox.wait(made.path, 2)[1]
    later.verified(again)
    for over in (made.secret, new):
        with pytest.raises(WebhookVerificationError):
            later.verified(over)


def test_a_lost_connection_to_the_database_loses_nothing(engine: Engine, inbox: Receiver) -> None:
    """The sender that works holds a lock on it: the other, or itself, takes over."""
    made = hook(engine, "rukwa", inbox.address)
    with transaction(engine) as session:
        holders = select(text("pg_terminate_backend(pid)")).select_from(text("pg_locks"))
        # of this database alone: the work process of the program beside it holds the same lock of its own
        mine = text(
            "locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())"
        )
        assert len(session.execute(holders.where(mine)).all()) == 1
    sent = made.send(3)
    assert [one.message_id for one in inbox.wait(made.path, 3)] == sent


def test_a_process_that_is_killed_loses_nothing(mbashara_up: Up, tmp_path: Path) -> None:
    """Killed with -9 while a receiver has a message and has not answered: the next process sends it again with the same
    id, and all that came meanwhile, in order."""
    settings = Settings(data=tmp_path / "data", run_dir=tmp_path / "run")
    prepare(settings)
    settings.pepper_file.write_bytes(PEPPER)
    reached, killed = threading.Event(), threading.Event()
    with database(mbashara_up, "webhooks_killed") as engine, receiver() as inbox, ExitStack() as stack:
        made = hook(engine, "tabora", inbox.address)

        def hold() -> int:
            reached.set()
            killed.wait(60)
            return 200

        inbox.answers[made.path] = [200, hold]

        def work() -> subprocess.Popen[bytes]:
            told = environment(
                data=settings.data, run_dir=settings.run, webhook_insecure=True, webhook_retry_s=0.2,
                database_url=engine.url.render_as_string(hide_password=False).replace("+psycopg", ""),
            )  # fmt: skip
            errors = stack.enter_context((tmp_path / "work.log").open("ab"))
            process = subprocess.Popen([sys.executable, "-m", "mbashara.work"], env=told, stdout=errors, stderr=errors)
            stack.callback(process.kill)
            return process

        first = work()
        sent = made.send(3)
        assert reached.wait(60), (tmp_path / "work.log").read_text()
        first.kill()
        first.wait()
        killed.set()
        assert [state for state, _ in made.states()] == ["delivered", "waiting", "waiting"]
        sent += made.send(2)
        second = work()
        got = [one.message_id for one in inbox.wait(made.path, 6)]
        assert got == [sent[0], sent[1], sent[1], *sent[2:]]
        until(lambda: {state for state, _ in made.states()} == {"delivered"}, "not written down")
        second.send_signal(signal.SIGTERM)
        assert second.wait(60) == 0


# Where it never leads.


def attempt(made: Hook, sender: Sender) -> Outcome:
    """One, by a sender that does nothing else."""
    made.send()
    with transaction(made.engine) as session:
        due = outbox.due(session, datetime.now(UTC), endpoint_id=made.id)[0]

    async def once() -> Outcome:
        async with httpx.AsyncClient(verify=sender.tls, trust_env=False, timeout=60) as client:
            return await sender.attempt(client, due)

    return asyncio.run(once())


def test_names_that_lead_inside_are_not_connected_to(mbashara_up: Up) -> None:
    """Whatever the name said when it was entered: where it leads is looked up for each attempt."""
    strict = replace(RULES, insecure=False)
    with database(mbashara_up, "webhooks_strict") as engine, receiver() as inbox:
        port = inbox.address.partition(":")[2]
        made = hook(engine, "singida", f"hook.example:{port}", "https")

        async def inside(_host: str, _port: int) -> list[str]:
            return ["127.0.0.1", "10.0.0.1", "::1", "::ffff:127.0.0.1"]

        assert attempt(made, Sender(engine, PEPPER, strict, resolve=inside)).failure == Failure.PRIVATE
        literal = hook(engine, "tanga", f"127.0.0.1:{port}", "https")
        assert attempt(literal, Sender(engine, PEPPER, strict)).failure == Failure.PRIVATE
        plain = hook(engine, "kagera", f"hook.example:{port}", "http")
        assert attempt(plain, Sender(engine, PEPPER, strict, resolve=inside)).failure == Failure.PRIVATE
        unknown = attempt(hook(engine, "katavi", "hakuna.invalid", "https"), Sender(engine, PEPPER, strict))
        assert unknown.failure == Failure.NAME
        assert not inbox.got


def test_the_certificate_must_be_of_the_name_though_its_address_is_connected_to(
    mbashara_up: Up, tmp_path: Path
) -> None:
    ours = certificate(tmp_path, "hook.example")
    with database(mbashara_up, "webhooks_tls") as engine, receiver(ours) as inbox:
        port, trusting = (
            inbox.address.partition(":")[2],
            ssl.create_default_context(cafile=tmp_path / "certificate.pem"),
        )

        async def there(_host: str, _port: int) -> list[str]:
            return ["127.0.0.1"]

        sender = Sender(engine, PEPPER, RULES, tls=trusting, resolve=there)
        made = hook(engine, "kigoma", f"hook.example:{port}", "https")
        assert attempt(made, sender).status == 200
        assert inbox.got[0].headers["host"] == f"hook.example:{port}"
        inbox.got[0].verified(made.secret)
        other = hook(engine, "manyara", f"other.example:{port}", "https")
        assert attempt(other, sender).failure == Failure.TLS
        assert attempt(made, Sender(engine, PEPPER, RULES, resolve=there)).failure == Failure.TLS, "nobody's authority"
        assert len(inbox.got) == 1


def certificate(folder: Path, name: str) -> ssl.SSLContext:
    """The context of a server that has a certificate of its own making, left as certificate.pem."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "certificate.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "certificate.pem", folder / "key.pem")
    return context


# What is kept.


def test_what_is_over_is_forgotten_a_bounded_number_at_a_time(mbashara_up: Up) -> None:
    now = datetime.now(UTC)
    with database(mbashara_up, "webhooks_pruned") as engine:
        made = hook(engine, "songwe", "127.0.0.1:9")
        with transaction(engine) as session:
            for days, state, many in (
                (31, "delivered", 501),
                (31, "given_up", 1),
                (31, "waiting", 2),
                (29, "delivered", 3),
            ):
                at = now - timedelta(days=days)
                session.add_all(
                    WebhookDelivery(
                        endpoint_id=made.id, institution_id=made.institution_id, message_id="m", event="feed.lost",
                        body="{}", created_at=at, state=state, next_at=at,
                    )
                    for _ in range(many)
                )  # fmt: skip
        before = now - timedelta(days=30)
        for gone in (500, 2, 0):
            with transaction(engine) as session:
                assert outbox.prune(session, before) == gone
        assert sorted(state for state, _ in made.states()) == ["delivered"] * 3 + ["waiting"] * 2
