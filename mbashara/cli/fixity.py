"""`mbashara fixity run|copy-anew|resolve`: has copies of recordings read again, made again where a location lost them,
or put in order as a person decides where nothing may be done by itself."""

import json
import time
from argparse import ArgumentParser, Namespace, _SubParsersAction
from collections.abc import Iterator
from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from archive.recordings import checks, resolve
from archive.recordings.locations.config import LOCAL, read_locations
from archive.recordings.resolve_plan import Plan, read_plan
from archive.recordings.tables import RecordingCopy, Resolution
from core import audit
from mbashara.cli.common import BY, UserError, add_command, database, find_recording, print_list, with_json
from mbashara.cli.policy import by
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
    one = add_command(
        fixity.add_parser("resolve", help="what can be done with a copy that is held; --order does it"), resolve_copy
    )
    one.add_argument("recording", metavar="ID")
    one.add_argument("location", metavar="LOCATION")
    one.add_argument("--order", type=int, metavar="PLAN", help="carry out the plan of this number, as it was shown")
    one.add_argument("--reason", metavar="TEXT", help="why, for the custody log; with --order")
    with_json(one)


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


def resolve_copy(settings: Settings, arguments: Namespace) -> int:
    """Without --order it looks at the copies and shows a plan, with it it waits for what comes of it. 0: all is done,
    or there is nothing to do; 1: there is a plan to order, or something was left; 2: nobody looks."""
    now, recording = datetime.now(UTC), arguments.recording
    if arguments.order is None and arguments.reason is not None:
        raise UserError("--reason goes with --order / --reason huenda na --order")
    with database(settings) as session:
        owner = find_recording(session, recording)[0].institution_id
        if arguments.order is None:
            number = resolve.ask(session, owner, recording, arguments.location, by=by(), now=now).id
        else:
            reason = arguments.reason or ""
            one = resolve.order(session, owner, recording, arguments.order, reason, by=by(), now=now)
            if one.location != arguments.location:
                raise UserError(f"plan {one.id} is of {one.location} / mpango {one.id} ni wa {one.location}")
            number = one.id
    while True:
        with database(settings) as session:
            one = session.get_one(Resolution, number)
        if one.state in ("planned", "done", "withdrawn"):
            return _tell(one, arguments.json)
        if one.trouble is not None:
            raise UserError(f"it waits, and is tried again / inasubiri, itajaribiwa tena: {one.trouble}")
        if not _is_alive(settings):
            raise UserError(
                "the work process does not run: it is done when it does / "
                "mchakato wa kazi hauendeshwi: itafanyika utakapoanza"
            )
        time.sleep(ASK_AGAIN_S)


LISTS = {
    "repaired": "will be repaired / litatengenezwa", "removed": "will be removed / litaondolewa",
    "lost": "stays lost, a gap / limepotea, pengo", "left": "is left / linaachwa",
    "aside": "will be set aside / litawekwa kando",
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
        yield f"{plan.hold.finding.text()} / {plan.hold.finding.text('sw')}"
    if plan.ledgers:
        yield from _ledgers(plan)
    for name, words in LISTS.items():
        for one in getattr(plan, name):
            why = f"  {one.finding.text()}" if name in ("left", "aside") else ""
            yield f"{words}:  {one.file}  {one.size_bytes}  {one.sha256}{why}"
            for older in one.former:
                yield f"    older version / toleo la awali:  {older['size_bytes']}  {older['sha256']}"
    yield from (f"{LISTS['repaired']}:  {name}" for name in plan.papers)
    if plan.more:
        yield f"{plan.more} more files are another plan's / faili {plan.more} zaidi ni za mpango mwingine"
    if plan.is_empty:
        yield "there is nothing to order / hakuna cha kuagiza"
    else:
        yield f"to order exactly this / kuagiza hivi hasa: --order {number} --reason TEXT"


def _ledgers(plan: Plan) -> Iterator[str]:
    """What each place holds, and what a person can do."""
    for one in plan.ledgers:
        state = "signed / imesainiwa" if one["is_authentic"] else "not proven / haijathibitishwa"
        state = f"away / haifikiki: {one['away']}" if one["away"] else state
        signed = f"{one['signed_at'] or '-'}  {one['key'] or '-'}"
        yield f"{one['location']}:  {state}  {signed}  {one['bytes']}  {one['head']}"
    yield (
        "check a copy of each place's folder by itself: mbashara recording verify FOLDER; the right one has the head "
        "that statements and packages name, and a key that was published for that time / kagua nakala ya folda ya kila "
        "mahali peke yake: mbashara recording verify FOLDA; iliyo sahihi ina kichwa kilichotajwa katika taarifa na "
        "vifurushi, na ufunguo uliochapishwa kwa wakati huo"
    )
    if plan.aside:
        yield (
            "if it is not the one at this place, order this: its papers stay there as evidence / "
            "ikiwa si ya mahali hapa, agiza hivi: nyaraka zake zitabaki hapo kama ushahidi"
        )
    yield (
        "if papers can be set aside nowhere (see the other place's plan too): end the program, keep this machine's "
        "folder of the recording elsewhere as evidence, and mbashara rebuild --from PLACE --keys keys.json into a new "
        "data folder / nyaraka zisipoweza kuwekwa kando popote (tazama pia mpango wa mahali pengine): simamisha "
        "programu, hifadhi folda ya rekodi ya mashine hii kwingine kama ushahidi, kisha mbashara rebuild --from "
        "MAHALI --keys keys.json katika folda mpya ya data"
    )


def _outcome(outcome: dict[str, list[str]]) -> Iterator[str]:
    words = {
        "repaired": "repaired / limetengenezwa", "papers": "repaired / limetengenezwa",
        "removed": "removed / limeondolewa", "lost": "lost, a gap / limepotea, pengo", "failed": "left / limeachwa",
        "aside": "set aside, and kept / limewekwa kando na kuhifadhiwa",
    }  # fmt: skip
    for name, told in words.items():
        yield from (f"{told}:  {one}" for one in outcome.get(name, ()))


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
