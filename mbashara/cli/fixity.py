"""`mbashara fixity run|copy-anew|resolve`: has copies of recordings read again, made again where a location lost them,
or put in order as a person decides where nothing may be done by itself."""

import json
import time
from argparse import ArgumentParser, Namespace, _SubParsersAction
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from functools import partial

from sqlalchemy import select
from sqlalchemy.orm import Session

from archive.pages import noted
from archive.recordings import checks, resolve
from archive.recordings.locations.config import LOCAL, read_locations
from archive.recordings.resolve_plan import Plan, read_plan
from archive.recordings.tables import RecordingCopy, Resolution
from archive.recordings.verify import Finding
from core import audit
from core.plain import N_
from mbashara.cli.common import add_command, by, database, find_recording, print_list, with_json
from mbashara.plain import UserError
from mbashara.settings import Settings
from mbashara.words import in_words, say

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
    one = add_command(
        fixity.add_parser("resolve", help="what can be done with a copy that is held; --order does it"), resolve_copy
    )
    one.add_argument("recording", metavar="ID")
    one.add_argument("location", metavar="LOCATION")
    one.add_argument("--order", type=int, metavar="PLAN", help="carry out the plan of this number, as it was shown")
    one.add_argument("--reason", metavar="TEXT", help="why, for the custody log; with --order")
    with_json(one)


def fixity_run(settings: Settings, arguments: Namespace) -> int:
    """0: all that was asked for was read and is whole; 1: something is not, or could not be read; 2: nobody reads."""
    asked = datetime.now(UTC)
    places = {LOCAL, *(one.name for one in read_locations(settings.locations, settings.recordings))}
    if arguments.location not in (None, *places):
        raise UserError(N_("there is no location {name} in {path}"), name=arguments.location, path=settings.locations)
    wanted = sorted(places if arguments.location is None else places & {arguments.location})
    with database(settings) as session:
        if arguments.recording is not None:
            find_recording(session, arguments.recording)
        count = sum(checks.ask(session, asked, arguments.recording, one) for one in wanted)
        if count == 0:
            raise UserError(N_("there are no copies to read"))
        subject = f"recording:{arguments.recording}" if arguments.recording else "recordings"
        audit.append(session, by(), "fixity.run", subject, now=asked, after={"location": arguments.location})
    if arguments.no_wait:
        print(
            json.dumps({"copies": count}) if arguments.json else say("{count} copies are going to be read", count=count)
        )
        return 0
    while True:
        if not _is_alive(settings):
            raise UserError(N_("the work process does not run: copies are read when it does"))
        with database(settings) as session:
            found = _copies(session, arguments.recording, wanted)
            told = [_told(copy) for copy in found]
        if all(copy.next_check_at is None or copy.next_check_at > asked for copy in found):
            print_list(told, arguments.json, say("there are no copies to read"))
            return 0 if are_proven(found, asked) else 1
        time.sleep(ASK_AGAIN_S)


def are_proven(found: Iterable[RecordingCopy], asked: datetime) -> bool:
    """A copy that could not be read since then stays what it was."""
    return all(copy.state == "whole" and copy.checked_at is not None and copy.checked_at >= asked for copy in found)


def copy_anew(settings: Settings, arguments: Namespace) -> int:
    now = datetime.now(UTC)
    with database(settings) as session:
        if arguments.recording is not None:
            find_recording(session, arguments.recording)
        count = checks.copy_anew(session, arguments.location, now, arguments.recording)
        if count == 0:
            raise UserError(N_("there are no copies at {location}"), location=arguments.location)
        subject = f"location:{arguments.location}"
        audit.append(session, by(), "location.copy_anew", subject, now=now, after={"copies": count})
    print(say("{count} copies are made again", count=count))
    return 0


