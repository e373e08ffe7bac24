"""Ledgers become rows in a real PostgreSQL: whole lines alone, once each, and never under another institution."""

import base64
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Engine, exists, func, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from archive.recordings import custody, rows, signing_keys
from archive.recordings.account import account
from archive.recordings.ledger import GENESIS, hash_of
from archive.recordings.rebuild import times
from archive.recordings.signatures import Heads, ends_so, sign
from archive.recordings.verify import CUSTODY_NAME
from core import database
from core.channels import ChannelError, ChannelKeys, add_channel, find_channel, list_channels, rotate_keys
from core.database import DatabaseAway, migrate, open_engine, transaction
from core.keys import KeyBook
from core.tables import Broadcast, BroadcastEvent, Institution, Recording, Rendition
from mbashara.bell import POLL_S, Bell
from mbashara.work import Follower
from tests.live.ledger_kit import ledger, tell
from tests.up import Up

NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)
PEPPER = b"p" * 32
ID = "01jdx00000000000000000000a"


@pytest.fixture(scope="module")
def engine(mbashara_up: Up) -> Iterator[Engine]:
    """A database of its own in the shared program's server."""
    with psycopg.connect(mbashara_up.database_url("postgres"), autocommit=True) as server:
        server.execute("create database rows_test")
        engine = open_engine(mbashara_up.database_url("rows_test"))
        migrate(engine)
        yield engine
        engine.dispose()
        server.execute("drop database rows_test")


def add(session: Session, slug: str = "bunge", institution: str = "bunge") -> tuple[int, int]:
    add_channel(session, slug, name_sw="Bunge", name_en="Parliament", pepper=PEPPER, now=NOW, institution=institution)
    channel = find_channel(session, slug)
    assert channel is not None
    return channel.id, channel.institution_id


def facts(channel_id: int, institution_id: int) -> list[dict[str, object]]:
    started = {"broadcast": ID, "channel": "bunge", "channel_id": channel_id, "institution_id": institution_id}
    video = {"name": "source", "kind": "video", "codecs": "avc1.64001f", "width": 1280, "height": 720}
    return [
        {"fact": "started", "at": "2026-11-24T09:00:00.000+00:00", **started},
        {"fact": "rendition", "at": "2026-11-24T09:00:00.500+00:00", "bitrate_bps": None, **video},
        {"fact": "gap", "at": "2026-11-24T09:01:00.000+00:00", "from_ms": 50000, "to_ms": 58000, "cause": "feed lost"},
        {"fact": "resumed", "at": "2026-11-24T09:01:00.000+00:00"},
        {"fact": "ended", "at": "2026-11-24T09:02:00.000+00:00", "duration_ms": 120000, "size_bytes": 1000},
    ]


def recording(session: Session) -> Recording:
    return session.scalars(select(Recording).where(Recording.id == ID)).one()


def test_facts_become_rows(session: Session) -> None:
    told = ledger(*facts(*add(session)))
    assert rows.apply(session, ID, told) == len(told)
    found = recording(session)
    session.refresh(found)
    assert (found.state, found.duration_ms, found.size_bytes, found.ledger_bytes) == ("ended", 120000, 1000, len(told))
    assert (found.started_at, found.ended_at) == (NOW, NOW.replace(minute=2))
    assert session.scalars(select(Broadcast.state)).all() == ["ended"]
    assert session.scalars(select(Broadcast.title_sw)).all() == ["Bunge"]
    rendition = session.scalars(select(Rendition)).one()
    assert (rendition.name, rendition.width, rendition.height) == ("source", 1280, 720)
    assert [(gap.started_ms, gap.ended_ms, gap.cause) for gap in rows.gaps(session, ID)] == [
        (50000, 58000, "feed lost")
    ]
    assert rows.ended_recordings(session) == [ID]


def test_all_say_of_when_it_began_what_its_statement_says(session: Session) -> None:
    """Not when that was written down, three quarters of a second later."""
    first, *_ = facts(*add(session))
    first |= {"at": "2026-11-24T09:00:00.740+00:00", "origin_ms": 1_795_510_799_990}
    tell(session, ID, first)
    began = datetime.fromisoformat("2026-11-24T08:59:59.990+00:00")
    assert account([first]).origin_ms == began.timestamp() * 1000
    event = select(BroadcastEvent.at).where(BroadcastEvent.kind == "on_air")
    found = (recording(session).started_at, session.scalar(select(Broadcast.started_at)), session.scalar(event))
    assert found == (began, began, began)
    assert times([first])[0] == began, "as it would be made again from files"


