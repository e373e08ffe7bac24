"""`mbashara rebuild` on an emptied database: the catalogue that is made of files is the one that was, row by row."""

import hashlib
import json
import secrets
from argparse import Namespace
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from archive.exports import jobs
from archive.recordings import describe, fetch, policy, resolve, rows, signing_keys
from archive.recordings.inventory import check_files
from archive.recordings.ledger import Ledger, make_fact
from archive.recordings.locations.errors import Damaged
from archive.recordings.statement_text import CAUSES
from archive.recordings.tables import PreservationEvent
from archive.recordings.verify import LEDGER_NAME, LEFT_OUT, verify
from core.audit import Actor
from core.broadcasts import acts, queries
from core.broadcasts.lifecycle import Act, State
from core.broadcasts.plan import Message
from core.broadcasts.queries import Outline
from core.database import transaction
from core.tables import Broadcast, BroadcastEvent, Channel, Gap, Recording, SigningKey
from mbashara import DATA_VERSION
from mbashara.cli import rebuild as command
from mbashara.settings import Settings
from tests.live.catalogue_kit import rows_of
from tests.live.policy_kit import BEGAN, NOW, Scene
from tests.live.resolve_kit import carried, check, ordered, places, planned, record, resolve_scene
from tests.live.staff_kit import database
from tests.live.test_resolve_rows import contradict
from tests.up import Up

WITHOUT = {"file missing", "untold"}
"""Causes that no ledger has: found when the recording was closed, and reckoned by whoever reads."""


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """The catalogue that there was, and the one made again; each in a database of its own."""

    here: Scene
    again: Engine
    recordings: dict[str, str]
    is_ours: bool
    is_fetched: bool


def plan(here: Scene) -> Broadcast:
    """Live by people's act, undone, and live again: that leaves two recordings, and the second has an id of its own."""
    outline = Outline(
        "Kikao cha kumi", "Tenth sitting", BEGAN, BEGAN + timedelta(hours=1), "unlisted", "Maelezo", "Description"
    )  # fmt: skip
    steps = ((Act.GO_LIVE, State.REHEARSAL), (Act.UNDO_GO_LIVE, State.LIVE), (Act.GO_LIVE, State.REHEARSAL))
    with here.session() as session:
        channel = session.get_one(Channel, here.channel_id)
        made = queries.schedule(session, channel, outline, actor="asha", now=BEGAN, randomness=secrets.token_bytes(10))
        for act, before in ((Act.REHEARSE, State.SCHEDULED), *steps):
            told = {"actor": "asha", "randomness": secrets.token_bytes(10)}
            acts.act(session, here.institution_id, made.id, act, BEGAN, before, **told)  # type: ignore[arg-type]
            if act is Act.UNDO_GO_LIVE:
                false_start(here, session, made)
        message = Message("Tutarudi", "We will be back", "warning")
        acts.send_message(session, here.institution_id, made.id, message, actor="juma", now=BEGAN)
    assert made.air_id != made.id
    return made


def false_start(here: Scene, session: Session, made: Broadcast) -> None:
    ledger, at_ms = begun(here, made, made.id)
    ledger.append(make_fact("ended", at_ms + 4000, duration_ms=0, size_bytes=0, reason="undone"))
    rows.apply(session, made.id, (here.settings.recordings / made.id / LEDGER_NAME).read_bytes())
    rows.close(session, made.id, 0, 0, [])


def begun(here: Scene, made: Broadcast, it: str) -> tuple[Ledger, float]:
    (here.settings.recordings / it / "source").mkdir(parents=True)
    ledger, at_ms = Ledger(here.settings.recordings / it), BEGAN.timestamp() * 1000
    own = {"channel_id": here.channel_id, "institution_id": here.institution_id, "origin_ms": int(at_ms)}
    told = {"recording": it, "broadcast": made.id, "plan": made.id, "channel": "bunge"}
    ledger.append(make_fact("started", at_ms + 700, **told, **own))
    return ledger, at_ms


