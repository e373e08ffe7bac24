"""`mbashara drill`: faults laid into copies one by one, and whether the archive finds and repairs each in one cycle."""

import base64
import json
import random
import shutil
import tempfile
import time
from argparse import ArgumentParser, Namespace, _SubParsersAction
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from archive.pages import noted
from archive.recordings import drill, signing_keys, verify
from archive.recordings.drill import Case, Stage, Told
from archive.recordings.drill_cases import CASES
from archive.recordings.locations.config import LOCAL
from archive.recordings.locations.folder import FolderStore
from archive.recordings.locations.store import check_key
from archive.recordings.repair import Outcome, Result
from archive.recordings.verify import Finding
from core.plain import N_
from core.web.i18n import Language
from mbashara.cli.common import add_command, database, find_recording, with_json
from mbashara.plain import UserError
from mbashara.settings import Settings
from mbashara.words import languages

LOCATIONS = (LOCAL, "pili", "tatu")
READS = 10_000
_RESULTS = {
    Result.REPAIRED: ("kimerekebishwa", "repaired"),
    Result.HELD: ("kimesimamishwa", "held"),
    Result.TOLD: ("kimeelezwa", "told"),
    Result.REMOVED: ("kimeondolewa", "removed"),
}


def add_parsers(areas: "_SubParsersAction[ArgumentParser]") -> None:
    one = add_command(
        areas.add_parser("drill", help="lay faults into copies of a recording; is each found and repaired?"), run
    )
    one.add_argument("--seed", type=int, metavar="N", help="for the same faults again (default: another each time)")
    one.add_argument("--recording", metavar="ID", help="with a copy of this recording (default: a small one, made up)")
    one.add_argument(
        "--reads", type=int, default=READS, metavar="N",
        help="files to read without faults afterwards; none may be alarmed (default: %(default)s)",
    )  # fmt: skip
    one.add_argument(
        "--lang",
        choices=("sw", "en"),
        default=languages()[0],
        help="language of the answer (default: that of commands, else sw)",
    )
    with_json(one)


def run(settings: Settings, arguments: Namespace) -> int:
    """0: all is as it must be; 1: something is not."""
    seed = random.randrange(1 << 32) if arguments.seed is None else arguments.seed  # noqa: S311 - chance, no secret
    with tempfile.TemporaryDirectory(prefix="mbashara-drill-") as place:
        stage = _stage(settings, arguments.recording, Path(place), random.Random(seed))  # noqa: S311
        start = time.monotonic()
        told = list[Told]()
        for one in drill.run(stage, ((name, inject) for name, _, _, inject in CASES)):
            told.append(one)
            if not arguments.json:
                print("\n".join(_rows(one, arguments.lang == "en")), flush=True)
        clean = drill.read_clean(stage, arguments.reads)
        took_s = time.monotonic() - start
    failed = any(one.wrong for one in told) or bool(clean.alarms)
    if arguments.json:
        print(json.dumps(_as_json(seed, told, clean), ensure_ascii=False))
    else:
        print("\n".join(_summary(seed, told, clean, took_s, arguments.lang == "en")))
    return 1 if failed else 0


def _stage(settings: Settings, recording: str | None, place: Path, rng: random.Random) -> Stage:
    """Three folders with a copy each. Raises UserError."""
    signer = None
    if recording is None:
        signer = signing_keys.new_signer()
        pristine, keys = place / "made" / drill.RECORDING, dict[bytes, str | None]()
        keys[base64.b64decode(signer.public_key)] = None
        drill.make_recording(pristine, signer, rng, datetime.now(UTC))
    else:
        keys = _keys(settings, recording)
        pristine = place / "made" / recording
        _copy(settings.recordings / recording, pristine)
    folders = {name: place / name for name in LOCATIONS}
    for folder in (*folders.values(), place / "scratch"):
        folder.mkdir()
    stores = {name: FolderStore(name, folder) for name, folder in folders.items()}
    stage = Stage(pristine.name, keys, {**stores}, pristine, place / "scratch", rng, folders, signer)
    stage.fill()
    for outcome in stage.cycle(Case()).outcomes:
        raise UserError(N_("the recording has faults already: {why}"), why=UserError(outcome.fault.text))
    return stage


def _keys(settings: Settings, recording: str) -> dict[bytes, str | None]:
    with database(settings) as session:
        found = find_recording(session, recording)[0]
        if found.state == "recording":
            raise UserError(N_("{recording} is on the air"), recording=recording)
        return signing_keys.public_keys(session, found.institution_id)


