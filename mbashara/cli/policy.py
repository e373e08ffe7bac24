"""The archive's rules: `mbashara recording hold|release|embargo|publish|dispose ID`, `mbashara retention list|set|end`.

Whoever has this command line can do anything to the machine, and it knows no more of a person than the system's name
for him. So holds, embargoes and retention are written down as that name's. Destroying takes two people, and a name of
the system is no proof of who sits there: asking and approving are acts of accounts, each proven by its password (and
its second factor), by the same log-in as on the site; two names that one person may have on this machine are not two
people, two accounts with their passwords are as near to that as a machine can tell.
"""

import json
import sys
from argparse import ArgumentParser, Namespace, _SubParsersAction
from datetime import UTC, datetime
from getpass import getpass

from sqlalchemy.orm import Session

from archive.recordings import closures, disposal, forgotten, policy, retention
from archive.recordings.forgotten import Left
from archive.recordings.policy_errors import NoSuchRequest, OutOfReach
from archive.recordings.policy_tables import DisposalRequest
from archive.recordings.retention import Effect
from core.audit import Actor
from core.plain import N_
from core.staff import accounts, login, sessions
from core.staff.sessions import Visit
from mbashara.cli.common import (
    add_command,
    by,
    channel_id,
    database,
    find_recording,
    institution_id,
    print_list,
    read_time,
    with_json,
)
from mbashara.cli.staff import EVERYWHERE, MAX_PASSWORD_LINE
from mbashara.cli.terms import moment, pairs
from mbashara.plain import UserError
from mbashara.settings import Settings
from mbashara.words import say

FOR_EVER = "ever"


def add_parsers(areas: "_SubParsersAction[ArgumentParser]", recording: "_SubParsersAction[ArgumentParser]") -> None:
    for name, command, told in (
        ("hold", hold, N_("place a legal hold: nothing of the recording is removed while one stands")),
        ("release", release, N_("lift the legal holds of a recording, or one of them")),
        ("embargo", embargo, N_("keep a recording from the public, from its end on")),
        ("publish", publish, N_("lift the embargo of a recording")),
    ):
        one = add_command(recording.add_parser(name, help=told), command)
        one.add_argument("recording", metavar="ID")
        one.add_argument("--reason", required=True, metavar="TEXT")
        if name == "release":
            one.add_argument("--hold", type=int, metavar="NUMBER", help="default: all that stand")
        if name == "embargo":
            one.add_argument("--until", metavar="TIME", help="ISO 8601, East Africa Time; default: until it is lifted")
    one = add_command(
        recording.add_parser("dispose", help="ask that a recording be destroyed, or answer one who asked"), dispose
    )
    one.add_argument("recording", metavar="ID")
    what = one.add_mutually_exclusive_group()
    what.add_argument("--reason", metavar="TEXT", help="ask for it")
    what.add_argument("--approve", action="store_true", help="as another person than the one who asked")
    what.add_argument("--refuse", metavar="TEXT", help="with the reason")
    what.add_argument("--withdraw", action="store_true", help="while nothing is removed")
    one.add_argument(
        "--even-so", action="store_true", help="with --approve: knowing that a copy at a forgotten place stays there"
    )
    one.add_argument("--as", dest="email", metavar="EMAIL", help="the account that acts; its password is asked for")
    one.add_argument("--password-stdin", action="store_true", help="password, then code if any, from standard input")
    with_json(one)

    retention = areas.add_parser("retention", help="how long recordings are kept").add_subparsers(
        required=True, metavar="COMMAND"
    )
    with_json(add_command(retention.add_parser("list", help="list the rules"), retention_list))
    one = add_command(retention.add_parser("set", help="set the rule of an institution or a channel"), retention_set)
    one.add_argument("institution", metavar="INSTITUTION")
    one.add_argument("years", metavar="YEARS|ever", help="from the end of each recording; `ever`: for ever")
    one.add_argument("--channel", metavar="SLUG", help="for this channel alone")
    one.add_argument("--shorten", action="store_true", help="also what recordings were promised when they were closed")
    one = add_command(retention.add_parser("end", help="take a rule away"), retention_end)
    one.add_argument("institution", metavar="INSTITUTION")
    one.add_argument("--channel", metavar="SLUG", help="that of this channel alone")


