"""Fixity, judgement and repair of a recording's copies: the drill's whole list on folders, and what it can't show."""

import asyncio
import base64
import json
import os
import random
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from archive.recordings import checks, drill, verify
from archive.recordings.drill import Case, Stage
from archive.recordings.drill_cases import CASES
from archive.recordings.fixity import BATCH, examine
from archive.recordings.judge import Standing, judge
from archive.recordings.ledger import CUSTODY_NAME, LEDGER_NAME, Ledger, make_fact
from archive.recordings.locations.errors import StoreError
from archive.recordings.locations.folder import FolderStore
from archive.recordings.locations.store import Digest
from archive.recordings.repair import Result, check_and_repair
from archive.recordings.signatures import sign
from archive.recordings.signing_keys import new_signer
from archive.recordings.verify import PAPERS, SIGNATURES_NAME, Finding, hash_file, listed_files, read_chain
from mbashara.cli import main
from tests.unit.test_broadcast import studio
from tests.unit.test_verify import heads

KEY = new_signer()
KEYS = {base64.b64decode(KEY.public_key)}
NOW = datetime.now(UTC)
LOCATIONS = ("local", "pili", "tatu")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / drill.RECORDING
    drill.make_recording(folder, KEY, random.Random(1), NOW, segments=8)
    return folder


@pytest.fixture
def stage(made: Path, tmp_path: Path) -> Stage:
    """Three copies without faults."""
    folders = {name: tmp_path / name for name in LOCATIONS}
    for folder in folders.values():
        shutil.copytree(made, folder / drill.RECORDING)
    (tmp_path / "scratch").mkdir()
    stores = {name: FolderStore(name, folder) for name, folder in folders.items()}
    return Stage(drill.RECORDING, KEYS, {**stores}, made, tmp_path / "scratch", random.Random(2), folders, KEY)


def came(stage: Stage, **options: object) -> list[tuple[str | None, str, str, str]]:
    """What a cycle makes of it: location, kind, result, why."""
    outcomes = stage.cycle(Case(options=options)).outcomes
    return [(one.location, one.fault.kind, one.result, one.why.kind if one.why else "") for one in outcomes]


def path_of(stage: Stage, location: str, name: str) -> Path:
    return stage.folders[location] / stage.recording_id / name


# The command, and that it can fail.


