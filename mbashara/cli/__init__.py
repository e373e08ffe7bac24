"""The command line: `mbashara up`, `channel ...`, `recording ...`, `location ...`, `user ...`, `token ...`. An error
is one line in the reader's language (mbashara/words.py), and exit code 2."""

import errno
import json
import os
import signal
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, get_args

from pydantic import ValidationError
from sqlalchemy.orm import Session

from archive.recordings.policy_errors import PolicyError
from core import audit, channels
from core.channels import ChannelKeys
from core.database import DatabaseAway
from core.keys import Role
from core.plain import N_, PlainError, Text
from core.staff.permissions import Act
from core.wrong_input import first_wrong
from mbashara import __version__, logs, probe
from mbashara.cli.common import Command, add_command, by, channel_id, database, print_list, with_json
from mbashara.cli.parsing import Parser, parse
from mbashara.data import stepped_down
from mbashara.plain import UserError
from mbashara.settings import Settings
from mbashara.words import in_words, say

if TYPE_CHECKING:
    from argparse import _SubParsersAction

PIPE_CLOSED = 128 + signal.SIGPIPE
"""The exit code of a program that SIGPIPE ends, as that of others in a shell is."""
FULL = (errno.ENOSPC, errno.EDQUOT)
SETTING_ARGUMENTS = ("data", "http", "rtmp", "media_workers")


def main(argv: Sequence[str] | None = None) -> int:
    words = sys.argv[1:] if argv is None else argv
    arguments = parse(parser(*words[:1]), words)
    try:
        settings = read_settings(arguments)
        logs.configure("supervisor" if arguments.command is up else "command", settings.log_level)
        command: Command = arguments.command
        if command is up:
            return command(settings, arguments)
        with stepped_down(settings):
            code = command(settings, arguments)
            sys.stdout.flush()
            return code
    except BrokenPipeError:  # who reads us, `head` say, has enough
        _say_no_more()
        return PIPE_CLOSED
    except ValidationError as error:
        name, text = first_wrong(error)
        return _fail(UserError(N_("setting {name}: {why}"), name=name, why=UserError(text)).text)
    except PlainError as error:
        return _fail(error.text)
    except PolicyError as error:
        return _fail(error.said)
    except DatabaseAway as error:
        return _fail(UserError(N_("the database does not answer: {why}"), why=str(error).partition("\n")[0]).text)
    except OSError as error:
        if error.errno not in FULL:
            raise
        _say_no_more()
        return _fail(UserError(N_("it can't be written: {why}"), why=error).text)


def parser(asked: str = "") -> ArgumentParser:
    """`asked`: the first word. What it names is known alone then: each area loads much that others have no use for."""
    whole: ArgumentParser = Parser(
        "mbashara", description=N_("Live on air: from an encoder's RTMP to viewers and into the archive.")
    )
    whole.add_argument("--version", action="version", version=__version__)
    areas = whole.add_subparsers(required=True, metavar="COMMAND")
    named = [add for names, add in AREAS if asked in names]
    for add in named or [add for _, add in AREAS]:
        add(areas)
    return whole


def _add_up(areas: "_SubParsersAction[ArgumentParser]") -> None:
    start = add_command(areas.add_parser("up", help="run everything on this machine"), up)
    start.add_argument("--http", metavar="HOST:PORT", help="where viewers reach the edge (MBASHARA_HTTP)")
    start.add_argument("--rtmp", metavar="HOST:PORT", help="where encoders publish (MBASHARA_RTMP)")
    start.add_argument("--demo", action="store_true", help="publish a test card on the channel `mfano`")
    start.add_argument("--media-workers", metavar="N", help="media processes (MBASHARA_MEDIA_WORKERS)")


def _add_channel(areas: "_SubParsersAction[ArgumentParser]") -> None:
    channel = areas.add_parser("channel", help="add and list channels, change their keys").add_subparsers(
        required=True, metavar="COMMAND"
    )
    add = add_command(channel.add_parser("add", help="add a channel and print its keys, once"), channel_add)
    add.add_argument("slug", metavar="SLUG")
    add.add_argument("--name-sw", required=True, metavar="TEXT", help="name in Swahili")
    add.add_argument("--name-en", required=True, metavar="TEXT", help="name in English")
    add.add_argument(
        "--institution",
        default=channels.DEFAULT_INSTITUTION,
        metavar="SLUG",
        help="its owner (default: %(default)s)",
    )
    add.add_argument("--key", metavar="KEY", help="take over a primary key that encoders have already")
    with_json(add)
    with_json(add_command(channel.add_parser("list", help="list the channels"), channel_list))
    rotate = add_command(
        channel.add_parser("rotate-key", help="revoke a channel's keys and print two new ones"),
        channel_rotate_key,
    )
    rotate.add_argument("slug", metavar="SLUG")
    with_json(rotate)


def _add_recording(areas: "_SubParsersAction[ArgumentParser]") -> None:
    from mbashara.cli import evidence, imports, policy, recordings, recordings_packages, show

    recording = areas.add_parser("recording", help="list, check, export and import recordings").add_subparsers(
        required=True, metavar="COMMAND"
    )
    show.add_parsers(recording)
    imports.add_parser(recording)
    evidence.add_recording_parsers(recording)
    recordings.add_parsers(recording)
    recordings_packages.add_parsers(recording)
    policy.add_parsers(areas, recording)


