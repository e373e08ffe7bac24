"""`mbashara recording import`: files of this machine become recordings of a channel."""

import hashlib
import json
import os
import secrets
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from archive.imports import jobs
from archive.imports.jobs import UNDER_WAY, State, Wanted
from archive.imports.tables import ImportJob
from archive.imports.words import told_in
from archive.recordings.policy import Wish, wish_for
from core.database import open_engine, transaction
from core.ids import RANDOM_BYTES, new_id
from core.plain import N_
from core.tables import Channel
from mbashara.cli.common import add_command, by, channel_id, database, read_time
from mbashara.data import as_caller, stepped_down
from mbashara.plain import UserError
from mbashara.settings import Settings
from mbashara.words import in_words, say

if TYPE_CHECKING:
    from argparse import _SubParsersAction

COPIED_BYTES = 4 << 20
ASK_S = 0.5


def add_parser(recording: "_SubParsersAction[ArgumentParser]") -> None:
    add = add_command(recording.add_parser("import", help="make recordings of video and sound files"), import_files)
    add.add_argument("files", nargs="*", type=Path, metavar="FOLDER|FILE", help="a folder: every file in it")
    add.add_argument("--channel", metavar="SLUG", help="whose recordings they become")
    add.add_argument(
        "--at", metavar="ISO", help="when the first picture was made (default: as the file says, else now)"
    )
    add.add_argument("--title-sw", default="", metavar="TEXT", help="title in Swahili (default: the file's name)")
    add.add_argument("--title-en", default="", metavar="TEXT", help="title in English (default: the file's name)")
    add.add_argument("--embargo", metavar="REASON", help="closed to the public from its first moment")
    add.add_argument(
        "--until", metavar="TIME", help="with --embargo: ISO 8601, East Africa Time; else until it is lifted"
    )
    add.add_argument("--wait", action="store_true", help="until all are made; says how far each is")
    add.add_argument("--json", action="store_true", help="print JSON")


def import_files(settings: Settings, arguments: Namespace) -> int:
    if not arguments.channel:
        raise UserError(N_("name the channel: --channel SLUG"))
    with as_caller():
        files = list(_files(arguments.files))
    if not files:
        raise UserError(N_("there is no file"))
    at = None if arguments.at is None else read_time(arguments.at)
    if at is not None and at > datetime.now(UTC):
        raise UserError(N_("{text} is still to come"), text=arguments.at)
    embargo = read_embargo(arguments)
    ids = [_take(settings, file, arguments, at, embargo) for file in files]
    if arguments.wait:
        _wait(settings, ids, arguments.json)
    with database(settings) as session:
        found = jobs.states(session, ids)
        told = [
            {"id": one, "name": found[one].name, "state": found[one].state, "trouble": found[one].trouble}
            for one in ids
        ]
        words = {one: _words(found[one]) for one in ids}
    if arguments.json:
        print(json.dumps(told, ensure_ascii=False))
    else:
        for one in told:
            print("  ".join((str(one["id"]), str(one["name"]), words[str(one["id"])])))
    return 1 if any(one["state"] == State.FAILED for one in told) else 0


def read_embargo(arguments: Namespace) -> Wish | None:
    """Raises UserError, PolicyError."""
    until = None if arguments.until is None else read_time(arguments.until)
    if arguments.embargo is None:
        if until is not None:
            raise UserError(N_("--until is the end of an embargo: give --embargo REASON too"))
        return None
    return wish_for(arguments.embargo, until, datetime.now(UTC))


def _words(job: ImportJob) -> str:
    return in_words(lambda language: told_in(language, job))


def _files(given: Sequence[Path]) -> Iterator[Path]:
    for path in given:
        if path.is_dir():
            yield from sorted(one for one in path.iterdir() if one.is_file() and not one.name.startswith("."))
        elif path.is_file():
            yield path
        else:
            raise UserError(N_("there is no file {path}"), path=path)


def _take(
    settings: Settings, file: Path, arguments: Namespace, at: datetime | None, embargo: Wish | None
) -> str:  # fmt: skip
    """Copies it into the data folder, then into the queue: a row has its file."""
    now = datetime.now(UTC)
    with database(settings) as session:
        channel_id(session, arguments.channel)
    job_id = new_id(now, secrets.token_bytes(RANDOM_BYTES))
    kept = settings.imports_folder / job_id
    with stepped_down(settings):
        sha256, size_bytes = _copy(settings, file, kept)
    wanted = Wanted(file.name, size_bytes, arguments.title_sw, arguments.title_en, at, sha256, embargo)
    try:
        with database(settings) as session:
            channel = session.get_one(Channel, channel_id(session, arguments.channel))
            jobs.add(session, job_id, channel, wanted, by=by(), now=now)
    except BaseException:
        kept.unlink()
        raise
    return job_id


def _copy(settings: Settings, file: Path, kept: Path) -> tuple[str, int]:
    """Its hash and its size in bytes. Leaves the free space that `up` wants."""
    with as_caller():
        size_bytes = file.stat().st_size
    status = os.statvfs(kept.parent)
    if size_bytes == 0:
        raise UserError(N_("{path} is empty"), path=file)
    if status.f_bavail * status.f_frsize - size_bytes < settings.min_free_mb << 20:
        raise UserError(N_("no space left for {path}"), path=file)
    digest = hashlib.sha256()
    try:
        with as_caller():
            opened = file.open("rb")
        with opened as source, kept.open("xb") as target:
            while data := source.read(COPIED_BYTES):
                digest.update(data)
                target.write(data)
            target.flush()
            os.fsync(target.fileno())
            return digest.hexdigest(), target.tell()
    except OSError as error:
        kept.unlink(missing_ok=True)
        raise UserError(N_("{path} can't be copied: {why}"), path=file, why=error) from error


def _wait(settings: Settings, ids: list[str], as_json: bool) -> None:
    """Says what changes, a line each. Without `up` nobody makes them, so it is not waited for."""
    if not settings.supervisor_file.exists():
        print(f"mbashara: {say('nothing is made until `up` runs')}", file=sys.stderr)
        return
    engine = open_engine(settings.sqlalchemy_url)
    shown: dict[str, str] = {}
    try:
        while True:
            with transaction(engine) as session:
                found = jobs.states(session, ids)
            for one in ids:
                job = found[one]
                line = f"{job.name}: {_words(job)}"
                if shown.get(one) != line:
                    shown[one] = line
                    print(line, file=sys.stderr if as_json else sys.stdout, flush=True)
            if not any(job.state in UNDER_WAY for job in found.values()):
                return
            time.sleep(ASK_S)
    finally:
        engine.dispose()
