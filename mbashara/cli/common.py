"""What the commands share: their arguments, a transaction on the database, what they find in it, lists, and errors.
The archive is loaded where it is asked: commands of channels and people have no use for it."""

import json
import os
import pwd
import shutil
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Row
from sqlalchemy.orm import Session

from core import institutions
from core.audit import COMMAND_LINE, Actor
from core.channels import find_channel
from core.database import open_engine, transaction
from core.ids import is_id
from core.plain import N_
from core.problems import LOCALE, Problems
from core.tables import Broadcast, Channel, Recording
from core.web.dates import EAST_AFRICA_TIME
from core.web.i18n import catalogue
from mbashara import postgres
from mbashara.data import as_caller, check_begun
from mbashara.plain import UserError
from mbashara.settings import Settings

Command = Callable[[Settings, Namespace], int]


def by() -> Actor:
    """The system's name for whoever called this; root's commands work as the account, and sudo says for whom."""
    user_id, _, kept_id = os.getresuid()
    if kept_id == 0:
        name = os.environ.get("SUDO_USER") or "root"
    else:
        try:
            name = pwd.getpwuid(user_id).pw_name
        except KeyError:
            name = str(user_id)
    return Actor(None, f"{COMMAND_LINE} ({name})")


def add_command(sub: ArgumentParser, command: Command) -> ArgumentParser:
    sub.set_defaults(command=command)
    sub.add_argument("--data", metavar="DIR", help="data folder (MBASHARA_DATA, default ./data)")
    return sub


def with_json(sub: ArgumentParser) -> None:
    sub.add_argument("--json", action="store_true", help="print JSON")


@contextmanager
def database(settings: Settings) -> Iterator[Session]:
    """One transaction on the cluster that `up` runs, or on one started for this command. Raises DataError where none
    was ever begun."""
    check_begun(settings)
    with postgres.running(settings):
        engine = open_engine(settings.sqlalchemy_url)
        try:
            postgres.ensure_tables(settings, engine)
            with transaction(engine) as session:
                yield session
        finally:
            engine.dispose()


def institution_id(session: Session, slug: str | None) -> int | None:
    if slug is None:
        return None
    institution = institutions.find(session, slug)
    if institution is None:
        raise UserError(N_("there is no institution {slug}"), slug=slug)
    return institution.id


def no_recording(recording_id: str) -> UserError:
    return UserError(N_("there is no recording {recording}"), recording=recording_id)


def find_recording(session: Session, recording_id: str) -> Row[Recording, Broadcast, Channel]:
    from archive.recordings import rows

    found = rows.find_recording(session, recording_id) if is_id(recording_id) else None
    if found is None:
        raise no_recording(recording_id)
    return found


def told_gaps(session: Session, folder: Path, recording: Recording, *, of_many: bool = False) -> dict[str, Any]:
    """What is missing of it, and when an encoder was waited for in vain (null: never). `folder`: of all recordings.
    `of_many`: no papers are read but where there may be a wait, so no rendition is named."""
    from archive.recordings import rows, signing_keys
    from archive.recordings.missing import may_have_waited, missing, papers_of, waited

    gaps, place = rows.gaps(session, recording.id), folder / recording.id
    report = None
    if not of_many or may_have_waited(place, gaps):
        report = papers_of(place, gaps, signing_keys.public_keys(session, recording.institution_id))
    wait = waited(report)
    return {
        "gaps": [
            {"from_ms": one.span.started_ms, "to_ms": one.span.ended_ms, "cause": one.cause, "rendition": one.rendition}
            for one in missing(gaps, report)
        ],
        "waited": wait and {"from_ms": wait.started_ms, "to_ms": wait.ended_ms},
    }


def channel_id(session: Session, slug: str) -> int:
    channel = find_channel(session, slug)
    if channel is None:
        raise UserError(N_("there is no channel {slug}"), slug=slug)
    return channel.id


def read_time(text: str) -> datetime:
    """ISO 8601; East Africa Time unless it says otherwise."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UserError(N_("{text} is no time such as 2026-12-01T10:00"), text=text) from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=EAST_AFRICA_TIME)


def read_keys(path: Path) -> dict[bytes, str | None]:
    """A keys.json that the caller named."""
    from archive.recordings import verify

    try:
        with as_caller():
            return verify.read_keys(path)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(N_("{path}: no list of keys: {why}"), path=path, why=error) from error


def user_error(problems: Problems) -> UserError:
    return UserError(lambda language: catalogue(language, LOCALE).gettext(problems[0].message))


def print_list(found: Sequence[Mapping[str, object]], as_json: bool, none: str) -> int:
    """`none` is said to people where nothing was found."""
    if as_json:
        print(json.dumps(found, ensure_ascii=False))
    elif not found:
        print(none)
    else:
        from mbashara.cli import terms

        print("\n".join(terms.listed(found, _width())))
    return 0


def _width() -> int | None:
    """Of the terminal; None where nobody looks at one."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None