def resolve_copy(settings: Settings, arguments: Namespace) -> int:
    """Without --order it looks at the copies and shows a plan, with it it waits for what comes of it. 0: all is done,
    or there is nothing to do; 1: there is a plan to order, or something was left; 2: nobody looks."""
    now, recording = datetime.now(UTC), arguments.recording
    if arguments.order is None and arguments.reason is not None:
        raise UserError(N_("--reason goes with --order"))
    with database(settings) as session:
        owner = find_recording(session, recording)[0].institution_id
        if arguments.order is None:
            number = resolve.ask(session, owner, recording, arguments.location, by=by(), now=now).id
        else:
            reason = arguments.reason or ""
            one = resolve.order(session, owner, recording, arguments.order, reason, by=by(), now=now)
            if one.location != arguments.location:
                raise UserError(N_("plan {number} is of {location}"), number=one.id, location=one.location)
            number = one.id
    while True:
        with database(settings) as session:
            one = session.get_one(Resolution, number)
        if one.state in ("planned", "done", "withdrawn"):
            return _tell(one, arguments.json)
        if one.trouble is not None:
            raise UserError(
                N_("it waits, and is tried again: {why}"), why=UserError(partial(noted.tell, one.trouble, places={}))
            )
        if not _is_alive(settings):
            raise UserError(N_("the work process does not run: it is done when it does"))
        time.sleep(ASK_AGAIN_S)


LISTS = {
    "repaired": N_("will be repaired"), "removed": N_("will be removed"), "lost": N_("stays lost, a gap"),
    "left": N_("is left"), "aside": N_("will be set aside"),
}  # fmt: skip
DONE = {
    "repaired": N_("was repaired"), "papers": N_("was repaired"), "removed": N_("removed"), "lost": N_("lost, a gap"),
    "failed": N_("left"), "aside": N_("set aside, and kept"),
}  # fmt: skip


def _tell(one: Resolution, as_json: bool) -> int:
    if one.outcome is not None:
        told = json.dumps({"order": one.id, "state": one.state, **one.outcome}, ensure_ascii=False)
        print(told if as_json else "\n".join(map(_plain, _outcome(one.outcome))))
        return 1 if one.outcome["failed"] else 0
    assert one.plan is not None
    if as_json:
        print(json.dumps({"plan": one.id, "state": one.state, **one.plan}, ensure_ascii=False))
    else:
        print("\n".join(map(_plain, _plan(one.id, read_plan(one.plan)))))
    return 0 if read_plan(one.plan).is_empty and not one.plan["hold"] else 1


def _plain(line: str) -> str:
    """Whoever added a file may have named it so as to steer a terminal."""
    return "".join(one if one.isprintable() else "?" for one in line)


def _plan(number: int, plan: Plan) -> Iterator[str]:
    if plan.hold is not None:
        yield _said(plan.hold.finding)
    if plan.ledgers:
        yield from _ledgers(plan)
    for name, words in LISTS.items():
        for one in getattr(plan, name):
            why = f"  {_said(one.finding)}" if name in ("left", "aside") else ""
            yield f"{say(words)}:  {one.file}  {one.size_bytes}  {one.sha256}{why}"
            for older in one.former:
                yield f"    {say('older version')}:  {older['size_bytes']}  {older['sha256']}"
    yield from (f"{say(LISTS['repaired'])}:  {name}" for name in plan.papers)
    if plan.more:
        yield say("{count} more files are another plan's", count=plan.more)
    if plan.is_empty:
        yield say("there is nothing to order")
    else:
        yield say("to order exactly this: --order {number} --reason TEXT", number=number)


def _said(finding: Finding) -> str:
    return in_words(lambda language: noted.say(finding, language, {}))


def _ledgers(plan: Plan) -> Iterator[str]:
    """What each place holds, and what a person can do."""
    for one in plan.ledgers:
        state = say("signed") if one["is_authentic"] else say("not proven")
        state = say("away: {why}", why=one["away"]) if one["away"] else state
        signed = f"{one['signed_at'] or '-'}  {one['key'] or '-'}"
        yield f"{one['location']}:  {state}  {signed}  {one['bytes']}  {one['head']}"
    yield say(
        "check a copy of each place's folder by itself: mbashara recording verify FOLDER; the right one has the head "
        "that statements and packages name, and a key that was published for that time"
    )
    if plan.aside:
        yield say("if it is not the one at this place, order this: its papers stay there as evidence")
    yield say(
        "if papers can be set aside nowhere (see the other place's plan too): end the program, keep this machine's "
        "folder of the recording elsewhere as evidence, and mbashara rebuild --from PLACE --keys keys.json into a new "
        "data folder"
    )


def _outcome(outcome: dict[str, list[str]]) -> Iterator[str]:
    for name, told in DONE.items():
        yield from (f"{say(told)}:  {one}" for one in outcome.get(name, ()))


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
