"""The faults of a drill, each with what must come of it."""

import hashlib
import json
import os
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from archive.recordings.drill import Case, Inject, Stage, Want
from archive.recordings.ledger import LEDGER_NAME, Ledger
from archive.recordings.locations.folder import FolderStore
from archive.recordings.locations.store import Put
from archive.recordings.repair import Order, Result
from archive.recordings.signatures import Heads, sign
from archive.recordings.signing_keys import new_signer
from archive.recordings.verify import SIGNATURES_NAME, hash_file, read_chain

FAR = timedelta(days=40 * 365)
_CONTENTS = ("changed", "shortened", "lengthened")
_CHAIN = ("line_changed", "unreadable", "torn", "signed_other", "cut_short", "paper_other")


def flip(stage: Stage, _: ExitStack) -> Case:
    where, name, data = _pick(stage)
    stage.lay(where, name, _flipped(stage, data))
    return Case((Want(where, name, ("changed",)),))


def truncate(stage: Stage, _: ExitStack) -> Case:
    where, name, data = _pick(stage)
    stage.lay(where, name, data[: stage.rng.randrange(len(data))])
    return Case((Want(where, name, ("shortened",)),))


def append(stage: Stage, _: ExitStack) -> Case:
    where, name, data = _pick(stage)
    stage.lay(where, name, data + stage.rng.randbytes(stage.rng.randint(1, 5000)))
    return Case((Want(where, name, ("lengthened",)),))


def swap(stage: Stage, _: ExitStack) -> Case:
    where, one, first = _pick(stage)
    other, second = next((name, data) for _, name, data in iter(lambda: _pick(stage), None) if data != first)
    stage.lay(where, one, second)
    stage.lay(where, other, first)
    return Case((Want(where, one, ("swapped",)), Want(where, other, ("swapped",))))


def delete(stage: Stage, _: ExitStack) -> Case:
    where, name, _data = _pick(stage)
    stage.lay(where, name, None)
    return Case((Want(where, name, ("missing",)),))