def hold(settings: Settings, arguments: Namespace) -> int:
    with database(settings) as session:
        owner = _owner(session, arguments.recording)
        placed = policy.place_hold(
            session, owner, arguments.recording, arguments.reason, by=by(), now=datetime.now(UTC)
        )
        number = placed.id
    lift = f"mbashara recording release {arguments.recording} --hold {number}"
    print(say("hold {number} stands; to lift it: {command} --reason TEXT", number=number, command=lift))
    return 0


def release(settings: Settings, arguments: Namespace) -> int:
    now = datetime.now(UTC)
    with database(settings) as session:
        owner = _owner(session, arguments.recording)
        standing = [one.id for one in policy.standing_holds(session, arguments.recording)]
        if arguments.hold is None and not standing:
            raise UserError(N_("no hold stands"))
        lifted = standing if arguments.hold is None else [arguments.hold]
        for number in lifted:
            policy.lift_hold(session, owner, arguments.recording, number, arguments.reason, by=by(), now=now)
    for number in lifted:
        print(say("hold {number} is lifted", number=number))
    if left := [str(number) for number in standing if number not in lifted]:
        print(say("still standing: {numbers}", numbers=", ".join(left)))
    return 0


def embargo(settings: Settings, arguments: Namespace) -> int:
    until = None if arguments.until is None else read_time(arguments.until)
    with database(settings) as session:
        owner = _owner(session, arguments.recording)
        policy.place_embargo(
            session, owner, arguments.recording, arguments.reason, until, by=by(), now=datetime.now(UTC)
        )
    with database(settings) as session:
        closures.show(session, settings.public, arguments.recording)
    if until is None:
        print(say("closed to the public until it is lifted"))
    else:
        print(say("closed to the public until {until}", until=moment(until.isoformat())))
    return 0


def publish(settings: Settings, arguments: Namespace) -> int:
    with database(settings) as session:
        owner = _owner(session, arguments.recording)
        policy.lift_embargo(session, owner, arguments.recording, arguments.reason, by=by(), now=datetime.now(UTC))
    with database(settings) as session:
        closures.show(session, settings.public, arguments.recording)
    print(say("the embargo is lifted"))
    return 0


def dispose(settings: Settings, arguments: Namespace) -> int:
    """Without --reason, --approve, --refuse or --withdraw it tells how the request stands."""
    now, recording = datetime.now(UTC), arguments.recording
    acts = arguments.reason is not None or arguments.approve or arguments.refuse is not None or arguments.withdraw
    if acts and arguments.email is None:
        raise UserError(N_("destroying is an act of an account: give --as EMAIL"))
    actor = _log_in(settings, arguments, now) if acts else None
    with database(settings) as session:
        owner = _owner(session, recording)
        request = policy.standing(session, owner, recording).request
        if actor is not None:
            request = _act(session, arguments, owner, request, actor, now)
        if request is None:
            raise UserError(N_("nobody asked for its disposal"))
        _print(request, forgotten.of_recording(session, recording), arguments.json)
    return 0


def _act(
    session: Session, arguments: Namespace, owner: int, request: DisposalRequest | None, actor: Actor, now: datetime
) -> DisposalRequest:
    recording = arguments.recording
    if arguments.reason is not None:
        return disposal.ask(session, owner, recording, arguments.reason, by=actor, now=now)
    if request is None:
        raise NoSuchRequest
    if arguments.approve:
        known = [one.location for one in forgotten.of_recording(session, recording)] if arguments.even_so else ()
        try:
            return disposal.approve(session, owner, recording, request.id, by=actor, now=now, knowing=known)
        except OutOfReach as error:
            said = error.said
            raise UserError(lambda language: f"{said(language)} (--even-so)") from error
    if arguments.withdraw:
        return disposal.withdraw(session, owner, recording, request.id, by=actor, now=now)
    return disposal.refuse(session, owner, recording, request.id, arguments.refuse, by=actor, now=now)


