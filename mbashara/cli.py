"""The command line: `mbashara up`, `channel ...`, `recording ...`, `user ...`. An error
is one line, in English and Swahili, and exit code 2."""

import json
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

from pydantic import ValidationError
from sqlalchemy.orm import Session

from archive.recordings import rows
from core import channels, institutions
from core.audit import Actor
from core.channels import ChannelError, ChannelKeys
from core.database import DatabaseAway, open_engine, transaction
from core.problems import LOCALE, Problems
from core.staff import accounts, links
from core.staff.accounts import Invitation
from core.staff.permissions import Grant, Role
from core.web.i18n import Language, catalogue
from mbashara import __version__, logs, postgres, supervisor
from mbashara.data import DataError
from mbashara.settings import Settings

SETTING_ARGUMENTS = ("data", "http", "rtmp", "media_workers")
MAX_PASSWORD_LINE = 1024
Command = Callable[[Settings, Namespace], int]


class UserError(ValueError):
    """What was asked of an account can't be done; said in English and Swahili, nothing changed."""


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parser().parse_args(argv)
    try:
        settings = read_settings(arguments)
        logs.configure("supervisor" if arguments.command is up else "command", settings.log_level)
        command: Command = arguments.command
        return command(settings, arguments)
    except ValidationError as error:
        first = error.errors()[0]
        return _fail(f"setting {'.'.join(map(str, first['loc']))}: {first['msg']}")
    except (DataError, ChannelError, UserError) as error:
        return _fail(str(error))
    except DatabaseAway as error:
        return _fail(f"the database does not answer / hifadhidata haijibu: {error}".splitlines()[0])


def parser() -> ArgumentParser:
    whole = ArgumentParser(
        "mbashara", description="Live on air: from an encoder's RTMP to viewers and into the archive."
    )
    whole.add_argument("--version", action="version", version=__version__)
    areas = whole.add_subparsers(required=True, metavar="COMMAND")

    start = _command(areas.add_parser("up", help="run everything on this machine"), up)
    start.add_argument("--http", metavar="HOST:PORT", help="where viewers reach the edge (MBASHARA_HTTP)")
    start.add_argument("--rtmp", metavar="HOST:PORT", help="where encoders publish (MBASHARA_RTMP)")
    start.add_argument("--demo", action="store_true", help="publish a test card on the channel `mfano`")
    start.add_argument("--media-workers", metavar="N", help="media processes (MBASHARA_MEDIA_WORKERS)")

    channel = areas.add_parser("channel", help="add and list channels, change their keys").add_subparsers(
        required=True, metavar="COMMAND"
    )
    add = _command(channel.add_parser("add", help="add a channel and print its keys, once"), channel_add)
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
    _with_json(add)
    _with_json(_command(channel.add_parser("list", help="list the channels"), channel_list))
    rotate = _command(
        channel.add_parser("rotate-key", help="revoke a channel's keys and print two new ones"),
        channel_rotate_key,
    )
    rotate.add_argument("slug", metavar="SLUG")
    _with_json(rotate)

    recording = areas.add_parser("recording", help="list recordings").add_subparsers(required=True, metavar="COMMAND")
    _with_json(_command(recording.add_parser("list", help="list the recordings, newest first"), recording_list))

    user = areas.add_parser("user", help="add people of the staff").add_subparsers(required=True, metavar="COMMAND")
    add = _command(user.add_parser("add", help="add a person and print the link that sets a password"), user_add)
    add.add_argument("email", metavar="EMAIL")
    add.add_argument("--name", required=True, metavar="TEXT", help="the person's name")
    add.add_argument("--institution", metavar="SLUG", help="where the role is held (default: the whole platform)")
    add.add_argument("--role", choices=list(Role), type=Role, default=Role.ADMIN, help="default: %(default)s")
    add.add_argument("--password-stdin", action="store_true", help="take the password from standard input, no link")
    _with_json(add)
    return whole


def _command(sub: ArgumentParser, command: Command) -> ArgumentParser:
    sub.set_defaults(command=command)
    sub.add_argument("--data", metavar="DIR", help="data folder (MBASHARA_DATA, default ./data)")
    return sub


def _with_json(sub: ArgumentParser) -> None:
    sub.add_argument("--json", action="store_true", help="print JSON")


def read_settings(arguments: Namespace) -> Settings:
    """The environment, overruled by the command line."""
    given = {name: getattr(arguments, name, None) for name in SETTING_ARGUMENTS}
    return Settings(**{name: value for name, value in given.items() if value is not None})


def up(settings: Settings, arguments: Namespace) -> int:
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
    return _print_keys(settings, keys, arguments.json)


