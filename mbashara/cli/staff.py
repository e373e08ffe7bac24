"""`mbashara user ...` and `mbashara token ...`: who comes in, people and other programs."""

import json
import sys
from argparse import ArgumentParser, Namespace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.plain import N_
from core.staff import accounts, links, tokens
from core.staff.accounts import Invitation
from core.staff.permissions import Grant, Role, Scope
from core.staff.tokens import SCOPES, Made, NewToken
from core.tables import Institution
from mbashara.cli.common import add_command, by, database, institution_id, print_list, user_error, with_json
from mbashara.plain import UserError
from mbashara.settings import Settings
from mbashara.words import say

if TYPE_CHECKING:
    from argparse import _SubParsersAction

MAX_PASSWORD_LINE = 1024
EVERYWHERE = Scope(True, frozenset())


def add_parsers(areas: "_SubParsersAction[ArgumentParser]") -> None:
    user = areas.add_parser("user", help="add people of the staff").add_subparsers(required=True, metavar="COMMAND")
    add = add_command(user.add_parser("add", help="add a person and print the link that sets a password"), user_add)
    add.add_argument("email", metavar="EMAIL")
    add.add_argument("--name", required=True, metavar="TEXT", help="the person's name")
    add.add_argument("--institution", metavar="SLUG", help="where the role is held (default: the whole platform)")
    add.add_argument(
        "--role", choices=[role.value for role in Role], default=Role.ADMIN.value, help="default: %(default)s"
    )
    add.add_argument("--password-stdin", action="store_true", help="take the password from standard input, no link")
    with_json(add)

    token = areas.add_parser("token", help="let other programs in by the API").add_subparsers(
        required=True, metavar="COMMAND"
    )
    add = add_command(token.add_parser("add", help="make a token and print it, once"), token_add)
    add.add_argument("name", metavar="NAME")
    add.add_argument("--institution", metavar="SLUG", help="where it is good (default: the whole platform)")
    add.add_argument("--scope", action="append", required=True, choices=sorted(SCOPES), help="may be given many times")
    add.add_argument("--days", type=int, required=True, metavar="N", help="days that it lasts, at most a year")
    with_json(add)
    with_json(add_command(token.add_parser("list", help="list the tokens"), token_list))
    revoke = add_command(token.add_parser("revoke", help="end a token at once"), token_revoke)
    revoke.add_argument("name", metavar="NAME")


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
    now, actor = datetime.now(UTC), by()
    role = Grant(Role(arguments.role), institution_id(session, arguments.institution))
    pepper = settings.pepper_file.read_bytes()
    invited = accounts.invite(session, arguments.email, arguments.name, role, by=actor, pepper=pepper, now=now)
    if not isinstance(invited, Invitation):
        raise user_error(invited)
    if password is None:
        return invited
    problems = accounts.set_first_password(session, invited.account, password, by=actor, now=now)
    if problems:
        raise user_error(problems)
    return Invitation(invited.account, None)


def token_add(settings: Settings, arguments: Namespace) -> int:
    with database(settings) as session:
        place = institution_id(session, arguments.institution)
        wanted = NewToken(arguments.name, frozenset(arguments.scope), arguments.days, place)
        made = tokens.create(session, wanted, by=by(), now=datetime.now(UTC))
        if not isinstance(made, Made):
            raise user_error(made)
        told = {"name": made.token.name, "token": made.plain, "expires_at": made.token.expires_at.isoformat()}
    if arguments.json:
        print(json.dumps(told))
    else:
        print(f"{told['token']}\n{say('Keep it: it is not shown again.')}")
    return 0


def token_list(settings: Settings, arguments: Namespace) -> int:
    with database(settings) as session:
        slugs = dict(session.execute(select(Institution.id, Institution.slug)).all())
        found = [
            {
                "name": token.name,
                "institution_id": token.institution_id,
                "institution": token.institution_id and slugs[token.institution_id],
                "scopes": token.scopes,
                "expires_at": token.expires_at.isoformat(),
                "revoked_at": token.revoked_at and token.revoked_at.isoformat(),
                "last_used_at": token.last_used_at and token.last_used_at.isoformat(),
            }
            for token in tokens.list_tokens(session, EVERYWHERE)
        ]
    return print_list(found, arguments.json, say("there are no tokens"))


def token_revoke(settings: Settings, arguments: Namespace) -> int:
    with database(settings) as session:
        if not tokens.revoke(session, arguments.name, EVERYWHERE, by=by(), now=datetime.now(UTC)):
            raise UserError(N_("there is no token {name} in use"), name=arguments.name)
    return 0
