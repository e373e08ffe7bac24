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

    @classmethod
    def of_path(cls, path: str) -> "Language":
        """The language that the address of a page asks for; the default where it names none."""
        first = path.lstrip("/").partition("/")[0]
        return cls(first) if first in set(cls) else cls.SW


@cache
def catalogue(language: Language, *folders: Path) -> NullTranslations:
    """The messages of every `folder`/LANGUAGE.po. Their ids are the English words, so English needs no file."""
    if language is Language.EN:
        return NullTranslations()
    merged = Translations()
    for folder in folders:
        merged.merge(_read(folder / f"{language}.po", language))
    return merged


def _read(path: Path, language: Language) -> Translations:
    with path.open("rb") as po_file:
        messages = read_po(po_file, locale=language.value)
    compiled = BytesIO()
    write_mo(compiled, messages)
    compiled.seek(0)
    return Translations(fp=compiled)
