"""The words of commands, in the language of whoever reads them: English in the code, Swahili in locale/.

MBASHARA_LANGUAGE names it, else the locale does: `sw...` or `en...`. Any other locale, as that of a machine where
nobody chose one (`C`, `POSIX`, none), says nothing of the reader: then both are told, Swahili first.
"""

import os
from collections.abc import Mapping

from archive.words import LOCALE as ARCHIVE_LOCALE
from core.plain import Text, beside, told
from core.web.i18n import Language
from mbashara.plain import LOCALE

CATALOGUES = (LOCALE, ARCHIVE_LOCALE)
NAMES = ("MBASHARA_LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG")
"""The first that is set counts, as in POSIX."""


def languages(environment: Mapping[str, str] = os.environ) -> tuple[Language, ...]:
    """What is to be told, in this order."""
    said = next(filter(None, map(environment.get, NAMES)), "")
    named = said.replace("-", "_").partition("_")[0].partition(".")[0].lower()
    return (Language(named),) if named in set(Language) else tuple(Language)


def say(message: str, **values: object) -> str:
    """A message of a command's, filled."""
    return in_words(lambda language: told(language, message, values, *CATALOGUES))


def in_words(text: Text) -> str:
    return beside(text(one) for one in languages())