def test_a_torn_line_is_not_there_yet_at_any_byte(session: Session) -> None:
    first, *rest = facts(*add(session))
    whole = ledger(first)
    assert rows.apply(session, ID, whole) == len(whole)
    line = ledger(rest[0], head=hash_of(whole))
    for end in range(0, len(line), 7):
        assert rows.apply(session, ID, line[:end]) == 0
    assert rows.applied(session, ID).size_bytes == len(whole)
    assert rows.apply(session, ID, line) == len(line)


FILES: list[dict[str, object]] = [
    {"fact": "file", "at": f"2026-11-24T09:00:0{at}.000+00:00", "name": f"source/{at}.m4s"} for at in (2, 4)
]


def test_ledgers_that_list_files_advance_together(session: Session) -> None:
    """None that is not where it is thought to be, and none that has more to tell."""
    began = facts(*add(session))
    tell(session, ID, *began[:2])
    place = rows.applied(session, ID)
    files = ledger(*FILES, head=place.head)
    then = rows.follow(place, files + b'{"torn')
    assert then == place.behind(files)
    elsewhere = rows.Place(place.size_bytes, GENESIS)
    assert rows.advance(session, {ID: (elsewhere, then), ID[::-1]: (place, then)}) == set()
    assert rows.advance(session, {ID: (place, then), ID[::-1]: (place, then)}) == {ID}
    assert rows.applied(session, ID) == then
    for more in (ledger(FILES[0], began[3], head=then.head), ledger(FILES[0]), b"{}\n", b"[]\n", b"not json\n"):
        assert rows.follow(then, more) is None