def everything(here: Scene) -> str:
    """A ledger with each fact that media tells of, a gap of each cause, and what people do with it afterwards."""
    made = plan(here)
    it = made.air_id
    folder = here.settings.recordings / it
    ledger, at_ms = begun(here, made, it)

    def tell(fact: str, at: float, /, **told: Any) -> None:
        ledger.append(make_fact(fact, at_ms + at, **told))

    def segment(msn: int) -> None:
        data = f"segment {msn}".encode()
        (folder / f"source/{msn}.m4s").write_bytes(data)
        span = {"msn": msn, "from_ms": msn * 2000, "to_ms": msn * 2000 + 2000}
        about = {"rendition": "source", "name": f"source/{msn}.m4s", "size": len(data), **span}
        tell("file", msn * 2000, **about, sha256=hashlib.sha256(data).hexdigest())

    tell("rendition", 700, name="source", kind="video", codecs="avc1.64001f", width=1280, height=720)
    tell("rendition", 700, name="source-audio", kind="audio", codecs="mp4a.40.2", bitrate_bps=128_000)
    for number, cause in enumerate(sorted(CAUSES.keys() - WITHOUT)):
        segment(number)
        span = {"from_ms": number * 2000 + 500, "to_ms": number * 2000 + 1700 + number}
        if cause in LEFT_OUT or cause in ("disk full", "no media"):
            tell("gap", span["to_ms"], rendition="source", **span, cause=cause)
            continue
        tell("lost", span["from_ms"], at_ms=span["from_ms"], cause=cause, **({"goodbye": True} if number % 2 else {}))
        tell("refused", span["from_ms"] + 1, at_ms=span["from_ms"] + 1, role="backup", cause="key revoked")
        tell("gap", span["to_ms"], **span, cause=cause)
    end = 2000 * len(CAUSES)
    tell("spare_lost", end, role="backup", at_ms=end)
    tell("spare_back", end + 10, role="backup", at_ms=end + 10)
    tell("spare_lost", end + 20, role="primary", at_ms=end + 20, goodbye=True)
    tell("resumed", end + 100)
    tell("lost", end + 110, at_ms=end + 110, cause="feed lost")
    tell("back", end + 110, at_ms=end + 110)
    tell("absent", end + 200, rendition="source", msn=number + 1, from_ms=end, to_ms=end + 9, cause="process ended")
    tell("gap", end + 900, from_ms=end + 300, to_ms=end + 800, cause="feed lost", is_back=False, waited=True)
    tell("ended", end + 900, duration_ms=end + 800, size_bytes=500, reason="end")
    data, taken = (folder / LEDGER_NAME).read_bytes(), 0
    for line in data.splitlines(keepends=True):  # as the follower may come by them
        with here.session() as session:
            taken += rows.apply(session, it, line)
    assert taken == len(data)
    checked = check_files(folder)
    with here.session() as session:
        rows.close(session, it, checked.duration_ms, checked.size_bytes, checked.missing)
        for recording_id in (made.id, it):
            describe.describe_closed(session, recording_id, NOW)
    here.settle()
    return it


def ruled(here: Scene, it: str) -> None:
    """Holds, embargoes, an export and a better title; and the second key signs from the middle on."""
    own, by = here.institution_id, here.asker
    with here.session() as session:
        first = policy.place_hold(session, own, it, "kesi ya kwanza", by=by, now=NOW)
        policy.place_hold(session, own, it, "kesi ya pili", by=by, now=NOW)
        policy.lift_hold(session, own, it, first.id, "imekwisha", by=by, now=NOW)
        policy.place_embargo(session, own, it, "bado", NOW + timedelta(days=9), by=by, now=NOW)
        policy.place_embargo(session, own, it, "bado sana", None, by=by, now=NOW)
    here.settle()
    file: jobs.File = {"name": "kikao.mp4", "sha256": "ab" * 32, "size": 7, "from_ms": 0, "to_ms": 2000}
    with here.session() as session:
        signing_keys.rotate(session, own, here.settings.signing_keys, datetime.now(UTC))
        jobs.note_exported(session, it, [file], "source", NOW, agent="staff")
        before = queries.find(session, own, session.get_one(Recording, it).broadcast_id)
        told = {one.name: getattr(before, one.name) for one in fields(Outline)}
        changed = Outline(**{**told, "title_sw": "Kikao cha 10"})
        queries.edit(session, own, before.id, changed, before.version, actor="juma", now=NOW)
        for recording_id in describe.due(session, 0):
            describe.describe(session, recording_id, NOW)
    here.settle()


def lost(here: Scene) -> str:
    """A file that is lost everywhere, given up by a person's order; the copy is checked."""
    it = record(here)
    for place in places(here, it):
        (place / "source/3.m4s").unlink()
    carried(here, ordered(here, it, planned(here, it, "local")))
    check(here, it)
    return it


def damaged(here: Scene) -> str:
    """A file that is wrong everywhere, and nobody has given it up."""
    it = record(here)
    for place in places(here, it):
        (place / "source/3.m4s").write_bytes(b"broken")
    assert {state for state, _ in check(here, it).values()} == {"faulty"}
    return it


def held(here: Scene) -> str:
    """Papers at the other place that contradict those here, signed too."""
    it = record(here)
    contradict(here, places(here, it)[1])
    assert {state for state, _ in check(here, it).values()} == {"held"}
    return it


def destroyed(here: Scene) -> str:
    it = here.record()
    here.order(it)
    turn = here.turn(it)
    here.begin(turn)
    here.note(turn, *(here.clear(turn, name) for name in here.stores))
    here.settle()
    return it


