"""Reads a command's arguments, and says in the reader's language what is wrong with them."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from gettext import NullTranslations
from typing import Any, NoReturn

from core.plain import N_
from core.web.i18n import Language, catalogue
from mbashara.plain import LOCALE
from mbashara.words import in_words, languages

WORDS = (
    N_("usage: "), N_("positional arguments"), N_("options"), N_("show this help message and exit"),
    N_("show program's version number and exit"),
    N_("argument %(argument_name)s: %(message)s"), N_("unknown parser %(parser_name)r (choices: %(choices)s)"),
    N_("unrecognized arguments: %s"), N_("not allowed with argument %s"), N_("ignored explicit argument %r"),
    N_("the following arguments are required: %s"), N_("one of the arguments %s is required"),
    N_("expected one argument"), N_("expected at most one argument"), N_("expected at least one argument"),
    N_("ambiguous option: %(option)s could match %(matches)s"), N_("invalid %(type)s value: %(value)r"),
    N_("invalid choice: %(value)r (choose from %(choices)s)"),
)  # fmt: skip
"""What argparse says. Those of a Python that says it otherwise stay English."""


class Wrong(Exception):
    """The arguments: `message` in the language that argparse spoke."""

    def __init__(self, parser: argparse.ArgumentParser, message: str) -> None:
        self.parser, self.message = parser, message


class Help(argparse.HelpFormatter):
    """Tells what `help=` says, and argparse's headings, in the reader's language."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help and _told(action.help)

    def add_text(self, text: str | None) -> None:
        super().add_text(text and _told(text))

    def start_section(self, heading: str | None) -> None:
        super().start_section(heading and _told(heading))


def _told(words: str) -> str:
    return in_words(lambda language: catalogue(language, LOCALE).gettext(words))


class Parser(argparse.ArgumentParser):
    def __init__(self, *words: Any, **settings: Any) -> None:
        super().__init__(*words, **{"formatter_class": Help, **settings})

    def error(self, message: str) -> NoReturn:
        raise Wrong(self, message)


def parse(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> argparse.Namespace:
    """As parse_args. What is wrong is found anew for each language that it is told in."""
    with _spoken(languages()[-1]):
        try:
            return parser.parse_args(argv)
        except Wrong:
            asked = _asked(parser, sys.argv[1:] if argv is None else argv)
            asked.print_usage(sys.stderr)
            print(f"{asked.prog}: {in_words(lambda language: _why(parser, argv, language))}", file=sys.stderr)
            raise SystemExit(2) from None


def _asked(parser: argparse.ArgumentParser, argv: Sequence[str]) -> argparse.ArgumentParser:
    """That of the command that was asked for: argparse tells of what it does not know as if none had been."""
    for word in argv:
        under = [one.choices for one in parser._actions if isinstance(one, argparse._SubParsersAction)]
        if not under or word not in under[0]:
            break
        parser = under[0][word]
    return parser


def _why(parser: argparse.ArgumentParser, argv: Sequence[str] | None, language: Language) -> str:
    with _spoken(language):
        try:
            parser.parse_args(argv)
        except Wrong as wrong:
            return wrong.message
    raise AssertionError("what was wrong is right now")


@contextmanager
def _spoken(language: Language) -> Iterator[None]:
    """argparse takes its words from gettext by this one name of its own."""
    words: NullTranslations = catalogue(language, LOCALE)
    before = getattr(argparse, "_")  # noqa: B009
    setattr(argparse, "_", words.gettext)  # noqa: B010
    try:
        yield
    finally:
        setattr(argparse, "_", before)  # noqa: B010
