"""The languages of our pages and their catalogues: gettext .po files, read as they are, never compiled."""

from enum import StrEnum
from functools import cache
from gettext import NullTranslations
from io import BytesIO
from pathlib import Path

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.support import Translations


class Language(StrEnum):
    """Languages of pages, the default first; the value is the first segment of a page's path."""

    SW = "sw"
    EN = "en"

    @property
    def own_name(self) -> str:
        return {Language.SW: "Kiswahili", Language.EN: "English"}[self]

    @property
    def other(self) -> "Language":
        return Language.EN if self is Language.SW else Language.SW


@cache
def catalogue(folder: Path, language: Language) -> NullTranslations:
    """The messages of `folder`/LANGUAGE.po. Message ids are the English words, so English needs no file."""
    if language is Language.EN:
        return NullTranslations()
    with (folder / f"{language}.po").open("rb") as po_file:
        messages = read_po(po_file, locale=language.value)
    compiled = BytesIO()
    write_mo(compiled, messages)
    compiled.seek(0)
    return Translations(fp=compiled)