def channel_rotate_key(settings: Settings, arguments: Namespace) -> int:
    with database(settings) as session:
        keys = channels.rotate_keys(
            session, arguments.slug, pepper=settings.pepper_file.read_bytes(), now=datetime.now(UTC)
        )
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
    return _print_list(found, arguments.json)


def recording_list(settings: Settings, arguments: Namespace) -> int:
    with database(settings) as session:
        found = [
            {
                "id": recording.id,
                "channel": channel.slug,
                "state": recording.state,
                "started_at": recording.started_at.isoformat(),
                "ended_at": recording.ended_at and recording.ended_at.isoformat(),
                "duration_ms": recording.duration_ms,
                "size_bytes": recording.size_bytes,
                "gaps": [
                    {"from_ms": gap.started_ms, "to_ms": gap.ended_ms, "cause": gap.cause}
                    for gap in rows.gaps(session, recording.id)
                ],
                "path": f"/recordings/{recording.id}/index.m3u8",
            }
            for recording, _broadcast, channel in rows.list_recordings(session)
        ]
    return _print_list(found, arguments.json)


def user_add(settings: Settings, arguments: Namespace) -> int:
    password = sys.stdin.readline(MAX_PASSWORD_LINE).rstrip("\r\n") if arguments.password_stdin else None
    with database(settings) as session:
        invited = _invite(session, settings, arguments, password)
        told = {"email": invited.account.email, "name": invited.account.name, "role": str(arguments.role)}
    link = invited.token and links.url(settings.base_url, links.Purpose.INVITATION, invited.token)
    if arguments.json:
        print(json.dumps({**told, "institution": arguments.institution, "link": link}, ensure_ascii=False))
    else:
        print(link or f"{told['email']}  {told['role']}")
    return 0


def _invite(session: Session, settings: Settings, arguments: Namespace, password: str | None) -> Invitation:
    """The account with its role, and its password if there is one to set: then there is no link."""
    now, by = datetime.now(UTC), Actor(None, "command line")
    role = Grant(arguments.role, _institution_id(session, arguments.institution))
    pepper = settings.pepper_file.read_bytes()
    invited = accounts.invite(session, arguments.email, arguments.name, role, by=by, pepper=pepper, now=now)
    if not isinstance(invited, Invitation):
        raise _user_error(invited)
    if password is None:
        return invited
    problems = accounts.set_first_password(session, invited.account, password, by=by, now=now)
    if problems:
        raise _user_error(problems)
    return Invitation(invited.account, None)


def _institution_id(session: Session, slug: str | None) -> int | None:
    if slug is None:
        return None
    institution = institutions.find(session, slug)
    if institution is None:
        raise UserError(f"there is no institution {slug} / hakuna taasisi {slug}")
    return institution.id


def _user_error(problems: Problems) -> UserError:
    english = problems[0].message
    return UserError(f"{english} / {catalogue(Language.SW, LOCALE).gettext(english)}")


@contextmanager
def database(settings: Settings) -> Iterator[Session]:
    """One transaction on the cluster that `up` runs, or on one started for this command."""
    with postgres.running(settings):
        engine = open_engine(settings.sqlalchemy_url)
        try:
            postgres.ensure_tables(settings, engine)
            with transaction(engine) as session:
                yield session
        finally:
            engine.dispose()


def _print_keys(settings: Settings, keys: ChannelKeys, as_json: bool) -> int:
    server = f"rtmp://{settings.rtmp_address.reachable}/live"
    if as_json:
        told = {"slug": keys.slug, "primary_key": keys.primary_key, "backup_key": keys.backup_key}
        urls = {"primary_url": f"{server}/{keys.primary_key}", "backup_url": f"{server}/{keys.backup_key}"}
        print(json.dumps({**told, "server": server, **urls}))
    else:
        print(f"Channel / chaneli:          {keys.slug}")
        print(f"Server / seva (OBS):        {server}")
        print(f"Primary key / ufunguo mkuu: {keys.primary_key}")
        print(f"Backup key / wa akiba:      {keys.backup_key}")
        print("Keep them: they are not shown again. / Zihifadhi: hazitaonyeshwa tena.")
    return 0


def _print_list(found: Sequence[Mapping[str, object]], as_json: bool) -> int:
    if as_json:
        print(json.dumps(found, ensure_ascii=False))
    else:
        for entry in found:
            print("  ".join(_word(value) for value in entry.values()))
    return 0


def _word(value: object) -> str:
    return "-" if value is None else str(len(value) if isinstance(value, list) else value)


def _fail(line: str) -> int:
    print(f"mbashara: {line}", file=sys.stderr, flush=True)
    return 2