def test_the_drill_finds_and_mends_all_in_one_cycle(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["drill", "--seed", "7", "--reads", "500", "--json", "--data", str(tmp_path)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [one["name"] for one in told["cases"]] == [name for name, *_ in CASES]
    assert all(one["ok"] for one in told["cases"]), [one for one in told["cases"] if not one["ok"]]
    assert told["clean_reads"] >= 500 and told["false_alarms"] == []
    assert next(one["way"] for one in told["cases"] if one["name"] == "disk-full") in (
        "tmpfs: ENOSPC", "RLIMIT_FSIZE: EFBIG",
    )  # fmt: skip


class Forgetful(FolderStore):
    """Says of each file what was true when it came, as a server does that never reads again."""

    def __init__(self, name: str, folder: Path, made: Path) -> None:
        super().__init__(name, folder)
        self._made = made

    def digests(self, keys: Sequence[str]) -> list[Digest | StoreError]:
        paths = [self._made.parent / key for key in keys]
        return [Digest(path.stat().st_size, hash_file(path)) for path in paths]


def test_the_drill_fails_where_a_location_only_says_that_all_is_well(stage: Stage, made: Path) -> None:
    stage.stores = {name: Forgetful(name, folder, made) for name, folder in stage.folders.items()}
    told = drill.run(stage, [(name, inject) for name, _, _, inject in CASES if name in ("flip", "delete", "swap")])
    assert [bool(one.wrong) for one in told] == [True, True, False]


def test_a_false_alarm_is_counted(stage: Stage) -> None:
    assert drill.read_clean(stage, 100).alarms == ()
    path_of(stage, "pili", "stray").touch()
    reads = drill.read_clean(stage, 100)
    assert [one.fault.kind for one in reads.alarms] == ["unlisted"] * reads.cycles


# Reading again.


def test_every_file_is_read_and_told_of(stage: Stage) -> None:
    told = list[int]()
    found = examine(stage.stores["pili"], stage.recording_id, stage.files, on_progress=told.append)
    assert found.is_whole and found.files_read == len(told) == len(stage.files)
    assert found.bytes_read == sum(told) == sum(int(line["size"]) for line in stage.files.values())


def test_it_stops_when_told_and_then_it_is_not_whole(stage: Stage) -> None:
    reads = list[int]()
    found = examine(
        stage.stores["pili"], stage.recording_id, stage.files, workers=1, on_progress=reads.append,
        should_stop=lambda: len(reads) >= 3,
    )  # fmt: skip
    assert not found.is_complete and not found.is_whole and found.faults == [] and 3 <= len(reads) <= BATCH


def test_a_location_that_goes_away_meanwhile_is_away_and_no_file_is_missing(stage: Stage) -> None:
    folder = stage.folders["pili"]

    def unmount(_: int) -> None:
        if folder.exists():
            folder.rename(folder.with_name("away"))

    found = examine(stage.stores["pili"], stage.recording_id, stage.files, workers=1, on_progress=unmount)
    assert found.away is not None and {one.kind for one in found.faults} <= {"no_answer"}
    assert not found.is_complete


@pytest.mark.parametrize(
    ("lay", "kind"),
    [
        (lambda path: path.symlink_to("1.m4s"), "missing"),
        (os.mkfifo, "not_read"),
        (lambda path: path.touch(), "shortened"),
    ],
)
def test_what_is_no_file_is_put_right(stage: Stage, lay: object, kind: str) -> None:
    path = path_of(stage, "pili", "source/0.m4s")
    path.unlink()
    assert callable(lay)
    lay(path)
    assert came(stage) == [("pili", kind, Result.REPAIRED, "")]
    assert path.read_bytes() == stage.right("source/0.m4s") and not path.is_symlink()
    assert came(stage) == []


def test_a_lost_location_is_told_once(stage: Stage) -> None:
    for path in stage.folders["pili"].rglob("*.*"):
        path.unlink()
    cycle = stage.cycle(Case())
    (told,) = (one.held for one in checks.told(cycle, 0).copies if one.location == "pili")
    assert [line.count("is lost") for line in told] == [1]


def test_a_folder_in_a_files_place_is_left_to_people(stage: Stage) -> None:
    path = path_of(stage, "pili", "source/0.m4s")
    path.unlink()
    (path / "inner").mkdir(parents=True)
    assert came(stage) == [("pili", "missing", Result.HELD, "refused")]


def test_a_hole_in_a_ledger_is_no_way_out_of_the_folder(stage: Stage) -> None:
    files = {"../../outside": {"name": "../../outside", "size": 1, "sha256": "0" * 64}}
    found = examine(stage.stores["pili"], stage.recording_id, files)
    assert [one.kind for one in found.faults if one.kind != "unlisted"] == ["missing"]


def test_on_the_air_nothing_is_alarmed_and_no_paper_of_the_writers_is_touched(tmp_path: Path) -> None:
    recording = "0" * 26
    folder = tmp_path / "recordings" / recording

    async def scenario() -> None:
        with studio(tmp_path) as live:
            at = live.play(live.attach(), 9, 0)
            await live.recorder.written()
            sign(folder, recording, heads(folder), KEY, NOW)
            live.broadcast.detach()
            live.play(live.attach(), 9.3, at)
            await live.recorder.written()
            stores = {"local": FolderStore("local", tmp_path / "recordings")}
            cycle = check_and_repair(stores, recording, KEYS, tmp_path, on_air=True)
            assert cycle.files_read > 4 and cycle.outcomes == ()
            assert cycle.judgement.standings["local"][LEDGER_NAME] is Standing.AHEAD
            await live.broadcast.end("test")

    asyncio.run(scenario())


# Papers.


def cut(stage: Stage, location: str, lines: int) -> int:
    """The ledger of a copy that is being made, with the signatures of its time; its size."""
    ledger = path_of(stage, location, LEDGER_NAME)
    data = b"".join(ledger.read_bytes().splitlines(keepends=True)[:lines])
    ledger.write_bytes(data)
    for name in listed_files(read_chain(stage.pristine / LEDGER_NAME)):
        if name not in listed_files(read_chain(ledger)):
            path_of(stage, location, name).unlink()
    signatures = path_of(stage, location, SIGNATURES_NAME)
    told = signatures.read_bytes().splitlines(keepends=True)
    signatures.write_bytes(b"".join(line for line in told if json.loads(line)["ledger_bytes"] <= len(data)))
    return len(data)


def test_a_copy_that_is_behind_is_no_fault_unless_it_was_further_once(stage: Stage) -> None:
    size = cut(stage, "pili", 15)
    whole = stage.heads.ledger_bytes
    assert came(stage, copied={"pili": size, "local": whole, "tatu": whole}) == []
    assert came(stage, copied={}) == []
    told = came(stage, copied={"pili": whole})
    assert ("pili", "behind", Result.REPAIRED, "") in told and ("pili", "missing", Result.REPAIRED, "") in told
    assert came(stage) == []


def test_signatures_of_a_copy_that_is_behind_are_mended_no_further_than_its_ledger(stage: Stage) -> None:
    size = cut(stage, "pili", 15)
    path_of(stage, "pili", SIGNATURES_NAME).write_bytes(b"{}\n")
    copied = {"pili": size, "local": stage.heads.ledger_bytes, "tatu": stage.heads.ledger_bytes}
    assert came(stage, copied=copied) == [("pili", "unreadable", Result.REPAIRED, "")]
    reach = [line["ledger_bytes"] for line in read_chain(path_of(stage, "pili", SIGNATURES_NAME)).lines]
    assert len(reach) == 0 or max(reach) <= size
    assert came(stage, copied=copied) == []


def test_what_goes_on_behind_the_last_signature_is_told_and_not_thrown_away(stage: Stage) -> None:
    folder = path_of(stage, "local", LEDGER_NAME).parent
    name = next(iter(stage.files))
    Ledger(folder).append(make_fact("file", 0, name=name, size=1, sha256="0" * 64))  # not by us: it condemns a file
    grown = (folder / LEDGER_NAME).read_bytes()
    assert came(stage) == [("local", "unsigned_tail", Result.TOLD, "")]
    assert (folder / LEDGER_NAME).read_bytes() == grown
    sign(folder, stage.recording_id, heads(folder), KEY, NOW)  # slipped in, and the notary did not see it
    path_of(stage, "pili", name).write_bytes(b"x")
    assert came(stage) == [(None, "after_end", Result.HELD, "after_end")]
    assert path_of(stage, "pili", name).read_bytes() == b"x"


def test_custody_and_signatures_that_went_back_here_are_mended_from_a_copy(stage: Stage) -> None:
    """Every copy has what is signed; here someone put back the papers of an hour ago."""
    early = {name: path_of(stage, "local", name).read_bytes() for name in PAPERS}
    folder = path_of(stage, "local", LEDGER_NAME).parent
    Ledger(folder, CUSTODY_NAME).append(make_fact("fixity check", 0, outcome="fail", agent="x"))
    sign(folder, stage.recording_id, heads(folder), KEY, NOW)
    late = {name: path_of(stage, "local", name).read_bytes() for name in PAPERS}
    for name in PAPERS:
        path_of(stage, "pili", name).write_bytes(late[name])
        path_of(stage, "local", name).write_bytes(early.get(name, b""))
    told = came(stage)
    for name in (CUSTODY_NAME, SIGNATURES_NAME):
        assert path_of(stage, "local", name).read_bytes() == late[name]
    assert [one for one in told if one[0] == "local"] == [("local", "behind", Result.REPAIRED, "")] * 2
    judgement = judge({"local": stage.stores["local"], "tatu": stage.stores["tatu"]}, stage.recording_id, KEYS)
    assert judgement.faults["tatu"] == (), "a copy may be a little behind"


def test_two_signed_ledgers_that_contradict_each_other_hold_everything(stage: Stage) -> None:
    for location, cause in (("local", "a"), ("pili", "b")):
        folder = path_of(stage, location, LEDGER_NAME).parent
        Ledger(folder).append(make_fact("gap", 0, from_ms=1, to_ms=2, cause=cause))
        sign(folder, stage.recording_id, heads(folder), KEY, NOW)
    path_of(stage, "tatu", "source/0.m4s").unlink()
    assert came(stage) == [(None, "diverged", Result.HELD, "diverged")]
    assert not path_of(stage, "tatu", "source/0.m4s").exists()


def test_papers_of_another_recording_are_not_its_own(stage: Stage, tmp_path: Path) -> None:
    other = tmp_path / ("1" * 26)
    drill.make_recording(other, KEY, random.Random(3), NOW, segments=8)
    for name in PAPERS:
        shutil.copyfile(other / name, path_of(stage, "tatu", name))
    told = came(stage)
    assert {kind for _, kind, _, _ in told} == {"other_ledger", "paper_other"}
    assert {(where, result) for where, _, result, _ in told} == {("tatu", Result.REPAIRED)}
    assert came(stage) == []


def test_what_the_database_believes(stage: Stage) -> None:
    heads_ = stage.heads
    ledger = read_chain(stage.pristine / LEDGER_NAME)
    for believed, is_right in (
        ((heads_.ledger_bytes, heads_.ledger_head), True),
        ((ledger.ends[3], ledger.hashes[3]), True),  # rows are read from the ledger a little later
        ((0, verify.GENESIS), True),
        ((ledger.ends[3], ledger.hashes[4]), False),
        ((ledger.ends[3] + 1, ledger.hashes[3]), False),
        ((heads_.ledger_bytes + 200, heads_.ledger_head), False),
    ):
        found = judge(stage.stores, stage.recording_id, KEYS, ledger_bytes=believed[0], ledger_head=believed[1])
        assert (found.database is None) is is_right and found.hold is None, believed


def test_a_key_that_nobody_published_signs_nothing(stage: Stage) -> None:
    stage.keys = {base64.b64decode(new_signer().public_key)}
    assert {(kind, result, why) for _, kind, result, why in came(stage)} == {
        ("none_authentic", Result.HELD, "none_authentic"), ("key_unknown", Result.HELD, "none_authentic"),
    }  # fmt: skip


@pytest.mark.parametrize("line", [b"[]\n", b"7\n", b'{"prev":"%s","fact":"file"}\n' % (b"0" * 64), b"\xff\n", b"{" * 9])
def test_no_line_of_a_stranger_breaks_the_judgement(stage: Stage, line: bytes) -> None:
    path_of(stage, "pili", LEDGER_NAME).write_bytes(line)
    told = came(stage)
    assert [(where, result) for where, _, result, _ in told] == [("pili", Result.REPAIRED)]
    assert came(stage) == []


def test_every_kind_says_something_in_both_languages(stage: Stage) -> None:
    for kind, (swahili, english) in verify.TEXTS.items():
        assert swahili != english and kind
    cycle = check_and_repair(stage.stores, stage.recording_id, set(), stage.scratch)
    for one in cycle.outcomes:
        assert isinstance(one.fault, Finding) and "{" not in one.fault.text("sw") + one.fault.text("en")
