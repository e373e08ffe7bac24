"""People's orders for copies: real files in two folders, rows in a real PostgreSQL."""

import hashlib
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import func, select

from archive.recordings import describe, fetch, gaps, policy, resolve, signatures, signing_keys, verify
from archive.recordings.checks import Due
from archive.recordings.ledger import Ledger, make_fact
from archive.recordings.locations.folder import FolderStore
from archive.recordings.locations.store import Put
from archive.recordings.policy_errors import BadReason, NotOpen
from archive.recordings.resolve_plan import Plan, read_plan
from archive.recordings.verify import CUSTODY_NAME, LEDGER_NAME, PAPERS, SIGNATURES_NAME, read_chain
from core import institutions
from core.database import open_engine
from core.tables import Institution, Recording
from mbashara.fixity import Fixity
from mbashara.notary import Notary
from mbashara.resolving import Resolver
from tests.live.policy_kit import BEGAN, NOW, Scene
from tests.live.resolve_kit import (
    INDEX,
    Leaving,
    carried,
    check,
    events,
    figures,
    fixity,
    keys_of,
    ordered,
    plan_of,
    planned,
    record,
    resolve_scene,
    told_gaps,
    turn_of,
)
from tests.up import Up, until


@pytest.fixture(scope="module")
def here(mbashara_up: Up, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with resolve_scene(mbashara_up, tmp_path_factory.mktemp("resolve")) as one:
        yield one


def test_a_held_copy_is_put_in_order_exactly_as_a_person_ordered(here: Scene) -> None:
    it = record(here)
    local, arusha = here.settings.recordings / it, Path(here.settings.data) / "arusha" / it
    right = (local / "source/1.m4s").read_bytes()
    for place in (local, arusha):
        (place / "source/3.m4s").write_bytes(os.urandom(6))
    (local / "source/1.m4s").write_bytes(b"broken")
    (local / "source/stray.txt").write_text("of someone else")
    assert figures(here, it, "local") == figures(here, it, "arusha") == (7, 36 + len(INDEX) + 15)
    states = check(here, it)
    assert states["local"][0] == "faulty" and (local / "source/1.m4s").read_bytes() == b"broken", "one lost holds all"
    assert "source/3.m4s" in str(states["arusha"][1]), "told also after its papers were copied there"
    number = planned(here, it, "local")
    assert plan_of(here, it, "local") == {
        "repaired": ["source/1.m4s"], "removed": ["source/stray.txt"], "lost": ["source/3.m4s"], "left": [],
    }  # fmt: skip
    (local / "source/later.txt").write_text("came after the plan")
    with pytest.raises(BadReason), here.session() as session:
        resolve.order(session, here.institution_id, it, number, " ", by=here.asker, now=NOW)
    turn = ordered(here, it, number)
    with pytest.raises(NotOpen), here.session() as session:
        resolve.order(session, here.institution_id, it, number, "tena", by=here.asker, now=NOW)
    before = events(here, it)[-1]
    sha256 = hashlib.sha256(b"of someone else").hexdigest()
    stray = [{"name": "source/stray.txt", "sha256": sha256, "size_bytes": 15}]
    assert (before["act"], before["agent"], before["remove"]) == ("ordered", "asha", stray), "told before it is done"
    carried(here, turn)
    assert (local / "source/1.m4s").read_bytes() == right and not (local / "source/stray.txt").exists()
    assert (local / "source/later.txt").exists(), "nobody ordered that one away"
    told = {str(one["fact"]): one for one in events(here, it)[events(here, it).index(before) + 1 :]}
    assert told[resolve.REMOVED]["removed"] == stray and told[resolve.LOST]["detail"] == ["source/3.m4s"]
    assert told["recovery"]["detail"] == ["source/1.m4s"] and told[gaps.CORRECTED]["opened"] == [[6000, 8000]]
    assert told_gaps(here, it) == ("ended", [(6000, 8000)])
    states = check(here, it)
    assert states["local"][0] == states["arusha"][0] == "whole" and "source/3.m4s" in str(states["local"][1])
    keys = keys_of(here)
    assert verify.verify(local, keys, with_media=False).is_whole, "what was told is signed"


def test_no_order_removes_what_a_ledger_names_nor_the_last_bytes_of_a_lost_file(here: Scene) -> None:
    it = record(here)
    local, arusha = here.settings.recordings / it, Path(here.settings.data) / "arusha" / it
    (local / "source/3.m4s").rename(local / "source/3-saved.m4s")
    (arusha / "source/3.m4s").unlink()
    (local / "SOURCE").mkdir()
    (local / "SOURCE/2.M4S").write_bytes(b"a disk may take this for the ledger's")
    (local / "source/stray.txt").write_text("x")
    number = planned(here, it, "local")
    found = plan_of(here, it, "local")
    assert found["removed"] == ["source/stray.txt"] and set(found["left"]) == {"SOURCE/2.M4S", "source/3-saved.m4s"}
    with here.session() as session:  # a plan that says otherwise, as no program of ours makes it
        one = resolve.newest(session, it, "local")
        assert one is not None and one.plan is not None
        names = ("source/0.m4s", "SOURCE/2.M4S", "ledger.jsonl")
        forged = [
            {"file": name, "kind": "unlisted", "values": {"file": name}, "size_bytes": 1,
             "sha256": hashlib.sha256((local / name).read_bytes()).hexdigest()}
            for name in names
        ]  # fmt: skip
        one.plan = {**one.plan, "removed": [*one.plan["removed"], *forged]}
    with here.session() as session:
        policy.place_hold(session, here.institution_id, it, "kesi", by=here.asker, now=NOW)
    turn = ordered(here, it, number)
    came = Resolver(fixity(here)).carry_out(turn)
    assert came is not None and came.removed == [] and (local / "source/stray.txt").exists(), "a legal hold stands"
    with here.session() as session:
        hold = policy.standing_holds(session, it)[0].id
        policy.lift_hold(session, here.institution_id, it, hold, "imekwisha", by=here.asker, now=NOW)
    (local / "source/stray.txt").write_text("another by now")
    here.settle()
    carried(here, turn)
    assert all((local / name).exists() for name in (*names, "source/stray.txt", "source/3-saved.m4s"))
    assert resolve.REMOVED not in {one["fact"] for one in events(here, it)}


def test_nothing_is_told_as_done_at_a_place_that_went_away_meanwhile(here: Scene) -> None:
    it = record(here)
    local = here.settings.recordings / it
    (local / "source/1.m4s").write_bytes(b"broken")
    (local / "source/stray.txt").write_text("x")
    turn = ordered(here, it, planned(here, it, "local"))
    stores = {**here.stores, "local": Leaving("local", here.settings.recordings)}
    came = Resolver(Fixity(here.settings, here.engine, stores, {})).carry_out(turn)
    assert came is not None and (came.repaired, came.removed) == ([], []), "it stands as it was"
    assert came.trouble is not None and "unplugged" in came.trouble and (local / "source/stray.txt").exists()
    stores = {**here.stores, "arusha": FolderStore("arusha", Path(here.settings.data) / "not-mounted")}
    came = Resolver(Fixity(here.settings, here.engine, stores, {})).carry_out(turn)
    assert came is not None and (came.repaired, came.removed) == ([], ["source/stray.txt"]), "another is away"
    assert len(came.failed) == 1
    carried(here, turn)
    assert check(here, it)["local"] == ("whole", None)


def test_a_place_that_goes_away_while_copies_are_mended_is_not_called_faulty(here: Scene) -> None:
    it, arusha = record(here), Leaving("arusha", Path(here.settings.data) / "arusha")
    arusha.reads = 2
    (here.settings.recordings / it / "source/1.m4s").write_bytes(b"broken")
    checker = Fixity(here.settings, here.engine, {**here.stores, "arusha": arusha}, {})
    due = Due(it, ["arusha", "local"], 0)
    first, _ = checker.examine(due)
    found = {one.location: one for one in checker.mend(due, first).copies}
    assert found["arusha"].away is not None and "unplugged" in found["arusha"].away
    assert check(here, it) == {"arusha": ("whole", None), "local": ("whole", None)}


def test_an_order_for_a_place_that_is_named_no_more_ends_and_says_so(here: Scene) -> None:
    it = record(here)
    stray = Path(here.settings.data) / "arusha" / it / "source/stray.txt"
    stray.write_text("of someone else")
    turn = ordered(here, it, planned(here, it, "arusha"))
    left = Resolver(Fixity(here.settings, here.engine, {"local": here.stores["local"]}, {}))
    came = left.carry_out(turn)
    assert came is not None and (came.removed, came.trouble) == ([], None) and stray.exists()
    with here.session() as session:
        assert resolve.note_carried(session, turn, came, here.settings.recordings, NOW)
        one = resolve.newest(session, it, "arusha")
        assert one is not None and one.state == "done" and one.outcome is not None
        assert "arusha is not in locations.toml any more" in one.outcome["failed"][0]
    assert (events(here, it)[-1]["outcome"], events(here, it)[-1]["detail"]) == ("fail", came.failed)
    with here.session() as session:
        number = resolve.ask(session, here.institution_id, it, "arusha", by=here.asker, now=NOW).id
    plan = left.plan(turn_of(here, number))
    assert plan.is_empty and plan.hold is not None and "hapamo tena katika" in plan.hold.finding.text("sw")
    (here.settings.recordings / it / "source/3.m4s").unlink()
    with here.session() as session:
        number = resolve.ask(session, here.institution_id, it, "local", by=here.asker, now=NOW).id
    plan = left.plan(turn_of(here, number))
    assert plan.is_empty and [one.file for one in plan.left] == ["source/3.m4s"], "arusha may hold it"


def contradict(here: Scene, folder: Path) -> tuple[verify.Chain, signing_keys.Signer]:
    """Gives the papers in a folder another end, signed by the institution."""
    lines = (folder / LEDGER_NAME).read_bytes().splitlines(keepends=True)
    (folder / LEDGER_NAME).write_bytes(b"".join(lines[:-1]))
    Ledger(folder).append(make_fact("ended", BEGAN.timestamp() * 1000, duration_ms=1, size_bytes=1, reason="other"))
    (folder / SIGNATURES_NAME).unlink()
    ledger, told = read_chain(folder / LEDGER_NAME), read_chain(folder / CUSTODY_NAME)
    with here.session() as session:
        signer = signing_keys.signer_of(session, here.institution_id, here.settings.signing_keys, NOW)
    heads = signatures.Heads(ledger.size, ledger.head, told.size, told.head)
    signatures.sign(folder, folder.name, heads, signer, NOW)
    return ledger, signer


def plan_for(here: Scene, it: str, location: str) -> tuple[int, Plan]:
    number = planned(here, it, location)
    with here.session() as session:
        one = resolve.newest(session, it, location)
        assert one is not None and one.plan is not None
        return number, read_plan(one.plan)


class Killed(BaseException):
    """As by -9: nothing is caught, nothing is undone."""


class Dying(FolderStore):
    def __init__(self, folder: Path, puts: int) -> None:
        super().__init__("local", folder)
        self.left = puts

    def put_bytes(self, key: str, data: bytes, *, replace: bool = False, lock: bool = True) -> Put:
        if not self.left:
            raise Killed
        self.left -= 1
        return super().put_bytes(key, data, replace=replace, lock=lock)


def test_papers_here_that_contradict_others_are_set_aside_where_the_database_is_of_the_others(here: Scene) -> None:
    it = record(here)
    local, arusha = here.settings.recordings / it, Path(here.settings.data) / "arusha" / it
    right, custody = (arusha / LEDGER_NAME).read_bytes(), (arusha / CUSTODY_NAME).read_bytes()
    contradict(here, local)
    before = {name: (local / name).read_bytes() for name in PAPERS}
    assert {state for state, _ in check(here, it).values()} == {"held"}
    assert not plan_for(here, it, "arusha")[1].aside, "the database was not read from what is here"
    with here.session() as session:  # as it is after it was put back to an older day
        known = session.get_one(Recording, it)
        known.ledger_bytes -= 1
    assert not plan_for(here, it, "local")[1].aside, "nor from what is there"
    with here.session() as session:
        session.get_one(Recording, it).ledger_bytes += 1
    number, plan = plan_for(here, it, "local")
    turn = ordered(here, it, number)
    for puts in (1, 3, 1, 2):  # in turns: what is kept already is not kept again
        dying = replace(fixity(here), stores={**here.stores, "local": Dying(here.settings.recordings, puts)})
        with pytest.raises(Killed):
            Resolver(dying).carry_out(turn)
        Notary(here.settings, here.engine).sign_due()
        signed = (local / SIGNATURES_NAME).read_bytes()
        assert signed in (before[SIGNATURES_NAME], (arusha / SIGNATURES_NAME).read_bytes()), "nobody signs half of it"
    assert Resolver(fixity(here)).carry_out(turn) is not None, "killed before it was noted"
    carried(here, turn)
    kept = {one.file: local.parent / str(one.values["kept"]) for one in plan.aside}
    assert {name: path.read_bytes() for name, path in kept.items()} == before
    assert check(here, it) == {"arusha": ("whole", None), "local": ("whole", None)}
    here.settle()
    assert all(verify.verify(folder, keys_of(here)).is_whole for folder in (local, arusha))
    assert (local / LEDGER_NAME).read_bytes() == right
    told = (local / CUSTODY_NAME).read_bytes()
    assert told.startswith(custody) and told.count(b'"papers set aside"') == 1


def test_papers_that_contradict_those_here_are_set_aside_and_kept(here: Scene) -> None:
    it = record(here)
    local, arusha = here.settings.recordings / it, Path(here.settings.data) / "arusha" / it
    ledger, signer = contradict(here, arusha)
    before = {name: (arusha / name).read_bytes() for name in PAPERS}
    assert {state for state, fault in check(here, it).values()} == {"held"}
    planned(here, it, "local")
    with here.session() as session:
        one = resolve.newest(session, it, "local")
        assert one is not None and one.plan is not None and read_plan(one.plan).is_empty
    number, plan = plan_for(here, it, "arusha")
    assert plan.hold is not None and plan.hold.kind == "diverged" and not plan.removed
    shown = {one["location"]: one for one in plan.ledgers}
    assert shown["arusha"]["head"] == ledger.head != shown["local"]["head"] and shown["arusha"]["key"] == signer.id
    turn = ordered(here, it, number)
    assert Resolver(fixity(here)).carry_out(turn) is not None, "killed before it was noted"
    carried(here, turn)
    kept = {one.file: arusha.parent / str(one.values["kept"]) for one in plan.aside}
    assert {name: path.read_bytes() for name, path in kept.items()} == before
    done = next(one for one in events(here, it) if one["fact"] == resolve.ASIDE)
    assert {one["name"]: one["sha256"] for one in done["aside"]} == {  # type: ignore[attr-defined]
        name: hashlib.sha256(data).hexdigest() for name, data in before.items()
    }
    assert check(here, it) == {"arusha": ("whole", None), "local": ("whole", None)}
    here.settle()
    assert all(verify.verify(folder, keys_of(here)).is_whole for folder in (local, arusha))
    assert (arusha / LEDGER_NAME).read_bytes() == (local / LEDGER_NAME).read_bytes()
    assert set(fetch.recordings_at(here.stores["arusha"])) <= {one.name for one in here.settings.recordings.iterdir()}


class Halting(FolderStore):
    """Stands still after the first file, to be killed there."""

    def delete(self, key: str) -> None:
        super().delete(key)
        time.sleep(90)


def test_kill_9_in_the_middle_leaves_nothing_untold(here: Scene) -> None:
    it = record(here)
    folder = here.settings.recordings / it / "source"
    names = [f"stray-{number}.txt" for number in range(6)]
    for name in names:
        (folder / name).write_text(name)
    turn = ordered(here, it, planned(here, it, "local"))
    child = os.fork()
    if child == 0:  # a work process, with an engine of its own
        engine = open_engine(here.settings.sqlalchemy_url)
        stores = {**here.stores, "local": Halting("local", here.settings.recordings)}
        Resolver(Fixity(here.settings, engine, stores, {})).carry_out(turn)
        os._exit(0)
    until(lambda: not all((folder / name).exists() for name in names), "nothing is removed", step_s=0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    left = [name for name in names if (folder / name).exists()]
    assert 0 < len(left) < len(names), left
    order = next(one for one in events(here, it) if one.get("act") == "ordered")
    assert len(order["remove"]) == len(names), "what is gone now is on record already"  # type: ignore[arg-type]
    carried(here, turn)
    done = next(one for one in events(here, it) if one["fact"] == resolve.REMOVED)
    hashes = {f"source/{name}": hashlib.sha256(name.encode()).hexdigest() for name in names}
    assert {one["name"]: one["sha256"] for one in done["removed"]} == hashes  # type: ignore[attr-defined]
    assert not any((folder / name).exists() for name in names)


def test_a_new_name_is_told_to_every_closed_recording_some_at_a_time(here: Scene) -> None:
    with here.session() as session:
        count = session.scalar(select(func.count()).select_from(Recording)) or 0
    assert count >= 4
    with here.session() as session:
        owner = session.get_one(Institution, here.institution_id)
        before = owner.name_sw
        facts = institutions.facts_of(owner)
        institutions.edit(session, owner, replace(facts, brand_colour="#000000"), by=here.approver, now=NOW)
    told = []
    with here.session() as session:
        assert describe.tell_renamed(session, NOW, 100) == 0, "a colour is no name"
        owner = session.get_one(Institution, here.institution_id)
        institutions.edit(session, owner, replace(facts, name_sw="Bunge Jipya"), by=here.approver, now=NOW)
    for _ in range(count + 1):
        with here.session() as session:
            told.append(describe.tell_renamed(session, NOW, 2))
    assert sum(told) == count and max(told) == 2 and told[-1] == 0
    here.settle()
    with here.session() as session:
        ids = session.scalars(select(Recording.id)).all()
    for it in ids:
        described = [one for one in events(here, it) if one["fact"] == "described"]
        names = [one["institution"]["name_sw"] for one in described]  # type: ignore[index]
        assert names[-1] == "Bunge Jipya" and set(names[:-1]) == {before}, "what it was called then stays"
        assert verify.verify(here.settings.recordings / it, keys_of(here), with_media=False).is_whole