def _add_key(areas: "_SubParsersAction[ArgumentParser]") -> None:
    from mbashara.cli import evidence

    evidence.add_key_parsers(areas)


def _add_rebuild(areas: "_SubParsersAction[ArgumentParser]") -> None:
    from mbashara.cli import rebuild

    rebuild.add_parser(areas)


def _add_drill(areas: "_SubParsersAction[ArgumentParser]") -> None:
    from mbashara.cli import drill

    drill.add_parsers(areas)


def _add_fixity(areas: "_SubParsersAction[ArgumentParser]") -> None:
    from mbashara.cli import fixity

    fixity.add_parsers(areas)


def _add_location(areas: "_SubParsersAction[ArgumentParser]") -> None:
    from mbashara.cli import locations

    locations.add_parsers(areas)


def _add_staff(areas: "_SubParsersAction[ArgumentParser]") -> None:
    from mbashara.cli import staff

    staff.add_parsers(areas)


AREAS: tuple[tuple[tuple[str, ...], Callable[["_SubParsersAction[ArgumentParser]"], None]], ...] = (
    (("up",), _add_up),
    (("channel",), _add_channel),
    (("recording", "retention"), _add_recording),
    (("key",), _add_key),
    (("rebuild",), _add_rebuild),
    (("drill",), _add_drill),
    (("fixity",), _add_fixity),
    (("location",), _add_location),
    (("user", "token"), _add_staff),
)


def read_settings(arguments: Namespace) -> Settings:
    """The environment, overruled by the command line."""
    given = {name: getattr(arguments, name, None) for name in SETTING_ARGUMENTS}
    return Settings(**{name: value for name, value in given.items() if value is not None})


def up(settings: Settings, arguments: Namespace) -> int:
    from mbashara import supervisor  # of no use to other commands, and long to load

    return supervisor.up(settings, with_demo=arguments.demo)


def channel_add(settings: Settings, arguments: Namespace) -> int:
    with database(settings) as session:
        keys = channels.add_channel(
            session,
            arguments.slug,
            name_sw=arguments.name_sw,
            name_en=arguments.name_en,
            institution=arguments.institution,
            primary_key=arguments.key,
            pepper=settings.pepper_file.read_bytes(),
            now=datetime.now(UTC),
        )
        _note(session, keys.slug, Act.CHANNEL_ADD, {"name_sw": arguments.name_sw, "name_en": arguments.name_en})
    return _print_keys(settings, keys, arguments.json)


def channel_rotate_key(settings: Settings, arguments: Namespace) -> int:
    with database(settings) as session:
        of_channel, roles = channel_id(session, arguments.slug), get_args(Role)
        acts = {role: channels.act_of_new_key(session, of_channel, role) for role in roles}
        keys = channels.rotate_keys(
            session, arguments.slug, pepper=settings.pepper_file.read_bytes(), now=datetime.now(UTC)
        )
        for role, act in acts.items():
            _note(session, keys.slug, act, {"role": role})
    if not probe.refresh_all(settings):
        late = N_("a media process could not be told: it lets the old keys in until it has read the database again")
        print(f"mbashara: {say(late)}", file=sys.stderr)
    return _print_keys(settings, keys, arguments.json)


def channel_list(settings: Settings, arguments: Namespace) -> int:
    with database(settings) as session:
        found = [
            {
                "slug": channel.slug,
                "name_sw": channel.name_sw,
                "name_en": channel.name_en,
                "institution": institution.slug,
            }
            for channel, institution in channels.list_channels(session)
        ]
    return print_list(found, arguments.json, say("there are no channels in {path} yet", path=settings.data))


def _note(session: Session, slug: str, act: str, after: audit.Facts) -> None:
    """As the console does."""
    channel = channels.find_channel(session, slug)
    assert channel is not None
    audit.append(
        session, by(), act, f"channel:{slug}", now=datetime.now(UTC), institution_id=channel.institution_id,
        after=after,
    )  # fmt: skip


def _print_keys(settings: Settings, keys: ChannelKeys, as_json: bool) -> int:
    server = f"rtmp://{settings.rtmp_address.reachable}/live"
    if as_json:
        told = {"slug": keys.slug, "primary_key": keys.primary_key, "backup_key": keys.backup_key}
        urls = {"primary_url": f"{server}/{keys.primary_key}", "backup_url": f"{server}/{keys.backup_key}"}
        print(json.dumps({**told, "server": server, **urls}))
    else:
        told = {
            say("Channel"): keys.slug, say("Server (OBS)"): server, say("Primary key"): keys.primary_key,
            say("Backup key"): keys.backup_key,
        }  # fmt: skip
        width = max(map(len, told)) + 1
        for name, value in told.items():
            print(f"{f'{name}:':{width}} {value}")
        print(say("Keep them: they are not shown again."))
    return 0


def _say_no_more() -> None:
    """Else Python tries once more at its end, and says so."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(text: Text) -> int:
    print(f"mbashara: {in_words(text)}", file=sys.stderr, flush=True)
    return 2
