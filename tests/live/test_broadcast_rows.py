"""Broadcasts in a real PostgreSQL: acts and their undoing, two engineers at once, what people write."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from sqlalchemy import Engine, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from archive.recordings import rows
from core.broadcasts import acts, events, queries
from core.broadcasts.errors import BadBroadcast, ChannelBusy, NotPossible, Overtaken, TooLate
from core.broadcasts.lifecycle import SETTLE, Act, State
from core.broadcasts.plan import Message, Plan, read_plans
from core.broadcasts.queries import Outline
from core.database import transaction
from core.tables import Broadcast, Recording
from tests.live.broadcast_kit import BUDGET, NOW, SECOND, channel, do, kinds, planned, randomness, started
from tests.live.ledger_kit import tell
from tests.live.staff_kit import database
from tests.up import Up


@pytest.fixture(scope="module")
def engine(mbashara_up: Up) -> Iterator[Engine]:
    with database(mbashara_up, "broadcasts_test") as engine:
        yield engine


def begins(session: Session, broadcast: Broadcast) -> datetime:
    return queries.begins_at(queries.find(session, broadcast.institution_id, broadcast.id))


def ended(at: datetime) -> dict[str, object]:
    return {"fact": "ended", "at": at.isoformat(), "duration_ms": 1000, "size_bytes": 10, "reason": "feed lost"}


# Its life.


def test_a_life_from_plan_to_archive(session: Session) -> None:
    broadcast = planned(session)
    assert read_plans(session) == {}
    do(session, broadcast, Act.REHEARSE)
    assert read_plans(session) == {broadcast.channel_id: Plan(broadcast.id, broadcast.id, "rehearsal")}
    do(session, broadcast, Act.GO_LIVE)
    assert read_plans(session) == {broadcast.channel_id: Plan(broadcast.id, broadcast.id, "live")}
    tell(session, broadcast.id, started(broadcast, broadcast.id, NOW + SECOND))
    assert (broadcast.state, broadcast.started_at) == ("live", NOW + SECOND)
    do(session, broadcast, Act.END, NOW + 60 * SECOND)
    due = NOW + 70 * SECOND
    assert read_plans(session)[broadcast.channel_id].ends_at_unix_ms == round(due.timestamp() * 1000)
    assert acts.close_due(session, due + SETTLE - SECOND / 10) == 0
    assert acts.close_due(session, due + SETTLE) == 1
    assert (broadcast.state, broadcast.ended_at, broadcast.ends_at) == ("ended", due + SETTLE, None)
    assert read_plans(session) == {}
    tell(session, broadcast.id, ended(due + 3 * SECOND))
    do(session, broadcast, Act.ARCHIVE, due + 9 * SECOND)
    told = ["schedule", "rehearse", "go_live", "on_air", "end", "close", "off_air", "archive"]
    assert kinds(session, broadcast) == told


def test_an_end_that_the_recording_tells_first(session: Session) -> None:
    broadcast = planned(session)
    do(session, broadcast, Act.GO_LIVE)
    tell(session, broadcast.id, started(broadcast, broadcast.id, NOW), ended(NOW + 9 * SECOND))
    assert (broadcast.state, broadcast.ended_at) == ("ended", NOW + 9 * SECOND)
    assert acts.close_due(session, NOW + timedelta(days=1)) == 0


@pytest.mark.parametrize(("seconds", "is_late"), [(0, False), (9.9, False), (10, True), (3600, True)])
def test_the_end_is_undone_within_ten_seconds(session: Session, seconds: float, is_late: bool) -> None:
    broadcast = planned(session)
    do(session, broadcast, Act.GO_LIVE)
    do(session, broadcast, Act.END, NOW + 60 * SECOND)
    undo_at = NOW + (60 + seconds) * SECOND
    if is_late:
        with pytest.raises(TooLate):
            do(session, broadcast, Act.UNDO_END, undo_at)
        assert broadcast.ends_at is not None
    else:
        do(session, broadcast, Act.UNDO_END, undo_at)
        assert acts.close_due(session, NOW + timedelta(days=1)) == 0 and broadcast.state == "live"


@pytest.mark.parametrize(("seconds", "is_late"), [(0, False), (9.9, False), (10, True)])
def test_going_live_is_undone_within_ten_seconds(session: Session, seconds: float, is_late: bool) -> None:
    broadcast = planned(session)
    do(session, broadcast, Act.GO_LIVE)
    if is_late:
        with pytest.raises(TooLate):
            do(session, broadcast, Act.UNDO_GO_LIVE, NOW + seconds * SECOND)
        assert broadcast.state == "live"
    else:
        do(session, broadcast, Act.UNDO_GO_LIVE, NOW + seconds * SECOND)
        assert broadcast.state == "rehearsal" and broadcast.air_id != broadcast.id


def test_a_broadcast_whose_go_live_was_undone_has_two_recordings(session: Session) -> None:
    """And the end of the first is not the end of the broadcast, though it is told after the second began."""
    broadcast = planned(session)
    do(session, broadcast, Act.GO_LIVE)
    first = broadcast.air_id
    tell(session, first, started(broadcast, first, NOW))
    do(session, broadcast, Act.UNDO_GO_LIVE, NOW + 5 * SECOND)
    assert broadcast.started_at is None
    do(session, broadcast, Act.GO_LIVE, NOW + 60 * SECOND)
    second = broadcast.air_id
    tell(session, second, started(broadcast, second, NOW + 61 * SECOND))
    tell(session, first, ended(NOW + 6 * SECOND))
    assert broadcast.state == "live" and begins(session, broadcast) == NOW + 61 * SECOND
    found = session.scalars(select(Recording).where(Recording.broadcast_id == broadcast.id)).all()
    assert {one.id for one in found} == {first, second} and first == broadcast.id != second
    assert [name for _, name, _ in rows.list_recordings(session)] == [broadcast, broadcast]


def test_a_ledger_that_comes_after_the_undo_does_not_put_it_on_the_air(session: Session) -> None:
    broadcast = planned(session)
    do(session, broadcast, Act.GO_LIVE)
    first = broadcast.air_id
    do(session, broadcast, Act.UNDO_GO_LIVE, NOW + SECOND)
    tell(session, first, started(broadcast, first, NOW), ended(NOW + 2 * SECOND))
    assert (broadcast.state, broadcast.started_at, broadcast.ended_at) == ("rehearsal", None, None)


def test_what_people_ended_stays_ended_when_a_killed_process_is_back(session: Session) -> None:
    broadcast = planned(session)
    do(session, broadcast, Act.GO_LIVE)
    tell(session, broadcast.id, started(broadcast, broadcast.id, NOW))
    do(session, broadcast, Act.END)
    acts.close_due(session, NOW + 20 * SECOND)
    tell(session, broadcast.id, {"fact": "resumed", "at": NOW.isoformat()})
    assert broadcast.state == "ended"


@pytest.mark.parametrize(
    ("state", "act"),
    [
        (State.SCHEDULED, Act.END), (State.SCHEDULED, Act.ARCHIVE), (State.SCHEDULED, Act.CLOSE),
        (State.SCHEDULED, Act.EDIT),
    ],
)  # fmt: skip
def test_what_the_table_forbids_changes_nothing(session: Session, state: State, act: Act) -> None:
    broadcast = planned(session)
    with pytest.raises(NotPossible, match=" / "):
        do(session, broadcast, act)
    assert (broadcast.state, broadcast.version) == (state, 1)
    assert kinds(session, broadcast) == ["schedule"]


# Two at once.


def test_the_second_of_two_engineers_is_told(session: Session) -> None:
    broadcast = planned(session)
    do(session, broadcast, Act.REHEARSE)
    with pytest.raises(Overtaken, match="rehearsal"):
        do(session, broadcast, Act.CANCEL, expected=State.SCHEDULED)
    do(session, broadcast, Act.GO_LIVE)
    do(session, broadcast, Act.END)
    with pytest.raises(Overtaken):
        do(session, broadcast, Act.END, NOW + SECOND)
    with pytest.raises(Overtaken):
        do(session, broadcast, Act.UNDO_GO_LIVE, NOW + SECOND)


def both(engine: Engine, *works: Callable[[Session], object]) -> list[object]:
    """Each in a transaction of its own, in threads that begin together."""
    together = threading.Barrier(len(works))
    found: list[object] = [None] * len(works)

    def run(number: int) -> None:
        together.wait(60)
        try:
            with transaction(engine) as session:
                found[number] = works[number](session)
        except (Overtaken, ChannelBusy, NotPossible) as error:
            found[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return found


def test_of_two_who_press_at_once_one_is_overtaken(engine: Engine) -> None:
    with transaction(engine) as session:
        one = planned(session, channel(session, "sambamba"))
        keys = one.institution_id, one.id

    def press(act: Act) -> Callable[[Session], object]:
        return lambda session: acts.act(
            session, *keys, act, NOW, State.SCHEDULED, actor=act, randomness=b"\0" * 10
        ).state  # fmt: skip

    found = both(engine, press(Act.GO_LIVE), press(Act.CANCEL))
    assert [type(one) for one in found].count(Overtaken) == 1
    with transaction(engine) as session:
        assert queries.find(session, *keys).state == next(one for one in found if isinstance(one, str))


def test_of_two_broadcasts_at_once_one_gets_the_channel(engine: Engine) -> None:
    with transaction(engine) as session:
        at = channel(session, "moja-tu")
        keys = [(one.institution_id, one.id) for one in (planned(session, at), planned(session, at))]

    def press(broadcast: tuple[int, str]) -> Callable[[Session], object]:
        return lambda session: (
            acts.act(
                session, *broadcast, Act.GO_LIVE, NOW, State.SCHEDULED, actor="asha", randomness=b"\0" * 10
            ).state
        )  # fmt: skip

    found = both(engine, *map(press, keys))
    assert sorted(type(one).__name__ for one in found) == ["ChannelBusy", "State"]


def test_the_database_itself_gives_a_channel_to_one(session: Session) -> None:
    at = channel(session)
    for one in (planned(session, at), planned(session, at)):
        one.state = "rehearsal"
    with pytest.raises(IntegrityError, match="broadcast_at_the_channel"):
        session.flush()


def test_going_live_takes_over_from_a_feeds_own_broadcast_and_a_rehearsal_does_not(session: Session) -> None:
    broadcast = planned(session)
    other = "01jdx00000000000000000000f"
    own = {**started(broadcast, other, NOW), "plan": other}
    tell(session, other, own)
    assert read_plans(session)[broadcast.channel_id] == Plan(other, other, "live", is_automatic=True)
    with pytest.raises(ChannelBusy):
        do(session, broadcast, Act.REHEARSE)
    do(session, broadcast, Act.GO_LIVE)
    assert read_plans(session)[broadcast.channel_id] == Plan(broadcast.id, broadcast.id, "live")


# What people write.


def test_edit_tells_what_changed_and_minds_the_version(session: Session) -> None:
    broadcast = planned(session)
    outline = replace(BUDGET, title_en="The Budget", visibility="unlisted")
    queries.edit(session, broadcast.institution_id, broadcast.id, outline, 1, actor="juma", now=NOW)
    assert (broadcast.title_en, broadcast.visibility, broadcast.version) == ("The Budget", "unlisted", 2)
    last = events.list_events(session, broadcast.institution_id, broadcast.id)[-1]
    assert (last.actor, last.detail) == ("juma", {"changed": {"title_en": "The Budget", "visibility": "unlisted"}})
    with pytest.raises(Overtaken):
        queries.edit(session, broadcast.institution_id, broadcast.id, BUDGET, 1, actor="asha", now=NOW)


@pytest.mark.parametrize(
    "wrong",
    [
        replace(BUDGET, title_sw=" "), replace(BUDGET, title_en="x" * 201), replace(BUDGET, description_sw="x" * 5001),
        replace(BUDGET, planned_end_at=BUDGET.planned_start_at),
    ],
)  # fmt: skip
def test_what_is_no_broadcast(session: Session, wrong: Outline) -> None:
    at = channel(session)
    with pytest.raises(BadBroadcast, match=" / "):
        planned(session, at, wrong)


def test_a_clone_is_a_plan_as_long_as_the_old_one(session: Session) -> None:
    old = planned(session)
    do(session, old, Act.CANCEL)
    tomorrow = NOW + timedelta(days=1)
    new = queries.clone(
        session, old.institution_id, old.id, tomorrow, actor="asha", now=NOW, randomness=randomness()
    )  # fmt: skip
    assert (new.state, new.title_sw, new.cloned_from) == ("scheduled", "Hotuba ya Bajeti", old.id)
    assert (new.planned_start_at, new.planned_end_at) == (tomorrow, tomorrow + timedelta(hours=2))
    assert new.id != old.id


def test_a_message_goes_to_the_players_of_a_channel_that_is_taken(session: Session) -> None:
    broadcast = planned(session)
    message = Message("Tunaanza saa nne", "We begin at ten", "warning")
    key = broadcast.institution_id, broadcast.id
    with pytest.raises(NotPossible):
        acts.send_message(session, *key, message, actor="asha", now=NOW)
    do(session, broadcast, Act.REHEARSE)
    acts.send_message(session, *key, message, actor="asha", now=NOW)
    assert read_plans(session)[broadcast.channel_id].message == message
    with pytest.raises(BadBroadcast, match=" / "):
        acts.send_message(session, *key, Message("Habari", " ", "info"), actor="asha", now=NOW)
    acts.send_message(session, *key, None, actor="asha", now=NOW)
    assert read_plans(session)[broadcast.channel_id].message is None
    assert kinds(session, broadcast)[-2:] == ["message", "message"]


def test_lists_page_by_page_without_holes(session: Session) -> None:
    at, other = channel(session), channel(session, "ikulu")
    made = [planned(session, at, replace(BUDGET, planned_start_at=NOW + n // 2 * SECOND)) for n in range(7)]
    planned(session, other)
    do(session, made[0], Act.CANCEL)
    found: list[Broadcast] = []
    after = None
    while True:
        page = queries.list_broadcasts(session, channel_id=at.id, after=after, limit=3)
        found += page.broadcasts
        after = page.after
        if after is None:
            break
    assert [one.id for one in found] == [
        one.id for one in sorted(made, key=lambda one: (queries.begins_at(one), one.id), reverse=True)
    ]
    within = queries.list_broadcasts(
        session, institution_id=at.institution_id, states=[State.SCHEDULED], since=NOW, until=NOW + SECOND
    )
    assert [one.id for one in within.broadcasts] == [made[1].id] and within.after is None