def _print(request: DisposalRequest, left: list[Left], as_json: bool) -> None:
    """`left`: at forgotten places, where no order reaches it."""
    told = {
        "request": request.id, "state": request.state, "reason": request.reason, "asked_by": request.asked_name,
        "asked_at": request.asked_at.isoformat(), "decided_by": request.decided_name, "decision": request.decision,
        "carried_out_at": request.carried_out_at and request.carried_out_at.isoformat(),
        "waits_until": request.waits_until and request.waits_until.isoformat(), "trouble": request.trouble,
        "out_of_reach": [one.location for one in left],
    }  # fmt: skip
    if as_json:
        print(json.dumps(told, ensure_ascii=False))
    else:
        print("\n".join(pairs({name: one for name, one in told.items() if one not in (None, [])})))


def _log_in(settings: Settings, arguments: Namespace, now: datetime) -> Actor:
    """The account, by its password and second factor. Tries are counted and locked as on the site, whoever tries."""

    def read(what: str) -> str:
        if arguments.password_stdin:
            return sys.stdin.readline(MAX_PASSWORD_LINE).rstrip("\r\n")
        return getpass(f"{what}: ")

    visit = Visit(now, "", by().name)
    password = read(say("Password of {email}", email=arguments.email))
    with database(settings) as session:  # ends before an error: a refused try counts only once it is stored
        entry = login.log_in(session, arguments.email, password, visit)
    if isinstance(entry, login.NeedsSecondFactor):
        code, pepper = read(say("Code of the second factor")), settings.pepper_file.read_bytes()
        with database(settings) as session:
            entry = login.second_step(session, entry.token, code, visit, pepper=pepper)
    if not isinstance(entry, login.LoggedIn):
        raise UserError(N_("the account or its password is not right"))
    with database(settings) as session:
        account = accounts.find(session, arguments.email)
        assert account is not None, "it has just come in"
        sessions.revoke_token(session, entry.token)  # nothing stays open behind a command
        return Actor(account.id, account.name, by().name)


def retention_list(settings: Settings, arguments: Namespace) -> int:
    with database(settings) as session:
        found = [
            {
                "institution": institution.slug, "channel": channel and channel.slug,
                "years": FOR_EVER if rule.years is None else rule.years, "set_by": rule.set_name,
                "set_at": rule.set_at.isoformat(),
            }
            for rule, institution, channel in policy.rules(session, EVERYWHERE)
        ]  # fmt: skip
    none = say("no rule is set: every recording is kept for ever")
    return print_list(found, arguments.json, none)


def retention_set(settings: Settings, arguments: Namespace) -> int:
    years = None
    if arguments.years != FOR_EVER:
        if not arguments.years.isdecimal():
            raise UserError(N_("give a number of years, or ever"))
        years = int(arguments.years)
    with database(settings) as session:
        owner = institution_id(session, arguments.institution)
        assert owner is not None
        of_channel = None if arguments.channel is None else channel_id(session, arguments.channel)
        now = datetime.now(UTC)
        would = retention.effect(session, retention.Change(owner, of_channel, years, shortens=True), now)
        policy.set_rule(session, owner, of_channel, years, by=by(), now=now, shortens=arguments.shorten)
    whose = arguments.channel or arguments.institution
    kept = say("for ever") if years is None else say("1 year") if years == 1 else say("{years} years", years=years)
    print(say("{whose}: recordings are kept {time} from their end", whose=whose, time=kept))
    if would.shortened:
        print(_of_those_before(would, arguments.shorten))
    return 0


def _of_those_before(would: Effect, is_shortened: bool) -> str:
    """What becomes of recordings to which more was promised. `would`: if that is shortened."""
    if is_shortened:
        text = N_("recordings to which more was promised: {count}, of which {due} may be destroyed from now on")
        return say(text, count=would.shortened, due=would.due)
    return say("recordings to which more was promised keep that: {count}; --shorten takes it", count=would.shortened)


def retention_end(settings: Settings, arguments: Namespace) -> int:
    with database(settings) as session:
        owner = institution_id(session, arguments.institution)
        assert owner is not None
        of_channel = None if arguments.channel is None else channel_id(session, arguments.channel)
        retention.end_rule(session, owner, of_channel, by=by(), now=datetime.now(UTC))
    print(say("{whose}: the rule is taken away", whose=arguments.channel or arguments.institution))
    return 0


def _owner(session: Session, recording_id: str) -> int:
    return find_recording(session, recording_id)[0].institution_id