def _copy(folder: Path, to: Path) -> None:
    """The papers and what the ledger lists. Raises UserError where there is no room for four of them."""
    names = [*verify.listed_files(verify.read_chain(folder / verify.LEDGER_NAME)), *verify.PAPERS]
    try:
        for name in names:
            check_key(name)
    except ValueError as error:  # a ledger that is not ours must not lead outside
        raise UserError(N_("the ledger names what is no file of a recording: {why}"), why=error) from error
    paths = [name for name in names if (folder / name).is_file()]
    size = sum((folder / name).stat().st_size for name in paths)
    if shutil.disk_usage(to.parent.parent).free < 5 * size:
        raise UserError(N_("{size} bytes are needed in {path} (TMPDIR)"), size=5 * size, path=to.parent.parent)
    for name in paths:
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / name, to / name)


def _rows(one: Told, english: bool) -> Iterator[str]:
    """Of a case that is done."""
    words = {name: (sw, en)[english] for name, sw, en, _ in CASES}
    width = max(map(len, words.values()))
    mark = "--" if one.skip else "!!" if one.wrong else "OK"
    first, *more = (*_lines(one, english), *(f"! {line}" for line in one.wrong))
    yield f"{mark}  {words[one.name]:{width}}  {first}"
    yield from (f"    {'':{width}}  {line}" for line in more)


def _lines(one: Told, english: bool) -> Iterator[str]:
    """What was found and what came of it; notes where nothing had to be found."""
    if one.skip:
        yield ("haikufanyika: ", "not done: ")[english] + one.skip.split(" / ")[not english]
    for outcome in one.outcomes:
        where = f"{_place(outcome.location, english)}: " if outcome.location else ""
        yield f"{where}{_said(outcome.fault, english)} -> {_result(outcome, english)}"
    yield from (_said(note, english) for note in one.notes)
    if not one.skip and not one.outcomes and not one.notes:
        yield ("hakuna kilichopatikana", "nothing was found")[english]


def _result(outcome: Outcome, english: bool) -> str:
    word = _RESULTS[outcome.result][english]
    if outcome.source is not None and outcome.result is Result.REPAIRED:
        word += f" ({('kutoka', 'from')[english]} {_place(outcome.source, english)})"
    if outcome.why is not None and outcome.why != outcome.fault:
        word += f": {_said(outcome.why, english)}"
    return word


def _said(finding: Finding, english: bool) -> str:
    return noted.say(finding, Language.EN if english else Language.SW, {})


def _place(name: str, english: bool) -> str:
    return ("mashine hii", "this machine")[english] if name == LOCAL else name


def _summary(seed: int, told: list[Told], clean: drill.Reads, took_s: float, english: bool) -> Iterator[str]:
    done = [one for one in told if not one.skip]
    right, skipped = sum(not one.wrong for one in done), len(told) - len(done)
    if english:
        yield f"{right} of {len(done)} faults found and dealt with as they must be in one cycle; {skipped} not done."
        yield f"{clean.files} files without faults read: {len(clean.alarms)} false alarms. --seed {seed}"
    else:
        yield f"Hitilafu {right} kati ya {len(done)} zimepatikana na kushughulikiwa ipasavyo; {skipped} hazikufanyika."
        false = len(clean.alarms)
        yield f"Mafaili {clean.files} yasiyo na hitilafu yamesomwa: tahadhari za uongo {false}. --seed {seed}"
    yield f"{took_s:.1f} s"


def _as_json(seed: int, told: list[Told], clean: drill.Reads) -> dict[str, object]:
    return {
        "seed": seed,
        "cases": [
            {
                "name": one.name,
                "way": one.way,
                "skipped": one.skip,
                "ok": not one.wrong and not one.skip,
                "wrong": one.wrong,
                "found": [_found(outcome) for outcome in one.outcomes],
                "notes": [note.text() for note in one.notes],
            }
            for one in told
        ],
        "clean_reads": clean.files,
        "false_alarms": [_found(outcome) for outcome in clean.alarms],
    }


def _found(outcome: Outcome) -> dict[str, object]:
    return {
        "location": outcome.location,
        "kind": outcome.fault.kind,
        "text": outcome.fault.text(),
        "result": outcome.result,
        "source": outcome.source,
        "why": outcome.why and outcome.why.text(),
    }
