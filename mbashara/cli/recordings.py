"""`mbashara recording export`: a recording, or a stretch of it, as a file with its credentials."""

import json
import os
import signal
import sys
import threading
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy.orm import Session

from archive.exports import jobs, moments
from archive.recordings import certificates, rows, verify
from archive.recordings.export import AlreadyThere, Damaged, Exported, ExportedFile, NoRoom, TimeUp, export
from archive.recordings.export_credentials import TYPES, CredentialsError, Described, sealing
from archive.recordings.export_plan import Destroyed, ExportError, NothingThere, Range
from archive.recordings.samples import Recorded, Stopped, UnknownRecording, read_recorded
from core import audit
from core.ids import is_id
from core.plain import N_
from core.web.dates import EAST_AFRICA_TIME
from mbashara import __version__
from mbashara.cli.common import add_command, by, database, no_recording, with_json
from mbashara.cli.evidence import check_ledger
from mbashara.cli.terms import cause
from mbashara.data import as_caller
from mbashara.plain import UserError
from mbashara.settings import Settings
from mbashara.words import say

if TYPE_CHECKING:
    from argparse import _SubParsersAction

INTERRUPTED = 130
BAR = 30


def add_parsers(recording: "_SubParsersAction[ArgumentParser]") -> None:
    add = add_command(recording.add_parser("export", help="write a recording, or a part of it, to a file"), run)
    add.add_argument("recording", metavar="ID")
    moment = N_(
        "HH:MM:SS or seconds from the beginning, or a day and time such as 2026-11-28T10:15:00 (East Africa Time)"
    )
    add.add_argument("--from", dest="begins", metavar="MOMENT", help=moment)
    add.add_argument("--to", dest="ends", metavar="MOMENT", help="the same")
    add.add_argument("--rendition", metavar="NAME", help="default: the source")
    add.add_argument("--sound", action="store_true", help="only the sound (M4A)")
    add.add_argument("-o", "--output", metavar="PATH", help="default: ID.mp4 or ID.m4a")
    with_json(add)


def run(settings: Settings, arguments: Namespace) -> int:
    folder = settings.recordings / arguments.recording
    try:
        recorded = read_recorded(folder) if is_id(arguments.recording) else None
    except UnknownRecording:
        recorded = None
    if recorded is None:
        raise no_recording(arguments.recording)
    asked = Range(read_moment(arguments.begins, recorded.origin_ms), read_moment(arguments.ends, recorded.origin_ms))
    if asked.to_ms is not None and asked.to_ms <= (asked.from_ms or 0):
        raise UserError(N_("the end is not after the beginning"))
    with as_caller():
        path = _output(arguments)
    os.environ.setdefault("TMPDIR", str(path.absolute().parent))  # where sealing puts what it makes on the way
    now = datetime.now(UTC)
    with database(settings) as session:
        described, institution_id = _describe(session, recorded)
        check_ledger(session, settings, arguments.recording)
    identity = certificates.identity(settings.c2pa_folder, described.institution,
                                     described.institution_name, now)  # fmt: skip
    seal = sealing(described, identity, now, __version__)
    with _interruptible() as stopped:
        try:
            with as_caller():  # it reads the recording alone, and writes where it was told
                made = export(
                    folder, path, asked=asked, rendition=arguments.rendition, only_sound=arguments.sound,
                    progress=_Bar(), stop=stopped.is_set, seal=seal, limit_s=settings.export_max_hours * 3600,
                )  # fmt: skip
        except Stopped:
            print(f"\n{say('stopped; no file is left')}", file=sys.stderr)
            return INTERRUPTED
        except (ExportError, CredentialsError, UnknownRecording) as error:
            raise why_not(error) from error
        except OSError as error:
            raise UserError(N_("it can't be written: {why}: {path}"), why=error, path=error.filename or path) from error
    kept = [_kept(file) for file in made.files]
    with database(settings) as session:
        rendition = made.video or made.sound or ""
        jobs.note_exported(session, made.recording, kept, rendition, now, agent=by().name)
        told = {"from": _clock(made, made.got.from_ms), "to": _clock(made, made.got.to_ms),
                "rendition": made.video or made.sound, "files": [str(file.path) for file in made.files]}  # fmt: skip
        subject = f"recording:{made.recording}"
        audit.append(session, by(), "recording.export", subject, now=now, institution_id=institution_id, after=told)
    _tell(made, arguments.json)
    return 0