def replace_by_other(stage: Stage, _: ExitStack) -> Case:
    """By a file of the same name, of another recording."""
    where, name, data = _pick(stage)
    stage.lay(where, name, stage.rng.randbytes(stage.rng.randint(len(data) // 2, 2 * len(data))))
    return Case((Want(where, name, _CONTENTS),))


def delete_ledger(stage: Stage, _: ExitStack) -> Case:
    where = _location(stage)
    stage.lay(where, LEDGER_NAME, None)
    return Case((Want(where, LEDGER_NAME, ("no_ledger",)),))


def flip_ledger(stage: Stage, _: ExitStack) -> Case:
    where = _location(stage)
    data = stage.right(LEDGER_NAME)
    assert data is not None
    stage.lay(where, LEDGER_NAME, _flipped(stage, data))
    return Case((Want(where, LEDGER_NAME, _CHAIN),))


def delete_signatures(stage: Stage, _: ExitStack) -> Case:
    where = _location(stage)
    stage.lay(where, SIGNATURES_NAME, None)
    return Case((Want(where, SIGNATURES_NAME, ("no_ledger",)),))


def alter_signature(stage: Stage, _: ExitStack) -> Case:
    """The last one is of another moment now."""
    where = _location(stage)
    *before, last = _lines(stage, SIGNATURES_NAME)
    line = {**json.loads(last), "at": "2020-01-01T00:00:00.000+00:00"}
    altered = json.dumps(line, separators=(",", ":")).encode() + b"\n"
    stage.lay(where, SIGNATURES_NAME, b"".join([*before, altered]))
    return Case((Want(where, SIGNATURES_NAME, ("signature_bad",)),))


def cut_signatures(stage: Stage, _: ExitStack) -> Case:
    """As they were before the last."""
    lines = _lines(stage, SIGNATURES_NAME)
    if len(lines) < 2:
        return Case(skip="it has one signature / ina sahihi moja")
    where = _location(stage)
    stage.lay(where, SIGNATURES_NAME, b"".join(lines[:-1]))
    return Case((Want(where, SIGNATURES_NAME, ("behind",)),))


def forge(stage: Stage, _: ExitStack) -> Case:
    """A file, a ledger that lists it and a signature of a key that nobody published."""
    where, name, data = _pick(stage)
    forged = _flipped(stage, data)
    with tempfile.TemporaryDirectory(dir=stage.scratch) as place:
        folder = Path(place)
        (folder / "file").write_bytes(forged)
        ledger = Ledger(folder)
        for raw in _lines(stage, LEDGER_NAME):
            fact = json.loads(raw)
            del fact["prev"]
            if fact.get("name") == name:
                fact["sha256"] = hash_file(folder / "file")
            ledger.append(fact)
        chain = read_chain(folder / LEDGER_NAME)
        sign(folder, stage.recording_id, Heads(chain.size, chain.head), new_signer(), datetime.now(UTC))
        stage.lay(where, name, forged)
        for paper in (LEDGER_NAME, SIGNATURES_NAME):
            stage.lay(where, paper, (folder / paper).read_bytes())
    return Case((
        Want(where, name, ("changed",)), Want(where, LEDGER_NAME, ("paper_other",)),
        Want(where, SIGNATURES_NAME, ("key_unknown",)),
    ))  # fmt: skip


def add_file(stage: Stage, _: ExitStack) -> Case:
    where, name, data = _pick(stage)
    added = f"{name}.copy"
    stage.lay(where, added, data)
    return Case((Want(where, added, ("unlisted",), Result.TOLD),))


def add_file_and_order_it_away(stage: Stage, _: ExitStack) -> Case:
    where, name, data = _pick(stage)
    added = f"{name}.copy"
    stage.lay(where, added, data)
    order = Order(where, removed={added: {hashlib.sha256(data).hexdigest()}})
    return Case((Want(where, added, ("unlisted",), Result.REMOVED),), options={"order": order})


def unmount(stage: Stage, undone: ExitStack) -> Case:
    where = _location(stage)
    if where not in stage.folders:
        return Case(skip="no folder / si folda")
    folder = stage.folders[where]
    away = folder.rename(folder.with_name(f"{folder.name}.away"))
    undone.callback(away.rename, folder)
    return Case((Want(where, "", ("away",), Result.HELD, "away"),))


def empty(stage: Stage, _: ExitStack) -> Case:
    """As when another disk is mounted there."""
    where = _location(stage)
    for name in stage.names:
        stage.lay(where, name, None)
    return Case((Want(where, "", ("location_lost",), Result.HELD, "location_lost"),))


def fill_disk(stage: Stage, undone: ExitStack) -> Case:
    """On a small disk of its own where we may mount one; else the system refuses us files of this size."""
    where, name, data = _pick(stage)
    if where not in stage.folders:
        return Case(skip="no folder / si folda")
    folder = stage.folders[where]
    filler = folder / "filler"
    if _mount(folder, stage):
        undone.callback(subprocess.run, ["umount", str(folder)], check=True)
        for other in stage.names:
            path = folder / stage.recording_id / other
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(stage.pristine / other, path)
        stage.lay(where, name, None)
        undone.callback(stage.laid.pop, (where, name))
        with suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        relief: Callable[[], None] = filler.unlink
        way = "tmpfs: ENOSPC"
    else:
        store = _Limited(where, folder)
        undone.callback(stage.stores.__setitem__, where, stage.stores[where])
        stage.stores[where] = store
        stage.lay(where, name, None)
        store.most_bytes = len(data) // 2
        relief, way = store.lift, "RLIMIT_FSIZE: EFBIG"
    return Case((Want(where, name, ("missing",), Result.HELD, "refused"),), relief=relief, way=way)


def wrong_clock(stage: Stage, undone: ExitStack) -> Case:
    """Files and the newest signature are of a time far ahead."""
    where, way = _location(stage), []
    for path in (stage.folders[where] / stage.recording_id).rglob("*") if where in stage.folders else ():
        undone.callback(os.utime, path)
        far = (datetime.now(UTC) + FAR).timestamp()
        os.utime(path, (far, far))
        way = ["files"]
    if stage.signer is not None:
        with tempfile.TemporaryDirectory(dir=stage.scratch) as place:
            shutil.copyfile(stage.pristine / SIGNATURES_NAME, Path(place, SIGNATURES_NAME))
            sign(Path(place), stage.recording_id, stage.heads, stage.signer, datetime.now(UTC) + FAR)
            for location in stage.stores:
                stage.lay(location, SIGNATURES_NAME, Path(place, SIGNATURES_NAME).read_bytes())
        way.append("signature")
    return Case(notes=("future",) * len(way), way=" + ".join(way)) if way else Case(skip="no folder / si folda")


def wrong_database(stage: Stage, _: ExitStack) -> Case:
    wrong = {"ledger_head": stage.rng.randbytes(32).hex()}
    return Case((Want("", "", ("database_wrong",), Result.TOLD),), options=wrong)


def two_bad_of_three(stage: Stage, _: ExitStack) -> Case:
    name, data = _pick(stage)[1:]
    one, other, *_rest = _locations(stage)
    stage.lay(one, name, _flipped(stage, data))
    stage.lay(other, name, data[:-1])
    return Case((Want(one, name, ("changed",)), Want(other, name, ("shortened",))))


def two_alike_one_right(stage: Stage, _: ExitStack) -> Case:
    """They are more, and wrong: the ledger decides, not the number."""
    name, data = _pick(stage)[1:]
    one, other, *_rest = _locations(stage)
    forged = _flipped(stage, data)
    stage.lay(one, name, forged)
    stage.lay(other, name, forged)
    return Case((Want(one, name, ("changed",)), Want(other, name, ("changed",))))


def two_agree_against_the_ledger(stage: Stage, _: ExitStack) -> Case:
    name, data = _pick(stage)[1:]
    one, other, third = _locations(stage)[:3]
    forged = _flipped(stage, data)
    stage.lay(one, name, forged)
    stage.lay(other, name, forged)
    stage.lay(third, name, None)
    held = (Result.HELD, "copies_against")
    return Case((
        Want(one, name, ("changed",), *held), Want(other, name, ("changed",), *held),
        Want(third, name, ("missing",), *held),
    ))  # fmt: skip


def two_bad_of_two(stage: Stage, _: ExitStack) -> Case:
    """And another file that could be mended: nothing is changed while a person has to look."""
    name, data = _pick(stage)[1:]
    also = next(other for _, other, _ in iter(lambda: _pick(stage), None) if other != name)
    one, other = _locations(stage)[:2]
    stage.lay(one, name, _flipped(stage, data))
    stage.lay(other, name, data[:-1])
    stage.lay(one, also, None)
    return Case((
        Want(one, name, ("changed",), Result.HELD, "no_good_copy"),
        Want(other, name, ("shortened",), Result.HELD, "no_good_copy"),
        Want(one, also, ("missing",), Result.HELD, "other_held"),
    ), (one, other))  # fmt: skip


def bad_and_the_other_away(stage: Stage, undone: ExitStack) -> Case:
    name, data = _pick(stage)[1:]
    one, other = _locations(stage)[:2]
    if other not in stage.folders:
        return Case(skip="no folder / si folda")
    stage.lay(one, name, _flipped(stage, data))
    away = stage.folders[other].rename(stage.folders[other].with_name(f"{other}.away"))
    undone.callback(away.rename, stage.folders[other])
    return Case((
        Want(one, name, ("changed",), Result.HELD, "source_away"), Want(other, "", ("away",), Result.HELD, "away"),
    ), (one, other))  # fmt: skip


def no_signatures_anywhere(stage: Stage, _: ExitStack) -> Case:
    for location in stage.stores:
        stage.lay(location, SIGNATURES_NAME, None)
    held = (Result.HELD, "none_authentic")
    told = (Want(location, "", ("unsigned",), *held) for location in stage.stores)
    return Case((Want("", "", ("none_authentic",), *held), *told))


CASES: tuple[tuple[str, str, str, Inject], ...] = (
    ("flip", "biti moja imegeuzwa", "one bit flipped", flip),
    ("truncate", "faili limekatwa", "a file cut short", truncate),
    ("append", "faili limeongezwa", "a file grown", append),
    ("swap", "mafaili mawili yamebadilishana", "two files swapped", swap),
    ("delete", "faili limefutwa", "a file deleted", delete),
    ("other-recording", "faili la rekodi nyingine", "a file of another recording", replace_by_other),
    ("delete-ledger", "leja imefutwa", "the ledger deleted", delete_ledger),
    ("flip-ledger", "biti ya leja imegeuzwa", "a bit of the ledger flipped", flip_ledger),
    ("delete-signatures", "sahihi zimefutwa", "the signatures deleted", delete_signatures),
    ("alter-signature", "sahihi imebadilishwa", "a signature altered", alter_signature),
    ("cut-signatures", "sahihi ya mwisho imeondolewa", "the last signature taken away", cut_signatures),
    ("forge", "faili, leja na sahihi za kughushi", "file, ledger and signature forged", forge),
    ("unlisted", "faili lisilo katika leja", "a file that is not listed", add_file),
    ("remove-unlisted", "hilo liondolewe kwa amri", "that, and its removal ordered", add_file_and_order_it_away),
    ("unmount", "mahali pamepotea (diski haipo)", "a location gone (not mounted)", unmount),
    ("empty", "mahali pako tupu", "a location empty", empty),
    ("disk-full", "diski imejaa wakati wa kurekebisha", "the disk full while repairing", fill_disk),
    ("clock", "saa imekosewa", "a wrong clock", wrong_clock),
    ("database", "hifadhidata ina hashi isiyo sahihi", "a wrong hash in the database", wrong_database),
    ("two-of-three", "nakala mbili mbovu kati ya tatu", "two bad copies of three", two_bad_of_three),
    ("majority", "mbili mbovu zinalingana, ya tatu nzuri", "two alike and wrong, the third right", two_alike_one_right),
    ("against-ledger", "mbili sawa kinyume na leja", "two alike against the ledger", two_agree_against_the_ledger),
    ("two-of-two", "nakala mbili mbovu kati ya mbili", "two bad copies of two", two_bad_of_two),
    ("other-away", "moja mbovu, nyingine haifikiki", "one bad, the other away", bad_and_the_other_away),
    ("unsigned", "hakuna sahihi popote", "no signatures anywhere", no_signatures_anywhere),
)  # fmt: skip
"""Name, in Swahili, in English, how."""


class _Limited(FolderStore):
    """The system itself refuses larger files while something is put."""

    most_bytes: int | None = None

    def lift(self) -> None:
        self.most_bytes = None

    def put_file(self, key: str, path: Path, sha256: str, *, replace: bool = False, lock: bool = True) -> Put:
        with _file_size_limit(self.most_bytes):
            return super().put_file(key, path, sha256, replace=replace, lock=lock)


@contextmanager
def _file_size_limit(most_bytes: int | None) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft if most_bytes is None else most_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def _mount(folder: Path, stage: Stage) -> bool:
    """Whether a small disk lies over the folder now."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        return False
    pages = sum((stage.pristine / name).stat().st_size // 4096 + 2 for name in stage.names)
    command = ["mount", "-t", "tmpfs", "-o", f"size={(pages + 64) * 4096}", "tmpfs", str(folder)]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def _locations(stage: Stage) -> list[str]:
    """In an order of chance."""
    return stage.rng.sample(list(stage.stores), len(stage.stores))


def _location(stage: Stage) -> str:
    return stage.rng.choice(list(stage.stores))


def _pick(stage: Stage) -> tuple[str, str, bytes]:
    """A location and a file by chance, with what is in it."""
    name = stage.rng.choice([name for name, line in stage.files.items() if int(line["size"]) > 1])
    data = stage.right(name)
    assert data is not None
    return _location(stage), name, data


def _flipped(stage: Stage, data: bytes) -> bytes:
    """One bit of it, by chance."""
    changed, at = bytearray(data), stage.rng.randrange(len(data))
    changed[at] ^= 1 << stage.rng.randrange(8)
    return bytes(changed)


def _lines(stage: Stage, name: str) -> list[bytes]:
    return (stage.right(name) or b"").splitlines(keepends=True)
