"""`mbashara fixity run|copy-anew`: has copies of recordings read again, or made again where a location lost them."""

import time
from argparse import ArgumentParser, Namespace, _SubParsersAction
from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from archive.recordings import checks
from archive.recordings.locations.config import LOCAL, read_locations
from archive.recordings.tables import RecordingCopy
from core import audit
from mbashara.cli.common import BY, UserError, add_command, database, find_recording, print_list, with_json
from mbashara.settings import Settings

ASK_AGAIN_S = 0.5
ALIVE_S = 30.0


def add_parsers(areas: "_SubParsersAction[ArgumentParser]") -> None:
    fixity = areas.add_parser("fixity", help="read copies of recordings again").add_subparsers(
        required=True, metavar="COMMAND"
    )
    run = add_command(fixity.add_parser("run", help="have copies read now, and wait for what is found"), fixity_run)
    run.add_argument("recording", nargs="?", metavar="ID", help="default: every recording")
    run.add_argument("--location", metavar="NAME", help="default: every location")
    run.add_argument("--no-wait", action="store_true", help="only ask for it")
    with_json(run)
    anew = add_command(fixity.add_parser("copy-anew", help="make copies again at a location that lost them"), copy_anew)
    anew.add_argument("location", metavar="LOCATION")
    anew.add_argument("recording", nargs="?", metavar="ID", help="default: every recording")


def fixity_run(settings: Settings, arguments: Namespace) -> int:
    """0: all that was asked for is whole; 1: something is not; 2: nobody reads."""
    asked = datetime.now(UTC)
    places = {LOCAL, *(one.name for one in read_locations(settings.locations, settings.recordings))}
    wanted = sorted(places if arguments.location is None else places & {arguments.location})
    with database(settings) as session:
        if arguments.recording is not None:
            find_recording(session, arguments.recording)
        if sum(checks.ask(session, asked, arguments.recording, one) for one in wanted) == 0:
            raise UserError("there are no copies to read / hakuna nakala za kusoma")
        subject = f"recording:{arguments.recording}" if arguments.recording else "recordings"
        audit.append(session, BY, "fixity.run", subject, now=asked, after={"location": arguments.location})
    if arguments.no_wait:
        return 0
    while True:
        if not _is_alive(settings):
            raise UserError(
                "the work process does not run: copies are read when it does / "
                "mchakato wa kazi hauendeshwi: nakala zitasomwa utakapoanza"
            )
        with database(settings) as session:
            found = _copies(session, arguments.recording, wanted)
            told = [_told(copy) for copy in found]
        if all(copy.next_check_at is None or copy.next_check_at > asked for copy in found):
            print_list(told, arguments.json)
            return 0 if all(copy.state == "whole" for copy in found) else 1
        time.sleep(ASK_AGAIN_S)


def copy_anew(settings: Settings, arguments: Namespace) -> int:
    now = datetime.now(UTC)
    with database(settings) as session:
        if arguments.recording is not None:
            find_recording(session, arguments.recording)
        count = checks.copy_anew(session, arguments.location, now, arguments.recording)
        if count == 0:
            raise UserError(f"there are no copies at {arguments.location} / hakuna nakala {arguments.location}")
        subject = f"location:{arguments.location}"
        audit.append(session, BY, "location.copy_anew", subject, now=now, after={"copies": count})
    print(f"{count} copies are made again / nakala {count} zinatengenezwa upya")
    return 0


def _copies(session: Session, recording_id: str | None, locations: list[str]) -> list[RecordingCopy]:
    query = select(RecordingCopy).where(RecordingCopy.state != "copying", RecordingCopy.location.in_(locations))
    if recording_id is not None:
        query = query.where(RecordingCopy.recording_id == recording_id)
    return list(session.scalars(query.order_by(RecordingCopy.recording_id, RecordingCopy.location)))


def _told(copy: RecordingCopy) -> dict[str, object]:
    checked = copy.checked_at and copy.checked_at.isoformat(timespec="seconds")
    return {
        "recording": copy.recording_id, "location": copy.location, "state": copy.state, "checked_at": checked,
        "fault": copy.fault,
    }  # fmt: skip


def _is_alive(settings: Settings) -> bool:
    try:
        return time.time() - settings.heartbeat_file.stat().st_mtime < ALIVE_S
    except FileNotFoundError:
        return False
