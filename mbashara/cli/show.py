"""`mbashara recording list|show`: all that is known of a recording, with its copies and what was done to it."""

import json
from argparse import ArgumentParser, Namespace, _SubParsersAction
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from archive.recordings import copies, custody, policy, rows
from archive.recordings.locations.config import LOCAL, LocationError, read_locations
from core.plain import N_
from core.tables import Recording
from mbashara.cli.common import add_command, database, find_recording, print_list, told_gaps, with_json
from mbashara.cli.terms import FIELDS, cause, event, moment, note, place, span, value, who
from mbashara.settings import Settings
from mbashara.words import say

NEWEST = 20
DROPPED = N_("not in locations.toml any more: nobody reads it")
WAITED = N_("the encoder did not come back, nothing was on the air")


def add_parsers(recording: "_SubParsersAction[ArgumentParser]") -> None:
    with_json(add_command(recording.add_parser("list", help="list the recordings, newest first"), recording_list))
    show = add_command(
        recording.add_parser("show", help="a recording, its copies and what was done to it"), recording_show
    )
    show.add_argument("recording", metavar="ID")
    with_json(show)


def recording_list(settings: Settings, arguments: Namespace) -> int:
    with database(settings) as session:
        found = [
            {
                "id": recording.id,
                "channel": channel.slug,
                "state": recording.state,
                "disposed_at": recording.disposed_at and recording.disposed_at.isoformat(),
                "started_at": recording.started_at.isoformat(),
                "ended_at": recording.ended_at and recording.ended_at.isoformat(),
                "duration_ms": recording.duration_ms,
                "size_bytes": recording.size_bytes,
                **told_gaps(session, settings.recordings, recording, of_many=True),
                "path": f"/recordings/{recording.id}/index.m3u8",
            }
            for recording, _broadcast, channel in rows.list_recordings(session)
        ]
    found = found if arguments.json else [as_it_is(one) for one in found]
    return print_list(found, arguments.json, say("there are no recordings in {path} yet", path=settings.data))


def as_it_is(told: dict[str, Any]) -> dict[str, Any]:
    """For people: one that was destroyed by order is closed, too, and more than that."""
    return {**told, "state": "disposed"} if told.get("disposed_at") else told


def recording_show(settings: Settings, arguments: Namespace) -> int:
    try:
        places = {LOCAL, *(one.name for one in read_locations(settings.locations, settings.recordings))}
    except LocationError:  # `location list` says what is wrong
        places = None
    with database(settings) as session:
        told = describe(session, settings.recordings, arguments.recording, places)
    if arguments.json:
        print(json.dumps(told, ensure_ascii=False))
    else:
        print("\n".join(lines(told)))
    return 0


def describe(session: Session, recordings: Path, recording_id: str, places: Collection[str] | None) -> dict[str, Any]:
    """`recordings`: the folder; `places`: those that locations.toml names, None where it can't be read."""
    recording, broadcast, channel = find_recording(session, recording_id)
    return {
        "id": recording.id,
        "channel": channel.slug,
        "title_sw": broadcast.title_sw,
        "title_en": broadcast.title_en,
        "state": recording.state,
        "disposed_at": recording.disposed_at and recording.disposed_at.isoformat(),
        "started_at": recording.started_at.isoformat(),
        "ended_at": recording.ended_at and recording.ended_at.isoformat(),
        "duration_ms": recording.duration_ms,
        "size_bytes": recording.size_bytes,
        "ledger_head": recording.ledger_head,
        "signed_at": recording.signed_at and recording.signed_at.isoformat(),
        "is_signed_whole": recording.signed_bytes == recording.ledger_bytes,
        "stamped_at": recording.stamped_at and recording.stamped_at.isoformat(),
        "renditions": [one.name for one in rows.renditions(session, recording_id)],
        **told_gaps(session, recordings, recording),
        **_rules(session, recording),
        "copies": [
            {
                "location": copy.location,
                "state": copy.state,
                "files": copy.files,
                "size_bytes": copy.size_bytes,
                "lag_ms": copy.lag_ms,
                "whole_at": copy.whole_at and copy.whole_at.isoformat(),
                "checked_at": copy.checked_at and copy.checked_at.isoformat(),
                "next_check_at": copy.next_check_at and copy.next_check_at.isoformat(),
                "fault": copy.fault,
                "next_try_at": copy.next_try_at.isoformat() if copy.attempts else None,
                "is_named": None if places is None else copy.location in places,
            }
            for copy in copies.of_recording(session, recording_id)
        ],
        "events": [
            {
                "at": event.at.isoformat(),
                "kind": event.kind,
                "act": custody.deed(event.kind, json.loads(event.line)),
                "outcome": event.outcome,
                "agent": event.agent,
            }
            for event in custody.events(session, recording_id, NEWEST)
        ],
    }


def _rules(session: Session, recording: Recording) -> dict[str, Any]:
    """`kept_until`: at least; None: for ever."""
    until, embargo = policy.kept(session, recording).until, policy.embargo_of(session, recording.id)
    return {
        "kept_until": until and until.isoformat(),
        "holds": [{"id": one.id, "reason": one.reason} for one in policy.standing_holds(session, recording.id)],
        "embargo": embargo and {"until": embargo.until and embargo.until.isoformat(), "reason": embargo.reason},
    }


def lines(told: dict[str, Any]) -> Iterator[str]:
    lines = [(say(FIELDS[name]), value(name, one)) for name, one in as_it_is(told).items() if name in FIELDS]
    lines.append((say("Renditions"), " ".join(told["renditions"])))
    for gap in told["gaps"]:
        of = f" ({gap['rendition']})" if gap["rendition"] else ""
        lines.append((say("Gap"), f"{span(gap['from_ms'], gap['to_ms'])}: {cause(gap['cause'])}{of}"))
    if told["waited"]:
        lines.append((say("Waited"), f"{span(told['waited']['from_ms'], told['waited']['to_ms'])}: {say(WAITED)}"))
    if not told["disposed_at"]:
        lines.append((say("Kept until"), moment(told["kept_until"]) if told["kept_until"] else say("for ever")))
    for hold in told["holds"]:
        lines.append((say("Legal hold"), f"{hold['id']}: {hold['reason']}"))
    if embargo := told["embargo"]:
        ends = moment(embargo["until"]) if embargo["until"] else say("until it is lifted")
        lines.append((say("Embargo"), f"{ends}: {embargo['reason']}"))
    for copy in told["copies"]:
        checked = say("read {at}", at=moment(copy["checked_at"])) if copy["checked_at"] else say("not read yet")
        faults = "".join(f"  ! {one}" for one in _faults(copy))
        lines.append((say("Copy"), f"{place(copy['location'])}: {value('state', copy['state'])}, {checked}{faults}"))
    for one in told["events"]:
        what = f"{event(one['act'])}: {value('outcome', one['outcome'])}"
        lines.append((say("Event"), f"{moment(one['at'])}  {what}  {who(one['agent'])}"))
    width = max(len(name) for name, _ in lines)
    return (f"{name:{width}}  {words}" for name, words in lines)


def _faults(copy: dict[str, Any]) -> Iterator[str]:
    if copy["fault"]:
        yield note(copy["fault"])
    if copy["next_try_at"]:
        yield say(N_("tried again at {at}"), at=moment(copy["next_try_at"]))
    if copy["is_named"] is False:
        yield say(DROPPED)
