"""What the commands share: their arguments, a transaction on the database, lists, and errors."""

import json
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from sqlalchemy.orm import Session

from core import institutions
from core.database import open_engine, transaction
from core.problems import LOCALE, Problems
from core.web.i18n import Language, catalogue
from mbashara import postgres
from mbashara.settings import Settings

Command = Callable[[Settings, Namespace], int]


class UserError(ValueError):
    """What was asked of an account can't be done; said in English and Swahili, nothing changed."""


def add_command(sub: ArgumentParser, command: Command) -> ArgumentParser:
    sub.set_defaults(command=command)
    sub.add_argument("--data", metavar="DIR", help="data folder (MBASHARA_DATA, default ./data)")
    return sub


def with_json(sub: ArgumentParser) -> None:
    sub.add_argument("--json", action="store_true", help="print JSON")


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


def institution_id(session: Session, slug: str | None) -> int | None:
    if slug is None:
        return None
    institution = institutions.find(session, slug)
    if institution is None:
        raise UserError(f"there is no institution {slug} / hakuna taasisi {slug}")
    return institution.id


def user_error(problems: Problems) -> UserError:
    english = problems[0].message
    return UserError(f"{english} / {catalogue(Language.SW, LOCALE).gettext(english)}")


def print_list(found: Sequence[Mapping[str, object]], as_json: bool) -> int:
    if as_json:
        print(json.dumps(found, ensure_ascii=False))
    else:
        for entry in found:
            print("  ".join(_word(value) for value in entry.values()))
    return 0


def _word(value: object) -> str:
    return "-" if value is None else str(len(value) if isinstance(value, list) else value)