def read_moment(text: str | None, origin_ms: int) -> int | None:
    """Milliseconds of the broadcast's timeline."""
    if text is None:
        return None
    try:
        return moments.read_moment(text, origin_ms)
    except ValueError:
        raise UserError(N_("{text} is no moment: HH:MM:SS, seconds, or a day with its time"), text=text) from None


def why_not(error: Exception) -> UserError:
    match error:
        case Destroyed():
            return UserError(N_("this recording was destroyed by order: its papers alone are left"))
        case NothingThere():
            return UserError(N_("nothing was recorded in that stretch"))
        case NoRoom():
            needed, free = error.needed >> 20, error.free >> 20
            return UserError(N_("the disk has {free} MB free, {needed} MB are needed"), free=free, needed=needed)
        case AlreadyThere():
            return UserError(N_("{path} exists already"), path=error.path)
        case TimeUp():
            return UserError(N_("it took longer than an export may"))
        case Damaged():
            return UserError(N_("a file of the recording is damaged: {why}"), why=error)
        case UnknownRecording():
            return UserError(N_("there is no such rendition: {why}"), why=error)
        case _:
            return UserError(N_("it can't be signed: {why}"), why=error)


def _output(arguments: Namespace) -> Path:
    path = Path(arguments.output or (f"{arguments.recording}.m4a" if arguments.sound else f"{arguments.recording}.mp4"))
    if path.suffix.lower() not in TYPES:
        raise UserError(N_("the file's name must end in .mp4 or .m4a: {path}"), path=path)
    if not path.absolute().parent.is_dir():
        raise UserError(N_("there is no folder {path}"), path=path.parent)
    return path


def _describe(session: Session, recorded: Recorded) -> tuple[Described, int]:
    found, described = rows.find_recording(session, recorded.folder.name), jobs.describe(session, recorded.folder)
    if found is None or described is None:
        raise no_recording(recorded.folder.name)
    return described, found[0].institution_id


def _kept(file: ExportedFile) -> jobs.File:
    """What custody tells of it."""
    span = {"from_ms": file.from_ms, "to_ms": file.to_ms}
    with as_caller():
        digest = verify.hash_file(file.path)
    return {"name": file.path.name, "size": file.size, "sha256": digest, **span}


@contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """Ctrl-C asks to stop, wherever the work is just then, so that nothing half-made is left."""
    stopped = threading.Event()
    before = {number: signal.signal(number, lambda *_: stopped.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Bar:
    """A bar and words on a terminal; elsewhere a line for each tenth."""

    def __init__(self) -> None:
        self._shown = -1

    def __call__(self, part: float) -> None:
        is_terminal = sys.stderr.isatty()
        percent = int(part * 100)
        step = percent if is_terminal else percent // 10
        if step == self._shown:
            return
        self._shown = step
        words = f"{say('exporting')}: {percent} %"
        if is_terminal:
            filled = round(part * BAR)
            bar = "#" * filled + "." * (BAR - filled)
            print(f"\r[{bar}] {words}", end="\n" if percent >= 100 else "", file=sys.stderr, flush=True)
        else:
            print(words, file=sys.stderr, flush=True)


def _clock(made: Exported, time_ms: int | None) -> str | None:
    if time_ms is None:
        return None
    moment = datetime.fromtimestamp((made.origin_ms + time_ms) / 1000, EAST_AFRICA_TIME)
    return moment.isoformat(timespec="milliseconds")


def _tell(made: Exported, as_json: bool) -> None:
    files = [
        {"path": str(file.path), "size_bytes": file.size, "duration_ms": file.duration_ms,
         "from": _clock(made, file.from_ms), "to": _clock(made, file.to_ms)}
        for file in made.files
    ]  # fmt: skip
    gaps = [{"from": _clock(made, gap.from_ms), "to": _clock(made, gap.to_ms), "cause": gap.cause} for gap in made.gaps]
    asked = {"from": _clock(made, made.asked.from_ms), "to": _clock(made, made.asked.to_ms)}
    if as_json:
        whole = {"recording": made.recording, "rendition": made.video, "sound": made.sound, "asked": asked}
        print(json.dumps({**whole, "files": files, "gaps": gaps}))
        return
    if any(asked.values()):
        _line(say("asked"), asked["from"] or "...", asked["to"] or "...")
    for file in files:
        _line(say("file"), file["from"], file["to"], file["size_bytes"], file["path"])
    for gap in gaps:
        _line(say("gap"), gap["from"], gap["to"], cause(str(gap["cause"])))


def _line(name: str, *values: object) -> None:
    print(f"{f'{name}:':17} {'  '.join(map(str, values))}")
