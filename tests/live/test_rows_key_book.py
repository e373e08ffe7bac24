"""The mark by which media knows, of a real PostgreSQL, whether its book of keys must be read again."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from core.broadcasts import acts, dry_runs, queries
from core.broadcasts.dry_runs import Limits, Reason
from core.broadcasts.lifecycle import Act, State
from core.broadcasts.plan import Message
from core.broadcasts.queries import Outline
from core.channels import add_channel, limit_key, revoke_key, rotate_key, set_life, set_names
from core.database import transaction
from core.keys import KeyBook
from core.tables import Channel
from tests.live.ledger_kit import tell
from tests.live.staff_kit import database
from tests.up import Up

NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)
PEPPER = b"p" * 32
OWN = "01jdx00000000000000000000f"
LIMITS = Limits(3, timedelta(minutes=2))


def tell_own(fact: dict[str, object], session: Session) -> None:
    tell(session, OWN, fact)


@pytest.fixture(scope="module")
def engine(mbashara_up: Up) -> Iterator[Engine]:
    with database(mbashara_up, "key_book_test") as engine:
        yield engine


def test_it_changes_with_the_book_and_with_nothing_else(engine: Engine, tmp_path: Path) -> None:
    book = KeyBook(PEPPER, tmp_path / "keys.json")
    marks: list[str] = []

    def refreshed(change: Callable[[Session], object]) -> bool:
        """Whether the book changed; the mark did so too, or neither."""
        with transaction(engine) as session:
            change(session)
        with transaction(engine) as session:
            marks.append(KeyBook.mark(session))
            is_other = book.refresh(session)
        assert is_other == (marks[-1] not in marks[-2:-1])
        return is_other

    def add(slug: str) -> Callable[[Session], object]:
        return lambda session: add_channel(
            session, slug, name_sw=slug, name_en=slug, pepper=PEPPER, now=NOW, institution="bunge"
        )

    with transaction(engine) as session:
        add("bunge")(session)
        at = session.query(Channel).one()
        outline = Outline("Hotuba", "Speech", NOW + timedelta(hours=1), NOW + timedelta(hours=3))
        budget = queries.schedule(session, at, outline, actor="asha", now=NOW, randomness=b"r" * 10)
    assert refreshed(lambda _: None), "a first look"
    assert not refreshed(lambda _: None)

    def act(what: Act, before: State) -> Callable[[Session], object]:
        return lambda session: acts.act(
            session, at.institution_id, budget.id, what, NOW, before, actor="asha", randomness=b"s" * 10
        )

    def message(told: Message | None) -> Callable[[Session], object]:
        return lambda session: acts.send_message(
            session, at.institution_id, budget.id, told, actor="asha", now=NOW + timedelta(seconds=1)
        )

    for change in (
        add("kamati"),
        lambda session: set_names(session, "bunge", name_sw="Bunge la Tanzania", name_en="Parliament"),
        lambda session: set_life(session, "bunge", auto_live=False, reconnect_window_s=12.5),
        lambda session: limit_key(session, "bunge", "primary", ["10.0.0.0/8"]),
        lambda session: limit_key(session, "bunge", "primary", []),
        lambda session: rotate_key(session, "bunge", "primary", pepper=PEPPER, now=NOW),
        lambda session: rotate_key(session, "bunge", "primary", pepper=PEPPER, now=NOW),
        lambda session: revoke_key(session, "bunge", "backup", now=NOW),
        act(Act.REHEARSE, State.SCHEDULED),
        act(Act.GO_LIVE, State.REHEARSAL),
        message(Message("Tutaendelea punde", "We go on soon", "info")),
        message(Message("Tutaendelea punde", "We go on soon", "warning")),
        message(None),
    ):
        assert refreshed(change), "media has to know"

    started = {"broadcast": OWN, "channel": "bunge", "channel_id": at.id, "institution_id": at.institution_id}
    init = {"fact": "file", "name": "source/init-0.mp4", "size": 700, "sha256": "0" * 64}
    for fact in ({"fact": "started", "plan": budget.id, **started}, {**init, "rendition": "source"}):
        told = {"at": NOW.isoformat(), **fact}
        assert not refreshed(partial(tell_own, told)), "segments"

    with transaction(engine) as session:
        kamati = session.query(Channel).filter_by(slug="kamati").one()
        run = dry_runs.begin(
            session, kamati, None, LIMITS, has_feed=False, actor="asha", now=NOW, randomness=b"t" * 10
        )  # fmt: skip
    path = dry_runs.new_path("kamati", 1, [b"n" * 20])
    assert not refreshed(lambda _: None), "one that has no key yet"
    assert refreshed(lambda session: dry_runs.start(session, run.broadcast_id, path, "hash", NOW))
    assert refreshed(lambda session: dry_runs.end(session, run.broadcast_id, Reason.STOPPED, NOW))
    assert refreshed(act(Act.END, State.LIVE)), "the channel is free"