@pytest.fixture(scope="module")
def there(mbashara_up: Up, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Scene, dict[str, str]]]:
    """The catalogue that there was, and its recordings, in the order in which they were closed."""
    with resolve_scene(mbashara_up, tmp_path_factory.mktemp("rebuilt")) as here:
        (here.settings.data / "VERSION").write_text(f"{DATA_VERSION}\n")
        early = {"lost": lost(here), "gone": destroyed(here), "damaged": damaged(here), "held": held(here)}
        full = everything(here)
        ruled(here, full)
        yield here, {**early, "full": full, "late": record(here)}


@pytest.fixture(scope="module", params=["by the command", "oldest first", "newest first", "elsewhere", "fetched"])
def rebuilt(request: pytest.FixtureRequest, mbashara_up: Up, there: tuple[Scene, dict[str, str]]) -> Iterator[Rebuilt]:
    here, recordings = there
    with database(mbashara_up, "rebuilt_test") as again:
        url = again.url.render_as_string(hide_password=False)
        settings = here.settings.model_copy(update={"database_url": url})
        ours = signing_keys.public_halves(settings.signing_keys)
        trusted = dict.fromkeys(ours)
        assert len(ours) == 2
        if request.param == "by the command":
            assert command._rebuild(settings, Namespace(location=None), trusted, ours) == 0
        else:
            order = list(recordings.values())
            mine = () if request.param == "elsewhere" else ours
            if request.param == "fetched":
                settings = settings.model_copy(update={"data": here.settings.data / "fetched"})
                settings.recordings.mkdir(parents=True)
                (settings.data / "VERSION").write_text(f"{DATA_VERSION}\n")
                order = list(fetched(here, settings, recordings, trusted))
            for it in reversed(order) if request.param == "newest first" else order:
                assert command._restore(settings, settings.recordings / it, trusted, mine)
        yield Rebuilt(here, again, recordings, request.param != "elsewhere", request.param == "fetched")


def fetched(
    here: Scene, settings: Settings, recordings: Mapping[str, str], trusted: Mapping[bytes, str | None]
) -> Iterator[str]:
    with pytest.raises(Damaged):
        fetch.fetch(here.stores["arusha"], recordings["damaged"], settings.recordings, trusted)
    for name, it in recordings.items():
        if name not in ("damaged", "held"):
            fetch.fetch(here.stores["arusha"], it, settings.recordings, trusted)
            yield it


def catalogue(engine: Engine, it: str) -> list[str]:
    with transaction(engine) as session:
        return rows_of(session, it)


@pytest.mark.parametrize("name", ["full", "lost", "gone", "late", "damaged", "held"])
def test_the_catalogue_is_the_same_row_by_row(rebuilt: Rebuilt, name: str) -> None:
    it = rebuilt.recordings[name]
    if rebuilt.is_fetched and name in ("damaged", "held"):  # another is there, or none
        with transaction(rebuilt.again) as session:
            assert session.get(Recording, it) is None
        return
    assert catalogue(rebuilt.again, it) == catalogue(rebuilt.here.engine, it)


def test_each_cause_of_a_gap_and_each_fact_is_among_what_came_back(rebuilt: Rebuilt) -> None:
    with transaction(rebuilt.again) as session:
        causes = set(session.scalars(select(Gap.cause)))
        told = set(session.scalars(select(BroadcastEvent.kind)))
    assert causes >= CAUSES.keys() - {"untold"}
    assert told >= {"spare_lost", "spare_back", "feed_lost", "feed_back", "refused", "resumed", "gap", "not_recorded"}


@pytest.mark.parametrize("name", ["full", "lost", "gone", "late"])
def test_what_was_signed_is_authentic_by_the_keys_that_came_back(rebuilt: Rebuilt, name: str) -> None:
    here, it = rebuilt.here, rebuilt.recordings[name]
    with transaction(rebuilt.again) as session:
        owner = session.get_one(Recording, it).institution_id
        keys = signing_keys.public_keys(session, owner)
        in_use = session.scalars(select(SigningKey.id).where(SigningKey.retired_at.is_(None))).all()
    with here.session() as session:
        signer = signing_keys.signer_of(session, owner, here.settings.signing_keys, NOW)
    assert in_use == ([signer.id] if rebuilt.is_ours else [])
    assert verify(here.settings.recordings / it, keys, with_media=False, every_signature=True).findings == []


def test_new_numbers_lie_behind_those_that_the_custody_logs_tell_of(rebuilt: Rebuilt) -> None:
    here, it = rebuilt.here, rebuilt.recordings["late"]
    with transaction(rebuilt.again) as session:
        custody = [json.loads(line) for line in session.scalars(select(PreservationEvent.line))]
        asked = resolve.ask(session, here.institution_id, it, "arusha", by=Actor(None, "asha"), now=NOW)
    assert asked.id > max(one["request"] for one in custody if one.get("rule") == "resolve")