def test_a_rendition_told_again_is_the_same_row(session: Session) -> None:
    started, rendition, *_ = facts(*add(session))
    tell(session, ID, started, rendition, {**rendition, "width": 1920, "height": 1080})
    assert [(one.width, one.height) for one in session.scalars(select(Rendition))] == [(1920, 1080)]


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (b"not json\n", "not JSON"), (b"{}\n", "prev"), (b"[]\n", "list"),
        (b'{"prev":"00","fact":"resumed"}\n', "chain"),
        ({"fact": "unheard"}, "unheard"),
        ({"fact": "gap", "at": "2026-11-24T09:00:00+00:00", "from_ms": 1}, "to_ms"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_told_and_nothing_is_written(
    session: Session, wrong: bytes | dict[str, object], why: str
) -> None:
    first = facts(*add(session))[0]
    tell(session, ID, first)
    before = rows.applied(session, ID).size_bytes
    lines = wrong if isinstance(wrong, bytes) else ledger(wrong, head=hash_of(ledger(first)))
    with pytest.raises(rows.LedgerError, match=why):
        rows.apply(session, ID, lines)
    assert rows.applied(session, ID).size_bytes == before


def test_a_ledger_cannot_name_another_institutions_channel(session: Session) -> None:
    channel_id, _ = add(session)
    _, other_institution = add(session, "ikulu", "ikulu")
    with pytest.raises(rows.LedgerError, match="no channel"):
        tell(session, ID, facts(channel_id, other_institution)[0])


def test_the_database_itself_refuses_to_cross_institutions(session: Session) -> None:
    tell(session, ID, facts(*add(session))[0])
    _, other_institution = add(session, "ikulu", "ikulu")
    with pytest.raises(IntegrityError):
        session.execute(text("update recording set institution_id = :other"), {"other": other_institution})


def test_closing_tells_what_is_missing_and_can_be_done_again(session: Session) -> None:
    tell(session, ID, *facts(*add(session)))
    lost = [rows.MissingSpan(4000, 8000)]
    for _ in range(2):  # a step that a killed worker had done is done once more
        rows.close(session, ID, 119_960, 900, lost)
    assert [gap.cause for gap in rows.gaps(session, ID)] == [rows.MISSING, "feed lost"]
    session.refresh(recording(session))
    assert (recording(session).state, recording(session).duration_ms) == ("ended", 119_960)
    rows.close(session, ID, 119_960, 1000, [])
    session.refresh(recording(session))
    assert recording(session).state == "complete"


def test_a_recording_that_goes_on_is_not_closed(session: Session) -> None:
    tell(session, ID, *facts(*add(session))[:2])
    rows.close(session, ID, 1, 1, [])
    assert recording(session).state == "recording"


def test_a_follower_takes_a_growing_ledger_once(engine: Engine, tmp_path: Path) -> None:
    """Two followers, as after a restart: each line is applied by one of them, and the end is told to be closed."""
    with transaction(engine) as session:
        told = facts(*add(session))
    told[2:2] = FILES
    folder = tmp_path / ID
    folder.mkdir()
    closed: list[str] = []
    try:
        for number in range(len(told)):
            follower = Follower(tmp_path, engine, closed.append)
            follower.load()
            line = ledger(*told[: number + 1])[len(ledger(*told[:number])) :]
            with (folder / "ledger.jsonl").open("ab") as file:
                file.write(line[:-3])
                file.flush()
                follower.follow_once()
                file.write(line[-3:])
            follower.follow_once()
            follower.follow_once()
            with transaction(engine) as session:
                assert rows.applied(session, ID).size_bytes == len(ledger(*told[: number + 1]))
        with transaction(engine) as session:
            assert len(rows.gaps(session, ID)) == 1
        assert closed == [ID]
    finally:
        with transaction(engine) as session:
            for table in ("broadcast_event", "preservation_event"):
                session.execute(text(f"alter table {table} disable trigger append_only"))
            session.execute(text("truncate institution cascade"))
            for table in ("broadcast_event", "preservation_event"):
                session.execute(text(f"alter table {table} enable trigger append_only"))


def test_the_bell_rings_for_what_changes_and_after_a_lost_connection(mbashara_up: Up, engine: Engine) -> None:
    stopping = threading.Event()
    ours = open_engine(f"{mbashara_up.database_url('rows_test')}&application_name=bell", pool_size=1)
    bell, far = Bell(ours), datetime(2999, 1, 1, tzinfo=UTC)
    count, later = bell.on(select(func.count(Institution.id)).scalar_subquery), bell.on(lambda: far < database.NOW)
    names = ["nyingine"]
    named = bell.on(lambda: exists().where(Institution.slug.in_(names)))
    bell.start(stopping)
    try:
        assert count.wait(60) and later.wait(60), "nobody knows what was missed"
        count.clear()
        later.clear()
        assert not count.wait(2 * POLL_S)
        with transaction(engine) as session:
            made = Institution(slug="kengele", name_sw="Kengele", name_en="Bell")
            session.add(made)
        assert count.wait(60) and not later.is_set(), "rung for all alike, as is done twice a minute"
        named.clear()
        names[:] = ["kengele"]
        assert not named.wait(2 * POLL_S)
        bell.put_anew()
        assert named.wait(60) and later.wait(60), "everyone: nobody knows whom it concerns"
        named.clear()
        later.clear()
        assert named.wait(60) and not later.is_set(), "from now on it is the new question"
        with transaction(engine) as session:
            session.delete(made)
            session.execute(
                text("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'bell'")
            )
        assert later.wait(60), "nor after that"
    finally:
        later.clear()
        stopping.set()
        assert later.wait(60), "whoever waits ends too"
        ours.dispose()


def test_a_lost_database_changes_nothing(tmp_path: Path) -> None:
    away = open_engine(f"postgresql://postgres@/rows_test?host={tmp_path}")
    with pytest.raises(DatabaseAway):
        Follower(tmp_path, away, print).follow_once()


def test_a_feed_of_whose_loss_nothing_is_missing_is_back_in_the_log(session: Session) -> None:
    at = {"at": "2026-11-24T09:01:00.000+00:00"}
    first, *_ = facts(*add(session))
    lost, back = {"fact": "lost", "at_ms": 8000, "cause": "feed lost"}, {"fact": "back", "at_ms": 8000}
    tell(session, ID, first, {**lost, **at}, {**back, **at})
    kinds = session.scalars(select(BroadcastEvent.kind).order_by(BroadcastEvent.id))
    assert kinds.all()[-2:] == ["feed_lost", "feed_back"] and rows.gaps(session, ID) == []


def test_keys_of_a_channel(session: Session, tmp_path: Path) -> None:
    first = named(session, "ikulu", "ufunguo-wa-zamani")
    book = KeyBook(PEPPER, tmp_path / "keys.json")
    assert book.refresh(session) is True
    assert book.refresh(session) is False
    owners = [book.lookup(key) for key in (first.primary_key, first.backup_key)]
    assert [owner and (owner.channel, owner.role) for owner in owners] == [("ikulu", "primary"), ("ikulu", "backup")]
    second = rotate_keys(session, "ikulu", pepper=PEPPER, now=NOW)
    book.refresh(session)
    assert book.lookup(first.primary_key) is None and book.lookup(first.backup_key) is None
    assert book.lookup(second.primary_key) is not None
    with pytest.raises(ChannelError, match="is or was another channel's"):
        named(session, "bunge", first.primary_key)
    assert [channel.slug for channel, _ in list_channels(session)] == ["ikulu"], "a refusal changes nothing"


def named(session: Session, slug: str, key: str) -> ChannelKeys:
    return add_channel(session, slug, name_sw=slug, name_en=slug, pepper=PEPPER, now=NOW, primary_key=key)


def test_nothing_is_taken_behind_the_end(session: Session) -> None:
    told = facts(*add(session))
    tell(session, ID, *told)
    with pytest.raises(rows.LedgerError, match="follows the end"):
        tell(session, ID, {"fact": "resumed", "at": "2026-11-24T09:03:00.000+00:00"})


def _kept(session: Session, folder: Path) -> tuple[Recording, signing_keys.Signer]:
    """A closed recording with two events, in rows and in its signed file."""
    tell(session, ID, *facts(*add(session)))
    found, signer = recording(session), signing_keys.new_signer()
    for kind in ("ingestion", "replication"):
        custody.append(session, ID, kind, NOW, location="pili")
    custody.write_file(session, folder, found, {base64.b64decode(signer.public_key)})
    heads = Heads(found.ledger_bytes, found.ledger_head, found.custody_bytes, found.custody_head)
    sign(folder, ID, heads, signer, NOW)
    return found, signer


def test_a_database_of_an_older_day_learns_from_a_signed_custody_log(session: Session, tmp_path: Path) -> None:
    found, signer = _kept(session, tmp_path)
    session.execute(text("alter table preservation_event disable trigger append_only"))
    session.execute(text("delete from preservation_event where kind = 'replication'"))
    first = custody.lines(session, ID)[0].encode() + b"\n"
    found.custody_bytes, found.custody_head = len(first), hash_of(first)
    before = (tmp_path / CUSTODY_NAME).read_bytes()
    with pytest.raises(custody.CustodyError):
        custody.write_file(session, tmp_path, found, set())
    custody.write_file(session, tmp_path, found, {base64.b64decode(signer.public_key)})
    assert [event.kind for event in custody.events(session, ID)] == ["replication", "ingestion"]
    assert (found.custody_bytes, (tmp_path / CUSTODY_NAME).read_bytes()) == (len(before), before)


def test_a_custody_log_that_says_something_else_is_left_alone(session: Session, tmp_path: Path) -> None:
    found, signer = _kept(session, tmp_path)
    other = (tmp_path / CUSTODY_NAME).read_bytes().replace(b"pili", b"tatu")
    (tmp_path / CUSTODY_NAME).write_bytes(other)
    custody.append(session, ID, "fixity check", NOW)
    with pytest.raises(custody.CustodyError):
        custody.write_file(session, tmp_path, found, {base64.b64decode(signer.public_key)})
    assert (tmp_path / CUSTODY_NAME).read_bytes() == other


def test_only_a_ledger_that_ends_as_it_was_read_is_signed(tmp_path: Path) -> None:
    whole = ledger({"fact": "a"}, {"fact": "b"}, {"fact": "c" * 70_000})
    path = tmp_path / "ledger.jsonl"
    path.write_bytes(whole)
    lines = whole.splitlines(keepends=True)
    assert ends_so(path, len(whole), hash_of(lines[2])) and ends_so(path, 0, GENESIS)
    assert ends_so(path, len(lines[0] + lines[1]), hash_of(lines[1]))
    assert not ends_so(path, len(lines[0]), hash_of(lines[1])) and not ends_so(
        path, len(lines[0]) - 1, hash_of(lines[0])
    )
    path.write_bytes(lines[0])
    assert not ends_so(path, len(whole), hash_of(lines[2]))
